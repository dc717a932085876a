"""Non-uniform fast Fourier transform."""

from .operator import NUFFT

__all__ = ["NUFFT"]
