"""MATLAB's .mat: up to version 7.2 by SciPy, 7.3 as the HDF5 it is. Numbers only: no objects, no function handles."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence

import numpy as np

from .bart import pick
from .hdf5 import LARGEST, check_file, is_hdf5, needs, open_hdf5
from .isolated import worker
from .npz import KSPACE_NAMES
from .scan import Scan

CLASSES = ("double", "single", "logical", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
NAME = re.compile("[A-Za-z][A-Za-z0-9_]{0,62}")


def read_mat(path: str | os.PathLike, name: str | None = None, maps: str | None = "maps", coil_axis: int = -1,
             slice: int | None = None, largest: int = LARGEST) -> Scan:
    """A scan from a .mat file.

    Args:
        path: the file, of any version from 4 to 7.3.
        name: of the k-space: a complex matrix (ny, nx) or, as is the custom in MATLAB, (ny, nx, coils). Default:
            `kspace`, `ksp` or the only complex variable.
        maps: of coil maps, of the same shape. The default "maps" may be missing, any other name may not; None: unread.
            A variable `mask`, of (ny, nx), is used where there is one.
        coil_axis: axis of the coils, for k-space of three axes or more.
        slice: index along the last other axis, for four axes. Default: the middle one.
        largest: bytes that one array may take.

    Raises:
        FileNotFoundError: no such file.
        ImportError: SciPy, or h5py for version 7.3, is not installed.
        ValueError: damaged, no or several complex variables, a wrong shape or type, values that are not finite.
    """
    path = os.fspath(path)
    known = list_mat(path)
    name = _complex(path, known, largest) if name is None else name
    wanted = [name, *(["mask"] if "mask" in known and name != "mask" else [])]
    if maps is not None and (maps != "maps" or "maps" in known):
        wanted.append(maps)
    arrays = _arrays(path, wanted, known, largest)
    which, slices = 0, 1
    for key in {name, maps} & set(arrays):
        x = arrays[key]
        if x.ndim > 2:
            x = np.moveaxis(x, coil_axis, 0)
        if x.ndim == 4:
            slices = x.shape[-1]
            which = pick(path, slice, slices)
            x = x[..., which]
        arrays[key] = np.ascontiguousarray(x)
    if slices == 1:
        pick(path, slice, 1)
    try:
        return Scan(arrays[name], arrays.get("mask"), arrays.get(maps or ""), slice=which, slices=slices)
    except ValueError as error:
        raise ValueError(f"{path}: {name}: {error}") from None


def list_mat(path: str | os.PathLike) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and class ("double", "char", ...) of the variables in a .mat file, by name, as MATLAB has them."""
    path = os.fspath(path)
    check_file(path)
    if not is_hdf5(path):
        return _list(path)
    found = {}
    with open_hdf5(path) as file:
        for key in (k for k in file.keys if "/" not in k):
            try:
                found[key] = file.shape(key)[::-1], str(file.attributes(key).get("MATLAB_class", "double"))
                if file.dtype(key) in ("text", "acquisitions"):
                    raise ValueError
            except ValueError:
                found[key] = (), "unreadable"
    return found


def read_mat_arrays(path: str | os.PathLike, names: Sequence[str], largest: int = LARGEST) -> dict[str, np.ndarray]:
    """Numeric variables of a .mat file by name, with the axes that MATLAB shows.

    Example:
        >>> import scipy.io, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     scipy.io.savemat(folder + "/a.mat", {"x": [[1.0, 2.0]]})
        ...     jr.io.read_mat_arrays(folder + "/a.mat", ["x"])["x"].tolist()
        [[1.0, 2.0]]
    """
    path = os.fspath(path)
    return _arrays(path, names, list_mat(path), largest)


def _arrays(path: str, names: Sequence[str], known: dict[str, tuple[tuple[int, ...], str]],
            largest: int) -> dict[str, np.ndarray]:
    if not names:
        return {}
    _check(path, names, known, largest)
    if is_hdf5(path):
        with open_hdf5(path, largest) as file:
            for name in names:
                if file.attributes(name).get("MATLAB_empty"):
                    raise ValueError(f"{path}: cannot read {name}: it is empty")
            return {name: file.read(name).T for name in names}
    size = sum(16 * math.prod(known[name][0]) for name in names)
    said, arrays = _ask(path, os.path.getsize(path) + size, largest, list(names))
    found = dict(zip(said["names"], arrays, strict=True))
    for name in names:
        if name not in found:
            raise ValueError(f"{path}: cannot read {name}: it is damaged, or not a full matrix of numbers")
    return found


def _check(path: str, names: Sequence[str], known: dict[str, tuple[tuple[int, ...], str]], largest: int) -> None:
    total = 0
    for name in names:
        if name not in known:
            raise ValueError(f"{path} holds no variable {name}, only {', '.join(known) or 'none'}")
        shape, kind = known[name]
        if kind not in CLASSES:
            raise ValueError(f"{path}: cannot read {name}: it is of class {kind}, not a full matrix of numbers")
        total += math.prod(shape) * 16
        if total > 2 * largest:
            raise ValueError(f"{path}: cannot read {name}: it is {kind} {list(shape)}; at most {largest / 2**30:.1f} "
                             "GiB are read")


def _complex(path: str, known: dict[str, tuple[tuple[int, ...], str]], largest: int) -> str:
    """The name of k-space: by custom, or the only complex matrix."""
    for name in KSPACE_NAMES:
        if name in known:
            return name
    likely = [name for name, (shape, kind) in known.items()
              if kind in ("double", "single") and len(shape) >= 2 and min(shape[:2]) > 1 and name != "maps"]
    candidates = [name for name, v in _arrays(path, likely, known, largest).items() if v.dtype.kind == "c"]
    if len(candidates) == 1:
        return candidates[0]
    listed = ", ".join(f"{name} ({kind} {list(shape)})" for name, (shape, kind) in list(known.items())[:20])
    raise ValueError(f"{path} holds " + (f"{len(candidates)} complex matrices" if candidates else "no complex matrix")
                     + f"; say which is k-space by name=. It holds {listed or 'nothing'}")


def _list(path: str) -> dict[str, tuple[tuple[int, ...], str]]:
    said, _ = _ask(path, os.path.getsize(path), LARGEST, None)
    found = {str(name): (tuple(shape), str(kind)) for name, shape, kind in said["variables"]}
    for name, (shape, _) in found.items():
        if not NAME.fullmatch(name) or min(shape, default=0) < 0:
            raise ValueError(f"{path} is not a .mat file, or a damaged one (it names a variable {name[:40]!r} of shape "
                             f"{list(shape)})")
    if not found:
        raise ValueError(f"{path} is not a .mat file, or an empty one")
    return found


def _ask(path: str, size: int, largest: int, names: list[str] | None) -> tuple[dict, list[np.ndarray]]:
    needs("scipy")
    with worker() as process:
        return process.ask(f"{path} cannot be read as a .mat file: ", size, do="matlab", path=os.path.abspath(path),
                           names=names, largest=largest)
