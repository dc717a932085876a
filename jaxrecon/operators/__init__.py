"""Physics and transforms, one per file."""

from .coils import CoilMaps
from .cone import ConeBeamXRay
from .convolution import Convolution
from .elementary import Diagonal, Identity, Matrix
from .fourier import Fourier
from .function import linear
from .gradient import Gradient
from .nufft import NUFFT
from .sense import sense
from .system_matrix import SystemMatrix
from .wavelet import Wavelet
from .xray import XRay

__all__ = [
    "CoilMaps", "ConeBeamXRay", "Convolution", "Diagonal", "Fourier", "Gradient", "Identity", "Matrix", "NUFFT",
    "SystemMatrix", "Wavelet", "XRay", "linear", "sense",
]
