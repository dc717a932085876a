"""Values: pytrees whose constructor alone checks, and the arithmetic of trees."""

import copy
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr
from jaxrecon.value import (
    describe,
    inner,
    is_complex,
    is_concrete,
    norm,
    norm_squared,
    safe_divide,
    safe_sqrt,
    shape_dtype,
    static,
    value,
)


@value
class Line:
    """y = slope x + offset."""

    slope: object
    offset: object = 0.0
    name: str = static(default="line")

    def check(self):
        if is_concrete(self.slope) and np.any(np.asarray(self.slope) < 0):
            raise ValueError(f"slope must be >= 0, got {self.slope}")

    def __call__(self, x):
        return self.slope * x + self.offset


def test_arrays_are_leaves_and_structure_is_static():
    leaves, tree = jax.tree.flatten(Line(2.0, 3.0, name="a"))
    assert leaves == [2.0, 3.0]
    assert tree == jax.tree.structure(Line(5.0, 1.0, name="a"))
    assert tree != jax.tree.structure(Line(2.0, 3.0, name="b"))
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path({"l": Line(1.0)})]
    assert paths == ["['l'].slope", "['l'].offset"]


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Line(1.0).slope = 2.0


def test_only_the_constructor_checks():
    with pytest.raises(ValueError, match="slope must be >= 0, got -1"):
        Line(-1.0)
    with pytest.raises(ValueError, match="slope"):
        dataclasses.replace(Line(1.0), slope=-2.0)
    # JAX puts negatives, None and bare objects where the numbers were; rebuilding must not complain.
    assert jax.tree.map(lambda v: -v, Line(2.0)).slope == -2.0
    assert jax.tree.map(lambda v: None, Line(2.0)).slope is None
    placeholder = object()
    assert jax.tree.unflatten(jax.tree.structure(Line(2.0)), [placeholder] * 2).slope is placeholder
    assert dataclasses.replace(Line(1.0), offset=4.0)(2.0) == 6.0
    assert copy.deepcopy(Line(1.0, name="c")).name == "c"


def test_the_check_runs_under_tracing_on_what_is_known():
    assert float(jax.jit(lambda s: Line(s)(3.0))(-2.0)) == -6.0
    with pytest.raises(ValueError, match="slope"):
        jax.jit(lambda x: Line(-1.0)(x))(1.0)


def test_transformations_see_through():
    line = Line(jnp.arange(3.0), 1.0)
    assert jax.vmap(lambda f, x: f(x), in_axes=(Line(0, None), None))(line, 2.0).tolist() == [1.0, 3.0, 5.0]
    g = jax.grad(lambda f: f(3.0) ** 2)(Line(2.0, 1.0))
    assert (float(g.slope), float(g.offset), g.name) == (42.0, 14.0, "line")
    assert float(jax.jit(lambda f: f)(Line(2.0)).slope) == 2.0


def test_new_values_do_not_trace_again():
    f = jax.jit(lambda line, x: line(x))
    for slope in (1.0, 2.0, 3.0):
        f(Line(slope), 1.0)
    assert f._cache_size() == 1
    f(Line(1.0, name="other"), 1.0)
    assert f._cache_size() == 2


def test_a_subclass_inherits_fields_and_check():
    @value
    class Steep(Line):
        extra: object = 7.0

    assert jax.tree.leaves(Steep(1.0)) == [1.0, 0.0, 7.0]
    with pytest.raises(ValueError, match="slope"):
        Steep(-1.0)


def test_repr_is_short():
    text = repr(jr.CGNR(jnp.ones((50, 40), "float32")))
    assert text == "CGNR(lam=float32[50, 40])"
    assert repr(Line(1.0, name="a")) == "Line(slope=1.0, offset=0.0, name='a')"
    repr(jax.tree.map(lambda v: None, Line(1.0)))


def test_inner_product_and_norms_of_trees(rng):
    a = (rng.standard_normal(5) + 1j * rng.standard_normal(5), rng.standard_normal((2, 3)))
    b = (rng.standard_normal(5) + 1j * rng.standard_normal(5), rng.standard_normal((2, 3)))
    want = np.vdot(a[0], b[0]) + np.vdot(a[1], b[1])
    np.testing.assert_allclose(inner(a, b), want, rtol=1e-14)
    size = np.vdot(a[0], a[0]).real + np.vdot(a[1], a[1])
    np.testing.assert_allclose(norm_squared(a), size, rtol=1e-14)
    np.testing.assert_allclose(norm(a), np.sqrt(size), rtol=1e-14)
    assert not jnp.iscomplexobj(norm_squared(a))
    with pytest.raises(ValueError):
        inner(a, b[:1])


def test_inner_product_in_float32_keeps_its_digits():
    # jnp.vdot is off by a per cent here (jax 0.10.1, CPU).
    x = np.random.default_rng(0).random(2**20).astype(np.float32)
    want = float(np.sum(x.astype(np.float64) ** 2))
    assert float(inner(jnp.asarray(x), jnp.asarray(x))) == pytest.approx(want, rel=1e-5)
    assert inner(jnp.asarray(x), jnp.asarray(x)).dtype == jnp.float32


@pytest.mark.parametrize("dtype", ["float32", "complex64", "float64", "complex128"])
def test_gradients_at_zero_are_zero_and_dtypes_stay(dtype):
    x = jnp.zeros(3, dtype)
    for f in (norm, norm_squared):
        g = jax.grad(f)(x)
        assert g.dtype == x.dtype and not np.any(np.asarray(g))
        assert f(x).dtype == x.real.dtype


def test_safe_sqrt_and_safe_divide():
    x = jnp.array([0.0, 4.0, -1.0])
    assert safe_sqrt(x).tolist() == [0.0, 2.0, 0.0]
    assert jax.vmap(jax.grad(safe_sqrt))(x).tolist() == [0.0, 0.25, 0.0]
    assert safe_divide(jnp.array([1.0, 0.0, 6.0]), jnp.array([0.0, 0.0, 3.0])).tolist() == [0.0, 0.0, 2.0]
    assert jax.grad(safe_divide, (0, 1))(1.0, 0.0) == (0.0, 0.0)
    assert safe_divide(1j, 2.0) == 0.5j


def test_nan_is_not_swallowed():
    assert np.isnan(safe_sqrt(jnp.nan)) and np.isnan(norm(jnp.array([1.0, jnp.nan])))
    assert np.isnan(safe_divide(1.0, jnp.nan)) and np.isnan(jr.operator_norm(jr.Matrix(jnp.full((2, 2), jnp.nan))))


def test_questions_about_trees():
    assert is_concrete(1.0, np.ones(2), jnp.ones(2), {"a": 3}) and is_concrete(None)
    assert not is_concrete(object()) and not jax.jit(lambda x: jnp.asarray(is_concrete(x)))(1.0)
    assert is_complex((1.0, jnp.ones(2, "complex64"))) and not is_complex((1.0, 2))
    assert is_complex(jax.ShapeDtypeStruct((2,), jnp.complex64))
    assert shape_dtype([np.ones((2, 3), "float32")])[0].shape == (2, 3)
    assert describe((np.ones(2, "float32"), np.ones((), "int32"))) == "(float32[2], int32[])"
