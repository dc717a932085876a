"""SCICO's side: XRayTransform2D (pixel footprints), which takes projected pixels of at most the width of a detector."""

from functools import partial

import jax
import numpy as np
import scico.numpy as snp
from problems import XRAY, key
from scico.linop.xray import XRayTransform2D
from worker import serve


def work(problem, case, direction):
    size, _, detectors, spacing, distance = XRAY[case]
    if distance is not None or spacing < np.sqrt(2) - 1e-6:
        raise NotImplementedError("SCICO has parallel beam with wide detectors only")
    # In units of the detector: pixels of side 1 / spacing. It sums areas, hence a line integral is its value / spacing.
    side = np.full(2, 1 / spacing)
    A = XRayTransform2D((size, size), problem[key(case, "angles")] + np.pi / 2, dx=side, det_count=detectors)
    x, y = snp.array(problem[key(case, "image")]), snp.array(problem[key(case, "sinogram")])
    runs = {
        "forward": jax.jit(lambda x, y: A(x) / spacing),
        "adjoint": jax.jit(lambda x, y: A.T(y) / spacing),
        "pair": jax.jit(lambda x, y: A.T(A(x)) / spacing**2),
    }
    run = runs[direction]
    return lambda: run(x, y).block_until_ready()


if __name__ == "__main__":
    works = {f"xray {direction}": partial(work, direction=direction) for direction in ("forward", "adjoint", "pair")}
    serve("scico", works, ("scico", "jax", "jaxlib", "numpy"))
