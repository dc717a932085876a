"""The X-ray transform against Joseph's method written plainly, ASTRA, and exact line integrals of ellipses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from joseph import chords, joseph_matrix

import jaxrecon as jr
from jaxrecon.geometry import FanBeam, FanVectors, ParallelBeam
from jaxrecon.operators.xray import XRay, forward
from jaxrecon.solvers import CGNR
from jaxrecon.testing import adjoint_error, check_operator

ANGLES = np.linspace(0, 2 * np.pi, 9)  # both axes; 45 and 135 degrees


def wobbling(views, detectors, rng):
    """A short scan whose source, detector and spacing jump, with a detector tilted by up to 40 degrees."""
    t = np.linspace(0.3, 3.9, views)
    beam = np.stack([-np.sin(t), np.cos(t)], -1)
    tilt = t + rng.uniform(-0.7, 0.7, views)
    step = np.stack([np.cos(tilt), np.sin(tilt)], -1) * rng.uniform(-2.0, -0.5, (views, 1))
    return FanVectors(-beam * rng.uniform(30, 60, (views, 1)), beam * rng.uniform(0, 40, (views, 1))
                      + rng.uniform(-2, 2, (views, 2)), step, detectors)


CASES = {
    "parallel": (ParallelBeam(ANGLES, 25), (16, 16), 1.0),
    "parallel, tall": (ParallelBeam(ANGLES + 0.1, 24), (19, 6), 1.0),
    "parallel, wide, small unit": (ParallelBeam(ANGLES - 0.2, 20, 0.013, 0.004), (7, 18), 0.01),
    "parallel, one pixel": (ParallelBeam(ANGLES, 5, 0.25), (1, 1), 1.0),
    "parallel, coarse detector": (ParallelBeam(ANGLES + 0.1, 6, 4.7), (16, 17), 1.0),
    "parallel, fine detector": (ParallelBeam(ANGLES + 0.1, 70, 0.11, 2.0), (11, 12), 1.0),
    "parallel, half outside": (ParallelBeam(ANGLES + 0.1, 16, 1.0, 11.0), (16, 16), 1.0),
    "fan": (FanBeam(ANGLES, 24, 40.0, 30.0, 1.5), (16, 16), 1.0),
    "fan, offset, wide, other unit": (FanBeam(ANGLES + 0.1, 23, 400.0, 0.0, 9.0, 7.0), (13, 18), 10.0),
    "fan, source near": (FanBeam(ANGLES + 0.1, 40, 13.5, 50.0, 6.0), (16, 15), 1.0),
    "fan, fine detector": (FanBeam(ANGLES + 0.1, 90, 20.0, 60.0, 0.4), (9, 10), 1.0),
    "fan, coarse detector": (FanBeam(ANGLES + 0.1, 6, 20.0, 20.0, 11.0), (16, 15), 1.0),
    "vectors": (wobbling(8, 25, np.random.default_rng(3)), (17, 14), 1.0),
}


def relative(got, wanted):
    return np.linalg.norm(np.asarray(got) - np.asarray(wanted)) / np.linalg.norm(wanted)


def matrices(A, dtype):
    """A and A.H as matrices, by the images of all unit vectors."""
    n, m = np.prod(A.shape), np.prod(A.codomain.shape)
    A_columns = jax.jit(jax.vmap(A))(jnp.eye(n, dtype=dtype).reshape(n, *A.shape))
    H_columns = jax.jit(jax.vmap(A.H))(jnp.eye(m, dtype=dtype).reshape(m, *A.codomain.shape))
    assert A_columns.dtype == H_columns.dtype == dtype
    return np.asarray(A_columns).reshape(n, m).T, np.asarray(H_columns).reshape(m, n)


def some(*fast):
    """All cases; those not named are slow ones: each compiles its own programs."""
    return pytest.mark.parametrize("case", [c if c in fast else pytest.param(c, marks=pytest.mark.slow) for c in CASES])


@some("parallel, tall", "vectors")
def test_every_weight_of_both_directions_is_joseph_s(case):
    geometry, shape, pixel_size = CASES[case]
    A = XRay(geometry, shape, pixel_size)
    wanted = joseph_matrix(geometry, shape, pixel_size)
    for dtype, tolerance in ((jnp.float32, 1e-5), (jnp.float64, 1e-12)):
        for got in matrices(A, dtype):
            assert relative(got, wanted) < tolerance
            np.testing.assert_allclose(got, wanted, atol=5 * tolerance * wanted.max())


@some()
def test_dot_test(case):
    A = XRay(*CASES[case])
    assert adjoint_error(A, jax.random.key(0), jnp.float32) < 1e-6
    assert adjoint_error(A, jax.random.key(0), jnp.complex64) < 1e-6
    assert adjoint_error(A, jax.random.key(0), jnp.float64) < 1e-14


@pytest.mark.parametrize("geometry", [ParallelBeam(ANGLES, 90, 0.03), FanBeam(ANGLES, 90, 50.0, 50.0, 2.0)])
def test_dot_test_and_matrix_at_64(geometry, rng):
    A = XRay(geometry, (64, 61))
    assert adjoint_error(A, jax.random.key(0), jnp.float32) < 1e-6
    x = rng.standard_normal((64, 61))
    assert relative(A(jnp.asarray(x, jnp.float32)).ravel(), joseph_matrix(geometry, (64, 61)) @ x.ravel()) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("case", ["parallel, tall", "vectors"])
def test_as_an_operator_in_every_way_jax_runs_it(case):
    check_operator(XRay(*CASES[case]), jax.random.key(0))


def test_against_astra(rng):
    astra = pytest.importorskip("astra")
    geometry = ParallelBeam(np.linspace(0, np.pi, 40, endpoint=False) + 0.01, 91, 1.1)
    x = rng.random((64, 50))
    volume = astra.create_vol_geom(64, 50)
    sinogram = astra.create_proj_geom("parallel", 1.1, 91, geometry.angles)
    matrix = astra.matrix.get(astra.projector.matrix(astra.create_projector("linear", sinogram, volume)))
    A, y = XRay(geometry, (64, 50)), rng.random((40, 91))
    assert relative(A(jnp.asarray(x, jnp.float32)).ravel(), matrix @ x.ravel()) < 1e-4
    assert relative(A.H(jnp.asarray(y, jnp.float32)).ravel(), matrix.T @ y.ravel()) < 1e-4


def test_fan_beam_against_astra():
    """ASTRA's fan beam has no `linear` kernel on a CPU; lengths inside pixels differ, the integral little."""
    astra = pytest.importorskip("astra")
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False) + 0.01
    i, j = np.mgrid[:64, :64] - 31.5
    x = np.exp(-((i - 5) ** 2 + (j + 9) ** 2) / 100)
    sinogram = astra.create_proj_geom("fanflat", 1.5, 91, angles, 120.0, 60.0)
    projector = astra.create_projector("line_fanflat", sinogram, astra.create_vol_geom(64, 64))
    wanted = astra.matrix.get(astra.projector.matrix(projector)) @ x.ravel()
    got = XRay(FanBeam(angles, 91, 120.0, 60.0, 1.5), (64, 64))(jnp.asarray(x))
    assert relative(got.ravel(), wanted) < 1e-2


# ---- exact line integrals; pixels of an edge hold the part of them that is inside

SHEPP_LOGAN = [  # value, semi-axes, centre, degrees
    (2.0, (0.69, 0.92), (0, 0), 0), (-0.98, (0.6624, 0.874), (0, -0.0184), 0), (-0.02, (0.11, 0.31), (0.22, 0), -18),
    (-0.02, (0.16, 0.41), (-0.22, 0), 18), (0.01, (0.21, 0.25), (0, 0.35), 0), (0.01, (0.046, 0.046), (0, 0.1), 0),
    (0.01, (0.046, 0.046), (0, -0.1), 0), (0.01, (0.046, 0.023), (-0.08, -0.605), 0),
    (0.01, (0.023, 0.023), (0, -0.606), 0), (0.01, (0.023, 0.046), (0.06, -0.605), 0),
]
DISC = [(1.0, (0.6, 0.6), (0.1, -0.2), 0)]
BEAMS = [ParallelBeam(np.linspace(0, np.pi, 30, endpoint=False), 100, 0.022),
         FanBeam(np.linspace(0, 2 * np.pi, 30, endpoint=False), 100, 4.0, 2.0, 0.035)]


def drawn(ellipses, n, pixel_size, finer=8):
    a = (np.arange(n * finer) - (n * finer - 1) / 2) * pixel_size / finer
    x, y = np.meshgrid(a, -a)
    image = np.zeros((n * finer, n * finer))
    for value, axes, centre, degrees in ellipses:
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        u, v = x - centre[0], y - centre[1]
        image += value * (((c * u + s * v) / axes[0]) ** 2 + ((c * v - s * u) / axes[1]) ** 2 <= 1)
    return image.reshape(n, finer, n, finer).mean((1, 3))


@pytest.mark.parametrize("geometry", BEAMS)
@pytest.mark.parametrize("ellipses", [DISC, SHEPP_LOGAN])
def test_sinogram_of_ellipses(geometry, ellipses):
    """At 128^2 .6 % for the disc, 1.0 to 1.4 % for the phantom, half at twice the resolution: it is the pixels'."""
    wanted = sum(v * chords(geometry, c, np.array(a), np.radians(d)) for v, a, c, d in ellipses)
    coarse, fine = (relative(XRay(geometry, (n, n), 2 / n)(jnp.asarray(drawn(ellipses, n, 2 / n))), wanted)
                    for n in (128, 256))
    assert coarse < (0.008 if ellipses is DISC else 0.018)
    assert fine < 0.65 * coarse


def test_the_sum_over_detectors_is_the_mass(rng):
    x = rng.random((20, 30))
    y = XRay(ParallelBeam(ANGLES + 0.1, 400, 0.1 * 0.5), (20, 30), 0.5)(jnp.asarray(x))
    np.testing.assert_allclose(y.sum(1) * 0.05, x.sum() * 0.25, rtol=2e-3)


# ---- JAX


def test_batches_and_complex_images_are_the_same_as_one_by_one(rng):
    A = XRay(*CASES["vectors"])
    x = jnp.asarray(rng.standard_normal((2, 3, *A.shape)) + 1j * rng.standard_normal((2, 3, *A.shape)), jnp.complex64)
    batch = jax.vmap(jax.vmap(A, in_axes=0, out_axes=1), in_axes=1, out_axes=0)(x)
    one_by_one = np.stack([[A(x[i, k].real) + 1j * A(x[i, k].imag) for i in range(2)] for k in range(3)])
    np.testing.assert_allclose(np.moveaxis(batch, 2, 1), one_by_one, atol=1e-5)


def test_a_batch_is_gathered_as_one_and_stays_small():
    A = XRay(*CASES["fan"])
    text = str(jax.make_jaxpr(jax.vmap(A))(jnp.ones((5, *A.shape), jnp.float32)))
    assert f"f32[{A.shape[0]},{A.shape[1]},5]" in text.replace(" ", "")


def test_no_scatter_in_either_direction():
    A = XRay(*CASES["fan"])
    text = jax.jit(lambda A, x: jax.grad(lambda x: jnp.sum(A(x) ** 2))(x)).lower(A, jnp.ones(A.shape)).as_text()
    assert "scatter" not in text


def test_gradient_of_the_adjoint_and_scan(rng):
    A, x = XRay(*CASES["vectors"]), jnp.asarray(rng.standard_normal(CASES["vectors"][1]))
    y = A(x)
    np.testing.assert_allclose(jax.grad(lambda y: jnp.vdot(A.H(y), x))(y), y, atol=1e-10)
    loop = jax.lax.scan(lambda v, _: (A.H(A(v)) / 1e3, None), x, length=2)[0]
    np.testing.assert_allclose(loop, A.gram(A.gram(x)) / 1e6, atol=1e-12)


def test_another_geometry_of_the_same_size_is_no_other_program():
    count = 0

    @jax.jit
    def run(A, x):
        nonlocal count
        count += 1
        return A(x)

    x = jnp.ones((16, 16))
    for geometry in (ParallelBeam(ANGLES, 20), ParallelBeam(ANGLES * 0.3 + 0.2, 20)):
        run(XRay(geometry, (16, 16)), x)
    assert count == 1
    for geometry in (FanBeam(ANGLES, 20, 50.0, 50.0, 2.2), FanBeam(ANGLES + 0.1, 20, 51.0, 49.0, 2.2)):
        run(XRay(geometry, (16, 16)), x)
    assert count == 2


def test_views_selects_from_the_operator(rng):
    A = XRay(*CASES["vectors"])
    x = jnp.asarray(rng.standard_normal(A.shape))
    y = A(x)
    for index in (slice(0, 8, 4), np.array([4, 1])):
        np.testing.assert_allclose(A.views(index)(x), y[index], atol=1e-12)
        np.testing.assert_allclose(XRay(A.geometry.subset(index), A.shape)(x), A.views(index)(x), atol=1e-12)
    traced = jax.jit(lambda A, i: A.views(i).H(A.views(i)(x)))(A, jnp.array([0, 5]))
    np.testing.assert_allclose(traced, A.views([0, 5]).gram(x), atol=1e-11)
    by_parts = sum(A.views(slice(k, None, 4)).H(y[k::4]) for k in range(4))
    np.testing.assert_allclose(by_parts, A.H(y), atol=1e-11)


@pytest.mark.slow
@some("vectors")
def test_many_rows_or_views_in_one_step(case, monkeypatch, rng):
    """What a GPU runs; the number of rows and of views is no multiple of four."""
    A = XRay(*CASES[case])
    x, y = (jnp.asarray(rng.standard_normal(s), jnp.float32) for s in (A.shape, A.codomain.shape))
    ahead, back = A(x), A.H(y)
    monkeypatch.setattr(forward, "steps_at_once", lambda: 4)
    jax.clear_caches()
    try:
        np.testing.assert_allclose(A(x), ahead, atol=1e-4)
        np.testing.assert_allclose(A.H(y), back, atol=1e-4)
    finally:
        jax.clear_caches()


def test_half_precision_is_computed_in_single(rng):
    A = XRay(*CASES["fan"])
    x = jnp.asarray(rng.random(A.shape), jnp.bfloat16)
    assert A(x).dtype == jnp.bfloat16
    assert relative(A(x).astype(float), A(x.astype(float))) < 3e-3


@pytest.mark.slow
def test_least_squares_recovers_the_image(rng):
    x = jnp.asarray(rng.random((8, 8)))
    A = XRay(ParallelBeam(np.linspace(0, np.pi, 16, endpoint=False), 24, 0.5), (8, 8))
    assert relative(jr.solve(A, A(x), CGNR(), iterations=80).x, x) < 1e-6


# ---- what is refused


def test_traced_geometries_raise():
    def run(angles):
        return XRay(ParallelBeam(angles, 8), (8, 8))(jnp.ones((8, 8)))

    with pytest.raises(ValueError, match=r"traced geometry.*outside jit"):
        jax.jit(run)(jnp.asarray(ANGLES))
    with pytest.raises(ValueError, match="traced geometry"):
        jax.grad(lambda s: XRay(ParallelBeam(ANGLES, 8, s), (8, 8))(jnp.ones((8, 8))).sum())(1.0)


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ((FanBeam(ANGLES, 8, 7.0, 9.0), (16, 16)), ValueError, "source of view 0 is inside the image.*move the source out"),
    ((FanBeam(ANGLES[:1], 8, 8.5, 9.0), (16, 16)), ValueError, "behind the source or beside it"),
    ((FanVectors([[0, -20]], [[0, 20]], [[0, 1]], 8), (16, 16)), ValueError, "edge-on"),
    ((FanVectors([[0, -20]], [[0, 20]], [[0, 0]], 8), (16, 16)), ValueError, "edge-on"),
    ((FanVectors([[0, -20]], [[0, -30]], [[1, 0]], 8), (16, 16)), ValueError, "behind the source"),
    ((ParallelBeam(ANGLES, 8), (4, 16, 16)), ValueError, r"2-D image, got \(4, 16, 16\); lift it"),
    ((ParallelBeam(ANGLES, 8), 16), ValueError, "2-D image, got 16"),
    ((ParallelBeam(ANGLES, 8), (16, 0)), ValueError, "2-D image"),
    ((ParallelBeam(ANGLES, 8), (16, 16), 0.0), ValueError, "pixel_size > 0, got 0"),
    ((ANGLES, (16, 16)), TypeError, "ParallelBeam, FanBeam or FanVectors.*ndarray"),
])
def test_impossible_arguments_raise(arguments, error, message):
    with pytest.raises(error, match=message):
        XRay(*arguments)


def test_images_of_another_shape_raise():
    with pytest.raises(ValueError, match=r"takes shape \(16, 16\), got \(16, 15\)"):
        XRay(*CASES["fan"])(jnp.ones((16, 15)))
