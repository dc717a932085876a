"""One file: a zip of structure.json and one .npy member per array, nothing compressed."""

from __future__ import annotations

import json
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.lib import format as npy

from ..io.atomic import atomic_write
from ..io.npz import read_arrays
from .decode import ALONE, Decoder, Mismatch
from .encode import Encoder
from .names import Unknown

FORMAT = 1
STRUCTURE = "structure.json"
_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError, OSError, RuntimeError, OverflowError,
            MemoryError, struct.error, zipfile.BadZipFile, zlib.error)


def save(path: str | os.PathLike, value: Any, about: Mapping[str, Any] | None = None) -> None:
    """Write a value to a file, whole or not at all, without pickle.

    Saved are operators, priors, solvers, reconstructors (learned ones with their networks), and trees of them: tuples,
    lists, dicts, named tuples, numbers, text, None, arrays of any dtype, typed random keys. Functions and classes of
    yours are not; `load` then takes them from `like`.

    Args:
        path: the file, of any name.
        value: what to save.
        about: JSON to go with it (where it comes from, its licence), for `jr.saving.read_about`.

    Raises:
        TypeError: something that is no value; the message says where. Also a traced array.
        FileNotFoundError: the folder does not exist.

    Example:
        >>> import tempfile
        >>> r = jr.Iterative(jr.FISTA(jr.TV(1e-3)), iterations=50)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     jr.save(folder + "/tv.jr", r)
        ...     jr.load(folder + "/tv.jr").solver.prior.lam
        0.001
    """
    encoder = Encoder()
    node = encoder.encode(value)
    header = {"format": "jaxrecon", "version": FORMAT, "library": version("jaxrecon"), "arrays": len(encoder.arrays),
              "about": dict(about or {}), "value": node}
    try:
        text = json.dumps(header, indent=None, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"about must be JSON: {error}") from None
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(_member(STRUCTURE), text)
        for i, data in enumerate(encoder.arrays):
            with archive.open(_member(f"{i}.npy"), "w", force_zip64=True) as member:
                npy.write_array(member, data, allow_pickle=False)


def load(path: str | os.PathLike, like: Any = ALONE) -> Any:
    """The value in a file that `save` wrote.

    No code runs that is not jaxrecon's: the file holds names of its classes, numbers and text. float64 becomes float32
    where JAX's 64-bit mode is off, as everywhere in JAX.

    Args:
        path: the file.
        like: a value of the same structure (a reconstructor just built, or its `jax.eval_shape`), whose arrays are
            replaced; needed where the value holds functions, modules or classes of yours, and for a field that an older
            version did not have.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged; not jaxrecon's; of a newer version, or with a class or field that this version does not
            have; a structure other than that of `like`. The message names file and place.

    Example:
        >>> import tempfile
        >>> net = jr.networks.ConvNet(channels=2, features=4, depth=2)
        >>> r = jr.Unrolled(net, iterations=2, key=jax.random.key(0))
        >>> A, b = jr.Fourier((8, 8)), jnp.ones((8, 8), complex)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     jr.save(folder + "/unrolled.jr", r)
        ...     bool(jnp.all(jr.load(folder + "/unrolled.jr")(A, b) == r(A, b)))
        True
    """
    path = os.fspath(path)
    header, arrays = _read(path, with_arrays=True)
    by = f"written by jaxrecon {header['library']}"
    try:
        return Decoder(arrays).decode(header["value"], like)
    except Mismatch as error:
        raise ValueError(f"{path}: {error} (the file was {by})") from None
    except Unknown as error:
        raise ValueError(f"{path}, {by}, holds {error}; this is jaxrecon {version('jaxrecon')}") from None
    except _DAMAGED as error:
        raise ValueError(f"{path}, {by}, holds a structure that jaxrecon {version('jaxrecon')} does not understand "
                         f"({type(error).__name__}: {' '.join(str(error).split())[:200]})") from None


def read_about(path: str | os.PathLike) -> dict[str, Any]:
    """What `save` was told about the value in a file, and under "library" the version that wrote it.

    Raises:
        FileNotFoundError, ValueError: as for `load`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     jr.save(folder + "/a.jr", 1.0, about={"licence": "CC0"})
        ...     jr.saving.read_about(folder + "/a.jr")["licence"]
        'CC0'
    """
    header, _ = _read(os.fspath(path), with_arrays=False)
    return {**header["about"], "library": header["library"]}


def _member(name: str) -> zipfile.ZipInfo:
    # A fixed date: one value, one file.
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def _read(path: str, with_arrays: bool) -> tuple[dict[str, Any], list[np.ndarray]]:
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file")
    if not os.path.isfile(path):
        raise ValueError(f"{path} is not a regular file")
    try:
        with zipfile.ZipFile(path) as archive:
            if STRUCTURE not in archive.namelist():
                raise _NotOurs
            if any(m.compress_type != zipfile.ZIP_STORED or m.file_size > os.path.getsize(path)
                   for m in archive.infolist()):
                raise ValueError("a member promises more bytes than the file holds")
            text = archive.read(STRUCTURE)
            header = json.loads(text)
            if not (isinstance(header, dict) and header.get("format") == "jaxrecon"):
                raise _NotOurs
            _check_version(path, header)
            # The checksums of all members, before any of them is understood.
            if with_arrays and (broken := archive.testzip()) is not None:
                raise ValueError(f"the checksum of {broken} is wrong")
            if sorted(archive.namelist()) != sorted([STRUCTURE, *(f"{i}.npy" for i in range(header["arrays"]))]):
                raise ValueError("members are missing")
    except _Newer as error:
        raise ValueError(str(error)) from None
    except _NotOurs:
        raise ValueError(f"{path} is not a file that jr.save wrote") from None
    except _DAMAGED as error:
        raise ValueError(f"{path} is not a file that jr.save wrote, or a damaged one "
                         f"({' '.join(str(error).split())[:200]})") from None
    names = [str(i) for i in range(header["arrays"] if with_arrays else 0)]
    return header, list(read_arrays(path, names, os.path.getsize(path)).values())


class _NotOurs(Exception):
    pass


class _Newer(Exception):
    pass


def _check_version(path: str, header: dict[str, Any]) -> None:
    number, library = header["version"], header["library"]
    if type(number) is not int or not isinstance(library, str):
        raise ValueError("its header is no header")
    if number <= FORMAT and not (isinstance(header["about"], dict) and type(header["arrays"]) is int
                                 and 0 <= header["arrays"] <= os.path.getsize(path)):
        raise ValueError("its header is no header")
    if number > FORMAT:
        raise _Newer(f"{path} was written by jaxrecon {library} in format {number}; this is jaxrecon "
                     f"{version('jaxrecon')}, which reads up to format {FORMAT}: update jaxrecon")
