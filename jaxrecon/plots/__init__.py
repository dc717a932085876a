"""Figures: images with their error maps, convergence, the choice of lam. Needs matplotlib (the `plots` extra)."""

from .curves import convergence
from .figure import save_figure
from .images import compare
from .parameters import choice, lcurve, picard

__all__ = ["choice", "compare", "convergence", "lcurve", "picard", "save_figure"]
