"""Losses without ground truth that use all measurements: consistency, SURE, equivariance. (`ssdu` splits them.)

All are means over real numbers measured: a complex sample counts as two, a sample that the mask leaves out as none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..fidelity import like_measurements
from ..operator import real_dtype
from ..parameters.trial import signs
from ..value import describe, is_complex, is_concrete, norm_squared, static, value
from .losses import SelfSupervised, mse
from .measured import checked_measurements, image, measured_samples, need_key, real_values


@value
class Consistency(SelfSupervised):
    """|A x - b|^2 / m: what the measurements say of the image, and nothing of the null space of A.

    Its minimum fits the noise too; here for comparison, and as the base of `Equivariant` where there is no noise.

    Args:
        mask: which samples count, broadcast to b; None: those that depend on x (`jr.parameters.measured`).

    Example:
        >>> A, b = jr.Identity((2,)), jnp.array([1.0, 3.0])
        >>> r = jr.Iterative(jr.CGNR(lam=1.0), iterations=1)
        >>> float(jr.training.Consistency()(r, A, b))
        1.25
    """

    mask: Any = None

    def loss_and_image(self, reconstructor, A, b, key):
        b = checked_measurements("Consistency", A, b)
        measured = measured_samples(A, b, self.mask)
        x = image(reconstructor, A, b)
        return norm_squared(jnp.where(measured, A.apply(x) - b, 0)) / real_values(measured, b), x


@value
class SURE(SelfSupervised):
    """Stein's estimate of |A x(b) - A x_true|^2 / m from b = A x_true + noise alone, without bias:

        [|A x(b) - b|^2 - m sigma^2 + 2 sigma^2 div_b A x(b)] / m,     div ~ <p, A x(b + h p) - A x(b)> / h

    along one random p of signs, h = step sigma. Estimates may be negative. It is the error of A x, not of x: with one A
    for all images, what A does not see stays free (`Equivariant`).

    Args:
        sigma: standard deviation of the Gaussian noise per real component: E|n|^2 = sigma^2 per real sample, 2 sigma^2
            per complex one; a scalar, or an array that broadcasts to b.
        perturbation: a direction p in place of the random one, broadcast to b. Over all unit vectors (and i times
            them, for complex b) the terms <p, (A x)' p> add up to the divergence exactly.
        mask: as for `Consistency`; p is 0 where nothing was measured.
        step: h in units of sigma. None: the exact derivative (`jax.jvp`), for networks with smooth activations only.
            The slopes of a ReLU network are constant between its kinks, so that the gradient of their exact value with
            respect to the weights leaves out how the kinks move: with it a DnCNN unlearned all it had learned (cosine
            with the gradient of the true error .1 to .6, by differences .9 to 1).

    Raises:
        ValueError: sigma that is negative or not finite, a step that is not positive; shapes that do not fit b; no key
            where p is drawn.

    The exact derivative needs forward mode, and training reverse mode over it: a reconstructor with a
    `jax.custom_vjp`, or a tolerance, has not both.

    Source: Stein (1981); Ramani, Blu and Unser (2008).

    Example:
        >>> A, b = jr.Identity((2,)), jnp.array([1.0, 3.0])
        >>> r = jr.Iterative(jr.CGNR(lam=1.0), iterations=1)                                  # x = b / 2
        >>> sure = jr.training.SURE(sigma=1.0)
        >>> round(float(sure(r, A, b, jax.random.key(0))), 6)                                 # 2.5 / 2 - 1 + 2 / 2
        1.25
    """

    sigma: Any
    perturbation: Any = None
    mask: Any = None
    step: float | None = static(default=0.1)

    def check(self):
        check_level("SURE", "sigma", self.sigma)
        if self.step is not None and not 0 < self.step < float("inf"):
            raise ValueError(f"SURE: step must be positive, in units of sigma, or None, got {self.step}")

    def loss_and_image(self, reconstructor, A, b, key):
        b = checked_measurements("SURE", A, b)
        measured = measured_samples(A, b, self.mask)
        p = self._direction(b, key)

        def predicted(b):
            x = image(reconstructor, A, b)
            return A.apply(x), x

        sigma, p = like_measurements("sigma", self.sigma, b), jnp.where(measured, p, 0)
        if self.step is None:
            y, change, x = jax.jvp(predicted, (b,), (p,), has_aux=True)
            spread = sigma**2 * (jnp.conj(p) * change).real
        else:
            y, x = predicted(b)
            change = predicted(b + self.step * sigma * p)[0] - y
            spread = sigma / self.step * (jnp.conj(p) * change).real
        values = 2 if is_complex(b) else 1
        terms = _squared(y - b) + 2 * spread - values * sigma**2
        return jnp.sum(jnp.where(measured, terms, 0)) / real_values(measured, b), x

    def _direction(self, b, key):
        if self.perturbation is None:
            return signs(need_key("SURE", key), b)
        p = jnp.asarray(self.perturbation)
        if is_complex(p) and not is_complex(b):
            raise ValueError(f"SURE: the measurements are real ({b.dtype}), the perturbation is {describe(p)}")
        try:
            return jnp.broadcast_to(p.astype(b.dtype), b.shape)
        except ValueError:
            raise ValueError(f"SURE: a perturbation of shape {p.shape} does not broadcast to the measurements, "
                             f"{b.shape}") from None


# ---- equivariance


def _axes(x, name):
    if x.ndim < 2:
        raise ValueError(f"Equivariant: {name!r} needs an image of two axes, got {describe(x)}; pass "
                         "transforms=('shift',), or a function (key, x) -> x")


def rotate(key: jax.Array, x: jax.Array) -> jax.Array:
    """By 0, 90, 180 or 270 degrees in the last two axes."""
    _axes(x, "rotate")
    if x.shape[-1] != x.shape[-2]:
        raise ValueError(f"Equivariant: 'rotate' needs a square image, got {describe(x)}; pass transforms=('flip',)")
    quarter, half = jax.random.bernoulli(key, shape=(2,))
    x = jnp.where(quarter, jnp.rot90(x, axes=(-2, -1)), x)
    return jnp.where(half, x[..., ::-1, ::-1], x)


def flip(key: jax.Array, x: jax.Array) -> jax.Array:
    """Each of the last two axes with probability 1/2."""
    _axes(x, "flip")
    down, across = jax.random.bernoulli(key, shape=(2,))
    x = jnp.where(down, x[..., ::-1, :], x)
    return jnp.where(across, x[..., ::-1], x)


def shift(key: jax.Array, x: jax.Array) -> jax.Array:
    """Circularly along the last two axes (or the only one), every distance alike."""
    axes = tuple(range(-min(x.ndim, 2), 0))
    return jnp.roll(x, jax.random.randint(key, (len(axes),), 0, jnp.array([x.shape[d] for d in axes])), axes)


TRANSFORMS: dict[str, Callable] = {"rotate": rotate, "flip": flip, "shift": shift}


@value
class Equivariant(SelfSupervised):
    """base + alpha mean |T x - r(A, A T x + n)|^2, x = r(A, b), with T and n drawn by the key: equivariant imaging.

    The world's images, turned, are images too: measured through the same A, the reconstructor must find them again. As
    A T sees what A does not, this tells of the null space of A. Mean over pixels; gradients run through x as well.

    Args:
        base: a self-supervised loss: SURE (robust equivariant imaging), Consistency, SSDU.
        alpha: weight >= 0.
        transforms: what T is made of, one after the other: "rotate" (multiples of 90 degrees, square images), "flip",
            "shift" (circular; tells nothing new through jr.Fourier, which turns it into a phase), or functions
            (key, x) -> x of T's own kind.
        noise: n: a standard deviation per real component, a noise value such as `jr.simulate.PoissonNoise(1e4)`
            (called as noise(key, b, mask)); None: that of SURE's sigma, else none.

    Raises:
        ValueError: an unknown transform, or none; alpha or noise below 0; "rotate" of an image that is not square.
        TypeError: a base that is not self-supervised.

    Source: Chen, Tachella and Davies (2021); with noise (2022).

    Example:
        >>> loss = jr.training.Equivariant(jr.training.SURE(0.1), transforms=("flip",))
        >>> A = jr.Fourier((4, 4))
        >>> loss(jr.ZeroFilled(), A, jnp.ones((4, 4), complex), jax.random.key(0)).shape
        ()
    """

    base: Any
    alpha: Any = 1.0
    transforms: Any = static(default=("rotate", "flip"))
    noise: Any = None

    def check(self):
        if not isinstance(self.base, SelfSupervised):
            raise TypeError(f"Equivariant takes a self-supervised base such as jr.training.SURE(sigma), got "
                            f"{self.base!r}")
        transforms = self.transforms
        transforms = (transforms,) if isinstance(transforms, str) or callable(transforms) else tuple(transforms)
        unknown = [t for t in transforms if not callable(t) and t not in TRANSFORMS]
        if unknown or not transforms:
            raise ValueError(f"Equivariant: transforms are {', '.join(TRANSFORMS)} or functions (key, x) -> x, at "
                             f"least one, got {transforms!r}")
        object.__setattr__(self, "transforms", transforms)
        check_level("Equivariant", "alpha", self.alpha, scalar=True)
        if self.noise is not None and not callable(self.noise):
            check_level("Equivariant", "noise", self.noise)

    def loss_and_image(self, reconstructor, A, b, key):
        base_key, transform_key, noise_key = jax.random.split(need_key("Equivariant", key), 3)
        loss, x = self.base.loss_and_image(reconstructor, A, b, base_key)
        turned = x
        for i, name in enumerate(self.transforms):
            transform: Any = TRANSFORMS.get(name, name)
            turned = transform(jax.random.fold_in(transform_key, i), turned)
        if jnp.shape(turned) != jnp.shape(x):
            raise ValueError(f"Equivariant: the transforms made {describe(turned)} of an image {describe(x)}")
        again = image(reconstructor, A, self._noisy(noise_key, A, A.apply(turned)))
        return loss + jnp.asarray(self.alpha, loss.dtype) * mse(again, turned), x

    def _noisy(self, key, A, b: Any) -> Any:
        measured = measured_samples(A, b, getattr(self.base, "mask", None))
        if callable(self.noise):
            return self.noise(key, b, measured)
        sigma = getattr(self.base, "sigma", None) if self.noise is None else self.noise
        if sigma is None:
            return b
        n = jax.random.normal(key, (2, *b.shape) if is_complex(b) else b.shape, real_dtype(b))
        n = like_measurements("noise", sigma, b) * (jax.lax.complex(n[0], n[1]) if is_complex(b) else n)
        return b + jnp.where(measured, n, 0)


def check_level(who: str, name: str, level: Any, scalar: bool = False) -> None:
    """Raises ValueError for a level that is not a finite number (or array of these) >= 0."""
    if scalar and jnp.ndim(level):
        raise ValueError(f"{who}: {name} is a number, got shape {jnp.shape(level)}")
    if is_concrete(level) and not np.all((np.asarray(level) >= 0) & np.isfinite(np.asarray(level))):
        raise ValueError(f"{who} needs a finite {name} >= 0, got {level}")


def _squared(x: jax.Array) -> jax.Array:
    return x.real**2 + x.imag**2 if is_complex(x) else x**2
