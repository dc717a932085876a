"""Linear operators as values: the base class, their algebra, matched pairs, norm and matrix."""

from .algebra import Stacked, compose, stack, sum_operators
from .base import (
    Adjoint,
    Gram,
    LinearOperator,
    SelfAdjoint,
    arrays_like,
    matching_domain,
    need_operator,
    real_dtype,
    with_dtype,
)
from .batched import batched
from .known_norm import KnownNorm, with_norm, without_norm
from .pair import matched_pair
from .quantities import dense, operator_norm
from .real_part import RealPart, real_part

__all__ = [
    "Adjoint", "Gram", "KnownNorm", "LinearOperator", "RealPart", "SelfAdjoint", "Stacked", "arrays_like", "batched",
    "compose", "dense", "matched_pair", "matching_domain", "need_operator", "operator_norm", "real_dtype",
    "real_part", "stack", "sum_operators", "with_dtype", "with_norm", "without_norm",
]
