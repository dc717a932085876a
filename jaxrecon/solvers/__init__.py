"""Solvers: one loop, one method per file."""

from .admm import ADMM
from .alternating import Alternating
from .base import Solver
from .cgnr import CGNR
from .direct import SVD, svd, tikhonov
from .hqs import HQS
from .kaczmarz import Kaczmarz
from .landweber import Landweber
from .loop import Solution, solve
from .primal_dual import PDHG, CondatVu
from .proximal_gradient import FISTA, ISTA, POGM
from .richardson_lucy import RichardsonLucy
from .sart import SART
from .scheduled import Scheduled
from .sirt import SIRT
from .stopped import Stopped
from .unrolling import unroll

__all__ = [
    "ADMM", "CGNR", "FISTA", "HQS", "ISTA", "PDHG", "POGM", "SART", "SIRT", "SVD", "Alternating", "CondatVu",
    "Kaczmarz", "Landweber", "RichardsonLucy", "Scheduled", "Solution", "Solver", "Stopped", "solve", "svd",
    "tikhonov", "unroll",
]
