"""jax-finufft's side: coils as leading axis, so that one plan serves them all; it makes that plan at every call."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax_finufft import nufft1, nufft2
from problems import NUFFT, key
from worker import serve

EPS = 1e-5


def forward(x, points, scale):
    return nufft2(x, *points, eps=EPS, iflag=-1) * scale


def adjoint(y, points, scale, shape):
    return nufft1(shape, y, *points, eps=EPS, iflag=1) * scale


def work(problem, case, direction):
    shape, _ = NUFFT[case]
    points = tuple(jnp.asarray(2 * np.pi * p) for p in problem[key(case, "nodes")].T)
    x, y = jnp.asarray(problem[key(case, "images")]), jnp.asarray(problem[key(case, "samples")])
    scale = jnp.float32(1 / np.sqrt(np.prod(shape)))
    if direction == "forward":
        run, argument = jax.jit(partial(forward, scale=scale)), x
    elif direction == "adjoint":
        run, argument = jax.jit(partial(adjoint, scale=scale, shape=shape)), y
    else:
        run, argument = jax.jit(lambda x, p: adjoint(forward(x, p, scale), p, scale, shape)), x
    return lambda: run(argument, points).block_until_ready()


if __name__ == "__main__":
    works = {f"nufft {direction}": partial(work, direction=direction) for direction in ("forward", "adjoint", "pair")}
    serve("jax_finufft", works, ("jax-finufft", "jax", "jaxlib", "numpy"))
