"""Data terms: what a reconstruction is compared with, bound to its operator and measurements once per solve."""

from .base import DataTerm, Problem, cast_measurements, like_measurements
from .least_squares import LeastSquares, LeastSquaresProblem, quadratic
from .poisson import PoissonLikelihood, PoissonProblem, emission

__all__ = [
    "DataTerm", "LeastSquares", "LeastSquaresProblem", "PoissonLikelihood", "PoissonProblem", "Problem",
    "cast_measurements", "emission", "like_measurements", "quadratic",
]
