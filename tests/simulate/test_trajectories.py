"""Trajectories against what is known of them: angles, radii, spacings, and how evenly they fill k-space."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree

from jaxrecon.simulate import golden_angle, koosh_ball, radial, spiral, spoke_angles, stack_of_stars

DEGREES = 180 / math.pi
EVERY = [lambda **k: radial(7, 9, **k), lambda **k: radial(8, 10, centre_out=True, **k),
         lambda **k: spiral(16, 3, 50, **k), lambda **k: stack_of_stars(5, 8, 3, rotation=1.0, **k),
         lambda **k: koosh_ball(9, 8, **k), lambda **k: koosh_ball(9, 8, "golden", True, **k)]


def complexed(k):
    return np.asarray(k[..., 1] + 1j * k[..., 0])


@pytest.mark.parametrize("make", EVERY)
def test_nodes_are_in_the_half_open_square_and_within_the_disc(make):
    k = make()
    assert k.dtype == jnp.float64 and make(dtype="float32").dtype == jnp.float32
    for v in (k, make(dtype="float32")):
        assert v.min() >= -0.5 and v.max() < 0.5
    radius = np.linalg.norm(k[..., -2:] if k.ndim == 4 else k, axis=-1)
    assert radius.max() <= 0.5 + 1e-12
    with jax.enable_x64(False):
        assert make().dtype == jnp.float32


def test_golden_angles_of_the_literature():
    # Winkelmann et al. 2007; Wundrak et al. 2015, table 1.
    expected = {1: 111.246, 2: 68.754, 3: 49.750, 4: 38.978, 5: 32.039, 6: 27.198, 7: 23.628}
    for n, degrees in expected.items():
        assert golden_angle(n) * DEGREES == pytest.approx(degrees, abs=1e-3)
        assert golden_angle(n, 2 * math.pi) == 2 * golden_angle(n)


def test_radial_by_hand():
    k = complexed(radial(4, 8))
    np.testing.assert_allclose(np.abs(k), np.tile([4, 3, 2, 1, 0, 1, 2, 3], (4, 1)) / 8, atol=1e-15)
    np.testing.assert_allclose(k[:, 5], np.exp(1j * np.arange(4) * np.pi / 4) / 8, atol=1e-15)
    odd = complexed(radial(1, 5))
    np.testing.assert_allclose(odd, [[-0.4, -0.2, 0, 0.2, 0.4]], atol=1e-15)
    out = complexed(radial(4, 8, centre_out=True))
    np.testing.assert_allclose(out[:, 1:], np.arange(1, 8) / 16 * np.array([1, 1j, -1, -1j])[:, None], atol=1e-15)


def test_spokes_turn_by_the_angle_asked_for():
    golden = complexed(radial(50, 16, "golden", tiny=7))[:, -1]
    np.testing.assert_allclose(np.angle(golden[1:] / golden[:-1]) * DEGREES, 23.628, atol=1e-3)
    given = np.array([0.3, 1.7, -2.0])
    np.testing.assert_allclose(np.angle(complexed(radial(given, 16))[:, -1]), given, atol=1e-12)
    np.testing.assert_allclose(spoke_angles(5, turn=2 * math.pi) * DEGREES, [0, 72, 144, 216, 288])


@pytest.mark.parametrize("count", [5, 13, 34, 50, 89])
def test_any_number_of_golden_spokes_has_gaps_of_three_sizes_at_most(count):
    # The three-gap theorem; with the golden ratio neighbouring sizes are tau apart, and equal at Fibonacci numbers.
    angles = np.sort(np.mod(spoke_angles(count, "golden"), math.pi))
    gaps = np.diff([*angles, angles[0] + math.pi])
    sizes = np.unique(np.round(gaps, 9))
    assert len(sizes) <= (2 if count in (5, 13, 34, 89) else 3)
    np.testing.assert_allclose(sizes[1:] / sizes[:-1], golden_angle(1, 1.0) ** -1, rtol=1e-6)


def test_radial_meets_nyquist_at_the_edge_with_half_pi_n_spokes():
    n = 32
    k = radial(math.ceil(math.pi / 2 * n), 2 * n)
    edge = complexed(k[:, 0])
    assert np.abs(np.diff(edge)).max() <= 1 / n
    assert np.abs(np.diff(complexed(radial(math.ceil(math.pi / 2 * n) - 2, 2 * n)[:, 0]))).max() > 1 / n


def test_angles_are_differentiable_and_may_be_traced():
    angles = jnp.array([0.2, 1.1])
    slope = jax.jit(jax.jacfwd(lambda a: radial(a, 4)))(angles)
    r = np.array([-0.5, -0.25, 0, 0.25])
    np.testing.assert_allclose(slope[0, :, 0, 0], r * np.cos(0.2), atol=1e-12)
    np.testing.assert_allclose(slope[0, :, :, 1], 0)


def test_stack_of_stars_is_radial_in_every_plane():
    k = stack_of_stars(5, 8, 4, "golden", rotation=0.25)
    assert k.shape == (4, 5, 8, 3)
    np.testing.assert_allclose(k[:, 0, 0, 0], [-0.5, -0.25, 0, 0.25])
    for p in range(4):
        assert np.ptp(k[p, ..., 0]) == 0
        np.testing.assert_allclose(k[p, ..., 1:], radial(spoke_angles(5, "golden") + 0.25 * p, 8), atol=1e-15)
    np.testing.assert_allclose(stack_of_stars(1, 1, 5)[:, 0, 0, 0], np.array([-2, -1, 0, 1, 2]) / 5)


@pytest.mark.parametrize("order", ["spiral", "golden"])
@pytest.mark.parametrize("centre_out", [False, True])
def test_koosh_ball_covers_the_sphere_evenly(order, centre_out):
    count = 1000
    k = np.asarray(koosh_ball(count, 8, order, centre_out))
    ends = k[:, -1] / np.linalg.norm(k[:, -1], axis=-1, keepdims=True)
    radius = np.arange(8) / 16 if centre_out else (np.arange(8) - 4) / 8
    np.testing.assert_allclose(k, radius[:, None] * ends[:, None], atol=1e-12)
    points = ends if centre_out else np.concatenate([ends, -ends])
    # Archimedes: every coordinate of an even distribution on the sphere is uniform in [-1, 1].
    for d in range(3):
        t = np.sort(points[:, d])
        assert np.abs(t - np.linspace(-1, 1, len(t))).max() < 0.06
    # No holes: in a hexagonal packing no point is further than 1.1 sqrt(4 / J) from the next.
    probe = np.random.default_rng(0).standard_normal((4000, 3))
    probe /= np.linalg.norm(probe, axis=-1, keepdims=True)
    assert cKDTree(points).query(probe)[0].max() < (1.7 if order == "spiral" else 2.2) * math.sqrt(4 / len(points))


def test_golden_means_of_chan():
    k = np.asarray(koosh_ball(4, 4, "golden"))[:, -1] * 4
    means = np.array([0.4656, 0.6823])
    np.testing.assert_allclose(k[:, 0], np.mod(np.arange(4) * means[0], 1), atol=2e-4)
    azimuth = np.mod(np.arctan2(k[:, 1], k[:, 2]) / (2 * math.pi), 1)
    np.testing.assert_allclose(azimuth, np.mod(np.arange(4) * means[1], 1), atol=2e-4)


def crossings(k):
    """Radii at which the interleaves cross the positive x axis, sorted."""
    found = []
    for arm in k:
        turns = np.unwrap(np.angle(arm[1:])) / (2 * math.pi)
        whole = np.arange(math.ceil(turns[0]), math.floor(turns[-1]) + 1)
        found.append(np.interp(whole, turns, np.abs(arm[1:])))
    return np.sort(np.concatenate(found))


@pytest.mark.parametrize(("density", "interleaves"), [(1.0, 1), (1.0, 8), (0.5, 4), ((1.0, 0.4), 6), ((0.8, 1.6), 6)])
def test_turns_of_a_spiral_are_as_far_apart_as_its_density_says(density, interleaves):
    n = 64
    r = crossings(complexed(spiral(n, interleaves, 40 * n * n // interleaves, density)))
    centre, edge = density if isinstance(density, tuple) else (density, density)
    middle = (r[1:] + r[:-1]) / 2
    wanted = 1 / (n * (centre + (edge - centre) * 2 * middle))
    np.testing.assert_allclose(np.diff(r)[1:], wanted[1:], rtol=0.01)
    # As many turns as the density has room for: the integral of N rho from 0 to 1/2.
    assert len(r) == pytest.approx(n * (centre + edge) / 4, abs=1.5)


def test_samples_of_a_spiral_are_evenly_spaced_and_its_length_is_that_of_archimedes():
    n, samples = 32, 4000
    k = complexed(spiral(n, 1, samples))
    steps = np.abs(np.diff(k[0]))
    np.testing.assert_allclose(steps[40:], steps.mean(), rtol=1e-3)  # before, chords are shorter than arcs
    c = 2 * math.pi * n  # r = a / c
    a = c / 2
    length = (a * math.sqrt(1 + a * a) + math.asinh(a)) / (2 * c)
    assert steps.sum() + steps.mean() == pytest.approx(length, rel=3e-4)
    assert length == pytest.approx(math.pi * n / 4, rel=2e-3)


def test_interleaves_are_turned_copies():
    k = complexed(spiral(32, 5, 60, (1.0, 0.5)))
    np.testing.assert_allclose(k, k[0] * np.exp(2j * np.pi * np.arange(5) / 5)[:, None], atol=1e-14)
    assert np.all(k[:, 0] == 0) and 0.47 < np.abs(k[:, -1]).min() < 0.5


@pytest.mark.parametrize(("call", "error", "says"), [
    (lambda: radial(0, 8), ValueError, "spokes must be 1 or more, got 0"),
    (lambda: radial(3, 8.5), TypeError, "samples must be a whole number, got 8.5"),
    (lambda: radial(3, 8, "random"), ValueError, "'uniform' or 'golden', got 'random'"),
    (lambda: radial(np.zeros((2, 2)), 8), ValueError, r"one axis of angles, got shape \(2, 2\)"),
    (lambda: golden_angle(0), ValueError, "tiny must be 1 or more"),
    (lambda: koosh_ball(4, 4, "uniform"), ValueError, "'spiral' or 'golden', got 'uniform'"),
    (lambda: spiral(16, 2, 9, (1.0, 0.0)), ValueError, r"density must be positive, got \(1.0, 0.0\)"),
    (lambda: stack_of_stars(4, 4, 0), ValueError, "partitions must be 1 or more")])
def test_errors_name_what_was_wanted(call, error, says):
    with pytest.raises(error, match=says):
        call()
