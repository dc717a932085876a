"""Magnetic particle imaging: a Lissajous sequence, particles in equilibrium (Langevin), and the system matrix of both.

Fields are given in tesla (T/mu0) as everywhere in MPI, lengths in metres, frequencies in hertz, concentrations in
mol(Fe)/L. Coordinates grow with the index; the last axis of an image is x, the one before it y.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from ..value import is_concrete, static, value

BOLTZMANN = 1.380649e-23  # J/K
MU0 = 4e-7 * math.pi  # T m/A
# mol(Fe)/L of solid magnetite, Fe3O4: 3 * 5180 g/L / 231.5 g/mol.
SOLID_IRON = 3 * 5180 / 231.533
_LEVELS = 8


@value
class MPISequence:
    """Sine drive fields on D axes over a static gradient: the field-free point runs along a Lissajous curve.

    H_d(t) = G_d r_d + A_d sin(2 pi f_d t + phi_d), f_d = base_frequency / divider_d. The defaults are the 2-D sequence
    of the OpenMPI data: 24.51 and 26.04 kHz, a cycle of lcm(102, 96) = 1632 samples = 652.8 us, 24 mm x 24 mm.

    Args:
        dividers: one per drive channel (x, y, z), 1 to 3 of them.
        amplitude: of the drive fields in T, a scalar or one per channel.
        gradient: of the selection field in T/m along x, y, z.
        phase: of the drive fields in radians, a scalar or one per channel.
        base_frequency: sampling rate in Hz.

    Raises:
        ValueError: no divider or more than three, dividers below 1, a zero gradient, a wrong number of entries.

    Example:
        >>> s = jr.simulate.MPISequence()
        >>> s.samples, round(1e6 * s.period, 1), len(s.frequencies)
        (1632, 652.8, 817)

    Knopp et al., "OpenMPIData: an initiative for freely accessible magnetic particle imaging data", 2020.
    """

    dividers: tuple[int, ...] = static(default=(102, 96))
    amplitude: Any = 12e-3
    gradient: Any = (-1.0, -1.0, 2.0)
    phase: Any = 0.0
    base_frequency: float = static(default=2.5e6)

    def check(self):
        dividers = tuple(int(n) for n in np.atleast_1d(np.asarray(self.dividers)).ravel())
        if not 1 <= len(dividers) <= 3 or min(dividers) < 1:
            raise ValueError(f"MPISequence takes 1 to 3 dividers >= 1, got {self.dividers}")
        object.__setattr__(self, "dividers", dividers)
        if not self.base_frequency > 0:
            raise ValueError(f"base_frequency must be positive, got {self.base_frequency}")
        for name in ("amplitude", "phase"):
            if np.shape(getattr(self, name)) not in ((), (len(dividers),)):
                raise ValueError(f"{name} is a scalar or one number for each of {len(dividers)} drive channels, got "
                                 f"shape {np.shape(getattr(self, name))}")
        if np.shape(self.gradient) != (3,):
            raise ValueError(f"gradient takes three numbers (x, y, z), got shape {np.shape(self.gradient)}")
        if is_concrete(self.gradient) and not np.all(np.asarray(self.gradient)[: len(dividers)]):
            raise ValueError(f"gradient must not be zero on a driven axis, got {self.gradient}")

    @property
    def samples(self) -> int:
        """V, the number of samples of one cycle."""
        return math.lcm(*self.dividers)

    @property
    def period(self) -> float:
        """Seconds of one cycle."""
        return self.samples / self.base_frequency

    @property
    def frequencies(self) -> np.ndarray:
        """Hz of the V // 2 + 1 components of a cycle's `rfft`."""
        return np.arange(self.samples // 2 + 1) * (self.base_frequency / self.samples)

    @property
    def field_of_view(self) -> jax.Array:
        """Metres covered by the field-free point along each driven axis (x first): 2 A / |G|."""
        D = len(self.dividers)
        return 2 * jnp.broadcast_to(jnp.asarray(self.amplitude), (D,)) / jnp.abs(jnp.asarray(self.gradient)[:D])

    def drive(self, dtype: DTypeLike | None = None) -> jax.Array:
        """(D, V) drive fields in T over one cycle."""
        amplitude, angle = self._wave(dtype)
        return amplitude * jnp.sin(angle)

    def drive_rate(self, dtype: DTypeLike | None = None) -> jax.Array:
        """(D, V) their derivatives in T/s."""
        amplitude, angle = self._wave(dtype)
        rates = 2 * np.pi * self.base_frequency / np.array(self.dividers)
        return amplitude * jnp.asarray(rates, angle.dtype)[:, None] * jnp.cos(angle)

    def _wave(self, dtype):
        # Counted modulo the divider in integers: exact also in float32.
        turns = np.stack([np.arange(self.samples) % n / n for n in self.dividers])
        dtype = jnp.result_type(float) if dtype is None else dtype
        amplitude, phase = (jnp.reshape(jnp.asarray(v, dtype), (-1, 1)) for v in (self.amplitude, self.phase))
        return amplitude, jnp.asarray(2 * np.pi * turns, dtype) + phase

    def path(self, dtype: DTypeLike | None = None) -> jax.Array:
        """(V, D) positions of the field-free point in metres, x first: -H_drive / G."""
        drive = self.drive(dtype)
        return (-drive / jnp.asarray(self.gradient, drive.dtype)[: len(self.dividers), None]).T

    def mixing_orders(self, largest: int = 40) -> np.ndarray:
        """(K, D) integers m of least sum |m_d| with f_k = sum_d m_d f_d: where the signal of component k comes from.

        Components beyond |m_d| <= largest hold `largest + 1` everywhere.
        """
        steps = [self.samples // n for n in self.dividers]
        orders = np.array(list(itertools.product(range(-largest, largest + 1), repeat=len(steps))))
        orders = orders[np.argsort(np.abs(orders).sum(1), kind="stable")[::-1]]
        k = orders @ np.array(steps)
        inside = (k >= 0) & (k <= self.samples // 2)
        found = np.full((self.samples // 2 + 1, len(steps)), largest + 1)
        found[k[inside]] = orders[inside]  # the last written, of least order, stays
        return found


@value
class Particles:
    """Superparamagnetic magnetite cores in thermal equilibrium: M = c / c_solid M_s L(m |H| / k T) H / |H|.

    Args:
        core_diameter: metres.
        temperature: kelvin.
        saturation: of magnetite, mu0 M_s in T.

    Example:
        >>> particles = jr.simulate.Particles(core_diameter=30e-9)
        >>> round(float(particles.moment) * 1e18, 2), round(1e3 / float(particles.inverse_field), 2)  # A m^2, mT
        (6.75, 0.6)
    """

    core_diameter: Any = 25e-9
    temperature: Any = 293.0
    saturation: Any = 0.6

    def check(self):
        for name in ("core_diameter", "temperature", "saturation"):
            v = getattr(self, name)
            if is_concrete(v) and not np.all(np.asarray(v) > 0):
                raise ValueError(f"{name} must be positive, got {v}")

    @property
    def moment(self) -> Any:
        """m = M_s pi/6 d^3 in A m^2."""
        # The numbers one at a time: d^3 ~ 1e-23 still fits float32, its products with mu0 would not stay as exact.
        return self.saturation * (math.pi / 6 / MU0) * self.core_diameter**3

    @property
    def inverse_field(self) -> Any:
        """m / (k T) in 1/T: the Langevin function's argument per field."""
        return self.moment / BOLTZMANN / self.temperature


def langevin(x: ArrayLike) -> jax.Array:
    """L(x) = coth(x) - 1/x, exact to rounding everywhere, 0 with slope 1/3 at 0.

    Example:
        >>> [round(float(jr.simulate.langevin(x)), 6) for x in (0.0, 0.003, 1.0, 1e6)]
        [0.0, 0.001, 0.313035, 0.999999]
    """
    x = jnp.asarray(x)
    x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)
    x = jnp.clip(x, -1e15, 1e15)  # whose square fits float32
    return x * langevin_ratio(jnp.square(x))


def langevin_ratio(u: jax.Array) -> jax.Array:
    """L(x) / x as a smooth function of u = x^2 >= 0."""
    small = u < 1
    # x / L(x) = 3 + u / (5 + u / (7 + ...)): no cancellation, no division by zero.
    v = jnp.where(small, u, 1)
    fraction = jnp.full_like(v, 2 * _LEVELS + 3)
    for level in range(_LEVELS - 1, -1, -1):
        fraction = 2 * level + 3 + v / fraction
    root = jnp.sqrt(jnp.where(small, 1, u))
    return jnp.where(small, 1 / fraction, (1 / jnp.tanh(root) - 1 / root) / root)


def mpi_system_matrix(sequence: MPISequence | None = None, particles: Particles | None = None,
                      shape: tuple[int, ...] = (19, 19), field_of_view: Any = None, *, thickness: float = 1e-3,
                      receive: ArrayLike | None = None, transfer: ArrayLike | None = None,
                      dtype: DTypeLike | None = None) -> jax.Array:
    """The spectrum that each voxel gives per mol(Fe)/L: s_ck(r) = rfft_t[-mu0 dV p_c . dM(r, t)/dt]_k a_ck, in volts.

    In float32 errors are about 1e-7 of the strongest component, the excitation itself.

    Args:
        sequence: `MPISequence()` by default: OpenMPI 2-D.
        particles: `Particles()` by default.
        shape: of the image, (nx,), (ny, nx) or (nz, ny, nx).
        field_of_view: metres along the axes of `shape` (so y before x); None: what the field-free point covers.
        thickness: metres along the axes that the image lacks.
        receive: (C, 3) sensitivities p_c of the receive coils in 1/m (the field in A/m of 1 A) along x, y, z; None: one
            coil of 1/m along each driven axis.
        transfer: (K,) or (C, K) transfer function a of the receive chain, real or complex; None: 1.
        dtype: float32 or float64; None: JAX's default float.

    Returns:
        Complex (C, K, *shape). `jr.SystemMatrix(s[rows])` with a mask `rows` of (C, K) is the operator.

    Raises:
        ValueError: shapes that do not fit each other.

    Example:
        >>> s = jr.simulate.mpi_system_matrix(shape=(4, 5))
        >>> s.shape
        (2, 817, 4, 5)

    Knopp and Buzug, "Magnetic Particle Imaging", 2012, ch. 2-4.
    """
    sequence = MPISequence() if sequence is None else sequence
    particles = Particles() if particles is None else particles
    shape = tuple(int(n) for n in shape)
    driven = len(sequence.dividers)
    if not 1 <= len(shape) <= 3 or min(shape) < 1:
        raise ValueError(f"mpi_system_matrix takes images of 1 to 3 axes, none empty, got shape {shape}")
    dtype = jnp.result_type(float) if dtype is None else jnp.dtype(dtype)
    if field_of_view is None:
        if len(shape) > driven:
            raise ValueError(f"an image of shape {shape} has more axes than the sequence drives, {driven}: give "
                             "field_of_view in metres")
        field_of_view = jnp.flip(sequence.field_of_view[: len(shape)])
    fov = jnp.asarray(field_of_view, dtype)
    if fov.shape != (len(shape),):
        raise ValueError(f"field_of_view needs one length for each axis of {shape}, got shape {fov.shape}")
    coils = jnp.eye(driven, 3, dtype=dtype) if receive is None else jnp.asarray(receive, dtype)
    if coils.ndim != 2 or coils.shape[1] != 3:
        raise ValueError(f"receive needs shape (coils, 3), got {coils.shape}")
    K = sequence.samples // 2 + 1
    chain = jnp.asarray(1.0 if transfer is None else transfer)
    if transfer is not None and chain.shape not in ((K,), (coils.shape[0], K)):
        raise ValueError(f"transfer needs shape ({K},) or ({coils.shape[0]}, {K}), got {chain.shape}")
    chain = chain.astype(jnp.result_type(dtype, jnp.complex64) if jnp.iscomplexobj(chain) else dtype)
    s = _spectra(sequence, jnp.asarray(particles.inverse_field, dtype),
                 jnp.asarray(particles.saturation / MU0 / SOLID_IRON, dtype), fov, jnp.asarray(thickness, dtype), coils,
                 shape=shape)
    return s if transfer is None else s * chain.reshape(chain.shape + (1,) * len(shape))


@functools.partial(jax.jit, static_argnames="shape")
def _spectra(sequence, inverse_field, magnetisation, fov, thickness, coils, *, shape):
    dtype = fov.dtype
    n = max(len(shape), len(sequence.dividers))
    unused = ((0, n - len(sequence.dividers)), (0, 0))
    drive, rate = jnp.pad(sequence.drive(dtype), unused), jnp.pad(sequence.drive_rate(dtype), unused)
    spacing = fov / np.array(shape, dtype)
    axes = [(jnp.arange(k) - (k - 1) / 2).astype(dtype) * d for k, d in zip(shape, spacing, strict=True)]
    r = jnp.stack(jnp.meshgrid(*axes, indexing="ij")[::-1], axis=-1).reshape(-1, len(shape))
    offset = jnp.pad(r, ((0, 0), (0, n - len(shape)))) * jnp.asarray(sequence.gradient, dtype)[:n]
    volume = jnp.prod(spacing) * thickness ** (3 - len(shape))
    coils = -MU0 * volume * magnetisation * coils[:, :n]

    def mean_moment(field):
        return field * langevin_ratio(jnp.sum(jnp.square(field), axis=0))

    def voxel(h):
        _, change = jax.jvp(mean_moment, (inverse_field * (h[:, None] + drive),), (inverse_field * rate,))
        return jnp.fft.rfft(jnp.matmul(coils, change, precision="highest"))

    s = jax.lax.map(voxel, offset, batch_size=256)
    return jnp.moveaxis(s, 0, -1).reshape(*s.shape[1:], *shape)
