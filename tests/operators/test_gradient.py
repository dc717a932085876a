"""Forward differences and their Gram operator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.operator import dense
from jaxrecon.operators.gradient import Gradient
from jaxrecon.testing import check_operator

SHAPES = [(5,), (4, 3), (2, 3, 4), (1, 3)]


@pytest.mark.parametrize("boundary", ["symmetric", "circular"])
@pytest.mark.parametrize("shape", [(5,), (4, 3), *(pytest.param(s, marks=pytest.mark.slow) for s in SHAPES[2:])])
def test_is_an_operator(shape, boundary):
    check_operator(Gradient(shape, boundary), jax.random.key(0))


def test_of_complex_single_precision():
    check_operator(Gradient((3, 4), dtype="complex64"), jax.random.key(1))


@pytest.mark.parametrize("boundary", ["symmetric", "circular"])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_numpy(rng, shape, boundary):
    x = rng.standard_normal(shape)
    mode = {"symmetric": "edge", "circular": "wrap"}[boundary]
    want = [np.diff(np.pad(x, [(0, int(a == d)) for a in range(x.ndim)], mode=mode), axis=d) for d in range(x.ndim)]
    np.testing.assert_allclose(Gradient(shape, boundary)(jnp.asarray(x)), want, atol=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_spectrum_of_the_circular_gram(shape):
    gram = Gradient(shape, "circular").gram
    spectrum = gram.spectrum
    assert spectrum.dtype == jnp.float64
    matrix = dense(Gradient(shape, "circular"))
    np.testing.assert_allclose(np.linalg.eigvalsh(matrix.T @ matrix), np.sort(spectrum.ravel()), atol=1e-13)
    w = np.meshgrid(*[2 * np.pi * np.arange(n) / n for n in shape], indexing="ij")
    np.testing.assert_allclose(spectrum, sum(2 - 2 * np.cos(v) for v in w), atol=1e-14)
    assert Gradient(shape, "circular", "complex64").gram.spectrum.dtype == jnp.float32
    assert Gradient(shape).gram.spectrum is None


def test_gram_equals_the_laplacian_stencil():
    x = jnp.zeros((5, 5)).at[2, 2].set(1.0).at[0, 0].set(1.0)
    got = np.asarray(Gradient((5, 5)).gram(x))
    assert got[2, 2] == 4 and got[2, 1] == got[1, 2] == -1
    assert got[0, 0] == 2 and got[0, 1] == -1


def test_errors():
    with pytest.raises(ValueError, match=r"1 to 3 axes .* got shape \(2, 2, 2, 2\).*batched"):
        Gradient((2, 2, 2, 2))
    with pytest.raises(ValueError, match="got shape"):
        Gradient(())
    with pytest.raises(ValueError, match=r"'symmetric', 'circular'.*got 'zero'"):
        Gradient((3,), "zero")
    with pytest.raises(ValueError, match=r"shape \(3,\), got \(2, 3\); for a batch"):
        Gradient((3,))(jnp.ones((2, 3)))
