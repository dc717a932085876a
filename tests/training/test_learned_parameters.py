"""lam, step sizes and filters of a prior by gradient on training pairs: solvers in the place of networks."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrecon as jr


def signals(count, n=24, sigma=0.2):
    """Steps with noise: (b, x)."""
    keys = jax.random.split(jax.random.key(0), 2)
    x = jnp.cumsum(jax.random.normal(keys[0], (count, n)) * (jax.random.uniform(keys[1], (count, n)) < 0.15), 1)
    return x + sigma * jax.random.normal(jax.random.key(1), x.shape), x


@pytest.mark.slow
@pytest.mark.parametrize("differentiate", ["unrolled", "implicit"])
def test_lam_that_is_best_on_the_pairs(differentiate):
    A = jr.Identity((24,))
    b, x = signals(16)

    def method(lam):
        return jr.Iterative(jr.ADMM(jr.TV(lam), rho=1.0), 40, differentiate=differentiate)

    trained, log = jr.fit(method(0.5), jr.Examples(A, b, x, batch_size=16), steps=80, optimizer=optax.adam(0.1),
                          key=jax.random.key(0), train=lambda path, leaf: path.endswith("lam"))
    assert log.ok
    error = jax.jit(lambda lam: jnp.mean((jax.vmap(lambda b: method(lam)(A, b))(b) - x) ** 2))
    lams = np.geomspace(0.05, 0.8, 60)
    errors = [float(error(lam)) for lam in lams]
    found = float(trained.solver.prior[0].lam)
    assert float(error(found)) <= min(errors) * 1.002
    assert abs(np.log(found / lams[int(np.argmin(errors))])) < 0.1


def test_a_filter_with_zeros_learns_all_its_taps():
    """Scalars train as their log, weights of a filter do not: they may change their sign and leave zero."""
    want = jnp.array([-0.5, 1.0, 0.3])

    @jr.value
    class Filtered:
        kernel: jax.Array
        trains = ("kernel",)

        def __call__(self, A, b):
            return jnp.convolve(b, self.kernel, mode="same")

    b = jax.random.normal(jax.random.key(0), (32, 12))
    x = jax.vmap(Filtered(want), (None, 0))(None, b)
    trained, _ = jr.fit(Filtered(jnp.array([0.0, 1.0, 0.0])), jr.Examples(jr.Identity((12,)), b, x, batch_size=32),
                        steps=300, optimizer=optax.adam(0.05), key=jax.random.key(0), progress=False)
    np.testing.assert_allclose(trained.kernel, want, atol=1e-3)


@pytest.mark.slow
def test_the_filter_of_a_prior():
    """Analysis sparsity with a kernel of three taps: training finds one that sums to nothing, as differences do."""
    A = jr.Identity((24,))
    b, x = signals(32)
    kernel = jnp.array([0.3, 0.2, -0.1])

    def method(kernel):
        return jr.Iterative(jr.PDHG(jr.L1(0.15, jr.Convolution(kernel, (24,))), tau=0.3, sigma=0.3), 60)

    def error(kernel):
        return jnp.mean((jax.vmap(lambda b: method(kernel)(A, b))(b) - x) ** 2)

    slope, h = jax.grad(error)(kernel), 1e-6
    for k in range(3):
        step = h * jnp.eye(3)[k]
        np.testing.assert_allclose(slope[k], (error(kernel + step) - error(kernel - step)) / (2 * h), rtol=1e-4)
    trained, log = jr.fit(method(kernel), jr.Examples(A, b, x, batch_size=32), steps=150, optimizer=optax.adam(0.02),
                          key=jax.random.key(0), train=lambda path, leaf: "kernel" in path)
    found = trained.solver.prior[0].transform.kernel
    assert log.ok and abs(float(jnp.sum(found))) < 0.15 * float(jnp.sum(jnp.abs(found)))


@pytest.mark.slow
def test_a_step_size_for_every_iteration():
    """Unrolled gradient descent without a network: three steps that beat any constant one on their pairs."""
    rng = np.random.default_rng(0)
    A = jr.Matrix(jnp.asarray(rng.standard_normal((8, 4)) * np.array([1, 0.7, 0.4, 0.3])))
    x = jnp.asarray(rng.standard_normal((64, 4)))
    b = jax.vmap(A)(x)

    @jr.value
    class Descent:
        solvers: jr.Solver

        def __call__(self, A, b):
            return jr.unroll(A, b, self.solvers, 3)

    def error(steps):
        return float(jnp.mean((jax.vmap(lambda b: Descent(jr.Landweber(steps))(A, b))(b) - x) ** 2))

    start = jnp.array([0.4, 0.5, 0.6]) / jr.operator_norm(A) ** 2
    trained, log = jr.fit(Descent(jr.Landweber(start)), jr.Examples(A, b, x, batch_size=64), steps=300,
                          optimizer=optax.adam(0.03), key=jax.random.key(0),
                          train=lambda path, leaf: path.endswith("step_size"))
    constant = min(error(jnp.full(3, s)) for s in np.geomspace(0.2, 4, 40) / float(jr.operator_norm(A)) ** 2)
    assert log.ok and error(trained.solvers.step_size) < 0.95 * constant
