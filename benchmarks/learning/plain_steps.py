"""The training steps of training_cost.py as one writes them by hand in flax and optax, without jaxrecon.

Only the X-ray transform is jaxrecon's, as a function and its adjoint. Weights and data are those of the reconstructor
that is compared, so that both do the same arithmetic and find the same loss.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx


class Convolutions(nnx.Module):
    """3 x 3 convolutions with ReLU between; the input added where the last layer gives as many channels."""

    def __init__(self, widths, residual, rngs):
        self.layers = nnx.List([nnx.Conv(i, o, (3, 3), rngs=rngs) for i, o in pairwise(widths)])
        self.residual = residual

    def __call__(self, x):
        y = x
        for layer in self.layers[:-1]:
            y = jax.nn.relu(layer(y))
        y = self.layers[-1](y)
        return x + y if self.residual else y


def structure(kernels, residual):
    """The graph of the module with such kernels: of what nnx.merge needs only the weights are missing."""
    widths = [kernels[0].shape[-2], *(k.shape[-1] for k in kernels)]
    module = nnx.eval_shape(lambda: Convolutions(widths, residual, nnx.Rngs(0)))
    return nnx.split(module, nnx.Param)[0]


def weights_of(r: Any) -> Any:
    """What trains, as plain dicts: a leading axis over iterations."""
    if hasattr(r, "net"):
        return {"net": r.net.parameters, "noise": jnp.log(r.dc.noise)}
    return {"primal": r.primal.parameters, "dual": r.dual.parameters}


def layers_of(r: Any) -> list[jax.Array]:
    """Kernels and biases of an unrolled ConvNet, layer by layer."""
    layers = r.net.parameters["layers"]
    return [layers[k][name] for k in sorted(layers, key=int) for name in ("kernel", "bias")]


def stepper(loss, weights, batch, optimizer):
    """(step, state): step(state) -> (state, loss) of one jitted step of training."""
    state = weights, optimizer.init(weights)

    @jax.jit
    def step(state, batch):
        weights, moments = state
        value, gradient = jax.value_and_grad(loss)(weights, *batch)
        update, moments = optimizer.update(gradient, moments, weights)
        return (optax.apply_updates(weights, update), moments), value

    return lambda state: step(state, batch), state


def kernels_of(parameters):
    layers = parameters["layers"]
    return [layers[k]["kernel"] for k in sorted(layers, key=int)]


# ---- Cartesian MRI, a network and a replacement of samples in each iteration


def unrolled_loss(weights, A, b, x):
    net = weights["net"]
    count = weights["noise"].shape[0]
    graph = structure([k[0] for k in kernels_of(net)], residual=True)
    step = 1 / (1 + jnp.exp(weights["noise"]))
    n = np.prod(x.shape[1:])
    signs = (-1.0) ** np.add.outer(np.arange(x.shape[1]), np.arange(x.shape[2]))  # the centring of even sizes
    signs = jnp.asarray(signs, "float32")
    rhs = signs * jnp.fft.ifft2(signs * A.mask * b) * np.sqrt(n)
    # The mask varies along one axis: only that one is transformed.
    mask = jnp.fft.ifftshift(jnp.square(A.mask), axes=1)

    def gram(v):
        return jnp.fft.ifft(mask * jnp.fft.fft(v, axis=1), axis=1)

    def inner(u, v):
        return jnp.sum(jnp.conj(u) * v, (1, 2), keepdims=True)

    g = rhs * (inner(rhs, rhs).real / inner(rhs, gram(rhs)).real)
    size = jnp.sqrt(inner(g, g).real / n)
    bright = jnp.sum(g / size * (jnp.abs(g) / size), (1, 2), keepdims=True)
    scale = size * bright / jnp.abs(bright)
    rhs, image = rhs / scale, jnp.zeros_like(rhs)
    for k in range(count):
        image = image - step[k] * (gram(image) - rhs)
        module = nnx.merge(graph, jax.tree.map(lambda v, k=k: v[k], net))
        parts = module(jnp.stack([image.real, image.imag], -1))
        image = jax.lax.complex(parts[..., 0], parts[..., 1])
    return jnp.mean(jnp.abs(scale * image - x) ** 2)


# ---- learned primal-dual


def primal_dual_loss(weights, A, b, x):
    count = kernels_of(weights["primal"])[0].shape[0]
    graphs = {name: structure([k[0] for k in kernels_of(weights[name])], residual=False) for name in weights}
    memory = kernels_of(weights["primal"])[-1].shape[-1]
    project, back, norm = jax.vmap(A.apply), jax.vmap(A.apply_adjoint), A.known_norm

    def total(v):
        return jnp.sum(jnp.square(v), (1, 2), keepdims=True)

    g = back(b)
    g = g * (total(g) / total(project(g)))
    scale = jnp.sqrt(total(g) / np.prod(x.shape[1:]))
    b = (b / scale / norm)[..., None]
    image, dual = jnp.zeros((*x.shape, memory)), jnp.zeros((*b.shape[:-1], memory))
    for k in range(count):
        nets = {name: nnx.merge(graphs[name], jax.tree.map(lambda v, k=k: v[k], weights[name])) for name in weights}
        seen = project(image[..., 0])[..., None] / norm
        dual = dual + nets["dual"](jnp.concatenate([dual, seen, b], -1))
        pulled = back(dual[..., 0])[..., None] / norm
        image = image + nets["primal"](jnp.concatenate([image, pulled], -1))
    return jnp.mean(jnp.square(scale * image[..., 0] - x))
