"""Hiding measurements: which, and what their prediction says."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr
from jaxrecon.parameters.crossvalidate import _drawn

SHAPE = (12, 10)
NAMES = ("lines", "samples", "everything", "sense, lines", "sense, samples", "composed", "batched", "known norm",
         "views", "matrix", "off resonance", "anything")


def line_mask():
    return jnp.asarray(np.isin(np.arange(12), [0, 2, 3, 5, 6, 7, 9, 11]))[:, None]


@functools.cache
def operators():
    maps = jr.simulate.coil_maps(SHAPE, 3)
    full = jax.random.bernoulli(jax.random.key(1), 0.6, SHAPE)
    angles = np.arange(9) * np.pi / 9
    return {
        "lines": jr.Fourier(SHAPE, mask=line_mask()),
        "samples": jr.Fourier(SHAPE, mask=full),
        "everything": jr.Fourier(SHAPE),
        "sense, lines": jr.sense(maps, line_mask()),
        "sense, samples": 2.0 * jr.sense(maps, full),
        "composed": jr.real_part(jr.Fourier(SHAPE, mask=full) @ jr.CoilMaps(maps)),
        "batched": jr.batched(jr.Fourier(SHAPE, mask=line_mask()), 2),
        "known norm": jr.with_norm(jr.NUFFT(jr.simulate.radial(6, 12), SHAPE) @ jr.CoilMaps(maps)),
        "views": jr.XRay(jr.ParallelBeam(angles, 15), SHAPE),
        "matrix": jr.Matrix(jax.random.normal(jax.random.key(2), (20, 6))),
        "off resonance": jr.OffResonance(jr.Fourier(SHAPE), jnp.ones(SHAPE), jnp.linspace(0, 1e-3, 12)[:, None]),
        "anything": jr.Convolution(jnp.ones((3, 3)), SHAPE, boundary="zero"),
    }


@pytest.mark.parametrize("name", NAMES)
def test_kept_is_a_diagonal_in_front(name, rng):
    A = operators()[name]
    keep = jnp.asarray(rng.random(A.locations) < 0.5, float)
    x = jnp.asarray(rng.standard_normal(A.domain.shape))
    part = A.kept(keep)
    np.testing.assert_allclose(part(x), keep * A(x), atol=1e-12)
    y = jnp.asarray(rng.standard_normal(A.codomain.shape)).astype(A.codomain.dtype)
    np.testing.assert_allclose(part.H(y), A.H(keep * y), atol=1e-10)
    np.testing.assert_allclose(part.gram(x), A.H(keep * A(x)), atol=1e-5 if name == "known norm" else 1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_hidden(name):
    """Disjoint parts of the measured locations, of the share that was asked for, none near the centre of k-space."""
    A = operators()[name]
    hidden = np.asarray(_drawn(A, 3, 0.2, jax.random.key(0)))
    assert hidden.shape == (3, *A.locations) and np.all(hidden.sum(0) <= 1)
    counts = hidden.reshape(3, -1).sum(1)
    assert len(set(counts)) == 1 and counts[0] >= 1
    seen = np.asarray(jr.parameters.measured(A))
    assert np.all(np.any(np.broadcast_to(seen, A.codomain.shape) * hidden[0], axis=None))
    if A.frequencies is not None:
        assert np.all(np.broadcast_to(A.frequencies, A.codomain.shape)[np.broadcast_to(hidden[0], A.codomain.shape)]
                      > 0.06)
    usual = np.asarray(_drawn(A, None, None, None))
    few = np.prod(A.locations) < 500
    assert len(usual) == (5 if few else 1)
    if name == "lines":
        assert hidden.shape[1:] == (12, 1) and not np.any(hidden & ~np.asarray(line_mask()))
        np.testing.assert_allclose(A.frequencies[:, 5], np.abs(np.arange(12) - 6) / 12)


@pytest.mark.parametrize("name", ["sense, lines", pytest.param("views", marks=pytest.mark.slow), "matrix"])
def test_scores_are_the_prediction_of_what_was_hidden(name, rng):
    """Against the definition: dense solutions without the hidden rows, one fold and lam after the other."""
    A = operators()[name]
    x = jnp.asarray(rng.standard_normal(A.domain.shape))
    b = A(x) + 0.1 * jnp.asarray(rng.standard_normal(A.codomain.shape)) * (A(x) != 0)
    lams = jnp.geomspace(1e-2, 1e1, 3)
    found = jr.crossvalidate(A, b, lams, lambda lam: jr.CGNR(lam), folds=2, share=0.2, iterations=120, refine=0)
    a, y = np.asarray(jr.dense(A)), np.asarray(b).ravel()
    hidden = np.stack([np.broadcast_to(part, b.shape).ravel() for part in _drawn(A, 2, 0.2, None)])
    seen = np.asarray(jr.parameters.measured(A)).ravel() > 0
    scores = []
    for lam in lams:
        total = 0.0
        for fold in hidden:
            rest = a[~fold]
            z = np.linalg.solve(rest.conj().T @ rest + lam * np.eye(a.shape[1]), rest.conj().T @ y[~fold])
            total += np.sum(np.abs(a[fold & seen] @ z - y[fold & seen]) ** 2)
        scores.append(total / np.sum(hidden & seen))
    np.testing.assert_allclose(found.scores, scores, rtol=1e-4 if name == "views" else 1e-6)  # XRay is float32


def test_hidden_can_be_given_and_any_reconstructor_be_judged(rng):
    A = jr.Fourier(SHAPE, mask=line_mask())
    b = A(jnp.asarray(rng.standard_normal(SHAPE)))
    lams = jnp.geomspace(1e-2, 1, 3)
    hidden = (jnp.arange(12) == 2)[None, :, None]
    one = jr.crossvalidate(A, b, lams, lambda lam: jr.CGNR(lam), hidden=hidden, iterations=2, refine=0)
    other = jr.crossvalidate(A, b, lams, lambda lam: jr.Iterative(jr.CGNR(lam), 2), hidden=hidden, refine=0)
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-12)
    # Without its samples of a line, an image of small norm predicts nothing there.
    np.testing.assert_allclose(one.scores, np.mean(np.abs(b[2]) ** 2), rtol=1e-6)


@pytest.mark.slow
def test_it_finds_the_noise(rng):
    """Ridge regression: the best lam of the prediction is near sigma^2 / mean x^2."""
    a = rng.standard_normal((300, 40))
    x = rng.standard_normal(40)
    A, b = jr.Matrix(jnp.asarray(a)), jnp.asarray(a @ x + 6 * rng.standard_normal(300))
    found = jr.crossvalidate(A, b, jnp.geomspace(1e-1, 1e4, 21), lambda lam: jr.CGNR(lam), folds=10, share=0.1,
                             iterations=60)
    assert bool(found.ok) and 10 < float(found.lam) < 130  # 36 is best in the mean
