"""Phantoms: the Shepp-Logan head, random ellipses, discs. All are sampled at pixel centres of [-1, 1]^d."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ..value import safe_divide
from ._shape import check_shape, pixel_centres

# Half axes a, b, centre x, y, angle in degrees (anticlockwise). Toft lists y = -.606 for the ninth, as everyone since.
_HEAD_2D = np.array([
    (0.69, 0.92, 0.0, 0.0, 0),
    (0.6624, 0.874, 0.0, -0.0184, 0),
    (0.11, 0.31, 0.22, 0.0, -18),
    (0.16, 0.41, -0.22, 0.0, 18),
    (0.21, 0.25, 0.0, 0.35, 0),
    (0.046, 0.046, 0.0, 0.1, 0),
    (0.046, 0.046, 0.0, -0.1, 0),
    (0.046, 0.023, -0.08, -0.605, 0),
    (0.023, 0.023, 0.0, -0.606, 0),
    (0.023, 0.046, 0.06, -0.605, 0),
])
_VALUES_2D = {
    True: (1, -0.8, -0.2, -0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1),
    False: (2, -0.98, -0.02, -0.02, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01),
}

# Half axes a, b, c, centre x, y, z, angle in degrees about z.
_HEAD_3D = np.array([
    (0.69, 0.92, 0.9, 0.0, 0.0, 0.0, 0),
    (0.6624, 0.874, 0.88, 0.0, 0.0, 0.0, 0),
    (0.41, 0.16, 0.21, -0.22, 0.0, -0.25, 108),
    (0.31, 0.11, 0.22, 0.22, 0.0, -0.25, 72),
    (0.21, 0.25, 0.5, 0.0, 0.35, -0.25, 0),
    (0.046, 0.046, 0.046, 0.0, 0.1, -0.25, 0),
    (0.046, 0.023, 0.02, -0.08, -0.65, -0.25, 0),
    (0.046, 0.023, 0.02, 0.06, -0.65, -0.25, 90),
    (0.056, 0.04, 0.1, 0.06, -0.105, 0.625, 90),
    (0.056, 0.056, 0.1, 0.0, 0.1, 0.625, 0),
])
_VALUES_3D = {
    True: (1, -0.8, -0.2, -0.2, 0.2, 0.2, 0.1, 0.1, 0.2, -0.2),
    False: (2, -0.98, -0.02, -0.02, 0.02, 0.02, 0.01, 0.01, 0.02, -0.02),
}


def shepp_logan(shape: tuple[int, ...], dtype: DTypeLike | None = None, modified: bool = True) -> jax.Array:
    """The Shepp-Logan head phantom, 2-D or 3-D: sum of v_k over the ellipses E_k that hold the pixel's centre.

    Args:
        shape: (ny, nx) or (nz, ny, nx). Every axis spans [-1, 1]; y points up (row 0 is the top), z along its index.
        dtype: of the image; None: JAX's default float.
        modified: high contrast, range [0, 1]; False: the published densities, range [0, 2], brain at 1.02.

    Returns:
        The image, of `shape`. The same pixels in every dtype: the edges are decided in float64.

    Raises:
        ValueError: shape is neither 2-D nor 3-D.

    Example:
        >>> x = jr.simulate.shepp_logan((64, 64))
        >>> x.shape, float(x.max())
        ((64, 64), 1.0)

    Source: Shepp & Logan (1974); modified contrast: Toft (1996). 3-D: Kak & Roberts (1986), the ellipsoids of Koay
    et al. (2007); modified contrast: Yu, Ye & Wang (2004).
    """
    shape = check_shape(shape, "shepp_logan", (2, 3))
    flat = len(shape) == 2
    rows, values = (_HEAD_2D, _VALUES_2D[bool(modified)]) if flat else (_HEAD_3D, _VALUES_3D[bool(modified)])
    *z, y, x = np.meshgrid(*map(pixel_centres, shape), indexing="ij", sparse=True)
    d = len(shape)
    image = np.zeros(shape)
    for row, v in zip(rows, values, strict=True):
        half, centre, angle = row[:d], row[d : 2 * d], np.deg2rad(row[-1])
        dx, dy = x - centre[0], -y - centre[1]
        u, w = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
        r2 = (u / half[0]) ** 2 + (w / half[1]) ** 2 + (0 if flat else ((z[0] - centre[2]) / half[2]) ** 2)
        image += v * (r2 <= 1)
    # Sums such as 1 - .8 - .2 leave 1e-17 where the tables mean 0.
    return jnp.asarray(np.round(image, 12) + 0.0, dtype=dtype or jnp.result_type(float))


def discs(n: int, dtype: DTypeLike | None = None) -> jax.Array:
    """Three discs, one of them a hole: the truth of the TV reference problems.

    x = 1_{X^2 + Y^2 < .64} - .5 1_{(X-.2)^2 + (Y+.1)^2 < .09} + .3 1_{(X+.3)^2 + (Y-.3)^2 < .04}

    Args:
        n: pixels along each side; Y runs down the rows.
        dtype: of the image; None: JAX's default float.

    Returns:
        The image, (n, n), in [0, 1.3].

    Example:
        >>> jr.simulate.discs(32).shape
        (32, 32)
    """
    n, _ = check_shape((n, n), "discs", (2,))
    t = pixel_centres(n)
    y, x = np.meshgrid(t, t, indexing="ij", sparse=True)
    image = 1.0 * (x**2 + y**2 < 0.64) - 0.5 * ((x - 0.2) ** 2 + (y + 0.1) ** 2 < 0.09)
    image = image + 0.3 * ((x + 0.3) ** 2 + (y - 0.3) ** 2 < 0.04)
    return jnp.asarray(image, dtype=dtype or jnp.result_type(float))


def _draw_ellipses(key, mean_count, max_count, dtype):
    """Values, half axes, centres, angles and presence of `max_count` ellipses."""
    keys = jax.random.split(key, 5)
    count = jnp.minimum(jax.random.poisson(keys[0], mean_count, dtype=jnp.int32), max_count)
    v = jax.random.uniform(keys[1], (max_count,), dtype, -0.4, 1.0)
    half = 0.2 * jax.random.exponential(keys[2], (max_count, 2), dtype)
    half = jnp.maximum(half, jnp.finfo(dtype).tiny ** 0.25)  # its square must not underflow
    centre = jax.random.uniform(keys[3], (max_count, 2), dtype, -0.9, 0.9)
    angle = jax.random.uniform(keys[4], (max_count,), dtype, 0.0, 2 * np.pi)
    return v, half, centre, angle, jnp.arange(max_count) < count


@functools.partial(jax.jit, static_argnames=("shape", "mean_count", "max_count", "dtype"))
def _ellipses(key, shape, mean_count, max_count, dtype):
    y, x = (jnp.asarray(pixel_centres(n), dtype) for n in shape)

    def add(image_covered, ellipse):
        image, covered = image_covered
        v, half, centre, angle, present = ellipse
        dx, dy = x[None, :] - centre[0], -y[:, None] - centre[1]
        u, w = jnp.cos(angle) * dx + jnp.sin(angle) * dy, jnp.cos(angle) * dy - jnp.sin(angle) * dx
        inside = present & ((u / half[0]) ** 2 + (w / half[1]) ** 2 <= 1)
        return (image + jnp.where(inside, v, 0), covered | inside), None

    # A scan, so that memory stays at one image however many ellipses and keys there are.
    start = jnp.zeros(shape, dtype), jnp.zeros(shape, bool)
    (image, covered), _ = jax.lax.scan(add, start, _draw_ellipses(key, mean_count, max_count, dtype))
    image = jnp.where(covered, image - jnp.min(image), 0)
    return safe_divide(image, jnp.max(image))


def random_ellipses(key: jax.Array, shape: tuple[int, int], mean_count: float = 40, max_count: int = 70,
                    dtype: DTypeLike | None = None) -> jax.Array:
    """A random image of overlapping ellipses: the "ellipses" protocol, usable under jit and vmap over keys.

    min(Poisson(40), 70) ellipses of value U(-.4, 1), half axes .2 Exp(1), centres U(-.9, .9), rotation U(0, 2 pi) on
    [-1, 1]^2 are summed; the covered pixels are shifted by the image's minimum and scaled so that the maximum is 1.

    Args:
        key: jax.random.key.
        shape: (ny, nx).
        mean_count: mean of the Poisson number of ellipses.
        max_count: its upper bound.
        dtype: real; None: JAX's default float.

    Returns:
        The image, of `shape`, in [0, 1]; zero where no ellipse is.

    Raises:
        ValueError: shape is not 2-D, a count is not positive, or dtype is not real floating.

    Example:
        >>> keys = jax.random.split(jax.random.key(0), 4)
        >>> jax.vmap(lambda k: jr.simulate.random_ellipses(k, (32, 32)))(keys).shape
        (4, 32, 32)

    Source: Adler & Oktem (2018); counts and ranges of Leuschner et al., DIVal (Baguer et al. 2020).
    """
    ny, nx = check_shape(shape, "random_ellipses", (2,))
    dtype = jnp.dtype(dtype or jnp.result_type(float))
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"random_ellipses: wanted a real floating dtype, got {dtype}; multiply by a phase afterwards")
    if mean_count <= 0 or max_count < 1:
        raise ValueError("random_ellipses: mean_count and max_count must be positive, "
                         f"got {mean_count} and {max_count}")
    return _ellipses(key, (ny, nx), float(mean_count), int(max_count), dtype)
