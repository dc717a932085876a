"""Back projection: every pixel gathers from the detectors with the weights of the forward projection.

The weight of ray d at pixel p is 1 - |distance across what the ray is driven along|, or 0. In terms of the detector
coordinate e* onto which p projects, that is 1 - den(p) |e - e*| / max(|wx|, |wy|), for rays of both kinds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .forward import accumulate, ray_scale, take
from .tables import Tables

_UNROLLED_TAPS = 8


@jax.jit
def back_project(tables: Tables, y: Any) -> Any:
    """(V, D, B) -> (ny, nx, B)."""
    scaled = y * ray_scale(tables, y.dtype)[..., None]
    if tables.columns is not None and y.dtype == jnp.float32:
        return _parallel(tables, scaled)
    return _any_lines(tables, scaled)


def _parallel(tables, y):
    """Detector coordinates by adding two fixed-point tables; the hat has one width in a view."""
    last, shift, unit = tables.num_detectors - tables.taps, tables.shift, 2.0**-tables.shift
    inverse = 1 / tables.reach.astype(y.dtype)

    def one(measured, column, row, inverse):
        u = column[None, :] + row[:, None]
        first = jnp.clip(u >> shift, 0, last)
        # (e* - e) / reach for the first tap; the table holds e* - reach + 1.
        away = (u - (first << shift)).astype(y.dtype) * (inverse * unit) + (1 - inverse)
        return _sum_taps(tables.taps, lambda k: 1 - jnp.abs(away - k * inverse), measured, first)

    return accumulate(one, (y,), (tables.columns, tables.rows, inverse), _zeros(tables, y))


def _any_lines(tables, y):
    D, last = tables.num_detectors, tables.num_detectors - tables.taps
    ny, nx = tables.shape
    x_, y_ = (jnp.asarray(np.arange(n) - (n - 1) / 2, y.dtype) for n in (nx, ny))
    centre = (D - 1) / 2

    def one(measured, line, projection, reach):
        a0, a1, a2, b1, b2, size = projection
        den = (1 + b1 * x_)[None, :] + (b2 * y_)[:, None]
        e_star = ((a0 + a1 * x_)[None, :] + (a2 * y_)[:, None]) / den
        first = _clipped_floor(e_star + (centre - reach + 1), last)
        e = first.astype(y.dtype) - centre
        w = line[4:] / size

        def weight(k):
            wx, wy = w[0] + (e + k) * w[2], w[1] + (e + k) * w[3]
            return 1 - den * jnp.abs(e_star - e - k) / jnp.maximum(jnp.abs(wx), jnp.abs(wy))

        return _sum_taps(tables.taps, weight, measured, first)

    each = tuple(a.astype(y.dtype) for a in (tables.lines, tables.projections, tables.reach))
    return accumulate(one, (y,), each, _zeros(tables, y))


def _sum_taps(taps: int, weight: Callable, measured: Any, first: Any) -> Any:
    def tap(k):
        return jnp.maximum(weight(k), 0)[..., None] * take(measured, first + k)

    if taps <= _UNROLLED_TAPS:
        return sum((tap(k) for k in range(1, taps)), tap(0))
    return lax.fori_loop(1, taps, lambda k, total: total + tap(k), tap(0))


def _clipped_floor(u, last):
    if u.dtype != jnp.float32:
        return jnp.clip(u, 0, last).astype(jnp.int32)
    # Added to 2^23, a float32 holds its nearest integer in its low bits: XLA's own conversion, which saturates, takes a
    # sixth of the whole back projection. Where u is beyond that range any detector will do: none has a weight.
    bits = lax.bitcast_convert_type(u + np.float32(2**23 - 0.5), jnp.int32)
    return jnp.clip(bits - 0x4B000000, 0, last)


def _zeros(tables, y):
    return jnp.zeros((*tables.shape, y.shape[-1]), y.dtype)
