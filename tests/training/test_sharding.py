"""A batch divided over 8 devices is the same batch."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import jax, jax.numpy as jnp, numpy as np, optax, pytest
import jaxrecon as jr
from flax import nnx
from jaxrecon.networks.base import build
from jaxrecon.training import Examples, Simulated, fit

assert len(jax.devices()) == 8

@jr.value
class Convolved:
    net: object
    def __call__(self, A, b):
        x = A.H(b)
        y = self.net(jnp.stack([x.real, x.imag], -1))
        return jax.lax.complex(y[..., 0], y[..., 1])

def simulate(key):
    k1, k2 = jax.random.split(key)
    A = jr.Fourier((6, 5), mask=(jax.random.uniform(k1, (6, 5)) < 0.6).astype(float))
    x = jax.random.normal(k2, (6, 5), complex)
    return A, A(x), x

net = build(lambda rngs: nnx.Conv(2, 2, (3, 3), rngs=rngs), jax.random.key(0))
data = Simulated(simulate, 16, batched=("mask",))
valid = data.batch(jax.random.key(9), 0)
def run(mesh):
    return fit(Convolved(net), data, steps=4, key=jax.random.key(1), optimizer=optax.adam(0.01), clip=0.5, mesh=mesh,
               validation=(valid[0], valid[1], valid[2]), validate_every=2, progress=False)
mesh = jax.make_mesh((8,), ("batch",))
(one, log1), (many, log8) = run(None), run(mesh)
for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    assert b.devices() == {jax.devices()[0]}
np.testing.assert_allclose(log1.loss, log8.loss, rtol=1e-6)
np.testing.assert_allclose(log1.validation, log8.validation, rtol=1e-6)

# A line search looks at the loss of the whole batch, not of a device's part.
def searched(mesh):
    r = jr.Iterative(jr.CGNR(1.0), iterations=3)
    rng = np.random.default_rng(0)
    A, x = jr.Diagonal(jnp.arange(1.0, 6.0)), rng.normal(size=(16, 5))
    b = x * np.arange(1, 6) + rng.normal(size=(16, 5)) * np.geomspace(0.1, 3, 16)[:, None]
    return fit(r, jr.Examples(A, b, x, batch_size=16), steps=5, key=jax.random.key(0), optimizer=optax.lbfgs(),
               mesh=mesh, train=lambda path, leaf: path == "solver.lam", progress=False)
(one, log1), (many, log8) = searched(None), searched(mesh)
np.testing.assert_allclose(log1.loss, log8.loss, rtol=1e-9)
np.testing.assert_allclose(one.solver.lam, many.solver.lam, rtol=1e-9)
assert abs(float(one.solver.lam) - 1) > 0.01

A = jr.Fourier((6, 5))
x = jnp.ones((20, 6, 5), complex)
with pytest.raises(ValueError, match="batch of 20 examples does not divide over 8 devices"):
    fit(Convolved(net), [(A, x, x)], steps=1, mesh=mesh, progress=False)
with pytest.raises(ValueError, match="one axis.*got axes"):
    fit(Convolved(net), [(A, x, x)], steps=1, mesh=jax.make_mesh((4, 2), ("a", "b")), progress=False)
print("equal")
"""


@pytest.mark.slow
def test_eight_devices_equal_one():
    env = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1",
                        "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=env, check=False)
    assert done.stdout.strip() == "equal", done.stderr[-3000:]
