"""The checker of operators must pass what is right and find what is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.operator import LinearOperator
from jaxrecon.operators.elementary import Diagonal, Matrix
from jaxrecon.testing import adjoint_error, check_operator, linearity_error
from jaxrecon.value import value

KEY = jax.random.key(0)
RNG = np.random.default_rng(3)
R = RNG.standard_normal((4, 3))
C = R + 1j * RNG.standard_normal((4, 3))


@value
class Faulty(LinearOperator):
    """A with one thing wrong, chosen by which methods a subclass replaces."""

    a: jax.Array

    @property
    def domain(self):
        return jax.ShapeDtypeStruct(self.a.shape[1:], self.a.dtype)

    def apply(self, x):
        return self.a @ x


@value
class WrongAdjoint(Faulty):
    def apply_adjoint(self, y):
        return 1.01 * self.a.T @ y


@value
class Conjugated(Faulty):
    def apply_adjoint(self, y):
        return self.a.T @ y  # misses the conjugate


@value
class Affine(Faulty):
    def apply(self, x):
        return self.a @ x + 1

    def apply_adjoint(self, y):
        return self.a.T @ y


@value
class WrongGram(Faulty):
    @property
    def gram(self):
        return 1.5 * Matrix(self.a).gram


@value
class WrongPrepared(Faulty):
    @property
    def prepared(self):
        return Matrix(self.a * 1.001)


@value
class Square(Faulty):
    @property
    def spectrum(self):
        return jnp.ones(self.a.shape[1:])


@value
class WrongSpectrum(Faulty):
    @property
    def gram(self):
        return Square(self.a.T @ self.a)


@value
class NoVmap(Faulty):
    def apply(self, x):
        y = jax.ShapeDtypeStruct((4,), x.dtype)
        return jax.pure_callback(lambda a, x: np.asarray(a @ x, x.dtype), y, self.a, x)

    def apply_adjoint(self, y):
        return self.a.T @ y


@value
class NewAdjoint(Faulty):
    @property
    def H(self):
        return Matrix(self.a.T)


@value
class LostPrecision(Faulty):
    def apply_adjoint(self, y):
        x = self.a.T @ y
        return x.astype("complex64" if jnp.iscomplexobj(x) else "float32")


@pytest.mark.parametrize(("kind", "a", "message"), [
    (WrongAdjoint, R, "dot test.*allowed"),
    (Conjugated, C, "dot test"),
    (Affine, R, "linearity|dot test"),
    (WrongGram, R, r"gram is A\^H A fails: norms"),
    (WrongPrepared, R, "prepared is A fails"),
    (WrongSpectrum, R, "spectrum"),
    (NoVmap, R, "vmap of A fails"),
    (NewAdjoint, R, "A.H.H is A"),
    (LostPrecision, R, "float64.*dot test"),
])
def test_checker_finds_the_fault(kind, a, message):
    with pytest.raises(AssertionError, match=message):
        check_operator(kind(jnp.asarray(a)), KEY)


def test_errors_measure_what_they_say():
    assert adjoint_error(Matrix(C), KEY) < 1e-15
    assert 1e-4 < adjoint_error(WrongAdjoint(jnp.asarray(R)), KEY) < 1e-2
    assert linearity_error(Matrix(C), KEY) < 1e-15
    assert linearity_error(Affine(jnp.asarray(R)), KEY) > 0.1
    # Float32 sums on the device would hide an error of this size among 10^6 unknowns.
    assert adjoint_error(Diagonal(jnp.ones(10**6, "float32")), KEY) < 1e-9


def test_old_style_keys_and_given_dtypes():
    assert adjoint_error(Matrix(R), jax.random.PRNGKey(1), dtype="complex64") < 1e-6
    assert linearity_error(Matrix(R), KEY, dtype="complex128") < 1e-15
    with pytest.raises(AssertionError, match="allowed 1e-20"):
        check_operator(Matrix(C), KEY, rtol=1e-20)
