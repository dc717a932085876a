"""BART's .cfl (complex64, column-major) and .hdr (its dimensions, as text)."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from .atomic import atomic_write, check_writable
from .hdf5 import LARGEST, check_file
from .scan import NonCartesianScan, Scan

READ, PHASE, PHASE2, COILS, SLICE, AXES = 0, 1, 2, 3, 13, 16


def read_bart(path: str | os.PathLike, maps: str | os.PathLike | None = None, slice: int | None = None,
              trajectory: str | os.PathLike | None = None, shape: tuple[int, ...] | None = None,
              largest: int = LARGEST) -> Scan | NonCartesianScan:
    """A scan from BART's k-space: dimensions (read, phase, 1, coils, ...), centred.

    Read-out is the last axis of the scan and phase encoding the one before: kspace[c, y, x] = cfl[x, y, 0, c].

    Args:
        path: name.cfl, name.hdr or name.
        maps: the same of coil sensitivities, one set.
        slice: which, of dimension 13. Default: the middle one.
        trajectory: the same of nodes (3, samples, spokes), in cycles per field of view as BART has them, for k-space
            (1, samples, spokes, coils).
        shape: (ny, nx) or (nz, ny, nx) of the image, needed with a trajectory.
        largest: bytes that one array may take.

    Raises:
        FileNotFoundError: no such file, or one of the two missing.
        ValueError: damaged, not k-space of one slice, values that are not finite.
    """
    kspace = read_cfl(path, largest)
    name = _names(path)[0]
    dims = kspace.shape + (1,) * (AXES - kspace.ndim)
    slices = dims[SLICE]
    which = pick(name, slice, slices)
    used = (READ, PHASE, PHASE2, COILS, SLICE)
    extra = {d: n for d, n in enumerate(dims) if n > 1 and d not in used}
    if extra:
        raise ValueError(f"{name}: dimensions {list(dims)} hold more than one slice of k-space: take one index of "
                         f"dimensions {sorted(extra)} (bart slice) first")
    kspace = kspace.reshape(dims, order="F").take(which, SLICE).reshape(dims[:4], order="F").transpose(3, 2, 1, 0)
    try:
        if trajectory is not None:
            nodes = read_cfl(trajectory, largest)
            nodes, shape = _nodes(_names(trajectory)[0], nodes, kspace, shape)
            return NonCartesianScan(kspace[..., 0], nodes, shape, slice=which, slices=slices)
        if dims[PHASE2] > 1:
            why = "these are spokes, and trajectory=, shape= are needed" if dims[READ] == 1 else \
                "a 3-D scan: transform it along its read-out (bart fft -i 1) and take one slice"
            raise ValueError(f"dimensions {list(dims)} are not one Cartesian slice: {why}")
        coils = None
        if maps is not None:
            found = read_cfl(maps, largest)
            if found.shape + (1,) * (4 - found.ndim) != dims[:4]:
                raise ValueError(f"maps have dimensions {list(found.shape)}, but k-space has {list(dims[:4])}")
            coils = found.reshape(dims[:4], order="F").transpose(3, 2, 1, 0)[:, 0]
        return Scan(kspace[:, 0], maps=coils, slice=which, slices=slices)
    except ValueError as error:
        raise ValueError(f"{name}: {error}" if not str(error).startswith(name) else str(error)) from None


def read_cfl(path: str | os.PathLike, largest: int = LARGEST) -> np.ndarray:
    """The array of a .cfl/.hdr pair as BART has it: complex64, column-major, trailing dimensions of 1 dropped.

    Raises:
        FileNotFoundError: one of the two is missing.
        ValueError: the header is damaged, or promises another size than the file has.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     jr.io.write_cfl(folder + "/a", jnp.ones((4, 3, 1, 2)))
        ...     jr.io.read_cfl(folder + "/a").shape
        (4, 3, 1, 2)
    """
    data, header = _names(path)
    for name in (data, header):
        check_file(name)
    dims = _dimensions(header)
    size = 8 * math.prod(dims)
    if size > largest:
        raise ValueError(f"{header}: dimensions {dims} are {size / 2**30:.1f} GiB; at most {largest / 2**30:.1f} GiB "
                         "are read")
    found = os.path.getsize(data)
    if size != found:
        raise ValueError(f"{data} holds {found} bytes, but dimensions {dims} of {header} need {size}: the file is "
                         "truncated, or belongs to another header")
    with open(data, "rb") as file:
        flat = np.fromfile(file, "<c8")
    if flat.nbytes != size:
        raise ValueError(f"{data} was cut short while it was read")
    while len(dims) > 1 and dims[-1] == 1:
        dims.pop()
    return flat.astype(np.complex64, copy=False).reshape(dims, order="F")


def write_cfl(path: str | os.PathLike, array: Any) -> None:
    """Write an array as BART has it (first axis fastest), complex64; .hdr and .cfl are both whole, or as they were.

    Raises:
        ValueError: not numbers, more than 16 axes, or values that overflow complex64.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "biufc" or array.ndim > AXES or 0 in array.shape:
        raise ValueError(f"cannot write {array.dtype} of shape {array.shape}: BART holds complex numbers on up to "
                         "16 axes")
    with np.errstate(over="ignore", invalid="ignore"):
        flat = array.astype("<c8").reshape(-1, order="F")
    if not np.isfinite(flat).all() and np.isfinite(array).all():
        raise ValueError(f"values up to {np.abs(array).max():g} overflow complex64; divide by that first")
    data, header = _names(path)
    check_writable(data)
    dims = array.shape + (1,) * (AXES - array.ndim)
    with atomic_write(header) as head, atomic_write(data) as body:
        head.write(("# Dimensions\n" + " ".join(map(str, dims)) + "\n").encode())
        body.write(memoryview(flat).cast("B"))


def write_bart(path: str | os.PathLike, scan: Scan | Any) -> None:
    """Write k-space, coil maps (coils, ny, nx), or an image (ny, nx), with the axes that `read_bart` expects.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     jr.io.write_bart(folder + "/a.cfl", jnp.ones((2, 3, 4), complex))
        ...     jr.io.read_cfl(folder + "/a").shape, jr.io.read_bart(folder + "/a").kspace.shape
        ((4, 3, 1, 2), (2, 3, 4))
    """
    array = np.asarray(scan.kspace if isinstance(scan, Scan) else scan)
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3:
        raise ValueError(f"write_bart takes (coils, ny, nx) or (ny, nx), got {array.shape}; other arrays by write_cfl")
    write_cfl(path, array[:, None].transpose(3, 2, 1, 0))


def pick(path: str, slice: int | None, slices: int) -> int:
    """The index of a slice; the middle one by default."""
    which = slices // 2 if slice is None else slice
    if not 0 <= which < slices:
        raise ValueError(f"{path}: there is no slice {which}; the file holds slices 0 to {slices - 1}")
    return which


def _names(path: str | os.PathLike) -> tuple[str, str]:
    name = os.fspath(path)
    stem = name[:-4] if name.endswith((".cfl", ".hdr")) else name
    return f"{stem}.cfl", f"{stem}.hdr"


def _dimensions(header: str) -> list[int]:
    with open(header, "rb") as file:
        lines = file.read(2**16).decode("latin-1").splitlines()
    for i, line in enumerate(lines):
        if line.strip() == "# Dimensions" and i + 1 < len(lines):
            words = lines[i + 1].split()
            if not 1 <= len(words) <= AXES or not all(w.isascii() and w.isdigit() and 0 < len(w) < 12 for w in words):
                break
            dims = [int(w) for w in words]
            if 0 in dims:
                break
            return dims
    raise ValueError(f"{header} is not a header of BART, or a damaged one: after a line '# Dimensions' it must hold up "
                     "to 16 positive numbers")


def _nodes(name: str, nodes: np.ndarray, kspace: np.ndarray, shape: Any) -> tuple[np.ndarray, tuple[int, ...]]:
    if shape is None:
        raise ValueError("a trajectory needs shape=(ny, nx) of the image")
    shape = tuple(shape)
    wanted = (3, *kspace.shape[2:0:-1])
    if kspace.shape[3] != 1 or nodes.shape + (1,) * (3 - nodes.ndim) != wanted:
        raise ValueError(f"{name} has dimensions {list(nodes.shape)}; k-space of (1, samples, spokes, coils) needs "
                         f"{list(wanted)}, and has read-out dimension {kspace.shape[3]}")
    nodes = np.real(nodes).reshape(wanted, order="F").transpose(2, 1, 0)[..., ::-1]
    if len(shape) == 2:
        nodes = nodes[..., 1:]
    return nodes / np.array(shape, nodes.dtype), shape
