"""The dense network of the lecture."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import jax
from flax import nnx

from .base import architecture

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu, "leaky_relu": jax.nn.leaky_relu, "tanh": jax.nn.tanh, "sigmoid": jax.nn.sigmoid,
    "gelu": jax.nn.gelu, "silu": jax.nn.silu, "identity": lambda x: x,
}


def activation(name: str) -> Callable[[jax.Array], jax.Array]:
    """The function of that name."""
    if name not in ACTIVATIONS:
        raise ValueError(f"there is no activation {name!r}; choose one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


@architecture
class MLP:
    """y = W_n s(... s(W_1 x + b_1) ...) + b_n: dense layers with an activation s between them, vector in, vector out.

    With one hidden layer the two-layer network of every textbook; hidden=() is a single linear map.

    Args:
        inputs, outputs: lengths of the vectors.
        hidden: widths of the hidden layers.
        activation: "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "silu" or "identity".

    Parameters, with widths n_0 = inputs, n_1, .., n_L = outputs: sum_l (n_{l-1} + 1) n_l.

    Example:
        >>> net = jr.networks.build(jr.networks.MLP(inputs=32, outputs=16, hidden=(8,)), jax.random.key(0))
        >>> jr.networks.count_parameters(net) == 33 * 8 + 9 * 16
        True
    """

    inputs: int
    outputs: int
    hidden: tuple[int, ...] = (128,)
    activation: str = "relu"

    def __post_init__(self):
        object.__setattr__(self, "hidden", tuple(self.hidden))
        activation(self.activation)
        if min(self.inputs, self.outputs, *self.hidden) < 1:
            raise ValueError(f"every layer of an MLP needs a width >= 1, got {self}")

    def __call__(self, rngs: nnx.Rngs) -> nnx.Module:
        return _MLP(self, rngs)


class _MLP(nnx.Module):
    def __init__(self, a: MLP, rngs):
        widths = (a.inputs, *a.hidden, a.outputs)
        self.layers = nnx.List([dense(i, o, rngs) for i, o in pairwise(widths)])
        self.activation = a.activation

    def __call__(self, x):
        for layer in self.layers[:-1]:
            x = ACTIVATIONS[self.activation](layer(x))
        return self.layers[-1](x)


def dense(inputs: int, outputs: int, rngs: nnx.Rngs) -> nnx.Linear:
    """A dense layer with Glorot's initial weights: signals keep their size whichever way it is wider."""
    return nnx.Linear(inputs, outputs, kernel_init=nnx.initializers.glorot_normal(), rngs=rngs)
