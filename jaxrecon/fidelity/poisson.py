"""The Poisson likelihood of counts, in transmission (CT, PET transmission scans) and emission (PET, microscopy)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..operator import LinearOperator, matching_domain
from ..operator.algebra import Sandwich
from ..operator.quantities import largest_eigenvalue
from ..operators import Diagonal
from ..value import describe, is_complex, is_concrete, static, value
from .base import DataTerm, Problem, like_measurements
from .counting import Emission, Transmission

KINDS = ("transmission", "emission")


@value
class PoissonProblem(Problem):
    """sum_i f_i((A x)_i), f_i by the model of the counts."""

    A: LinearOperator
    b: Any
    gram: LinearOperator
    model: Any
    has_background: bool = static()

    @property
    def domain(self):
        return matching_domain(self.A, self.b)[0]

    @property
    def scale(self):
        typical = self.model.typical(self.b)
        return jnp.where(typical > 0, typical, 1)

    def __call__(self, x):
        return jnp.sum(self.model.value(self.b, self.A.apply(x)))

    def gradient(self, x):
        return self.A.apply_adjoint(self.model.slope(self.b, self.A.apply(x)))

    def residual(self, x):
        """ybar - y, in counts."""
        return self.model.mean(self.A.apply(x)) - self.b

    def curvature(self):
        if isinstance(self.model, Emission) and not self.has_background:
            raise ValueError("the emission likelihood without background has no bounded curvature, and so no step for "
                             "gradient methods; use jr.PDHG or jr.RichardsonLucy, or give background > 0")
        return largest_eigenvalue(Sandwich(self.A, Diagonal(self.model.bound(self.b))))

    def dual_prox(self, v, sigma):
        if isinstance(self.model, Transmission) and self.has_background:
            raise ValueError("the transmission likelihood with background is not convex, and PDHG needs its conjugate; "
                             "use jr.FISTA, jr.POGM or jr.CondatVu, or leave background out")
        return v - sigma * self.model.prox(self.b, v / sigma, 1 / sigma)


@value
class PoissonLikelihood(DataTerm):
    """The data term sum_i ybar_i - y_i + y_i log(y_i / ybar_i) for counts y = b ~ Poisson(ybar).

    "transmission": ybar = I0 exp(-A x) + r. "emission": ybar = A x + r. The value is the negative log-likelihood less
    its least possible value, that is the Kullback-Leibler divergence of the counts from their means: about 1/2 per
    detector at the truth. A prior's lam is on that scale: for line integrals, that of `LeastSquares` times the counts.

    For ISTA, FISTA, POGM, CondatVu and GradientStep (emission: with r > 0 only; NaN and ok=False where a count has
    none), PDHG (transmission: with r = 0 only) and RichardsonLucy (emission). Others raise.

    Transmission is convex for r = 0; with r > 0 it is not, and solvers find a stationary point (start them from a
    good image). Where (A x)_i < 0 the likelihood goes on as its parabola at 0, which bounds its curvature by I0; it is
    never reached for non-negative x and A, so give `jr.NonNegative()` to the prior where x is not negative.

    Args:
        kind: "transmission" or "emission".
        blank: I0, the mean counts without object: a scalar or an array that broadcasts to b. Transmission only. Counts
            of a detector with I0 = 0 are left out.
        background: r >= 0, known mean of scatter, randoms or dark counts; likewise. None: 0.

    Raises:
        ValueError: an unknown kind; a blank that is missing, not wanted or negative; a negative background; on use,
            counts that are negative, complex or not one array.

    Example:
        >>> A, counts = jr.Matrix(jnp.eye(2)), jnp.array([100.0, 50.0])
        >>> data = jr.PoissonLikelihood("transmission", blank=100.0)
        >>> jr.solve(A, counts, jr.FISTA(jr.NonNegative()), iterations=50, data=data).x.round(4).tolist()
        [0.0, 0.6931]

    Source: Lange and Carson 1984; Erdogan and Fessler 1999.
    """

    kind: str = static()
    blank: Any = None
    background: Any = None

    def check(self):
        if self.kind not in KINDS:
            raise ValueError(f"PoissonLikelihood: kind is one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.kind == "transmission" and self.blank is None:
            raise ValueError("PoissonLikelihood('transmission') needs blank, the mean counts without object")
        if self.kind == "emission" and self.blank is not None:
            raise ValueError("PoissonLikelihood('emission') takes no blank; for detector efficiencies e pass "
                             "jr.Diagonal(e) @ A")
        for name in ("blank", "background"):
            v = getattr(self, name)
            if is_complex(v):
                raise ValueError(f"PoissonLikelihood: {name} must be real, got {describe(v)}")
            if v is not None and is_concrete(v) and not bool(np.all(np.asarray(v) >= 0)):
                raise ValueError(f"PoissonLikelihood: {name} must not be negative, its least is {np.min(v):.3g}")
        # No background, however it is said, is the convex case.
        if self.background is not None and is_concrete(self.background) and not np.any(np.asarray(self.background)):
            object.__setattr__(self, "background", None)

    def check_measurements(self, b):
        if is_concrete(b) and not all(bool(np.all(np.real(v) >= 0)) for v in jax.tree.leaves(b)):
            raise ValueError("counts must not be negative (nor NaN); pass what was counted and the mean of what was "
                             "subtracted as background, or clip at 0")

    def problem(self, A, b):
        if not hasattr(b, "shape") or is_complex(b):
            raise ValueError(f"PoissonLikelihood needs one real array of counts, got {describe(b)}")
        r = like_measurements("background", 0 if self.background is None else self.background, b)
        if self.kind == "emission":
            model = Emission(r)
        else:
            model = Transmission(like_measurements("blank", self.blank, b), r)
        A = A.prepared
        return PoissonProblem(A, b, A.gram.prepared, model, self.background is not None)


def emission(problem: Problem, who: Any) -> PoissonProblem:
    """The problem, for a method that needs the emission likelihood.

    Raises:
        ValueError: another data term.
    """
    if not (isinstance(problem, PoissonProblem) and isinstance(problem.model, Emission)):
        raise ValueError(f"{type(who).__name__} maximises the emission likelihood, got data of a "
                         f"{type(problem).__name__}; pass data=jr.PoissonLikelihood('emission') or none")
    return problem
