"""Data consistency: steps that pull x towards A x = b."""

from .base import ConsistencyStep
from .gradient import GradientStep
from .kaczmarz import KaczmarzSweep
from .proximal import ProximalStep
from .replacement import SampleReplacement

__all__ = ["ConsistencyStep", "GradientStep", "KaczmarzSweep", "ProximalStep", "SampleReplacement"]
