"""Linear operators as values: the base class, their algebra, matched pairs, norm and matrix."""

from .algebra import Stacked, batched, compose, real_part, stack, sum_operators
from .base import Adjoint, Gram, LinearOperator, matching_domain, real_dtype, with_dtype
from .pair import matched_pair
from .quantities import dense, operator_norm

__all__ = [
    "Adjoint", "Gram", "LinearOperator", "Stacked", "batched", "compose", "dense", "matched_pair", "matching_domain",
    "operator_norm", "real_dtype", "real_part", "stack", "sum_operators", "with_dtype",
]
