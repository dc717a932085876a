"""jaxrecon's side, and the floor: a bare FFT and IFFT of the same arrays."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
from functools import partial

import jax
import jax.numpy as jnp
from problems import CG_ITERATIONS, INNER, KACZMARZ_LAM, LEVELS, MANY_SWEEPS, WAVELET, WAVELET_ITERATIONS
from worker import serve

# FISTA with restart, of a grid of solvers: after so many iterations its objective is below what every neighbour
# reaches in 100. The objectives are compared before anything is timed.
TV_ITERATIONS = 40


def floor(problem, mask):
    x = jnp.asarray(problem["maps"] * problem["image"])
    run = jax.jit(lambda x: jnp.fft.ifft2(jnp.fft.fft2(x)))
    return lambda: run(x).block_until_ready()


def setting(problem, mask):
    import jaxrecon as jr

    A = jr.sense(jnp.asarray(problem["maps"]), jnp.asarray(problem[f"mask_{mask}"]))
    b = jnp.asarray(problem[f"kspace_{mask}"])
    return jr, A, b, jnp.asarray(problem[f"lam_{mask}"]), 1 / jnp.asarray(problem[f"eig_{mask}"])


def solving(jr, A, b, solver, iterations):
    return lambda: jr.solve(A, b, solver, iterations=iterations).x.block_until_ready()


def normal(problem, mask):
    _, A, *_ = setting(problem, mask)
    apply, gram, x = jax.jit(lambda gram, x: gram(x)), A.gram, jnp.asarray(problem["image"])
    return lambda: apply(gram, x).block_until_ready()


def cg(problem, mask):
    jr, A, b, _, _ = setting(problem, mask)
    return solving(jr, A, b, jr.CGNR(), CG_ITERATIONS)


def wavelet(problem, mask):
    jr, A, b, lam, step = setting(problem, mask)
    prior = jr.L1(lam, transform=jr.Wavelet(problem["image"].shape, WAVELET, levels=LEVELS))
    return solving(jr, A, b, jr.FISTA(prior, step_size=step), WAVELET_ITERATIONS)


def tv(problem, mask, iterations=TV_ITERATIONS):
    """The prior is the neighbours': anisotropic, circular, magnitudes of complex differences."""
    jr, A, b, lam, step = setting(problem, mask)
    prior = jr.TV(lam, isotropic=False, boundary="circular")
    return solving(jr, A, b, jr.FISTA(prior, step_size=step, restart=True), iterations)


def kaczmarz(problem, dtype, sweeps):
    import jaxrecon as jr

    A, b = jr.Matrix(jnp.asarray(problem[f"matrix_{dtype}"])), jnp.asarray(problem[f"rhs_{dtype}"])
    return solving(jr, A, b, jr.Kaczmarz(lam=KACZMARZ_LAM), sweeps)


if __name__ == "__main__":
    works = {
        "floor": floor,
        "normal": normal,
        "cg": cg,
        "wavelet": wavelet,
        "tv": tv,
        "kaczmarz": partial(kaczmarz, sweeps=1),
        "kaczmarz_many": partial(kaczmarz, sweeps=MANY_SWEEPS),
    }
    serve("jaxrecon", works, ("jaxrecon", "jax", "jaxlib", "numpy"), inner=INNER)
