"""ISMRMRD raw data (HDF5): acquisitions, sorted into the k-space of one slice."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .bart import pick
from .fastmri import crop_readout
from .hdf5 import LARGEST, Acquisitions, Hdf5, open_hdf5
from .header import Header, parse_header
from .scan import NonCartesianScan, Scan

NOISE, REVERSE = 19, 22
# Calibration only, navigators, phase correction, feedback, dummies, surface coils, phase stabilisation.
NOT_IMAGING = (NOISE, 20, 23, 24, 26, 27, 28, 29, 30, 31)
COUNTERS = ("contrast", "phase", "repetition", "set")


def is_ismrmrd(file: Hdf5) -> bool:
    return _group(file) is not None


def read_ismrmrd(path: str | os.PathLike, slice: int | None = None, contrast: int = 0, phase: int = 0,
                 repetition: int = 0, set: int = 0, unit: str = "auto",
                 largest: int = LARGEST) -> Scan | NonCartesianScan:
    """One slice of an ISMRMRD file.

    Cartesian: rows are phase encoding steps (step - centre + ny // 2), columns the read-out (sample - centre + nx //
    2); what partial Fourier and asymmetric echoes leave out is zero, and unmeasured. Averages are averaged. Read-out
    oversampling is removed (exactly, where the read-out is fully sampled). A 3-D scan is transformed along its
    read-out, and a slice is one position on it: rows are steps 2 (z), columns steps 1 (y).

    With trajectories: all read-outs of the slice, (coils, read-outs, samples), and their nodes.

    Noise scans give `noise`, the covariance scaled to the dwell time and the averages of the data. Calibration-only
    lines, navigators and the like are left out.

    Args:
        path: the file.
        slice: which. Default: the middle one.
        contrast, phase, repetition, set: counters of the read-outs to take.
        unit: of the trajectory: "pixel" (cycles per pixel), "fov" (cycles per field of view), or "auto": "pixel" where
            nothing exceeds 1/2.
        largest: bytes that the samples of the file, and the k-space of a slice, may take.

    Raises:
        FileNotFoundError: no such file.
        ImportError: h5py is not installed.
        ValueError: not such a file, damaged, no such slice, counters or lengths that contradict the header.

    Source: Inati et al. 2017, ISMRM raw data format, MRM 77.
    """
    path = os.fspath(path)
    with open_hdf5(path, largest) as file:
        group = _group(file)
        if group is None:
            raise ValueError(f"{path} holds no ISMRMRD acquisitions (a dataset `data` beside `xml`)")
        xml = file.read(f"{group}/xml")
        table: Acquisitions = file.read(f"{group}/data")
    try:
        while isinstance(xml, list) and xml:
            xml = xml[0]
        if not isinstance(xml, str):
            raise ValueError("its header (xml) is not text")
        acquisitions = _Table(table, parse_header(xml))
        del table
        return acquisitions.scan(slice, dict(zip(COUNTERS, (contrast, phase, repetition, set), strict=True)), unit,
                                 largest)
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).removeprefix(': ')}") from None


def _group(file: Hdf5) -> str | None:
    found = [key[:-4] for key in file.keys if key.endswith("/xml") and f"{key[:-4]}/data" in file]
    return "dataset" if "dataset" in found else found[0] if found else None


class _Table:
    """The acquisitions of a file, checked against one another."""

    def __init__(self, table: Acquisitions, header: Header):
        if not isinstance(table, Acquisitions):
            raise ValueError("its data are not ISMRMRD acquisitions")
        self.header, self.head = header, table.head
        head = table.head
        try:
            self.flags, self.index = head["flags"], head["idx"]
            self.samples, self.coils, self.dims = (head[n].astype(np.int64) for n in
                                                   ("number_of_samples", "active_channels", "trajectory_dimensions"))
            steps = [self.index[n] for n in ("kspace_encode_step_1", "kspace_encode_step_2", "slice", *COUNTERS)]
            for n in ("encoding_space_ref", "discard_pre", "discard_post", "center_sample", "sample_time_us"):
                steps.append(head[n])
        except (ValueError, IndexError) as error:
            raise ValueError(f"its acquisition headers lack a field ({error})") from None
        if any(v.dtype.kind not in "iuf" or v.ndim != 1 for v in (*steps, self.flags)):
            raise ValueError("its acquisition headers are not numbers")
        for what, found, promised in (("data", table.data_lengths, 2 * self.coils * self.samples),
                                      ("traj", table.traj_lengths, self.dims * self.samples)):
            wrong = np.flatnonzero(found != promised)
            if len(wrong):
                i = int(wrong[0])
                raise ValueError(f"acquisition {i}: {what} holds {found[i]} values, but its header promises "
                                 f"{promised[i]} ({self.coils[i]} channels, {self.samples[i]} samples, trajectory of "
                                 f"{self.dims[i]} dimensions)")
        # On a grid, whatever trajectory comes with it; along any other one the samples are where it says.
        self.gridded = header.trajectory in ("cartesian", "epi")
        self.reverse = self.flagged(REVERSE) & (self.gridded | (self.dims == 0))
        self.data, self.traj = table.data.view(np.complex64), table.traj
        self.data_at = np.concatenate([[0], np.cumsum(table.data_lengths // 2)])
        self.traj_at = np.concatenate([[0], np.cumsum(table.traj_lengths)])

    def flagged(self, *flags: int) -> np.ndarray:
        mask = np.uint64(sum(1 << (f - 1) for f in flags))
        return (self.flags.astype(np.uint64) & mask) != 0

    def line(self, i: int) -> np.ndarray:
        """(coils, samples) in the order of increasing k."""
        data = self.data[self.data_at[i]:self.data_at[i + 1]].reshape(self.coils[i], self.samples[i])
        return data[:, ::-1] if self.reverse[i] else data

    def scan(self, slice: int | None, counters: dict[str, int], unit: str, largest: int) -> Scan | NonCartesianScan:
        imaging = ~self.flagged(*NOT_IMAGING) & (self.head["encoding_space_ref"] == 0) & (self.samples > 0)
        if not imaging.any():
            raise ValueError(f"none of its {len(self.head)} acquisitions is one for an image")
        for name, v in counters.items():
            there = np.unique(self.index[name][imaging])
            imaging &= self.index[name] == v
            if not imaging.any():
                raise ValueError(f"there is no {name} {v}; the file holds {there[:20].tolist()}")
        for name, v in (("active_channels", self.coils), ("trajectory_dimensions", self.dims)):
            if len(np.unique(v[imaging])) != 1:
                raise ValueError(f"{name} changes from acquisition to acquisition: "
                                 f"{np.unique(v[imaging])[:10].tolist()}")
        first = int(np.flatnonzero(imaging)[0])
        if not self.coils[first]:
            raise ValueError(f"acquisition {first} has no active channels")
        along = self.dims[first] and not self.gridded
        volume = self.header.encoded[2] > 1 and not along
        slices = self.readout_size() if volume else int(self.index["slice"][imaging].max()) + 1
        which = pick("", slice, slices)
        if not volume:
            imaging &= self.index["slice"] == which
            if not imaging.any():
                raise ValueError(f"slice {which} has no acquisitions")
        lines = np.flatnonzero(imaging)
        slabs, partitions = (np.unique(self.index[name][lines]) for name in ("slice", "kspace_encode_step_2"))
        if volume and len(slabs) > 1:
            raise ValueError(f"it is 3-D and holds {len(slabs)} slabs (slice {slabs[:10].tolist()}); one is read")
        if along and len(partitions) > 1 and (self.dims[first] == 2 or self.header.encoded[2] == 1):
            raise ValueError(f"it holds {len(partitions)} partitions (kspace_encode_step_2) along 2-D trajectories; "
                             "stacks of stars or spirals are not read")
        about = {"noise": self.noise(lines), "slice": which, "slices": slices}
        if along:
            return self.non_cartesian(lines, unit, largest, about)
        if not self.gridded:
            raise ValueError(f"its header says trajectory {self.header.trajectory}, but the acquisitions have none")
        return self.cartesian(lines, volume, largest, about)

    def readout_size(self) -> int:
        """Samples of the read-out once oversampling is removed."""
        nx = self.header.encoded[0]
        return max(1, min(nx, round(nx * min(1.0, self.header.recon_mm[0] / self.header.encoded_mm[0]))))

    def cartesian(self, lines: np.ndarray, volume: bool, largest: int, about: dict[str, Any]) -> Scan:
        nx, ny, nz = self.header.encoded
        nz, coils = nz if volume else 1, int(self.coils[lines[0]])
        size = 8 * coils * nz * ny * nx
        if size > largest:
            raise ValueError(f"its header promises k-space of {coils} x {nz} x {ny} x {nx}, {size / 2**30:.1f} GiB; at "
                             f"most {largest / 2**30:.1f} GiB are read")
        kspace = np.zeros((coils, nz, ny, nx), np.complex64)
        count = np.zeros((nz, ny, nx), np.int32)
        for i in map(int, lines):
            row = self._step(i, 1, ny)
            plane = self._step(i, 2, nz) if volume else 0
            line, start = self._placed(i, nx)
            kspace[:, plane, row, start:start + line.shape[1]] += line
            count[plane, row, start:start + line.shape[1]] += 1
        measured: np.ndarray = np.asarray(count > 0)
        kspace /= np.maximum(count, 1).astype(np.float32)
        if about["noise"] is not None:
            about["noise"] = about["noise"] / max(1, int(np.median(count[measured])))
        lines_measured: np.ndarray = np.asarray(measured.any(axis=-1, keepdims=True))
        width, crop = self.readout_size(), None
        if bool((measured == lines_measured).all()):
            kspace, measured = crop_readout(kspace, 3, width), lines_measured
        elif volume:
            raise ValueError("its read-outs are not sampled in full, which is not supported for 3-D scans")
        else:
            crop = width
        tall = self._phase_size(1, ny)
        if volume:
            # One position along the read-out is one slice, of (z, y).
            image = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(kspace, -1), norm="ortho"), -1)
            kspace = image[..., about["slice"]].astype(np.complex64)
            return Scan(kspace, measured[..., 0], crop=(self._phase_size(2, nz), tall), **about)
        return Scan(kspace[:, 0], np.broadcast_to(measured[0], kspace.shape[2:]),
                    crop=(tall, kspace.shape[3] if crop is None else crop), **about)

    def _phase_size(self, axis: int, size: int) -> int:
        fraction = min(1.0, self.header.recon_mm[axis] / self.header.encoded_mm[axis])
        return max(1, min(size, round(size * fraction)))

    def _step(self, i: int, axis: int, size: int) -> int:
        step = int(self.index[f"kspace_encode_step_{axis}"][i])
        centre = self.header.centre[axis - 1]
        row = step if centre is None else step - centre + size // 2
        if not 0 <= row < size:
            raise ValueError(f"acquisition {i}: kspace_encode_step_{axis} is {step}, which lies outside the encoded "
                             f"matrix of {size} (centre {centre})")
        return row

    def _placed(self, i: int, nx: int) -> tuple[np.ndarray, int]:
        """The samples of a line that are kept, and the column of the first."""
        line, n = self.line(i), int(self.samples[i])
        centre, pre, post = (int(self.head[name][i]) for name in ("center_sample", "discard_pre", "discard_post"))
        if self.reverse[i]:
            centre, pre, post = 2 * (n // 2) - centre if centre else 0, post, pre
        if centre == 0 and n - pre - post == nx:  # many writers leave it at 0
            centre = pre + nx // 2
        if pre + post >= n:
            raise ValueError(f"acquisition {i}: all of its {n} samples are discarded (discard_pre {pre}, discard_post "
                             f"{post})")
        start = nx // 2 - centre + pre
        if start < 0 or start + n - pre - post > nx:
            raise ValueError(f"acquisition {i}: {n} samples with center_sample {centre} do not fit the encoded matrix "
                             f"of {nx}")
        return line[:, pre:n - post], start

    def non_cartesian(self, lines: np.ndarray, unit: str, largest: int, about: dict[str, Any]) -> NonCartesianScan:
        first, sizes = lines[0], self.header.encoded
        dims, n = int(self.dims[first]), int(self.samples[first])
        for name in ("number_of_samples", "discard_pre", "discard_post"):
            if len(np.unique(self.head[name][lines])) != 1:
                raise ValueError(f"{name} changes from read-out to read-out; take those of one length")
        keep = np.s_[int(self.head["discard_pre"][first]):n - int(self.head["discard_post"][first])]
        traj = np.stack([self.traj[self.traj_at[i]:self.traj_at[i + 1]].reshape(n, dims)[keep] for i in lines])
        samples = np.stack([self.line(i)[:, keep] for i in lines], axis=1)
        if dims not in (2, 3) or not traj.size:
            raise ValueError(f"its trajectories have {dims} dimensions and {traj.shape[1]} samples; 2 or 3 dimensions "
                             "are read")
        density = None
        if dims == 3 and sizes[2] == 1:
            # What a 2-D trajectory has a third value for: weights, or nothing.
            third, traj = traj[..., 2], traj[..., :2]
            density = np.ascontiguousarray(third) if third.max() > 0 and third.min() >= 0 else None
        ndim = traj.shape[-1]
        shape = sizes[:ndim][::-1]
        if not np.isfinite(traj).all():
            raise ValueError("its trajectories hold values that are not finite")
        if unit not in ("auto", "pixel", "fov"):
            raise ValueError(f"unit must be auto, pixel or fov, got {unit!r}")
        nodes = traj[..., ::-1].astype(np.float32)
        if unit == "fov" or (unit == "auto" and np.abs(nodes).max() > 0.5):
            nodes = nodes / np.array(shape, np.float32)
        if np.abs(nodes).max() > 0.5:
            worst = np.abs(traj).max()
            raise ValueError(f"its trajectories reach {worst:g}, which is outside k-space of {shape}, in cycles per "
                             "pixel (1/2) as in cycles per field of view (half the matrix)")
        crop = tuple(self._phase_size(d, sizes[d]) for d in range(ndim))[::-1]
        if about["slices"] == 1 or ndim == 3:
            about |= {"slice": 0, "slices": 1}
        return NonCartesianScan(samples, nodes, shape, density, crop=crop, **about)

    def noise(self, lines: np.ndarray) -> np.ndarray | None:
        """Covariance of the noise of one sample of these lines, per real component."""
        first = int(lines[0])
        scans = np.flatnonzero(self.flagged(NOISE) & (self.coils == self.coils[first]) & (self.samples > 0))
        if not len(scans):
            return None
        samples = np.concatenate([self.line(i) for i in map(int, scans)], axis=1).astype(np.complex128)
        if samples.shape[1] < 2 * len(samples) or not np.isfinite(samples).all():
            return None
        dwell = float(self.head["sample_time_us"][first])
        own = float(np.median(self.head["sample_time_us"][scans]))
        factor = own / dwell if 0 < dwell < np.inf and 0 < own < np.inf else 1.0
        covariance = samples @ samples.conj().T / (2 * samples.shape[1])
        # The filter of the receiver takes some of the noise away from the noise scan.
        return (covariance * factor / self.header.noise_bandwidth).astype(np.complex64)
