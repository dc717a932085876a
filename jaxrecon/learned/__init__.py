"""Learned reconstruction: x = reconstructor(A, b) with networks inside."""

from .consistent import Consistent
from .denoiser import Denoiser
from .inverse import LearnedInverse
from .nonexpansive import Averaged, convolution_norm, nonexpansive
from .plug_and_play import PlugAndPlay
from .post_processed import PostProcessed
from .primal_dual import LearnedPrimalDual
from .trainable import path_names, trainable
from .unrolled import Unrolled

__all__ = [
    "Averaged", "Consistent", "Denoiser", "LearnedInverse", "LearnedPrimalDual", "PlugAndPlay", "PostProcessed",
    "Unrolled", "convolution_norm", "nonexpansive", "path_names", "trainable",
]
