"""From raw multi-coil samples to what an encoding operator needs: coil maps, white noise, fewer coils."""

from jaxrecon.calibration.compression import Compression as Compression
from jaxrecon.calibration.compression import compress_coils as compress_coils
from jaxrecon.calibration.espirit import espirit as espirit
from jaxrecon.calibration.mpi import background_sigma as background_sigma
from jaxrecon.calibration.mpi import frequency_snr as frequency_snr
from jaxrecon.calibration.mpi import relative_lam as relative_lam
from jaxrecon.calibration.mpi import row_weights as row_weights
from jaxrecon.calibration.mpi import select_frequencies as select_frequencies
from jaxrecon.calibration.region import calibration_size as calibration_size
from jaxrecon.calibration.sensitivity import rss as rss
from jaxrecon.calibration.sensitivity import rss_maps as rss_maps
from jaxrecon.calibration.whitening import noise_covariance as noise_covariance
from jaxrecon.calibration.whitening import whiten as whiten
from jaxrecon.calibration.whitening import whitening_matrix as whitening_matrix

__all__ = [
    "Compression",
    "background_sigma",
    "calibration_size",
    "compress_coils",
    "espirit",
    "frequency_snr",
    "noise_covariance",
    "relative_lam",
    "row_weights",
    "rss",
    "rss_maps",
    "select_frequencies",
    "whiten",
    "whitening_matrix",
]
