"""DICOM images: one file, or the folder of a series."""

from __future__ import annotations

import io
import os
import warnings
from typing import Any

import numpy as np

from .hdf5 import LARGEST, check_file, needs
from .image import Image

MOST_FILES = 10_000
SLACK = 2**26  # bytes of everything in a file that is not pixels
# Uncompressed and run-length. Other compressions run decoders in C on whatever the file holds; a deflated file inflates
# to any size at all.
PLAIN = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"}
TO_RAS = np.diag([-1.0, -1.0, 1.0])


def is_dicom(start: bytes) -> bool:
    return start[128:132] == b"DICM"


def read_dicom(path: str | os.PathLike, series: str | None = None, largest: int = LARGEST) -> Image:
    """An image from a DICOM file, or a volume from the folder of a series.

    Pixels are [row, column], [slice, row, column] as stored; slices are sorted along the normal of the image plane. The
    affine is in RAS+ (DICOM's LPS with two signs changed). Integers stay integers, unless RescaleSlope or
    RescaleIntercept apply: then float64. MONOCHROME1 (white is small) is not inverted.

    Args:
        path: a file, or a folder of files of which those of one series are read.
        series: its SeriesInstanceUID, where a folder holds several.
        largest: bytes that the pixels may take.

    Raises:
        FileNotFoundError: no such file.
        ImportError: pydicom is not installed.
        ValueError: not DICOM, damaged, colour, compressed (other than by run length); several series, a slice missing
            or twice.
    """
    path = os.fspath(path)
    needs("pydicom")
    if os.path.isdir(path):
        return _read_folder(path, series, largest)
    check_file(path)
    dataset = _parse(path, largest)
    pixels, affine = _pixels(path, dataset, largest), _affine(path, dataset)
    if pixels.ndim == 2:
        pixels = pixels[None]
    return _image(path, pixels[0] if len(pixels) == 1 else pixels, affine)


def _parse(path: str, largest: int) -> Any:
    """The dataset of a file; nothing in it is larger than the file."""
    from pydicom import dcmread
    from pydicom.filereader import read_file_meta_info

    if os.path.getsize(path) > largest + SLACK:
        raise ValueError(f"{path} is {os.path.getsize(path) / 2**30:.1f} GiB; at most {largest / 2**30:.1f} GiB are "
                         "read")
    with open(path, "rb") as file:
        data = file.read()
    if not is_dicom(data):
        raise ValueError(f"{path} is not a DICOM file (no DICM at byte 128)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            syntax = str(read_file_meta_info(path).get("TransferSyntaxUID", "1.2.840.10008.1.2"))
            if syntax not in PLAIN:
                raise ValueError(f"it is compressed (transfer syntax {syntax}); decompress it first, for example by "
                                 "gdcmconv --raw")
            dataset = dcmread(io.BytesIO(data))
            dataset.get("PixelData")
            return dataset
        except Exception as error:
            raise ValueError(f"{path} cannot be read: {_brief(error)}") from None


def _pixels(path: str, dataset: Any, largest: int) -> np.ndarray:
    """[row, column] or [frame, row, column]."""
    def number(name: str, default: int | None, allowed: Any) -> int:
        v = _get(path, dataset, name, default)
        try:
            v = int(v)
        except (TypeError, ValueError, OverflowError):
            v = None
        if v is None or v not in allowed:
            raise ValueError(f"{path}: {name} is {_get(path, dataset, name, None)!r}; it must be "
                             + (f"from {allowed[0]} to {allowed[-1]}" if isinstance(allowed, range) else
                                " or ".join(map(str, allowed))))
        return v

    rows, columns = number("Rows", None, range(1, 65536)), number("Columns", None, range(1, 65536))
    frames, bits = number("NumberOfFrames", 1, range(1, 2**31)), number("BitsAllocated", None, (8, 16, 32))
    if number("SamplesPerPixel", 1, range(1, 65536)) != 1:
        raise ValueError(f"{path}: it is a colour image (SamplesPerPixel {dataset.SamplesPerPixel}); only grey ones "
                         "are read")
    colours = _get(path, dataset, "PhotometricInterpretation", "MONOCHROME2")
    if colours not in ("MONOCHROME1", "MONOCHROME2"):
        raise ValueError(f"{path}: its PhotometricInterpretation is {str(colours)[:40]!r}; only grey images are read, "
                         "MONOCHROME1 and MONOCHROME2")
    size = rows * columns * frames * max(8, bits // 8)
    if size > largest:
        raise ValueError(f"{path}: NumberOfFrames x Rows x Columns = {frames} x {rows} x {columns}, "
                         f"{size / 2**30:.1f} GiB; at most {largest / 2**30:.1f} GiB are read")
    if "PixelData" not in dataset:
        raise ValueError(f"{path}: it holds no PixelData")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pixels = dataset.pixel_array
        except Exception as error:
            raise ValueError(f"{path}: cannot read PixelData: {_brief(error)}") from None
    if pixels.shape != ((rows, columns) if frames == 1 else (frames, rows, columns)) or pixels.dtype.kind not in "iuf":
        raise ValueError(f"{path}: PixelData hold {pixels.dtype} of {pixels.shape}, wanted {frames} x {rows} x "
                         f"{columns}")
    # Each frame of an enhanced image may have a rescaling of its own.
    rescaling = [_functional(dataset, "PixelValueTransformationSequence", k) or dataset for k in range(frames)]
    slope, intercept = (np.array([_floats(path, v, name, 1, (default,))[0] for v in rescaling])
                        for name, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)))
    if not slope.all():
        raise ValueError(f"{path}: RescaleSlope 0 makes no numbers of pixels")
    if (slope == 1).all() and (intercept == 0).all():
        return pixels
    return pixels * slope[0] + intercept[0] if frames == 1 else \
        pixels * slope[:, None, None] + intercept[:, None, None]


def _affine(path: str, dataset: Any) -> np.ndarray:
    """From (slice, row, column, 1) to mm, RAS+, of a file by itself."""
    measures, plane, position = (_functional(dataset, n) or dataset for n in
                                 ("PixelMeasuresSequence", "PlaneOrientationSequence", "PlanePositionSequence"))
    nominal = _floats(path, dataset, "NominalScannedPixelSpacing", 2, (1, 1))
    spacing = _floats(path, measures, "PixelSpacing", 2, nominal)
    depth = _floats(path, measures, "SpacingBetweenSlices", 1, _floats(path, measures, "SliceThickness", 1, (1,)))[0]
    orientation = np.reshape(_floats(path, plane, "ImageOrientationPatient", 6, (1, 0, 0, 0, 1, 0)), (2, 3))
    origin = np.array(_floats(path, position, "ImagePositionPatient", 3, (0, 0, 0)))
    if min(spacing) <= 0:
        raise ValueError(f"{path}: PixelSpacing is {list(spacing)}, which is not positive")
    lengths = np.linalg.norm(orientation, axis=1)
    if not np.allclose(lengths, 1, atol=1e-2) or abs(orientation[0] @ orientation[1]) > 1e-2:
        raise ValueError(f"{path}: ImageOrientationPatient {orientation.ravel().tolist()} is no pair of directions at "
                         "right angles")
    along_row, along_column = orientation / lengths[:, None]
    affine = np.eye(4)
    # PixelSpacing is (between rows, between columns).
    affine[:3, 0] = np.cross(along_row, along_column) * (depth if depth > 0 else 1.0)
    step = _frame_step(path, dataset)
    if step is not None:
        affine[:3, 0] = step
    affine[:3, 1], affine[:3, 2], affine[:3, 3] = along_column * spacing[0], along_row * spacing[1], origin
    affine[:3] = TO_RAS @ affine[:3]
    return affine


def _frame_step(path: str, dataset: Any) -> np.ndarray | None:
    """From frame to frame of an enhanced image, in mm, where each has its position and they are not all one."""
    try:
        count = len(dataset.PerFrameFunctionalGroupsSequence)
    except Exception:
        return None
    planes = [_functional(dataset, "PlanePositionSequence", k) for k in range(count)]
    if count < 2 or any(v is None or _get(path, v, "ImagePositionPatient", None) is None for v in planes):
        return None
    steps = np.diff([_floats(path, v, "ImagePositionPatient", 3, (0, 0, 0)) for v in planes], axis=0)
    step = np.median(steps, axis=0)
    off = np.linalg.norm(steps - step, axis=1)
    if off.max() > 0.02 * np.linalg.norm(step) + 1e-3:
        k = int(np.argmax(off))
        raise ValueError(f"{path}: its frames are not evenly spaced: from {k} to {k + 1} it goes "
                         f"{steps[k].tolist()} mm, mostly {step.tolist()}; several volumes in one file are not read")
    return step if step.any() else None


def _functional(dataset: Any, name: str, frame: int = 0) -> Any:
    """The first item of a functional group of an enhanced image: of all frames, or of one."""
    for groups, k in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", frame)):
        try:
            return getattr(getattr(dataset, groups)[k], name)[0]
        except Exception:
            continue
    return None


def _floats(path: str, dataset: Any, name: str, length: int, default: Any) -> tuple[float, ...]:
    v = _get(path, dataset, name, None)
    if v is None or v == "" or (hasattr(v, "__len__") and not isinstance(v, str) and len(v) == 0):
        return tuple(map(float, default))
    try:
        found = tuple(float(x) for x in (v if length > 1 else [v]))
    except (TypeError, ValueError):
        found = ()
    if len(found) != length or not np.isfinite(found).all():
        raise ValueError(f"{path}: {name} is {str(v)[:60]}; it must be {length} finite numbers")
    return found


def _get(path: str, dataset: Any, name: str, default: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            v = dataset.get(name, default)
        except Exception as error:
            raise ValueError(f"{path}: cannot read {name}: {_brief(error)}") from None
    return default if v is None else v


def _read_folder(folder: str, series: str | None, largest: int) -> Image:
    paths = sorted(e.path for e in os.scandir(folder) if e.is_file())
    if len(paths) > MOST_FILES:
        raise ValueError(f"{folder} holds {len(paths)} files; at most {MOST_FILES} are read as a series")
    found: dict[str, list] = {}
    total = 0
    for path in paths:
        with open(path, "rb") as file:
            if not is_dicom(file.read(132)):
                continue
        total += os.path.getsize(path)
        if total > largest + SLACK:
            raise ValueError(f"{folder}: its files take more than {largest / 2**30:.1f} GiB, which is the most that is "
                             "read")
        dataset = _parse(path, largest)
        if "PixelData" in dataset:  # and not a DICOMDIR or a report
            found.setdefault(str(_get(path, dataset, "SeriesInstanceUID", "")), []).append((path, dataset))
    if not found:
        raise ValueError(f"{folder} is a folder without DICOM images")
    if series is None and len(found) > 1:
        raise ValueError(f"{folder} holds {len(found)} series; say which by series=: " + ", ".join(
            f"{uid} ({len(files)} images)" for uid, files in list(found.items())[:10]))
    if series is not None and series not in found:
        raise ValueError(f"{folder} holds no series {series}, only {', '.join(list(found)[:10])}")
    return _stack(folder, found[series] if series is not None else next(iter(found.values())), largest)


def _stack(folder: str, files: list, largest: int) -> Image:
    affines = [_affine(path, dataset) for path, dataset in files]
    first = affines[0]
    if len(files) == 1:
        return _image(files[0][0], _pixels(files[0][0], files[0][1], largest), first)
    normal = first[:3, 0] / np.linalg.norm(first[:3, 0])
    for (path, dataset), affine in zip(files, affines, strict=True):
        if _get(path, dataset, "ImagePositionPatient", None) is None:
            raise ValueError(f"{path}: it has no ImagePositionPatient, by which the slices are sorted")
        if not np.allclose(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0),
                           first[:3, :3] / np.linalg.norm(first[:3, :3], axis=0), atol=1e-3):
            raise ValueError(f"{path}: its orientation is another than that of {files[0][0]}")
    depth = [float(normal @ a[:3, 3]) for a in affines]
    order = np.argsort(depth)
    gaps = np.diff(np.array(depth)[order])
    step = float(np.median(gaps))
    if not np.allclose(gaps, step, rtol=0.02, atol=1e-3) or step <= 0:
        worst = int(np.argmax(abs(gaps - step)))
        raise ValueError(f"{folder}: between {files[order[worst]][0]} and {files[order[worst + 1]][0]} lie "
                         f"{gaps[worst]:g} mm, elsewhere {step:g}: a slice is missing, or there twice")
    volume = []
    for i in order:
        pixels = _pixels(files[i][0], files[i][1], largest)
        if pixels.ndim != 2 or (volume and pixels.shape != volume[0].shape):
            raise ValueError(f"{files[i][0]}: its pixels are {pixels.shape}, those before {volume[0].shape}" if volume
                             else f"{files[i][0]}: it is a volume of its own, in a folder of several")
        volume.append(pixels)
        if len(files) * 8 * pixels.size > largest:
            raise ValueError(f"{folder}: {len(files)} slices of {pixels.shape} take more than {largest / 2**30:.1f} "
                             "GiB")
    affine = affines[order[0]].copy()
    affine[:3, 0] = (affines[order[-1]][:3, 3] - affine[:3, 3]) / (len(files) - 1)
    return _image(folder, np.stack(volume), affine)


def _image(path: str, pixels: np.ndarray, affine: np.ndarray) -> Image:
    try:
        return Image(pixels, affine=affine)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
