"""Where non-Cartesian scans sample k-space: radial, spiral, stack of stars, koosh ball.

All give nodes for `jr.NUFFT`: arrays (..., samples, ndim) in cycles/pixel within [-1/2, 1/2), nodes[..., d] belonging
to array axis d. Angles are in radians, from the last axis (x) towards the one before it (y).
"""

from __future__ import annotations

import math
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

GOLDEN_RATIO = (1 + math.sqrt(5)) / 2
# The two-dimensional golden means are L - 1 = .4656 and 1 / L = .6823, where L^3 = L^2 + 1.
_MEANS = (0.46557123187676802, 0.68232780382801932)


def golden_angle(tiny: int = 1, turn: float = math.pi) -> float:
    """The angle between successive spokes, turn / (tau + n - 1) with the golden ratio tau.

    Args:
        tiny: n. 1 is the golden angle, 111.246 degrees of a half turn; 7 a tiny one, 23.628.
        turn: pi, or 2 pi where spokes start at the centre.

    Raises:
        ValueError: n is below 1.

    Example:
        >>> [round(jr.simulate.golden_angle(n) * 180 / 3.14159265, 2) for n in (1, 2, 5, 7)]
        [111.25, 68.75, 32.04, 23.63]

    Source: Winkelmann et al. (2007); tiny: Wundrak et al. (2015).
    """
    return turn / (GOLDEN_RATIO + _count(tiny, "golden_angle", "tiny") - 1)


def spoke_angles(spokes: int, order: str = "uniform", tiny: int = 1, turn: float = math.pi) -> np.ndarray:
    """The angles of spokes in radians: j turn / spokes ("uniform"), or j golden_angle ("golden"), j = 0, 1, ...

    Args:
        spokes: their number.
        order: "uniform" or "golden".
        tiny: n of the n-th tiny golden angle, 1 for the golden angle itself.
        turn: pi, or 2 pi where spokes start at the centre.

    Returns:
        (spokes,), float64.

    Raises:
        ValueError: no spoke, or an unknown order.

    Example:
        >>> (jr.simulate.spoke_angles(4) * 180 / 3.14159265).round(3).tolist()
        [0.0, 45.0, 90.0, 135.0]
    """
    j = np.arange(_count(spokes, "spoke_angles", "spokes"))
    if order == "uniform":
        return j * turn / len(j)
    if order == "golden":
        return j * golden_angle(tiny, turn)
    raise ValueError(f"order is 'uniform' or 'golden', got {order!r}")


def radial(spokes: Any, samples: int, order: str = "uniform", tiny: int = 1, centre_out: bool = False,
           dtype: DTypeLike | None = None) -> jax.Array:
    """Spokes through the centre of k-space: k = r (sin a, cos a), r = (m - M//2) / M, m = 0 .. M-1.

    An N x N image needs pi/2 N full spokes for neighbours to be 1/N apart at the edge.

    Args:
        spokes: their number, or their angles in radians (an array, differentiable).
        samples: M, per spoke; 2 N is the usual twofold oversampling.
        order, tiny: of the angles, as for `spoke_angles`: over a half turn, or over a whole one if centre_out.
        centre_out: spokes are half as long and start at the centre, r = m / (2 M).
        dtype: of the nodes; None: JAX's default float.

    Returns:
        Nodes (spokes, samples, 2).

    Raises:
        ValueError: no spoke, no sample, or an unknown order.

    Example:
        >>> jr.simulate.radial(2, 4).round(3).tolist()[1]
        [[-0.5, -0.0], [-0.25, -0.0], [0.0, 0.0], [0.25, 0.0]]

    Source: Lauterbur (1973).
    """
    if np.ndim(spokes) == 0:
        angles = spoke_angles(spokes, order, tiny, 2 * math.pi if centre_out else math.pi)
    else:
        angles = spokes if isinstance(spokes, jax.Array) else np.asarray(spokes, float)
        if angles.ndim != 1:
            raise ValueError(f"radial: spokes is a number or one axis of angles, got shape {angles.shape}")
    xp = jnp if isinstance(angles, jax.Array) else np
    r = _spoke(samples, centre_out, "radial")
    return _nodes(r[:, None] * xp.stack([xp.sin(angles), xp.cos(angles)], -1)[:, None], dtype)


def stack_of_stars(spokes: int, samples: int, partitions: int, order: str = "uniform", tiny: int = 1,
                   rotation: float = 0.0, dtype: DTypeLike | None = None) -> jax.Array:
    """Radial in the plane, Cartesian along the first axis: k = ((p - P//2) / P, r sin a, r cos a).

    Args:
        spokes, samples, order, tiny: of each plane, as for `radial`.
        partitions: P, the number of planes.
        rotation: angle in radians by which each plane's spokes are turned against those of the plane before it.
        dtype: of the nodes; None: JAX's default float.

    Returns:
        Nodes (partitions, spokes, samples, 3).

    Raises:
        ValueError: no partition, spoke or sample, or an unknown order.

    Example:
        >>> jr.simulate.stack_of_stars(8, 32, 4).shape
        (4, 8, 32, 3)

    Source: Peters et al. (2000); rotated: Zhou et al. (2017).
    """
    p = np.arange(_count(partitions, "stack_of_stars", "partitions"))
    a = (spoke_angles(spokes, order, tiny) + rotation * p[:, None])[..., None]
    r = _spoke(samples, False, "stack_of_stars")
    kz = ((p - len(p) // 2) / len(p))[:, None, None]
    return _nodes(np.stack(np.broadcast_arrays(kz, r * np.sin(a), r * np.cos(a)), -1), dtype)


def koosh_ball(spokes: int, samples: int, order: str = "spiral", centre_out: bool = False,
               dtype: DTypeLike | None = None) -> jax.Array:
    """Spokes through the centre of 3-D k-space, evenly over the sphere: k = r (z, q sin a, q cos a), q^2 = 1 - z^2.

    An N^3 image needs pi/2 N^2 full spokes (pi N^2 centre-out) for one per area 1/N^2 at the edge.

    Args:
        spokes: J.
        samples: M, per spoke.
        order: "spiral", z_j = (j + 1/2) / J and a = sqrt(2 pi J) asin(z); or "golden", z_j = {j .4656} and
            a = 2 pi {j .6823} with fractional parts { }, of which any number of successive spokes lies evenly.
        centre_out: as for `radial`; z then covers [-1, 1] instead of [0, 1].
        dtype: of the nodes; None: JAX's default float.

    Returns:
        Nodes (spokes, samples, 3).

    Raises:
        ValueError: no spoke, no sample, or an unknown order.

    Example:
        >>> jr.simulate.koosh_ball(100, 32, "golden").shape
        (100, 32, 3)

    Source: spiral: Wong & Roos (1994); golden means: Chan et al. (2009).
    """
    j = np.arange(_count(spokes, "koosh_ball", "spokes"))
    if order == "spiral":
        z = (j + 0.5) / len(j)
    elif order == "golden":
        z = np.mod(j * _MEANS[0], 1)
    else:
        raise ValueError(f"order is 'spiral' or 'golden', got {order!r}")
    z = 2 * z - 1 if centre_out else z
    # The spiral's turns lie as far apart as its points: 2 J of them on a whole sphere, J where spokes end at one side.
    a = math.sqrt((1 if centre_out else 2) * math.pi * len(j)) * np.arcsin(z)
    if order == "golden":
        a = 2 * math.pi * np.mod(j * _MEANS[1], 1)
    q = np.sqrt(1 - z**2)
    direction = np.stack([z, q * np.sin(a), q * np.cos(a)], -1)
    return _nodes(_spoke(samples, centre_out, "koosh_ball")[:, None] * direction[:, None], dtype)


def spiral(size: int, interleaves: int, samples: int, density: float | tuple[float, float] = 1.0,
           dtype: DTypeLike | None = None) -> jax.Array:
    """Spirals outwards from the centre to |k| = 1/2, with turns 1 / (N rho(|k|)) apart over all interleaves.

    An interleave winds as a'(r) = 2 pi N rho(r) / L; samples are equally far apart along it (constant gradient).
    Neighbours are 1/N apart along it for about pi/4 N^2 / L samples, at density 1.

    Args:
        size: N, pixels along each side of the field of view.
        interleaves: L, each turned by 2 pi / L against the one before.
        samples: per interleave.
        density: rho, 1 for Nyquist's; (centre, edge) for one that changes linearly in between: variable density.
        dtype: of the nodes; None: JAX's default float.

    Returns:
        Nodes (interleaves, samples, 2).

    Raises:
        ValueError: a count below 1, or a density that is not positive.

    Example:
        >>> jr.simulate.spiral(128, 16, 1024, density=(1.0, 0.4)).shape
        (16, 1024, 2)

    Source: Ahn, Kim & Cho (1986); variable density: Spielman, Pauly & Meyer (1995).
    """
    size = _count(size, "spiral", "size")
    interleaves, samples = _count(interleaves, "spiral", "interleaves"), _count(samples, "spiral", "samples")
    centre, edge = density if isinstance(density, tuple | list) else (density, density)
    if not (centre > 0 and edge > 0):
        raise ValueError(f"spiral: density must be positive, got {density}; 1 is Nyquist's")
    winding = 2 * math.pi * size / interleaves
    r = np.linspace(0, 0.5, 1 + 16 * max(samples, size))
    speed = np.sqrt(1 + (r * winding * (centre + (edge - centre) * 2 * r)) ** 2)
    length = np.concatenate([[0], np.cumsum((speed[1:] + speed[:-1]) / 2)])
    r = np.interp(np.arange(samples) / samples * length[-1], length, r)
    a = winding * (centre * r + (edge - centre) * r**2)
    a = a + 2 * math.pi * np.arange(interleaves)[:, None] / interleaves
    return _nodes(np.stack([r * np.sin(a), r * np.cos(a)], -1), dtype)


def _spoke(samples, centre_out, name):
    m = np.arange(_count(samples, name, "samples"))
    return m / (2 * len(m)) if centre_out else (m - len(m) // 2) / len(m)


def _nodes(k, dtype):
    k = jnp.asarray(k, jnp.result_type(float) if dtype is None else dtype)
    # Rounding, or a spoke turned by pi, can make it exactly 1/2. Not wrapped to -1/2: spokes stay straight.
    return jnp.minimum(k, np.nextafter(np.asarray(0.5, k.dtype), 0))


def _count(n, name, what):
    try:
        n = operator.index(n)
    except TypeError as error:
        raise TypeError(f"{name}: {what} must be a whole number, got {n!r}") from error
    if n < 1:
        raise ValueError(f"{name}: {what} must be 1 or more, got {n}")
    return n
