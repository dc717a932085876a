"""JSON and arrays back to a value, alone or into the structure of another."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .encode import describe_code, is_static
from .names import (
    Unknown,
    find_architecture,
    find_class,
    find_dtype,
    find_type,
    is_architecture,
    is_network,
    is_value,
    name_of,
)

ALONE: Any = object()  # in place of `like`, where there is none


class Mismatch(Exception):
    """What the file holds does not fit; the message is one line."""


class Decoder:
    """Builds values from nodes and the arrays that these count."""

    def __init__(self, arrays: Sequence[np.ndarray]):
        self._arrays = arrays
        self._made: dict[tuple, Any] = {}

    def decode(self, node: Any, like: Any = ALONE, where: str = "", static: bool = False) -> Any:
        """The value of a node.

        Raises:
            Mismatch: it does not fit `like`, or needs one.
            Unknown: a class or field that this version of the library does not have.
            KeyError, TypeError, AttributeError, IndexError, ValueError: not a node that `Encoder` writes.
        """
        kind = node["is"] if isinstance(node, dict) else "plain"
        found = getattr(self, f"_{kind}", None) if kind in KINDS else None
        if found is None:
            raise Unknown(f"something it calls {kind!r}")
        x = found(node, like, where, static)
        if like is not ALONE and static and kind != "given" and not _same(x, like):
            raise Mismatch(f"{_at(where)} is {x!r} in the file and {like!r} in `like`")
        return x

    # ---- leaves

    def _plain(self, node, like, where, static):
        if node is not None and type(node) not in (bool, int, float, str):
            raise ValueError(f"not a node: {node!r}")
        if like is not ALONE and not static:
            if isinstance(node, str) or node is None:
                if type(like) is not type(node):
                    raise _differ(where, repr(node), like)
            else:
                _check_array(where, (), np.result_type(type(node)), like)
        return node

    def _float(self, node, like, where, static):
        return self._plain({"nan": np.nan, "inf": np.inf, "-inf": -np.inf}[node["value"]], like, where, static)

    def _complex(self, node, like, where, static):
        x = complex(*[self.decode(v) for v in node["value"]])
        if like is not ALONE and not static:
            _check_array(where, (), np.dtype(complex), like)
        return x

    def _array(self, node, like, where, static):
        key = (node["number"], node["of"], node["dtype"], node.get("weak"), node.get("impl"))
        if key not in self._made:
            self._made[key] = self._new_array(node)
        x = self._made[key]
        if like is not ALONE and not static:
            _check_array(where, x.shape, x.dtype, like)
        return x

    def _new_array(self, node):
        if not (type(node["number"]) is int and node["number"] >= 0):
            raise ValueError(f"array {node['number']!r}")
        data = self._arrays[node["number"]]
        if node["dtype"] == "key":
            if node["impl"] not in ("threefry2x32", "rbg", "unsafe_rbg"):
                raise Unknown(f"random keys of kind {node['impl']!r}")
            return jax.random.wrap_key_data(jnp.asarray(data), impl=node["impl"])
        dtype = find_dtype(node["dtype"])
        if dtype is None:
            raise Unknown(f"the dtype {node['dtype']!r}")
        if dtype.type.__module__ != "numpy" and data.dtype == np.dtype(f"u{dtype.itemsize}"):
            data = data.view(dtype)
        if data.dtype != dtype:
            raise ValueError(f"{data.dtype} where {dtype} is promised")
        if node["of"] == "numpy":
            return data
        if node["of"] == "scalar":
            return data[()]
        return _to_jax(data, bool(node.get("weak")))

    def _given(self, node, like, where, static):
        if like is ALONE:
            raise Mismatch(f"{_at(where)} is code, {node['name']}, which is not saved: pass like=, a value of the same "
                           "structure that holds it")
        if not (static or callable(like)):
            raise _differ(where, str(node["name"]), like)
        return like

    def _shape(self, node, like, where, static):
        dtype = find_dtype(node["dtype"])
        return jax.ShapeDtypeStruct(tuple(map(int, node["shape"])), dtype, weak_type=bool(node["weak"]))

    def _dtype(self, node, like, where, static):
        dtype = find_dtype(node["name"])
        if dtype is None:
            raise Unknown(f"the dtype {node['name']!r}")
        return dtype

    def _type(self, node, like, where, static):
        found = find_type(node["name"])
        if found is None:
            raise Unknown(f"the dtype {node['name']!r}")
        return found

    # ---- containers

    def _items(self, node, like, where, static, kind):
        items = node["items"]
        if like is ALONE:
            likes = [ALONE] * len(items)
        elif type(like) is kind and len(like) == len(items):
            likes = like
        else:
            raise _differ(where, f"{kind.__name__} of {len(items)}", like)
        return kind(self.decode(v, k, _join(where, i), static)
                    for i, (v, k) in enumerate(zip(items, likes, strict=True)))

    def _list(self, node, like, where, static):
        return self._items(node, like, where, static, list)

    def _tuple(self, node, like, where, static):
        return self._items(node, like, where, static, tuple)

    def _dict(self, node, like, where, static):
        items = [(self.decode(k, ALONE, where), v) for k, v in node["items"]]
        if like is not ALONE and (type(like) is not dict or set(like) != {k for k, _ in items}):
            raise _differ(where, f"dict of {', '.join(str(k) for k, _ in items) or 'nothing'}", like)
        return {k: self.decode(v, ALONE if like is ALONE else like[k], _join(where, k), static) for k, v in items}

    def _class(self, node, like, where, kind):
        if like is ALONE:
            try:
                return find_class(node["class"], kind)
            except Unknown:
                if not str(node["class"]).startswith("jaxrecon."):
                    raise Mismatch(f"{_at(where)} is of the class {node['class']}, which is not of jaxrecon: pass "
                                   "like=, a value of the same structure") from None
                raise
        if name_of(type(like)) != node["class"]:
            raise _differ(where, str(node["class"]), like)
        return type(like)

    def _namedtuple(self, node, like, where, static):
        cls = self._class(node, like, where, "namedtuple")
        _check_fields(node["class"], node["fields"], cls._fields)
        fields = {n: self.decode(v, ALONE if like is ALONE else getattr(like, n), _join(where, n), static)
                  for n, v in node["fields"].items()}
        return tuple.__new__(cls, [fields[n] for n in cls._fields])

    def _value(self, node, like, where, static):
        cls = self._class(node, like, where, "value")
        fields, saved = dataclasses.fields(cls), node["fields"]
        names = [f.name for f in fields]
        # What the file does not know yet, `like` may supply.
        _check_fields(node["class"], saved, names if like is ALONE else [n for n in names if n in saved])
        x = object.__new__(cls)  # as JAX rebuilds it: no check, which would build networks and look at ranges
        for f in fields:
            v = ALONE if like is ALONE else getattr(like, f.name)
            if f.name in saved:
                v = self.decode(saved[f.name], v, _join(where, f.name), static or is_static(f))
            object.__setattr__(x, f.name, v)
        return x

    def _pytree(self, node, like, where, static):
        if like is ALONE:
            raise Mismatch(f"{_at(where)} is of the class {node['class']}, which is not of jaxrecon: pass like=, a "
                           "value of the same structure")
        children, structure = jax.tree_util.tree_flatten_with_path(like, is_leaf=lambda v: v is not like)
        names = [jax.tree_util.keystr(path) for path, _ in children]
        if name_of(type(like)) != node["class"] or names != [name for name, _ in node["children"]]:
            raise _differ(where, str(node["class"]), like)
        made = [self.decode(v, child, where + name) for (name, v), (_, child)
                in zip(node["children"], children, strict=True)]
        return jax.tree.unflatten(structure, made)

    # ---- networks

    def _architecture(self, node, like, where, static):
        if like is not ALONE and not is_architecture(like):
            raise _differ(where, f"the architecture {node['class']}", like)
        cls = find_architecture(node["class"])
        arguments = {name: self.decode(v) for name, v in node["arguments"].items()}
        _check_fields(f"networks.{node['class']}", arguments, [f.name for f in dataclasses.fields(cls)])
        return cls(**arguments)

    def _network(self, node, like, where, static):
        if like is not ALONE and not is_network(like):
            raise _differ(where, "a network", like)
        factory = self.decode(node["factory"], ALONE if like is ALONE else like.factory, _join(where, "factory"), True)
        copies = node["copies"]
        if like is ALONE:
            if not is_architecture(factory):
                raise Mismatch(f"{_at(where)} is a network without a known architecture: pass like=, a value that "
                               "holds such a network")
            like = _skeleton(factory, copies)
        if copies != like.copies:
            raise Mismatch(f"{_at(where)} has {copies or 'one'} weight sets in the file and {like.copies or 'one'} in "
                           "`like`")
        return dataclasses.replace(
            like, factory=factory, conditional=bool(node["conditional"]),
            parameters=self.decode(node["parameters"], like.parameters, _join(where, "parameters")),
            rest=self.decode(node["rest"], like.rest, _join(where, "rest")))


KINDS = ("plain", "float", "complex", "array", "given", "shape", "dtype", "type", "list", "tuple", "dict", "namedtuple",
         "value", "pytree", "architecture", "network")


def _skeleton(factory: Any, copies: Any) -> Any:
    """The network of an architecture, shapes in place of weights."""
    from ..networks.base import build

    if copies is not None and not (type(copies) is int and copies > 0):
        raise ValueError(f"copies {copies!r}")
    return jax.eval_shape(functools.partial(build, factory, copies=copies), jax.random.key(0))


def _to_jax(data: np.ndarray, weak: bool) -> jax.Array:
    if data.dtype.kind in "iu" and data.size and not jax.config.read("jax_enable_x64"):
        info = np.iinfo(data.dtype.kind + "4")
        if data.dtype.itemsize == 8 and (data.max() > info.max or data.min() < info.min):
            raise Mismatch(f"{data.dtype} numbers up to {data.max()} need JAX's 64-bit mode: "
                           "jax.config.update('jax_enable_x64', True)")
    if weak and data.size:
        # Weak types come from Python numbers only.
        return jnp.stack([jnp.asarray(v) for v in data.ravel().tolist()]).reshape(data.shape)
    return jnp.asarray(data)


def _check_array(where: str, shape: tuple[int, ...], dtype: Any, like: Any) -> None:
    """Same shape, same kind of number; the precision is the file's."""
    if isinstance(like, bool | int | float | complex):
        like = np.asarray(like)
    got = (getattr(like, "shape", None), _kind(getattr(like, "dtype", None)))  # a jax.ShapeDtypeStruct will do
    if got != (shape, _kind(dtype)):
        raise _differ(where, f"{dtype}{list(shape)}", like)


def _kind(dtype: Any) -> str:
    if dtype is None:
        return "no number"
    for kind in (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating):
        if jnp.issubdtype(dtype, kind):
            return kind.__name__
    return str(dtype)


def _same(x: Any, like: Any) -> bool:
    """Equal structure: == where that is a bool, else field by field for values without equality of their own."""
    if is_value(type(x)) and type(x) is type(like):
        return True  # its fields were compared one by one
    if isinstance(x, np.ndarray | jax.Array):
        return np.shape(x) == np.shape(like) and bool(np.all(np.asarray(x) == np.asarray(like)))
    if isinstance(x, list | tuple):
        return type(x) is type(like) and len(x) == len(like)
    return x is like or bool(x == like) or (x != x and like != like)


def _check_fields(name: Any, saved: Any, wanted: Any) -> None:
    for field in saved:
        if field not in wanted:
            raise Unknown(f"the field {field!r} of {name}")
    for field in wanted:
        if field not in saved:
            raise Mismatch(f"{name} has no field {field!r} in the file, and this version needs one: pass like=, a "
                           "value of the same structure, whose field is kept")


def _differ(where: str, held: str, like: Any) -> Mismatch:
    return Mismatch(f"{_at(where)} is {held} in the file and {_brief(like)} in `like`")


def _brief(x: Any) -> str:
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return f"{x.dtype}{list(x.shape)}"
    if isinstance(x, list | tuple) and not hasattr(x, "_fields"):
        return f"{type(x).__name__} of {len(x)}"
    if isinstance(x, dict):
        return f"dict of {', '.join(map(str, x)) or 'nothing'}"
    if is_value(type(x)):
        return name_of(type(x))
    return repr(x) if x is None or isinstance(x, str | bool | int | float | complex) else describe_code(x)


def _join(where: str, name: Any) -> str:
    return f"{where}.{name}" if where else str(name)


def _at(where: str) -> str:
    return where or "the value"
