"""Training: `fit`, streams of data, losses with and without ground truth."""

from .data import Examples, Simulated
from .fit import fit
from .log import Log
from .losses import SelfSupervised, l1, magnitude_l1, magnitude_mse, mse, nmse, ssim
from .self_supervised import SURE, Consistency, Equivariant
from .ssdu import SSDU

__all__ = ["SSDU", "SURE", "Consistency", "Equivariant", "Examples", "Log", "SelfSupervised", "Simulated", "fit", "l1",
           "magnitude_l1", "magnitude_mse", "mse", "nmse", "ssim"]
