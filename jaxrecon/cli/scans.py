"""From a file to a problem: operator, samples, and the image that a direct reconstruction gives."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..calibration import espirit, rss_maps, whiten
from ..gridding import Gridding
from ..io import Image, NonCartesianScan, Scan, load
from ..io.load import reader_of
from ..operator import LinearOperator
from ..operators import CoilMaps, Fourier, sense
from ..operators.nufft import NUFFT
from .errors import Failure

CALIBRATION = 24


class Problem(NamedTuple):
    A: LinearOperator
    b: jax.Array
    direct: jax.Array
    name: str  # of the direct image: zero-filled or gridded
    crop: tuple[int, ...] | None
    about: list[str]  # in words, for the user


def read(path: Path, maps: str, slice: int | None) -> Scan | NonCartesianScan:
    """The scan in a file of any format; --maps NAME names coil maps there, of which auto takes `maps`."""
    reader = reader_of(str(path))
    options: dict[str, Any] = {} if slice is None else {"slice": slice}
    known = inspect.signature(reader).parameters
    if slice is not None and "slice" not in known:
        raise Failure(f"--slice {slice}: {path} holds one slice")
    if "maps" in known:
        options["maps"] = known["maps"].default if maps == "auto" else None if maps in ("espirit", "rss") else maps
    elif maps not in ("auto", "espirit", "rss"):
        raise Failure(f"{path} holds no coil maps named {maps}: take --maps espirit or rss")
    scan = load(path, **options)
    if isinstance(scan, Image):
        raise Failure(f"{path} holds an image, {' x '.join(map(str, scan.pixels.shape))}, and not a scan: there is "
                      "nothing to reconstruct (jr.io.load reads it)")
    if not isinstance(scan, Scan | NonCartesianScan):
        raise Failure(f"{path} holds a {type(scan).__name__}, which needs a system matrix: reconstruct it in Python, "
                      "with jr.io.load and jr.SystemMatrix")
    return scan


def problem(scan: Scan | NonCartesianScan, maps: str = "auto") -> Problem:
    """Operator and samples, whitened where the file tells of the noise."""
    about = []
    if scan.slices > 1:
        about.append(f"slice {scan.slice} of {scan.slices}")
    samples = scan.kspace if isinstance(scan, Scan) else scan.samples
    if scan.noise is not None and len(samples) > 1:
        try:
            samples = np.asarray(whiten(jnp.asarray(samples), jnp.asarray(scan.noise)))
            scan = replaced(scan, samples, jnp.asarray(scan.noise))
            about.append("whitened")
        except ValueError as error:
            about.append(f"not whitened ({error})")
    if isinstance(scan, Scan):
        A = sense(find_maps(scan, maps), None if scan.mask.all() else scan.mask)
        b = jnp.asarray(samples).astype(A.codomain.dtype)
        about.append(f"{float(np.mean(scan.mask)):.1%} of k-space")
        return Problem(A, b, A.H(b), "zero-filled", scan.crop, about)
    nodes = jnp.asarray(scan.nodes)
    gridding = Gridding(None if scan.density is None else jnp.asarray(scan.density))
    F = NUFFT(nodes, scan.shape)
    coil_maps = gridded_maps(F, gridding, jnp.asarray(samples), maps)
    A = F @ CoilMaps(coil_maps)
    b = jnp.asarray(samples).astype(A.codomain.dtype)
    about.append(f"{scan.nodes[..., 0].size} nodes")
    return Problem(A, b, gridding(A, b), "gridded", scan.crop, about)


def replaced(scan: Scan | NonCartesianScan, samples: np.ndarray, noise: jax.Array) -> Scan | NonCartesianScan:
    """The scan with whitened samples, and its maps whitened likewise."""
    about: dict[str, Any] = {"crop": scan.crop, "slice": scan.slice, "slices": scan.slices}
    if isinstance(scan, NonCartesianScan):
        return NonCartesianScan(samples, scan.nodes, scan.shape, scan.density, **about)
    maps = None if scan.maps is None else np.asarray(whiten(jnp.asarray(scan.maps), noise))
    return Scan(samples, scan.mask, maps, **about)


def find_maps(scan: Scan, maps: str = "auto") -> Any:
    """Coil maps as --maps asks for them."""
    if maps not in ("espirit", "rss") and scan.maps is not None:
        return jnp.asarray(scan.maps)
    if maps == "auto" and scan.kspace.shape[0] == 1:
        return jnp.ones(scan.kspace.shape, scan.kspace.dtype)
    # The calibration region is found from the data.
    return (rss_maps if maps == "rss" else espirit)(jnp.asarray(scan.kspace), calibration=None)


def gridded_maps(F: NUFFT, gridding: Gridding, samples: jax.Array, maps: str) -> jax.Array:
    """Coil maps from the k-space that a trajectory fills, gridded."""
    if len(samples) == 1 and maps == "auto":
        return jnp.ones((1, *F.shape), F.domain.dtype)
    if gridding.density is None:
        from ..operators.density import pipe_menon

        gridding = Gridding(pipe_menon(F.nodes, F.shape))
    images = jax.jit(jax.vmap(lambda F, gridding, y: gridding(F, y), in_axes=(None, None, 0)))(F, gridding, samples)
    kspace = jax.vmap(Fourier(F.shape, axes=tuple(range(-len(F.shape), 0)), dtype=images.dtype))(images)
    size = tuple(min(CALIBRATION, n) for n in F.shape)
    return (rss_maps if maps == "rss" else espirit)(kspace, calibration=size)
