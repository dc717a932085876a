"""Any file, by what it holds; the ending of its name counts where content does not tell."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .bart import read_bart, write_bart
from .dicom import is_dicom, read_dicom
from .dicom_write import write_dicom
from .fastmri import is_fastmri, read_fastmri
from .hdf5 import LARGEST, check_file, is_hdf5, open_hdf5
from .image import Image, as_image
from .ismrmrd import is_ismrmrd, read_ismrmrd
from .matlab import read_mat
from .mdf import is_mdf, read_mdf
from .nifti import is_nifti, read_nifti, start_of, write_nifti
from .npz import load_npz, write_npz
from .scan import NonCartesianScan, Scan

FORMATS = "ISMRMRD, fastMRI, MDF, MATLAB (.mat), BART (.cfl), NIfTI (.nii, .nii.gz), DICOM or .npz"


def load(path: str | os.PathLike, *, slice: int | None = None, largest: int = LARGEST, **options: Any) -> Any:
    """What a file holds, as a value.

        Scan               one Cartesian slice: ISMRMRD, fastMRI, BART, MATLAB, .npz
        NonCartesianScan   one slice or volume along a trajectory: ISMRMRD, BART
        Image              pixels and their place: NIfTI, DICOM (a file, or the folder of a series), .npz with `image`
        MDF's values       magnetic particle imaging, see `read_mdf`

    Of several slices one is read, by default the middle one; `.slice` and `.slices` say which of how many.

    Args:
        path: a file, or a folder of DICOM files.
        slice: which slice of a scan.
        largest: bytes that one array may take; headers that promise more are refused before memory is taken.
        options: those of the reader: read_ismrmrd, read_fastmri, read_bart, read_mat, read_npz, read_nifti, read_dicom,
            read_mdf.

    Raises:
        FileNotFoundError: no such file.
        ImportError: the reader's library is not installed.
        TypeError: an option that the format's reader does not have.
        ValueError: an unknown format, or a damaged file; the message names file and field.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     jr.io.save(folder + "/scan.cfl", jr.io.Scan(jnp.ones((8, 16, 12), complex)))
        ...     jr.io.load(folder + "/scan.cfl").kspace.shape
        (8, 16, 12)
    """
    path = os.fspath(path)
    reader = reader_of(path)
    options["largest"] = largest
    if slice is not None:
        options["slice"] = slice
    known = inspect.signature(reader).parameters
    for name in options:
        if name not in known:
            if name == "largest":
                continue
            raise TypeError(f"{path} is read by {reader.__name__}, which has no option {name}; it takes "
                            + ", ".join(k for k in known if k != "path"))
    return reader(path, **{k: v for k, v in options.items() if k in known})


def save(path: str | os.PathLike, value: Any) -> None:
    """Write a scan, an image or an array in the format that the name says, whole or not at all.

        .npz             Scan, NonCartesianScan, Image, array
        .cfl             Scan, or an array of (coils, ny, nx) or (ny, nx)
        .nii, .nii.gz    Image, array
        .dcm             Image, array: real, as secondary capture

    Raises:
        ValueError: another ending, or a value that the format does not hold.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     jr.io.save(folder + "/a.nii.gz", jnp.ones((4, 3)))
        ...     jr.io.load(folder + "/a.nii.gz").pixels.shape
        (4, 3)
    """
    path = os.fspath(path)
    scan = isinstance(value, Scan | NonCartesianScan)
    if not scan:
        value = as_image(value) if not (path.endswith(".cfl") and not isinstance(value, Image)) else np.asarray(value)
    if path.endswith(".npz"):
        return write_npz(path, _arrays(value))
    if path.endswith(".cfl") and not isinstance(value, NonCartesianScan):
        value = value.pixels if isinstance(value, Image) else value
        return write_bart(path, value)
    if path.endswith((".nii", ".nii.gz")) and not scan:
        return write_nifti(path, value)
    if path.endswith(".dcm") and not scan:
        return write_dicom(path, value)
    raise ValueError(f"cannot write {type(value).__name__} to {path}: scans go to .npz or .cfl (Cartesian only), "
                     "images to .npz, .cfl, .nii, .nii.gz or .dcm")


def reader_of(path: str) -> Callable[..., Any]:
    """The reader for a file, found from its first bytes, then from the ending of its name."""
    if os.path.isdir(path):
        return read_dicom
    ending = os.path.splitext(path)[1].lower()
    if not os.path.exists(path) and os.path.exists(f"{path}.cfl"):
        return read_bart
    check_file(path)
    if is_hdf5(path):
        return _hdf5_reader(path, ending)
    start = start_of(path, 540)
    if is_dicom(start):
        return read_dicom
    if is_nifti(start):
        return read_nifti
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return load_npz
    if start.startswith(b"MATLAB") or start[126:128] in (b"IM", b"MI"):
        return read_mat
    if start.startswith(b"# Dimensions"):
        return read_bart
    # No format of these has a mark of its own; where the mark is damaged, the reader says what is wrong.
    by_name = {".cfl": read_bart, ".hdr": read_bart, ".mat": read_mat, ".npz": load_npz, ".nii": read_nifti,
               ".gz": read_nifti, ".dcm": read_dicom}
    if ending in by_name:
        return by_name[ending]
    raise ValueError(f"{path} is of no format known here, or damaged; read are {FORMATS}")


def _hdf5_reader(path: str, ending: str) -> Callable[..., Any]:
    with open(path, "rb") as file:
        matlab = ending == ".mat" or file.read(10) == b"MATLAB 7.3"
    if matlab:
        return read_mat
    with open_hdf5(path) as file:
        if is_ismrmrd(file):
            return read_ismrmrd
        if is_mdf(file):
            return read_mdf
        if is_fastmri(file):
            return read_fastmri
        raise ValueError(f"{path} is an HDF5 file, but neither ISMRMRD nor fastMRI nor MDF; it holds "
                         + (", ".join(sorted(file.keys)[:20]) or "nothing"))


def _arrays(value: Any) -> dict[str, Any]:
    if isinstance(value, Image):
        return {"image": value.pixels, "affine": value.affine}
    if isinstance(value, NonCartesianScan):
        named = {"samples": value.samples, "nodes": value.nodes, "shape": np.array(value.shape),
                 "density": value.density}
    else:
        named = {"kspace": value.kspace, "mask": value.mask, "maps": value.maps}
    named |= {"noise": value.noise, "crop": None if value.crop is None else np.array(value.crop)}
    return {name: v for name, v in named.items() if v is not None}
