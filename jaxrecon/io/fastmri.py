"""fastMRI's HDF5: `kspace` of all slices of a volume, `mask` where lines were left out, an ISMRMRD header."""

from __future__ import annotations

import os

import numpy as np

from .bart import pick
from .hdf5 import LARGEST, Hdf5, open_hdf5
from .header import Header, parse_header
from .scan import Scan, middle


def is_fastmri(file: Hdf5) -> bool:
    return "kspace" in file


def read_fastmri(path: str | os.PathLike, slice: int | None = None, largest: int = LARGEST) -> Scan:
    """One slice of a fastMRI file.

    k-space there is (slices, coils, ny, nx), or (slices, ny, nx) for one coil; rows are samples of the read-out,
    columns phase encoding; centred, and images by the unitary transform. Where the header tells of read-out
    oversampling and every row was measured, it is removed here (exactly); `Scan.crop` says what phase oversampling is
    left.

    Args:
        path: the file.
        slice: which. Default: the middle one.
        largest: bytes that one slice may take.

    Raises:
        FileNotFoundError: no such file.
        ImportError: h5py is not installed.
        ValueError: not such a file, damaged, no such slice, values that are not finite.

    Source: Zbontar et al. 2018, fastMRI: an open dataset and benchmarks for accelerated MRI, arXiv:1811.08839.
    """
    path = os.fspath(path)
    with open_hdf5(path, largest) as file:
        if not is_fastmri(file):
            raise ValueError(f"{path} holds no dataset kspace, only {', '.join(sorted(file.keys)[:20]) or 'nothing'}")
        shape = file.shape("kspace")
        if len(shape) not in (3, 4):
            raise ValueError(f"{path}: kspace must be (slices, coils, ny, nx) or (slices, ny, nx), got {shape}")
        which = pick(path, slice, shape[0])
        kspace = file.read("kspace", (which, which + 1))[0]
        mask = file.read("mask") if "mask" in file else None
        header = file.read("ismrmrd_header") if "ismrmrd_header" in file else None
    if kspace.dtype.kind != "c":
        raise ValueError(f"{path}: kspace must be complex, got {kspace.dtype}")
    kspace = kspace[None] if kspace.ndim == 2 else kspace
    measured = (kspace != 0).any(axis=0)
    if mask is not None:
        if mask.shape != (shape[-1],):
            raise ValueError(f"{path}: mask has shape {mask.shape}, but kspace has {shape[-1]} columns")
        # The mask calls padding measured as well.
        measured = measured & (mask != 0)
    try:
        crop = None
        if header is not None:
            kspace, measured, crop = _without_oversampling(kspace, measured, parse_header(header))
        return Scan(kspace, measured, crop=crop, slice=which, slices=shape[0])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _without_oversampling(kspace: np.ndarray, measured: np.ndarray, header: Header):
    # x of the header is the read-out: rows here.
    nx, ny = (min(n, size) for n, size in zip(header.recon[:2], kspace.shape[1:], strict=True))
    if (measured == measured[:1]).all() and nx < kspace.shape[1]:
        kspace, measured = crop_readout(kspace, 1, nx), measured[:1]
    return kspace, measured, (nx, ny)


def crop_readout(kspace: np.ndarray, axis: int, size: int) -> np.ndarray:
    """k-space of the middle `size` pixels along an axis that is fully sampled."""
    if size == kspace.shape[axis]:
        return kspace
    last = np.moveaxis(kspace, axis, -1)
    image = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(last, -1), norm="ortho"), -1)
    image = middle(image, (size,))
    last = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(image, -1), norm="ortho"), -1)
    return np.ascontiguousarray(np.moveaxis(last, -1, axis)).astype(kspace.dtype)
