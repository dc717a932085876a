"""The matched pair as a primitive, on linear interpolation written as two gathers."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr
from jaxrecon.operator import LinearOperator, matched_pair
from jaxrecon.testing import check_operator
from jaxrecon.value import static, value

N, M = 7, 11


def tables(start):
    """Which samples touch a grid point from the left and from the right, padded with M (nothing)."""
    reach = max(np.bincount(np.r_[start, start + 1]))
    left, right = np.full((2, N, reach), M)
    for n in range(N):
        left[n, : (start == n).sum()] = np.flatnonzero(start == n)
        right[n, : (start + 1 == n).sum()] = np.flatnonzero(start + 1 == n)
    return left, right


START = np.sort(np.random.default_rng(1).integers(0, N - 1, M))
LEFT, RIGHT = tables(START)


def forward(data, x):
    start, _, _, fraction = data
    return (1 - fraction) * x[start] + fraction * x[start + 1]


def adjoint(data, y):
    _, left, right, fraction = data
    return jnp.sum(((1 - fraction) * y).at[left].get(mode="fill", fill_value=0)
                   + (fraction * y).at[right].get(mode="fill", fill_value=0), axis=-1)


def by_pair(fraction, x):
    return matched_pair(forward, adjoint, (*map(jnp.asarray, (START, LEFT, RIGHT)), fraction), x)


def by_jax(fraction, x):
    """The same map by plain indexing, whose transpose is a scatter-add."""
    return (1 - fraction) * x[jnp.asarray(START)] + fraction * x[jnp.asarray(START) + 1]


@value
class Interpolation(LinearOperator):
    fraction: jax.Array
    size: int = static(default=N)

    @property
    def domain(self):
        return jax.ShapeDtypeStruct((self.size,), self.fraction.dtype)

    def apply(self, x):
        return by_pair(self.fraction, x)


@pytest.fixture(params=[pytest.param("real", marks=pytest.mark.slow), "complex"])
def draw(request, rng):
    def array(*shape):
        v = rng.standard_normal(shape)
        return jnp.asarray(v + 1j * rng.standard_normal(shape) if request.param == "complex" else v)
    return array


@pytest.fixture
def fraction(rng):
    return jnp.asarray(rng.random(M))


def same(got, want):
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, atol=1e-13), got, want)
    assert jax.tree.map(jnp.shape, got) == jax.tree.map(jnp.shape, want)


def test_values_and_jit(fraction, draw):
    x = draw(N)
    same(by_pair(fraction, x), by_jax(fraction, x))
    same(jax.jit(by_pair)(fraction, x), by_jax(fraction, x))


def test_transpose_is_the_scatter_add_and_has_none(fraction, draw):
    x, y = draw(N), draw(M)

    def transposed(f, y):
        return jax.linear_transpose(lambda x: f(fraction, x), x)(y)[0]

    same(transposed(by_pair, y), transposed(by_jax, y))
    assert "scatter" in str(jax.make_jaxpr(lambda y: transposed(by_jax, y))(y))
    text = jax.jit(lambda y: transposed(by_pair, y)).lower(y).as_text()
    assert "scatter" not in text
    assert "gather" in text


def test_double_transpose_is_the_map(fraction, draw):
    x, y = draw(N), draw(M)

    def once(y):
        return jax.linear_transpose(lambda x: by_pair(fraction, x), x)(y)[0]

    same(jax.linear_transpose(once, y)(x)[0], by_jax(fraction, x))


@pytest.mark.parametrize("axes", [
    (None, 0), (0, 0), *(pytest.param(axes, marks=pytest.mark.slow) for axes in [(0, None), (1, 1), (None, 1)]),
])
def test_vmap(rng, draw, axes):
    fractions, xs = jnp.asarray(rng.random((3, M))), draw(3, N)
    f = fractions[0] if axes[0] is None else jnp.moveaxis(fractions, 0, axes[0])
    x = xs[0] if axes[1] is None else jnp.moveaxis(xs, 0, axes[1])
    ys = draw(3, M)

    def back(apply, f, x, y):
        return jax.vjp(apply, f, x)[1](y)

    same(jax.vmap(by_pair, axes)(f, x), jax.vmap(by_jax, axes)(f, x))
    same(jax.vmap(lambda *a: back(by_pair, *a), (*axes, 0))(f, x, ys),
         jax.vmap(lambda *a: back(by_jax, *a), (*axes, 0))(f, x, ys))


def test_vmap_twice_and_transpose_of_the_batched_map(rng, draw):
    fractions, xs, y = jnp.asarray(rng.random((2, M))), draw(3, N), draw(2, 3, M)

    def all_pairs(apply, xs):
        return jax.vmap(lambda f: jax.vmap(lambda x: apply(f, x))(xs))(fractions)

    same(all_pairs(by_pair, xs), all_pairs(by_jax, xs))
    same(jax.linear_transpose(lambda v: all_pairs(by_pair, v), xs)(y)[0],
         jax.linear_transpose(lambda v: all_pairs(by_jax, v), xs)(y)[0])


def test_forward_and_reverse_mode_by_data_and_by_x(fraction, draw, rng):
    x, x_dot, f_dot, y = draw(N), draw(N), jnp.asarray(rng.standard_normal(M)), draw(M)
    for tangents in ((f_dot, x_dot), (f_dot, jnp.zeros_like(x)), (jnp.zeros(M), x_dot)):
        same(jax.jvp(by_pair, (fraction, x), tangents), jax.jvp(by_jax, (fraction, x), tangents))
    same(*(jax.jvp(lambda x, apply=apply: apply(fraction, x), (x,), (x_dot,)) for apply in (by_pair, by_jax)))
    same(jax.vjp(by_pair, fraction, x)[1](y), jax.vjp(by_jax, fraction, x)[1](y))


def test_gradient_with_respect_to_data(fraction, draw, rng):
    x, b, direction = draw(N), draw(M), jnp.asarray(rng.standard_normal(M))

    def loss(f):
        return jnp.sum(jnp.abs(by_pair(f, x) - b) ** 2)

    h = 1e-6
    slope = (loss(fraction + h * direction) - loss(fraction - h * direction)) / (2 * h)
    np.testing.assert_allclose(jax.grad(loss)(fraction) @ direction, slope, rtol=1e-8)


def test_gradient_through_the_adjoint(fraction, draw):
    """The adjoint is the same primitive, differentiated through its own formula."""
    x, y, w = draw(N), draw(M), draw(N)

    def loss(apply, f):
        z = jax.linear_transpose(lambda v: apply(f, v), x)(y)[0]
        return jnp.sum(jnp.abs(z - w) ** 2)

    same(jax.grad(lambda f: loss(by_pair, f))(fraction), jax.grad(lambda f: loss(by_jax, f))(fraction))


def test_hessian(fraction, rng):
    x, b = jnp.asarray(rng.standard_normal(N)), jnp.asarray(rng.standard_normal(M))

    def loss(apply, v):
        return jnp.sum(jnp.cos(apply(v[:M], v[M:]) - b))

    v = jnp.concatenate([fraction, x])
    same(*(jax.jit(jax.hessian(lambda v, apply=apply: loss(apply, v)))(v) for apply in (by_pair, by_jax)))


def test_scan_and_checkpoint(fraction, draw):
    x, b = draw(N), draw(M)

    def landweber(apply, f, x, wrap):
        def body(x, _):
            y, back = jax.vjp(lambda x: apply(f, x), x)
            return x - 0.2 * jnp.conj(back(jnp.conj(y - b))[0]), None
        return jnp.sum(jnp.abs(jax.lax.scan(wrap(body), x, length=4)[0]) ** 2)

    want = jax.grad(lambda f, x: landweber(by_jax, f, x, lambda g: g), argnums=(0, 1))(fraction, x)
    for wrap in (lambda g: g, jax.checkpoint):
        same(jax.grad(lambda f, x, wrap=wrap: landweber(by_pair, f, x, wrap), argnums=(0, 1))(fraction, x), want)


def test_as_an_operator(rng):
    check_operator(Interpolation(jnp.asarray(rng.random(M))), jax.random.key(0))


def test_trees_as_x_and_as_measurements(rng):
    a, x = jnp.asarray(rng.standard_normal((3, 2))), {"u": jnp.ones(2), "v": jnp.ones(3)}

    def ahead(a, x):
        return a @ x["u"] + x["v"], x["u"]

    def back(a, y):
        return {"u": a.T @ y[0] + y[1], "v": y[0]}

    y = jnp.arange(3.0), jnp.arange(2.0)
    same(jax.linear_transpose(lambda x: matched_pair(ahead, back, a, x), x)(y), jax.linear_transpose(
        lambda x: ahead(a, x), x)(y))


@pytest.mark.parametrize("adjoint, found", [
    (lambda a, y: (a.T @ y)[:1], r"float64\[1\]"), (lambda a, y: a.T @ y + 0j, r"complex128\[2\]"),
    (lambda a, y: (a.T @ y, y), r"\(float64\[2\], float64\[3\]\)")])
def test_an_adjoint_that_does_not_fit_is_named(adjoint, found):
    a = jnp.ones((3, 2))

    def apply(x):
        return matched_pair(lambda a, x: a @ x, adjoint, a, x)

    message = rf"the adjoint gives {found}, and x is float64\[2\]"
    with pytest.raises(ValueError, match=message):
        jr.linear(apply, (2,))
    with pytest.raises(ValueError, match=message):
        jax.vmap(jax.grad(lambda x: jnp.sum(apply(x))))(jnp.ones((4, 2)))


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
from jax.sharding import PartitionSpec as P
import test_pair as t

assert jax.device_count() == 2
rng = np.random.default_rng(0)
mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
fraction, xs = jnp.asarray(rng.random(t.M)), jnp.asarray(rng.standard_normal((4, t.N)) + 1j)

def loss(apply, fraction, xs):
    return jnp.sum(jnp.abs(jax.vmap(apply, (None, 0))(fraction, xs)) ** 2)

def shard(fraction, xs):
    value, gradients = jax.value_and_grad(lambda f, x: loss(t.by_pair, f, x), argnums=(0, 1))(fraction, xs)
    return jax.lax.psum(value, "batch"), gradients  # the gradient of a replicated argument is summed by JAX

run = jax.jit(jax.shard_map(shard, mesh=mesh, in_specs=(P(), P("batch")), out_specs=(P(), (P(), P("batch")))))
value, gradients = run(fraction, xs)
want, wanted = jax.value_and_grad(lambda f, x: loss(t.by_jax, f, x), argnums=(0, 1))(fraction, xs)
np.testing.assert_allclose(value, want, rtol=1e-13)
jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, rtol=1e-12), gradients, wanted)
print("sharded")
"""


def test_shard_map_on_two_devices():
    here = Path(__file__).resolve().parent
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu",
                   "PYTHONPATH": os.pathsep.join([str(here.parent), str(here), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", SHARDED], env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "sharded", done.stderr[-2000:]
