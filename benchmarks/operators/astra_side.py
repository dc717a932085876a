"""ASTRA's side: its CPU kernels, "linear" (Joseph) for parallel beam, and for fan beam the only one, "line_fanflat"."""

from functools import partial

import astra
import numpy as np
from problems import XRAY, key
from worker import serve


def work(problem, case, direction):
    size, _, detectors, spacing, distance = XRAY[case]
    angles = problem[key(case, "angles")]
    if distance is None:
        geometry, kind = astra.create_proj_geom("parallel", spacing, detectors, angles), "linear"
    else:
        geometry = astra.create_proj_geom("fanflat", spacing, detectors, angles, distance, distance)
        kind = "line_fanflat"
    operator = astra.OpTomo(astra.create_projector(kind, geometry, astra.create_vol_geom(size, size)))
    x, y = problem[key(case, "image")], problem[key(case, "sinogram")]
    runs = {
        "forward": lambda: operator.FP(x),
        "adjoint": lambda: operator.BP(y),
        "pair": lambda: operator.BP(operator.FP(x)),
    }
    return runs[direction]


if __name__ == "__main__":
    works = {f"xray {direction}": partial(work, direction=direction) for direction in ("forward", "adjoint", "pair")}
    serve("astra", works, ("astra-toolbox", "numpy"), lambda work, answer: np.array(answer))
