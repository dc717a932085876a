"""Simulated scans: phantoms, coil maps, sampling masks, noise."""

from .coil_maps import coil_maps
from .masks import poisson_disc_mask, random_mask, uniform_mask, variable_density_mask
from .noise import add_noise, noise_level
from .phantoms import discs, random_ellipses, shepp_logan

__all__ = [
    "add_noise",
    "coil_maps",
    "discs",
    "noise_level",
    "poisson_disc_mask",
    "random_ellipses",
    "random_mask",
    "shepp_logan",
    "uniform_mask",
    "variable_density_mask",
]
