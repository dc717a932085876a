"""Learned reconstruction: x = reconstructor(A, b) with networks inside."""

from .denoiser import Denoiser
from .inverse import LearnedInverse
from .noise_level import noise_level
from .post_processed import PostProcessed
from .primal_dual import LearnedPrimalDual
from .trainable import path_names, trainable
from .unrolled import Unrolled

__all__ = [
    "Denoiser", "LearnedInverse", "LearnedPrimalDual", "PostProcessed", "Unrolled", "noise_level", "path_names",
    "trainable",
]
