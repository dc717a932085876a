"""How the rules are called: what compiles once, what vmaps, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr
from jaxrecon.parameters import lcurve, measured
from jaxrecon.parameters.lcurve import _lcurve
from jaxrecon.parameters.search import find_root, golden_section
from jaxrecon.simulate.ill_posed import ill_posed

LAMS = jnp.geomspace(1e-3, 1e1, 7)


def tv(scale):
    weight = jnp.asarray(scale)
    return lambda lam: jr.FISTA(jr.TV(weight * lam), step_size=scale)


def test_a_new_function_of_lam_does_not_compile_again():
    A, b = jr.Identity((6, 5)), jax.random.normal(jax.random.key(0), (6, 5))
    lcurve(A, b, LAMS, tv(1.0), iterations=4)
    before = _lcurve._cache_size()
    for scale in (0.5, 0.25):
        curve = lcurve(A, b + 1, 2 * LAMS, tv(scale), iterations=4)
    assert _lcurve._cache_size() == before
    x = jr.solve(A, b + 1, tv(0.25)(2 * LAMS[3]), 4).x
    np.testing.assert_allclose(curve.x[3], x, rtol=1e-10)
    lcurve(A, b, LAMS, lambda lam: jr.ISTA(jr.TV(lam)), iterations=4)
    assert _lcurve._cache_size() == before + 1


@pytest.mark.slow
def test_over_a_batch_of_measurements():
    A, x = ill_posed("shaw", 12)
    b = A(x) + 0.01 * jax.random.normal(jax.random.key(0), (3, 12))
    for rule in (lambda A, b: jr.discrepancy(A, b, sigma=0.01),
                 lambda A, b: jr.sure(A, b, LAMS, lambda lam: jr.CGNR(lam), sigma=0.01, iterations=5, refine=1)):
        many = jax.jit(jax.vmap(rule, (None, 0)))(A, b)
        np.testing.assert_allclose(many.lam, [rule(A, v).lam for v in b], rtol=1e-6)


@pytest.mark.slow
def test_float32():
    A, x = ill_posed("phillips", 16)
    A = jr.Matrix(A.a.astype("float32"))
    b = A(x.astype("float32")) + 0.1 * jax.random.normal(jax.random.key(0), (16,), "float32")
    for found in (jr.gcv(A, b), jr.sure(A, b, sigma=0.1), jr.discrepancy(A, b, sigma=0.1), jr.lcurve(A, b),
                  jr.crossvalidate(A, b, LAMS, lambda lam: jr.CGNR(lam), iterations=10, refine=2)):
        assert found.lam.dtype == "float32" and found.x.dtype == "float32"


@pytest.mark.slow
def test_reconstructors_take_part():
    A, x = ill_posed("phillips", 16)
    b = A(x) + 0.1 * jax.random.normal(jax.random.key(0), (16,))
    one = jr.gcv(A, b, LAMS, lambda lam: jr.Iterative(jr.CGNR(lam), 8), refine=2)
    other = jr.gcv(A, b, LAMS, lambda lam: jr.CGNR(lam), iterations=8, refine=2)
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-12)
    a, c = jr.lcurve(A, b, LAMS, lambda lam: jr.Iterative(jr.CGNR(lam), 8)), jr.lcurve(
        A, b, LAMS, lambda lam: jr.CGNR(lam), iterations=8)
    np.testing.assert_allclose(a.penalty, c.penalty, rtol=1e-12)


def test_what_is_measured():
    mask = np.arange(6)[:, None] % 2 == 0
    seen = measured(jr.Fourier((6, 4), mask=mask))
    np.testing.assert_array_equal(seen, np.broadcast_to(mask, (6, 4)))
    np.testing.assert_array_equal(measured(jr.Matrix(jnp.array([[1.0, 2.0], [0.0, 0.0]]))), [1, 0])


def test_searches():
    at = golden_section(lambda t: (t - 0.3) ** 2, 0.0, 1.0, 0.5, 0.04, 50)
    np.testing.assert_allclose(at, 0.3, atol=1e-7)
    for f, root in ((lambda t: t**3 - 0.2, 0.2 ** (1 / 3)), (lambda t: jnp.tanh(50 * (t - 0.9)), 0.9),
                    (lambda t: jnp.where(t > 0.25, 1.0, -1.0), 0.25)):
        found = find_root(f, 0.0, 1.0, 60, 1e-12)
        np.testing.assert_allclose(found.at, root, atol=1e-9)
        assert bool(found.bracketed)
    assert not bool(find_root(lambda t: t + 1, 0.0, 1.0, 60, 1e-12).bracketed)


def test_names_of_the_contract():
    A, x = ill_posed("shaw", 12)
    curve = jr.lcurve(A, A(x) + 1e-2, LAMS, solver=lambda lam: jr.CGNR(lam))
    for name in ("lams", "residual", "penalty", "curvature", "x"):
        assert len(getattr(curve, name)) == len(LAMS)
    assert curve.x[curve.corner].shape == x.shape


A2 = jr.Matrix(jnp.eye(3))
B2 = jnp.ones(3)


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda: jr.gcv(A2, B2, jnp.ones((2, 2))), ValueError, "one axis"),
    (lambda: jr.gcv(A2, B2, jnp.array([1.0, -1.0, 2.0])), ValueError, "positive and finite"),
    (lambda: jr.gcv(A2, B2, jnp.array([1.0, 1.0, 2.0])), ValueError, "differ"),
    (lambda: jr.gcv(A2, B2, jnp.array([1.0])), ValueError, "3 or more"),
    (lambda: jr.gcv(A2, B2, LAMS, jr.CGNR(1.0)), TypeError, "function of lam"),
    (lambda: jr.gcv(A2, B2, LAMS, lambda lam: lam), TypeError, "it made"),
    (lambda: jr.gcv(A2, B2, LAMS, iterations=5), ValueError, "no effect without a solver"),
    (lambda: jr.gcv(A2, B2, LAMS, lambda lam: jr.Iterative(jr.CGNR(lam)), iterations=5), ValueError, "brings its own"),
    (lambda: jr.gcv(A2, B2, None, lambda lam: jr.CGNR(lam)), ValueError, "lams must be given"),
    (lambda: jr.gcv(A2, B2, probes=0), ValueError, "probes"),
    (lambda: jr.gcv(A2, B2, chunk=0), ValueError, "chunk"),
    (lambda: jr.gcv(A2, B2, robust=1.5), ValueError, "robust"),
    (lambda: jr.gcv(A2, jnp.ones(4)), ValueError, "gives"),
    (lambda: jr.sure(A2, B2, sigma=-1.0), ValueError, "sigma must be"),
    (lambda: jr.sure(A2, B2, {"a": LAMS, "b": LAMS[:4]}, lambda p: jr.CGNR(p["a"] + p["b"]), sigma=1.0), ValueError,
     "one length"),
    (lambda: jr.discrepancy(A2, B2, sigma=1.0, factor=0.0), ValueError, "factor"),
    (lambda: jr.discrepancy(A2, B2, LAMS, jr.CGNR(), sigma=1.0), ValueError, "iteration number"),
    (lambda: jr.lcurve(A2, B2, LAMS[:4]), ValueError, "5 or more"),
    (lambda: jr.lcurve(A2, B2, LAMS, rule="kink"), ValueError, "curvature, triangle"),
    (lambda: jr.lcurve(A2, B2, LAMS, continuation=True), ValueError, "needs a solver"),
    (lambda: jr.lcurve(A2, B2, LAMS, lambda lam: jr.CGNR(lam), continuation=True, chunk=2), ValueError, "chunk"),
    (lambda: jr.lcurve(A2, B2, LAMS, lambda lam: jr.Kaczmarz(lam), continuation=True), ValueError, "near its start"),
    (lambda: jr.crossvalidate(A2, B2, LAMS, lambda lam: jr.CGNR(lam), folds=4, share=0.5), ValueError, "folds=4"),
    (lambda: jr.crossvalidate(A2, B2, LAMS, lambda lam: jr.CGNR(lam), hidden=jnp.ones((2, 4))), ValueError,
     "broadcast"),
    (lambda: jr.crossvalidate(jr.stack([A2, A2]), (B2, B2), LAMS, lambda lam: jr.CGNR(lam)), ValueError, "several"),
])
def test_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("rule", [jr.gcv, jr.sure, jr.crossvalidate])
def test_rules_that_compare_with_b_refuse_counts(rule):
    A, y, counts = jr.Identity((3,)), jnp.ones(3), jr.PoissonLikelihood("transmission", blank=10.0)
    with pytest.raises(ValueError, match="not alike for PoissonLikelihood"):
        rule(A, y, jnp.ones(3), lambda lam: jr.FISTA(jr.TV(lam)), data=counts)
    with pytest.raises(ValueError, match="not alike for PoissonLikelihood"):
        rule(A, y, jnp.ones(3), lambda lam: jr.Iterative(jr.FISTA(jr.TV(lam)), 10, data=counts))


def test_continuation_keeps_the_units_of_a_reconstructor():
    rng = np.random.default_rng(0)
    A = jr.Matrix(jnp.asarray(rng.standard_normal((40, 30))))
    b = A(jnp.sin(jnp.arange(30.0))) + jnp.asarray(rng.standard_normal(40))
    lams = jnp.geomspace(1e-3, 1, 6)

    def method(lam):
        return jr.Iterative(jr.FISTA(jr.L1(lam)), 300, scale="system")

    np.testing.assert_allclose(jr.lcurve(A, b, lams, method, continuation=True).penalty,
                               jr.lcurve(A, b, lams, method).penalty, rtol=1e-3, atol=1e-8)
