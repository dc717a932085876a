"""SCICO's side, in three forms, all with the best parameters of a grid.

plain      its own operators composed (Diagonal @ DFT @ Diagonal), its defaults: it records the objective and the
           residuals in every iteration
"_tuned"   one LinearOperator around a fused function, nothing recorded but the iteration number
"_centred" as plain, with the centred transform of MRI as its user would write it, fftshift and all

Its DFT is uncentred, so in the first two forms the arrays are shifted once on loading and the answer is shifted back.
Circular differences and the periodised wavelet commute with a shift by half of 320 = 10 * 2^5: the problem is the same.
It has no wavelets: the transform below is hand-written, its inverse is its adjoint, and both are compiled in its step.
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pywt
import scico.numpy as snp
from problems import CG_ITERATIONS, INNER, LEVELS, TV_ITERATIONS, WAVELET, WAVELET_ITERATIONS
from scico.functional import Functional, L1Norm, SeparableFunctional, ZeroFunctional
from scico.linop import DFT, Diagonal, FiniteDifference, LinearOperator, VerticalStack
from scico.loss import SquaredL2Loss
from scico.optimize import PDHG
from scico.optimize.admm import ADMM, LinearSubproblemSolver
from scico.optimize.pgm import AcceleratedPGM
from scico.solver import cg as scico_cg
from worker import serve

SILENT = {"fields": {"Iter": "%d"}, "itstat_func": lambda solver: (solver.itnum,)}
TV_RHO_OVER_LAM, TV_INNER = 100.0, 2  # of a grid: the fewest inner steps that reach the objective to 1e-3
TV_SIGMA = 0.1


def load(x, form):
    if form == "centred":
        return snp.array(x)
    return snp.array(np.ascontiguousarray(np.fft.ifftshift(x, axes=[a for a in (-2, -1) if x.shape[a] > 1])))


def to_numpy(work, x):
    return np.asarray(x) if work.endswith("_centred") else np.fft.fftshift(np.asarray(x))


def centred_dft(shape):
    axes = (1, 2)

    def forward(x):
        return jnp.fft.fftshift(jnp.fft.fft2(jnp.fft.ifftshift(x, axes), norm="ortho"), axes)

    def adjoint(y):
        return jnp.fft.fftshift(jnp.fft.ifft2(jnp.fft.ifftshift(y, axes), norm="ortho"), axes)

    return LinearOperator(shape, shape, eval_fn=forward, adj_fn=adjoint, input_dtype=np.complex64, jit=True)


def composed(maps, sampled, form):
    coils = Diagonal(maps, input_shape=maps.shape[1:], input_dtype=np.complex64)
    samples = Diagonal(sampled, input_shape=maps.shape, input_dtype=np.complex64)
    dft = centred_dft(maps.shape) if form == "centred" else DFT(maps.shape, axes=(1, 2), norm="ortho")
    A = samples @ dft @ coils
    A.jit()
    return A


def fused(maps, sampled):
    def forward(x):
        return sampled * jnp.fft.fft2(maps * x, norm="ortho")

    def adjoint(y):
        return jnp.sum(jnp.conj(maps) * jnp.fft.ifft2(sampled * y, norm="ortho"), axis=0)

    dtypes = {"input_dtype": np.complex64, "output_dtype": np.complex64}
    return LinearOperator(maps.shape[1:], maps.shape, eval_fn=forward, adj_fn=adjoint, jit=True, **dtypes)


def setting(problem, mask, form):
    maps, sampled, b = (load(problem[name], form) for name in ("maps", f"mask_{mask}", f"kspace_{mask}"))
    A = fused(maps, sampled) if form == "tuned" else composed(maps, sampled, form)
    return A, b, float(problem[f"lam_{mask}"]), float(problem[f"eig_{mask}"]), SILENT if form == "tuned" else None


def normal(problem, mask, form):
    gram, x = setting(problem, mask, form)[0].gram_op, load(problem["image"], form)
    return lambda: gram(x).block_until_ready()


def cg(problem, mask, form):
    A, b, *_ = setting(problem, mask, form)
    gram = A.gram_op
    return lambda: scico_cg(gram, A.adj(b), tol=0.0, maxiter=CG_ITERATIONS)[0].block_until_ready()


# ---- orthogonal periodised wavelets, phase as in PyWavelets


def rows(x, low, high):
    """One level along axis 0: even and odd rows apart, so that every tap is a contiguous slice."""
    half = x.shape[0] // 2
    taps = len(low) // 2
    pairs = x.reshape(half, 2, -1)
    extended = jnp.concatenate([pairs, pairs[: taps - 1]])  # circular
    a = d = 0
    for k in range(taps):
        even, odd = extended[k : k + half, 0], extended[k : k + half, 1]
        a, d = a + low[2 * k] * even + low[2 * k + 1] * odd, d + high[2 * k] * even + high[2 * k + 1] * odd
    return a, d


def rows_back(a, d, low, high):
    half, taps = a.shape[0], len(low) // 2
    a, d = (jnp.concatenate([v[half - taps + 1 :], v]) for v in (a, d))
    even = odd = 0
    for k in range(taps):
        s = slice(taps - 1 - k, taps - 1 - k + half)
        even, odd = even + low[2 * k] * a[s] + high[2 * k] * d[s], odd + low[2 * k + 1] * a[s] + high[2 * k + 1] * d[s]
    return jnp.stack([even, odd], axis=1).reshape(2 * half, -1)


class Wavelets:
    def __init__(self):
        filters = pywt.Wavelet(WAVELET)
        self.low, self.high = (np.asarray(f[::-1], np.float32) for f in (filters.dec_lo, filters.dec_hi))
        self.offset = len(self.low) // 2 - 1  # PyWavelets' phase: output i starts at sample 2i - offset

    def forward(self, x):
        out = []
        for _ in range(LEVELS):
            a, d = rows(jnp.roll(x, self.offset, 0), self.low, self.high)
            stacked = jnp.roll(jnp.concatenate([a, d]).T, self.offset, 0)
            a, d = rows(stacked, self.low, self.high)
            half = a.shape[1] // 2
            out.append((a[:, half:], d[:, :half], d[:, half:]))
            x = a[:, :half].T
        return [x, *out]

    def inverse(self, coefficients):
        x, *out = coefficients
        for lh, hl, hh in reversed(out):
            a, d = jnp.concatenate([x.T, lh], axis=1), jnp.concatenate([hl, hh], axis=1)
            stacked = jnp.roll(rows_back(a, d, self.low, self.high), -self.offset, 0).T
            half = stacked.shape[0] // 2
            x = jnp.roll(rows_back(stacked[:half], stacked[half:], self.low, self.high), -self.offset, 0)
        return x


class WaveletL1(Functional):
    has_eval = has_prox = True

    def __init__(self, lam):
        self.lam, self.W = lam, Wavelets()
        super().__init__()

    @partial(jax.jit, static_argnums=0)
    def __call__(self, x):
        return self.lam * sum(jnp.abs(c).sum() for c in jax.tree.leaves(self.W.forward(x)))

    def prox(self, v, lam=1.0, **kwargs):
        def soft(c):
            size = jnp.abs(c)
            return c * (jnp.maximum(size - self.lam * lam, 0) / jnp.where(size > 0, size, 1))

        return self.W.inverse(jax.tree.map(soft, self.W.forward(v)))


def wavelet(problem, mask, form):
    A, b, lam, eig, options = setting(problem, mask, form)
    f, g, x0 = SquaredL2Loss(y=b, A=A), WaveletL1(lam), snp.zeros(A.input_shape, dtype=np.complex64)

    def run():
        solver = AcceleratedPGM(f, g, L0=eig, x0=x0, maxiter=WAVELET_ITERATIONS, itstat_options=options)
        return solver.solve().block_until_ready()

    return run


# ---- total variation: ADMM, as in SCICO's own TV examples; its PDHG is slower and less far after 100 iterations


def differences(A):
    return FiniteDifference(A.input_shape, input_dtype=np.complex64, circular=True)


def tv(problem, mask, form):
    A, b, lam, _, options = setting(problem, mask, form)
    f, g, D, x0 = SquaredL2Loss(y=b, A=A), lam * L1Norm(), differences(A), A.adj(b)

    def run():
        solver = ADMM(
            f=f, g_list=[g], C_list=[D], rho_list=[TV_RHO_OVER_LAM * lam], x0=x0, maxiter=TV_ITERATIONS,
            subproblem_solver=LinearSubproblemSolver({"tol": 1e-4, "maxiter": TV_INNER}), itstat_options=options,
        )  # fmt: skip
        return solver.solve().block_until_ready()

    return run


def tv_pdhg(problem, mask, form):
    A, b, lam, eig, options = setting(problem, mask, form)
    C = VerticalStack([A, differences(A)], jit=True)
    f, g = ZeroFunctional(), SeparableFunctional([SquaredL2Loss(y=b), lam * L1Norm()])

    def run():
        tau = 1 / (TV_SIGMA * (eig + 8))  # |[A; D]|^2 <= |A|^2 + 8
        solver = PDHG(f, g, C, tau=tau, sigma=TV_SIGMA, maxiter=TV_ITERATIONS, itstat_options=options)
        return solver.solve().block_until_ready()

    return run


if __name__ == "__main__":
    plain = {"normal": normal, "cg": cg, "wavelet": wavelet, "tv": tv, "tv_pdhg": tv_pdhg}
    works = {name: partial(work, form="plain") for name, work in plain.items()}
    for form in ("tuned", "centred"):
        works |= {f"{name}_{form}": partial(work, form=form) for name, work in plain.items()}
    serve("scico", works, ("scico", "jax", "jaxlib", "numpy"), to_numpy, inner=INNER)
