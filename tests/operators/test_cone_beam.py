"""The cone-beam transform against Joseph's method written plainly, and against the fan beam."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.geometry import ConeBeam, FanBeam, ParallelBeam
from jaxrecon.operator import batched
from jaxrecon.operators.cone import ConeBeamXRay
from jaxrecon.operators.xray import XRay
from jaxrecon.testing import adjoint_error, check_operator

SHAPE = (4, 6, 5)
V, R, C = 8, 7, 9
ANGLES = np.linspace(0.1, 6, V)
# One near a source with few detectors per voxel, one with many of them on a virtual detector, one with a long lever.
CASES = {
    "near": (ConeBeam(ANGLES, R, C, 7.0, 6.0, 1.7, 1.3), 1.0),
    "virtual": (ConeBeam(ANGLES - 2, R, C, 30.0, 0.0, 0.6, 0.5), 0.8),
    "far": (ConeBeam(-ANGLES, R, C, 5.0, 40.0, 4.7, 7.0), 0.7),
}


def joseph(g, shape, size):
    """The matrix, ray by ray and slab by slab."""
    nz, ny, nx = shape
    M = np.zeros((len(g.angles), g.num_rows, g.num_columns, *shape))
    for v, t in enumerate(g.angles):
        along, across = np.array([np.cos(t), np.sin(t), 0]), np.array([-np.sin(t), np.cos(t), 0])
        source = -across * g.source_origin
        for r in range(g.num_rows):
            for c in range(g.num_columns):
                pixel = across * g.origin_detector + along * (c - (g.num_columns - 1) / 2) * g.column_spacing
                pixel[2] = (r - (g.num_rows - 1) / 2) * g.row_spacing
                ray = pixel - source
                axis = 0 if abs(ray[0]) > abs(ray[1]) else 1
                for slab in range(nx if axis == 0 else ny):
                    where = (slab - (nx - 1) / 2) if axis == 0 else ((ny - 1) / 2 - slab)
                    p = source + ray * (where * size - source[axis]) / ray[axis]
                    j, i, k = p[0] / size + (nx - 1) / 2, (ny - 1) / 2 - p[1] / size, p[2] / size + (nz - 1) / 2
                    across_slab, width = (i, ny) if axis == 0 else (j, nx)
                    for a in (int(np.floor(across_slab)), int(np.floor(across_slab)) + 1):
                        for b in (int(np.floor(k)), int(np.floor(k)) + 1):
                            if 0 <= a < width and 0 <= b < nz:
                                weight = (1 - abs(across_slab - a)) * (1 - abs(k - b))
                                where = (b, a, slab) if axis == 0 else (b, slab, a)
                                M[(v, r, c, *where)] += weight * size * np.linalg.norm(ray) / abs(ray[axis])
    return M


@pytest.mark.parametrize("case", CASES)
def test_equals_joseph(rng, case):
    geometry, size = CASES[case]
    A, M = ConeBeamXRay(geometry, SHAPE, size), joseph(geometry, SHAPE, size)
    x, y = rng.standard_normal(SHAPE), rng.standard_normal((V, R, C))
    assert np.count_nonzero(M) > 1000
    for got, wanted in ((A(x), np.tensordot(M, x, 3)), (A.H(y), np.tensordot(y, M, 3))):
        np.testing.assert_allclose(got, wanted, atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("float64", 1e-14)])
def test_adjoint_is_exact(dtype, tolerance):
    A = ConeBeamXRay(*CASES["near"][:1], SHAPE)
    assert adjoint_error(A, jax.random.key(0), dtype) < tolerance
    assert A(jnp.ones(SHAPE, dtype)).dtype == A.H(jnp.ones((V, R, C), dtype)).dtype == dtype


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_is_an_operator(case):
    geometry, size = CASES[case]
    check_operator(ConeBeamXRay(geometry, SHAPE, size), jax.random.key(1))


def test_middle_row_is_a_fan_beam(rng):
    x = rng.standard_normal((1, 11, 12))
    cone = ConeBeamXRay(ConeBeam(ANGLES, 1, 14, 20.0, 10.0, 3.0, 1.4), (1, 11, 12), 1.2)
    fan = XRay(FanBeam(ANGLES, 14, 20.0, 10.0, 1.4), (11, 12), 1.2)
    y = fan(x[0])
    np.testing.assert_allclose(cone(x)[:, 0], y, atol=1e-5)
    np.testing.assert_allclose(cone.H(y[:, None])[0], fan.H(y), atol=1e-4)


def test_views_of_an_operator(rng):
    A = ConeBeamXRay(CASES["near"][0], SHAPE)
    x, index = rng.standard_normal(SHAPE), np.array([5, 0, 3])
    y = A(x)[index]
    np.testing.assert_allclose(A.views(index)(x), y, atol=1e-12)
    assert A.views(slice(1, None, 3)).codomain.shape == (3, R, C)
    np.testing.assert_allclose(jax.jit(lambda A, i: A.views(i).apply(x))(A, index), y, atol=1e-12)


def test_parallel_rays_in_three_dimensions_are_slices(rng):
    x = rng.standard_normal(SHAPE)
    A = XRay(ParallelBeam(ANGLES, C), SHAPE[1:])
    np.testing.assert_allclose(batched(A, SHAPE[0])(x), np.stack([A(v) for v in x]), atol=1e-12)


def test_errors():
    geometry = CASES["near"][0]
    with pytest.raises(ValueError, match="inside the volume"):
        ConeBeamXRay(geometry, SHAPE, 2.0)
    with pytest.raises(ValueError, match=r"\(nz, ny, nx\)"):
        ConeBeamXRay(geometry, SHAPE[1:])
    with pytest.raises(ValueError, match="voxel_size"):
        ConeBeamXRay(geometry, SHAPE, 0.0)
    with pytest.raises(TypeError, match=r"jr\.XRay"):
        ConeBeamXRay(ParallelBeam(ANGLES, C), SHAPE)
    with pytest.raises(ValueError, match="outside jit"):
        jax.jit(lambda a: ConeBeamXRay(ConeBeam(a, R, C, 7.0, 6.0), SHAPE)(jnp.ones(SHAPE)))(ANGLES)
