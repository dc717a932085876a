"""The problems that every side solves, in plain numpy from a fixed seed, written to one .npz.

Layout: centred, unitary FFT (SigPy's and jaxrecon's convention); a side that works uncentred shifts on loading.

    python problems.py OUT.npz
"""

import sys

import numpy as np

COILS, SIZE, LINES, CALIBRATION = 8, 320, 80, 24  # 4-fold: 80 of 320 lines, 24 of them in the centre
ROWS, COLUMNS = 2000, 1000
KACZMARZ_LAM = 1.0
MASKS = ("line", "2d")
WAVELET, LEVELS = "db4", 4
CG_ITERATIONS, WAVELET_ITERATIONS, TV_ITERATIONS = 30, 100, 100
MANY_SWEEPS = 101  # (time of these - time of one) / 100 is a Kaczmarz sweep without its preparation
INNER = {"normal": 10, "normal_tuned": 10, "normal_centred": 10, "floor": 10, "kaczmarz": 10}

# Shepp & Logan's ellipses in Toft's contrast: value, half axes, centre, rotation in degrees
ELLIPSES = (
    (1.0, 0.69, 0.92, 0.0, 0.0, 0),
    (-0.8, 0.6624, 0.8740, 0.0, -0.0184, 0),
    (-0.2, 0.11, 0.31, 0.22, 0.0, -18),
    (-0.2, 0.16, 0.41, -0.22, 0.0, 18),
    (0.1, 0.21, 0.25, 0.0, 0.35, 0),
    (0.1, 0.046, 0.046, 0.0, 0.1, 0),
    (0.1, 0.046, 0.046, 0.0, -0.1, 0),
    (0.1, 0.046, 0.023, -0.08, -0.605, 0),
    (0.1, 0.023, 0.023, 0.0, -0.606, 0),
    (0.1, 0.023, 0.046, 0.06, -0.605, 0),
)


def fft2c(x: np.ndarray) -> np.ndarray:
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(x, axes=(-2, -1)), norm="ortho"), axes=(-2, -1))


def ifft2c(y: np.ndarray) -> np.ndarray:
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(y, axes=(-2, -1)), norm="ortho"), axes=(-2, -1))


def normal(x: np.ndarray, maps: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.sum(np.conj(maps) * ifft2c(mask * fft2c(maps * x)), axis=0)


def phantom(n: int) -> np.ndarray:
    """Shepp-Logan with a smooth phase, so that the image is complex."""
    t = (np.arange(n) + 0.5) / n * 2 - 1
    y, x = -t[:, None], t[None, :]
    out = np.zeros((n, n))
    for value, a, b, x0, y0, degrees in ELLIPSES:
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        u, v = (x - x0) * c + (y - y0) * s, -(x - x0) * s + (y - y0) * c
        out += value * ((u / a) ** 2 + (v / b) ** 2 <= 1)
    return out * np.exp(1j * (0.6 * x + 0.4 * y * y))


def coil_maps(coils: int, n: int) -> np.ndarray:
    """Smooth complex lobes around the object, root-sum-of-squares 1 everywhere."""
    t = (np.arange(n) + 0.5) / n * 2 - 1
    y, x = t[:, None], t[None, :]

    def lobe(a: float) -> np.ndarray:
        c, s = np.cos(a), np.sin(a)
        return np.exp(-((x - 1.1 * c) ** 2 + (y - 1.1 * s) ** 2) / 1.3 + 1j * (a + x * s - y * c))

    maps = np.stack([lobe(a) for a in 2 * np.pi * np.arange(coils) / coils])
    return maps / np.sqrt(np.sum(np.abs(maps) ** 2, axis=0))


def line_mask(rng: np.random.Generator) -> np.ndarray:
    """(ny, 1): the centre lines, the rest drawn at random."""
    lo = (SIZE - CALIBRATION) // 2
    centre = np.arange(lo, lo + CALIBRATION)
    others = rng.choice(np.setdiff1d(np.arange(SIZE), centre), LINES - CALIBRATION, replace=False)
    mask = np.zeros((SIZE, 1))
    mask[centre] = mask[others] = 1
    return mask


def density_mask(rng: np.random.Generator) -> np.ndarray:
    """(ny, nx): the centre square, the rest with a density falling quadratically to the corners; a quarter in all."""
    t = (np.arange(SIZE) - SIZE // 2) / (SIZE // 2)
    radius = np.sqrt(t[:, None] ** 2 + t[None, :] ** 2) / np.sqrt(2)
    weight = (1 - radius) ** 2 + 1e-3
    lo = (SIZE - CALIBRATION) // 2
    centre = np.zeros((SIZE, SIZE), bool)
    centre[lo : lo + CALIBRATION, lo : lo + CALIBRATION] = True
    weight[centre] = 0
    wanted = SIZE * SIZE // 4 - CALIBRATION**2
    mask = centre.copy()
    mask.flat[rng.choice(SIZE * SIZE, wanted, replace=False, p=(weight / weight.sum()).ravel())] = True
    return mask.astype(float)


def largest_eigenvalue(maps: np.ndarray, mask: np.ndarray, rng: np.random.Generator, steps: int = 60) -> float:
    """Of the normal operator, by power iteration, and 1 % on top, so that every side may step by its reciprocal."""
    x = rng.standard_normal((2, SIZE, SIZE)).astype(np.float32)
    x, value = x[0] + 1j * x[1], 0.0
    for _ in range(steps):
        x = normal(x / np.linalg.norm(x), maps, mask)
        value = np.linalg.norm(x)
    return 1.01 * float(value)


def make(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    image, maps = phantom(SIZE), coil_maps(COILS, SIZE)
    problem = {"image": image.astype(np.complex64), "maps": maps.astype(np.complex64)}
    for name, mask in zip(MASKS, (line_mask(rng), density_mask(rng)), strict=True):
        noise = rng.standard_normal((2, COILS, SIZE, SIZE))
        kspace = mask * (fft2c(maps * image) + 0.005 * (noise[0] + 1j * noise[1]))
        problem[f"mask_{name}"] = mask.astype(np.float32)
        problem[f"kspace_{name}"] = kspace.astype(np.complex64)
        backprojection = np.sum(np.conj(maps) * ifft2c(kspace), axis=0)
        problem[f"lam_{name}"] = np.float32(2e-3 * np.abs(backprojection).max())  # wavelet and TV: the same weight
        problem[f"eig_{name}"] = np.float32(largest_eigenvalue(problem["maps"], problem[f"mask_{name}"], rng))
    for name in ("float32", "complex64"):
        matrix = rng.standard_normal((ROWS, COLUMNS))
        truth = rng.standard_normal(COLUMNS)
        if name == "complex64":
            matrix = matrix + 1j * rng.standard_normal((ROWS, COLUMNS))
            truth = truth + 1j * rng.standard_normal(COLUMNS)
        problem[f"matrix_{name}"] = matrix.astype(name)
        problem[f"rhs_{name}"] = (matrix @ truth + 0.1 * rng.standard_normal(ROWS)).astype(name)
    return problem


def tv_objective(x: np.ndarray, problem, mask: str) -> float:
    """1/2 |Ax - b|^2 + lam (|Dx|_1 over both axes), circular differences, in float64."""
    x = x.astype(np.complex128)
    residual = problem[f"mask_{mask}"] * fft2c(problem["maps"] * x) - problem[f"kspace_{mask}"]
    differences = sum(np.abs(np.roll(x, -1, axis) - x).sum() for axis in (0, 1))
    return float(0.5 * np.sum(np.abs(residual) ** 2) + problem[f"lam_{mask}"] * differences)


if __name__ == "__main__":
    np.savez(sys.argv[1], **make())
