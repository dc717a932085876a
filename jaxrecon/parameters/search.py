"""Minima and roots over log lam, inside jit: a sweep of the given lams, then a bracketed search between two of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..value import is_concrete, is_count, value

GOLDEN = (5**0.5 - 1) / 2


@value
class Choice:
    """What a rule found.

    Attributes:
        lam: the chosen one. x: its image.
        ok: False where the rule failed: its optimum or root is not inside the range of lams, or something is not
            finite. lam and x are then the best there is, and not to be trusted.
        lams, scores: what was tried, and the rule's score of each.
    """

    lam: Any
    x: jax.Array
    ok: jax.Array
    lams: Any
    scores: jax.Array


def checked_lams(lams: Any, dtype: Any, least: int = 3, distinct: bool = True) -> jax.Array:
    """lams as an array of `dtype`.

    Raises:
        ValueError: not one axis, fewer than `least`, not positive and finite, or (where they must differ) repeated.
    """
    if np.ndim(lams) != 1 or np.shape(lams)[0] < least:
        raise ValueError(f"lams must be {least} or more numbers along one axis, such as jnp.geomspace(1e-4, 1e-1, 16), "
                         f"got shape {np.shape(lams)}")
    if is_concrete(lams):
        v = np.asarray(lams)
        if not np.all(np.isfinite(v) & (v > 0)):
            raise ValueError(f"lams must be positive and finite, as they are searched by their logarithm; got {v}")
        if distinct and len(np.unique(v)) < len(v):
            raise ValueError(f"lams must differ from each other, got {v}")
    return jnp.asarray(lams, dtype)


def check_chunk(chunk: int | None) -> None:
    if chunk is not None and not is_count(chunk):
        raise ValueError(f"chunk must be a whole number >= 1 of lams at a time, or None, got {chunk!r}")


def sweep(f: Callable, lams: Any, chunk: int | None) -> Any:
    """f of every lam, `chunk` of them at a time. None: one after the other on CPU, where a batch is no faster and its
    memory does not fit the cache; elsewhere all at once."""
    count = jax.tree.leaves(lams)[0].shape[0]
    step = chunk or (1 if jax.default_backend() == "cpu" else count)
    return lax.map(f, lams) if step == 1 else lax.map(f, lams, batch_size=min(step, count))


class Minimum(NamedTuple):
    lam: jax.Array
    bracketed: jax.Array
    scores: jax.Array  # of the lams of the sweep, in their order


def minimise(score: Callable, lams: jax.Array, refine: int, chunk: int | None) -> Minimum:
    """The smallest score of the sweep, then `refine` steps of golden section between its neighbours."""
    scores = sweep(score, lams, chunk)
    order = jnp.argsort(lams)
    finite = jnp.where(jnp.isfinite(scores), scores, jnp.inf)[order]
    best, last = jnp.argmin(finite), len(lams) - 1
    bracketed = (best > 0) & (best < last) & jnp.isfinite(finite[best])
    logs = jnp.log(lams[order])
    low, high = logs[jnp.maximum(best - 1, 0)], logs[jnp.minimum(best + 1, last)]
    middle, value = logs[best], finite[best]
    found = golden_section(lambda t: score(jnp.exp(t)), low, high, middle, value, refine)
    return Minimum(jnp.exp(found), bracketed, scores)


def golden_section(f: Callable, low: Any, high: Any, best: Any, value: Any, steps: int) -> jax.Array:
    """argmin of f on [low, high], not above `value` at `best` (Kiefer 1953); each step evaluates f once."""
    if steps == 0:
        return best

    def ask(t):
        y = f(t)
        return jnp.where(jnp.isnan(y), jnp.inf, y)

    def body(carry, _):
        a, b, c, d, fc, fd, best, value = carry
        left = fc < fd
        a, b = jnp.where(left, a, c), jnp.where(left, d, b)
        new = jnp.where(left, b - GOLDEN * (b - a), a + GOLDEN * (b - a))
        y = ask(new)
        c, d = jnp.where(left, new, d), jnp.where(left, c, new)
        fc, fd = jnp.where(left, y, fd), jnp.where(left, fc, y)
        better = y < value
        return (a, b, c, d, fc, fd, jnp.where(better, new, best), jnp.where(better, y, value)), None

    c, d = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    fc, fd = ask(c), ask(d)
    for t, y in ((c, fc), (d, fd)):
        best, value = jnp.where(y < value, t, best), jnp.minimum(y, value)
    return lax.scan(body, (low, high, c, d, fc, fd, best, value), length=steps)[0][6]


class Root(NamedTuple):
    at: jax.Array
    bracketed: jax.Array


def find_root(f: Callable, low: Any, high: Any, steps: int, tolerance: Any) -> Root:
    """t in [low, high] with f(t) = 0, by inverse quadratic interpolation kept inside its bracket (Chandrupatla 1997).

    Ends where the bracket is narrower than `tolerance`, or after `steps` evaluations. Without a change of sign: the end
    where |f| is smaller, not bracketed.
    """
    f_low, f_high = f(low), f(high)
    bracketed = (jnp.sign(f_low) != jnp.sign(f_high)) & jnp.isfinite(f_low) & jnp.isfinite(f_high)
    nearer = jnp.where(jnp.abs(f_low) <= jnp.abs(f_high), low, high)

    def going(carry):
        a, b, *_, fa, fb, _, k = carry
        return bracketed & (k < steps) & (jnp.abs(b - a) > tolerance) & (fa != 0) & (fb != 0)

    def body(carry):
        a, b, c, fa, fb, fc, k = carry
        # a is the newest point, b lies across the root, c is the one before.
        xi, phi = (a - b) / _nonzero(c - b), (fa - fb) / _nonzero(fc - fb)
        smooth = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
        inverse = (fa / _nonzero(fb - fa) * fc / _nonzero(fb - fc)
                   + (c - a) / _nonzero(b - a) * fa / _nonzero(fc - fa) * fb / _nonzero(fc - fb))
        t = jnp.where(smooth, inverse, 0.5)
        margin = jnp.minimum(tolerance / (2 * _nonzero(jnp.abs(b - a))), 0.5)
        new = a + jnp.clip(t, margin, 1 - margin) * (b - a)
        y = f(new)
        same = jnp.sign(y) == jnp.sign(fa)
        c, fc = jnp.where(same, a, b), jnp.where(same, fa, fb)
        b, fb = jnp.where(same, b, a), jnp.where(same, fb, fa)
        return new, b, c, y, fb, fc, k + 1

    start = (low, high, high, f_low, f_high, f_high, jnp.zeros((), int))
    a, b, _, fa, fb, _, _ = lax.while_loop(going, body, start)
    at = jnp.where(jnp.abs(fa) <= jnp.abs(fb), a, b)
    return Root(jnp.where(bracketed, at, nearer), bracketed & jnp.isfinite(fa) & jnp.isfinite(fb))


def _nonzero(x):
    return jnp.where(x == 0, 1, x)
