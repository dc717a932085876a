"""Physics and transforms, one per file."""

from .coils import CoilMaps
from .convolution import Convolution
from .elementary import Diagonal, Identity, Matrix
from .fourier import Fourier
from .function import linear
from .gradient import Gradient
from .sense import sense
from .wavelet import Wavelet

__all__ = [
    "CoilMaps", "Convolution", "Diagonal", "Fourier", "Gradient", "Identity", "Matrix", "Wavelet", "linear", "sense",
]
