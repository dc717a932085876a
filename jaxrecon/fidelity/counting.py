"""The likelihood of one count y as a function of one projection z = (A x)_i: value, slope, curvature and prox.

Each f is the Kullback-Leibler divergence ybar - y + y log(y / ybar) of the count from its mean ybar(z): the negative
log-likelihood, less its value at ybar = y. For z < 0 it goes on as its parabola at z = 0 (of curvature >= 0), so that
its curvature is bounded: line integrals and activities are not negative, but iterates and extrapolated points are.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..value import safe_divide, safe_sqrt, value


@value
class Transmission:
    """ybar = I0 e^{-z} + r. A detector with I0 = 0 sees nothing and is left out."""

    blank: jax.Array
    background: jax.Array

    def mean(self, z: jax.Array) -> jax.Array:
        """ybar, on the tangent at 0 for z < 0."""
        return self.blank * (jnp.exp(-jnp.maximum(z, 0)) - jnp.minimum(z, 0)) + self.background

    def value(self, y, z):
        up, down = jnp.maximum(z, 0), jnp.minimum(z, 0)
        alive = self.blank > 0
        blank, r = jnp.where(alive, self.blank, 1), self.background
        mean = blank * jnp.exp(-up) + r
        # Without background the mean underflows long before its logarithm is large.
        bare = (y > 0) & (r <= 0)
        log_ratio = jnp.where(bare, jnp.log(blank / jnp.where(bare, y, 1)) - up,
                              jnp.log(jnp.where((y > 0) & ~bare, mean, 1) / jnp.where(y > 0, y, 1)))
        f = divergence(y, mean, log_ratio)
        return jnp.where(alive, f + self._slope_at_zero(y) * down + self.bound(y) * down**2 / 2, 0)

    def slope(self, y, z):
        u = self.blank * jnp.exp(-jnp.maximum(z, 0))
        # u / (u + r) is 1 without background, also where u underflows.
        share = jnp.where(self.background > 0, safe_divide(u, u + self.background), 1)
        slope = y * share - u + self.bound(y) * jnp.minimum(z, 0)
        return jnp.where(self.blank > 0, slope, 0)

    def bound(self, y):
        """max f'' over z >= 0, which is f''(0) or 0 (Erdogan and Fessler 1999)."""
        I0, r = self.blank, self.background
        return jnp.maximum(I0 - y * safe_divide(I0 * r, (I0 + r) ** 2), 0)

    def _slope_at_zero(self, y):
        return y * safe_divide(self.blank, self.blank + self.background) - self.blank

    def typical(self, y):
        """f'' at the data."""
        return jnp.mean(y)

    def prox(self, y, v, t):
        """argmin_z t f(z) + 1/2 (z - v)^2 for r = 0, by w = t ybar with w + log w = log(t I0) - v + t y."""
        alive = self.blank > 0
        blank = jnp.where(alive, self.blank, 1)
        s = jnp.log(t * blank) - v + t * y
        w = wright_omega(s)
        large = w > 1
        z = jnp.where(large, jnp.log(t * blank / jnp.where(large, w, 1)), v - t * y + w)
        below = (v - t * (y - blank)) / (1 + t * blank)
        return jnp.where(alive, jnp.where(below < 0, below, z), v)


@value
class Emission:
    """ybar = z + r. Where r = 0 there is no parabola: f is infinite for z < 0."""

    background: jax.Array

    def mean(self, z: jax.Array) -> jax.Array:
        return z + self.background

    def value(self, y, z):
        up, down = jnp.maximum(z, 0), jnp.minimum(z, 0)
        mean = up + self.background
        ratio = mean / jnp.where(y > 0, y, 1)
        far = mean < y / 2
        f = divergence(y, mean, jnp.log(jnp.where(far, ratio, 1)))
        f = f + (1 - safe_divide(y, self.background)) * down + self._at_zero(y) * down**2 / 2
        return jnp.where((z < 0) & (self.background <= 0), jnp.inf, f)

    def slope(self, y, z):
        seen = y > 0
        ratio = jnp.where(seen, y / jnp.where(seen, jnp.maximum(z, 0) + self.background, 1), 0)
        return 1 - ratio + self._at_zero(y) * jnp.minimum(z, 0)

    def bound(self, y):
        """f''(0), the largest; infinite for counts without background."""
        return jnp.where((y > 0) & (self.background <= 0), jnp.inf, self._at_zero(y))

    def _at_zero(self, y):
        return safe_divide(safe_divide(y, self.background), self.background)

    def typical(self, y):
        """f'' = 1 / y at the data, at the mean count."""
        return safe_divide(1, jnp.mean(y))

    def prox(self, y, v, t):
        """argmin_z t f(z) + 1/2 (z - v)^2: the positive root ybar of a quadratic equation."""
        r = self.background
        q = v + r - t
        root = safe_sqrt(q**2 + 4 * t * y)
        # (q + root) / 2, without its cancellation for q < 0.
        mean = jnp.where(q > 0, (q + root) / 2, safe_divide(2 * t * y, root - q))
        below = (v - t * (1 - safe_divide(y, r))) / (1 + t * self._at_zero(y))
        return jnp.where((below < 0) & (r > 0), below, mean - r)


def divergence(y: Any, mean: Any, log_ratio: Any) -> jax.Array:
    """mean - y + y log(y / mean) without cancellation near y = mean; log_ratio = log(mean / y) serves mean < y / 2."""
    seen = y > jnp.finfo(mean.dtype).tiny * mean
    count = jnp.where(seen, y, 1)
    far = mean < count / 2
    t = (mean - count) / count
    logarithm = jnp.where(far, log_ratio, jnp.log1p(jnp.where(far, 0, t)))
    return jnp.where(seen, count * (t - logarithm), mean)


@jax.custom_jvp
def wright_omega(s: jax.Array) -> jax.Array:
    """w > 0 with w + log w = s, that is W(e^s) without overflow (Fritsch, Shafer and Crowley 1973: Lawrence, Corless
    and Jeffrey 2012)."""
    low, high = s < -2, s > 1 + jnp.pi
    exponential = jnp.exp(jnp.minimum(s, 0))
    logarithm = jnp.log(jnp.where(high, s, 1))
    w = jnp.where(high, s - logarithm + logarithm / jnp.where(high, s, 1), jnp.exp(2 * (jnp.where(high, 0, s) - 1) / 3))
    w = jnp.where(low, exponential, w)
    # Below, e^s is w to rounding, and its logarithm would underflow.
    tiny = s < -40
    w = jnp.where(tiny, 1, w)
    for _ in range(2):
        r = jnp.where(tiny, 0, s - w - jnp.log(w))
        a = 1 + w
        q = r / (2 * a) / (a + 2 * r / 3)
        w = w * (1 + r / a * (1 - q) / (1 - 2 * q))
    return jnp.where(tiny, exponential, w)


@wright_omega.defjvp
def _wright_omega_jvp(primals, tangents):
    w = wright_omega(*primals)
    return w, w / (1 + w) * tangents[0]
