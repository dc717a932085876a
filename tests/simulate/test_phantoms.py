import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.simulate import discs, random_ellipses, shepp_logan
from jaxrecon.simulate.phantoms import _draw_ellipses

# Toft (1996), table B.3: value, half axes, centre, degrees.
TOFT = """
 1.0 .6900 .9200  0     0       0
-0.8 .6624 .8740  0    -.0184   0
-0.2 .1100 .3100  .22   0     -18
-0.2 .1600 .4100 -.22   0      18
 0.1 .2100 .2500  0     .35     0
 0.1 .0460 .0460  0     .1      0
 0.1 .0460 .0460  0    -.1      0
 0.1 .0460 .0230 -.08  -.605    0
 0.1 .0230 .0230  0    -.606    0
 0.1 .0230 .0460  .06  -.605    0
"""
TOFT = np.array(TOFT.split(), float).reshape(10, 6)


def by_hand(ny, nx, table):
    """Pixel by pixel, the rotation as a product of complex numbers."""
    image = np.zeros((ny, nx))
    for i in range(ny):
        for j in range(nx):
            p = complex((2 * j + 1) / nx - 1, 1 - (2 * i + 1) / ny)
            for v, a, b, x, y, degrees in table:
                q = (p - complex(x, y)) * np.exp(-1j * np.pi * degrees / 180)
                image[i, j] += v * ((q.real / a) ** 2 + (q.imag / b) ** 2 <= 1)
    return image


@pytest.mark.parametrize("shape", [(64, 64), (45, 60)])
def test_shepp_logan_is_the_published_table(shape):
    np.testing.assert_allclose(shepp_logan(shape), by_hand(*shape, TOFT), atol=1e-12)


def test_shepp_logan_original_densities():
    image = np.asarray(shepp_logan((256, 256), modified=False))
    assert image.max() == 2.0
    assert image[128 - 77, 128] == pytest.approx(1.03)  # the large bright ellipse: (0, .6)
    assert image[128 + 38, 128] == pytest.approx(1.02)  # brain


def test_shepp_logan_agrees_with_scikit_image():
    data = pytest.importorskip("skimage.data")
    theirs, ours = data.shepp_logan_phantom(), np.asarray(shepp_logan((400, 400)))
    # Their picture is 8-bit and its edges differ by up to a pixel: inside and outside agree, as do block means.
    assert np.mean(np.abs(theirs - ours) > 2 / 255) < 0.01
    assert abs(theirs.mean() - ours.mean()) < 1e-3
    blocks = [im.reshape(40, 10, 40, 10).mean((1, 3)) for im in (theirs, ours)]
    assert np.corrcoef(blocks[0].ravel(), blocks[1].ravel())[0, 1] > 0.998


@pytest.mark.parametrize(("shape", "measure"), [((500, 400), "area"), ((96, 128, 112), "volume")])
@pytest.mark.parametrize("modified", [True, False])
def test_shepp_logan_integrates_to_its_ellipses(shape, measure, modified):
    from jaxrecon.simulate import phantoms as p

    if measure == "area":
        exact = np.pi * np.sum(p._HEAD_2D[:, :2].prod(1) * p._VALUES_2D[modified]) / 4
    else:
        exact = 4 / 3 * np.pi * np.sum(p._HEAD_3D[:, :3].prod(1) * p._VALUES_3D[modified]) / 8
    assert float(shepp_logan(shape, modified=modified).mean()) == pytest.approx(exact, rel=5e-3)


def test_shepp_logan_3d_values_at_points():
    n = 201
    image = np.asarray(shepp_logan((n, n, n)))

    def at(x, y, z):
        i = [round((t + 1) * n / 2 - 0.5) for t in (z, -y, x)]
        return float(image[tuple(i)])

    # Sums of the densities of Koay et al. (2007), table 1, with Yu's contrast.
    assert at(0, 0.91, 0) == 1.0  # skull
    assert at(0.5, 0, 0.3) == pytest.approx(0.2)  # brain
    assert at(-0.22, 0, -0.25) == 0 and at(0.22, 0, -0.25) == 0  # ventricles
    assert at(-0.3, 0.3, -0.25) == 0  # the left one leans outwards at its top
    assert at(-0.1, 0.3, -0.25) == pytest.approx(0.4)
    assert at(0, 0.45, -0.25) == pytest.approx(0.4)
    assert at(0, 0.1, 0.625) == 0 and at(0.06, -0.105, 0.625) == pytest.approx(0.4)
    assert at(0.06, -0.65, -0.25) == pytest.approx(0.3)
    assert at(0, 0, 0.95) == 0


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_phantoms_have_the_same_pixels_in_every_dtype(dtype):
    for make in (lambda d: shepp_logan((33, 32), d), lambda d: discs(40, d)):
        assert make(dtype).dtype == dtype and make(None).dtype == "float64"
        np.testing.assert_array_equal(make(dtype), make("float64").astype(dtype))


@pytest.mark.parametrize("n", [127, 128])
def test_discs_is_the_formula(n):
    t = (np.arange(n) + 0.5) / n * 2 - 1
    Y, X = np.meshgrid(t, t, indexing="ij")
    truth = 1.0 * (X**2 + Y**2 < 0.64) - 0.5 * ((X - 0.2) ** 2 + (Y + 0.1) ** 2 < 0.09)
    truth = truth + 0.3 * ((X + 0.3) ** 2 + (Y - 0.3) ** 2 < 0.04)
    np.testing.assert_array_equal(discs(n), truth)


@pytest.mark.slow
def test_random_ellipses_equal_a_loop_over_the_drawn_ones():
    key, ny, nx = jax.random.key(3), 40, 50
    v, half, centre, angle, present = map(np.asarray, _draw_ellipses(key, 40, 70, jnp.dtype("float64")))
    assert 20 < present.sum() < 70
    table = np.column_stack([v, half, centre, np.degrees(angle)])[present]
    image = by_hand(ny, nx, table)
    covered = by_hand(ny, nx, np.column_stack([np.ones(len(table)), table[:, 1:]])) > 0
    image[covered] -= image.min()  # as DIVal normalises
    np.testing.assert_allclose(random_ellipses(key, (ny, nx)), image / image.max(), atol=1e-12)


@pytest.mark.slow
def test_random_ellipses_follow_the_protocol():
    keys = jax.random.split(jax.random.key(0), 2000)
    v, half, centre, angle, present = jax.vmap(lambda k: _draw_ellipses(k, 40, 70, jnp.dtype("float64")))(keys)
    count = present.sum(1)
    assert abs(count.mean() - 40) < 5 * np.sqrt(40 / 2000) and abs(count.var() - 40) < 8 and count.max() <= 70
    assert -0.4 <= v.min() < -0.39 and 0.99 < v.max() <= 1.0 and abs(v.mean() - 0.3) < 0.01
    assert abs(half.mean() - 0.2) < 0.003 and abs(half.std() - 0.2) < 0.005
    assert -0.9 <= centre.min() < -0.89 and 0.89 < centre.max() <= 0.9
    assert angle.min() >= 0 and 6.27 < angle.max() <= 2 * np.pi


def test_random_ellipses_limits_the_count_and_survives_none():
    assert int(_draw_ellipses(jax.random.key(0), 40, 10, jnp.dtype("float32"))[-1].sum()) == 10
    empty = random_ellipses(jax.random.key(0), (8, 8), mean_count=1e-9)
    np.testing.assert_array_equal(empty, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_ellipses_vmap_and_jit_equal_the_loop(dtype):
    keys = jax.random.split(jax.random.key(1), 5)
    batch = jax.jit(jax.vmap(lambda k: random_ellipses(k, (31, 24), dtype=dtype)))(keys)
    assert batch.dtype == dtype
    np.testing.assert_allclose(batch.max((1, 2)), 1, rtol=1e-6)
    assert batch.min() == 0
    for k, x in zip(keys, batch, strict=True):
        np.testing.assert_allclose(random_ellipses(k, (31, 24), dtype=dtype), x, atol=1e-6)
    assert not np.allclose(batch[0], batch[1])


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda: shepp_logan((64,)), ValueError, "2 or 3 axes"),
    (lambda: shepp_logan(64), TypeError, "tuple"),
    (lambda: shepp_logan((0, 4)), ValueError, "size 1 or more"),
    (lambda: random_ellipses(jax.random.key(0), (4, 4, 4)), ValueError, "2 axes"),
    (lambda: random_ellipses(jax.random.key(0), (4, 4), dtype="complex64"), ValueError, "complex64"),
    (lambda: random_ellipses(jax.random.key(0), (4, 4), mean_count=0), ValueError, "positive"),
])
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
