"""Magnetic particle imaging data as the MDF format (version 2.1.0) has them: measurements and calibration scans."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..simulate.mpi import MPISequence
from ..value import static, value


@value
class MDF:
    """A measurement or a calibration scan, on the host. Indices count from 0, axes are those of the file in C order.

    Args:
        data: frames (N, J, C, V) real in the time domain, or (N, J, C, K) complex spectra: N frames, J periods
            (patches), C receive channels, V samples or K frequency components.
        bandwidth: of the receiver in Hz, half its sampling rate.
        samples: V; None: from `data` in the time domain, 2 (K - 1) for spectra.
        background: bool (N,), True for empty frames; None: none is.
        frequency_selection: (K,) which components of V // 2 + 1 are stored; None: all.
        frame_permutation: (N,) where each frame was in the order of measurement; None: as stored.
        dividers: (D, F) of the drive fields. strength, phase: (J, D, F) in T and radians. base_frequency: Hz.
        gradient: (J, Y, 3, 3) in T/m.
        snr: (J, C, K) of a calibration scan.
        transfer_function: complex (C, V // 2 + 1) of the receive chain.
        field_of_view, field_of_view_center, delta_sample_size: (3,) in metres along x, y, z.
        size: voxels along x, y, z of a calibration scan, whose frames that are not background run over the grid, x
            fastest. None: a measurement.
        method: how the calibration was made, such as "robot" or "simulation".
        background_corrected: whether the background was subtracted already.
        transfer_function_corrected: whether the receive chain was divided out already.
        unit: of data.
        info: further texts and numbers by MDF path, such as {"study/name": "phantoms", "uuid": "..."}.

    Raises:
        ValueError: shapes that do not fit each other, values that are not finite.

    Example:
        >>> import numpy as np
        >>> scan = jr.io.MDF(np.ones((5, 1, 2, 1632), "float32"), bandwidth=1.25e6)
        >>> scan.spectrum().shape, float(scan.frequencies[16].round())
        ((5, 1, 2, 817), 24510.0)

    Knopp et al., "MDF: magnetic particle imaging data format", arXiv:1602.06072.
    """

    data: Any
    bandwidth: float = static()
    samples: Any = static(default=None)
    background: Any = None
    frequency_selection: Any = None
    frame_permutation: Any = None
    dividers: Any = None
    strength: Any = None
    phase: Any = None
    base_frequency: Any = None
    gradient: Any = None
    snr: Any = None
    transfer_function: Any = None
    field_of_view: Any = None
    field_of_view_center: Any = None
    delta_sample_size: Any = None
    size: Any = static(default=None)
    method: str | None = static(default=None)
    background_corrected: bool = static(default=False)
    transfer_function_corrected: bool = static(default=False)
    unit: str = static(default="V")
    info: Any = static(default=())

    def check(self):
        data = np.asarray(self.data)
        spectra = np.issubdtype(data.dtype, np.complexfloating)
        if data.ndim != 4 or 0 in data.shape or not (spectra or np.issubdtype(data.dtype, np.number)):
            raise ValueError(f"data must be numbers of shape (frames, periods, channels, samples), got {data.dtype} of "
                             f"shape {data.shape}")
        if not np.issubdtype(data.dtype, np.inexact):
            data = data.astype(np.float32)
        if not np.isfinite(data).all():
            raise ValueError("data holds values that are not finite (NaN or infinite)")
        N, J, C, K = data.shape
        selection = _integers("frequency_selection", self.frequency_selection, (K,))
        if selection is not None and not spectra:
            raise ValueError("frequency_selection goes with spectra, but data is real")
        V = self.samples
        if V is None:
            if selection is not None:
                raise ValueError("samples must be given where frequency_selection is")
            V = 2 * (K - 1) if spectra else K
        stored = V // 2 + 1 if spectra else V
        if V < 1 or (selection is None and stored != K):
            raise ValueError(f"data holds {K} {'components' if spectra else 'samples'}, but a cycle of {V} samples has "
                             f"{stored}")
        if selection is not None and (selection.min() < 0 or selection.max() >= stored):
            raise ValueError(f"frequency_selection must lie within 0 .. {stored - 1}, got {selection.min()} .. "
                             f"{selection.max()}")
        if not (math.isfinite(self.bandwidth) and self.bandwidth > 0):
            raise ValueError(f"bandwidth must be a positive frequency, got {self.bandwidth}")
        background = np.zeros(N, bool) if self.background is None else np.asarray(self.background) != 0
        if background.shape != (N,):
            raise ValueError(f"background needs one entry for each of {N} frames, got shape {background.shape}")
        size = None if self.size is None else tuple(int(n) for n in np.atleast_1d(self.size))
        if size is not None and (len(size) != 3 or min(size) < 1 or math.prod(size) != np.sum(~background)):
            raise ValueError(f"size {size} must be three numbers of voxels whose product is the number of frames that "
                             f"are not background, {np.sum(~background)}")
        made = {
            "data": data, "samples": int(V), "bandwidth": float(self.bandwidth), "background": background, "size": size,
            "frequency_selection": selection,
            "frame_permutation": _integers("frame_permutation", self.frame_permutation, (N,)),
            "snr": _shaped("snr", self.snr, (J, C, K)),
            "transfer_function": _shaped("transfer_function", self.transfer_function, (C, V // 2 + 1)),
            "info": tuple(sorted(dict(self.info).items())),
        }
        for name in ("field_of_view", "field_of_view_center", "delta_sample_size"):
            made[name] = _shaped(name, getattr(self, name), (3,))
        for name, v in made.items():
            object.__setattr__(self, name, v)

    @property
    def frequencies(self) -> np.ndarray:
        """Hz of the components of `spectrum()`."""
        f = np.arange(self.samples // 2 + 1) * (2 * self.bandwidth / self.samples)
        return f if self.frequency_selection is None else f[self.frequency_selection]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the image of a calibration scan, (z, y, x) without axes of a single voxel."""
        if self.size is None:
            raise ValueError("this is a measurement and no calibration scan: it has no size")
        return tuple(n for n in self.size[::-1] if n > 1) or (1,)

    def spectrum(self, background: bool | None = False) -> np.ndarray:
        """(frames, J, C, K) spectra, `rfft` of time-domain data.

        Args:
            background: False for the frames that are not background, True for those that are, None for all.
        """
        frames = self.data if background is None else self.data[self.background == background]
        return frames if np.iscomplexobj(frames) else np.fft.rfft(frames)

    def system_matrix(self) -> np.ndarray:
        """(J, C, K, *shape) of a calibration scan, less the mean background unless that was subtracted already.

        `jr.SystemMatrix(s[rows])` with a mask `rows` (J, C, K) is the operator; frames[:, rows] its measurements.
        """
        s = self.spectrum()
        shape = self.shape
        if self.background.any() and not self.background_corrected:
            s = s - self.spectrum(background=True).mean(0)
        return np.moveaxis(s, 0, -1).reshape(*s.shape[1:], *shape)

    @property
    def sequence(self) -> MPISequence:
        """The drive fields of the first period: the first channels, each driven by one sine along its axis.

        Raises:
            ValueError: a field that is missing; a channel that is not driven before one that is; several sines.
        """
        needed = ("dividers", "strength", "phase", "base_frequency", "gradient")
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"the sequence is not known: {', '.join(missing)} missing")
        strength = np.asarray(self.strength)[0, :, 0]
        on = strength > 0
        if not on.any():
            raise ValueError("no channel is driven: strength is 0")
        if not on[:on.sum()].all():
            raise ValueError(f"channels {np.flatnonzero(on).tolist()} are driven; MPISequence takes those of the first "
                             "axes, x before y before z")
        if np.asarray(self.strength)[0, :, 1:].any():
            raise ValueError("a channel is driven by several sines; MPISequence takes one for each")
        return MPISequence(tuple(np.asarray(self.dividers)[on, 0].tolist()), strength[on],
                           tuple(np.diagonal(np.asarray(self.gradient)[0, 0]).tolist()),
                           np.asarray(self.phase)[0, on, 0], float(self.base_frequency))


def mdf_of_sequence(sequence: MPISequence, data: Any, **fields: Any) -> MDF:
    """An `MDF` of simulated data, with the drive fields, gradient and receiver of a sequence.

    Args:
        sequence: what the data were simulated with.
        data: (N, C, V) or (N, C, K), frames of one period; a system matrix (C, K, *shape) goes in as
            np.moveaxis(s.reshape(C, K, -1), -1, 0), with size=shape[::-1] (three numbers).
        **fields: further fields of `MDF`.

    Example:
        >>> sequence = jr.simulate.MPISequence()
        >>> s = jr.simulate.mpi_system_matrix(sequence, shape=(3, 4))
        >>> scan = jr.io.mdf_of_sequence(sequence, jnp.moveaxis(s.reshape(2, 817, 12), -1, 0), size=(4, 3, 1))
        >>> bool(jnp.all(scan.system_matrix()[0] == s))
        True
    """
    D = len(sequence.dividers)
    given = {
        "bandwidth": sequence.base_frequency / 2, "samples": sequence.samples,
        "base_frequency": sequence.base_frequency,
        "dividers": np.array(sequence.dividers)[:, None],
        "strength": np.broadcast_to(np.asarray(sequence.amplitude, float), (D,)).reshape(1, D, 1),
        "phase": np.broadcast_to(np.asarray(sequence.phase, float), (D,)).reshape(1, D, 1),
        "gradient": np.diag(np.asarray(sequence.gradient, float))[None, None],
    }
    return MDF(np.asarray(data)[:, None], **(given | fields))


def _shaped(name: str, x: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    if x is None:
        return None
    x = np.asarray(x)
    if x.shape != shape or not np.issubdtype(x.dtype, np.number):
        raise ValueError(f"{name} must be numbers of shape {shape}, got {x.dtype} of shape {x.shape}")
    return x


def _integers(name: str, x: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    x = _shaped(name, x, shape)
    if x is not None and not np.issubdtype(x.dtype, np.integer):
        raise ValueError(f"{name} must be integers, got {x.dtype}")
    return x
