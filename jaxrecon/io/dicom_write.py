"""Images written as DICOM secondary capture."""

from __future__ import annotations

import io
import os
import warnings
from typing import Any

import numpy as np

from .atomic import atomic_write
from .dicom import TO_RAS
from .hdf5 import needs
from .image import Image, as_image


def write_dicom(path: str | os.PathLike, image: Image | Any) -> None:
    """Write a real image as DICOM secondary capture (a volume as one multi-frame file), whole or not at all.

    Integers of 16 bits or fewer are kept exactly; others are rounded to 65536 steps between their extremes, with
    RescaleSlope and RescaleIntercept. No patient is named; identifiers are new.

    Raises:
        ImportError: pydicom is not installed.
        ValueError: complex or not finite pixels, more than three axes or 65535 rows.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     jr.io.write_dicom(folder + "/a.dcm", jr.io.Image(jnp.arange(6).reshape(2, 3), spacing=(2, 1)))
        ...     jr.io.read_dicom(folder + "/a.dcm").pixels.tolist()
        [[0, 1, 2], [3, 4, 5]]
    """
    needs("pydicom")
    from pydicom import dcmwrite
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import (
        ExplicitVRLittleEndian,
        MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        SecondaryCaptureImageStorage,
        generate_uid,
    )

    image = as_image(image)
    stored, slope, intercept = _stored(np.asarray(image.pixels))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = (SecondaryCaptureImageStorage if stored.ndim == 2
                                    else MultiFrameGrayscaleWordSecondaryCaptureImageStorage)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.FrameOfReferenceUID = generate_uid()
    data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = "", "", "", ""
    data.StudyDate = data.StudyTime = data.AccessionNumber = data.ReferringPhysicianName = data.StudyID = ""
    data.SeriesNumber, data.InstanceNumber, data.Modality, data.ConversionType = 1, 1, "OT", "WSD"
    data.ImageType = ["DERIVED", "SECONDARY"]
    data.Rows, data.Columns = stored.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelRepresentation = int(stored.dtype.kind == "i")
    data.RescaleSlope, data.RescaleIntercept, data.RescaleType = _decimal(slope), _decimal(intercept), "US"
    to_lps = TO_RAS @ image.affine[:3]
    spacing = np.linalg.norm(to_lps[:, :3], axis=0)
    directions = to_lps[:, :3] / spacing
    if abs(directions[:, 1] @ directions[:, 2]) > 1e-4:
        raise ValueError("rows and columns of the image are not at right angles, which DICOM cannot say")
    data.PixelSpacing = [_decimal(s) for s in spacing[1:]]
    data.SpacingBetweenSlices = data.SliceThickness = _decimal(spacing[0])
    data.ImageOrientationPatient = [_decimal(v) for v in (*directions[:, 2], *directions[:, 1])]
    data.ImagePositionPatient = [_decimal(v) for v in to_lps[:, 3]]
    if stored.ndim == 3:
        data.NumberOfFrames = len(stored)
        normal = np.cross(directions[:, 2], directions[:, 1])
        if normal @ directions[:, 0] < 1 - 1e-4:
            raise ValueError("slices must follow the normal of (columns, rows), right-handed in LPS: reverse the "
                             "slices, and the affine with them")
    data.PixelData = stored.astype("<" + stored.dtype.str[1:]).tobytes()
    memory = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcmwrite(memory, data, enforce_file_format=True)
    with atomic_write(path) as file:
        file.write(memory.getbuffer())


def _stored(pixels: np.ndarray) -> tuple[np.ndarray, float, float]:
    """16-bit integers, slope and intercept."""
    if pixels.dtype.kind == "c":
        raise ValueError("DICOM holds real images, and this is complex: take abs, real or angle first")
    if pixels.ndim > 3 or max(pixels.shape) > 65535:
        raise ValueError(f"DICOM holds up to 65535 frames, rows and columns, got {pixels.shape}")
    if not np.isfinite(pixels).all():
        raise ValueError("pixels hold values that are not finite (NaN or infinite)")
    low, high = pixels.min(), pixels.max()
    if pixels.dtype.kind in "bui":
        for kind in (np.uint16, np.int16):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return pixels.astype(kind), 1.0, 0.0
    low, high = float(low), float(high)
    slope = (high / 65535 - low / 65535) or 1.0
    # What is written has 16 characters: pixels are rounded to that slope.
    slope, low = float(_decimal(slope)) or 1.0, float(_decimal(low))
    return np.clip(np.rint((pixels.astype(np.float64) - low) / slope), 0, 65535).astype(np.uint16), slope, low


def _decimal(v: float) -> str:
    """At most 16 characters, as a decimal string of DICOM has."""
    for digits in range(16, 0, -1):
        text = f"{v:.{digits}g}"
        if len(text) <= 16:
            return text
    raise ValueError(f"cannot write {v}")
