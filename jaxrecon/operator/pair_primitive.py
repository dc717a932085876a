"""The JAX primitive behind `matched_pair`, and its rules."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

pair = Primitive("matched_pair")
pair.multiple_results = True


def _evaluate(*args, forward, transpose, num_data, batch_last):
    return forward(args[:num_data], args[num_data:])


def _abstract(*avals, forward, transpose, num_data, batch_last):
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding) for a in avals]
    out = jax.eval_shape(lambda *a: forward(a[:num_data], a[num_data:]), *shapes)
    varying = [a.manual_axis_type for a in avals if a.manual_axis_type.varying]
    extra = {"manual_axis_type": varying[0]} if varying else {}
    make = type(avals[0])
    return [make(o.shape, o.dtype, **extra, **({} if o.sharding is None else {"sharding": o.sharding})) for o in out]


def _jvp(primals, tangents, *, forward, transpose, num_data, batch_last):
    rules = {"forward": forward, "transpose": transpose, "num_data": num_data, "batch_last": batch_last}
    data, x = primals[:num_data], primals[num_data:]
    data_dot, x_dot = tangents[:num_data], tangents[num_data:]
    y = pair.bind(*primals, **rules)
    terms = []
    if any(type(t) is not ad.Zero for t in x_dot):
        terms.append(pair.bind(*data, *map(ad.instantiate_zeros, x_dot), **rules))
    if any(type(t) is not ad.Zero for t in data_dot):
        data_dot = tuple(map(ad.instantiate_zeros, data_dot))
        terms.append(jax.jvp(lambda *d: tuple(forward(d, x)), tuple(data), data_dot)[1])
    if not terms:
        return y, [ad.Zero(jax.typeof(o).to_tangent_aval()) for o in y]
    return y, [sum(parts[1:], parts[0]) for parts in zip(*terms, strict=True)]


def _transpose(cotangents, *args, forward, transpose, num_data, batch_last):
    data, x = args[:num_data], args[num_data:]
    if all(type(c) is ad.Zero for c in cotangents):
        return [None] * num_data + [ad.Zero(v.aval) for v in x]
    cotangents = list(map(ad.instantiate_zeros, cotangents))
    return [None] * num_data + pair.bind(*data, *cotangents, forward=transpose, transpose=forward, num_data=num_data,
                                         batch_last=batch_last)


def _batch(args, axes, *, forward, transpose, num_data, batch_last):
    size = next(a.shape[d] for a, d in zip(args, axes, strict=True) if d is not None)
    # x always carries the batch, at the front: otherwise the transpose of a batched map over shared x would have to
    # sum over the batch, and forward and transpose would no longer be each other's.
    x = [jnp.broadcast_to(a, (size, *a.shape)) if d is None else jnp.moveaxis(a, d, 0)
         for a, d in zip(args[num_data:], axes[num_data:], strict=True)]
    if batch_last and all(d is None for d in axes[:num_data]):
        x = [jnp.moveaxis(a, 0, -1) for a in x]
        x = [a.reshape(*a.shape[:-2], a.shape[-2] * size) for a in x]
        out = pair.bind(*args[:num_data], *x, forward=forward, transpose=transpose, num_data=num_data, batch_last=True)
        return [y.reshape(*y.shape[:-1], y.shape[-1] // size, size) for y in out], [y.ndim for y in out]
    in_axes = (tuple(axes[:num_data]), 0)
    out = pair.bind(*args[:num_data], *x, num_data=num_data, batch_last=batch_last,
                     forward=jax.vmap(forward, in_axes, axis_size=size),
                     transpose=jax.vmap(transpose, in_axes, axis_size=size))
    return out, [0] * len(out)


pair.def_impl(_evaluate)
pair.def_abstract_eval(_abstract)
mlir.register_lowering(pair, mlir.lower_fun(_evaluate, multiple_results=True))
ad.primitive_jvps[pair] = _jvp
ad.primitive_transposes[pair] = _transpose
batching.primitive_batchers[pair] = _batch
