"""A value as JSON and arrays.

A node is a JSON number, text, null, or an object whose "is" tells what it stands for; an array is its number among the
members of the file.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from .names import dtype_name, is_architecture, is_namedtuple, is_network, is_value, name_of, type_name


class Encoder:
    """Turns values into nodes and collects their arrays, each stored once however often it is held."""

    def __init__(self):
        self.arrays: list[np.ndarray] = []
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []  # an id is unique only while its array lives

    def encode(self, x: Any, where: str = "", static: bool = False) -> Any:
        if x is None or type(x) in (bool, int, str):
            return x
        if type(x) is float:
            return x if math.isfinite(x) else {"is": "float", "value": repr(x)}
        if type(x) is complex:
            return {"is": "complex", "value": [self.encode(x.real), self.encode(x.imag)]}
        if isinstance(x, Tracer):
            raise TypeError(f"cannot save {_at(where)}: it is traced; call jr.save outside of jit, vmap and grad")
        if isinstance(x, np.ndarray | np.generic | jax.Array):
            return self._array(x, where)
        return self._container(x, where, static) or self._described(x, where, static)

    def _container(self, x: Any, where: str, static: bool) -> dict[str, Any] | None:
        kind = type(x)
        if kind in (list, tuple):
            return {"is": kind.__name__,
                    "items": [self.encode(v, _join(where, i), static) for i, v in enumerate(x)]}
        if kind is dict:
            items = [[self.encode(k, where, True), self.encode(v, _join(where, k), static)] for k, v in x.items()]
            return {"is": "dict", "items": items}
        if is_namedtuple(kind):
            fields = {n: self.encode(v, _join(where, n), static) for n, v in zip(x._fields, x, strict=True)}
            return {"is": "namedtuple", "class": name_of(kind), "fields": fields}
        if is_network(x):
            return {"is": "network", "factory": self.encode(x.factory, _join(where, "factory"), True),
                    "copies": x.copies, "conditional": x.conditional,
                    "parameters": self.encode(x.parameters, _join(where, "parameters")),
                    "rest": self.encode(x.rest, _join(where, "rest"))}
        if is_value(kind):
            fields = {f.name: self.encode(getattr(x, f.name), _join(where, f.name), static or is_static(f))
                      for f in dataclasses.fields(x)}
            return {"is": "value", "class": name_of(kind), "fields": fields}
        return None

    def _described(self, x: Any, where: str, static: bool) -> dict[str, Any]:
        if is_architecture(x):
            arguments = {f.name: self.encode(getattr(x, f.name), _join(where, f.name), True)
                         for f in dataclasses.fields(x)}
            return {"is": "architecture", "class": type(x).__name__, "arguments": arguments}
        if isinstance(x, jax.ShapeDtypeStruct):
            return {"is": "shape", "shape": list(x.shape), "dtype": dtype_name(x.dtype), "weak": x.weak_type}
        if isinstance(x, np.dtype) and dtype_name(x):
            return {"is": "dtype", "name": dtype_name(x)}
        if type_name(x):
            return {"is": "type", "name": type_name(x)}
        children = jax.tree_util.tree_flatten_with_path(x, is_leaf=lambda v: v is not x)[0]
        if not (len(children) == 1 and children[0][1] is x):
            nodes = [[jax.tree_util.keystr(path), self.encode(v, where + jax.tree_util.keystr(path))]
                     for path, v in children]
            return {"is": "pytree", "class": name_of(type(x)), "children": nodes}
        if static or callable(x):
            return {"is": "given", "name": describe_code(x)}
        raise TypeError(f"cannot save {_at(where)}: {type(x).__name__} is neither an array, a number, text, a "
                        "container nor a value of jaxrecon")

    def _array(self, x: Any, where: str) -> dict[str, Any]:
        node: dict[str, Any] = {"is": "array", "number": self._number(x, where)}
        if isinstance(x, jax.Array):
            if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
                return node | {"dtype": "key", "impl": str(jax.random.key_impl(x)), "of": "jax"}
            node |= {"of": "jax"} | ({"weak": True} if x.weak_type else {})
        else:
            node["of"] = "numpy" if isinstance(x, np.ndarray) else "scalar"
        return node | {"dtype": dtype_name(x.dtype)}

    def _number(self, x: Any, where: str) -> int:
        if id(x) not in self._numbers:
            key = isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
            data = np.asarray(jax.random.key_data(x) if key else x)
            if dtype_name(data.dtype) is None:
                raise TypeError(f"cannot save {_at(where)}: arrays of {data.dtype} are not numbers")
            data = np.asarray(data, data.dtype.newbyteorder("="), order="C")
            self._numbers[id(x)] = len(self.arrays)
            # NumPy's file format has no name for bfloat16 and its like.
            self.arrays.append(data if data.dtype.type.__module__ == "numpy" else data.view(f"u{data.dtype.itemsize}"))
            self._kept.append(x)
        return self._numbers[id(x)]


def is_static(field: Any) -> bool:
    return bool(field.metadata.get("static"))


def describe_code(x: Any) -> str:
    """A function, a class or an object in words."""
    named = x if hasattr(x, "__qualname__") else type(x)
    return f"{getattr(named, '__module__', '?')}.{named.__qualname__}"


def _join(where: str, name: Any) -> str:
    return f"{where}.{name}" if where else str(name)


def _at(where: str) -> str:
    return where or "this"
