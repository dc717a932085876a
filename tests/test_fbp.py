"""Filtered back-projection: analytic discs and balls, Parker's weights, scikit-image, measured scans."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.transform import iradon
from skimage.transform.radon_transform import _get_fourier_filter

from jaxrecon.analytic import FBP, fbp
from jaxrecon.analytic.filters import ramp_filter
from jaxrecon.analytic.plan import circle_vectors, fan_vectors
from jaxrecon.analytic.weights import angular_cells, half_turn_weights, parker_weights
from jaxrecon.geometry import ConeBeam, FanBeam, FanVectors, ParallelBeam
from jaxrecon.operator import batched, real_part
from jaxrecon.operators import Identity
from jaxrecon.operators.cone import ConeBeamXRay
from jaxrecon.operators.xray import XRay
from jaxrecon.simulate import shepp_logan

V, D = 180, 128
SHAPE = (60, 52)
FAN = {"source_origin": 110.0, "origin_detector": 60.0, "detector_spacing": 1.3}
FILTERS = ["ram-lak", "shepp-logan", "cosine", "hamming", "hann"]


def views(span, number=V):
    return np.linspace(0, span, number, endpoint=False)


def full(degrees=360.0):
    return views(np.deg2rad(degrees))


def rays(geometry):
    """A point on each ray and its direction, (V, D, 2)."""
    d = np.arange(geometry.num_detectors) - (geometry.num_detectors - 1) / 2
    if isinstance(geometry, ParallelBeam):
        along = np.stack([np.cos(geometry.angles), np.sin(geometry.angles)], -1)[:, None]
        across = np.stack([-np.sin(geometry.angles), np.cos(geometry.angles)], -1)[:, None]
        point = (d * geometry.detector_spacing + geometry.detector_offset)[:, None] * along
        return point, np.broadcast_to(across, point.shape)
    source, detector, step = fan_vectors(geometry)
    point = detector[:, None] + d[:, None] * step[:, None]
    return point, point - source[:, None]


def disc_sinogram(geometry, centre, radius):
    point, ray = rays(geometry)
    v, n = point - np.asarray(centre), ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    return 2 * np.sqrt(np.maximum(radius**2 - (v[..., 0] * n[..., 1] - v[..., 1] * n[..., 0]) ** 2, 0))


def distance_from(centre, shape, size):
    x, y = (np.arange(shape[1]) - (shape[1] - 1) / 2) * size, ((shape[0] - 1) / 2 - np.arange(shape[0])) * size
    return np.hypot(x - centre[0], y[:, None] - centre[1])


def check_disc(geometry, size=1.0, centre=(4.0, -7.0), radius=15.0, outside=0.005):
    centre, radius = np.multiply(centre, size), radius * size
    x = np.asarray(fbp(XRay(geometry, SHAPE, size), disc_sinogram(geometry, centre, radius)))
    r = distance_from(centre, SHAPE, size)
    inside = x[r < radius - 3 * size]
    assert abs(inside.mean() - 1) < 0.002
    assert inside.std() < 0.01
    assert abs(x[r > radius + 3 * size].mean()) < outside


@pytest.mark.parametrize("geometry, size", [
    (ParallelBeam(full(180), D), 1.0),
    (ParallelBeam(full(), D), 1.0),
    (ParallelBeam(np.linspace(0, 2 * np.pi, V), D), 1.0),
    (ParallelBeam(full(-180) + 1, D, 0.7), 1.2),
    (ParallelBeam(full(180), D, 1.5, 3.3), 2.0),
    (ParallelBeam(np.arange(V) * np.pi * (np.sqrt(5) - 1) / 2, D), 1.0),
    (ParallelBeam(np.pi * (views(1) + 0.1 * np.sin(2 * np.pi * views(1))), D), 1.0),
    (ParallelBeam(full(), D, 0.5, 22.0), 1.0),
    (ParallelBeam(full(), D, 0.5, -22.0), 1.0),
], ids=["pi", "turn", "closed", "negative", "offset", "golden", "uneven", "one side", "other side"])
def test_disc_parallel(geometry, size):
    check_disc(geometry, size)


@pytest.mark.parametrize("geometry, size", [
    (FanBeam(full(), D, **FAN), 1.0),
    (FanBeam(np.linspace(0, -2 * np.pi, V), D, **FAN), 1.0),
    (FanBeam(full(), D, 80.0, 0.0, 0.8, 0.2), 1.1),
    (FanBeam(np.arange(V) * np.pi * (np.sqrt(5) - 1), D, **FAN), 1.0),
    (FanBeam(full(), D, **FAN, detector_offset=45.0), 1.0),
    (FanBeam(full(), D, **FAN, detector_offset=-45.0), 1.0),
    (FanBeam(full(236), D, **FAN), 1.0),
    (FanBeam(full(-236) - 2, D, **FAN), 1.0),
    (FanBeam(full(290) + 1, D, **FAN), 1.0),
    (FanBeam(full(-350), D, **FAN), 1.0),
    (FanBeam(full(236), D, **FAN, detector_offset=3.0), 1.0),
], ids=["turn", "closed", "virtual", "golden", "one side", "other side", "short", "back", "over", "nearly", "offset"])
def test_disc_fan(geometry, size):
    check_disc(geometry, size)


def test_disc_fan_vectors(rng):
    source, detector, step = fan_vectors(FanBeam(full(236), D, **FAN))
    check_disc(FanVectors(source, detector, -step, D))
    check_disc(FanVectors(source * (1 + 0.002 * rng.standard_normal((V, 1))), detector, step, D))


def test_scan_that_misses_a_quarter_keeps_what_it_has():
    geometry = ParallelBeam(full(90), D)
    x = np.asarray(fbp(XRay(geometry, SHAPE), disc_sinogram(geometry, (0, 0), 15.0)))
    assert abs(x[distance_from((0, 0), SHAPE, 1) < 12].mean() - 0.5) < 0.01


def test_random_views(rng):
    geometry = ParallelBeam(rng.uniform(0, np.pi, V), D)
    check_disc(geometry)
    cells, _, span, _ = angular_cells(np.array(geometry.angles), np.pi)
    assert span == np.pi
    np.testing.assert_allclose(cells.sum(), np.pi)


def test_cells_by_hand():
    cells, start, span, _ = angular_cells(np.array([0.0, 1.0, 3.0, 2 * np.pi]), 2 * np.pi)
    # The first and the last are in one place, and share its arc.
    last = 2 * np.pi - 3
    np.testing.assert_allclose(cells, [(last + 1) / 4, (1 + 2) / 2, (2 + last) / 2, (last + 1) / 4])
    assert (start, span) == (0, 2 * np.pi)
    cells, start, span, _ = angular_cells(np.deg2rad(np.arange(350, 560, 10)), 2 * np.pi)
    np.testing.assert_allclose([*np.rad2deg(cells), *np.rad2deg([start, span])], [10] * 21 + [345, 210])


@pytest.mark.parametrize("period", [np.pi, 2 * np.pi])
@pytest.mark.parametrize("traced", [False, True])
def test_cells_of_repeated_and_of_clustered_views(rng, period, traced):
    cells_of = jax.jit(angular_cells, static_argnums=1) if traced else angular_cells
    once = np.concatenate([views(period, 30), rng.uniform(0, period, 3)])
    few = cells_of(once, period)
    order = rng.permutation(20 * len(once))
    many = cells_of(np.tile(once, 20)[order], period)
    np.testing.assert_allclose(many.cells, np.tile(few.cells / 20, 20)[order], rtol=1e-9)
    assert many.span == few.span == period
    clustered = cells_of(np.concatenate([views(period / 30, 400), np.linspace(period / 30, period, 15)]), period)
    np.testing.assert_allclose([clustered.span, clustered.cells.sum()], period)
    stray = cells_of(np.deg2rad(np.array([*range(90), 135.0])) * period / np.pi, period)
    np.testing.assert_allclose(np.rad2deg(np.asarray(stray.cells)) * np.pi / period, 1, atol=0.5)
    two_arcs = cells_of(np.concatenate([views(period / 9, 20), period / 2 + views(period / 9, 20)]), period)
    np.testing.assert_allclose(two_arcs.cells, period / 180, rtol=0.4)
    np.testing.assert_allclose(two_arcs.cells.sum(), 2 * period / 9, rtol=0.04)


@pytest.mark.parametrize("offset", [0.0, 0.9, 1.1, 5.0])
def test_a_single_view_is_no_full_turn(offset):
    disc = jnp.asarray(np.hypot(*(np.indices((32, 32)) - 15.5)) < 6, float)

    def found(offset):
        A = XRay(ParallelBeam(np.array([0.3]), 47, 1.0, offset), (32, 32))
        return FBP()(A, A(disc)).max()

    np.testing.assert_allclose(found(offset), found(0.0), rtol=0.1)


# ---- weights


def test_parker_weights_are_those_of_parker():
    half_fan = 0.3
    beta, gamma = np.linspace(0, np.pi + 2 * half_fan, 41)[:, None], np.linspace(-0.299, 0.299, 13)
    with np.errstate(all="ignore"):
        rising = np.sin(np.pi / 4 * beta / (half_fan - gamma)) ** 2
        falling = np.sin(np.pi / 4 * (np.pi + 2 * half_fan - beta) / (half_fan + gamma)) ** 2
    wanted = np.where(beta <= 2 * (half_fan - gamma), rising, np.where(beta <= np.pi - 2 * gamma, 1, falling))
    # Parker's fan angle is counted the other way round.
    np.testing.assert_allclose(parker_weights(beta, -gamma, np.pi + 2 * half_fan), wanted, atol=1e-12)


@pytest.mark.parametrize("span", [3.3, 3.8, 4.5, 6.0])
def test_both_weights_of_a_ray_make_one(rng, span):
    a, g = rng.uniform(0, span, 500), rng.uniform(-0.4, 0.4, 500)
    total = parker_weights(a, g, span)
    for turn in (np.pi, -np.pi):
        again = a + turn - 2 * g
        total = total + np.where((again >= 0) & (again <= span), parker_weights(again, -g, span), 0)
    np.testing.assert_allclose(total, 1, atol=1e-12)


def test_weights_of_a_shifted_detector():
    u = np.linspace(-6, 6, 25)
    w = half_turn_weights(u, -4.0, 20.0, 0.5)
    np.testing.assert_allclose(w + w[::-1], 1)
    assert w[0] == 0 and w[-1] == 1
    np.testing.assert_array_equal(half_turn_weights(u, -6.0, 6.2, 0.5), 0.5)


# ---- filters


@pytest.mark.parametrize("name", FILTERS)
def test_filters_are_those_of_skimage(name):
    size = 256
    impulse = np.zeros(size // 2)
    impulse[0] = 1
    got = np.asarray(ramp_filter(jnp.asarray(impulse), 1.0, name, margin=0))
    wanted = np.fft.ifft(_get_fourier_filter(size, {"ram-lak": "ramp"}.get(name, name))[:, 0]).real[: size // 2] / 2
    # Its Hann and Hamming windows are a sample wider.
    np.testing.assert_allclose(got, wanted, atol=1e-3 if name.startswith("ha") else 1e-12)


def test_ramp_is_the_formula_in_space(rng):
    n, spacing = 9, 0.4
    k = np.arange(-2 * n, 2 * n + 1)
    h = np.where(k % 2 == 1, -1 / (np.pi * np.where(k == 0, 1, k)) ** 2, 0) + 0.25 * (k == 0)
    b = rng.standard_normal(n) + 1j * rng.standard_normal(n)
    wanted = np.convolve(b, h)[2 * n - 3 : 3 * n + 3] / spacing
    np.testing.assert_allclose(ramp_filter(jnp.asarray(b), spacing, margin=3), wanted, atol=1e-12)
    np.testing.assert_allclose(ramp_filter(jnp.asarray(b.real), spacing, margin=3), wanted.real, atol=1e-12)


def test_cutoff_removes_high_frequencies():
    wave = jnp.cos(jnp.pi * jnp.arange(256) * 0.75)
    assert jnp.abs(ramp_filter(wave, 1.0, "hann", 0.5)[64:-64]).max() < 1e-3
    assert jnp.abs(ramp_filter(wave, 1.0, "hann", 1.0)[64:-64]).max() > 0.05


# ---- against scikit-image


@pytest.mark.parametrize("name", ["ram-lak", "hann"])
def test_equals_skimage(name):
    n = 65
    angles = np.linspace(0, np.pi, 90, endpoint=False)
    A = XRay(ParallelBeam(angles, n), (n, n))
    truth = shepp_logan((n, n))
    b = np.asarray(A(truth))
    # Its angle turns the other way, and its detector begins at the other end.
    wanted = iradon(b.T, np.rad2deg(angles), filter_name={"ram-lak": "ramp"}.get(name, name), circle=True)
    got = np.asarray(fbp(A, b, name))
    seen = distance_from((0, 0), (n, n), 1) < n // 2 - 1
    assert np.linalg.norm((got - wanted)[seen]) < 0.01 * np.linalg.norm(wanted[seen])


# ---- as a function of b


@functools.cache
def operators():
    return (XRay(ParallelBeam(views(np.pi, 24), 20), (13, 12)),
            XRay(FanBeam(views(4.2, 24), 20, 30.0, 10.0, 1.3), (13, 12)),
            ConeBeamXRay(ConeBeam(views(2 * np.pi, 12), 6, 20, 30.0, 10.0, 1.5, 1.3), (4, 13, 12)))


@pytest.mark.parametrize("kind", [1, 2])
def test_is_linear_and_transposes(rng, kind):
    A = operators()[kind]
    b, c = (jnp.asarray(rng.standard_normal(A.codomain.shape)) for _ in range(2))
    r = FBP("hann", 0.8)
    x, y = r(A, b), r(A, c)
    np.testing.assert_allclose(r(A, b - 2 * c), x - 2 * y, atol=1e-12)
    z = jnp.asarray(rng.standard_normal(x.shape))

    def traced(r, A, b):
        return r(A, b), jax.linear_transpose(functools.partial(r, A), b)(z)[0]

    again, back = jax.jit(traced)(r, A, b)
    np.testing.assert_allclose(again, x, atol=1e-9)
    np.testing.assert_allclose(jnp.sum(back * c), jnp.sum(z * y), rtol=1e-9)


def test_transformations(rng):
    A = operators()[0]
    b = jnp.asarray(rng.standard_normal((2, *A.codomain.shape)))
    r = FBP("hann", 0.8)
    x = jnp.stack([r(A, b[0]), r(A, b[1])])
    np.testing.assert_allclose(jax.vmap(functools.partial(r, A))(b), x, atol=1e-12)
    np.testing.assert_allclose(r(A, b[0] + 1j * b[1]), x[0] + 1j * x[1], atol=1e-12)
    slope = jax.grad(lambda c: jnp.sum(FBP("hann", c)(A, b[0]) * x[1]))(0.8)
    single = r(A, b[0].astype(jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, x[0], atol=2e-5 * float(jnp.abs(x).max()))
    ends = [jnp.sum(FBP("hann", c)(A, b[0]) * x[1]) for c in (0.79999, 0.80001)]
    np.testing.assert_allclose(slope, (ends[1] - ends[0]) / 2e-5, rtol=1e-3)


def test_slices(rng):
    A = operators()[0]
    b = rng.standard_normal((3, *A.codomain.shape))
    np.testing.assert_allclose(fbp(batched(A, 3), b)[1], fbp(A, b[1]), atol=1e-12)
    with pytest.raises(ValueError, match=r"jr\.batched"):
        fbp(A, b)


# ---- cone beam


@pytest.mark.slow
def test_middle_slice_is_a_fan_beam(rng):
    angles = views(2 * np.pi, 24)
    fan = XRay(FanBeam(angles, 20, 30.0, 10.0, 1.3), (13, 12), 1.1)
    cone = ConeBeamXRay(ConeBeam(angles, 1, 20, 30.0, 10.0, 2.0, 1.3), (1, 13, 12), 1.1)
    b = rng.standard_normal((24, 20))
    np.testing.assert_allclose(fbp(cone, b[:, None])[0], fbp(fan, b), atol=1e-12)


def ball_projections(g, centre, radius):
    u = (np.arange(g.num_columns) - (g.num_columns - 1) / 2)[:, None]
    v = (np.arange(g.num_rows) - (g.num_rows - 1) / 2) * g.row_spacing
    source, detector, step = circle_vectors(g.angles, g.source_origin, g.origin_detector, g.column_spacing)
    ray = np.zeros((g.num_views, g.num_rows, g.num_columns, 3))
    ray[..., :2] = (detector - source)[:, None, None] + (u * step[:, None])[:, None]
    ray[..., 2] = v[:, None]
    w = np.asarray(centre) - np.pad(source, ((0, 0), (0, 1)))[:, None, None]
    along = (w * ray).sum(-1) / np.linalg.norm(ray, axis=-1)
    return 2 * np.sqrt(np.maximum(radius**2 - ((w**2).sum(-1) - along**2), 0))


@pytest.mark.parametrize("span, size", [(2 * np.pi, 1.0), (2 * np.pi, 0.8), (np.pi + 0.55, 1.0)])
def test_ball(span, size):
    shape = (27, 32, 30)
    geometry = ConeBeam(views(span, 120), 44, 60, 110.0, 60.0, 1.2 * size, 1.1 * size)
    centre, radius = np.multiply((3.0, -4.0, 1.0), size), 9 * size
    x = np.asarray(fbp(ConeBeamXRay(geometry, shape, size), ball_projections(geometry, centre, radius)))
    z = (np.arange(shape[0]) - (shape[0] - 1) / 2) * size
    r = np.hypot(distance_from(centre[:2], shape[1:], size), (z - centre[2])[:, None, None])
    inside = r < radius - 2.5 * size
    assert abs(x[inside].mean() - 1) < 0.005
    assert abs(x[13][inside[13]].mean() - 1) < 0.002
    assert abs(x[r > radius + 2.5 * size].mean()) < 0.005


# ---- what it refuses


def test_errors(rng):
    A = operators()[0]
    b = np.ones(A.codomain.shape)
    for wrong in ({"filter": "ramp"}, {"frequency_cutoff": 0.0}, {"frequency_cutoff": 1.5}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            FBP(**wrong)
    with pytest.raises(ValueError, match="20"):
        fbp(A, b[:, 1:])
    for other in (Identity((3, 3)), real_part(A)):
        with pytest.raises(TypeError, match="X-ray"):
            fbp(other, np.ones((3, 3)))
    source, detector, step = fan_vectors(FanBeam(views(6.0, 24), 20, 40.0, 10.0))
    for what, wobbly in {
        "source to origin": (source * np.linspace(1, 1.2, 24)[:, None], detector, step),
        "spacing": (source, detector, step * np.linspace(1, 1.2, 24)[:, None]),
        "direction": (source + step * 5, detector + step * 5, step),
    }.items():
        with pytest.raises(ValueError, match=what):
            fbp(XRay(FanVectors(*wobbly, 20), (13, 12)), b)
    assert fbp(A, np.ones(A.codomain.shape, int)).dtype == jnp.result_type(float)


# ---- measured scans


def dice(a, b):
    return 2 * np.sum(a & b) / (a.sum() + b.sum())


@pytest.mark.slow
def test_htc_disc(shared_data):
    from skimage.filters import threshold_otsu

    scan = shared_data("ct_htc2022_ta_full.npz")
    source, far = float(scan["DSO_mm"]), float(scan["DSD_mm"])
    geometry = FanBeam(np.deg2rad(scan["angle_deg"]), 560, source, far - source, 0.2)
    x = np.asarray(fbp(XRay(geometry, (512, 512), 0.2 * source / far), jnp.asarray(scan["sino"])))
    assert x.dtype == np.float32
    x = np.maximum(x, 0)
    assert dice(x > threshold_otsu(x), scan["gt"]) > 0.9995


def test_tooth(shared_data):
    scan = shared_data("ct_tooth_slice0.npz")
    dark, white = scan["dark"].mean(0), scan["white"].mean(0)
    b = -np.log((scan["data"] - dark) / (white - dark))

    def image(axis):
        geometry = ParallelBeam(np.deg2rad(scan["theta_deg"]), 640, 1.0, (640 - 1) / 2 - axis)
        return np.asarray(fbp(XRay(geometry, (256, 256), 2.0), jnp.asarray(b), "hann", 0.5))

    # The right axis of rotation gives the sharpest image, here the one of least variation.
    axes = float(scan["cor"]) + np.array([-4.0, -2.0, 0.0, 2.0, 4.0])
    variation = [np.abs(np.diff(x, axis=0)).sum() + np.abs(np.diff(x, axis=1)).sum() for x in map(image, axes)]
    assert np.argmin(variation) == 2
    # Each view measures the integral of the whole image.
    seen = distance_from((0, 0), (256, 256), 2.0) < 320
    np.testing.assert_allclose(4 * np.sum(image(axes[2]) * seen), np.median(b.sum(1)), rtol=0.03)
