"""HDF5 from anywhere, safely: another process reads it, within limits, and only numbers and text come back."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from .atomic import atomic_write
from .byte_order import native
from .isolated import LARGEST, Worker, worker

SIGNATURE = b"\x89HDF\r\n\x1a\n"


class Acquisitions(NamedTuple):
    """The table of an ISMRMRD file: head is a structured array; traj and data end to end, lengths[i] values each."""

    head: np.ndarray
    traj_lengths: np.ndarray
    traj: np.ndarray
    data_lengths: np.ndarray
    data: np.ndarray


class Hdf5:
    """An open HDF5 file; made by `open_hdf5`. `key in file` asks for a dataset by its path "group/name"."""

    def __init__(self, path: str, largest: int, process: Worker, listing: dict[str, Any]):
        self.path, self.largest, self._process, self._listing = path, largest, process, listing

    @property
    def keys(self) -> tuple[str, ...]:
        """Paths of all datasets, those that cannot be read as well."""
        return tuple(self._listing)

    def __contains__(self, key: str) -> bool:
        return key.strip("/") in self._listing

    def is_group(self, key: str) -> bool:
        return any(k.startswith(key.strip("/") + "/") for k in self._listing)

    def shape(self, key: str) -> tuple[int, ...]:
        return tuple(self._about(key)["shape"])

    def dtype(self, key: str) -> str:
        """NumPy's name of the type ("<c8"; pairs of floats are complex), "text", or "acquisitions" (ISMRMRD)."""
        return self._about(key)["dtype"]

    def attributes(self, key: str) -> dict[str, Any]:
        """Those that are one number or one text."""
        return self._listing.get(key.strip("/"), {}).get("attributes", {})

    def read(self, key: str, rows: tuple[int, int] | None = None) -> Any:
        """Values of a dataset: an array of numbers; a str, or nested lists of str, of text.

        Args:
            key: "group/name".
            rows: (start, stop) along the first axis; only these are read, and count towards `largest`.

        Raises:
            ValueError: naming file and key: missing, a group, a link, a wrong type, too large, damaged.
        """
        about, key = self._about(key), key.strip("/")
        size = int(np.prod(about["shape"], dtype=object)) * 16
        said, arrays = self._process.ask(
            f"{self.path}: cannot read {key}: ", min(size, 2 * self.largest) + os.path.getsize(self.path),
            do="read", key=key, rows=rows, largest=self.largest)
        if "text" in said:
            return said["text"]
        if about["dtype"] == "acquisitions":
            return Acquisitions(*arrays)
        return native(arrays[0])

    def _about(self, key: str) -> dict[str, Any]:
        key = key.strip("/")
        if key not in self._listing:
            what = "it is a group and not a dataset" if self.is_group(key) else \
                f"it is missing; there are {', '.join(sorted(self._listing)[:20]) or 'no datasets'}"
            raise ValueError(f"{self.path}: cannot read {key}: {what}")
        about = self._listing[key]
        if "refused" in about:
            raise ValueError(f"{self.path}: cannot read {key}: {about['refused']}")
        return about


@contextlib.contextmanager
def open_hdf5(path: str | os.PathLike, largest: int = LARGEST) -> Iterator[Hdf5]:
    """An HDF5 file, for reading.

    Args:
        path: the file.
        largest: bytes that one array may take; what promises more is refused before memory is taken.

    Raises:
        FileNotFoundError: no such file.
        ImportError: h5py is not installed.
        ValueError: not an HDF5 file, or a damaged one.
    """
    path = os.fspath(path)
    check_file(path)
    needs("h5py")
    if not is_hdf5(path):
        raise ValueError(f"{path} is not an HDF5 file")
    with worker() as process:
        said, _ = process.ask(f"{path}: cannot read it: ", os.path.getsize(path), do="open", path=os.path.abspath(path))
        yield Hdf5(path, largest, process, said["listing"])


def write_hdf5(path: str | os.PathLike, values: Mapping[str, Any]) -> None:
    """Write arrays, numbers and text to an HDF5 file, whole or not at all; names with "/" make groups."""
    needs("h5py")
    import h5py

    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        for key, v in values.items():
            if isinstance(v, str):
                file.create_dataset(key, data=v, dtype=h5py.string_dtype())
                continue
            v = np.asarray(v)
            if v.dtype.kind not in "iufcb":
                raise ValueError(f"cannot write {key}: {v.dtype} is neither numbers nor text")
            file.create_dataset(key, data=v)
    with atomic_write(path) as out:
        out.write(memory.getbuffer())


def check_file(path: str) -> None:
    """The error for a path that is no regular file."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file")
    if not os.path.isfile(path):
        raise ValueError(f"{path} is not a regular file")


def is_hdf5(path: str) -> bool:
    """By its signature, which may follow a user block of 512 bytes or a power of two times that."""
    with open(path, "rb") as file:
        size, at = os.path.getsize(path), 0
        while at < size:
            file.seek(at)
            if file.read(8) == SIGNATURE:
                return True
            at = max(512, 2 * at)
    return False


def needs(*modules: str) -> None:
    """The error for an extra that is not installed."""
    for name in modules:
        if importlib.util.find_spec(name) is None:
            raise ImportError(f"this file format needs {name}; install it by: pip install 'jaxrecon[readers]'")
