"""Self-supervision by data undersampling: reconstruct from some measurements, judge by the others."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..fidelity import like_measurements
from ..operator import LinearOperator, RealPart, without_norm
from ..operator.algebra import Composed, Scaled
from ..operator.base import Wrapper
from ..operators import Fourier
from ..operators.fourier import full_rank, varying_axes
from ..operators.sense import Sense
from ..solvers.subsets import select_views
from ..value import describe, is_concrete, is_count, norm, norm_squared, safe_divide, static, value
from .losses import SelfSupervised, magnitude
from .measured import checked_measurements, image, measured_samples, need_key, real_values

DISTANCES = ("l1+l2", "l2")
CALIBRATION, SPREAD = 4, 0.25  # of the paper


@value
class SSDU(SelfSupervised):
    """distance(A_2 r(A_1, b_1), b_2), where the key splits the measurements anew into parts 1 and 2 at every step.

    With a mask (jr.Fourier, jr.sense, also in a product, batched or scaled) the measured locations of k-space are
    split, all coils alike, and r sees an operator whose own mask is reduced; with `views` (jr.XRay, jr.ConeBeamXRay,
    jr.Matrix by rows) whole views are, and r sees an operator of fewer views. Noise that is independent from sample to
    sample cannot be fitted. What no example measures is not learnt: masks must differ from image to image.

    The paper's split hides many of the brightest samples, and a network learns to make up for missing energy: fewer of
    them, share=0.2, the calibration lines and spread=jnp.inf are better, with a reconstructor that ends with data
    consistency (`jr.Consistent`). Where masks rarely look, errors of any size hardly count: `Equivariant(SSDU(...))`
    mends that, or distance="l2" with weights = 1 / (how often each location is measured), which judges all of k-space
    evenly, as ground truth would (Millard and Chiew 2023).

    Args:
        share: of part 2 in all measurements, 0 < share < 1.
        calibration: sizes of the central block that always stays in part 1, along each axis of k-space; None: 4.
        spread: standard deviation of the Gaussian density around the centre of k-space with which part 2 is drawn, as
            a fraction of k-space; jnp.inf draws evenly; None: 1/4.
        lines: split whole lines, of a mask that has length 1 along the read-out.
        weights: of |u - v|^2 and |u - v| below (and of u there), real and positive, that broadcast to b; None: 1.
        distance: "l1+l2", |u - v|_2 / |u|_2 + |u - v|_1 / |u|_1 with u = b_2, as in the paper; or "l2", the mean
            |u - v|^2 over real numbers measured.

    Raises:
        ValueError: share outside (0, 1), or of less than one view; calibration, spread or lines given for views, or as
            large as k-space; lines=True without a mask of lines; an unknown distance. TypeError: an operator with
            neither mask nor views.

    An example whose part 2 is empty (all that was measured is calibration) has the loss NaN.
    The reconstructor must take any mask of this shape; views come in ascending order, with indices that are traced.

    Source: Yaman et al. (2020); weights: Millard and Chiew (2023).

    Example:
        >>> A = jr.Fourier((8, 8))
        >>> (A1, b1), (A2, b2) = jr.training.SSDU().split(A, jnp.ones((8, 8), complex), jax.random.key(0))
        >>> int(A1.mask.sum()), int(A2.mask.sum()), int((A1.mask * A2.mask).sum())
        (38, 26, 0)
    """

    share: float = static(default=0.4)
    calibration: int | None = static(default=None)
    spread: Any = None
    lines: bool = static(default=False)
    weights: Any = None
    distance: str = static(default="l1+l2")

    def check(self):
        if not 0 < self.share < 1:
            raise ValueError(f"SSDU needs 0 < share < 1, got {self.share}")
        object.__setattr__(self, "share", float(self.share))
        if self.calibration is not None and not is_count(self.calibration, 0):
            raise ValueError(f"SSDU: calibration must be a whole number >= 0, got {self.calibration}")
        if self.spread is not None and is_concrete(self.spread) and not self.spread > 0:
            raise ValueError(f"SSDU needs spread > 0, got {self.spread}")
        if self.weights is not None and is_concrete(self.weights):
            w = np.asarray(self.weights)
            if np.iscomplexobj(w) or not np.all((w > 0) & np.isfinite(w)):
                raise ValueError(f"SSDU needs weights that are real, positive and finite, got {describe(self.weights)}"
                                 " with others; 1 / max(probability, 1e-3) has none")
        if self.distance not in DISTANCES:
            raise ValueError(f"SSDU: distance is one of {', '.join(DISTANCES)}, got {self.distance!r}")

    def split(self, A: LinearOperator, b: Any, key: jax.Array) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """((A_1, b_1), (A_2, b_2))."""
        A = without_norm(A)
        inside = sampler(A)
        if isinstance(inside, Fourier | Sense):
            chosen = self._chosen(inside, key)
            return ((A.kept(~chosen), jnp.where(chosen, 0, b)), (A.kept(chosen), jnp.where(chosen, b, 0)))
        return self._views(A, b, key)

    def _chosen(self, A, key):
        """The locations of part 2."""
        shape = A.domain.shape
        axes = A.axes if isinstance(A, Fourier) else tuple(range(len(shape)))
        mask = jnp.ones((1,) * len(shape)) if A.mask is None else full_rank(A.mask, len(shape))
        if self.lines:
            encoded, axes = axes, varying_axes(mask, axes)
            if len(axes) in (0, len(encoded)):
                raise ValueError("SSDU: lines=True needs a mask of lines, of length 1 along the read-out, as (ny, 1); "
                                 f"got {'no mask' if A.mask is None else f'a mask of shape {A.mask.shape}'}")
        mask = jnp.broadcast_to(mask, [n if d in axes else mask.shape[d] for d, n in enumerate(shape)])
        calibration = CALIBRATION if self.calibration is None else self.calibration
        if all(calibration >= shape[d] for d in axes):
            raise ValueError(f"SSDU: calibration = {calibration} leaves nothing of a k-space of shape {shape} to split")
        log_density, centre = jnp.zeros((), mask.dtype), np.bool_(True)
        for d in axes:
            n, column = shape[d], [shape[d] if e == d else 1 for e in range(len(shape))]
            k = (np.arange(n) - n // 2).reshape(column)
            centre = centre & (k >= -(calibration // 2)) & (k < calibration - calibration // 2)
            spread = jnp.asarray(SPREAD if self.spread is None else self.spread, mask.dtype)
            log_density = log_density - (jnp.asarray(k / n, mask.dtype) / spread) ** 2 / 2
        measured = mask != 0
        free = measured & ~centre
        # The smallest of exponential times, each in units of 1 / density: draws without replacement.
        log_time = jnp.log(jax.random.exponential(key, mask.shape, mask.dtype)) - log_density
        log_time = jnp.where(free, log_time, jnp.inf)
        count = jnp.minimum(jnp.round(self.share * jnp.sum(measured)).astype(int), jnp.sum(free))
        last = jnp.sort(log_time.ravel())[jnp.maximum(count - 1, 0)]
        return free & (log_time <= last) & (count > 0)

    def _views(self, A, b, key):
        if self.calibration is not None or self.spread is not None or self.lines:
            raise ValueError("SSDU: calibration, spread and lines are of a k-space mask, and views are drawn evenly; "
                             f"got calibration={self.calibration}, spread={self.spread}, lines={self.lines} for "
                             f"{type(A).__name__}")
        views = b.shape[0] if b.ndim else 0
        count = round(self.share * views)
        if not 0 < count < views:
            raise ValueError(f"SSDU: a share of {self.share} of {views} views is {count} of them; both parts need one")
        order = jax.random.permutation(key, views)
        first, second = jnp.sort(order[count:]), jnp.sort(order[:count])
        try:
            return (select_views(A, first), b[first]), (select_views(A, second), b[second])
        except ValueError as error:
            raise TypeError(f"SSDU splits a mask (jr.Fourier, jr.sense) or views (jr.XRay, matrices), and "
                            f"{type(A).__name__} has neither") from error

    def loss_and_image(self, reconstructor, A, b, key):
        b = checked_measurements("SSDU", A, b)
        (A, b), (other, u) = self.split(A, b, need_key("SSDU", key))
        x = image(reconstructor, A, b)
        measured = measured_samples(other, u)
        # Nothing to judge by is no perfect score.
        none = jnp.where(jnp.any(measured), 0, jnp.nan)
        w = like_measurements("SSDU: weights", 1 if self.weights is None else self.weights, u)
        error, root = jnp.where(measured, other.apply(x) - u, 0), jnp.sqrt(w)
        if self.distance == "l2":
            return none + norm_squared(root * error) / real_values(measured, u), x
        l1, size = jnp.sum(w * magnitude(error)), jnp.sum(w * magnitude(u))
        return none + safe_divide(norm(root * error), norm(root * u)) + safe_divide(l1, size), x


def sampler(A: LinearOperator) -> LinearOperator:
    """What samples k-space within A (jr.Fourier, jr.sense), else A."""
    if isinstance(A, Wrapper | RealPart | Scaled):
        return sampler(A.operator)
    return sampler(A.outer) if isinstance(A, Composed) else A
