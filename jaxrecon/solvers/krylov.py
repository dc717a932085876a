"""GMRES for real systems that are neither symmetric nor, always, regular."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ..value import norm, safe_divide

BASIS = 40  # vectors kept
CYCLES = 25  # restarts on the way to the tolerance
MOST_CYCLES = 100  # restarts on the way to what is acceptable
PROGRESS = 0.99  # a cycle that leaves more than this of the residual is the last


class _Basis(NamedTuple):
    v: jax.Array  # (BASIS + 1, n), orthonormal rows, 0 where not made yet
    h: jax.Array  # (BASIS, BASIS + 1), row k: apply(v_k) in terms of v
    left: jax.Array  # of the left null space of the Hessenberg matrix, starting with 1
    size: jax.Array  # vectors that apply has been applied to


def gmres(apply: Callable, rhs: jax.Array, tolerance: Any, acceptable: Any) -> jax.Array:
    """x with |rhs - apply(x)| <= tolerance |rhs|, or as near as it gets, by restarted GMRES from 0.

    After 1000 applications a relative residual that is `acceptable` will do; after 4000 it stops.

    A singular system is solved where rhs is in its range and the range holds none of the null space (Brown and Walker
    1997), which is so for 1 - J with J an averaged map.

    Args:
        apply: a linear map of real vectors.
        rhs: (n,), real.

    Source: Saad and Schultz 1986.
    """
    basis = min(BASIS, rhs.size)
    eps = jnp.finfo(rhs.dtype).eps
    total = norm(rhs)
    threshold = tolerance * total

    def grow(s: _Basis) -> _Basis:
        w = apply(s.v[s.size])
        scale = norm(w)
        h = jnp.zeros(basis + 1, rhs.dtype)
        for _ in range(2):  # twice is enough (Giraud et al. 2005)
            c = jnp.sum(s.v * w, axis=1)
            h, w = h + c, w - jnp.sum(c[:, None] * s.v, axis=0)
        length = norm(w)
        # What is left of a vector in the span of the others is rounding.
        new = length > 10 * eps * scale
        length = jnp.where(new, length, 0)
        left = jnp.where(new, -jnp.sum(s.left * h) / jnp.where(new, length, 1), jnp.inf)
        return _Basis(s.v.at[s.size + 1].set(safe_divide(w, length)), s.h.at[s.size].set(h.at[s.size + 1].set(length)),
                      s.left.at[s.size + 1].set(left), s.size + 1)

    def cycle(carry):
        x, r, size, _, count = carry
        # The least residual in the space is size / |left|, since it lies in the null space of the Hessenberg matrix.
        first = jnp.zeros(basis + 1, rhs.dtype).at[0].set(1)
        start = _Basis(jnp.zeros((basis + 1, rhs.size), rhs.dtype).at[0].set(r / size),
                       jnp.zeros((basis, basis + 1), rhs.dtype), first, jnp.zeros((), jnp.int32))
        s = lax.while_loop(lambda s: (s.size < basis) & (size > threshold * norm(s.left)), grow, start)
        y = jnp.linalg.lstsq(s.h.T, size * first)[0]
        x = x + jnp.sum(y[:, None] * s.v[:-1], axis=0)
        r = rhs - apply(x)
        return x, r, norm(r), size, count + 1

    def unfinished(carry):
        _, _, size, last, count = carry
        limit = jnp.where(size > acceptable * total, MOST_CYCLES, CYCLES)
        return (size > threshold) & (size < PROGRESS * last) & (count < limit)

    start = (jnp.zeros_like(rhs), rhs, total, jnp.full_like(total, jnp.inf), jnp.zeros((), jnp.int32))
    return lax.while_loop(unfinished, cycle, start)[0]
