"""NumPy's .npz, without pickle: headers are read and checked before any data."""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib import format as npy

from .atomic import atomic_write
from .byte_order import native
from .image import Image
from .scan import NonCartesianScan, Scan

KSPACE_NAMES = ("kspace", "ksp")
LARGEST = 2**32  # bytes of one array


def read_npz(path: str | os.PathLike, maps: str | None = "maps", largest: int = LARGEST) -> Scan:
    """A scan from an .npz file with `kspace` or `ksp`, and perhaps `mask` and coil maps.

    Args:
        path: the file. Arrays of objects are refused, never unpickled.
        maps: name of the coil maps in the file. The default "maps" may be missing, any other name may not; None leaves
            them unread.
        largest: bytes that one array may take; a header that promises more is refused before memory is taken.

    Returns:
        Scan: see there for shapes.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an .npz file, damaged, a missing array, a wrong shape or dtype, values that are not finite.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     jr.io.write_npz(folder + "/scan.npz", {"kspace": jnp.ones((8, 16, 16), complex)})
        ...     jr.io.read_npz(folder + "/scan.npz").kspace.shape
        (8, 16, 16)
    """
    path = os.fspath(path)
    names = list_npz(path)
    present = [name for name in KSPACE_NAMES if name in names]
    if len(present) != 1:
        raise ValueError(f"{path} holds " + ("both kspace and ksp; keep one of them" if present else
                                             f"no array named kspace or ksp, only {_enumerate(names)}"))
    wanted = [*present, *(["mask"] if "mask" in names else [])]
    if maps is not None and (maps != "maps" or "maps" in names):
        if maps not in names:
            raise ValueError(f"{path} holds no coil maps named {maps}, only {_enumerate(names)}")
        wanted.append(maps)
    arrays = read_arrays(path, wanted, largest)
    try:
        return Scan(arrays[present[0]], arrays.get("mask"), arrays.get(maps or ""))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def load_npz(path: str | os.PathLike, maps: str | None = "maps",
             largest: int = LARGEST) -> Scan | NonCartesianScan | Image:
    """The value in an .npz file, as `save` writes them.

    A Cartesian scan (`kspace` or `ksp`), one along a trajectory (`samples`, `nodes`, `shape`), or an image (`image`,
    perhaps `affine`).
    """
    path = os.fspath(path)
    names = set(list_npz(path))
    scan = None
    if names & set(KSPACE_NAMES) or not ("image" in names or {"samples", "nodes", "shape"} <= names):
        scan = read_npz(path, maps, largest)
        wanted = ["noise", "crop"]
    elif "image" in names:
        wanted = ["image", "affine"]
    else:
        wanted = ["samples", "nodes", "shape", "density", "noise", "crop"]
    a: dict[str, Any] = dict(read_arrays(path, [n for n in wanted if n in names], largest))
    try:
        for name in {"shape", "crop"} & set(a):
            if a[name].dtype.kind not in "iu" or a[name].ndim != 1:
                raise ValueError(f"{name} must be whole numbers, got {a[name].dtype} of {a[name].shape}")
            a[name] = tuple(a[name].tolist())
        if scan is not None:
            return Scan(scan.kspace, scan.mask, scan.maps, a.get("noise"), a.get("crop"))
        return Image(a["image"], affine=a.get("affine")) if "image" in a else NonCartesianScan(**a)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None


def write_npz(path: str | os.PathLike, arrays: Mapping[str, Any]) -> None:
    """Write arrays, numbers and strings to an .npz file, whole or not at all, and without pickle.

    Raises:
        ValueError: a value that only pickle could store.

    Example:
        >>> import numpy, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     jr.io.write_npz(folder + "/out.npz", {"image": jnp.ones((2, 2)), "method": "fista"})
        ...     str(numpy.load(folder + "/out.npz")["method"])
        'fista'
    """
    converted = {name: np.asarray(v) for name, v in arrays.items()}
    for name, v in converted.items():
        if v.dtype.hasobject:
            raise ValueError(f"cannot write {name}: it is not an array of numbers or text")
    with atomic_write(path) as file:
        np.savez(file, allow_pickle=False, **converted)


def list_npz(path: str | os.PathLike) -> tuple[str, ...]:
    """Names of the arrays in an .npz file."""
    with _archive(path) as archive:
        return tuple(name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy"))


def read_arrays(path: str | os.PathLike, names: Sequence[str], largest: int = LARGEST) -> dict[str, np.ndarray]:
    """Named arrays of an .npz file, each checked by its header first."""
    with _archive(path) as archive:
        return {name: _read(archive, path, name, largest) for name in names}


def _archive(path):
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file")
    if not os.path.isfile(path):
        raise ValueError(f"{path} is not a regular file")
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error, OSError):
        raise ValueError(f"{path} is not an .npz file, or a damaged one") from None


def _read(archive: zipfile.ZipFile, path, name: str, largest: int) -> np.ndarray:
    try:
        entry = archive.getinfo(f"{name}.npy")
        with archive.open(entry) as file:
            shape, dtype = _header(file)
            if dtype.hasobject:
                raise _Refused("it is an array of Python objects, which would have to be unpickled; save it as numbers")
            if dtype.fields is not None or dtype.itemsize == 0:
                raise _Refused(f"its dtype {dtype} is not a plain number")
            size = math.prod(shape) * dtype.itemsize
            if size > largest:
                raise _Refused(f"it is {dtype}{list(shape)}, {size / 2**30:.1f} GiB; at most {largest / 2**30:.1f} GiB "
                               "are read")
            if size > entry.file_size:
                raise _Refused(f"its header promises {size} bytes and the file holds {entry.file_size}")
        with archive.open(entry) as file:
            # Read in full, so that the checksum at the end of the entry is compared.
            data = npy.read_array(file, allow_pickle=False)
            if file.read(1):
                raise _Refused("bytes follow the end of its data; the file is damaged")
            return native(data)
    except _Refused as error:
        raise ValueError(f"{path}: cannot read {name}: {error}") from None
    except (ValueError, EOFError, KeyError, OSError, RuntimeError, OverflowError, MemoryError, SyntaxError, TypeError,
            struct.error, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: cannot read {name}, the file is damaged or not written by NumPy "
                         f"({' '.join(str(error).split())})") from None


class _Refused(Exception):
    pass


def _header(file) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(file)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise _Refused(f"its .npy format version {version[0]}.{version[1]} holds structured data, not numbers")
    shape, _, dtype = readers[version](file)
    if any(n < 0 for n in shape):
        raise _Refused(f"its shape {shape} is impossible")
    return shape, dtype


def _enumerate(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "nothing"
