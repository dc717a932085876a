"""A Flax NNX module as a value: the weights are leaves, the rest is structure."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ..value import describe, is_complex, repeated, static, value

T = TypeVar("T", bound=type)
ARCHITECTURES: dict[str, type] = {}


@dataclass_transform(frozen_default=True)
def architecture(cls: T) -> T:
    """Make `cls` a recipe of a network, a frozen dataclass of numbers and names: architecture(rngs) -> nnx.Module.

    It is registered by its name, so that a network built from it can be saved and loaded without code.
    """
    made = dataclasses.dataclass(frozen=True)(cls)
    if made.__name__ in ARCHITECTURES:
        raise ValueError(f"an architecture named {made.__name__} exists already")
    ARCHITECTURES[made.__name__] = made
    return made


@value
class Network:
    """A module as a value: network(x, *conditions).

    Made by `build`. Leaves may carry a leading axis of weight sets, which a scan or a vmap takes away.

    Attributes:
        parameters: nested dict of the module's `nnx.Param` arrays: what trains.
        rest: its other variables: frozen.
        graphdef: the structure of the module.
        factory: what built it, where that is known.
        copies: the number of weight sets, None for one without a leading axis.
        conditional: whether the module is called as module(x, sigma).
    """

    parameters: Any
    rest: Any
    graphdef: Any = static()
    factory: Any = static(default=None)
    copies: int | None = static(default=None)
    conditional: bool = static(default=False)

    def __call__(self, x: jax.Array, *conditions: Any) -> jax.Array:
        """The module on one real image, channels last (or one vector), computed in the dtype of the weights."""
        dtype = jnp.result_type(*jax.tree.leaves(self.parameters))
        return self.module(x.astype(dtype), *(jnp.asarray(c, dtype) for c in conditions)).astype(x.dtype)

    @property
    def module(self) -> Any:
        """The Flax module with these weights, for a look at its layers: a copy, changes do not come back."""
        return nnx.merge(self.graphdef, self.parameters, self.rest)

    @property
    def channels(self) -> int | None:
        """Image channels that the architecture was made for; None where it does not say."""
        return getattr(self.factory, "channels", None)

    @property
    def ndim(self) -> int | None:
        """Axes of the images that the architecture was made for; None where it does not say."""
        return getattr(self.factory, "ndim", None)

    def __repr__(self):
        copies = "" if self.copies is None else f", {self.copies} weight sets"
        return f"Network({self.factory or 'module'}, {count_parameters(self):,} parameters{copies})"


def build(net: Any, key: jax.Array | None = None, copies: int | None = None) -> Network:
    """The network that a factory makes.

    Args:
        net: a factory rngs -> nnx.Module (an architecture such as `jr.networks.UNet()`, a class, a function), a module,
            or a Network.
        key: where initial weights come from; a module or a Network has them already.
        copies: number of weight sets, drawn independently; repeated where the weights exist already.

    Raises:
        TypeError: `net` is none of these. ValueError: a missing key, batch normalisation, dropout, other `copies`.

    Example:
        >>> network = jr.networks.build(jr.networks.ConvNet(features=4, depth=2), jax.random.key(0))
        >>> network(jnp.ones((8, 8, 1))).shape
        (8, 8, 1)
    """
    if isinstance(net, Network | nnx.Module):
        network = net if isinstance(net, Network) else _split(net, None)
        if copies is None or network.copies == copies:
            return network
        if network.copies is not None:
            raise ValueError(f"the network has {network.copies} weight sets, but {copies} are needed")
        return dataclasses.replace(repeated(network, copies), copies=copies)
    if not callable(net):
        raise TypeError("a network is given as a factory rngs -> nnx.Module such as jr.networks.UNet(), "
                        f"a module or a Network, got {net!r}")
    if key is None:
        raise ValueError(f"key=jax.random.key(...) is needed for the initial weights of {net}")
    # The structure is made outside of vmap, where attributes are plain values.
    abstract = _split(nnx.eval_shape(lambda: _made(net, jax.random.key(0))), net)

    def weights(key):
        network = _split(_made(net, key), net)
        return network.parameters, network.rest

    parameters, rest = weights(key) if copies is None else jax.vmap(weights)(jax.random.split(key, copies))
    return dataclasses.replace(abstract, parameters=parameters, rest=rest, copies=copies)


def _made(factory: Callable, key: jax.Array) -> nnx.Module:
    module = factory(nnx.Rngs(key))
    if not isinstance(module, nnx.Module):
        raise TypeError(f"the network's factory must return an nnx.Module, got {type(module).__name__}")
    return module


def _split(module: nnx.Module, factory: Any) -> Network:
    graphdef, parameters, statistics, rest = nnx.split(module, nnx.Param, nnx.BatchStat, ...)
    if jax.tree.leaves(statistics):
        raise ValueError(f"{type(module).__name__} normalises over a batch: its statistics would change inside the "
                         "loop of iterations; use no normalisation, or nnx.GroupNorm")
    if any(isinstance(m, nnx.Dropout) and m.rate > 0 and not m.deterministic for _, m in nnx.iter_modules(module)):
        raise ValueError(f"{type(module).__name__} has an nnx.Dropout: a reconstructor draws no random numbers, "
                         "and every call would drop the same units; build it without, or with deterministic=True")
    parameters, rest = nnx.to_pure_dict(parameters), nnx.to_pure_dict(rest)
    if not parameters:
        raise ValueError(f"{type(module).__name__} has no nnx.Param to train")
    conditional = getattr(factory, "conditional", getattr(module, "conditional", None))
    return Network(parameters, rest, graphdef, factory, None,
                   _takes_condition(module) if conditional is None else conditional)


def _takes_condition(module: nnx.Module) -> bool:
    try:
        arguments = list(inspect.signature(type(module).__call__).parameters.values())[2:]
    except (TypeError, ValueError, AttributeError):
        return False
    positional = [a for a in arguments if a.kind in (a.POSITIONAL_ONLY, a.POSITIONAL_OR_KEYWORD)]
    return bool(positional) and positional[0].default is inspect.Parameter.empty


def count_parameters(network: Network) -> int:
    """The number of trainable numbers, over all weight sets.

    Example:
        >>> jr.networks.count_parameters(jr.networks.build(lambda rngs: nnx.Linear(2, 3, rngs=rngs), jax.random.key(0)))
        9
    """
    return sum(map(np.size, jax.tree.leaves(network.parameters)))


def apply_to_image(network: Network, x: jax.Array, *conditions: Any) -> jax.Array:
    """The network on an image (..., ny, nx), real or complex.

    A complex image enters as two channels, its real and imaginary parts; where the architecture has one channel, the
    two parts go through it one by one. So do the slices of an image with more axes than the architecture (`ndim`).

    Raises:
        ValueError: an image of fewer axes; the module's output is not an image of the same shape and channels.
    """
    axes = x.ndim if network.ndim is None else network.ndim
    if x.ndim < axes:
        raise ValueError(f"the network takes images of {axes} axes, got {describe(x)}; another one, such as a function "
                         "rngs -> nnx.Module, may take fewer")
    if x.ndim > axes:
        return jax.vmap(lambda v: apply_to_image(network, v, *conditions))(x)
    if not is_complex(x):
        if network.channels == 2:
            raise ValueError(f"the network takes complex images (channels=2), got {describe(x)}; build it with "
                             "channels=1")
        return _checked(network, x[..., None], conditions)[..., 0]
    parts = jnp.stack([x.real, x.imag], axis=-1)
    if network.channels == 1:
        parts = jax.vmap(lambda v: _checked(network, v[..., None], conditions)[..., 0], -1, -1)(parts)
    else:
        parts = _checked(network, parts, conditions)
    return jax.lax.complex(parts[..., 0], parts[..., 1])


def _checked(network: Network, x: jax.Array, conditions: tuple) -> jax.Array:
    y = network(x, *conditions)
    if y.shape != x.shape:
        raise ValueError(f"the network gives {describe(y)} for an image of {x.shape[-1]} channels, {describe(x)}; it "
                         "must keep the shape (complex images have 2 channels, real ones 1)")
    return y
