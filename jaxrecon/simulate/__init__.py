"""Simulated scans: phantoms, coil maps, sampling masks, trajectories, noise."""

from .coil_maps import coil_maps
from .counts import poisson_counts
from .ill_posed import ill_posed
from .masks import poisson_disc_mask, random_mask, uniform_mask, variable_density_mask
from .mpi import MPISequence, Particles, langevin, mpi_system_matrix
from .noise import add_noise, noise_level
from .noise_classes import CorrelatedNoise, GaussianNoise, ImpulsiveNoise, MixedNoise, Noise, PoissonNoise
from .phantoms import discs, random_ellipses, shepp_logan
from .simulation import Simulation, cartesian_mri, sparse_view_ct
from .trajectories import golden_angle, koosh_ball, radial, spiral, spoke_angles, stack_of_stars

__all__ = [
    "CorrelatedNoise",
    "GaussianNoise",
    "ImpulsiveNoise",
    "MPISequence",
    "MixedNoise",
    "Noise",
    "Particles",
    "PoissonNoise",
    "Simulation",
    "add_noise",
    "cartesian_mri",
    "coil_maps",
    "discs",
    "golden_angle",
    "ill_posed",
    "koosh_ball",
    "langevin",
    "mpi_system_matrix",
    "noise_level",
    "poisson_counts",
    "poisson_disc_mask",
    "radial",
    "random_ellipses",
    "random_mask",
    "shepp_logan",
    "sparse_view_ct",
    "spiral",
    "spoke_angles",
    "stack_of_stars",
    "uniform_mask",
    "variable_density_mask",
]
