"""Nuclear norm and locally low rank against numpy's SVD, and derivatives where singular values vanish or coincide."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.priors import LocallyLowRank, Nuclear


def shrunk(x, r):
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    return (u * np.maximum(s - r, 0)) @ vh


def matrix(rng, shape, kind):
    return rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if "complex" in kind else 0)


@pytest.mark.parametrize("kind", ["float64", "complex128", "float32", "complex64"])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_equals_numpy(rng, shape, kind):
    x = matrix(rng, shape, kind)
    single = kind in ("float32", "complex64")
    got = Nuclear(2.0).prox(jnp.asarray(x, kind), 0.5)
    assert got.dtype == kind
    np.testing.assert_allclose(got, shrunk(x, 1.0), atol=1e-5 if single else 1e-13)
    np.testing.assert_allclose(Nuclear(2.0)(jnp.asarray(x, kind)), 2 * np.linalg.svd(x, compute_uv=False).sum(),
                               rtol=1e-5 if single else 1e-13)


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_small_thresholds_keep_their_digits(rng, kind):
    u, v = (np.linalg.qr(rng.standard_normal((30, 8)))[0] for _ in range(2))
    s = np.logspace(0, -4, 8)
    x, threshold = (u * s) @ v.T, 2e-4
    got = Nuclear(threshold).prox(jnp.asarray(x, kind))
    np.testing.assert_allclose(got, shrunk(x, threshold), atol=1e-6 if kind == "float32" else 1e-12)


def test_leading_axes_are_matrices_apart(rng):
    x = rng.standard_normal((2, 4, 3))
    lam = np.array([0.3, 1.5])
    got = Nuclear(lam).prox(jnp.asarray(x))
    np.testing.assert_allclose(got, [shrunk(m, w) for m, w in zip(x, lam, strict=True)], atol=1e-13)
    with pytest.raises(ValueError, match=r"last two axes, got shape \(3,\)"):
        Nuclear(1.0)(jnp.ones(3))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["float64", "complex128"])
def test_derivatives_where_singular_values_coincide(rng, kind):
    # x = 2 U V^H: all singular values equal; then the prox is (1 - t/2) x and differentiable all the same.
    x = 2 * np.linalg.qr(matrix(rng, (5, 3), kind))[0]
    d, probe = matrix(rng, (5, 3), kind), matrix(rng, (5, 3), kind)

    def loss(s, x=x):
        return jnp.sum(jnp.abs(Nuclear(1.0).prox(jnp.asarray(x) + s * d, 0.7) - probe) ** 2)

    np.testing.assert_allclose(Nuclear(1.0).prox(jnp.asarray(x), 0.7), 0.65 * x, atol=1e-14)
    step = 1e-5
    for at in (x, np.diag([2.0, 2.0, 0.1])[[0, 1, 2, 2, 0]] * (1 if kind == "float64" else 1j)):
        want = (loss(step, at) - loss(-step, at)) / (2 * step)
        np.testing.assert_allclose(jax.grad(lambda s, at=at: loss(s, at))(0.0), want, rtol=1e-7)
        np.testing.assert_allclose(jax.jvp(lambda s, at=at: loss(s, at), (0.0,), (1.0,))[1], want, rtol=1e-7)


def test_subgradient_of_a_rank_deficient_matrix(rng):
    a, b = rng.standard_normal((5, 1)), rng.standard_normal((1, 4))
    got = jax.grad(lambda x: Nuclear(1.0)(x))(jnp.asarray(a @ b))
    np.testing.assert_allclose(got, a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), atol=1e-12)


@pytest.mark.parametrize("kind", ["float64", "complex128"])
@pytest.mark.parametrize(("shape", "blocks", "axis", "offsets"), [
    ((3, 4, 6), 2, 0, 0), ((5, 7, 4), (3, 2), 1, (1, 0)), ((6, 5, 4), 4, -1, 3), ((7, 3), 3, 1, -2),
    ((2, 3, 3, 3), 2, 0, 1)])
def test_locally_low_rank_equals_a_loop_over_blocks(rng, shape, blocks, axis, offsets, kind):
    x = matrix(rng, shape, kind)
    d = x.ndim - 1
    block, offset = (np.broadcast_to(v, d) for v in (blocks, offsets))
    frames = np.moveaxis(x, axis, 0)
    want, total = np.zeros_like(frames), 0.0
    # The block of a pixel is the integer part of (position - offset) / block.
    cells = np.stack(np.meshgrid(*[(np.arange(n) - o) // b for n, b, o in zip(frames.shape[1:], block, offset,
                                                                             strict=True)], indexing="ij"))
    for cell in {tuple(c) for c in cells.reshape(d, -1).T}:
        inside = np.all(cells == np.reshape(cell, (d, *[1] * d)), axis=0)
        casorati = frames[:, inside]
        want[:, inside] = shrunk(casorati, 0.35)
        total += np.linalg.svd(casorati, compute_uv=False).sum()
    prior = LocallyLowRank(0.7, blocks, axis, offsets)
    np.testing.assert_allclose(prior.prox(jnp.asarray(x), 0.5), np.moveaxis(want, 0, axis), atol=1e-12)
    np.testing.assert_allclose(prior(jnp.asarray(x)), 0.7 * total, rtol=1e-12)


def test_one_block_is_the_casorati_matrix(rng):
    x = rng.standard_normal((3, 4, 5))
    got = LocallyLowRank(0.5, (4, 5)).prox(jnp.asarray(x))
    np.testing.assert_allclose(got.reshape(3, 20), shrunk(x.reshape(3, 20), 0.5), atol=1e-13)


def test_errors():
    with pytest.raises(ValueError, match="block must be at least 1 pixel, got 0"):
        LocallyLowRank(1.0, 0)
    with pytest.raises(ValueError, match=r"block \(2, 2, 2\) .* do not fit the 2 image axes of shape \(3, 4, 4\)"):
        LocallyLowRank(1.0, (2, 2, 2))(jnp.ones((3, 4, 4)))
    with pytest.raises(ValueError, match=r"frames along axis 3 .* got shape \(3, 4, 4\)"):
        LocallyLowRank(1.0, 2, axis=3)(jnp.ones((3, 4, 4)))
