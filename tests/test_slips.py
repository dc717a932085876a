"""Common slips in calls, each with an error that names it and what would do, or taken as meant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr

A, B = jr.Matrix(jnp.diag(jnp.array([2.0, 1.0]))), jnp.array([2.0, 3.0])
PRIOR = jr.L1(0.1)


def test_lists_stand_for_arrays_and_for_tuples():
    np.testing.assert_array_equal(jr.solve(A, [2.0, 3.0], jr.CGNR(), 2).x, jr.solve(A, B, jr.CGNR(), 2).x)
    np.testing.assert_array_equal(A([1, 2]), [2, 2])
    S = jr.stack([jr.Identity((2,)), 2.0 * jr.Identity((2,))])
    y = [np.ones(2), np.ones(2)]
    np.testing.assert_array_equal(S.H(y), S.H(tuple(y)))
    np.testing.assert_array_equal(jr.solve(S, y, jr.CGNR(), 2).x, jr.solve(S, tuple(y), jr.CGNR(), 2).x)


def test_an_array_in_place_of_a_function_leaves_nothing_behind():
    with pytest.raises(TypeError, match=r"takes a function of x, got float64\[3, 3\]; wrap an array in jr\.Matrix"):
        jr.linear(np.eye(3), (3,))
    assert jr.linear(jnp.cumsum, (3,)).H(jnp.ones(3)).tolist() == [3, 2, 1]


@pytest.mark.parametrize(("call", "kind", "words"), [
    (lambda: jr.CGNR(1 + 5j), ValueError, "CGNR: lam must be real"),
    (lambda: jr.Kaczmarz(1 + 1j), ValueError, "Kaczmarz: lam must be real"),
    (lambda: jr.tikhonov(A, B, 1 + 5j), ValueError, "tikhonov: lam must be real"),
    (lambda: jr.CGNR("a"), TypeError, "CGNR: lam must be a number"),
    (lambda: jr.CGNR(np.nan), ValueError, "CGNR: lam must be >= 0, got nan"),
    (lambda: jr.tikhonov(A, B, np.nan), ValueError, "lam must be >= 0, got nan"),
    (lambda: jr.tikhonov(A, B, -1.0), ValueError, "lam must be >= 0, got -1"),
    (lambda: jr.FISTA(PRIOR, step_size=np.nan), ValueError, "step_size > 0, got nan"),
    (lambda: jr.ADMM(PRIOR, rho=np.nan), ValueError, "rho > 0, got nan"),
    (lambda: jr.ADMM(PRIOR, rho=1j), ValueError, "needs a real rho"),
    (lambda: jr.GradientStep(np.nan), ValueError, "nan"),
    (lambda: jr.ProximalStep(np.nan), ValueError, "lam > 0, got nan"),
    (lambda: jr.ADMM(PRIOR, balance="no"), TypeError, "balance is True or False, got 'no'"),
    (lambda: jr.HQS(PRIOR, cg=2.5), ValueError, "cg >= 1 or None, got 2.5"),
    (lambda: jr.TV(0.1, inner=2.5), ValueError, "inner must be at least 1 step, got 2.5"),
    (lambda: jr.L21(0.1, "0"), TypeError, "axis of L21"),
    (lambda: jr.Stopped(jr.CGNR(), -1.0), ValueError, "residual >= 0, got -1"),
    (lambda: jr.Iterative(jr.CGNR(), -3), ValueError, "integer >= 0, got -3"),
    (lambda: jr.solve(A, B, jr.CGNR(), iterations=None), ValueError, "integer >= 0, known before jit, got None"),
    (lambda: jr.solve(A, B, jr.CGNR(), iterations="10"), ValueError, "got '10'"),
    (lambda: jax.jit(lambda n: jr.solve(A, B, jr.CGNR(), n).x)(3), ValueError, "known before jit"),
    (lambda: jr.solve(A, B, jr.CGNR(), tolerance=np.ones(2)), ValueError, "one number.*vmap"),
    (lambda: jr.solve(A, B, jr.CGNR(), tolerance="a"), ValueError, "one number"),
    (lambda: jr.operator_norm(np.eye(3)), TypeError, r"got ndarray; wrap an array in jr\.Matrix"),
    (lambda: jr.dense(np.eye(3)), TypeError, r"got ndarray; wrap an array in jr\.Matrix"),
    (lambda: jr.Identity((3,), dtype=int), TypeError, "floating or complex dtype, got int64"),
    (lambda: jr.Gradient((3,), dtype=int), TypeError, "floating or complex dtype, got int64"),
    *[(lambda make=make: make((8.9, 8)), TypeError, r"whole numbers such as \(256, 256\), got \(8\.9, 8\)")
      for make in (jr.Fourier, jr.Identity, jr.Gradient, jr.Wavelet, lambda s: jr.Convolution(np.ones((3, 3)), s))],
    (lambda: jr.Fourier("88"), TypeError, "whole numbers"),
])
def test_slips_are_named(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
