"""A reconstruction as a function of lam: x(lam), what it leaves of the data, and how far it follows their noise."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ..fidelity import DataTerm, LeastSquares, cast_measurements
from ..operator import LinearOperator, real_dtype
from ..reconstruct import Iterative
from ..solvers import SVD, Solver, solve, svd
from ..value import inner, is_complex, norm_squared, static, unit_of, value
from .family import Family, family


class Fit(NamedTuple):
    """What one lam comes to."""

    misfit: jax.Array  # |A x - b|^2 over what was measured
    penalty: jax.Array  # R(x) of a prior lam R(x)
    x: jax.Array


class Trial:
    """lam -> x(lam) for one A and b.

    Attributes:
        count: number of real values that were measured.
        data: the data term, None for least squares.
    """

    count: Any
    data: DataTerm | None

    def image(self, lam: Any) -> jax.Array:
        raise NotImplementedError

    def fit(self, lam: Any) -> Fit:
        raise NotImplementedError

    def misfit(self, lam: Any) -> jax.Array:
        return self.fit(lam).misfit

    def freedom(self, lam: Any, keys: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(misfit, tr H, tr H^T H) of H, the derivative of A x(b) by b: tr H is how many data the fit can follow."""
        raise NotImplementedError


@value
class Spectral(Trial):
    """Tikhonov, x = argmin 1/2 |A x - b|^2 + lam/2 |x|^2, for every lam from one SVD."""

    factors: SVD
    b: jax.Array
    data = None
    coefficients: jax.Array  # u_i^H b
    outside: jax.Array  # what b has outside the span of the u_i
    count: jax.Array
    real_unknown: bool = static()  # of complex data: each singular value counts once, not twice

    def in_units(self) -> tuple[Spectral, jax.Array, jax.Array]:
        """Itself in units of the norm of A and of the largest coefficient, and these two: squares and derivatives then
        stay within single precision."""
        gain, unit = unit_of(self.factors.s), unit_of(self.coefficients)
        factors = dataclasses.replace(self.factors, s=self.factors.s / gain)
        return dataclasses.replace(self, factors=factors, b=self.b / unit, coefficients=self.coefficients / unit,
                                   outside=self.outside / unit), gain, unit

    def image(self, lam):
        return self.factors.tikhonov(self.b, lam)

    def misfit(self, lam):
        left = (1 - self.factors.filter_factors(lam)) * jnp.abs(self.coefficients)
        return norm_squared(left) + norm_squared(self.outside)

    def fit(self, lam):
        x = self.image(lam)
        return Fit(self.misfit(lam), norm_squared(x) / 2, x)

    def freedom(self, lam, keys):
        parts = 2 if is_complex(self.b) and not self.real_unknown else 1
        factors = self.factors.filter_factors(lam)
        return self.misfit(lam), parts * jnp.sum(factors), parts * jnp.sum(factors**2)


def spectral(A: LinearOperator, b: Any) -> Spectral:
    """The SVD of A and the coefficients of b, made once."""
    b, _ = cast_measurements(A, b)
    seen = measured(A)
    b, seen = (jnp.concatenate([v.ravel() for v in jax.tree.leaves(tree)]) for tree in (b, seen))
    b = seen * b  # an empty row is no measurement
    factors = svd(A)
    real_unknown = A.real_domain and is_complex(b)
    rows = jnp.concatenate([b.real, b.imag]) if real_unknown else b
    rows = rows.astype(jnp.promote_types(rows.dtype, factors.u.dtype))
    coefficients = jnp.matmul(jnp.conj(factors.u.T), rows, precision="highest")
    outside = rows - jnp.matmul(factors.u, coefficients, precision="highest")
    # A square or wide A leaves nothing outside but rounding.
    outside = outside if factors.u.shape[0] > factors.u.shape[1] else jnp.zeros_like(outside)
    return Spectral(factors, b, coefficients, outside, real_count(seen, b), real_unknown)


@value
class Iterated(Trial):
    """Any family of solvers or reconstructors."""

    A: LinearOperator
    b: Any
    family: Family
    data: DataTerm | None  # a reconstructor's own
    iterations: int | None = static()
    scale: str | None = static()

    def _problem(self):
        return (LeastSquares() if self.data is None else self.data).problem(self.A, self.b)

    @property
    def measured(self) -> Any:
        """1 for every measurement that depends on x, 0 for those masked out or of weight 0."""
        return measured(self._problem().A)

    @property
    def count(self):
        return real_count(self.measured, self.b)

    def image(self, lam, b=None):
        b = self.b if b is None else b
        made = self.family(lam)
        if isinstance(made, Solver):
            return solve(self.A, b, made, 100 if self.iterations is None else self.iterations, data=self.data,
                         scale=self.scale).x
        return made(self.A, b)

    def fit(self, lam):
        return self.of_image(lam, self.image(lam))

    def of_image(self, lam: Any, x: jax.Array) -> Fit:
        problem = self._problem()
        return Fit(_energy(measured(problem.A), problem.residual(x)), self._penalty(lam, x), x)

    def misfit(self, lam):
        problem = self._problem()
        return _energy(measured(problem.A), problem.residual(self.image(lam)))

    def _penalty(self, lam, x):
        """R(x), the derivative of the penalty by lam: priors that do not depend on lam are left out."""
        def penalty(lam):
            made = self.family(lam)
            solver = made.solver if isinstance(made, Iterative) else made
            if not isinstance(solver, Solver):
                raise TypeError(f"an L-curve needs the value of the penalty, which {type(made).__name__} does not "
                                "have; use jr.crossvalidate, jr.sure or jr.gcv")
            return solver.penalty(x)

        lam = jnp.asarray(lam, real_dtype(x))
        return jax.jvp(penalty, (lam,), (jnp.ones_like(lam),))[1]

    def freedom(self, lam, keys):
        problem = self._problem()
        seen = measured(problem.A)

        def predicted(b):
            return problem.A.apply(self.image(lam, b))

        def one(key):
            probe = jax.tree.map(jnp.multiply, seen, signs(key, self.b))
            y, moved = jax.jvp(predicted, (self.b,), (self._unweighted(probe),))
            return y, jnp.stack([inner(probe, moved).real, norm_squared(moved)])

        # Of weighted data, too, both sides are in units of the noise: r = w^1/2 (A x - b) and w^1/2 b vary with 1.
        y, traces = one(keys[0])
        if len(keys) > 1:
            others = lax.map(lambda k: one(k)[1], keys[1:])
            traces = (traces + jnp.sum(others, 0)) / len(keys)
        return _energy(seen, jax.tree.map(jnp.subtract, y, problem.b)), *traces

    def _unweighted(self, probe):
        weights = getattr(self.data, "weights", None)
        if weights is None:
            return probe
        root = jnp.sqrt(jnp.asarray(weights, real_dtype(probe)))
        return probe / jnp.where(root > 0, root, 1)


def trial(A: LinearOperator, b: Any, solver: Any, iterations: int | None = None, data: Any = None,
          scale: str | None = None, lam: Any = 1.0) -> Trial:
    """What the rules of this room are given: `solver` is None for Tikhonov by SVD, or a function of lam.

    Raises:
        TypeError: solver is neither. ValueError: options that the solver would not see.
    """
    if solver is None:
        given = {"iterations": iterations, "data": data, "scale": scale}
        for name, v in given.items():
            if v is not None:
                raise ValueError(f"{name}={v!r} has no effect without a solver: Tikhonov's solution comes from an SVD")
        return spectral(A, b)
    b, domain = cast_measurements(A, b)
    real = real_dtype(domain)
    made = family(solver, jax.tree.map(lambda v: jax.ShapeDtypeStruct(jnp.shape(v), real), lam))
    if not isinstance(jax.eval_shape(made, lam), Solver):
        for name, v in {"iterations": iterations, "data": data, "scale": scale}.items():
            if v is not None:
                raise ValueError(f"{name}={v!r} is for solvers; a reconstructor brings its own")
        own = getattr(made(lam), "data", None)
        data = own if isinstance(own, DataTerm) else None
    return Iterated(A, b, made, data, iterations, scale)


def need_least_squares(rule: str, method: Trial) -> None:
    """Raises ValueError where a rule that compares A x with b is given counts, whose mean is no A x."""
    if isinstance(method, Iterated) and not isinstance(method.data, LeastSquares | None):
        raise ValueError(f"{rule} compares A x with b, which are not alike for {type(method.data).__name__}; use "
                         "jr.discrepancy, or convert the counts first (jr.line_integrals)")


def measured(A: LinearOperator) -> Any:
    """1 where a measurement of A depends on x, else 0: what A gives of an arbitrary x is exactly 0 there."""
    domain = A.domain
    x = 1 + jax.random.uniform(jax.random.key(0), domain.shape, real_dtype(domain))
    return jax.tree.map(lambda y: (y != 0).astype(real_dtype(y)), A.apply(x.astype(domain.dtype)))


def real_count(seen: Any, b: Any) -> jax.Array:
    """How many real numbers were measured: a complex sample counts as two."""
    counts = [jnp.sum(v) for v in jax.tree.leaves(seen)]
    return (2 if is_complex(b) else 1) * sum(counts[1:], counts[0])


def signs(key: jax.Array, b: Any) -> Any:
    """Random signs in the form of b, for each real component one (Hutchinson 1990)."""
    leaves, tree = jax.tree.flatten(b)

    def one(key, v):
        real = real_dtype(v)
        if not is_complex(v):
            return jax.random.rademacher(key, v.shape, real)
        parts = jax.random.rademacher(key, (2, *v.shape), real)
        return lax.complex(parts[0], parts[1])

    return tree.unflatten([one(k, v) for k, v in zip(jax.random.split(key, len(leaves)), leaves, strict=True)])


def _energy(seen: Any, residual: Any) -> jax.Array:
    return norm_squared(jax.tree.map(jnp.multiply, seen, residual))
