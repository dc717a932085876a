"""torchkbnufft's side: its defaults (width 6, oversampling 2, table interpolation), tables made beforehand."""

from functools import partial

import numpy as np
import torch
import torchkbnufft as tkbn
from problems import NUFFT, key
from worker import serve


def work(problem, case, direction):
    shape, _ = NUFFT[case]
    omega = torch.from_numpy(np.ascontiguousarray(2 * np.pi * problem[key(case, "nodes")].T))
    x, y = (torch.from_numpy(problem[key(case, name)])[None] for name in ("images", "samples"))
    forward, adjoint = tkbn.KbNufft(shape), tkbn.KbNufftAdjoint(shape)
    runs = {
        "forward": lambda: forward(x, omega, norm="ortho")[0],
        "adjoint": lambda: adjoint(y, omega, norm="ortho")[0],
        "pair": lambda: adjoint(forward(x, omega, norm="ortho"), omega, norm="ortho")[0],
    }
    # Its "ortho" divides by the root of the oversampled grid.
    factor = float(np.sqrt(2.0 ** len(shape))) ** (2 if direction == "pair" else 1)

    def run():
        with torch.inference_mode():
            return factor * runs[direction]()

    return run


if __name__ == "__main__":
    works = {f"nufft {direction}": partial(work, direction=direction) for direction in ("forward", "adjoint", "pair")}
    serve("torchkbnufft", works, ("torchkbnufft", "torch", "numpy"), lambda work, answer: answer.numpy())
