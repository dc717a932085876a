"""Wiener deconvolution: a direct reconstruction where A is diagonal under the FFT."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .fidelity import cast_measurements, like_measurements
from .operator import LinearOperator
from .value import describe, is_complex, is_concrete, safe_divide, value


@value
class Wiener:
    """x = F^-1 conj(t) F b / (|t|^2 + s), t the transfer function of A: the linear estimate of least mean square error.

    For operators with a `spectrum`, such as `jr.Convolution` with the circular boundary. With a scalar s it is
    Tikhonov's solution for lam = s; with s = lam |k^|^2 that for lam/2 |k * x|^2.

    Args:
        noise_to_signal: s, the ratio of the power spectra of noise and image: a scalar, or an array that broadcasts to
            x in the order of `jnp.fft.fftn`. For white noise sigma^2 x.size / |F x|^2, with |F x|^2 that of a similar
            image. Infinite entries remove a frequency.

    Raises:
        ValueError: complex or negative entries; an operator without a spectrum; shapes that do not fit.

    Example:
        >>> A = jr.Convolution(jnp.array([0.25, 0.5, 0.25]), (8,))
        >>> x = jnp.arange(8.0)
        >>> jr.Wiener(0.0)(A, A(x)).round(4).tolist()  # the highest frequency, which A does not let through, is lost
        [0.5, 0.5, 2.5, 2.5, 4.5, 4.5, 6.5, 6.5]

    Source: Wiener 1949.
    """

    noise_to_signal: Any

    def check(self):
        s = self.noise_to_signal
        if is_complex(s):
            raise ValueError(f"Wiener needs a real noise_to_signal, got {describe(s)}")
        if is_concrete(s) and not bool(np.all(np.asarray(s) >= 0)):
            raise ValueError(f"Wiener needs noise_to_signal >= 0, its least is {np.min(np.asarray(s)):.3g}")

    def __call__(self, A: LinearOperator, b: Any) -> jax.Array:
        return _wiener(A, b, self.noise_to_signal)


@jax.jit
def _wiener(A, b, noise_to_signal):
    t = A.spectrum
    if t is None:
        raise ValueError(f"Wiener needs an operator that is diagonal under the FFT, such as jr.Convolution(kernel, "
                         f"shape), boundary 'circular', got {type(A).__name__}; jr.CGNR(lam) takes any")
    b, domain = cast_measurements(A, b)
    s = like_measurements("noise_to_signal", noise_to_signal, b)
    power = jnp.square(t.real) + jnp.square(t.imag)
    x = jnp.fft.ifftn(safe_divide(jnp.conj(t) * jnp.fft.fftn(b), power + s))
    return x if is_complex(domain) else x.real
