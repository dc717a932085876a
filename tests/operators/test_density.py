"""Density compensation against areas that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr
from jaxrecon.operators.density import pipe_menon, radial_density


def cartesian(*sizes):
    return np.stack(np.meshgrid(*[(np.arange(n) - n // 2) / n for n in sizes], indexing="ij"), -1)


def smoothed(nodes, w, k, cells=32):
    """The density of weights near k: their sum within a disc over its area."""
    inside = np.sum((nodes - k) ** 2, -1) < (3 / cells) ** 2
    return np.sum(np.asarray(w)[inside]) / (np.pi * (3 / cells) ** 2)


def test_radial_weights_are_the_areas_of_rings():
    spokes, samples = 40, 32
    k = jr.simulate.radial(spokes, samples)
    w, r = radial_density(k), np.abs(np.arange(samples) - samples // 2) / samples
    # A full spoke's share of the ring |k| = r is one of 2 x spokes.
    np.testing.assert_allclose(w, np.broadcast_to(np.where(r > 0, np.pi * r / spokes / samples,
                                                           np.pi / 6 / samples**2 / spokes), w.shape), rtol=1e-10)
    assert abs(w.sum() - np.pi / 4) < 1e-3


@pytest.mark.parametrize("centre_out", [False, True])
def test_radial_weights_integrate_what_is_smooth(centre_out):
    k = jr.simulate.radial(40, 64, centre_out=centre_out)
    gaussian = np.exp(-np.sum(np.asarray(k) ** 2, -1) / (2 * 0.05**2))
    # The centre alone is 3 % of it for whole spokes.
    assert abs(np.sum(np.asarray(radial_density(k)) * gaussian) / (2 * np.pi * 0.05**2) - 1) < 1e-3


@pytest.mark.parametrize(("nodes", "area"), [
    (jr.simulate.radial(50, 64, centre_out=True), np.pi / 4),
    (jr.simulate.koosh_ball(300, 64), np.pi / 6),
    (jr.simulate.koosh_ball(300, 64, centre_out=True), np.pi / 6),
    (jr.simulate.stack_of_stars(30, 64, 4)[..., 1:], np.pi / 4),
])
def test_radial_weights_sum_to_the_area_that_is_covered(nodes, area):
    assert abs(radial_density(nodes).sum() / area - 1) < 0.06  # half a sample is missing at the rim


@pytest.mark.slow
def test_radial_weights_are_smooth_in_the_nodes():
    k = jr.simulate.radial(8, 16)
    gradient = jax.grad(lambda k: jnp.sum(radial_density(k)))(k)
    # k (dS / dk) = 2 S: the weights are areas.
    np.testing.assert_allclose(jnp.vdot(gradient, k), 2 * radial_density(k).sum(), rtol=1e-10)
    assert radial_density(k.astype("float32")).dtype == "float32"


def test_pipe_menon_of_cartesian_nodes_is_one_cell():
    np.testing.assert_allclose(pipe_menon(cartesian(16, 12), (16, 12)), 1 / 192, rtol=0.03)


def test_pipe_menon_evens_out_the_density(rng):
    nodes = np.asarray(jr.simulate.radial(51, 64, "golden")).reshape(-1, 2)
    w = pipe_menon(nodes, (32, 32))
    assert np.all(w > 0)
    at = [smoothed(nodes, w, k) for k in rng.uniform(-0.25, 0.25, (40, 2))]
    assert np.std(at) < 0.05 and abs(np.mean(at) - 1) < 0.03
    even = jr.simulate.radial(51, 64)
    inner = np.sum(even**2, -1) < 0.3**2
    w, analytic = pipe_menon(even, (32, 32))[inner], radial_density(even)[inner]
    assert np.linalg.norm(w - analytic) < 0.05 * np.linalg.norm(analytic)


def test_pipe_menon_shares_between_equal_nodes():
    nodes = np.concatenate([cartesian(16).reshape(-1, 1)] * 2)
    np.testing.assert_allclose(pipe_menon(nodes, (16,)), 1 / 32, rtol=0.03)


@pytest.mark.slow
def test_weighted_gram_is_about_the_identity():
    A = jr.NUFFT(jr.simulate.radial(80, 64), (32, 32))
    n = np.arange(32) - 16
    x = np.exp(-(n[:, None] ** 2 + n**2) / 40)
    for w in (radial_density(A.nodes), pipe_menon(A)):
        assert np.linalg.norm(A.H(w * A(x)) * 32**2 - x) < 0.05 * np.linalg.norm(x)


@pytest.mark.slow
def test_pipe_menon_under_jit_vmap_and_in_float32(rng):
    nodes = rng.uniform(-0.5, 0.5, (2, 30, 2))
    run = jax.jit(jax.vmap(lambda k: pipe_menon(k, (6, 6), iterations=3)))
    np.testing.assert_allclose(run(nodes), [pipe_menon(k, (6, 6), iterations=3) for k in nodes], rtol=1e-10)
    assert pipe_menon(nodes.astype("float32"), (6, 6)).dtype == "float32"


@pytest.mark.parametrize(("call", "message"), [
    (lambda: pipe_menon(np.zeros((4, 2))), "shape"),
    (lambda: pipe_menon(np.zeros((4, 2)), (8, 8), iterations=0), "iterations"),
    (lambda: pipe_menon(np.zeros((4, 3)), (8, 8)), r"\(\.\.\., 2\)"),
    (lambda: radial_density(np.zeros((4, 1))), "spokes"),
    (lambda: radial_density(np.zeros((5, 1, 2))), "spokes"),
])
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
