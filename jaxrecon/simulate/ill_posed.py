"""Small ill-posed problems with known solutions: Fredholm equations of the first kind, by quadrature.

The classical ones of regularisation (Hansen 1994, "Regularization Tools"): their singular values fall from slowly
(deriv2, phillips) to exponentially (shaw, baart).
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from ..operators import Matrix
from ..value import is_count


def ill_posed(name: str, n: int = 64) -> tuple[Matrix, jnp.ndarray]:
    """(A, x) of b(s) = int K(s, t) x(t) dt on n points.

    Args:
        name: "shaw" (a slit's image), "phillips" (deconvolution), "deriv2" (second derivative), "heat" (inverse heat
            equation, causal), "baart" (exp(s cos t)).
        n: number of points; for phillips a multiple of 4.

    Returns:
        A, n x n in JAX's default precision, and x of length n.

    Raises:
        ValueError: an unknown name, n too small or no multiple of 4.

    Example:
        >>> A, x = jr.simulate.ill_posed("shaw", 32)
        >>> A.a.shape, bool(jnp.linalg.cond(A.a) > 1e10)
        ((32, 32), True)

    Source: Shaw 1972; Phillips 1962; Baart 1982; Elden 1982; in the form of Hansen 1994.
    """
    if name not in PROBLEMS:
        raise ValueError(f"ill_posed knows {', '.join(PROBLEMS)}; got {name!r}")
    if not is_count(n, least=8) or (name == "phillips" and n % 4):
        raise ValueError(f"{name} needs a whole number n >= 8{' and divisible by 4' * (name == 'phillips')}, got {n}")
    a, x = PROBLEMS[name](int(n))
    return Matrix(jnp.asarray(a, float)), jnp.asarray(x, float)


def _shaw(n):
    t = -np.pi / 2 + (np.arange(n) + 0.5) * np.pi / n
    u = np.pi * np.add.outer(np.sin(t), np.sin(t))
    a = np.pi / n * (np.add.outer(np.cos(t), np.cos(t)) * np.sinc(u / np.pi)) ** 2
    return a, 2 * np.exp(-6 * (t - 0.8) ** 2) + np.exp(-2 * (t + 0.5) ** 2)


def _phillips(n):
    t = -6 + (np.arange(n) + 0.5) * 12 / n

    def hat(d):
        return np.where(np.abs(d) < 3, 1 + np.cos(np.pi * d / 3), 0)

    return 12 / n * hat(np.subtract.outer(t, t)), hat(t)


def _deriv2(n):
    t = (np.arange(n) + 0.5) / n
    s, t2 = t[:, None], t[None]
    return np.where(s < t2, s * (t2 - 1), t2 * (s - 1)) / n, t


def _heat(n):
    t = (np.arange(n) + 0.5) / n
    lag = np.subtract.outer(np.arange(n), np.arange(n)) / n + 0.5 / n
    safe = np.where(lag > 0, lag, 1)
    a = np.where(lag > 0, safe**-1.5 * np.exp(-0.25 / safe), 0) / (2 * n * np.sqrt(np.pi))
    u = 20 * t
    x = np.where(u < 2, 0.1875 * u**2, np.where(u < 3, 0.75 + (u - 2) * (3 - u), 0.75 * np.exp(-2 * (u - 3))))
    return a, x


def _baart(n):
    s, t = (np.arange(n) + 0.5) * np.pi / 2 / n, (np.arange(n) + 0.5) * np.pi / n
    return np.exp(np.outer(s, np.cos(t))) * np.pi / n, np.sin(t)


PROBLEMS: dict[str, Callable] = {"shaw": _shaw, "phillips": _phillips, "deriv2": _deriv2, "heat": _heat,
                                 "baart": _baart}
