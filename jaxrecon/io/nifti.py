"""NIfTI-1 and -2 in one file (.nii, .nii.gz)."""

from __future__ import annotations

import contextlib
import gzip
import io
import logging
import math
import os
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from .atomic import atomic_write
from .byte_order import native
from .hdf5 import LARGEST, check_file, needs
from .image import Image, as_image

GZIP = b"\x1f\x8b"
SLACK = 2**20  # bytes of header and extensions
REVERSED = np.eye(4)[[2, 1, 0, 3]]


def is_nifti(start: bytes) -> bool:
    """By the first 352 bytes, inflated where they are compressed."""
    return start[344:347] in (b"n+1", b"ni1") or start[4:7] in (b"n+2", b"ni2")


def read_nifti(path: str | os.PathLike, largest: int = LARGEST) -> Image:
    """An image from a NIfTI file.

    The file's array is [i, j, k(, t)]; pixels are [(t,) k, j, i]: i is the column. Nothing is flipped: what i, j, k
    mean in the patient is in the affine (the file's, its first three columns reversed). Integers stay integers, unless
    the header scales them.

    Args:
        path: .nii or .nii.gz.
        largest: bytes that the array may take.

    Raises:
        FileNotFoundError: no such file.
        ImportError: nibabel is not installed.
        ValueError: not NIfTI, damaged, truncated, too large, or pixels that are not numbers.
    """
    path = os.fspath(path)
    check_file(path)
    needs("nibabel")
    import nibabel

    head = start_of(path, 540)
    if not is_nifti(head):
        raise ValueError(f"{path} is not a NIfTI file")
    kind = nibabel.Nifti2Image if head[4:7] in (b"n+2", b"ni2") else nibabel.Nifti1Image
    if b"ni" in (head[344:346], head[4:6]):
        raise ValueError(f"{path} is the header of a pair of files (.hdr, .img); save it as one .nii file")
    with _quiet():
        try:
            header = kind.header_class(head[:kind.header_class.sizeof_hdr], check=True)
            shape: tuple[int, ...] = tuple(map(int, header.get_data_shape()))
            dtype = header.get_data_dtype()
            at = float(header["vox_offset"])
        except Exception as error:
            raise _damaged(path, "its header", error) from None
        if dtype.kind not in "biufc" or dtype.itemsize > 16 or dtype.names:
            raise ValueError(f"{path}: its pixels are of type {dtype}, not plain numbers")
        size = math.prod(shape) * dtype.itemsize
        if not shape or min(shape) < 1 or not 0 <= at <= SLACK:
            raise ValueError(f"{path}: its header is damaged: dimensions {shape}, pixels from byte {at:g} on")
        scaled = math.prod(shape) * max(8, dtype.itemsize)
        if scaled > largest:
            raise ValueError(f"{path}: it is {dtype}{list(shape)}, {scaled / 2**30:.1f} GiB; at most "
                             f"{largest / 2**30:.1f} GiB are read")
        wanted = int(at) + size
        data = start_of(path, wanted, strict=True)
        if len(data) < wanted:
            raise ValueError(f"{path} is truncated: {list(shape)} of {dtype} need {wanted} bytes, and it holds "
                             f"{len(data)}")
        try:
            image = kind.from_bytes(data)
            pixels, affine = np.asanyarray(image.dataobj), np.array(image.affine, np.float64)
        except Exception as error:
            raise _damaged(path, "it", error) from None
    pixels = native(pixels)
    axes = len(shape)
    while axes > 4 and shape[axes - 1] == 1:
        axes -= 1
    if not 2 <= axes <= 4:
        raise ValueError(f"{path}: it has {len(shape)} dimensions, {list(shape)}; an image has 2 to 4")
    if axes == 4 and shape[3] == 1:
        axes = 3
    pixels = pixels.reshape(shape[:axes], order="F") if axes < len(shape) else pixels
    try:
        return Image(np.ascontiguousarray(pixels.T), affine=affine @ REVERSED)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write_nifti(path: str | os.PathLike, image: Image | Any) -> None:
    """Write an Image, or an array, to .nii or .nii.gz, whole or not at all; axes as `read_nifti` has them.

    Raises:
        ImportError: nibabel is not installed.
        ValueError: another ending, or not an image.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     jr.io.write_nifti(folder + "/a.nii.gz", jr.io.Image(jnp.ones((5, 4)), spacing=(2, 1)))
        ...     jr.io.read_nifti(folder + "/a.nii.gz").spacing
        (2.0, 1.0)
    """
    path = os.fspath(path)
    if not path.endswith((".nii", ".nii.gz")):
        raise ValueError(f"cannot write {path}: the name must end in .nii or .nii.gz")
    needs("nibabel")
    import nibabel

    image = as_image(image)
    pixels = np.asarray(image.pixels)
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8)
    if pixels.dtype == np.float16:
        pixels = pixels.astype(np.float32)
    kind = nibabel.Nifti1Image if max(pixels.shape) < 2**15 else nibabel.Nifti2Image
    made = kind(pixels.T, image.affine @ REVERSED, dtype=pixels.dtype)
    made.header.set_xyzt_units("mm")
    data = made.to_bytes()
    with atomic_write(path) as file:
        file.write(gzip.compress(data, mtime=0) if path.endswith(".gz") else data)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without nibabel's remarks on headers, which say nothing of the file's name."""
    logger = logging.getLogger("nibabel.global")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


def start_of(path: str, size: int, strict: bool = False) -> bytes:
    """At most the first `size` bytes of a file, of a compressed one inflated; no more memory than that.

    Strict: damage of the compressed file raises, else it ends what is read.
    """
    with open(path, "rb") as file:
        if file.read(2) != GZIP:
            file.seek(0)
            return file.read(min(size, os.path.getsize(path)))
        file.seek(0)
        inflated, parts = gzip.GzipFile(fileobj=file), io.BytesIO()
        try:
            while parts.tell() < size and (part := inflated.read(min(2**20, size - parts.tell()))):
                parts.write(part)
            if strict:
                inflated.read(1)  # where this is the end, the checksum is compared
        except (OSError, EOFError, zlib.error) as error:
            if strict:
                raise _damaged(path, "it", error) from None
        return parts.getvalue()


def _damaged(path: str, what: str, error: Exception) -> ValueError:
    return ValueError(f"{path}: {what} is damaged ({' '.join(str(error).split())[:200] or type(error).__name__})")
