import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree

from jaxrecon.simulate import poisson_disc_mask, random_mask, uniform_mask, variable_density_mask
from jaxrecon.simulate.masks import _probabilities

KEY = jax.random.key(0)


def test_uniform_mask_by_hand():
    assert "".join(map(str, uniform_mask((9, 4), 3, dtype=int).ravel().tolist())) == "010010010"
    assert "".join(map(str, uniform_mask((4, 8), 4, axis=-1, dtype=int).ravel().tolist())) == "10001000"
    assert "".join(map(str, uniform_mask((8, 4), 4, offset=1, dtype=int).ravel().tolist())) == "01000100"
    assert "".join(map(str, uniform_mask((10, 4), 5, 3, dtype=int).ravel().tolist())) == "1000111000"
    assert "".join(map(str, uniform_mask((10, 4), 5, 4, dtype=int).ravel().tolist())) == "1001111000"
    assert uniform_mask((6, 7), 2).shape == (6, 1) and uniform_mask((6, 7), 2, axis=1).shape == (1, 7)
    assert uniform_mask((5, 6, 7), 2).shape == (1, 6, 1) and uniform_mask((6, 7), 2).dtype == bool


DRAWN = [random_mask, variable_density_mask]


@pytest.mark.parametrize("make", DRAWN)
@pytest.mark.parametrize(("shape", "axis", "calibration", "out"), [
    ((64, 50), -2, 8, (64, 1)), ((63, 50), 1, 7, (1, 50)), ((20, 30, 16), 1, 4, (1, 30, 1)),
    ((40, 33), None, (6, 5), (40, 33)), ((40, 33), None, 0, (40, 33)), ((9, 10, 11), None, 3, (9, 10, 11))])
@pytest.mark.parametrize("acceleration", [1, 2.5, 4])
def test_count_shape_and_calibration_are_exact(make, shape, axis, calibration, out, acceleration):
    mask = np.asarray(make(KEY, shape, acceleration, calibration, axis))
    assert mask.shape == out and mask.dtype == bool
    assert mask.sum() == round(mask.size / acceleration)
    sizes = calibration if isinstance(calibration, tuple) else (calibration,) * len(out)
    box = tuple(slice(n // 2 - c // 2, n // 2 - c // 2 + c) if n > 1 else slice(None)
                for n, c in zip(out, sizes, strict=True))
    assert mask[box].all()


@pytest.mark.parametrize("make", [*DRAWN, poisson_disc_mask])
def test_same_key_same_bits_whatever_the_default_precision(make):
    args = ((32, 24), 3) if make is poisson_disc_mask else ((32, 24), 3, 2, None)
    first = np.asarray(make(KEY, *args))
    np.testing.assert_array_equal(first, make(KEY, *args))
    with jax.enable_x64(False):
        np.testing.assert_array_equal(first, make(jax.random.key(0), *args))
    assert (first != np.asarray(make(jax.random.key(1), *args))).any()
    np.testing.assert_array_equal(first, make(KEY, *args, dtype="float32"))
    assert make(KEY, *args, dtype="float32").dtype == "float32"


def test_inclusion_probabilities_follow_the_density():
    n, count, power, calibration = 48, 12, 2.0, 4
    keys = jax.random.split(KEY, 4000)
    masks = jax.jit(jax.vmap(lambda k: variable_density_mask(k, (n, 8), n / count, calibration, power=power)))(keys)
    assert np.all(masks.sum((1, 2)) == count)
    k = np.arange(n) - n // 2
    density = (1 - np.abs(k) / (n // 2 + 1)) ** power
    density[(k >= -2) & (k < 2)] = 0
    low, high = 0.0, 100.0  # the constant by bisection, unlike the package
    for _ in range(100):
        c = (low + high) / 2
        low, high = (c, high) if np.minimum(1, c * density).sum() < count - calibration else (low, c)
    expected = np.where(density == 0, 1, np.minimum(1, c * density))
    # Standard error below .008; Pareto sampling is within .01 of the probabilities asked for.
    np.testing.assert_allclose(masks.mean((0, 2)), expected, atol=0.03)


def test_random_mask_is_even_and_not_correlated():
    masks = jax.vmap(lambda k: random_mask(k, (4, 40), 4, axis=1))(jax.random.split(KEY, 4000))[:, 0]
    np.testing.assert_allclose(masks.mean(0), 0.25, atol=0.03)
    pairs = (masks[:, :-1] & masks[:, 1:]).mean()
    assert pairs == pytest.approx(0.25 * 9 / 39, rel=0.03)


def test_probabilities_add_up():
    w = np.array([8.0, 4, 2, 1, 1, 0])
    for count in range(1, 6):
        p = _probabilities(w, count)
        assert p.sum() == pytest.approx(count) and p.max() <= 1 and p[-1] == 0
        free = (p > 0) & (p < 1)
        assert np.ptp(p[free] / w[free]) < 1e-12 if free.any() else True
    assert _probabilities(w, 0).sum() == 0


@pytest.mark.parametrize(("shape", "acceleration", "calibration", "growth", "elliptical"), [
    ((96, 96), 8, 12, 3.0, True), ((80, 61), 5, (9, 6), 2.0, False), ((96, 96), 6, 0, 0.0, False)])
def test_poisson_disc_keeps_its_distances(shape, acceleration, calibration, growth, elliptical):
    mask = np.asarray(poisson_disc_mask(KEY, shape, acceleration, calibration, growth, elliptical))
    assert mask.sum() == round(mask.size / acceleration)
    y, x = np.mgrid[: shape[0], : shape[1]]
    r = np.hypot((y - shape[0] // 2) / (shape[0] / 2), (x - shape[1] // 2) / (shape[1] / 2))
    sizes = calibration if isinstance(calibration, tuple) else (calibration,) * 2
    box = np.zeros(shape, bool)
    box[tuple(slice(n // 2 - c // 2, n // 2 - c // 2 + c) for n, c in zip(shape, sizes, strict=True))] = True
    assert mask[box].all()
    if elliptical:
        assert not mask[(r > 1) & ~box].any()

    def scale(m):
        """The largest s with |p - q| >= s min(d(p), d(q)) for every pair."""
        points, d = np.argwhere(m & ~box), (1 + growth * r)[m & ~box]
        i, j = cKDTree(points).query_pairs(12.0, output_type="ndarray").T
        return np.min(np.linalg.norm(points[i] - points[j], axis=1) / np.minimum(d[i], d[j]))

    outer = ~box & ((r <= 1) if elliptical else True)
    s = scale(mask)
    # A greedy packing with discs up to 1.5 times the smallest fills about half of what a hexagonal lattice would.
    filled = s**2 * np.sum(mask[outer] * (1 + growth * r[outer]) ** 2) / outer.sum()
    assert 0.3 < filled < 1.16
    shuffled = np.zeros(shape, bool)
    shuffled[outer] = np.random.default_rng(0).permutation(mask[outer])
    assert s > 1.5 * scale(shuffled)
    # No holes: every place has a sample within its own (largest) disc, give or take the dropped surplus.
    gap, _ = cKDTree(np.argwhere(mask)).query(np.argwhere(outer))
    assert np.mean(gap > 1.5 * s * (1 + growth * r[outer]) + 1) < 0.02


def test_poisson_disc_density_falls_with_growth():
    r = np.hypot(*np.mgrid[-64:64, -64:64]) / 64
    share = [np.asarray(poisson_disc_mask(KEY, (128, 128), 8, growth=g))[r < 0.5].mean() for g in (0.0, 1.0, 3.0)]
    assert share[0] == pytest.approx(4 / np.pi / 8, rel=0.05)  # even over the ellipse
    assert share[0] < 0.85 * share[1] < 0.75 * share[2]


def test_poisson_disc_extremes():
    assert poisson_disc_mask(KEY, (16, 16), 1, elliptical=False).all()
    calibration_only = poisson_disc_mask(KEY, (16, 16), 16, calibration=4)
    assert calibration_only.sum() == 16 and calibration_only[6:10, 6:10].all()
    assert poisson_disc_mask(KEY, (16, 16), 256).sum() == 1
    assert poisson_disc_mask(KEY, (16, 16), 256 / 17, calibration=4).sum() == 17
    assert poisson_disc_mask(KEY, (40, 40), 1.3).sum() == round(1600 / 1.3)
    assert poisson_disc_mask(jax.random.PRNGKey(0), (16, 16), 4).sum() == 64  # old-style keys too


@pytest.mark.parametrize(("call", "words"), [
    (lambda: uniform_mask((8, 8), 2.5), "whole number from 1 to 8, got 2.5"),
    (lambda: uniform_mask((8, 8), 2, calibration=9), "lower it"),
    (lambda: uniform_mask((8, 8), 2, axis=2), "axis 2"),
    (lambda: random_mask(KEY, (64, 64), 4, calibration=17), "takes 17 .* leaves 16 of 64; lower the calibration"),
    (lambda: variable_density_mask(KEY, (8, 8), 4, (5, 5), axis=None), "takes 25 .* leaves 16 of 64"),
    (lambda: poisson_disc_mask(KEY, (32, 32), 8, 12), "takes 144 .* leaves 128"),
    (lambda: random_mask(KEY, (8, 8), 0.5), "1 or more, got 0.5"),
    (lambda: variable_density_mask(KEY, (8, 8), 2, power=-1), "power"),
    (lambda: random_mask(KEY, (8, 8), 2, (2, 2)), "one number, or 1"),
    (lambda: poisson_disc_mask(KEY, (32, 32), 1.1), "elliptical=False"),
    (lambda: poisson_disc_mask(KEY, (32, 32, 32), 4), "2 axes"),
    (lambda: poisson_disc_mask(KEY, (32, 32), 4, growth=-1), "growth"),
])
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_poisson_disc_refuses_a_traced_key():
    with pytest.raises(TypeError, match="outside jit"):
        jax.vmap(lambda k: poisson_disc_mask(k, (16, 16), 4))(jnp.stack([KEY, KEY]))
