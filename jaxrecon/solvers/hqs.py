"""Half-quadratic splitting."""

from __future__ import annotations

from typing import Any

from ..checks import check_positive
from ..consistency.cg import conjugate_gradient
from ..fidelity import LeastSquaresProblem, quadratic
from ..operator import stack
from ..operators import Identity
from ..priors.base import scalar_like
from ..value import is_count, static, value
from .base import ProximalState, Solver, check_prior
from .normal_inverse import NormalInverse, normal_inverse


@value
class HQS(Solver):
    """Half-quadratic splitting: z <- argmin_z |A z - b|^2 + rho |z - x|^2, x <- prox_{prior / rho}(z) (Geman and Yang
    1995).

    Minimises 1/2 |A z - b|^2 + rho/2 |z - x|^2 + prior(x) over both, and the objective itself as rho grows slowly
    (`jr.Scheduled`). It is ADMM without its dual, and Alternating(ProximalStep(rho), prior) with the z-update in
    closed form where there is one: by FFT where A^H A is diagonal under it.

    Args:
        prior: one prior, or a denoiser.
        rho: > 0, weight of z = x.
        cg: CG steps of the z-update, from x, where the FFT does not solve it. None: Cholesky for a Matrix, else
            CG to rounding, which takes long where rho is small.

    Example:
        >>> A, b = jr.Matrix(jnp.eye(2)), jnp.array([1.0, 0.05])
        >>> print(jr.solve(A, b, jr.HQS(jr.L1(0.1)), iterations=50).x.round(6))
        [0.8 0. ]
    """

    prior: Any
    rho: Any = 1.0
    cg: int | None = static(default=None)

    def check(self):
        check_prior(self, self.prior)
        check_positive(self, "rho", self.rho)
        if self.cg is not None and not is_count(self.cg):
            raise ValueError(f"HQS needs cg >= 1 or None, got {self.cg!r}")

    def penalty(self, x):
        return self.prior(x)

    def setup(self, problem) -> NormalInverse | None:
        problem = quadratic(problem, self)
        if self.cg is not None and problem.gram.spectrum is None:
            return None
        return normal_inverse(problem, stack([Identity(problem.domain)]), scalar_like(self.rho, problem.domain))

    def init(self, problem, x0, aux):
        return ProximalState(x0, self.prior.start(x0))

    def step(self, problem: LeastSquaresProblem, state, aux):
        rho, x = scalar_like(self.rho, state.x), state.x
        rhs = problem.rhs + rho * x
        if aux is None:
            assert self.cg is not None
            z = conjugate_gradient(lambda v: problem.gram.apply(v) + rho * v, rhs, x, self.cg)
        else:
            z = aux.solve(rho, rhs, x)
        return ProximalState(*self.prior.warm_prox(z, 1 / rho, state.prior))
