"""Geometries as values: where source and detector are, subsets, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.geometry import ConeBeam, FanBeam, FanVectors, ParallelBeam

ANGLES = np.array([0.0, 0.5, np.pi / 2, 4.0])


def test_fan_beam_stands_where_the_conventions_say():
    vectors = FanBeam(ANGLES, 5, 30.0, 20.0, 2.0, 3.0).vectors
    np.testing.assert_allclose(vectors.source[[0, 2]], [[0, -30], [30, 0]], atol=1e-14)
    np.testing.assert_allclose(vectors.detector[[0, 2]], [[3, 20], [-20, 3]], atol=1e-14)
    np.testing.assert_allclose(vectors.step[[0, 2]], [[2, 0], [0, 2]], atol=1e-14)
    assert vectors.num_views == 4
    assert vectors.num_detectors == 5
    assert FanBeam(ANGLES, 5, 30.0, 20.0).magnification == pytest.approx(5 / 3)


def test_positions_of_the_pixels():
    np.testing.assert_allclose(ParallelBeam(ANGLES, 4, 2.0, 0.5).positions, [-2.5, -0.5, 1.5, 3.5])
    np.testing.assert_allclose(FanBeam(ANGLES, 3, 9.0, 9.0, 2.0).positions, [-2, 0, 2])


@pytest.mark.parametrize("geometry", [ParallelBeam(ANGLES, 4), FanBeam(ANGLES, 4, 9.0, 9.0, 1.0, 0.5),
                                      FanBeam(ANGLES, 4, 9.0, 9.0).vectors, ConeBeam(ANGLES, 3, 4, 9.0, 9.0)])
def test_subsets_and_trees(geometry):
    name = "source" if isinstance(geometry, FanVectors) else "angles"
    whole = getattr(geometry, name)
    assert whole.dtype == np.float64
    for index in (slice(1, None, 2), [3, 0], np.array([True, False, True, True])):
        part = geometry.subset(index)
        assert type(part) is type(geometry)
        np.testing.assert_array_equal(getattr(part, name), whole[index])
        assert part.num_views == len(whole[index])
    rebuilt = jax.tree.map(lambda v: v, geometry)
    assert rebuilt.num_views == 4
    traced = jax.jit(lambda g, i: getattr(g.subset(i), name))(geometry, jnp.array([2, 1]))
    np.testing.assert_allclose(traced, whole[[2, 1]])
    with pytest.raises(ValueError, match=r"at least one view|views >= 1"):
        geometry.subset([])


def test_numbers_stay_float64_on_the_host():
    assert isinstance(ParallelBeam([0, 1], 4).angles, np.ndarray)
    assert ParallelBeam(jnp.array([0.0, 1.0], jnp.float32), 4).angles.dtype == np.float64


@pytest.mark.parametrize(("make", "message"), [
    (lambda: ParallelBeam(np.zeros((2, 2)), 4), r"angles of shape \(views,\).*got shape \(2, 2\)"),
    (lambda: ParallelBeam(0.3, 4), r"got shape \(\)"),
    (lambda: ParallelBeam([], 4), "at least one view"),
    (lambda: ParallelBeam([0.0, np.nan], 4), "finite angles, got 1"),
    (lambda: ParallelBeam(ANGLES, 0), "num_detectors as an integer >= 1, got 0"),
    (lambda: ParallelBeam(ANGLES, 2.5), "num_detectors as an integer >= 1, got 2.5"),
    (lambda: ParallelBeam(ANGLES, 4, 0.0), "ParallelBeam needs detector_spacing > 0, got 0"),
    (lambda: ParallelBeam(ANGLES, 4, 1.0, np.inf), "finite detector_offset"),
    (lambda: FanBeam(ANGLES, 4, -1.0, 5.0), "FanBeam needs source_origin > 0, got -1"),
    (lambda: FanBeam(ANGLES, 4, 5.0, -5.0), "origin_detector >= 0, got -5"),
    (lambda: FanVectors(np.zeros((3, 2)), np.zeros((2, 2)), np.zeros((3, 2)), 4), r"\(3, 2\), \(2, 2\), \(3, 2\)"),
    (lambda: FanVectors(np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 3)), 4), r"\(views, 2\)"),
    (lambda: FanVectors(np.full((1, 2), np.nan), np.ones((1, 2)), np.ones((1, 2)), 4), "finite source"),
    (lambda: ConeBeam(ANGLES, 0, 4, 5.0, 5.0), "num_rows as an integer >= 1"),
    (lambda: ConeBeam(ANGLES, 4, 4, 5.0, 5.0, 1.0, -2.0), "column_spacing > 0, got -2"),
])
def test_impossible_geometries_raise(make, message):
    with pytest.raises(ValueError, match=message):
        make()
