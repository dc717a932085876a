"""Plug-and-play: a denoiser in the place of a proximal map."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from ..checks import check_positive
from ..consistency import ConsistencyStep
from ..consistency.base import check_step
from ..fidelity import cast_measurements
from ..operator import LinearOperator, with_norm, without_norm
from ..operator.known_norm import norm_of
from ..parameters import measured_noise
from ..priors import Prior
from ..priors.base import scalar_like
from ..solvers import ADMM, CGNR, FISTA, ISTA, Alternating, Solver, solve, unroll
from ..solvers.base import check_prior
from ..solvers.hqs import HQS
from ..solvers.scheduled import Scheduled
from ..value import is_complex, safe_divide, static, value
from .checks import check_count, check_initial
from .denoiser import Denoiser
from .nonexpansive import Averaged
from .scale import divide_measurements, image_scale

METHODS = ("hqs", "ista", "fista", "admm")
FIRST_LEVEL = 49 / 255  # of the schedule, and
LAST_LEVEL = 0.255 / 255  # the least that it ends at (Zhang et al. 2021)
BRIGHTEST = 0.999  # quantile of the magnitudes that the denoiser sees as 1
CG_STEPS = 10
FIRST_STEPS = 5
PHASE_BAND = 4  # cycles across the image


@value
class PlugAndPlay:
    """x_{k+1} = D(DC(x_k)): an iterative method whose proximal map is a denoiser (Venkatakrishnan et al. 2013).

    A `jr.Denoiser` sees images of about [0, 1], with a noise level that falls from iteration to iteration, from `first`
    to that of the measurements: sigma_k, k = 1 .. P, evenly spaced in the logarithm, with weights
    rho_k = lam sigma^2 / sigma_k^2 of the split in HQS and ADMM (Zhang et al. 2017, 2021). The whole commutes with the
    scale of b. Any other prior, such as `jr.TV(lam)`, keeps its own lam, in the units of b, in every iteration: then
    this is the classical solver.

    A network of one channel sees the real and imaginary parts of a complex image one by one, once the smooth phase of
    the first image is taken off it.

    Args:
        denoiser: a `jr.Denoiser` (or `jr.learned.Averaged` of one, for convergence), or any prior. How sigma_k reaches
            the network: a conditional one is told; a blind one of known `trained_at` is made to follow; any other blind
            one finds the level itself, and sigma_k acts through rho_k alone. A Denoiser(net, sigma) has one level, a
            fraction of the image's range, for all k.
        method: "hqs", "ista", "fista" or "admm".
        iterations: P.
        sigma: noise of b, standard deviation per real component. None: estimated from b
            (`jr.parameters.measured_noise`), for k-space rather too high than too low; one that is given must be scaled
            along with b.
        lam: weight of the denoiser against the data in rho_k.
        first: sigma_1, a fraction of the image's range.
        rho: weight of the split in HQS and ADMM for all k, in place of rho_k. Priors that are no denoisers: 1 if None.
        dc: a data-consistency step in the place of the method's, such as `jr.KaczmarzSweep()`.
        trained_at: the one noise level, as a fraction of the range, that a blind network was trained at; what it then
            does at another sigma_k is written at `AtLevel`.
        initial: a reconstructor that gives the first image and its range; None: 5 steps of CG.
        rolled: False writes the iterations out one after the other: longer to compile, but on CPU gradients through a
            loop with convolutions are 18 to 54 times slower.

    Example:
        >>> A = jr.Convolution(jnp.ones((3, 3)) / 9, (16, 16))
        >>> r = jr.PlugAndPlay(jr.Denoiser(jr.networks.DRUNet(features=(4, 8)), key=jax.random.key(0)), iterations=4)
        >>> r(A, A(jnp.ones((16, 16)))).shape
        (16, 16)
    """

    denoiser: Prior
    method: str = static(default="hqs")
    iterations: int = static(default=24)
    sigma: Any = None
    lam: Any = 0.23
    first: Any = FIRST_LEVEL
    rho: Any = None
    dc: ConsistencyStep | None = None
    trained_at: Any = None
    initial: Any = None
    rolled: bool = static(default=True)

    def check(self):
        check_prior(self, self.denoiser)
        if self.method not in METHODS:
            raise ValueError(f"PlugAndPlay knows the methods {', '.join(METHODS)}, got {self.method!r}; any other data-"
                             "consistency step goes as dc=")
        check_count(self, "iterations")
        for name in ("sigma", "lam", "first", "rho", "trained_at"):
            check_positive(self, name, getattr(self, name))
        if self.dc is not None:
            check_step(self.dc)
        if self.initial is not None:
            check_initial(self.initial)
        if self.trained_at is not None and (not _has_network(self.denoiser) or _network(self.denoiser).net.conditional):
            raise ValueError(f"trained_at is for a blind jr.Denoiser, which is not told its noise level, got "
                             f"{self.denoiser!r}")

    def prepare(self, A: LinearOperator) -> LinearOperator:
        """A with its norm, for many images of one A."""
        return with_norm(A)

    def __call__(self, A: LinearOperator, b: Any) -> jax.Array:
        first = None if self.initial is None else self.initial(without_norm(A), b)
        if not _has_network(self.denoiser):
            rho = 1.0 if self.rho is None else self.rho
            return solve(A, b, self._solver(self.denoiser, rho), self.iterations, x0=first).x
        return _reconstruct(dataclasses.replace(self, initial=None), A, b, first)

    def _solver(self, prior: Prior, rho: Any, cg: int | None = None) -> Solver:
        if self.dc is not None:
            return Alternating(self.dc, prior)
        makers = {"hqs": lambda: HQS(prior, rho, cg), "admm": lambda: ADMM(prior, rho),
                  "ista": lambda: ISTA(prior), "fista": lambda: FISTA(prior)}
        return makers[self.method]()

    def _scheduled(self, levels: jax.Array, rho: jax.Array, phase: jax.Array | None) -> Solver:
        """The solver with its values for every iteration."""
        denoiser, schedule, path = self.denoiser, {}, "denoiser." if isinstance(self.denoiser, Averaged) else ""
        if phase is not None:
            denoiser, path = Demodulated(denoiser, phase), "denoiser." + path
        place = "enhance" if self.dc is not None else "prior.0" if self.method == "admm" else "prior"
        if _network(self.denoiser).net.conditional:
            schedule[f"{place}.{path}sigma"] = levels
        elif self.trained_at is not None:
            denoiser = AtLevel(denoiser, 1.0)
            schedule[f"{place}.ratio"] = levels / scalar_like(self.trained_at, levels)
        if self.dc is None and self.method in ("hqs", "admm"):
            schedule["rho"] = rho
        solver = self._solver(denoiser, 1.0, CG_STEPS)
        return Scheduled(solver, schedule) if schedule else solver


def _network(denoiser: Any) -> Any:
    """The Denoiser itself."""
    return denoiser.denoiser if isinstance(denoiser, Averaged) else denoiser


def _has_network(denoiser: Any) -> bool:
    return isinstance(_network(denoiser), Denoiser)


@value
class AtLevel(Prior):
    """A denoiser trained at one noise level s0, as one of level s: with r = s / s0,

        r >= 1: r D(x / r), which sees an image of lower contrast (Xu et al. 2020);
        r < 1: x + r (D(x) - x), since noise of level s is r times as large; r D(x / r) would leave the range of
               contrasts that the network was trained on.
    """

    denoiser: Prior
    ratio: Any

    def __call__(self, x):
        return self.denoiser(x)

    def prox(self, v, t=1.0):
        ratio = scalar_like(self.ratio, v)
        unit, share = jnp.maximum(ratio, 1), jnp.minimum(ratio, 1)
        return v + share * (unit * self.denoiser.prox(v / unit, t) - v)


@value
class Demodulated(Prior):
    """p D(x / p), with |p| = 1: a denoiser of real images then finds nearly all of a complex one in the real part."""

    denoiser: Prior
    phase: jax.Array

    def __call__(self, x):
        return self.denoiser(x)

    def prox(self, v, t=1.0):
        return self.phase * self.denoiser.prox(jnp.conj(self.phase) * v, t)


def smooth_phase(x: jax.Array) -> jax.Array:
    """The phase of x, as numbers of magnitude 1, after a Gaussian filter that keeps the lowest frequencies."""
    k = [(n * jnp.fft.fftfreq(n)).astype(x.real.dtype).reshape([n if d == a else 1 for d in range(x.ndim)])
         for a, n in enumerate(x.shape)]
    smooth = jnp.fft.ifftn(jnp.exp(-sum(f**2 for f in k) / (2 * PHASE_BAND**2)) * jnp.fft.fftn(x))
    size = jnp.sqrt(jnp.where(smooth == 0, 1, jnp.square(smooth.real) + jnp.square(smooth.imag)))
    return jnp.where(smooth == 0, 1, smooth / size)


@jax.jit
def _reconstruct(r: PlugAndPlay, A: LinearOperator, b: Any, first: jax.Array | None) -> jax.Array:
    b, domain = cast_measurements(A, b)
    first = solve(without_norm(A), b, CGNR(), FIRST_STEPS).x if first is None else jnp.asarray(first, domain.dtype)
    scale = display_scale(first)
    b = divide_measurements(b, scale)
    # From here on in units of the image's range and, for noise, of |A|.
    sigma = measured_noise(A, b) if r.sigma is None else scalar_like(r.sigma, first) / jnp.abs(scale)
    gain = norm_of(A)
    sigma = jnp.maximum(safe_divide(sigma, gain), scalar_like(LAST_LEVEL, first))
    highest = scalar_like(r.first, first)
    level = _network(r.denoiser).sigma
    if level is None:
        levels = jnp.exp(jnp.linspace(jnp.log(highest), jnp.log(jnp.minimum(sigma, highest)), r.iterations))
    else:
        levels = jnp.full(r.iterations, scalar_like(level, first))
    rho = scalar_like(r.lam, first) * (gain * sigma / levels) ** 2
    if r.rho is not None:
        rho = jnp.full(r.iterations, scalar_like(r.rho, first))
    phase = smooth_phase(first / scale) if is_complex(first) and _network(r.denoiser).net.channels == 1 else None
    x = unroll(A, b, r._scheduled(levels, rho, phase), r.iterations, first / scale, shared=True,
               rolled=r.rolled)
    return scale * x


def display_scale(x: jax.Array) -> jax.Array:
    """c such that x / c fills about [0, 1]: all but the brightest thousandth of the pixels is below 1, in magnitude.

    As `image_scale` in all else: a complex c takes the mean phase with it.
    """
    scale = image_scale(x)
    brightest = jnp.quantile(jnp.abs(x) / jnp.abs(scale), BRIGHTEST)
    return scale * jnp.where(brightest > 0, brightest, 1)
