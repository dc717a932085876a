"""From raw multi-coil samples to what an encoding operator needs: coil maps, white noise, fewer coils."""

from jaxrecon.calibration.compression import Compression as Compression
from jaxrecon.calibration.compression import compress_coils as compress_coils
from jaxrecon.calibration.espirit import espirit as espirit
from jaxrecon.calibration.region import calibration_size as calibration_size
from jaxrecon.calibration.sensitivity import rss as rss
from jaxrecon.calibration.sensitivity import rss_maps as rss_maps
from jaxrecon.calibration.whitening import noise_covariance as noise_covariance
from jaxrecon.calibration.whitening import whiten as whiten
from jaxrecon.calibration.whitening import whitening_matrix as whitening_matrix

__all__ = [
    "Compression",
    "calibration_size",
    "compress_coils",
    "espirit",
    "noise_covariance",
    "rss",
    "rss_maps",
    "whiten",
    "whitening_matrix",
]
