"""Choosing lam: L-curve, discrepancy, GCV, SURE, cross-validation; and the noise level, from the data."""

from .crossvalidate import crossvalidate
from .discrepancy import EarlyStop, discrepancy
from .lcurve import LCurve, lcurve
from .noise import measured_noise, noise_level
from .risk import gcv, sure
from .search import Choice
from .trial import measured

__all__ = [
    "Choice", "EarlyStop", "LCurve", "crossvalidate", "discrepancy", "gcv", "lcurve", "measured",
    "measured_noise", "noise_level", "sure",
]
