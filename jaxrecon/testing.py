"""Checks that an operator is what it claims to be: linear, with its exact adjoint, in every way JAX can run it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .operator import Adjoint, LinearOperator, real_dtype, with_dtype
from .value import describe, is_complex, norm_squared


def adjoint_error(A: LinearOperator, key: jax.Array, dtype: Any = None) -> float:
    """The dot test: |<A x, y> - <x, A^H y>| / (|A x| |y|) for random x and y.

    Args:
        A: the operator; its measurements may be a tuple.
        key: where x and y come from.
        dtype: dtype of x; that of `A.domain` by default.

    Returns:
        The error, summed in complex128 on the host: about the rounding of the dtype where the adjoint is exact. The
        inner product is Re <., .> where A^H makes real of complex (x must be real) or complex of real.

    Example:
        >>> jr.testing.adjoint_error(jr.Fourier((8, 8)), jax.random.key(0)) < 1e-14
        True
    """
    draw = _Draw(key)
    x = draw(_domain(A, dtype))
    Ax = A(x)
    y = draw(Ax)
    return _dot_error(x, Ax, y, A.H(y))


def linearity_error(A: LinearOperator, key: jax.Array, dtype: Any = None) -> float:
    """|A(a x + b z) - a A x - b A z| / |A(a x + b z)| for random x and z, or |A 0| relative to it if that is larger.

    Args:
        A: the operator.
        key: where x and z come from; a and b are fixed, complex where A is linear over the complex numbers.
        dtype: dtype of x; that of `A.domain` by default.

    Example:
        >>> jr.testing.linearity_error(jr.Fourier((8, 8)), jax.random.key(0)) < 1e-14
        True
    """
    draw = _Draw(key)
    x, z = draw(_domain(A, dtype)), draw(_domain(A, dtype))
    return _linearity_error(A, x, z, A(x), A(z))


def check_operator(A: LinearOperator, key: jax.Array, rtol: float | None = None) -> None:
    """Everything that an operator must satisfy; raises AssertionError naming what fails, with the numbers.

    Dot test and linearity; A.H.H is A; shapes and dtypes of A.H(A x); jit and vmap equal the plain call; the gradient
    of |A x - b|^2 / 2 is A^H (A x - b) and forward mode is A; `gram` is A^H A, and its `spectrum` its eigenvalues;
    `prepared` is A. Operators with real coefficients are checked for real and complex x, and all at float32 and
    float64 where x64 is enabled.

    Args:
        A: the operator.
        key: where the random vectors come from.
        rtol: largest relative error; by default 1e-5 in single precision (of x or of A) and 1e-12 in double.

    Raises:
        AssertionError: a property fails.

    Example:
        >>> jr.testing.check_operator(jr.Fourier((4, 5), mask=jnp.arange(4)[:, None] > 1), jax.random.key(0))
    """
    twice = A.H.H
    same = twice.operator is A.operator if isinstance(A, Adjoint) and isinstance(twice, Adjoint) else twice is A
    _require(same, A, None, "A.H.H is A", f"got {twice!r}")
    for dtype in _dtypes(A):
        _check_at(A, _Draw(key), dtype, rtol)


def _check_at(A, draw, dtype, rtol):
    domain = _domain(A, dtype)
    single = jnp.float32 in (real_dtype(domain), real_dtype(A.domain))
    tolerance = rtol if rtol is not None else (1e-5 if single else 1e-12)

    def small(what, error):
        _require(error <= tolerance, A, domain, what, f"relative error {error:.3g}, allowed {tolerance:.3g}")

    def equal(what, got, wanted):
        _require(jax.tree.map(jnp.shape, got) == jax.tree.map(jnp.shape, wanted), A, domain, what,
                 f"shapes {describe(got)} and {describe(wanted)}")
        error = _relative(got, wanted)
        _require(error <= tolerance, A, domain, what, f"norms {_norm(got):.8g} and {_norm(wanted):.8g}, relative "
                 f"error {error:.3g}, allowed {tolerance:.3g}")

    x, z = draw(domain), draw(domain)
    Ax, Az = A(x), A(z)
    b = draw(Ax)
    back, Ab = A.H(Ax), A.H(b)

    small("dot test: <A x, y> is <x, A^H y>", _dot_error(x, Ax, b, Ab))
    small("linearity: A(a x + b z) is a A x + b A z, and A 0 is 0", _linearity_error(A, x, z, Ax, Az))
    _require(back.shape == domain.shape, A, domain, "A.H(A x) has the shape of x", describe(back))
    if domain.dtype == A.domain.dtype:
        _require(back.dtype == domain.dtype, A, domain, "A.H(A x) has the dtype of x", describe(back))
        _require(describe(A.codomain) == describe(Ax), A, domain, "A.codomain describes A(x)",
                 f"{describe(A.codomain)} and {describe(Ax)}")

    def misfit(A, x, b):
        return norm_squared(jax.tree.map(jnp.subtract, A(x), b)) / 2

    def batch(*vs):
        return jax.tree.map(lambda *v: jnp.stack(v), *vs)

    def circulant(A, x):
        y = jnp.fft.ifftn(A.gram.spectrum * jnp.fft.fftn(x))
        return y.real if A.real_domain else y

    slope = A.H(jax.tree.map(jnp.subtract, Ax, b))
    # (property, how to compute it, what it must be): all compiled as one program, which is many times quicker.
    properties = [
        ("jit of A", lambda A: A(x), Ax),
        ("jit of A.H", lambda A: A.H(b), Ab),
        ("vmap of A", lambda A: jax.vmap(A)(batch(x, z, x)), batch(Ax, Az, Ax)),
        ("vmap of A.H", lambda A: jax.vmap(A.H)(batch(b, Ax, b)), batch(Ab, back, Ab)),
        # JAX's gradient at complex x is the conjugate of the direction of steepest ascent.
        ("gradient of |A x - b|^2 / 2 is A^H (A x - b)", lambda A: jnp.conj(jax.grad(misfit, argnums=1)(A, x, b)),
         slope if is_complex(x) else slope.real),
        ("forward mode is A", lambda A: jax.jvp(A, (x,), (z,))[1], Az),
        ("gram is A^H A", lambda A: A.gram(x), back),
        ("prepared is A", lambda A: A.prepared(x), Ax),
        ("prepared.H is A.H", lambda A: A.prepared.H(b), Ab),
        ("prepared.gram is A^H A", lambda A: A.prepared.gram(x), back),
    ]
    if A.gram.spectrum is not None:
        properties.append(("gram.spectrum holds the eigenvalues of gram", lambda A: circulant(A, x), back))

    def compute(A):
        results = []
        for what, f, _ in properties:
            try:
                results.append(f(A))
            except Exception as error:
                raise AssertionError(f"{type(A).__name__} for x of {describe(domain)}: {what} "
                                     f"fails: {error!r}") from error
        return results

    for (what, _, wanted), got in zip(properties, jax.jit(compute)(A), strict=True):
        equal(what, got, wanted)


def _dtypes(A):
    """The dtypes of x that A takes: both kinds where its coefficients are real, both precisions under x64."""
    kinds = [is_complex(A.domain)]
    if not kinds[0] and not A.real_domain and not is_complex(A.codomain):
        kinds.append(True)
    precisions = [jnp.float32, jnp.float64] if jax.dtypes.canonicalize_dtype(float) == jnp.float64 else [jnp.float32]
    return [with_dtype(A.domain, p, complex_kind=k).dtype for p in precisions for k in kinds]


def _domain(A, dtype):
    return A.domain if dtype is None else jax.ShapeDtypeStruct(A.domain.shape, jnp.dtype(dtype))


class _Draw:
    """Normal random arrays of given shapes and dtypes, drawn on the host: quicker than compiling for each shape."""

    def __init__(self, key):
        data = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
        self.rng = np.random.default_rng(np.asarray(data).ravel())

    def __call__(self, like):
        def one(s):
            v = self.rng.standard_normal(s.shape)
            return jnp.asarray(v + 1j * self.rng.standard_normal(s.shape) if is_complex(s) else v, s.dtype)

        return jax.tree.map(one, like)


# ---- arithmetic on the host, in double precision: float32 sums on the device would hide what is measured


def _host(tree):
    leaves = map(np.asarray, jax.tree.leaves(tree))
    return [v.astype(np.complex128 if np.iscomplexobj(v) else np.float64) for v in leaves]


def _inner(a, b):
    return complex(sum(np.vdot(u, v) for u, v in zip(_host(a), _host(b), strict=True)))


def _norm(tree):
    return float(np.sqrt(sum(np.sum(np.abs(v) ** 2) for v in _host(tree))))


def _relative(got, wanted):
    difference = [u - v for u, v in zip(_host(got), _host(wanted), strict=True)]
    return _ratio(_norm(difference), _norm(wanted))


def _dot_error(x, Ax, y, AHy):
    left, right = _inner(Ax, y), _inner(x, AHy)
    if is_complex(AHy) != is_complex(y):  # linear over the real numbers only
        left, right = left.real, right.real
    return _ratio(abs(left - right), _norm(Ax) * _norm(y))


def _linearity_error(A, x, z, Ax, Az):
    a, b = (0.7 - 1.1j, -0.4 + 0.6j) if is_complex(x) and is_complex(Ax) else (0.7, -1.6)
    mixed = [a * u + b * v for u, v in zip(_host(x), _host(z), strict=True)]
    combined = A(jnp.asarray(mixed[0], x.dtype))
    expected = [a * u + b * v for u, v in zip(_host(Ax), _host(Az), strict=True)]
    zero = A(jnp.asarray(np.zeros(x.shape), x.dtype))
    return max(_relative(combined, expected), _ratio(_norm(zero), _norm(combined)))


def _ratio(error, scale):
    if error == 0:
        return 0.0
    return float(error / scale) if scale > 0 else float("inf")


def _require(holds, A, domain, what, numbers):
    if not holds:
        at = "" if domain is None else f" for x of {describe(domain)}"
        raise AssertionError(f"{type(A).__name__}{at}: {what} fails: {numbers}")
