"""Classes by name: which of them a file may ask for."""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any

import numpy as np

from ..value import VALUES

# Importing these runs something; no value is defined there.
_NEVER = ("jaxrecon.cli",)
_MODULE = re.compile(r"jaxrecon(\.(?!__)[a-z_][a-z0-9_]*)*")
_PLAIN_TYPES = {"bool": bool, "int": int, "float": float, "complex": complex}


class Unknown(Exception):
    """A name that this version of the library does not have."""


def name_of(cls: type) -> str:
    """The public name, jaxrecon.TV, which outlives a move from file to file; else module and name."""
    if cls.__module__.startswith("jaxrecon."):
        package = importlib.import_module("jaxrecon")
        if cls.__name__ in package.__all__ and getattr(package, cls.__name__) is cls:
            return f"jaxrecon.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def is_value(cls: type) -> bool:
    """Whether `cls` was made by `jr.value`."""
    return VALUES.get(f"{cls.__module__}.{cls.__qualname__}") is cls


def is_namedtuple(cls: type) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "_fields") and hasattr(cls, "_make")


def find_class(name: Any, kind: str) -> type:
    """The class of jaxrecon behind a name: a value or a named tuple, never anything else.

    Raises:
        Unknown: outside jaxrecon, or not in this version of it.
    """
    module, _, last = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    if not _MODULE.fullmatch(module) or module.startswith(_NEVER) or not last.isidentifier():
        raise Unknown(f"the class {name!r}, which is not of jaxrecon")
    try:
        found = getattr(importlib.import_module(module), last, None)
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("jaxrecon"):
            raise
        found = None
    good = {"value": is_value, "namedtuple": is_namedtuple}[kind]
    if not (isinstance(found, type) and found.__module__.startswith("jaxrecon.") and good(found)):
        raise Unknown(f"the class {name!r}")
    return found


def is_network(x: Any) -> bool:
    """Without importing flax: where nobody has, nothing is a network."""
    module = sys.modules.get("jaxrecon.networks.base")
    return module is not None and isinstance(x, module.Network)


def is_architecture(x: Any) -> bool:
    module = sys.modules.get("jaxrecon.networks.base")
    return module is not None and module.ARCHITECTURES.get(type(x).__name__) is type(x)


def find_architecture(name: Any) -> type:
    """A registered architecture: one of jaxrecon's, or of the user's where its definition has run."""
    importlib.import_module("jaxrecon.networks")
    from ..networks.base import ARCHITECTURES

    if name not in ARCHITECTURES:
        raise Unknown(f"the architecture {name!r}; where it is your own, import the module that defines it first")
    return ARCHITECTURES[name]


# ---- dtypes


def dtype_name(dtype: Any) -> str | None:
    """The name of a dtype of numbers, None for any other."""
    dtype = np.dtype(dtype)
    return dtype.name if find_dtype(dtype.name) == dtype.newbyteorder("=") else None


def find_dtype(name: Any) -> np.dtype | None:
    """The dtype of numbers of that name, NumPy's or one of ml_dtypes such as bfloat16; else None."""
    import ml_dtypes

    if not isinstance(name, str):
        return None
    if re.fullmatch(r"bool|u?int(8|16|32|64)|float(16|32|64)|complex(64|128)", name):
        return np.dtype(name)
    if re.fullmatch(r"bfloat16|u?int[24]|float\d+_\w+", name) and hasattr(ml_dtypes, name):
        return np.dtype(getattr(ml_dtypes, name))
    return None


def type_name(cls: Any) -> str | None:
    """The name of a type that stands for a dtype: float, numpy.float32, jax.numpy.float32."""
    import jax.numpy as jnp

    if isinstance(cls, type) and _PLAIN_TYPES.get(cls.__name__) is cls:
        return cls.__name__
    name = str(getattr(cls, "__name__", None))
    if find_dtype(name) is not None:
        for prefix, home in (("jax", jnp), ("numpy", np)):
            if getattr(home, name, None) is cls:
                return f"{prefix}.{name}"
    return None


def find_type(name: Any) -> Any:
    import jax.numpy as jnp

    if name in _PLAIN_TYPES:
        return _PLAIN_TYPES[name]
    prefix, _, last = name.partition(".") if isinstance(name, str) else ("", "", "")
    if prefix in ("jax", "numpy") and find_dtype(last) is not None:
        return getattr(jnp if prefix == "jax" else np, last, None)
    return None
