"""The compiled training step: one jit, plain arrays in and out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import PartitionSpec

from .. import metrics
from ..value import describe, is_complex, norm_squared
from .losses import SelfSupervised, mse
from .parameters import Partition

VALIDATION = 2**31  # beyond the number of any step


class State(NamedTuple):
    """What a step changes."""

    parameters: dict[str, jax.Array]
    optimizer: Any


class Fixed(NamedTuple):
    """What no step changes."""

    frozen: list[Any]  # leaves of the reconstructor
    loss: Callable  # (x, reference) -> scalar, or SelfSupervised
    key: jax.Array | None  # of a self-supervised loss

    def for_part(self, number: Any) -> Fixed:
        return self if self.key is None else self._replace(key=jax.random.fold_in(self.key, number))


@dataclasses.dataclass(frozen=True)
class Structure:
    """An operator without its leaves; `own` says which of them carry the batch axis."""

    tree: Any
    own: tuple[bool, ...]

    def join(self, shared: list[Any], own: list[Any]) -> Any:
        rest, mine = iter(shared), iter(own)
        return self.tree.unflatten([next(mine) if f else next(rest) for f in self.own])


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """All that is static in a step. Compared by content, so that another fit of the same structures does not compile
    again; hashed once, as every step looks it up.
    """

    partition: Partition
    operator: Structure
    optimizer: Any
    clip: float | None
    mesh: jax.sharding.Mesh | None

    def __post_init__(self):
        object.__setattr__(self, "_hash", hash(self._content()))

    def _content(self):
        return self.partition, self.operator, self.optimizer, self.clip, self.mesh

    def __hash__(self):
        return self._hash  # pyright: ignore[reportAttributeAccessIssue]

    def __eq__(self, other):
        return self is other or (isinstance(other, Program) and self._content() == other._content())


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def train_step(program: Program, state: State, fixed: Fixed, shared: list[Any], batch: Any, step: Any) \
        -> tuple[State, jax.Array]:
    """(new state, [loss, learning rate]) after step number `step` on a batch (leaves of A of its own, b, x).

    A step whose loss or gradient is not finite changes nothing, and its loss is NaN.
    """
    fixed = fixed.for_part(step)
    return over_mesh(program.mesh, functools.partial(_train_step, program), 2)(state, fixed, shared, batch)


def _train_step(program, state, fixed, shared, batch):
    own, b, x = batch
    keys = _example_keys(program.mesh, fixed.key, batch)

    def mean_loss(parameters):
        reconstructor = program.partition.join(parameters, fixed.frozen)

        def one(own, b, x, key):
            A = program.operator.join(shared, own)
            if isinstance(fixed.loss, SelfSupervised):
                return _real_scalar(fixed.loss(reconstructor, A, b, key))
            return _real_scalar(fixed.loss(reconstruct(reconstructor, A, b, x), x))
        return jnp.mean(jax.vmap(one)(own, b, x, keys))

    parameters, mean_loss = state.parameters, _over_devices(mean_loss, program.mesh)
    loss, gradient = jax.value_and_grad(mean_loss)(parameters)
    # JAX's gradient of a complex parameter is the conjugate of the direction of steepest ascent.
    gradient = jax.tree.map(lambda g: jnp.conj(g) if is_complex(g) else g, gradient)
    size = jnp.sqrt(norm_squared(gradient))
    ok = jnp.isfinite(loss) & jnp.isfinite(size)
    if program.clip is not None:
        factor = jnp.minimum(1, program.clip / jnp.where(size > 0, size, 1))
        gradient = jax.tree.map(lambda g: g * factor.astype(g.real.dtype), gradient)
    optimizer = optax.with_extra_args_support(program.optimizer)
    updates, inner = optimizer.update(gradient, state.optimizer, parameters, value=loss, grad=gradient,
                                      value_fn=mean_loss)
    new = optax.apply_updates(parameters, updates), inner
    new = State(*jax.tree.map(lambda new, old: jnp.where(ok, new.astype(old.dtype), old), new, tuple(state)))
    return new, jnp.stack([jnp.where(ok, loss, jnp.nan), jnp.asarray(_learning_rate(inner), loss.dtype)])


def _over_devices(mean_loss, mesh):
    """The loss over the examples of all devices, with its gradient: a line search calls it again, and each device must
    take the same step."""
    if mesh is None:
        return mean_loss

    def value_and_gradient(parameters):
        return lax.pmean(jax.value_and_grad(mean_loss)(parameters), mesh.axis_names)

    value = jax.custom_vjp(lambda parameters: lax.pmean(mean_loss(parameters), mesh.axis_names))
    value.defvjp(value_and_gradient, lambda gradient, c: (jax.tree.map(lambda g: c * g, gradient),))
    return value


def _learning_rate(state):
    """The (first) one that `optax.inject_hyperparams` keeps in the state; NaN where there is none."""
    nodes = jax.tree.leaves(state, is_leaf=lambda node: hasattr(node, "hyperparams"))
    rates = [node.hyperparams["learning_rate"] for node in nodes if "learning_rate" in getattr(node, "hyperparams", ())]
    return rates[0] if rates else jnp.nan


def _example_keys(mesh, key, batch):
    """One for each example, by its place in the whole batch, of which a device has its part."""
    if key is None:
        return None
    count = len(jax.tree.leaves(batch)[0])
    keys = jax.random.split(key, count * (1 if mesh is None else mesh.size))
    return keys if mesh is None else lax.dynamic_slice_in_dim(keys, count * lax.axis_index(mesh.axis_names[0]), count)


def reconstruct(reconstructor: Any, A: Any, b: Any, ref: jax.Array) -> jax.Array:
    x = reconstructor(A, b)
    if jnp.shape(x) != jnp.shape(ref) or (is_complex(ref) and not is_complex(x)):
        raise ValueError(f"the reconstructor gives {describe(x)}, but the images of the data are {describe(ref)} each")
    return x


def _real_scalar(loss):
    if jnp.shape(loss) != () or is_complex(loss):
        raise ValueError(f"the loss of one image must be a real scalar, got {describe(loss)}")
    return loss


@functools.partial(jax.jit, static_argnums=0)
def evaluate(program: Program, parameters: dict[str, jax.Array], fixed: Fixed, shared: list[Any], batch: Any,
             part: Any) -> jax.Array:
    """(batch, 2): loss and PSNR in dB of every example of part number `part`, with the range of its own reference.

    Where there are references, the mean squared error stands for a self-supervised loss; where there are none, its
    keys are those of the part and the PSNR is NaN.
    """
    def body(parameters, fixed, shared, batch):
        reconstructor = program.partition.join(parameters, fixed.frozen)

        def one(own, b, x, key):
            A = program.operator.join(shared, own)
            if x is None:
                loss = _real_scalar(fixed.loss(reconstructor, A, b, key))
                return jnp.stack([loss, jnp.full_like(loss, jnp.nan)])
            guess = reconstruct(reconstructor, A, b, x)
            loss = _real_scalar((mse if isinstance(fixed.loss, SelfSupervised) else fixed.loss)(guess, x))
            return jnp.stack([loss, _psnr(guess, x).astype(loss.dtype)])
        own, b, x = batch
        return jax.vmap(one)(own, b, x, _example_keys(program.mesh, fixed.key, batch))

    fixed = fixed.for_part(VALIDATION).for_part(part)
    return over_mesh(program.mesh, body, 1)(parameters, fixed, shared, batch)


def _psnr(x, ref):
    size = jnp.abs(ref)
    span = jnp.max(size if is_complex(ref) else ref) - jnp.min(size if is_complex(ref) else ref)
    return jnp.where(span > 0, metrics.psnr(x, ref, data_range=jnp.where(span > 0, span, 1)), jnp.nan)


def over_mesh(mesh: jax.sharding.Mesh | None, f: Callable, outputs: int) -> Callable:
    """f(..., batch) with the batch divided over the devices of a mesh. Two outputs are replicated, a single one is
    divided as the batch is.
    """
    if mesh is None:
        return f
    everywhere, divided = PartitionSpec(), PartitionSpec(mesh.axis_names[0])
    return jax.shard_map(f, mesh=mesh, in_specs=(everywhere, everywhere, everywhere, divided),
                         out_specs=(everywhere, everywhere) if outputs == 2 else divided, check_vma=False)
