"""jaxrecon: functional image reconstruction in JAX.

    x = argmin_x 1/2 |A x - b|^2 + sum_i prior_i(x)

Nouns are values (operators, priors, solvers: frozen pytrees), verbs are functions (`solve`, `unroll`, ...), and
`x = reconstructor(A, b)` for every method.
"""

from importlib import import_module as _import_module

from jax.tree_util import Partial

from .consistency import GradientStep, KaczmarzSweep, ProximalStep, SampleReplacement
from .fidelity import LeastSquares, PoissonLikelihood
from .operator import LinearOperator, batched, dense, matched_pair, operator_norm, real_part, stack, with_norm
from .operators import (
    CoilMaps,
    Convolution,
    Diagonal,
    Fourier,
    Gradient,
    Identity,
    Matrix,
    SystemMatrix,
    Wavelet,
    linear,
    sense,
)
from .priors import (
    L1,
    L2,
    L21,
    TV,
    Box,
    Constrained,
    ElasticNet,
    FusedLasso,
    LocallyLowRank,
    NonNegative,
    Nuclear,
    Prior,
    RealValued,
)
from .reconstruct import Iterative, ZeroFilled
from .solvers import (
    ADMM,
    CGNR,
    FISTA,
    HQS,
    ISTA,
    PDHG,
    POGM,
    SART,
    SIRT,
    SVD,
    Alternating,
    CondatVu,
    Kaczmarz,
    Landweber,
    RichardsonLucy,
    Scheduled,
    Solution,
    Solver,
    Stopped,
    solve,
    svd,
    tikhonov,
    unroll,
)
from .value import static, value

# Found on first use (PEP 562), so that `import jaxrecon` costs little more than `import jax`; `__init__.pyi` shows
# these names to editors and type checkers.
_MODULES = ("calibration", "io", "learned", "metrics", "networks", "parameters", "plots", "saving",
            "simulate", "testing", "training")
_FROM = {
    "analytic": ("FBP", "fbp"),
    "calibration": (
        "background_sigma", "calibration_size", "compress_coils", "espirit", "frequency_snr", "noise_covariance",
        "relative_lam", "row_weights", "rss", "rss_maps", "select_frequencies", "whiten", "whitening_matrix",
    ),
    "geometry": ("ConeBeam", "FanBeam", "FanVectors", "ParallelBeam"),
    "gridding": ("Gridding",),
    "learned": (
        "Consistent", "Denoiser", "LearnedInverse", "LearnedPrimalDual", "PlugAndPlay", "PostProcessed", "Unrolled",
    ),
    "operators.cone": ("ConeBeamXRay",),
    "operators.density": ("pipe_menon", "radial_density"),
    "operators.nufft": ("NUFFT",),
    "operators.off_resonance": ("OffResonance",),
    "operators.xray": ("XRay",),
    "parameters": ("crossvalidate", "discrepancy", "gcv", "lcurve", "sure"),
    "saving": ("load", "save"),
    "training": ("Examples", "Simulated", "fit"),
    "transmission": ("line_integrals", "transmission_weights"),
    "wiener": ("Wiener",),
}
_HOME = {name: module for module, names in _FROM.items() for name in names}


def __getattr__(name: str):
    if name in _MODULES:
        found = _import_module(f".{name}", __name__)
    elif name in _HOME:
        found = getattr(_import_module(f".{_HOME[name]}", __name__), name)
    elif name == "__version__":
        from importlib.metadata import version

        found = version("jaxrecon")
    else:
        raise AttributeError(f"module 'jaxrecon' has no attribute {name!r}")
    globals()[name] = found
    return found


__all__ = [
    "ADMM", "CGNR", "FISTA", "HQS", "ISTA", "L1", "L2", "L21", "PDHG", "POGM", "SART", "SIRT", "SVD", "TV",
    "Alternating", "Box", "CoilMaps", "CondatVu", "Constrained", "Convolution", "Diagonal", "ElasticNet", "Fourier",
    "FusedLasso", "Gradient", "GradientStep", "Identity", "Iterative", "Kaczmarz", "KaczmarzSweep", "Landweber",
    "LeastSquares", "LinearOperator", "LocallyLowRank", "Matrix", "NonNegative", "Nuclear", "Partial",
    "PoissonLikelihood", "Prior", "ProximalStep", "RealValued", "RichardsonLucy", "SampleReplacement", "Scheduled",
    "Solution", "Solver", "Stopped", "SystemMatrix", "Wavelet", "ZeroFilled", "batched", "dense", "linear",
    "matched_pair", "operator_norm", "real_part", "sense", "solve", "stack", "static", "svd", "tikhonov", "unroll",
    "value", "with_norm",
    *_MODULES, *_HOME,  # pyright: ignore[reportUnsupportedDunderAll]
]


def __dir__():
    return sorted([*__all__, "__version__"])
