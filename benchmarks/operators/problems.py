"""The problems that every side solves, in plain numpy from a fixed seed, written to one .npz.

Non-Cartesian MRI: nodes in cycles/pixel, images (coils, ...) and samples (coils, nodes), complex64.
CT: pixels of side 1, angles in radians over half a turn (parallel) or a turn (fan), float32.
"""

from typing import Any, NamedTuple

import numpy as np

GOLDEN = np.pi * (np.sqrt(5) - 1) / 2


class Nonuniform(NamedTuple):
    shape: tuple[int, ...]
    coils: int


class Tomography(NamedTuple):
    size: int
    views: int
    detectors: int
    spacing: float = 1.0
    distance: float | None = None  # source to axis and axis to detector; None: parallel beam


NUFFT = {"radial 256^2": Nonuniform((256, 256), 8), "koosh ball 64^3": Nonuniform((64, 64, 64), 1)}
# The last one is SCICO's: it takes detectors of at least the width of a projected pixel only.
XRAY = {
    "parallel 256^2": Tomography(256, 180, 363),
    "parallel 512^2": Tomography(512, 360, 725),
    "fan 512^2": Tomography(512, 360, 725, 2.0, 1024.0),
    "coarse 512^2": Tomography(512, 360, 512, float(np.sqrt(2))),
}
CG_ITERATIONS = 10


def key(case: str, name: str) -> str:
    return f"{case}: {name}"


def radial(spokes: int, samples: int) -> np.ndarray:
    angle = GOLDEN * np.arange(spokes)
    radius = (np.arange(samples) - samples // 2) / samples
    return (radius[:, None] * np.stack([np.sin(angle), np.cos(angle)], -1)[:, None]).reshape(-1, 2)


def koosh_ball(spokes: int, samples: int) -> np.ndarray:
    z = (2 * np.arange(spokes) + 1) / spokes - 1
    turn = 2 * GOLDEN * np.arange(spokes)
    ring = np.sqrt(1 - z**2)
    radius = (np.arange(samples) - samples // 2) / samples
    return (radius[:, None] * np.stack([z, ring * np.sin(turn), ring * np.cos(turn)], -1)[:, None]).reshape(-1, 3)


def phantom(size: int) -> np.ndarray:
    y, x = np.meshgrid(*2 * [np.linspace(-1, 1, size)], indexing="ij")
    image = 1.0 * (x**2 + y**2 < 0.64) - 0.5 * ((x - 0.2) ** 2 + (y + 0.1) ** 2 < 0.09)
    return image + 0.3 * ((x + 0.3) ** 2 + (y - 0.3) ** 2 < 0.04)


def make() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    problem = {}
    for case, (shape, coils) in NUFFT.items():
        nodes = (radial(402, 512) if len(shape) == 2 else koosh_ball(1600, 128)).astype(np.float32)
        lead = (coils, *shape)
        problem[key(case, "nodes")] = nodes
        problem[key(case, "images")] = _complex(rng, lead)
        problem[key(case, "samples")] = _complex(rng, (coils, len(nodes)))
    for case, geometry in XRAY.items():
        problem[key(case, "angles")] = angles(geometry)
        problem[key(case, "image")] = phantom(geometry.size).astype(np.float32)
        sinogram = rng.random((geometry.views, geometry.detectors))
        problem[key(case, "sinogram")] = sinogram.astype(np.float32)
    return problem


def angles(geometry: Tomography) -> np.ndarray:
    turn = np.pi if geometry.distance is None else 2 * np.pi
    return np.arange(geometry.views) * turn / geometry.views


def _complex(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
