"""Reading and writing MDF files (HDF5), version 2."""

from __future__ import annotations

import datetime
import math
import os
import uuid
from typing import Any

import numpy as np

from .atomic import atomic_write
from .hdf5 import LARGEST, Hdf5, needs, open_hdf5
from .mdf_data import MDF

VERSION = "2.1.0"

# Field of MDF -> path in the file, read where it is there. Arrays, then single numbers and texts.
_ARRAYS = {
    "dividers": "acquisition/drivefield/divider",
    "strength": "acquisition/drivefield/strength",
    "phase": "acquisition/drivefield/phase",
    "snr": "calibration/snr",
    "transfer_function": "acquisition/receiver/transferFunction",
    "field_of_view": "calibration/fieldOfView",
    "field_of_view_center": "calibration/fieldOfViewCenter",
    "delta_sample_size": "calibration/deltaSampleSize",
    "size": "calibration/size",
}
# Written as texts or numbers; what `MDF.info` does not say gets these.
_INFO = {
    "uuid": None, "time": None, "study/name": "n.a.", "study/number": 0, "study/uuid": None,
    "study/description": "n.a.", "experiment/name": "n.a.", "experiment/number": 0, "experiment/uuid": None,
    "experiment/description": "n.a.", "experiment/subject": "n.a.", "experiment/isSimulation": 0,
    "scanner/facility": "n.a.", "scanner/operator": "n.a.", "scanner/manufacturer": "n.a.", "scanner/name": "n.a.",
    "scanner/topology": "FFP", "acquisition/startTime": None, "acquisition/numAverages": 1,
}


def is_mdf(file: Hdf5) -> bool:
    """Whether an open HDF5 file is laid out as MDF."""
    return "version" in file and "uuid" in file and (file.is_group("measurement") or file.is_group("acquisition"))


def read_mdf(path: str | os.PathLike, largest: int = LARGEST) -> MDF:
    """A measurement or a calibration scan from an MDF file of version 2.

    Time-domain data come in their unit (/acquisition/receiver/dataConversionFactor applied), frames in the order of the
    file and on the first axis, indices counted from 0.

    Args:
        path: the file.
        largest: bytes that one array may take; a header that promises more is refused before memory is taken.

    Raises:
        FileNotFoundError: no such file.
        ImportError: h5py is not installed.
        ValueError: not MDF 2, damaged, a field of wrong type or shape; compressed by a sparsifying transform; a grid
            that is not ordered x, y, z.

    Example:
        >>> import numpy as np, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     jr.io.write_mdf(folder + "/scan.mdf", jr.io.MDF(np.ones((5, 1, 2, 64)), bandwidth=1.25e6))
        ...     jr.io.read_mdf(folder + "/scan.mdf").spectrum().shape
        (5, 1, 2, 33)
    """
    path = os.fspath(path)
    with open_hdf5(path, largest=largest) as file:
        reader = _Reader(path, file)
        reader.check_kind()
        fields = {"data": reader.data(), "bandwidth": reader.number("acquisition/receiver/bandwidth"),
                  "samples": int(reader.number("acquisition/receiver/numSamplingPoints"))}
        fields |= {name: reader.array(key) for name, key in _ARRAYS.items() if key in file}
        fields |= reader.measurement()
        if "acquisition/drivefield/baseFrequency" in file:
            fields["base_frequency"] = reader.number("acquisition/drivefield/baseFrequency")
        if "acquisition/gradient" in file:
            fields["gradient"] = reader.gradient()
        if fields.get("transfer_function") is not None:
            fields["transfer_function"] = reader.paired("acquisition/receiver/transferFunction",
                                                        fields["transfer_function"], 2)
        if "calibration/method" in file:
            fields["method"] = reader.text("calibration/method")
        if "acquisition/receiver/unit" in file:
            fields["unit"] = reader.text("acquisition/receiver/unit")
        fields["info"] = {key: reader.scalar(key) for key in _INFO if key in file}
    try:
        return MDF(**fields)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None


class _Reader:
    """The fields of one open file, each with its checks; errors name file and field."""

    def __init__(self, path: str, file: Hdf5):
        self.path, self.file = path, file

    def wrong(self, key: str, what: str) -> ValueError:
        return ValueError(f"{self.path}: cannot read {key}: {what}")

    def scalar(self, key: str) -> Any:
        v = self.file.read(key)
        if isinstance(v, np.ndarray) and v.size == 1:
            return v.item()
        while isinstance(v, list) and len(v) == 1:
            v = v[0]
        if isinstance(v, str):
            return v
        raise self.wrong(key, f"it must be one text or number, got {_brief(v)}")

    def text(self, key: str) -> str:
        v = self.scalar(key)
        if not isinstance(v, str):
            raise self.wrong(key, f"it must be a text, got {v!r}")
        return v

    def number(self, key: str) -> float:
        v = self.scalar(key)
        if isinstance(v, str | complex) or not math.isfinite(v):
            raise self.wrong(key, f"it must be a finite number, got {v!r}")
        return v

    def flag(self, key: str, default: bool | None = None) -> bool:
        if default is not None and key not in self.file:
            return default
        v = self.number(key)
        if v not in (0, 1):
            raise self.wrong(key, f"it must be 0 or 1, got {v}")
        return bool(v)

    def array(self, key: str) -> np.ndarray:
        v = self.file.read(key)
        if not isinstance(v, np.ndarray) or not np.issubdtype(v.dtype, np.number):
            raise self.wrong(key, f"it must be an array of numbers, got {_brief(v)}")
        return v

    def indices(self, key: str) -> np.ndarray:
        v = self.array(key)
        if not np.issubdtype(v.dtype, np.integer) or v.ndim != 1:
            raise self.wrong(key, f"it must be a list of integers, got {_brief(v)}")
        return v.astype(np.int64) - 1  # the format counts from 1

    def check_kind(self) -> None:
        if not is_mdf(self.file):
            raise ValueError(f"{self.path} is not an MDF file: it lacks version, uuid or the group acquisition")
        version = self.text("version")
        if version.split(".")[0] != "2":
            raise self.wrong("version", f"MDF {version} is not supported, only version 2; convert it with MPIFiles.jl")
        if self.flag("measurement/isSparsityTransformed", False):
            raise self.wrong("measurement/isSparsityTransformed", "matrices compressed by a sparsifying transform are "
                             "not supported; store it uncompressed")
        if "calibration/order" in self.file and (order := self.text("calibration/order")) != "xyz":
            raise self.wrong("calibration/order", f"only grids ordered xyz are supported, got {order!r}")
        if self.flag("calibration/isMeanderingGrid", False) and not self.flag("measurement/isFramePermutation", False):
            raise self.wrong("calibration/isMeanderingGrid", "frames in the order of a meandering robot are not "
                             "supported; permute them to the order of the grid")

    def data(self) -> np.ndarray:
        key = "measurement/data"
        spectra = self.flag("measurement/isFourierTransformed")
        data = self.array(key)
        if spectra:
            data = self.paired(key, data, 4)
        elif np.iscomplexobj(data):
            raise self.wrong(key, "it is complex, but isFourierTransformed says that it is in the time domain")
        if data.ndim != 4:
            raise self.wrong(key, f"it must have 4 axes (frames, periods, channels, samples), got shape {data.shape}")
        fast = "measurement/isFastFrameAxis"
        if self.flag(fast if fast in self.file else "measurement/isTransposed", False):
            data = np.moveaxis(data, -1, 0)
        return data if spectra else self.converted(data)

    def converted(self, data: np.ndarray) -> np.ndarray:
        key = "acquisition/receiver/dataConversionFactor"
        if key not in self.file:
            return data
        factor = self.array(key)
        if factor.shape != (data.shape[2], 2) or np.iscomplexobj(factor):
            raise self.wrong(key, f"it must be real of shape ({data.shape[2]}, 2), got {_brief(factor)}")
        dtype = np.float64 if data.dtype.itemsize > 4 else np.float32
        scale, offset = factor.astype(dtype).T[:, :, None]
        return data if np.all(scale == 1) and np.all(offset == 0) else scale * data + offset

    def paired(self, key: str, data: np.ndarray, axes: int) -> np.ndarray:
        """Complex numbers, also where an old file keeps real and imaginary part on a last axis of 2."""
        if np.iscomplexobj(data):
            return data
        if data.ndim != axes + 1 or data.shape[-1] != 2 or data.dtype.kind != "f":
            raise self.wrong(key, f"it must be complex, got {_brief(data)}")
        return data[..., 0] + 1j * data[..., 1]

    def measurement(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "background_corrected": self.flag("measurement/isBackgroundCorrected", False),
            "transfer_function_corrected": self.flag("measurement/isTransferFunctionCorrected", False),
        }
        if "measurement/isBackgroundFrame" in self.file:
            found["background"] = self.array("measurement/isBackgroundFrame").reshape(-1)
        if self.flag("measurement/isFrequencySelection", False):
            found["frequency_selection"] = self.indices("measurement/frequencySelection")
        if self.flag("measurement/isFramePermutation", False) and "measurement/framePermutation" in self.file:
            found["frame_permutation"] = self.indices("measurement/framePermutation")
        return found

    def gradient(self) -> np.ndarray:
        """(J, Y, 3, 3), also from the forms of older files: (3, 3), (J, 3, 3), and diagonals (3,), (J, 3)."""
        key = "acquisition/gradient"
        g = self.array(key)
        if g.ndim in (1, 2) and g.shape[-1:] == (3,) and g.shape != (3, 3):
            g = g.reshape(-1, 3)[:, :, None] * np.eye(3)
        if not 2 <= g.ndim <= 4 or g.shape[-2:] != (3, 3):
            raise self.wrong(key, f"it must have shape (periods, partitions, 3, 3), got {g.shape}")
        return g[:, None] if g.ndim == 3 else g.reshape((1,) * (4 - g.ndim) + g.shape)


def write_mdf(path: str | os.PathLike, scan: MDF) -> None:
    """Write an MDF file of version 2.1.0, whole or not at all.

    Calibration scans are stored with frames on the last axis. What `scan.info` does not say is written as "n.a."; uuids
    and times are made anew.

    Raises:
        ImportError: h5py is not installed.
        FileNotFoundError: the folder does not exist.
        ValueError: an entry of info that is neither text nor number, or not of MDF.
    """
    needs("h5py")
    import h5py

    values = _values(scan)
    with atomic_write(path) as out, h5py.File(out.name, "w") as file:
        for key, v in values.items():
            file.create_dataset(key, data=v)


def _values(scan: MDF) -> dict[str, Any]:
    N, J, C = scan.data.shape[:3]
    calibration = scan.size is not None
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    info = dict(scan.info)
    values: dict[str, Any] = {"version": VERSION}
    for key, default in _INFO.items():
        made = default if default is not None else str(uuid.uuid4()) if key.endswith("uuid") else now
        v = info.pop(key, made)
        if not isinstance(v, str | int | float):
            raise ValueError(f"cannot write {key}: it is neither text nor number, got {v!r}")
        values[key] = np.int8(v) if key.endswith("isSimulation") else v
    if info:
        raise ValueError(f"cannot write {', '.join(info)}: info takes {', '.join(_INFO)}")
    values |= {
        "acquisition/numFrames": N, "acquisition/numPeriodsPerFrame": J,
        "acquisition/receiver/bandwidth": scan.bandwidth, "acquisition/receiver/numChannels": C,
        "acquisition/receiver/numSamplingPoints": scan.samples, "acquisition/receiver/unit": scan.unit,
        "measurement/data": np.moveaxis(scan.data, 0, -1) if calibration else scan.data,
        "measurement/isFastFrameAxis": np.int8(calibration),
        "measurement/isFourierTransformed": np.int8(np.iscomplexobj(scan.data)),
        "measurement/isBackgroundCorrected": np.int8(scan.background_corrected),
        "measurement/isTransferFunctionCorrected": np.int8(scan.transfer_function_corrected),
        "measurement/isSpectralLeakageCorrected": np.int8(0), "measurement/isSparsityTransformed": np.int8(0),
        "measurement/isFrequencySelection": np.int8(scan.frequency_selection is not None),
        "measurement/isFramePermutation": np.int8(scan.frame_permutation is not None),
        "measurement/isBackgroundFrame": scan.background.astype(np.int8),
    }
    if scan.frequency_selection is not None:
        values["measurement/frequencySelection"] = scan.frequency_selection.astype(np.int64) + 1
    if scan.frame_permutation is not None:
        values["measurement/framePermutation"] = scan.frame_permutation.astype(np.int64) + 1
    for name, key in _ARRAYS.items():
        if getattr(scan, name) is not None:
            values[key] = np.asarray(getattr(scan, name))
    if scan.gradient is not None:
        values["acquisition/gradient"] = np.asarray(scan.gradient, float)
    if scan.base_frequency is not None:
        values["acquisition/drivefield/baseFrequency"] = float(scan.base_frequency)
    if scan.dividers is not None:
        dividers = np.asarray(scan.dividers)
        values["acquisition/drivefield/numChannels"] = dividers.shape[0]
        values["acquisition/drivefield/waveform"] = np.full(dividers.shape, b"sine")
        if scan.base_frequency is not None:
            values["acquisition/drivefield/cycle"] = math.lcm(*map(int, dividers.ravel())) / float(scan.base_frequency)
    if calibration:
        values["calibration/method"] = scan.method or "n.a."
        values["calibration/order"] = "xyz"
    return values


def _brief(v: Any) -> str:
    return f"{v.dtype} of shape {v.shape}" if isinstance(v, np.ndarray) else f"text {str(v)[:60]!r}"
