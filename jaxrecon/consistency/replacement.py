"""Replacement of predicted samples by measured ones."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from ..fidelity import quadratic
from ..priors.base import scalar_like
from ..value import is_concrete, safe_divide, value
from .base import ConsistencyStep


@value
class SampleReplacement(ConsistencyStep):
    """Measured samples take the place of the predicted ones: for A = M U with a unitary U and a sampling mask M,
    x + A^H (b - A x) = U^H (b where measured, U x elsewhere).

    With coil maps every coil's samples are replaced and the coils combined: x + A^H (b - A x) / sum_c |m_c|^2. The mask
    holds 0 and 1 only. (Schlemper et al. 2018.)

    Args:
        noise: 0 replaces; otherwise measured and predicted samples are averaged, (b + noise y) / (1 + noise).

    Example:
        >>> A = jr.Fourier((4,), axes=(0,), mask=jnp.array([0.0, 1.0, 1.0, 0.0]))
        >>> b = A(jnp.array([1.0, 2.0, 3.0, 4.0]))
        >>> r = jr.solve(A, b, jr.Alternating(jr.SampleReplacement(), jr.L1(0.0)), iterations=1)
        >>> bool(jnp.allclose(A(r.x), b))
        True
    """

    noise: Any = 0.0

    def check(self):
        if is_concrete(self.noise) and not np.all(np.asarray(self.noise) >= 0):
            raise ValueError(f"SampleReplacement needs noise >= 0, got {self.noise}")

    def setup(self, problem):
        problem = quadratic(problem, self)
        energy = problem.A.sampled_energy
        if energy is None:
            raise ValueError("SampleReplacement needs an operator that samples a unitary transform (jr.Fourier, "
                             f"jr.sense), got {type(problem.A).__name__}; use ProximalStep or GradientStep")
        return safe_divide(1 / (1 + scalar_like(self.noise, problem.rhs)), scalar_like(energy, problem.rhs))

    def __call__(self, problem, x, aux):
        return x - aux * problem.gradient(x), jnp.ones((), x.real.dtype)
