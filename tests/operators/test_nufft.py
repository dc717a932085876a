"""The NUFFT against finufft, against the sum written plainly, and against the FFT."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr
from jaxrecon.operators.nufft import NUFFT
from jaxrecon.operators.nufft.toeplitz import ToeplitzGram
from jaxrecon.testing import check_operator


def make_complex(rng, shape, dtype=np.complex128):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)


def direct(nodes, shape):
    """The matrix, from the definition."""
    n = np.stack(np.meshgrid(*[np.arange(s) - s // 2 for s in shape], indexing="ij"), -1).reshape(-1, len(shape))
    return np.exp(-2j * np.pi * nodes.reshape(-1, len(shape)).astype(float) @ n.T) / np.sqrt(np.prod(shape))


def by_finufft(nodes, shape, x, y):
    finufft = pytest.importorskip("finufft")
    points = [2 * np.pi * k for k in nodes.astype(np.float64).T]
    backward, forward = [getattr(finufft, f"nufft{len(shape)}d{kind}") for kind in (1, 2)]
    scale = 1 / np.sqrt(np.prod(shape))
    x, y = x.astype(complex), y.astype(complex)
    return scale * forward(*points, x, eps=1e-12, isign=-1), scale * backward(*points, y, shape, eps=1e-12, isign=1)


def error(found, expected):
    return np.linalg.norm(np.asarray(found) - expected) / np.linalg.norm(expected)


def everything(A, x, y):
    A = A.prepared
    Ax = A.apply(x)
    return Ax, A.apply_adjoint(y), A.gram.apply(x), A.apply_adjoint(Ax)


def trajectory(rng, ndim):
    """Random, and spiral and radial ones, in as many dimensions."""
    random = rng.uniform(-0.5, 0.5, (400, ndim))
    if ndim == 1:
        return random
    radial = jr.simulate.radial(12, 40) if ndim == 2 else jr.simulate.koosh_ball(12, 40)
    parts = [random, np.asarray(radial).reshape(-1, ndim)]
    if ndim == 2:
        parts.append(np.asarray(jr.simulate.spiral(32, 2, 200)).reshape(-1, 2))
    return np.concatenate(parts)


SLOW = [((33,), np.float32), ((12, 15, 10), np.float64)]


@pytest.mark.parametrize(("shape", "real", "bound"), [
    pytest.param(shape, real, bound, marks=[pytest.mark.slow] if (shape, real) in SLOW else [])
    for shape in [(33,), (32, 41), (12, 15, 10)] for real, bound in [(np.float32, 1e-5), (np.float64, 1e-9)]
])
def test_it_equals_finufft_at_its_most_accurate(rng, shape, real, bound):
    nodes = trajectory(rng, len(shape)).astype(real)
    A = NUFFT(nodes, shape)
    x, y = make_complex(rng, shape, A.dtype), make_complex(rng, len(nodes), A.dtype)
    Ax, AHy, gram, twice = everything(A, x, y)
    exact, exact_adjoint = by_finufft(nodes, shape, x, y)
    assert Ax.dtype == AHy.dtype == gram.dtype == A.dtype
    assert error(Ax, exact) < bound and error(AHy, exact_adjoint) < bound
    exact_gram = by_finufft(nodes, shape, x, exact)[1]
    assert error(gram, exact_gram) < bound and error(gram, np.asarray(twice)) < 2 * bound
    # The same weights in both directions: adjoint far more exactly than either is accurate.
    gap = abs(np.vdot(y, np.asarray(Ax, complex)) - np.vdot(np.asarray(AHy, complex), x))
    assert gap < 4 * np.finfo(real).eps * np.linalg.norm(y) * np.linalg.norm(Ax)


@pytest.mark.parametrize(("shape", "width", "oversampling", "bound"), [
    ((9, 6), 12, 2.0, 1e-11), ((9, 6), 8, 1.5, 2e-6), ((7,), 5, 2.0, 2e-4), ((2, 1, 3), 8, 2.0, 1e-7)])
def test_it_equals_the_direct_sum(rng, shape, width, oversampling, bound):
    # Nodes outside [-1/2, 1/2) are those inside, whole cycles away; equal nodes are several samples.
    nodes = rng.uniform(-1, 1, (6, 5, len(shape)))
    nodes[0], nodes[1, 0], nodes[1, 1] = nodes[0, 0], 0.5, -0.5
    A = NUFFT(nodes, shape, width=width, oversampling=oversampling)
    x, y = make_complex(rng, shape), make_complex(rng, (6, 5))
    Ax, AHy, gram, _ = everything(A, x, y)
    M = direct(nodes, shape)
    assert Ax.shape == A.codomain.shape == (6, 5)
    assert error(Ax.ravel(), M @ x.ravel()) < bound
    assert error(AHy.ravel(), M.conj().T @ y.ravel()) < bound
    assert error(gram.ravel(), M.conj().T @ (M @ x.ravel())) < bound


@pytest.mark.parametrize("shape", [(6, 5), (8,)])
def test_on_cartesian_nodes_it_is_the_centred_fft(rng, shape):
    axes = [(np.arange(n) - n // 2) / n for n in shape]
    A = NUFFT(np.stack(np.meshgrid(*axes, indexing="ij"), -1), shape)
    x = make_complex(rng, shape)
    np.testing.assert_allclose(A(x), jr.Fourier(shape)(x), atol=1e-9)
    np.testing.assert_allclose(A.gram(x), x, atol=1e-9)


def test_float32_nodes_keep_their_last_digit(rng):
    # A grid that is no power of two rounds k G: at 480 cells that alone would cost 1e-5.
    nodes = rng.uniform(-0.5, 0.5, (300, 1)).astype(np.float32)
    A = NUFFT(nodes, (240,), width=7)
    x = np.zeros(240, np.complex64)
    x[[0, -1]] = 1
    assert error(A(x), direct(nodes, (240,)) @ x) < 1.5e-6


def test_operator_laws(rng):
    A = NUFFT(rng.uniform(-0.5, 0.5, (20, 2)), (5, 6))
    check_operator(A.prepared, jax.random.key(0), rtol=1e-5)
    x = rng.standard_normal((5, 6))
    np.testing.assert_allclose(A(x), A(x + 0j), atol=1e-14)
    real = jr.real_part(A)
    np.testing.assert_allclose(real.H(real(x)), A.H(A(x)).real, atol=1e-14)
    single = jax.eval_shape(lambda A, x: (A(x), A.gram(x)), A, jax.ShapeDtypeStruct((5, 6), "complex64"))
    assert all(v.dtype == "complex64" for v in single)


def test_only_the_nodes_are_leaves(rng):
    A = NUFFT(rng.uniform(-0.5, 0.5, (20, 2)), (5, 4))
    assert [v.shape for v in jax.tree.leaves(A)] == [(20, 2)]
    assert len(jax.tree.leaves(A.prepared)) > 1


# ---- coils and weights


def test_many_coils_equal_one_after_the_other(rng):
    nodes, maps, x = rng.uniform(-0.5, 0.5, (4, 5, 2)), make_complex(rng, (3, 5, 6)), make_complex(rng, (5, 6))
    F = NUFFT(nodes, (5, 6))
    A = F @ jr.CoilMaps(maps)
    Ax, AHy, gram, twice = everything(A, x, y := make_complex(rng, (3, 4, 5)))
    np.testing.assert_allclose(Ax, [F(m * x) for m in maps], atol=1e-12)
    np.testing.assert_allclose(AHy, sum(m.conj() * F.H(v) for m, v in zip(maps, y, strict=True)), atol=1e-12)
    np.testing.assert_allclose(gram, twice, atol=1e-8)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_coils(rng, monkeypatch):
    monkeypatch.setattr("jaxrecon.operators.nufft.transform.CELLS", 2 * 32**2)
    A = NUFFT(rng.uniform(-0.5, 0.5, (40, 2)), (16, 16))
    x = make_complex(rng, (5, 16, 16))
    M = direct(np.asarray(A.nodes), (16, 16))
    np.testing.assert_allclose(jr.batched(A, 5)(x), x.reshape(5, -1) @ M.T, atol=1e-8)

    def temporaries(coils):
        run = jax.jit(lambda A, x: jr.batched(A, coils).apply(x))
        return run.lower(A, jnp.zeros((coils, 16, 16), complex)).compile().memory_analysis().temp_size_in_bytes

    # Each coil more costs a few times its image and its samples, and no grid, which is 4 times an image at least.
    each = (temporaries(32) - temporaries(4)) / 28 / 16
    assert each < 3 * (16**2 + 40), each


@pytest.mark.parametrize("lead", [(), (3, 1)])
def test_weights_have_a_toeplitz_gram_too(rng, lead):
    F, maps = NUFFT(rng.uniform(-0.5, 0.5, (4, 5, 2)), (5, 6)), make_complex(rng, (3, 5, 6))
    A, x = F @ jr.CoilMaps(maps), make_complex(rng, (5, 6))
    w = rng.random((*lead, 5))
    expected = A.H(w * A(x))
    gram = A.weighted_gram(jnp.asarray(w))
    if lead == (3, 1):
        assert gram is None  # weights that differ between coils
    else:
        np.testing.assert_allclose(gram.prepared(x), expected, atol=1e-8)
        real = jr.real_part(2.0 * A).weighted_gram(jnp.asarray(w))
        np.testing.assert_allclose(real(x.real), 4 * A.H(w * A(x.real)).real, atol=1e-8)
    problem = jr.LeastSquares(w).problem(A, A(x))
    np.testing.assert_allclose(problem.gram.apply(x), expected, atol=1e-8)
    kinds = [type(v).__name__ for v in jax.tree.leaves(problem.gram, is_leaf=lambda v: isinstance(v, ToeplitzGram))]
    assert ("ToeplitzGram" in kinds) == (lead != (3, 1))


# ---- the plan


def primitives(jaxpr, inside=False):
    """(name, whether in the body of a scan or while loop) of every equation."""
    for e in jaxpr.eqns:
        yield e.primitive.name, inside
        for v in jax.tree.leaves(list(e.params.values()), is_leaf=lambda v: hasattr(v, "eqns") or hasattr(v, "jaxpr")):
            inner = getattr(v, "jaxpr", v)
            if hasattr(inner, "eqns"):
                yield from primitives(inner, inside or e.primitive.name in ("scan", "while"))


@pytest.mark.parametrize("solver", [
    jr.CGNR(), pytest.param(jr.FISTA(jr.L1(0.1), step_size=0.5), marks=pytest.mark.slow)])
@pytest.mark.parametrize("weights", [None, 2.0])
def test_the_plan_is_made_once_per_solve(rng, solver, weights):
    A = NUFFT(rng.uniform(-0.5, 0.5, (20, 2)), (5, 6)) @ jr.CoilMaps(make_complex(rng, (2, 5, 6)))
    data = jr.LeastSquares(weights)
    b = make_complex(rng, (2, 20))
    jaxpr = jax.make_jaxpr(lambda A, b: jr.solve(A, b, solver, iterations=3, data=data).x)(A, b)
    found = list(primitives(jaxpr.jaxpr))
    # Nodes are sorted once; an iteration is FFTs and products.
    assert [inside for name, inside in found if name == "sort"] == [False]
    looped = {name for name, inside in found if inside}
    assert "fft" in looped and not looped & {"matched_pair", "round", "ceil", "scatter-add"}


def test_new_nodes_do_not_trace_again(rng):
    traces = SimpleNamespace(count=0)

    @jax.jit
    def run(A, x):
        traces.count += 1
        return A(x)

    x = make_complex(rng, (6, 5))
    for _ in range(2):
        nodes = rng.uniform(-0.5, 0.5, (20, 2))
        np.testing.assert_allclose(run(NUFFT(nodes, (6, 5)), x), direct(nodes, (6, 5)) @ x.ravel(), atol=1e-8)
    assert traces.count == 1


# ---- transformations


def test_vmap_over_images_and_over_nodes_is_a_loop(rng):
    nodes, x = rng.uniform(-0.5, 0.5, (3, 20, 2)), make_complex(rng, (3, 5, 6))
    y = make_complex(rng, (3, 20))
    M = [direct(k, (5, 6)) for k in nodes]
    A = NUFFT(nodes[0], (5, 6))
    np.testing.assert_allclose(jax.vmap(A)(x), x.reshape(3, -1) @ M[0].T, atol=1e-8)
    np.testing.assert_allclose(jax.vmap(A.H)(y).reshape(3, -1), y @ M[0].conj(), atol=1e-8)
    moving = jax.vmap(lambda k, x: NUFFT(k, (5, 6))(x))
    np.testing.assert_allclose(moving(nodes, x), [m @ v.ravel() for m, v in zip(M, x, strict=True)], atol=1e-8)
    shared = jax.vmap(lambda k: NUFFT(k, (5, 6)).gram(x[0]))(nodes)
    np.testing.assert_allclose(shared.reshape(3, -1), [m.conj().T @ (m @ x[0].ravel()) for m in M], atol=1e-8)


def test_eager_jit_and_scan_agree(rng):
    A, x = NUFFT(rng.uniform(-0.5, 0.5, (20, 2)), (5, 6)), make_complex(rng, (2, 5, 6))
    eager = np.stack([A(v) for v in x])
    np.testing.assert_allclose(jax.jit(jax.vmap(A))(x), eager, atol=1e-13)
    np.testing.assert_allclose(jax.lax.scan(lambda c, v: (c, A(v)), 0, x)[1], eager, atol=1e-13)


def directional(f, v, direction, step=1e-6):
    return (f(v + step * direction) - f(v - step * direction)) / (2 * step)


def test_derivatives_with_respect_to_the_nodes(rng):
    nodes, x, y = rng.uniform(-0.5, 0.5, (4, 5, 2)), make_complex(rng, (5, 6)), make_complex(rng, (4, 5))
    b, change = make_complex(rng, (4, 5)), rng.standard_normal((4, 5, 2))

    @jax.jit
    def losses(nodes):
        A = NUFFT(nodes, (5, 6)).prepared
        return jnp.stack([jnp.sum(jnp.abs(A(x) - b) ** 2), jnp.sum(jnp.abs(A.H(y) - x) ** 2)])

    expected = directional(losses, nodes, change)
    np.testing.assert_allclose(jax.jvp(losses, (nodes,), (change,))[1], expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jacrev(losses)(nodes).reshape(2, -1) @ change.ravel(), expected, rtol=1e-6)


@pytest.mark.slow
def test_second_derivatives_with_respect_to_the_nodes(rng):
    nodes, x, b = rng.uniform(-0.5, 0.5, (20, 2)), make_complex(rng, (5, 6)), make_complex(rng, 20)
    change = rng.standard_normal((20, 2))
    gradient = jax.jit(jax.grad(lambda k: jnp.sum(jnp.abs(NUFFT(k, (5, 6))(x) - b) ** 2)))
    expected = directional(gradient, nodes, change)
    np.testing.assert_allclose(jax.jvp(gradient, (nodes,), (change,))[1], expected, rtol=1e-5, atol=1e-4)
    second = jax.jit(jax.grad(lambda k: jnp.vdot(gradient(k), change)))
    np.testing.assert_allclose(second(nodes), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.slow
def test_gradients_through_a_solve(rng):
    nodes, x = rng.uniform(-0.5, 0.5, (40, 2)), make_complex(rng, (4, 5))
    maps, change = make_complex(rng, (2, 4, 5)), rng.standard_normal((40, 2))
    b = (NUFFT(nodes, (4, 5)) @ jr.CoilMaps(maps))(x) + 0.1 * make_complex(rng, (2, 40))
    w, other = rng.uniform(0.5, 1, 40), rng.standard_normal(40)

    @jax.jit
    def loss(nodes, w):
        A = NUFFT(nodes, (4, 5)) @ jr.CoilMaps(maps)
        found = jr.solve(A, b, jr.CGNR(0.1), iterations=5, data=jr.LeastSquares(w)).x
        return jnp.sum(jnp.abs(found - x) ** 2)

    by_nodes, by_weights = jax.jit(jax.grad(loss, (0, 1)))(nodes, w)
    step = 1e-5
    expected = directional(lambda k: loss(k, w), nodes, change, step)
    np.testing.assert_allclose(jnp.vdot(by_nodes, change), expected, rtol=1e-5)
    np.testing.assert_allclose(by_weights @ other, directional(lambda w: loss(nodes, w), w, other, step), rtol=1e-5)


# ---- bad input


@pytest.mark.parametrize(("nodes", "shape", "message"), [
    (np.zeros((4, 3)), (8, 8), r"\(\.\.\., 2\)"),
    (np.zeros((2, 7)), (8, 8), "moveaxis"),
    (np.zeros(7), (8,), r"nodes\[:, None\]"),
    (np.full((4, 2), np.nan), (8, 8), "finite"),
    (np.full((4, 2), np.pi), (8, 8), "2 pi"),
    (np.full((4, 2), 30.0), (64, 64), "number of pixels"),
    (np.zeros((0, 2)), (8, 8), "at least one"),
    (np.zeros((4, 4)), (8, 8, 8, 8), "1 to 3"),
    (np.zeros((4, 2)), (8, 0), ">= 1"),
])
def test_bad_nodes_and_shapes_are_refused(nodes, shape, message):
    with pytest.raises(ValueError, match=message):
        NUFFT(nodes, shape)


def test_bad_settings_are_refused():
    nodes = np.zeros((4, 2))
    with pytest.raises(TypeError, match="complex"):
        NUFFT(nodes + 0j, (8, 8))
    with pytest.raises(TypeError, match="real_part"):
        NUFFT(nodes, (8, 8), dtype="float32")
    for settings in ({"width": 1}, {"width": 6.5}, {"oversampling": 1.0}, {"oversampling": np.nan}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            NUFFT(nodes, (8, 8), **settings)
    with pytest.raises(ValueError, match="takes"):
        NUFFT(nodes, (8, 8))(jnp.ones((8, 7)))
