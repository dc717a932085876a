"""Low rank: the nuclear norm of a matrix, and of the space-time matrices of an image series' blocks."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..checks import check_weights
from ..operator import real_dtype
from ..value import static, value
from ._fitted import values_for
from .base import Prior, scalar_like


@value
class Nuclear(Prior):
    """lam times the sum of singular values, of a matrix in the last two axes (summed over further axes).

    Args:
        lam: weight >= 0, or an array of weights for the leading axes.

    Raises:
        ValueError: negative lam, or fewer than two axes.

    Example:
        >>> prior, x = jr.Nuclear(1.0), jnp.diag(jnp.array([3.0, 1.0]))
        >>> float(prior(x)), prior.prox(x, 2.0).round(6).tolist()
        (4.0, [[1.0, 0.0], [0.0, 0.0]])

    Source: Cai, Candes and Shen 2010.
    """

    lam: Any

    def check(self):
        check_weights(self, lam=self.lam)

    def __call__(self, x):
        _check_matrix(x)
        return jnp.sum(values_for(self, self.lam, x, x.shape[:-2]) * nuclear_norm(x))

    def prox(self, v, t=1.0):
        _check_matrix(v)
        return threshold_singular_values(v, scalar_like(t, v) * values_for(self, self.lam, v, v.shape[:-2]))


def _check_matrix(x):
    if jnp.ndim(x) < 2:
        raise ValueError(f"Nuclear takes a matrix in the last two axes, got shape {jnp.shape(x)}")


@value
class LocallyLowRank(Prior):
    """lam times the sum of the nuclear norms of an image series' blocks, each a matrix (frames, pixels of the block).

    Args:
        lam: weight >= 0.
        block: pixels along each image axis, one number or a tuple. Blocks do not overlap; those that stick out over an
            edge are cut there.
        axis: the axis of the frames; all others are image axes.
        offset: where the grid of blocks starts, one number or a tuple: another in each iteration hides the seams.

    Raises:
        ValueError: negative lam, a block below 1, or a number of axes that does not fit x.

    Example:
        >>> x = jnp.ones((3, 4, 4))
        >>> float(jr.LocallyLowRank(1.0, block=2)(x)) - 4 * 12**0.5 < 1e-12
        True

    Source: Trzasko and Manduca 2011; Zhang, Pauly and Levesque 2015.
    """

    lam: Any
    block: Any = static()
    axis: int = static(default=0)
    offset: Any = static(default=0)

    def check(self):
        check_weights(self, lam=self.lam)
        for name in ("block", "offset"):
            given = getattr(self, name)
            object.__setattr__(self, name, tuple(map(int, given)) if np.ndim(given) else int(given))
        if any(b < 1 for b in ([self.block] if isinstance(self.block, int) else self.block)):
            raise ValueError(f"LocallyLowRank: block must be at least 1 pixel, got {self.block}")

    def __call__(self, x):
        return scalar_like(self.lam, x) * jnp.sum(nuclear_norm(self._matrices(x)[0]))

    def prox(self, v, t=1.0):
        matrices, restore = self._matrices(v)
        return restore(threshold_singular_values(matrices, scalar_like(t, v) * scalar_like(self.lam, v)))

    def _matrices(self, x):
        """The matrices (blocks, frames, pixels) and the function that puts them back together."""
        if x.ndim < 2 or not -x.ndim <= self.axis < x.ndim:
            raise ValueError(f"LocallyLowRank takes frames along axis {self.axis} and at least one image axis, got "
                             f"shape {x.shape}")
        d = x.ndim - 1
        block, offset = ((v,) * d if isinstance(v, int) else v for v in (self.block, self.offset))
        if len(block) != d or len(offset) != d:
            raise ValueError(f"LocallyLowRank: block {self.block} and offset {self.offset} do not fit the {d} image "
                             f"axes of shape {x.shape}")
        frames = jnp.moveaxis(x, self.axis, 0)
        # A zero column changes no singular value: padding the edge to whole blocks cuts the blocks there.
        pads = [(-o % b, -(n + -o % b) % b) for n, b, o in zip(frames.shape[1:], block, offset, strict=True)]
        padded = jnp.pad(frames, [(0, 0), *pads])
        counts = [n // b for n, b in zip(padded.shape[1:], block, strict=True)]
        grid = (len(frames), *(k for pair in zip(counts, block, strict=True) for k in pair))
        order = (*range(1, 2 * d, 2), 0, *range(2, 2 * d + 1, 2))
        split = jnp.transpose(padded.reshape(grid), order)

        def restore(m):
            back = jnp.transpose(m.reshape(split.shape), [order.index(a) for a in range(2 * d + 1)])
            back = back.reshape(padded.shape)
            inside = tuple(slice(before, before + n) for (before, _), n in zip(pads, frames.shape[1:], strict=True))
            return jnp.moveaxis(back[(slice(None), *inside)], 0, self.axis)

        return split.reshape(-1, len(frames), split[(0,) * d].size // len(frames)), restore


# ---- singular values, with derivatives that are finite where they vanish or coincide


@jax.custom_jvp
def nuclear_norm(x: jax.Array) -> jax.Array:
    """The sum of singular values over the last two axes."""
    tall = x if x.shape[-2] >= x.shape[-1] else _transposed(x)
    return jnp.sum(jnp.linalg.svd(jnp.linalg.qr(tall, mode="r"), compute_uv=False), -1)


@nuclear_norm.defjvp
def _nuclear_norm_jvp(primals, tangents):
    """d = Re <U V^H, dx> over the singular values above rounding: the subgradient of least norm."""
    (x,), (dx,) = primals, tangents
    u, s, vh = jnp.linalg.svd(x, full_matrices=False)
    eps = jnp.finfo(s.dtype).eps * max(x.shape[-2:])
    kept = (s > eps * s[..., :1]).astype(x.dtype)
    direction = (u * kept[..., None, :]) @ vh
    return jnp.sum(s, -1), jnp.sum(jnp.conj(direction) * dx, (-2, -1)).real


def threshold_singular_values(x: jax.Array, threshold: jax.Array) -> jax.Array:
    """U (S - threshold)_+ V^H, written as x h(x^H x) on the shorter side of x."""
    threshold = jnp.broadcast_to(threshold, x.shape[:-2])
    if x.shape[-2] < x.shape[-1]:
        return _shrinkage(_transposed(x), threshold) @ x
    return x @ _shrinkage(x, threshold)


def _transposed(x):
    return jnp.conj(jnp.swapaxes(x, -1, -2))


def _right_vectors(x):
    """Singular values and right singular vectors of a tall x."""
    if real_dtype(x) == jnp.float64:
        # Only values above the threshold count, and there the Gram matrix costs eps (s_max / threshold)^2: sound in
        # double precision, and several times faster than an SVD.
        w, v = jnp.linalg.eigh(_transposed(x) @ x)
        return jnp.sqrt(jnp.maximum(w, 0)), v
    # The SVD of the triangular factor: as accurate, and 2 to 8 times faster than that of a tall matrix.
    _, s, vh = jnp.linalg.svd(jnp.linalg.qr(x, mode="r"), full_matrices=False)
    return s, _transposed(vh)


@jax.custom_jvp
def _shrinkage(x, threshold):
    """h(x^H x) with h(s^2) = (1 - threshold / s)_+."""
    s, v = _right_vectors(x)
    return _spectral(s, v, threshold)[0]


def _spectral(s, v, threshold):
    r = threshold[..., None]
    above = (s > r) & (s > 0)
    inverse = jnp.where(above, 1 / jnp.where(above, s, 1), 0)
    h = jnp.where(above, (s - r) * inverse, 0)
    return (v * h[..., None, :]) @ _transposed(v), above, inverse, h


@_shrinkage.defjvp
def _shrinkage_jvp(primals, tangents):
    """dh = V (D * (V^H d(x^H x) V)) V^H with the divided differences D_ij = (h_i - h_j) / (s_i^2 - s_j^2)."""
    (x, threshold), (dx, dr) = primals, tangents
    s, v = _right_vectors(x)
    primal, above, inverse, h = _spectral(s, v, threshold)
    a, b = s[..., :, None], s[..., None, :]
    one, other = above[..., :, None], above[..., None, :]
    both, neither = one & other, ~(one | other)
    # Both kept: r / (s_i s_j (s_i + s_j)), which has no cancellation where they coincide.
    joint = threshold[..., None, None] * inverse[..., :, None] * inverse[..., None, :] / jnp.where(both, a + b, 1)
    gap = jnp.where(both | neither, 1, jnp.abs(a - b) * (a + b))
    single = (h[..., :, None] + h[..., None, :]) / jnp.where(gap > 0, gap, 1)
    differences = jnp.where(both, joint, jnp.where(neither, 0, single))
    cross = _transposed(x) @ dx
    rotated = _transposed(v) @ (cross + _transposed(cross)) @ v
    direct = -inverse * dr[..., None]
    change = differences * rotated + direct[..., None, :] * jnp.eye(s.shape[-1], dtype=s.dtype)
    return primal, v @ change @ _transposed(v)
