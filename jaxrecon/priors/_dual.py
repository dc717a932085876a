"""The prox of penalty(K x), x in a set C, for a 1-homogeneous penalty, by fast projected gradients on its dual.

u = P_C(v - K^H q), with q the maximiser of the dual function, whose gradient is K u, over the ball of the penalty's
dual norm (radius t). The step is 1/|K|^2 for every t, so a dual that is carried over remains a sound start when t or
lam change. Without a set 1/2 |v - K^H q|^2 is minimised.
Source: Beck and Teboulle 2009 (FGP); restart by the gradient's sign: O'Donoghue and Candes 2015.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ..operator import LinearOperator, real_dtype
from ..operator.inverse import implicit_solve
from ..value import inner, norm_squared
from .base import Prior, scalar_like

MAX_ITERATIONS = 10_000


class DualForm(NamedTuple):
    """penalty(K x), x in a set: what the prox is computed of."""

    K: LinearOperator
    penalty: Prior
    norm2: float  # |K|^2 or a bound of it
    constraint: Prior | None = None


class ByDual(Prior):
    """A prior whose prox is found on the dual of its `dual_form`, of which a solver carries the last one along.

    Attributes:
        inner: steps on the dual that `warm_prox` makes.
    """

    inner: int

    def dual_form(self, domain: Any) -> DualForm:
        raise NotImplementedError(f"{type(self).__name__} must define `dual_form`")

    def prox(self, v, t=1.0):
        return dual_prox(*self.dual_form(v), v, t)

    def start(self, x):
        return zero_dual(self.dual_form(x).K, x)

    def rescaled(self, state, factor):
        # The ball of the dual has the radius t.
        return jax.tree.map(lambda q: factor * q, state)

    def warm_prox(self, v, t, state):
        return warm_dual_prox(*self.dual_form(v), v, t, state, self.inner)


def zero_dual(K: LinearOperator, x: jax.Array) -> Any:
    """The dual to start from, shaped as K x."""
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(K.apply, x))


def warm_dual_prox(K: LinearOperator, penalty: Prior, norm2: float, constraint: Prior | None, v: jax.Array, t: Any,
                   q: Any, inner_steps: int) -> tuple[jax.Array, Any]:
    """A few fast projected gradient steps from the dual q; (u, q)."""
    t = scalar_like(t, v)

    def body(state, _):
        q, r, k = state
        new = _project(penalty, _ascend(K, constraint, norm2, v, r), t)
        k_new = (1 + jnp.sqrt(1 + 4 * k * k)) / 2
        return (new, _extrapolate(new, q, (k - 1) / k_new), k_new), None

    first = (q, q, jnp.ones((), real_dtype(v)))
    (q, _, _), _ = lax.scan(body, first, length=inner_steps)
    return _primal(K, constraint, v, q), q


@functools.partial(jax.jit, static_argnames="norm2")
def dual_prox(K: LinearOperator, penalty: Prior, norm2: float, constraint: Prior | None, v: jax.Array,
              t: Any) -> jax.Array:
    """The prox to convergence: until a step moves the dual by no more than 1e-10 of its size (1e-6 in float32).

    Differentiable in both modes with respect to v, t, the penalty's weights and the constraint's bounds: not through
    the iterations but through the equation that their limit fulfils.
    """
    penalty, constraint = jax.tree.map(lambda w: scalar_like(w, v), (penalty, constraint))
    return _primal(K, constraint, v, _converged_dual(norm2, K, penalty, constraint, v, scalar_like(t, v)))


def _primal(K, constraint, v, q):
    u = v - K.apply_adjoint(q)
    return u if constraint is None else constraint.prox(u)


def _ascend(K, constraint, norm2, v, q):
    slope = K.apply(_primal(K, constraint, v, q))
    return jax.tree.map(lambda a, g: a + g / norm2, q, slope)


def _project(penalty, z, t):
    return penalty.conjugate_prox(z, t)


def _extrapolate(new, old, momentum):
    return jax.tree.map(lambda a, b: a + momentum * (a - b), new, old)


class _State(NamedTuple):
    q: Any
    r: Any
    k: jax.Array
    going: jax.Array
    count: jax.Array


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _converged_dual(norm2, K, penalty, constraint, v, t):
    real = real_dtype(v)
    tolerance = 1e-10 if real == jnp.float64 else 1e-6
    # Below the rounding of v - K^H q there is nothing left to gain.
    floor = (jnp.finfo(real).eps / norm2 ** 0.5) ** 2 * norm_squared(v)

    def body(s: _State) -> _State:
        q = _project(penalty, _ascend(K, constraint, norm2, v, s.r), t)
        moved, step = jax.tree.map(jnp.subtract, q, s.r), jax.tree.map(jnp.subtract, q, s.q)
        going = norm_squared(moved) > jnp.maximum(tolerance**2 * norm_squared(q), floor)
        restart = inner(moved, step).real < 0
        k = jnp.where(restart, 1, s.k)
        k_new = (1 + jnp.sqrt(1 + 4 * k * k)) / 2
        return _State(q, _extrapolate(q, s.q, (k - 1) / k_new), k_new, going, s.count + 1)

    q = zero_dual(K, v)
    first = _State(q, q, jnp.ones((), real), jnp.array(True), jnp.zeros((), jnp.int32))
    return lax.while_loop(lambda s: s.going & (s.count < MAX_ITERATIONS), body, first).q


@_converged_dual.defjvp
def _converged_dual_jvp(norm2, primals, tangents):
    """q = P(z), z = q + K u / |K|^2, u = C(v - K^H q), with projections P and C, differentiated.

    With J = P' and D = C', self-adjoint, c and d = the changes of P and C with t, the weights and bounds, dq = J w + c,
    and w, the change of z, solves w - J w + K D K^H J w / |K|^2 = c + K (D (dv - K^H c) + d) / |K|^2. Times J, the
    system is self-adjoint and positive semidefinite. Where the dual is not unique it is singular but consistent, and u
    is unique.
    """
    K, penalty, constraint, v, t = primals
    _, d_penalty, d_constraint, dv, dt = tangents
    q = _converged_dual(norm2, K, penalty, constraint, v, t)
    z = _ascend(K, constraint, norm2, v, q)

    def derivative(w):
        return jax.jvp(lambda z: _project(penalty, z, t), (z,), (w,))[1]

    def moved(dv, dq, d_constraint):
        """K du / |K|^2."""
        du = jax.jvp(lambda c, v, q: _primal(K, c, v, q), (constraint, v, q), (d_constraint, dv, dq))[1]
        return jax.tree.map(lambda s: s / norm2, K.apply(du))

    still = jax.tree.map(jnp.zeros_like, (dv, d_constraint))

    def curvature(w):
        a = derivative(w)
        b = moved(still[0], a, still[1])
        return derivative(jax.tree.map(lambda w, a, b: w - a - b, w, a, b))

    c = jax.jvp(lambda p, t: _project(p, z, t), (penalty, t), (d_penalty, dt))[1]
    rhs = derivative(jax.tree.map(jnp.add, c, moved(dv, c, d_constraint)))
    w = implicit_solve(curvature, rhs)
    return q, jax.tree.map(jnp.add, derivative(w), c)
