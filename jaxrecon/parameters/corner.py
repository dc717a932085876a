"""The corner of an L-curve, by its curvature or by triangles."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .search import golden_section

STEPS = 40
# A lam where the curve moves less than this share of its fastest pace is a point that it dwells at, not a bend.
DWELLS = 1e-3
WIDEST = 7 * jnp.pi / 8  # an angle as flat as this is no corner (Castellanos et al. 2002)


def spline(t: jax.Array, y: jax.Array) -> jax.Array:
    """Second derivatives at the knots t (rising) of the natural cubic spline through y."""
    h = jnp.diff(t)
    slopes = jnp.diff(y) / h
    n = len(t) - 2
    matrix = (jnp.diag((h[:-1] + h[1:]) / 3) + jnp.diag(h[1:-1] / 6, 1) + jnp.diag(h[1:-1] / 6, -1))[:n, :n]
    return jnp.pad(jnp.linalg.solve(matrix, jnp.diff(slopes)), 1)


def derivatives(t: jax.Array, y: jax.Array, m: jax.Array, at: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(y', y'') of the spline with second derivatives m."""
    k = jnp.clip(jnp.searchsorted(t, at, side="right") - 1, 0, len(t) - 2)
    h = t[k + 1] - t[k]
    a, b = (t[k + 1] - at) / h, (at - t[k]) / h
    first = (y[k + 1] - y[k]) / h - (3 * a**2 - 1) / 6 * h * m[k] + (3 * b**2 - 1) / 6 * h * m[k + 1]
    return first, a * m[k] + b * m[k + 1]


def spline_curvature(t: jax.Array, rho: jax.Array, eta: jax.Array):
    """at -> (curvature, pace) of the curve (rho, eta)(t) interpolated by splines; > 0 where it turns left with t."""
    rho2, eta2 = spline(t, rho), spline(t, eta)

    def curvature(at):
        return curvature_of(*derivatives(t, rho, rho2, at), *derivatives(t, eta, eta2, at))

    return curvature


def curvature_of(rho1, rho2, eta1, eta2):
    squared = rho1**2 + eta1**2
    safe = jnp.where(squared > 0, squared, 1)
    return jnp.where(squared > 0, (rho1 * eta2 - rho2 * eta1) / safe**1.5, 0), jnp.sqrt(squared)


def sharpest(curvature, t: jax.Array, usable: jax.Array):
    """(index of the knot, t of the corner, is there one?) by the largest curvature.

    curvature: at -> (curvature, pace). No corner where the largest is at an end of the curve, or not a left turn.
    """
    values, pace = jax.vmap(curvature)(t)
    usable = usable & (pace > DWELLS * jnp.max(jnp.where(usable, pace, 0))) & jnp.isfinite(values)
    ranked = jnp.where(usable, values, -jnp.inf)
    best, last = jnp.argmax(ranked), len(t) - 1
    at = golden_section(lambda s: -curvature(s)[0], t[jnp.maximum(best - 1, 0)], t[jnp.minimum(best + 1, last)],
                        t[best], -values[best], STEPS)
    found = (best > 0) & (best < last) & (ranked[best] > 0)
    return jnp.where(usable, values, jnp.nan), best, at, found


def triangle(rho: jax.Array, eta: jax.Array, usable: jax.Array):
    """(index, is there one?) of the corner by the triangle method: over all triples (i, k, last) of points with lam
    rising, the sharpest angle at k that turns left, not flatter than 7 pi / 8 (Castellanos, Gomez and Guerra 2002).
    """
    n = len(rho)
    end = n - 1 - jnp.argmax(usable[::-1])
    x, y = rho - rho[end], eta - eta[end]
    before = jnp.arange(n)[:, None] < jnp.arange(n)
    valid = before & (jnp.arange(n) < end) & usable[:, None] & usable

    def side(a, b):
        return (a[:, None] - a) ** 2 + (b[:, None] - b) ** 2

    ik, kn, ni = side(x, y), (x**2 + y**2)[None, :], (x**2 + y**2)[:, None]
    product = jnp.sqrt(ik * kn)
    cosine = jnp.where(product > 0, (ik + kn - ni) / (2 * jnp.where(product > 0, product, 1)), -1)
    area = (x[None] - x[:, None]) * (0 - y[:, None]) - (y[None] - y[:, None]) * (0 - x[:, None])
    angle = jnp.where(valid & (area > 0), cosine, -2)
    best = jnp.argmax(jnp.max(angle, 0))
    return best, jnp.max(angle) > jnp.cos(WIDEST)
