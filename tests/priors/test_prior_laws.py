"""What every prior must fulfil: its prox is the minimiser, and both go through jit, vmap and grad."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.operators import Diagonal
from jaxrecon.operators.gradient import Gradient
from jaxrecon.priors import (
    L1,
    L2,
    L21,
    TV,
    Box,
    Constrained,
    ElasticNet,
    FusedLasso,
    LocallyLowRank,
    NonNegative,
    Nuclear,
    PartsApart,
    RealValued,
    Separable,
)

SHAPE = (4, 5)



def weights(seed):
    return jnp.asarray(np.random.default_rng(seed).uniform(0.1, 0.5, SHAPE))


# name -> (lam -> prior), where lam is what the laws differentiate with respect to and map over
SMOOTHLY_WEIGHTED = {
    "l1": lambda lam: L1(lam),
    "l1 weighted": lambda lam: L1(lam * weights(1)),
    "elastic net": lambda lam: ElasticNet(lam, 0.7 * lam),
    "l2": lambda lam: L2(lam),
    "l2 weighted": lambda lam: L2(lam * weights(2)),
    "l2 gradient": lambda lam: L2(lam, Gradient(SHAPE)),
    "l2 circular gradient": lambda lam: L2(lam, Gradient(SHAPE, "circular")),
    "l2 weighted operator": lambda lam: L2(lam * weights(3), Diagonal(1 + weights(4))),
    "l21": lambda lam: L21(lam),
    "l21 both": lambda lam: L21(lam * weights(3)[0], axis=(0,)),
    "parts apart": lambda lam: PartsApart(L21(lam, axis=1)),
    "tv": lambda lam: TV(lam),
    "tv anisotropic circular": lambda lam: TV(lam, isotropic=False, boundary="circular"),
    "tv separate": lambda lam: TV(lam, complex="separate"),
    "tv weighted": lambda lam: TV(lam * weights(6)),
    "fused lasso": lambda lam: FusedLasso(0.5 * lam, lam),
    "fused lasso isotropic": lambda lam: FusedLasso(0.5 * lam, lam, isotropic=True),
    "constrained tv": lambda lam: Constrained(TV(lam), Box(-0.4 - lam, 0.5 + lam)),
    "constrained tv separate": lambda lam: Constrained(TV(lam, complex="separate"), NonNegative()),
    "constrained fused lasso": lambda lam: Constrained(FusedLasso(0.5 * lam, lam), NonNegative()),
    "nuclear": lambda lam: Nuclear(lam),
    "locally low rank": lambda lam: LocallyLowRank(lam, 2, axis=1),
}
# Compiled in seconds each: one of a kind runs always, its relatives with the slow tests.
QUICK = ("l1", "l2 gradient", "l21", "tv", "constrained tv", "locally low rank")
CASES = [pytest.param(n, k, marks=[] if n in QUICK else pytest.mark.slow)
         for n in SMOOTHLY_WEIGHTED for k in ("float64", "complex128")]
DUALS = [n for n in SMOOTHLY_WEIGHTED if "tv" in n or "fused" in n]
CONSTRAINTS = {"non-negative": NonNegative(), "box": Box(-0.3, 0.5), "real-valued": RealValued()}
KINDS = ["float64", "complex128"]


def image(kind, seed=0, shape=SHAPE):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    if np.issubdtype(kind, np.complexfloating):
        x = x + 1j * rng.standard_normal(shape)
    return jnp.asarray(x, kind)


def finite(prior):
    """Without the constraint, which is infinite outside."""
    return prior.prior if isinstance(prior, Constrained) else prior


def energy(x):
    return 0.5 * float(np.sum(np.abs(np.asarray(x)) ** 2))


def check_minimiser(prior, v, t, slack=1e-12):
    """F = t g + 1/2|. - v|^2 is strongly convex, so u is its minimiser if and only if F(w) >= F(u) + 1/2|w - u|^2."""
    u = prior.prox(v, t)
    assert u.shape == v.shape and u.dtype == v.dtype
    value = jax.jit(prior.__call__)
    at_u = t * float(value(u)) + energy(u - v)
    rng = np.random.default_rng(7)
    for scale in np.logspace(-5, 0.5, 60):
        step = rng.standard_normal(v.shape) * (rng.random(v.shape) < rng.choice([0.1, 1.0]))
        if jnp.iscomplexobj(v):
            step = step * np.exp(2j * np.pi * rng.random(v.shape))
        w = jnp.asarray(u + scale * step)
        if isinstance(prior, Constrained):
            w = prior.constraint.prox(w)
        assert t * float(value(w)) + energy(w - v) >= at_u + energy(w - u) - slack, (scale, u)
    return u


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SMOOTHLY_WEIGHTED)
def test_prox_is_the_minimiser(name, kind):
    check_minimiser(SMOOTHLY_WEIGHTED[name](0.6), image(kind), 0.7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_project(name, kind):
    prior = CONSTRAINTS[name]
    v = image(kind)
    u = prior.prox(v, 0.3)
    assert u.dtype == v.dtype and float(prior(u)) == 0 and prior.projection
    assert float(prior(v)) == (0 if name == "real-valued" and kind == "float64" else np.inf)
    np.testing.assert_array_equal(prior.prox(u, 2.0), u)
    # The obtuse angle of a projection: Re <v - u, w - u> <= 0 for every w of the set.
    for seed in range(20):
        w = prior.prox(image(kind, seed + 1), 1.0)
        assert float(jnp.sum(jnp.conj(v - u) * (w - u)).real) <= 1e-14


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_jit_and_vmap_equal_the_loop(name, kind):
    make = SMOOTHLY_WEIGHTED[name]
    v, lam, t = jnp.stack([image(kind, s) for s in range(3)]), jnp.array([0.1, 0.4, 2.0]), jnp.array([1.0, 0.3, 0.5])

    def f(v, lam, t):
        prior = make(lam)
        return prior(v), prior.prox(v, t), prior.warm_prox(v, t, prior.start(v))[0]

    loop = jax.tree.map(lambda *a: jnp.stack(a), *[f(*args) for args in zip(v, lam, t, strict=True)])
    for got, want in zip(jax.jit(jax.vmap(f))(v, lam, t), loop, strict=True):
        np.testing.assert_allclose(got, want, atol=2e-7 if "tv" in name or "isotropic" in name else 1e-10)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_gradients_equal_central_differences(name, kind):
    make = SMOOTHLY_WEIGHTED[name]
    v, dv, probe = image(kind), image(kind, 1), image(kind, 2)

    def loss(s):
        v_s, prior, t = v + s[0] * dv, make(0.4 + s[1]), 0.7 + s[2]
        return jnp.sum(jnp.abs(prior.prox(v_s, t) - probe) ** 2) + finite(prior)(v_s)

    loss = jax.jit(loss)
    # What is left of an iterative prox, over the step, is the error of the difference.
    step, zero = 1e-4 if "constrained" in name else 1e-5, jnp.zeros(3)
    want = jnp.array([(loss(zero.at[i].set(step)) - loss(zero.at[i].set(-step))) / (2 * step) for i in range(3)])
    np.testing.assert_allclose(jax.grad(loss)(zero), want, atol=1e-6 * np.abs(want).max())
    along = jnp.array([1.0, -0.5, 2.0])
    np.testing.assert_allclose(jax.jvp(loss, (zero,), (along,))[1], want @ along, atol=3e-6 * np.abs(want).max())


@pytest.mark.parametrize(("name", "kind"), [*CASES, *((n, k) for n in CONSTRAINTS for k in KINDS)])
def test_finite_at_zero(name, kind):
    make = SMOOTHLY_WEIGHTED.get(name, lambda lam: CONSTRAINTS[name])

    def loss(v, lam, t):
        prior = make(lam)
        u = prior.prox(v, t)
        w = prior.warm_prox(v, t, prior.start(v))[0]
        return jnp.sum(jnp.abs(1 + u) ** 2) + jnp.sum(jnp.abs(1 + w) ** 2) + prior(v)

    gradient = jax.jit(jax.grad(loss, (0, 1, 2)))
    for lam in (0.5, 0.0):
        for leaf in jax.tree.leaves(gradient(jnp.zeros(SHAPE, kind), lam, 1.0)):
            assert np.all(np.isfinite(leaf))
    assert np.all(make(0.5).prox(jnp.zeros(SHAPE, kind)) == 0)


@pytest.mark.parametrize("kind", ["float32", "complex64"])
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in DUALS[1:] else [])
                                  for n in SMOOTHLY_WEIGHTED | CONSTRAINTS])
def test_single_precision_stays(name, kind):
    make = SMOOTHLY_WEIGHTED.get(name, lambda lam: CONSTRAINTS[name])
    double = {"float32": "float64", "complex64": "complex128"}[kind]
    prior, v = make(0.4), image(kind)
    u, (w, _) = prior.prox(v, 0.7), prior.warm_prox(v, np.float64(0.7), prior.start(v))
    assert u.dtype == w.dtype == v.dtype and prior(v).dtype == jnp.float32
    np.testing.assert_allclose(u, prior.prox(v.astype(double), 0.7), atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SMOOTHLY_WEIGHTED)
def test_split_is_the_same_prior(name, kind):
    prior, x = SMOOTHLY_WEIGHTED[name](0.6), image(kind)
    K, penalty = prior.split(jax.ShapeDtypeStruct(x.shape, x.dtype))
    np.testing.assert_allclose(penalty(x if K is None else K(x)), prior(x), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in DUALS[1:] else []) for n in DUALS])
def test_warm_prox_reaches_the_prox(name, kind):
    prior, v = SMOOTHLY_WEIGHTED[name](0.2), image(kind)

    @jax.jit
    def outer(v):
        return jax.lax.scan(lambda s, _: (prior.warm_prox(v, 0.7, s)[1], None), prior.start(v), length=300)[0]

    np.testing.assert_allclose(prior.warm_prox(v, 0.7, outer(v))[0], prior.prox(v, 0.7), atol=1e-6)


@pytest.mark.parametrize("make", [
    lambda w: L1(w), lambda w: L2(w), lambda w: L21(w), lambda w: TV(w), lambda w: ElasticNet(w, 1.0),
    lambda w: ElasticNet(1.0, w), lambda w: FusedLasso(w, 1.0), lambda w: FusedLasso(1.0, w), lambda w: Nuclear(w),
    lambda w: LocallyLowRank(w, 2)])
def test_weights_are_checked_where_they_are_known(make):
    with pytest.raises(ValueError, match=r"must be >= 0, got -0.5"):
        make(-0.5)
    with pytest.raises(ValueError, match=r"must be >= 0, got -1.0"):
        make(np.array([1.0, -1.0]))
    with pytest.raises(ValueError, match=r"must be >= 0, got nan"):
        make(float("nan"))
    with pytest.raises(ValueError, match="must be real, got complex"):
        make(1j)
    with pytest.raises(TypeError, match="must be a number or an array, got 'much'"):
        make("much")
    prior = make(0.25)
    assert 0.25 in jax.tree.leaves(prior)
    assert jax.eval_shape(lambda w: make(w).prox(jnp.ones((2, 4))), -1.0).shape == (2, 4)


def test_separable_is_its_parts():
    prior = Separable([L1(0.3), TV(0.2)])
    v = (image("float64"), image("complex128", 1))
    np.testing.assert_allclose(prior(v), L1(0.3)(v[0]) + TV(0.2)(v[1]), rtol=1e-14)
    got = prior.prox(v, 0.5)
    np.testing.assert_allclose(got[0], L1(0.3).prox(v[0], 0.5), rtol=1e-14)
    np.testing.assert_allclose(got[1], TV(0.2).prox(v[1], 0.5), rtol=1e-10)
    with pytest.raises(ValueError, match="2 priors and needs a tuple of as many arrays, got 3"):
        prior((v[0],) * 3)
    with pytest.raises(TypeError, match="one or more priors"):
        Separable((0.3,))
