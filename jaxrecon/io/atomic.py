"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A binary file that takes the place of `path` when the block ends, and leaves it alone when the block raises.

    Args:
        path: a regular file, or a name still free; its folder exists. A link is followed.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: `path` is a folder, a device or the like.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "a.txt"
        ...     with jr.io.atomic_write(path) as file:
        ...         _ = file.write(b"whole")
        ...     path.read_bytes(), len(list(path.parent.iterdir()))
        (b'whole', 1)
    """
    path = check_writable(path)
    # Not by the number of the process: in a container the next one has the same, and finds what a killed one left.
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    with open(part, "xb") as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def check_writable(path: str | os.PathLike) -> Path:
    """The real path of an output file, or the error that writing it would end with, before the work is done."""
    given, path = Path(path), Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {given}: the folder {given.parent} does not exist; create it first")
    if path.exists() and not path.is_file():
        raise ValueError(f"cannot write {given}: it is not a regular file")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"cannot write {given}: no permission to write in {given.parent}")
    return path
