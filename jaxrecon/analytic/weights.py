"""How much each view, and each ray of it, counts: angular quadrature and redundancy."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..value import is_concrete

# Views that are no further apart, as a share of the period, are one view, measured more than once.
SAME = 1e-6


class Cells(NamedTuple):
    """What `angular_cells` finds.

    Attributes:
        cells: (V,) the arc of each view. An arc of the circle that was not scanned belongs to none.
        start, span: the scanned arc; span = period where the scan is closed.
        largest: the largest gap between neighbours.
    """

    cells: Any
    start: Any
    span: Any
    largest: Any


def namespace(*values: Any) -> Any:
    """NumPy, in float64 on the host, for what is known now; jax.numpy for what is traced."""
    return np if is_concrete(values) else jnp


def angular_cells(angles: Any, period: float) -> Cells:
    """The arc that each view stands for: half the distance to its two neighbours on a circle of length `period`.

    Args:
        angles: (V,) in radians, in any order, evenly spaced or not; those of one direction share its arc.
        period: pi where opposite rays are the same view, else 2 pi.
    """
    xp = namespace(angles)
    number = angles.shape[0]
    on_circle = xp.mod(angles, period)
    order = xp.argsort(on_circle)
    ordered = on_circle[order]
    gaps = xp.concatenate([ordered[1:], ordered[:1] + period]) - ordered  # after each view
    # From here on the views start after the largest gap, so that no direction stands at both ends.
    order, gaps = (xp.roll(v, -1 - xp.argmax(gaps)) for v in (order, gaps))
    direction = xp.concatenate([xp.zeros(1, int), xp.cumsum(gaps[:-1] > SAME * period)])
    last = direction[-1]
    length = {"minlength": number} if xp is np else {"length": number}
    gaps = xp.bincount(direction, weights=gaps, **length)  # after each direction
    views = xp.bincount(direction, **length)
    largest = gaps[last]
    mean = (period - largest) / xp.maximum(last, 1)
    index = xp.arange(number)
    nearby = xp.sort(xp.stack([gaps[(index + k) % (last + 1)] for k in (-2, -1, 1, 2)]), 0)
    # What was not scanned is larger than what chance leaves between directions, of which the largest gap is about log V
    # times the mean, and than most gaps nearby: not where few views are spread beside a cluster of many.
    missing = (gaps > (2 + 1.5 * xp.log(last + 1)) * mean) & (gaps > 2 * nearby[2]) & (last > 0)
    scanned = period - xp.sum(xp.where(missing, gaps, 0))
    mean = scanned / xp.maximum(last + 1 - xp.sum(missing), 1)
    kept = xp.where(missing, mean, gaps)
    cells = ((kept + kept[(index - 1) % (last + 1)]) / 2 / xp.maximum(views, 1))[direction]
    closed = ~xp.any(missing)
    start = xp.where(closed, 0.0, on_circle[order[0]] - mean / 2)
    span = xp.where(closed, period, period - largest + mean)
    return Cells(cells[xp.argsort(order)], start, span, largest)


def half_turn_weights(u: Any, low: Any, high: Any, spacing: Any) -> Any:
    """Weights w(u) + w(-u) = 1 of rays that a full turn measures twice, from either side (Wang 2002).

    1/2 for a detector that is centred, up to a pixel. One that is shifted, to see a wider object, measures the rays of
    its long side once: there w = 1, with a smooth passage over the part that both sides reach.

    Args:
        u: positions on the detector, 0 on the central ray.
        low, high: ends of the detector.
        spacing: of its pixels.
    """
    xp = namespace(u, low, high, spacing)
    overlap = xp.minimum(-low, high)
    lopsided = xp.abs(low + high) > 2.01 * spacing
    t = xp.clip(u * xp.sign(high + low) / xp.where(overlap > 0, overlap, 1e-30), -1, 1)
    return xp.where(lopsided, (1 + xp.sin(xp.pi * t / 2)) / 2, 0.5)


def parker_weights(angle: Any, fan_angle: Any, span: Any) -> Any:
    """Weights of rays that a scan of less than a full turn measures twice: those of each pair add up to 1.

    The ray (a, g) is that of (a + pi - 2 g, -g) too. w = sin^2(pi/2 s/L), where s is the distance to the end of the
    arc, and L = span - pi +- 2 g the length over which rays appear twice; 1 for rays that appear once. For the minimal
    scan, span = pi + 2 g_max, these are the weights of Parker (1982); for longer ones those of Silver (2000). A shorter
    scan takes what it has.

    Args:
        angle: of the view, from the start of the scan, in radians; broadcastable to `fan_angle`.
        fan_angle: of the ray; a positive one turns it against the rotation.
        span: length of the scan, below 2 pi.
    """
    xp = namespace(angle, fan_angle, span)

    def ramp(distance, length):
        twice = (length > 0) & (distance < length)
        return xp.where(twice, xp.sin(xp.pi / 2 * xp.maximum(distance, 0) / xp.where(twice, length, 1)) ** 2, 1.0)

    excess = span - xp.pi
    return ramp(angle, excess + 2 * fan_angle) * ramp(span - angle, excess - 2 * fan_angle)
