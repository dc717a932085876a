"""finufft's side: plans made beforehand, nodes sorted, all coils in one plan; and the exact answers, at 1e-12."""

from functools import partial

import finufft
import numpy as np
from problems import NUFFT, key
from worker import serve

EPS = 1e-5


def plans(problem, case, eps, real):
    shape, coils = NUFFT[case]
    kind = np.result_type(real, np.complex64)
    # The float32 nodes as they are; their multiple of 2 pi at full precision.
    nodes = problem[key(case, "nodes")].astype(np.float64)
    points = [np.ascontiguousarray(2 * np.pi * p).astype(real) for p in nodes.T]
    pair = [finufft.Plan(kind_, shape, coils, eps, sign, dtype=kind) for kind_, sign in ((2, -1), (1, 1))]
    for plan in pair:
        plan.setpts(*points)
    scale = real(1 / np.sqrt(np.prod(shape)))
    x, y = (np.ascontiguousarray(problem[key(case, name)], kind) for name in ("images", "samples"))
    if coils == 1:
        x, y = x[0], y[0]
    return *pair, x, y, scale


def work(problem, case, direction, eps=EPS, real=np.float32):
    forward, adjoint, x, y, scale = plans(problem, case, eps, real)
    runs = {
        "forward": lambda: scale * forward.execute(x),
        "adjoint": lambda: scale * adjoint.execute(y),
        "pair": lambda: scale * adjoint.execute(scale * forward.execute(x)),
    }
    return runs[direction]


def to_numpy(work, answer):
    return answer if answer.ndim in (2, 4) or answer.shape[0] == 8 else answer[None]


if __name__ == "__main__":
    works = {}
    for direction in ("forward", "adjoint", "pair"):
        works[f"nufft {direction}"] = partial(work, direction=direction)
        works[f"nufft {direction} exact"] = partial(work, direction=direction, eps=1e-12, real=np.float64)
    serve("finufft", works, ("finufft", "numpy"), to_numpy)
