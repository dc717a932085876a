"""SigPy's side: its own MRI apps, as its documentation runs them, without progress bars.

Mask and step sizes are given, so that no time goes into estimating them. The wavelet is the one liberty: SigPy's own
linop pads with zeros, which is no orthogonal transform and has another answer (8 % away here), so PyWavelets'
periodised mode is put into a SigPy linop; SigPy's own takes 0 to 10 % longer.
"""

import numpy as np
import pywt
import sigpy as sp
import sigpy.mri
from problems import CG_ITERATIONS, INNER, LEVELS, TV_ITERATIONS, WAVELET, WAVELET_ITERATIONS
from worker import serve

# Best of a grid: objective 9.84 after 100 iterations on the line mask; the default 1 gives 16.19, the limit is 9.776.
TV_SIGMA = 0.1


def weights(problem, mask):
    """SigPy estimates the mask from the data where none is given; giving it is faster."""
    shape = problem["maps"].shape[1:]
    return np.ascontiguousarray(np.broadcast_to(problem[f"mask_{mask}"], shape)).astype(np.complex64)


def sense(problem, mask):
    return sp.mri.linop.Sense(problem["maps"], weights=weights(problem, mask))


def normal(problem, mask):
    gram, x = sense(problem, mask).N, problem["image"]
    return lambda: gram(x)


def cg(problem, mask):
    w = weights(problem, mask)
    return lambda: sp.mri.app.SenseRecon(
        problem[f"kspace_{mask}"], problem["maps"], weights=w, max_iter=CG_ITERATIONS, show_pbar=False
    ).run()


class Periodised(sp.linop.Linop):
    """Orthogonal wavelets as a SigPy linop."""

    def __init__(self, shape, inverse=False):
        self.inverse = inverse
        _, self.slices = pywt.coeffs_to_array(pywt.wavedecn(np.zeros(shape), WAVELET, "periodization", LEVELS))
        super().__init__(shape, shape)

    def _apply(self, input):
        if self.inverse:
            coefficients = pywt.array_to_coeffs(input, self.slices, "wavedecn")
            return pywt.waverecn(coefficients, WAVELET, "periodization")
        return pywt.coeffs_to_array(pywt.wavedecn(input, WAVELET, "periodization", LEVELS))[0]

    def _adjoint_linop(self):
        return Periodised(self.ishape, not self.inverse)


def wavelet(problem, mask):
    A, lam, alpha = sense(problem, mask), float(problem[f"lam_{mask}"]), 1 / float(problem[f"eig_{mask}"])
    transform = Periodised(problem["maps"].shape[1:])
    prox = sp.prox.UnitaryTransform(sp.prox.L1Reg(transform.oshape, lam), transform)
    return lambda: sp.app.LinearLeastSquares(
        A, problem[f"kspace_{mask}"], proxg=prox, alpha=alpha, max_iter=WAVELET_ITERATIONS, show_pbar=False
    ).run()


def tv(problem, mask):
    w, lam = weights(problem, mask), float(problem[f"lam_{mask}"])
    tau = 1 / (TV_SIGMA * (float(problem[f"eig_{mask}"]) + 8))  # |[A; D]|^2 <= |A|^2 + 8
    return lambda: sp.mri.app.TotalVariationRecon(
        problem[f"kspace_{mask}"], problem["maps"], lam, weights=w, sigma=TV_SIGMA, tau=tau, max_iter=TV_ITERATIONS,
        show_pbar=False,
    ).run()


if __name__ == "__main__":
    works = {"normal": normal, "cg": cg, "wavelet": wavelet, "tv": tv}
    serve("sigpy", works, ("sigpy", "numpy", "PyWavelets"), inner=INNER)
