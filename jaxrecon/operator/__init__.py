"""Linear operators as values: the base class, their algebra, matched pairs, norm and matrix."""

from .algebra import Stacked, compose, stack, sum_operators
from .base import Adjoint, Gram, LinearOperator, SelfAdjoint, matching_domain, real_dtype, with_dtype
from .batched import batched
from .known_norm import KnownNorm, with_norm, without_norm
from .pair import matched_pair
from .quantities import dense, operator_norm
from .real_part import RealPart, real_part

__all__ = [
    "Adjoint", "Gram", "KnownNorm", "LinearOperator", "RealPart", "SelfAdjoint", "Stacked", "batched", "compose",
    "dense", "matched_pair", "matching_domain", "operator_norm", "real_dtype", "real_part", "stack", "sum_operators",
    "with_dtype", "with_norm", "without_norm",
]
