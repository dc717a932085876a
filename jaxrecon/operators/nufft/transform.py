"""Between images and samples: deapodisation, oversampled FFT, and interpolation; differentiable in the nodes.

The tables of a plan carry no derivative. That of the transform is a transform again,

    d y_j / d k_jd = sum_n (-2 pi i n_d) exp(-2 pi i n.k_j) x_n,

so a gradient with respect to the nodes costs one more transform per axis, and no transposed gathers.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap

from ...operator import matched_pair, real_dtype
from .gridding import interpolate, spread
from .kernel import transform
from .plan import Plan

# Grid cells over all coils that are worked on at once: bounds the memory, whatever the number of coils.
CELLS, LARGE_CELLS = 2**23, 2**28


def to_samples(plan: Plan, nodes: jax.Array, x: jax.Array) -> jax.Array:
    """(*lead, *shape) -> (*lead, M): sum_n x_n exp(-2 pi i n.k) / sqrt(N), differentiable in nodes (M, ndim) and x."""
    lead = x.shape[:x.ndim - len(plan.kernels)]
    x = _complex(x).reshape(-1, *plan.size)
    return matched_pair(_forward, _adjoint, (plan, nodes), x).reshape(*lead, -1)


def to_image(plan: Plan, nodes: jax.Array, y: jax.Array) -> jax.Array:
    """(*lead, M) -> (*lead, *shape): the adjoint of `to_samples`."""
    lead = y.shape[:-1]
    y = _complex(y).reshape(-1, y.shape[-1])
    return matched_pair(_adjoint, _forward, (plan, nodes), y).reshape(*lead, *plan.size)


@jax.custom_jvp
def _forward(data, x):
    return _folding(_samples)(data[0], x)


@functools.partial(_forward.defjvp, symbolic_zeros=True)
def _forward_jvp(primals, tangents):
    (plan, nodes), x = primals
    (_, moved), changed = tangents
    y_dot = []
    if not _is_zero(changed):
        y_dot.append(to_samples(plan, nodes, changed))
    if not _is_zero(moved):
        parts = to_samples(plan, nodes, jnp.stack([n * x for n in _moments(plan, x)]))
        y_dot.append(jnp.sum(_first(moved, parts) * parts, axis=0))
    y = to_samples(plan, nodes, x)
    return y, sum(y_dot, jnp.zeros_like(y))


@jax.custom_jvp
def _adjoint(data, y):
    return _folding(_image)(data[0], y)


@functools.partial(_adjoint.defjvp, symbolic_zeros=True)
def _adjoint_jvp(primals, tangents):
    (plan, nodes), y = primals
    (_, moved), changed = tangents
    x = to_image(plan, nodes, y)
    x_dot = []
    if not _is_zero(changed):
        x_dot.append(to_image(plan, nodes, changed))
    if not _is_zero(moved):
        parts = to_image(plan, nodes, _first(moved, y[None]) * y)
        x_dot.append(sum(jnp.conj(n) * part for n, part in zip(_moments(plan, x), parts, strict=True)))
    return x, sum(x_dot, jnp.zeros_like(x))


def _is_zero(tangent):
    return isinstance(tangent, jax.custom_derivatives.SymbolicZero)


def _moments(plan, x):
    """-2 pi i n_d per axis, broadcastable to the image."""
    for d, n in enumerate(plan.size):
        yield jnp.asarray(-2j * math.pi * (np.arange(n) - n // 2).reshape(-1, *[1] * (len(plan.size) - d - 1)), x.dtype)


def _first(moved, like):
    """(M, ndim) -> (ndim, 1, M) at the precision of `like`."""
    return moved.T[:, None].astype(like.real.dtype)


def _complex(x):
    return x.astype(jnp.promote_types(real_dtype(x), jnp.complex64))


# ---- without derivatives


@functools.cache
def _folding(f):
    """f(plan, stack), whose batches over one plan become part of the stack; those over plans go one by one."""
    run = custom_vmap(jax.jit(functools.partial(_in_chunks, f)))

    @run.def_vmap
    def rule(size, batched, plan, stack):
        if not any(jax.tree.leaves(batched[0])):
            out = run(plan, stack.reshape(-1, *stack.shape[2:]))
            return out.reshape(size, -1, *out.shape[1:]), True
        leaves, tree = jax.tree.flatten((plan, stack))
        over = [i for i, b in enumerate(jax.tree.leaves(batched)) if b]

        def one(parts):
            mine = dict(zip(over, parts, strict=True))
            return run(*jax.tree.unflatten(tree, [mine.get(i, v) for i, v in enumerate(leaves)]))

        return lax.map(one, [leaves[i] for i in over]), True

    return run


def _in_chunks(f, plan, stack):
    """f over the leading axis (coils), as many at a time as the memory for their grids allows."""
    count, limit = stack.shape[0], CELLS if jax.default_backend() == "cpu" else LARGE_CELLS
    chunks = -(-count // max(1, limit // math.prod(plan.grid)))
    if chunks <= 1:
        return f(plan, stack)
    size = -(-count // chunks)
    whole = count // size * size
    out = lax.map(functools.partial(f, plan), stack[:whole].reshape(-1, size, *stack.shape[1:]))
    out = out.reshape(whole, *out.shape[2:])
    return out if whole == count else jnp.concatenate([out, f(plan, stack[whole:])])


def _samples(plan, x):
    """(C, *shape) -> (C, M)."""
    before, after = _factors(plan, x.dtype)

    def spectrum(x):
        x = after * jnp.fft.fftn(before * x, plan.grid)
        return jnp.stack([x.real, x.imag])

    grid = one_by_one(spectrum)(x)
    y = interpolate(plan, grid.reshape(-1, math.prod(plan.grid)).T.reshape(*plan.grid, -1))
    return lax.complex(y[:, ::2].T, y[:, 1::2].T)


def _image(plan, y):
    """(C, M) -> (C, *shape)."""
    before, after = (jnp.conj(v) for v in _factors(plan, y.dtype))

    def image(grid):
        x = jnp.fft.ifftn(after * lax.complex(*grid), norm="forward")
        return before * x[tuple(slice(n) for n in plan.size)]

    grid = spread(plan, jnp.stack([y.real, y.imag], 1).reshape(-1, y.shape[-1]).T)
    return one_by_one(image)(grid.reshape(math.prod(plan.grid), -1).T.reshape(-1, 2, *plan.grid))


def _factors(plan, dtype):
    """What multiplies the image, and what multiplies its FFT: 1 / sqrt(N) phi^, and the shift of the centre."""
    before, after = jnp.ones((), jnp.finfo(dtype).dtype), jnp.ones((), dtype)
    for kernel in plan.kernels:
        c = kernel.size // 2
        turns = np.mod(c * np.arange(kernel.grid), kernel.grid) / kernel.grid
        before = before[..., None] * jnp.asarray(1 / (math.sqrt(kernel.size) * transform(kernel)), before.dtype)
        after = after[..., None] * jnp.asarray(np.exp(2j * math.pi * turns), dtype)
    return before, after


def one_by_one(f):
    """f over a leading axis: on CPU one after the other, so that each one's FFT and products stay in the cache."""
    return functools.partial(lax.map, f) if jax.default_backend() == "cpu" else jax.vmap(f)
