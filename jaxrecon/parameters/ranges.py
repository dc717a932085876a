"""The range of lams that is searched where none is given."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .trial import Spectral, Trial

SYSTEM = (1e-5, 1.0, 26)  # in units of the system, where 1 leaves nothing of the image


def default_lams(method: Trial, scale: str | None, dtype: Any) -> jax.Array:
    """For Tikhonov from below the smallest singular value that counts to above the largest, both squared.

    Raises:
        ValueError: a solver whose lam has units.
    """
    if isinstance(method, Spectral):
        s = method.factors.s
        least = jnp.maximum(s[-1], jnp.finfo(s.dtype).eps * s[0])
        low, high = 0.1 * least**2 + jnp.finfo(dtype).tiny, 10 * s[0] ** 2
        return jnp.exp(jnp.linspace(jnp.log(low), jnp.log(high), 64)).astype(dtype)
    if scale is None:
        raise ValueError("lams must be given, since the scale of a solver's lam depends on that of A and b; or take "
                         'scale="system", for which 1e-5 to 1 is searched')
    low, high, count = SYSTEM
    return jnp.geomspace(low, high, count, dtype=dtype)
