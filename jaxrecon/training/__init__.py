"""Training: `fit`, streams of data, losses."""

from .data import Examples, Simulated
from .fit import fit
from .log import Log
from .losses import l1, magnitude_l1, magnitude_mse, mse, nmse, ssim

__all__ = ["Examples", "Log", "Simulated", "fit", "l1", "magnitude_l1", "magnitude_mse", "mse", "nmse", "ssim"]
