"""Priors: one family per file."""

from .base import Prior
from .combined import PartsApart, Separable
from .constrained import Constrained
from .constraints import Box, NonNegative, RealValued
from .fused_lasso import FusedLasso
from .l1 import L1, ElasticNet
from .l2 import L2
from .l21 import L21
from .lowrank import LocallyLowRank, Nuclear
from .tv import TV

__all__ = [
    "L1", "L2", "L21", "TV", "Box", "Constrained", "ElasticNet", "FusedLasso", "LocallyLowRank", "NonNegative",
    "Nuclear", "PartsApart", "Prior", "RealValued", "Separable",
]
