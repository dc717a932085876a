"""The Kaczmarz sweep, by blocks of rows that are exactly as many sequential row updates.

A block of B rows with alpha = (tril(A_B A_B^H) + lam I)^{-1} (b_B - A_B x - w_B), x += A_B^H alpha, w_B += lam alpha
gives the iterates of the row sweep a = (b_k - a_k x - w_k) / (|a_k|^2 + lam), x += a conj(a_k), w_k += lam a (Kaczmarz
1937; with lam and the dual w: Saunders 1995, Dax 1993), in matrix-vector products instead of inner products.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..checks import check_weights
from ..fidelity import Problem, quadratic
from ..priors.base import scalar_like
from ..value import is_complex, is_concrete, static, value
from .base import ConsistencyStep

ORDERS = ("cyclic", "shuffled", "random")


@value
class KaczmarzSweep(ConsistencyStep):
    """One Kaczmarz sweep of |A z - b|^2 + lam |z - x|^2 from z = x: the dual restarts at 0 each time.

    Args:
        lam: weight of staying near x: a scalar >= 0, or one positive weight per unknown.
        order: "cyclic"; "shuffled", one random order for the whole solve; "random", rows drawn with probability
            |a_k|^2, others in each iteration (Strohmer and Vershynin 2009).
        key: for "shuffled" and "random".
        block: rows per block; None picks by the machine. It changes the speed, not the iterates.

    Example:
        >>> A, b = jr.Matrix(jnp.eye(2)), jnp.array([1.0, 2.0])
        >>> jr.solve(A, b, jr.Alternating(jr.KaczmarzSweep(), jr.NonNegative()), iterations=1).x.tolist()
        [1.0, 2.0]
    """

    lam: Any = 0.0
    order: str = static(default="cyclic")
    key: Any = None
    block: int | None = static(default=None)

    def check(self):
        check_rows(type(self).__name__, self.order, self.key, self.lam, self.block)

    def setup(self, problem) -> Sweep:
        return sweep_setup(problem, self.lam, self.order, self.key, self.block)

    def numbered(self, aux: Sweep, k):
        return dataclasses.replace(aux, number=k)

    def __call__(self, problem, x, aux: Sweep):
        # A fresh dual each time.
        return aux.run(x, aux.zero_dual(x), aux.number)[0], jnp.ones((), x.real.dtype)


def check_rows(name: str, order: str, key: Any, lam: Any, block: int | None) -> None:
    """The checks that KaczmarzSweep and the Kaczmarz solver share."""
    if order not in ORDERS:
        raise ValueError(f"{name}: order is one of {', '.join(ORDERS)}, got {order!r}")
    if order != "cyclic" and key is None:
        raise ValueError(f"{name}: order={order!r} needs key=jax.random.key(...)")
    if block is not None and block < 1:
        raise ValueError(f"{name}: block is a number of rows >= 1, got {block}")
    check_weights(name, lam=lam)
    if is_concrete(lam) and jnp.ndim(lam) and bool(np.any(np.asarray(lam) <= 0)):
        raise ValueError(f"{name}: a lam per unknown must be positive everywhere")


@value
class Sweep:
    """A matrix laid out for sweeps over its rows.

    Attributes:
        rows: (blocks, B, n) real, or (blocks, 2 B, n) holding [Re; Im] of complex rows: XLA's complex matrix-vector
            product on CPU costs nine real ones.
        inverse: (blocks, B, B), the inverses of tril(A_B A_B^H) + lam I, zero for zero rows.
        b: (blocks, B).
        lam: scalar weight of the dual.
        scale: what x is divided by, 1 or lam^{1/2} per unknown.
        key, chances: for random rows (B = 1): where they are drawn from, log |a_k|^2.
        number: of the sweep, for the random rows of a data-consistency step.
    """

    rows: jax.Array
    inverse: jax.Array
    b: jax.Array
    lam: jax.Array
    scale: Any
    key: Any
    chances: Any
    number: Any = 0

    def zero_dual(self, x: jax.Array) -> jax.Array:
        """w = 0, for an image like x."""
        return jnp.zeros(self.b.shape, jnp.promote_types(self.b.dtype, x.dtype))

    def run(self, x: jax.Array, w: jax.Array, count: Any) -> tuple[jax.Array, jax.Array]:
        """The sweep number `count` (which picks the random rows): (x, w) -> (x, w)."""
        rows_complex = self.rows.shape[1] == 2 * self.b.shape[1]

        def block(planes, item):
            a, g, b, w = item
            alpha = jnp.sum(g * (b - _forward(a, planes, rows_complex) - w), axis=-1)
            moves = _backward(a, alpha, len(planes), rows_complex)
            return tuple(map(jnp.add, planes, moves)), w + self.lam * alpha

        shape, x = x.shape, x.reshape(-1)
        x = x if self.scale is None else x * self.scale
        planes = (x.real, x.imag) if is_complex(x) else (x,)
        if self.key is None:
            planes, w = jax.lax.scan(block, planes, (self.rows, self.inverse, self.b, w))
        else:
            planes, w = self._random_rows(block, planes, w, count)
        x = jax.lax.complex(*planes) if len(planes) == 2 else planes[0]
        return (x if self.scale is None else x / self.scale).reshape(shape), w

    def _random_rows(self, block, x, w, count):
        number = self.b.shape[0]
        drawn = jax.random.categorical(jax.random.fold_in(self.key, count), self.chances, shape=(number,))

        def one(carry, k):
            x, w = carry
            x, w_k = block(x, (self.rows[k], self.inverse[k], self.b[k], w[k]))
            return (x, w.at[k].set(w_k)), None

        return jax.lax.scan(one, (x, w), drawn)[0]


def _forward(a, planes, rows_complex):
    """A_B x, from the real planes of x: products with vectors only, which XLA:CPU does several times faster than those
    with two columns."""
    y = [jnp.matmul(a, x, precision="highest") for x in planes]
    if rows_complex:
        size = a.shape[0] // 2
        return jax.lax.complex(y[0][:size] - y[1][size:], y[1][:size] + y[0][size:])
    return jax.lax.complex(*y) if len(y) == 2 else y[0]


def _backward(a, alpha, planes, rows_complex):
    """The real planes of A_B^H alpha: as sums over rows, .6 of the time of XLA:CPU's vector-matrix product."""
    parts = (alpha.real, alpha.imag) if planes == 2 else (alpha,)
    if rows_complex:
        parts = (jnp.concatenate(parts), jnp.concatenate([alpha.imag, -alpha.real]))
    return tuple(jnp.sum(v[:, None] * a, axis=0) for v in parts)


def sweep_setup(problem: Problem, lam: Any, order: str, key: Any, block: int | None) -> Sweep:
    """The rows of a problem laid out in blocks, with the small inverses made once."""
    problem = quadratic(problem, "Kaczmarz")
    a, b = _rows_of(problem)
    lam = scalar_like(lam, b)
    scale = None
    if lam.ndim:
        if lam.shape != problem.rhs.shape:
            raise ValueError(f"lam has shape {lam.shape}, but there are {a.shape[1]} unknowns, shaped "
                             f"{problem.rhs.shape}")
        scale = jnp.sqrt(lam.reshape(-1))
        a, lam = a / scale, jnp.ones((), lam.dtype)
    if order == "shuffled":
        chosen = jax.random.permutation(key, a.shape[0])
        a, b = a[chosen], b[chosen]
    size = 1 if order == "random" else min(block or default_block(a.dtype), a.shape[0])
    blocks = -(-a.shape[0] // size)
    # Zero rows fill the last block; like all zero rows they change nothing.
    a = jnp.pad(a, ((0, blocks * size - a.shape[0]), (0, 0))).reshape(blocks, size, -1)
    b = jnp.pad(b, (0, blocks * size - b.shape[0])).reshape(blocks, size)
    eye = jnp.eye(size, dtype=a.dtype)
    gram = jnp.tril(jnp.einsum("kin,kjn->kij", a, jnp.conj(a), precision="highest")) + lam * eye
    energy = jnp.diagonal(gram, axis1=1, axis2=2).real
    alive = energy > 0
    inverse = _triangular_inverse(gram + jnp.where(alive, 0, 1)[..., None] * eye) * alive[..., None]
    chances = None
    if order == "random":
        row_energy = jnp.sum(jnp.square(a.real) + jnp.square(a.imag), axis=-1)[:, 0]
        chances = jnp.where(row_energy > 0, jnp.log(jnp.where(row_energy > 0, row_energy, 1)), -jnp.inf)
        chances = jax.lax.stop_gradient(chances)
    rows = jnp.concatenate([a.real, a.imag], axis=1) if is_complex(a) else a
    return Sweep(rows, inverse, b, lam, scale, key if order == "random" else None, chances)


def _triangular_inverse(lower: jax.Array) -> jax.Array:
    """The inverses of many small lower triangles, by forward substitution on all of them at once.

    XLA:CPU sends them to LAPACK one by one, at up to a thousand times the cost.
    """
    diagonal = jnp.diagonal(lower, axis1=1, axis2=2)
    eye = jnp.eye(lower.shape[1], dtype=lower.dtype)

    def row(i, inverse):
        known = jnp.einsum("kj,kjm->km", lower[:, i], inverse, precision="highest")
        return inverse.at[:, i].set((eye[i] - known) / diagonal[:, i, None])

    return jax.lax.fori_loop(0, lower.shape[1], row, jnp.zeros_like(lower))


def default_block(dtype: Any) -> int:
    """Rows per block: few on CPU, where a block lives in the cache; many where a kernel launch costs more."""
    if jax.default_backend() != "cpu":
        return 256
    return 8 if jnp.issubdtype(dtype, jnp.complexfloating) else 32


def _rows_of(problem):
    A, b = problem.A, problem.b
    a = A.matrix
    if a is None:
        raise ValueError(f"Kaczmarz needs the rows of A, and {type(A).__name__} has none; pass jr.Matrix(jr.dense(A)), "
                         "with x flattened, or use CGNR")
    if A.real_domain and is_complex(a):
        # A complex row acts on a real x as two real rows.
        return (jnp.stack([a.real, a.imag], 1).reshape(-1, a.shape[1]), jnp.stack([b.real, b.imag], 1).reshape(-1))
    return a, b
