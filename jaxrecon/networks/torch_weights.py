"""Weights of PyTorch networks, from safetensors files or arrays: never by pickle."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from flax import nnx

from .base import Network, build

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16, "I64": "<i8", "I32": "<i4",
          "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?"}
HEADER = 100 * 2**20  # bytes, the format's own limit
LAYERS = (nnx.Conv, nnx.ConvTranspose, nnx.Linear)


def read_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of a .safetensors file, by name, in the file's order.

    The format is 8 bytes of length, a JSON header of names, dtypes, shapes and offsets, and the bytes: nothing that
    could be executed. Everything that the header claims is checked against the file.

    Raises:
        ValueError: the file is damaged, or not of this format.
    """
    data = memoryview(Path(path).read_bytes())
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(HEADER, len(data) - 8):
        raise ValueError(f"{path} is no safetensors file: it has {len(data)} bytes and announces a header of {length}")
    try:
        header = json.loads(bytes(data[8 : 8 + length]))
        if not isinstance(header, dict):
            raise TypeError(f"a {type(header).__name__} where an object of tensors is needed")
        header.pop("__metadata__", None)
        return {name: _tensor(data[8 + length :], **entry) for name, entry in header.items()}
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: the safetensors header is damaged ({error})") from None


def _tensor(data: memoryview, dtype: str, shape: list[int], data_offsets: list[int]) -> np.ndarray:
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is none of {', '.join(DTYPES)}")
    begin, end = data_offsets
    if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
        raise ValueError(f"shape {shape} and offsets {data_offsets} must be counts")
    kind = np.dtype(DTYPES[dtype])
    if not begin <= end <= len(data) or end - begin != math.prod(shape) * kind.itemsize:
        raise ValueError(f"bytes {begin} to {end} of {len(data)} are not a {dtype} array of shape {shape}")
    return np.frombuffer(data[begin:end], kind).reshape(shape)


def from_torch(net: Any, weights: str | os.PathLike | Mapping[str, Any], names: Mapping[str, str] | None = None, *,
               epsilon: float = 1e-5) -> Network:
    """A network with the weights of a PyTorch state dict.

    Args:
        net: an architecture (or any factory rngs -> nnx.Module, or a Network) of the same layers.
        weights: a .safetensors file, or arrays by name: "NAME.weight" and "NAME.bias" as in a state dict, or w00, b00,
            w01, ... Names that begin with "_" are notes. Kernels are turned from PyTorch's order of axes
            (out, in, y, x) to (y, x, in, out). A layer without bias gets zeros where ours has one.
        names: which of our layers takes which of PyTorch's, such as {"first.conv1": "inc.0"}. None: equal names, or
            else one after another, in the order of the state dict and of our network's definition.
        epsilon: of batch normalisations, each of which is folded into the convolution before it.

    Raises:
        ValueError: layers or shapes do not agree; the message names both.

    Example:
        >>> arrays = {"0.weight": jnp.ones((3, 2)), "0.bias": jnp.zeros(3)}
        >>> net = jr.networks.from_torch(jr.networks.MLP(inputs=2, outputs=3, hidden=()), arrays)
        >>> net(jnp.ones(2)).tolist()
        [2.0, 2.0, 2.0]
    """
    if isinstance(weights, str | os.PathLike):
        if Path(weights).suffix != ".safetensors":
            raise ValueError(f"{weights} is not a .safetensors file; files made by torch.save are pickles, which can "
                             "run any code: convert them with safetensors.torch.save_file(model.state_dict(), path)")
        weights = read_safetensors(weights)
    if isinstance(net, Network | nnx.Module) or not callable(net):
        network = build(net)
    else:  # its own initial weights are not needed, only their shapes
        network = jax.eval_shape(lambda: build(net, jax.random.key(0)))
    if network.copies is not None:
        raise ValueError(f"the network has {network.copies} weight sets; give an architecture, and repeat the result "
                         f"by build(network, copies={network.copies})")
    theirs = _folded(_groups(weights), epsilon)
    ours = dict(_layers(nnx.merge(network.graphdef, network.parameters, network.rest)))
    names = _paired(list(ours), list(theirs), names)
    parameters = jax.tree.map(lambda v: v, network.parameters)  # dicts of its own
    for path, layer in ours.items():
        leaf = parameters
        for part in filter(None, path.split(".")):
            leaf = leaf[int(part) if part.isdigit() else part]
        leaf.update(_converted(layer, path, names[path], theirs[names[path]]))
    if any(isinstance(v, jax.ShapeDtypeStruct) for v in jax.tree.leaves(parameters)):
        raise ValueError(f"{net} has parameters outside of dense and convolutional layers, which these weights lack")
    return dataclasses.replace(network, parameters=parameters)


def _layers(module: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The layers with weights, by path, in the order of their definition."""
    if isinstance(module, LAYERS):
        yield path, module
        return
    children = enumerate(module) if isinstance(module, nnx.List) else vars(module).items()
    for name, child in children:
        if isinstance(child, nnx.Module):
            yield from _layers(child, f"{path}.{name}" if path else str(name))


def _groups(weights: Mapping[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of a state dict by layer, then by what they are."""
    numbered = sorted(name for name in weights if re.fullmatch(r"[wb]\d+", name))
    groups: dict[str, dict[str, np.ndarray]] = {}
    for name in [*sorted(numbered, key=lambda n: int(n[1:])), *(n for n in weights if n not in numbered)]:
        if name.startswith("_") or name.rpartition(".")[2] == "num_batches_tracked":
            continue
        if name in numbered:
            layer, kind = name[1:], {"w": "weight", "b": "bias"}[name[0]]
        else:
            layer, _, kind = name.rpartition(".")
        if kind not in ("weight", "bias", "running_mean", "running_var"):
            raise ValueError(f"{name!r} is no weight of a dense or convolutional layer, nor of a batch normalisation")
        groups.setdefault(layer, {})[kind] = np.asarray(weights[name])
    return groups


def _folded(groups: dict[str, dict[str, np.ndarray]], epsilon: float) -> dict[str, dict[str, np.ndarray]]:
    """Each batch normalisation y = (x - mean) gain / sqrt(var + eps) + shift joins the layer before it: its bias, and a
    "gain" for the outputs of its kernel, whose axes are known once it is paired with one of our layers."""
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, group in groups.items():
        if "running_var" not in group:
            if group.get("weight", np.empty(0)).ndim < 2:
                raise ValueError(f"layer {name!r} has no kernel, only {', '.join(group)}")
            layers[name] = group
            continue
        if not layers:
            raise ValueError(f"the batch normalisation {name!r} has no layer before it to join")
        before, layer = layers.popitem()
        mean, variance = (np.asarray(group[k], np.float64) for k in ("running_mean", "running_var"))
        if len(mean) not in layer["weight"].shape[:2] or np.size(layer.get("bias", mean)) != len(mean):
            raise ValueError(f"the batch normalisation {name!r} has {len(mean)} channels, but {before!r} before it "
                             f"has a kernel of {layer['weight'].shape}")
        gain = group.get("weight", 1.0) / np.sqrt(variance + epsilon)
        layers[before] = layer | {"gain": layer.get("gain", 1.0) * gain,
                                  "bias": (layer.get("bias", 0.0) - mean) * gain + group.get("bias", 0.0)}
    return layers


def _paired(ours: list[str], theirs: list[str], names: Mapping[str, str] | None) -> Mapping[str, str]:
    if names is None:
        names = {n: n for n in ours} if set(ours) == set(theirs) else dict(zip(ours, theirs, strict=False))
        if len(ours) != len(theirs):
            raise ValueError(f"the network has {len(ours)} layers ({_listed(ours)}), the weights have {len(theirs)} "
                             f"({_listed(theirs)})")
    for what, wanted, given in (("our", set(ours), set(names)), ("the weights'", set(names.values()), set(theirs))):
        if wanted - given:
            raise ValueError(f"{what} layers {_listed(sorted(wanted - given))} are not among {_listed(sorted(given))}")
    return names


def _listed(names: list[str]) -> str:
    return ", ".join(names if len(names) < 9 else [*names[:4], "...", *names[-4:]])


def _converted(layer: Any, ours: str, theirs: str, group: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    kernel = group["weight"]
    if isinstance(layer, nnx.ConvTranspose):  # theirs is (in, out, y, x), and runs the other way
        turned = np.flip(np.moveaxis(kernel, (0, 1), (-2, -1)), axis=tuple(range(kernel.ndim - 2)))
    else:  # (out, in, y, x)
        turned = np.moveaxis(kernel, (0, 1), (-1, -2))
    gain = group.get("gain", np.ones(turned.shape[-1]))
    if len(gain) != turned.shape[-1]:
        raise ValueError(f"the batch normalisation after layer {theirs!r} has {len(gain)} channels, but the layer "
                         f"gives {turned.shape[-1]}")
    values = {"kernel": turned * gain}
    if layer.bias is not None:
        values["bias"] = group.get("bias", np.zeros(layer.bias.shape))
    elif np.any(group.get("bias", 0)):
        raise ValueError(f"layer {theirs!r} of the weights has a bias, but our {ours!r} has none; build it with "
                         "bias=True")
    for kind, given in values.items():
        want = getattr(layer, kind)
        if given.shape != want.shape:
            raw = group.get("weight" if kind == "kernel" else "bias", given).shape
            raise ValueError(f"our layer {ours!r} takes a {kind} of shape {want.shape}, but {theirs!r} has {raw} in "
                             f"PyTorch's order, {given.shape} in ours")
    return {kind: jnp.asarray(given, getattr(layer, kind).dtype) for kind, given in values.items()}
