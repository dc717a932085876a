"""The prox of penalty(K x) for a 1-homogeneous penalty, by fast projected gradients on its dual.

u = v - K^H q, with q the minimiser of 1/2 |v - K^H q|^2 over the ball of the penalty's dual norm (radius t). The step
is 1/|K|^2 for every t, so a dual that is carried over remains a sound start when t or lam change.
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


def zero_dual(K: LinearOperator, x: jax.Array) -> Any:
    """The dual to start from, shaped as K x."""
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(K.apply, x))


def warm_dual_prox(K: LinearOperator, penalty: Prior, norm2: float, v: jax.Array, t: Any, q: Any,
                   inner_steps: int) -> tuple[jax.Array, Any]:
    """A few fast projected gradient steps from the dual q; (u, q). `norm2` is |K|^2 or a bound of it."""
    t = scalar_like(t, v)

    def body(state, _):
        q, r, k = state
        new = _project(penalty, _ascend(K, norm2, v, r), t)
        k_new = (1 + jnp.sqrt(1 + 4 * k * k)) / 2
        return (new, _extrapolate(new, q, (k - 1) / k_new), k_new), None

    first = (q, q, jnp.ones((), real_dtype(v)))
    (q, _, _), _ = lax.scan(body, first, length=inner_steps)
    return v - K.apply_adjoint(q), q


@functools.partial(jax.jit, static_argnames="norm2")
def dual_prox(K: LinearOperator, penalty: Prior, norm2: float, v: jax.Array, t: Any) -> jax.Array:
    """The prox to convergence: until a step moves the dual by no more than 1e-10 of its size (1e-6 in float32).

    Differentiable in both modes with respect to v, t and the penalty's weights: not through the iterations but
    through the equation that their limit fulfils.
    """
    penalty = jax.tree.map(lambda w: scalar_like(w, v), penalty)
    return v - K.apply_adjoint(_converged_dual(norm2, K, penalty, v, scalar_like(t, v)))


def _ascend(K, norm2, v, q):
    slope = K.apply(v - K.apply_adjoint(q))
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
def _converged_dual(norm2, K, penalty, v, t):
    real = real_dtype(v)
    tolerance = 1e-10 if real == jnp.float64 else 1e-6
    # Below the rounding of v - K^H q there is nothing left to gain.
    floor = (jnp.finfo(real).eps / norm2 ** 0.5) ** 2 * norm_squared(v)

    def body(s: _State) -> _State:
        q = _project(penalty, _ascend(K, norm2, v, s.r), t)
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
    """q = P(q + K (v - K^H q) / |K|^2), P the projection, differentiated.

    With J = P', self-adjoint, c = the change of P with t and the weights, and dq = J w + c, the change of the argument
    of P, w, solves w - J w + K K^H J w / |K|^2 = c + K (dv - K^H c) / |K|^2. Times J, the system is self-adjoint and
    positive semidefinite. Where the dual is not unique it is singular but consistent, and K^H dq is unique.
    """
    K, penalty, v, t = primals
    _, d_penalty, dv, dt = tangents
    q = _converged_dual(norm2, K, penalty, v, t)
    z = _ascend(K, norm2, v, q)

    def derivative(w):
        return jax.jvp(lambda z: _project(penalty, z, t), (z,), (w,))[1]

    def curvature(w):
        a = derivative(w)
        b = K.apply(K.apply_adjoint(a))
        return derivative(jax.tree.map(lambda w, a, b: w - a + b / norm2, w, a, b))

    c = jax.jvp(lambda p, t: _project(p, z, t), (penalty, t), (d_penalty, dt))[1]
    slope = K.apply(dv - K.apply_adjoint(c))
    rhs = derivative(jax.tree.map(lambda c, s: c + s / norm2, c, slope))
    w = implicit_solve(curvature, rhs)
    return q, jax.tree.map(jnp.add, derivative(w), c)
