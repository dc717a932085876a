"""Physics and transforms, one per file. Of the larger ones, `nufft`, `xray` and `cone` are rooms of their own."""

from .coils import CoilMaps
from .convolution import Convolution
from .elementary import Diagonal, Identity, Matrix
from .fourier import Fourier
from .function import linear
from .gradient import Gradient
from .sense import sense
from .system_matrix import SystemMatrix
from .wavelet import Wavelet

__all__ = [
    "CoilMaps", "Convolution", "Diagonal", "Fourier", "Gradient", "Identity", "Matrix", "SystemMatrix", "Wavelet",
    "linear", "sense",
]
