"""From data to the arguments of the compiled step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from ..operator import LinearOperator
from ..value import describe, is_complex, shape_dtype
from .data import batched_leaves, check_example, names_of
from .losses import SelfSupervised
from .step import Program, Structure


class Source:
    """Batch number 0, 1, 2, ... of any data."""

    def __init__(self, data: Any, key: jax.Array | None):
        self.data, self.key, self.step = data, key, 0
        self.stream = hasattr(data, "batch")
        if self.stream and key is None:
            raise ValueError(f"fit needs key=jax.random.key(...) for the batches of {type(data).__name__}")
        if not self.stream and not isinstance(data, Iterable):
            raise TypeError("data must be a stream such as jr.Examples(...) or jr.Simulated(...), or an iterable of "
                            f"batches (A, b, x), got {type(data).__name__}")
        self.items = None if self.stream else iter(data)

    def next(self) -> Any:
        """The next batch (A, b, x), None where there are no more. An iterable that can begin again does."""
        if self.stream:
            found = self.data.batch(self.key, self.step)
        else:
            found = next(self.items, None)  # pyright: ignore[reportArgumentType]
            if found is None and self.step and iter(self.data) is not self.items:
                self.items = iter(self.data)
                found = next(self.items, None)
        if found is None:
            return None
        check_example(found, f"batch {self.step} of data")
        self.step += 1
        return found

    def skip(self, steps: int) -> None:
        """On to batch `steps`: a stream goes there at once, an iterable gives its items for nothing."""
        if self.stream:
            self.step = max(steps, self.step)
        while self.step < steps and self.next() is not None:
            pass


class Feed:
    """Makes the arguments of `train_step` from batches, looking at each structure and each shared operator once."""

    def __init__(self, reconstructor: Any, program: Program, loss: Callable, batched: Any):
        self.prepare = getattr(reconstructor, "prepare", None)
        self.program, self.loss, self.batched = program, loss, names_of(batched)
        self.programs: dict[Structure, Program] = {}
        self.seen: set = set()
        self.last: Any = None
        self.last_parts: Any = None
        mesh = program.mesh
        self.everywhere = None if mesh is None else NamedSharding(mesh, PartitionSpec())
        self.divided = None if mesh is None else NamedSharding(mesh, PartitionSpec(mesh.axis_names[0]))

    def __call__(self, A: LinearOperator, b: Any, x: Any) -> tuple[Program, list[Any], Any]:
        """(program, leaves of A that are shared, (other leaves of A, b, x))."""
        structure, shared, own = self._parts(A)
        batch = (own, b, x)
        spec = (structure, jax.tree.structure((b, x)),
                *((np.shape(v), getattr(v, "dtype", None)) for v in jax.tree.leaves(batch)))
        if spec not in self.seen:
            self._check(structure, shared, own, b, x)
            self.seen.add(spec)
        if self.divided is not None:
            batch = jax.device_put(batch, self.divided)
        return self._program(structure), shared, batch

    def _program(self, structure):
        if structure not in self.programs:
            self.programs[structure] = dataclasses.replace(self.program, operator=structure)
        return self.programs[structure]

    def _parts(self, A):
        if A is self.last:
            return self.last_parts
        flags = batched_leaves(A, self.batched)
        known = A
        if self.prepare is not None and not any(flags):
            known = self.prepare(A)
            flags = [False] * len(jax.tree.leaves(known))
        leaves, tree = jax.tree.flatten(known)
        shared = [jnp.asarray(v) for v, own in zip(leaves, flags, strict=True) if not own]
        own = [v for v, mine in zip(leaves, flags, strict=True) if mine]
        if self.everywhere is not None:
            shared = jax.device_put(shared, self.everywhere)
        parts = Structure(tree, tuple(flags)), shared, own
        if not own:
            self.last, self.last_parts = A, parts
        return parts

    def _check(self, structure, shared, own, b, x):
        if x is None and not isinstance(self.loss, SelfSupervised):
            raise ValueError("the data have no images (x is None), and an ordinary loss compares with them; pass a "
                             "self-supervised one, such as loss=jr.training.SURE(sigma), or (A, b, x)")
        lead = {np.shape(v)[:1] for v in jax.tree.leaves((own, b, x))}
        if len(lead) != 1 or () in lead:
            named = f", leaves of A {describe(own)}" if own else ""
            raise ValueError("measurements, images and the batched leaves of A need one leading batch axis, got b "
                             f"{describe(b)}, x {describe(x)}{named}; one example is b[None], x[None]")
        (n,), = lead
        devices = 1 if self.program.mesh is None else self.program.mesh.size
        if n == 0:
            raise ValueError(f"the batch is empty: b {describe(b)}, x {describe(x)}")
        if n % devices:
            raise ValueError(f"a batch of {n} examples does not divide over {devices} devices; choose a multiple of "
                             f"{devices}")
        domain, codomain = _shapes(structure, shared, [shape_dtype(v[0]) for v in own])
        one = jax.tree.map(lambda v: jax.ShapeDtypeStruct(np.shape(v)[1:], jnp.result_type(v)), (b, x))
        for name, got, want in (("measurements b", one[0], codomain), ("images x", one[1], domain)):
            if got is None:
                continue
            same = jax.tree.structure(got) == jax.tree.structure(want) and all(
                g.shape == w.shape for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True))
            if not same:
                raise ValueError(f"the {name} of the data are {describe(got)} each, after the batch axis, but A has "
                                 f"{describe(want)}")
        if x is not None and is_complex(one[1]) and not is_complex(one[0]) and not is_complex(domain):
            raise ValueError(f"the images x are complex ({describe(one[1])}), but A and b are real "
                             f"({describe(one[0])}); pass x.real")


def _shapes(structure, shared, own):
    domain: list[Any] = []

    def measurements(shared, own):
        A = structure.join(shared, own)
        domain[:] = [A.domain]
        return A.apply(jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), domain[0]))
    codomain = jax.eval_shape(measurements, shared, own)
    return domain[0], codomain
