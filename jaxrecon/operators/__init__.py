"""Physics and transforms, one per file."""

from .elementary import Diagonal, Identity, Matrix
from .function import linear

__all__ = ["Diagonal", "Identity", "Matrix", "linear"]
