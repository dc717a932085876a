"""jaxrecon's side. Platform: whatever JAX finds (JAX_PLATFORMS=cpu keeps it off a GPU)."""

from functools import partial

import jax
import jax.numpy as jnp
from problems import CG_ITERATIONS, NUFFT, XRAY, key
from worker import serve

import jaxrecon as jr

APPLY = {
    "forward": lambda A, x, y: A.apply(x),
    "adjoint": lambda A, x, y: A.apply_adjoint(y),
    "pair": lambda A, x, y: A.apply_adjoint(A.apply(x)),
}


def nufft(problem, case):
    shape, coils = NUFFT[case]
    A = jr.NUFFT(jnp.asarray(problem[key(case, "nodes")]), shape)
    return jr.batched(A, coils), *(jnp.asarray(problem[key(case, name)]) for name in ("images", "samples"))


def xray(problem, case):
    size, _, detectors, spacing, distance = XRAY[case]
    angles = problem[key(case, "angles")]
    if distance is None:
        geometry = jr.ParallelBeam(angles, detectors, spacing)
    else:
        geometry = jr.FanBeam(angles, detectors, distance, distance, spacing)
    A = jr.XRay(geometry, (size, size))
    return A, *(jnp.asarray(problem[key(case, name)]) for name in ("image", "sinogram"))


def applying(problem, case, make, direction, plan):
    A, x, y = make(problem, case)
    # Prepared outside, as by `solve`; with the plan inside, as by a single call.
    A = A if plan else jax.block_until_ready(jax.jit(lambda A: A.prepared)(A))
    run = jax.jit(APPLY[direction])
    return lambda: run(A, x, y).block_until_ready()


def exact(problem, case, direction):
    """The X-ray transform in double precision."""
    with jax.enable_x64(True):
        A, *arguments = xray(problem, case)
        answer = APPLY[direction](A, *(v.astype("float64") for v in arguments))
    return lambda: answer


def cg(problem, case, toeplitz):
    A, _, y = nufft(problem, case)
    # jr.linear hides what A knows of its own Gram operator.
    A = A if toeplitz else jr.linear(lambda A, x: A.apply(x), A.domain, params=A.prepared)
    return lambda: jr.solve(A, y, jr.CGNR(), iterations=CG_ITERATIONS).x.block_until_ready()


def memory(problem, case, make, direction):
    A, x, y = make(problem, case)
    compiled = jax.jit(APPLY[direction]).lower(A.prepared, x, y).compile()
    stats = compiled.memory_analysis()
    bytes_used = -1 if stats is None else stats.temp_size_in_bytes
    return lambda: jnp.asarray(bytes_used)


if __name__ == "__main__":
    works = {"cg toeplitz": partial(cg, toeplitz=True), "cg gridded": partial(cg, toeplitz=False)}
    for name, make in (("nufft", nufft), ("xray", xray)):
        for direction in APPLY:
            works[f"{name} {direction}"] = partial(applying, make=make, direction=direction, plan=False)
            works[f"{name} {direction} memory"] = partial(memory, make=make, direction=direction)
    works["nufft pair with plan"] = partial(applying, make=nufft, direction="pair", plan=True)
    works |= {f"xray {direction} exact": partial(exact, direction=direction) for direction in APPLY}
    serve("jaxrecon", works, ("jaxrecon", "jax", "jaxlib", "numpy"))
