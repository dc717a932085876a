"""The Kaiser-Bessel kernel, as constants made on the host.

    phi(t) = I0(beta sqrt(1 - (2 t / W)^2)) / I0(beta),    |t| <= W / 2, in units of grid cells.

Between two grid points its W values are smooth, so each is a polynomial in the position: no Bessel function is left to
compute, and the polynomials, not their limit, are the kernel that the transform is divided by.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np


class Kernel(NamedTuple):
    """Static and hashable: what one axis needs."""

    size: int  # N, pixels
    grid: int  # G, cells: the oversampled axis
    width: int  # W, cells
    tile: int  # cells of a tile of the grid, see plan.py

    @property
    def window(self) -> int:
        """Cells that the nodes of a tile reach."""
        return self.tile + self.width - 1

    @property
    def sigma(self) -> float:
        return self.grid / self.size


@functools.cache
def polynomials(kernel: Kernel) -> np.ndarray:
    """Coefficients (degree + 1, W), highest first, of tap j at t = j - W/2 + z, as polynomials in 2 z - 1, |.| <= 1."""
    width = kernel.width
    beta = shape_parameter(width, kernel.sigma)
    degree = width + 3
    # Chebyshev nodes, more than coefficients: what is left is far below the error of the kernel itself.
    v = np.cos(math.pi * (np.arange(4 * degree) + 0.5) / (4 * degree))
    t = np.arange(width)[:, None] - width / 2 + (v + 1) / 2
    values = np.i0(beta * np.sqrt(np.maximum(0, 1 - (2 * t / width) ** 2))) / np.i0(beta)
    fit = np.polynomial.chebyshev.chebfit(v, values.T, degree)
    return np.stack([np.polynomial.chebyshev.cheb2poly(c) for c in fit.T], 1)[::-1]


@functools.cache
def transform(kernel: Kernel) -> np.ndarray:
    """Integral of phi(t) cos(2 pi n t / G) dt for the centred pixels n: (N,)."""
    v, weights = np.polynomial.legendre.leggauss(2 * kernel.width + 16)
    n = np.arange(kernel.size) - kernel.size // 2
    total = np.zeros(kernel.size)
    for j in range(kernel.width):
        values = np.polyval(polynomials(kernel)[:, j], v)
        t = j - kernel.width / 2 + (v + 1) / 2
        total += np.cos(2 * math.pi / kernel.grid * np.outer(n, t)) @ (weights * values / 2)
    return total


def shape_parameter(width: int, sigma: float) -> float:
    """beta of least aliasing at oversampling sigma (Beatty et al. 2005)."""
    return math.pi * math.sqrt((width / sigma * (sigma - 0.5)) ** 2 - 0.8)
