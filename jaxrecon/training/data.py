"""Streams of training data with random access: batch number `step` follows from the key, so that a training resumes
exactly.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.tree_util import Partial

from ..learned.trainable import path_names
from ..operator import LinearOperator
from ..value import is_count, static, value


@value
class Examples:
    """Batches of stored examples (A, b, x), shuffled anew in every epoch from the key.

    Args:
        A: the operator, shared by all examples but for the leaves that `batched` names: these have a leading axis of
            length n, as `jax.vmap(lambda mask: jr.Fourier(shape, mask=mask))(masks)` makes them.
        b, x: measurements and images, (n, ...): NumPy, memory-mapped, h5py or JAX arrays, of which only the rows of
            the batch are read; b also a tuple of these. x None: no images, for a self-supervised loss.
        batch_size: examples in a batch. The n mod batch_size examples left over in an epoch are dropped, others each
            time.
        batched: names of leaves of A, such as ("mask",); True: all.

    Example:
        >>> A, x = jr.Diagonal(jnp.array([1.0, 2.0])), jnp.arange(10.0).reshape(5, 2)
        >>> data = jr.Examples(A, jax.vmap(A)(x), x, batch_size=2)
        >>> data.batch(jax.random.key(0), 0)[2].shape
        (2, 2)
    """

    A: LinearOperator
    b: Any
    x: Any
    batch_size: int = static()
    batched: Any = static(default=())

    def check(self):
        object.__setattr__(self, "batched", names_of(self.batched))
        check_batch_size(self)
        if not isinstance(self.A, LinearOperator):
            raise TypeError(f"Examples takes an operator A, got {type(self.A).__name__}")
        flags = batched_leaves(self.A, self.batched)
        rows = [*jax.tree.leaves(self.b), *jax.tree.leaves(self.x),
                *(v for v, own in zip(jax.tree.leaves(self.A), flags, strict=True) if own)]
        lengths = {np.shape(v)[0] if np.ndim(v) else 0 for v in rows}
        if len(lengths) != 1:
            raise ValueError("Examples needs one number n of examples as the leading axis of b, of x and of the leaves "
                             f"of A in `batched`, got {', '.join(str(tuple(np.shape(v))) for v in rows)}")
        if self.batch_size > len(self):
            raise ValueError(f"batch_size {self.batch_size} exceeds the number of examples, {len(self)}")

    def __len__(self) -> int:
        return np.shape(jax.tree.leaves(self.b)[0])[0]

    def batch(self, key: jax.Array, step: int) -> tuple[LinearOperator, Any, Any]:
        """(A, b, x) of training step `step`, counted from 0."""
        epoch, k = divmod(step, len(self) // self.batch_size)
        order = _order(jax.random.key_impl(key), jax.random.key_data(key).tobytes(), epoch, len(self))
        return self.rows(order[k * self.batch_size : (k + 1) * self.batch_size])

    def rows(self, index: np.ndarray) -> tuple[LinearOperator, Any, Any]:
        """(A, b, x) of these examples."""
        leaves, structure = jax.tree.flatten(self.A)
        flags = batched_leaves(self.A, self.batched)
        A = self.A
        if any(flags):
            A = structure.unflatten([_take(v, index) if own else v for v, own in zip(leaves, flags, strict=True)])
        return A, jax.tree.map(lambda v: _take(v, index), self.b), jax.tree.map(lambda v: _take(v, index), self.x)


@functools.lru_cache(maxsize=8)
def _order(impl, key: bytes, epoch: int, n: int) -> np.ndarray:
    data = jnp.asarray(np.frombuffer(key, np.uint32))
    return np.asarray(jax.random.permutation(jax.random.fold_in(jax.random.wrap_key_data(data, impl=impl), epoch), n))


def _take(v: Any, index: np.ndarray) -> Any:
    if isinstance(v, jax.Array):
        return _take_on_device(v, index)
    # In increasing order and each once, as files are read fastest and h5py demands.
    once, back = np.unique(index, return_inverse=True)
    return np.asarray(v[once])[back]


@jax.jit
def _take_on_device(v, index):
    return jnp.take(v, index, axis=0, mode="clip")


@value
class Simulated:
    """Batches of examples made on the fly: no example is seen twice.

    Args:
        simulate: key -> (A, b, x) of ONE example, in JAX (it is compiled, and mapped over keys); x may be None, for a
            self-supervised loss. A `jr.simulate.Simulation` is one; give large arrays that your own function needs as
            arguments: `jr.Partial(simulate, images)` is called as simulate(images, key).
        batch_size: examples in a batch.
        batched: names of the leaves of A that depend on the key, such as ("mask",); True: all.

    Example:
        >>> def simulate(key):
        ...     x = jax.random.normal(key, (2,))
        ...     A = jr.Diagonal(jnp.array([1.0, 2.0]))
        ...     return A, A(x), x
        >>> jr.Simulated(simulate, batch_size=3).batch(jax.random.key(0), 0)[1].shape
        (3, 2)
    """

    simulate: Callable
    batch_size: int = static()
    batched: Any = static(default=())
    operator: Any = dataclasses.field(init=False, default=None)

    def check(self):
        object.__setattr__(self, "batched", names_of(self.batched))
        check_batch_size(self)
        if not callable(self.simulate):
            raise TypeError(f"Simulated takes a function key -> (A, b, x), got {self.simulate!r}")
        simulate = self.simulate
        if not isinstance(simulate, Partial):
            # A pytree that is called brings its arrays along as arguments.
            plain = jax.tree_util.all_leaves([simulate])
            simulate = Partial(simulate) if plain else Partial(type(simulate).__call__, simulate)
        object.__setattr__(self, "simulate", simulate)
        object.__setattr__(self, "operator", _example_operator(simulate, self.batched))

    def batch(self, key: jax.Array, step: int) -> tuple[LinearOperator, Any, Any]:
        """(A, b, x) of training step `step`, counted from 0."""
        own, b, x = _simulated(self.simulate, key, step, size=self.batch_size, batched=self.batched)
        if not own:
            return self.operator, b, x
        leaves, structure = jax.tree.flatten(self.operator)
        mine = iter(own)
        flags = batched_leaves(self.operator, self.batched)
        return structure.unflatten([next(mine) if f else v for v, f in zip(leaves, flags, strict=True)]), b, x


@functools.partial(jax.jit, static_argnames=("size", "batched"))
def _simulated(simulate, key, step, *, size, batched):
    def one(key):
        A, b, x = simulate(key)
        own = [v for v, f in zip(jax.tree.leaves(A), batched_leaves(A, batched), strict=True) if f]
        return own, b, x
    return jax.vmap(one)(jax.random.split(jax.random.fold_in(key, step), size))


def _example_operator(simulate: Partial, batched: Any) -> LinearOperator:
    """A of one example. Its leaves that the simulation takes from outside are those very arrays, never copies."""
    seen: list[Any] = []

    def leaves(simulate, key):
        made = simulate(key)
        check_example(made)
        seen[:] = [made[0]]
        return [jnp.asarray(v) for v in jax.tree.leaves(made[0])]

    key = jax.random.key(0)
    jax.eval_shape(leaves, simulate, key)
    outside, structure = jax.tree.flatten(seen[0])
    flags = batched_leaves(seen[0], batched)
    names = jax.tree.leaves(path_names(seen[0]))
    inside = [i for i, (v, own) in enumerate(zip(outside, flags, strict=True)) if isinstance(v, Tracer) and not own]
    for i in inside:
        if not _same_for_all(lambda s, k, i=i: leaves(s, k)[i], simulate):
            raise ValueError(f"leaf {names[i]!r} of A depends on the key: every example has its own, so name it: "
                             f"batched=({names[i]!r},), or batched=True for all leaves")
    # Those that every example has for itself are only looked at for their shapes.
    made = jax.jit(lambda s, k: [leaves(s, k)[i] for i in inside])(simulate, key) if inside else []
    filled = dict(zip(inside, made, strict=True))
    shapes = jax.eval_shape(leaves, simulate, key)
    return structure.unflatten([filled.get(i, shapes[i] if own else v) for i, (v, own) in
                                enumerate(zip(outside, flags, strict=True))])


def _same_for_all(f: Callable, simulate: Partial) -> bool:
    keys = jax.random.split(jax.random.key(0), 2)
    try:
        jax.eval_shape(jax.vmap(f, in_axes=(None, 0), out_axes=None), simulate, keys)
    except ValueError as error:
        if "out_axes" not in str(error):
            raise
        return False
    return True


def check_example(example: Any, of: str = "simulate(key)") -> None:
    if not isinstance(example, tuple | list) or len(example) != 3:
        got = f"{len(example)} entries" if isinstance(example, tuple | list) else type(example).__name__
        raise TypeError(f"{of} must be (A, b, x): operator, measurements, image (None where there is none); got {got}")
    if not isinstance(example[0], LinearOperator):
        raise TypeError(f"{of} must be (A, b, x) with an operator A, got {type(example[0]).__name__}")


def check_batch_size(stream: Any) -> None:
    if not is_count(stream.batch_size):
        raise ValueError(f"{type(stream).__name__} needs a batch_size >= 1, got {stream.batch_size!r}")


def names_of(batched: Any) -> bool | tuple[str, ...]:
    """What `batched` may be: True, or names; one name stands for itself."""
    if batched is True or batched is False or batched is None:
        return bool(batched) or ()
    names = (batched,) if isinstance(batched, str) else tuple(batched)
    if not all(isinstance(n, str) for n in names):
        raise TypeError(f"batched is True, or the names of leaves of A such as ('mask',), got {batched!r}")
    return names


def batched_leaves(A: LinearOperator, batched: bool | tuple[str, ...]) -> list[bool]:
    """Which leaves of A carry the batch axis. "mask" stands for every leaf of that name: "mask", "outer.mask"; and
    "outer" for all leaves within it.

    Raises:
        ValueError: a name that A does not have.
    """
    leaves = jax.tree.leaves(path_names(A))
    if isinstance(batched, bool):
        return [batched] * len(leaves)
    for name in batched:
        if not any(_matches(leaf, name) for leaf in leaves):
            raise ValueError(f"batched names {name!r}, but the leaves of {type(A).__name__} are "
                             f"{', '.join(leaves) or 'none'}")
    return [any(_matches(leaf, name) for name in batched) for leaf in leaves]


def _matches(leaf: str, name: str) -> bool:
    return f".{name}." in f".{leaf}."
