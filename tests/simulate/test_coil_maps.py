import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.simulate import coil_maps


@pytest.mark.parametrize(("shape", "coils"), [((32, 32), 8), ((33, 20), 1), ((12, 15, 14), 8), ((8, 9, 10), 5)])
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_shape_dtype_and_unit_power(shape, coils, dtype):
    maps = coil_maps(shape, coils, dtype=dtype)
    assert maps.shape == (coils, *shape) and maps.dtype == dtype
    np.testing.assert_allclose(np.sum(np.abs(maps) ** 2, axis=0), 1, rtol=1e-6 if dtype == "complex64" else 1e-13)


def test_unnormalised_map_is_the_field_of_a_line_current():
    """m = e^{-it} i / (z - z_c)^*, with z = x + i y: analytic in conj(z), an independent form of the same formula."""
    maps = np.asarray(coil_maps((16, 20), 4, radius=1.7, normalise=False))
    x, y = ((np.arange(n) + 0.5) / n * 2 - 1 for n in (20, 16))
    z = x[None, :] + 1j * y[:, None]
    for c in range(4):
        t = np.pi / 2 * c
        np.testing.assert_allclose(maps[c], np.exp(-1j * t) * 1j / (z - 1.7 * np.exp(1j * t)), rtol=1e-12)


def test_each_coil_sees_its_own_side_and_all_are_smooth():
    maps = np.asarray(coil_maps((64, 64), 8))
    for c in range(8):
        i, j = np.unravel_index(np.abs(maps[c]).argmax(), (64, 64))
        angle = np.angle((j - 31.5) + 1j * (i - 31.5)) - 2 * np.pi * c / 8
        assert abs((angle + np.pi) % (2 * np.pi) - np.pi) < np.pi / 8
    inside = np.hypot(*np.mgrid[-31.5:32, -31.5:32]) < 32
    steps = [np.abs(np.diff(maps, axis=axis))[:, inside.take(range(63), axis - 1)].max() for axis in (1, 2)]
    assert max(steps) < 0.08  # no phase jump: a branch cut would give about 1
    # Different sensitivities, or parallel imaging would not work: the coils' Gram matrix is well conditioned.
    assert np.linalg.cond(maps.reshape(8, -1)) < 100


def test_rings_differ_along_z_and_maps_are_smooth():
    maps = np.asarray(coil_maps((24, 24, 24), 8))
    low, high = (np.sum(np.abs(maps[s]) ** 2, axis=0).mean((1, 2)) for s in (slice(0, 4), slice(4, 8)))
    assert low[0] > 0.7 and high[0] < 0.3 and low[-1] < 0.3 and high[-1] > 0.7
    assert max(np.abs(np.diff(maps, axis=a)).max() for a in (1, 2, 3)) < 0.3
    assert coil_maps((4, 4, 4), 6, rings=3).shape == (6, 4, 4, 4)


def test_jit_and_gradient_in_the_radius():
    def f(r):
        return jnp.sum(jnp.abs(coil_maps((8, 6), 3, radius=r)) ** 4)

    step = 1e-5
    numeric = (f(1.8 + step) - f(1.8 - step)) / (2 * step)
    np.testing.assert_allclose(jax.jit(jax.grad(f))(1.8), numeric, rtol=1e-6)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: coil_maps((8, 8), 0), "1 coil or more, got 0"),
    (lambda: coil_maps((8, 8), 4, radius=1.2), "got 1.2"),
    (lambda: coil_maps((8, 8), 4, rings=2), "3-D"),
    (lambda: coil_maps((8, 8, 8), 4, rings=3), "divide"),
    (lambda: coil_maps((8, 8), 4, dtype="float32"), "complex"),
    (lambda: coil_maps((8,), 4), "axes"),
])
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
