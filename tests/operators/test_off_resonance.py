"""Off-resonance against the sum written out, sample by sample and pixel by pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr
from jaxrecon.operators.off_resonance import OffResonance, Segmented
from jaxrecon.simulate import spiral

N, ARMS, SAMPLES = 12, 3, 60
TIMES = 2e-3 + 1e-4 * np.arange(SAMPLES)


def kernel(nodes, n):
    """exp(-2 pi i n.k) / sqrt(N), (*samples, n, n)."""
    j = np.arange(n) - n // 2
    rows, columns = (np.exp(-2j * np.pi * np.asarray(nodes)[..., d, None] * j) for d in (0, 1))
    return rows[..., :, None] * columns[..., None, :] / n


def sampled(e, x):
    return jnp.einsum("...yx,yx->...", e, x)


def plain(e, dtype=jnp.complex128):
    return jr.linear(sampled, jax.ShapeDtypeStruct(e.shape[-2:], dtype), jnp.asarray(e, dtype))


def bumpy(n, peak=400.0):
    y, x = np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n), indexing="ij")
    return peak * (np.exp(-((x - 0.3) ** 2 + y**2) / 0.3) - 0.4 * x)


E = kernel(spiral(N, ARMS, SAMPLES), N)
MAP = bumpy(N)
EXACT = E * np.exp(-2j * np.pi * MAP * TIMES[:, None, None])


@pytest.fixture
def x(rng):
    return rng.standard_normal((N, N)) + 1j * rng.standard_normal((N, N))


def error(got, wanted):
    return np.linalg.norm(np.asarray(got) - wanted) / np.linalg.norm(wanted)


def test_error_falls_with_the_segments(x):
    wanted = sampled(EXACT, x)
    errors = [error(OffResonance(plain(E), MAP, TIMES, segments)(x), wanted) for segments in (6, 9, 12)]
    assert errors[0] < 0.1 and errors[1] < 1e-3 and errors[2] < 1e-6


@pytest.mark.slow
def test_error_falls_in_single_precision_too(x):
    wanted = sampled(EXACT, x)
    for segments, bound in [(8, 2e-3), (12, 3e-4)]:
        A = OffResonance(plain(E, jnp.complex64), jnp.float32(MAP), jnp.float32(TIMES), segments)
        y = A(x.astype("complex64"))
        assert y.dtype == A.H(y).dtype == jnp.complex64
        assert error(y, wanted) < bound


@pytest.mark.parametrize("peak", [0.0, 20.0, 150.0, -900.0])
def test_segments_are_as_many_as_a_thousandth_needs(x, peak):
    field_map = bumpy(N, peak) + 77.0  # a constant costs nothing
    A = OffResonance(plain(E), field_map, TIMES)
    exact = E * np.exp(-2j * np.pi * field_map * TIMES[:, None, None])
    assert error(A(x), sampled(exact, x)) < 1e-3
    turns = np.ptp(field_map) * np.ptp(TIMES)
    assert (A.segments == 1) == (peak == 0) and A.segments <= turns + 7
    if peak:
        fewer = OffResonance(plain(E), field_map, TIMES, A.segments - 2)
        assert error(fewer(x), sampled(exact, x)) > 1e-3


def test_a_constant_map_is_exact_with_one_segment(x):
    A = OffResonance(plain(E), np.full((N, N), -123.0), TIMES)
    assert A.segments == 1
    np.testing.assert_allclose(A(x), np.exp(2j * np.pi * 123 * TIMES) * sampled(E, x), rtol=1e-10)


def test_it_is_an_operator():
    jr.testing.check_operator(OffResonance(plain(E), MAP, TIMES, 5), jax.random.key(0))


def test_each_interleave_may_have_its_own_times(x):
    times = TIMES + 3e-3 * np.arange(ARMS)[:, None]
    exact = E * np.exp(-2j * np.pi * MAP * times[..., None, None])
    assert error(OffResonance(plain(E), MAP, times, 20)(x), sampled(exact, x)) < 1e-4


def test_coils_may_be_inside_or_outside(x, rng):
    maps = rng.standard_normal((2, N, N)) + 1j * rng.standard_normal((2, N, N))
    C = jr.CoilMaps(maps)
    inside = OffResonance(plain(E) @ C, MAP, TIMES, 12)
    wanted = sampled(EXACT, maps[0] * x), sampled(EXACT, maps[1] * x)
    assert error(inside(x), np.stack(wanted)) < 1e-6
    outside = OffResonance(plain(E), MAP, TIMES, 12) @ C
    np.testing.assert_allclose(outside(x), inside(x), atol=1e-10)
    y = rng.standard_normal((2, ARMS, SAMPLES)) + 0j
    np.testing.assert_allclose(outside.H(y), inside.H(y), atol=1e-10)


def test_a_cartesian_read_out_shifts_the_image():
    # f = 3 / (n dt): every read-out line of n samples gains 3 turns, so the image moves by 3 pixels along it.
    n, dt = 16, 1e-5
    image = np.zeros((n, n))
    image[5, 4:8] = [1.0, 2, 3, 4]
    F = jr.Fourier((n, n))
    A = OffResonance(F, np.full((n, n), 3 / (n * dt)), dt * (np.arange(n) - n // 2))
    np.testing.assert_allclose(F.H(A(image)), np.roll(image, 3, axis=1), atol=1e-10)


def test_gradients_are_those_of_the_exact_sum(x, rng):
    b = rng.standard_normal((ARMS, SAMPLES)) + 1j * rng.standard_normal((ARMS, SAMPLES))

    def misfit(y):
        return jnp.sum(jnp.abs(y - b) ** 2)

    def segmented(field_map, times):
        return misfit(OffResonance(plain_e, field_map, times, 14)(x))

    def exact(field_map, times):
        return misfit(sampled(E * jnp.exp(-2j * np.pi * field_map * times[:, None, None]), x))

    plain_e = plain(E)
    got = jax.jit(jax.grad(segmented, (0, 1)))(jnp.asarray(MAP), jnp.asarray(TIMES))
    wanted = jax.jit(jax.grad(exact, (0, 1)))(jnp.asarray(MAP), jnp.asarray(TIMES))
    for g, w in zip(got, wanted, strict=True):
        assert error(g, np.asarray(w)) < 1e-5


def test_vmap_over_field_maps(x):
    maps = jnp.stack([jnp.asarray(MAP), -MAP / 2])
    plain_e = plain(E)
    y = jax.vmap(lambda f: OffResonance(plain_e, f, TIMES, 12)(x))(maps)
    for one, f in zip(y, maps, strict=True):
        assert error(one, sampled(E * np.exp(-2j * np.pi * np.asarray(f) * TIMES[:, None, None]), x)) < 1e-6


@pytest.mark.parametrize("coils", [0, 2])
def test_the_weighted_gram_operator_by_toeplitz(x, rng, coils):
    w = rng.uniform(0.1, 1.0, (ARMS, SAMPLES))
    F = jr.NUFFT(spiral(N, ARMS, SAMPLES), (N, N))
    maps = rng.standard_normal((max(coils, 1), N, N)) + 1j * rng.standard_normal((max(coils, 1), N, N))
    A = OffResonance(F @ jr.CoilMaps(maps) if coils else F, MAP / 8, TIMES, 7)
    G = jax.jit(lambda A, w: A.weighted_gram(w).prepared)(A, w)
    wanted = np.zeros((N, N), complex)
    e = E * np.exp(-2j * np.pi * MAP / 8 * TIMES[:, None, None])
    for m in maps if coils else np.ones((1, N, N)):
        wanted += np.conj(m) * np.einsum("lmyx,lm->yx", np.conj(e), w * np.asarray(sampled(e, m * x)))
    assert error(G(x), wanted) < 1e-5
    z = rng.standard_normal((N, N)) + 0j
    assert np.vdot(z, G(x)) == pytest.approx(np.vdot(G(z), x), rel=1e-10)


def test_without_a_cheap_form_there_is_no_weighted_gram_operator():
    assert OffResonance(plain(E), MAP, TIMES, 3).weighted_gram(jnp.ones((ARMS, SAMPLES))) is None


def test_prepared_makes_the_fit_once(x):
    A = OffResonance(plain(E), MAP, TIMES, 7).prepared
    assert isinstance(A, Segmented) and A.basis.shape == (7, SAMPLES)
    assert A.prepared is A


def test_the_model_matters_to_a_reconstruction():
    y, x = np.meshgrid(np.linspace(-3, 3, N), np.linspace(-3, 3, N), indexing="ij")
    image = np.exp(-((x - 1) ** 2) - y**2) + 0.5 * np.exp(-((x + 1) ** 2) - (y - 1) ** 2)
    b = sampled(E * np.exp(-2j * np.pi * MAP / 8 * TIMES[:, None, None]), image)
    corrected = jr.solve(OffResonance(plain(E), MAP / 8, TIMES), b, jr.CGNR(1e-4), 20).x
    without = jr.solve(plain(E), b, jr.CGNR(1e-4), 20).x
    assert error(corrected, image) < 0.03 and error(without, image) > 0.5


@pytest.mark.parametrize(("change", "wrong", "says"), [
    ({"field_map": np.zeros((N, N + 1))}, ValueError, r"shape \(12, 13\), but Function takes x of \(12, 12\)"),
    ({"field_map": 1j * MAP}, TypeError, "field_map must be real, got complex128"),
    ({"field_map": MAP * np.nan}, ValueError, "set pixels without signal to 0"),
    ({"times": np.zeros(5)}, ValueError, r"times of shape \(5,\) do not broadcast to the measurements, \(3, 60\)"),
    ({"times": TIMES + np.inf}, ValueError, "times must be finite"),
    ({"times": 1e4 * TIMES}, ValueError, "are the times in seconds"),
    ({"segments": 0}, ValueError, "whole number >= 1, got 0"),
    ({"segments": 2.5}, ValueError, "whole number >= 1, got 2.5"),
    ({"operator": jr.stack([plain(E), plain(E)])}, TypeError, "own OffResonance")])
def test_errors(change, wrong, says):
    with pytest.raises(wrong, match=says):
        OffResonance(**{"operator": plain(E), "field_map": MAP, "times": TIMES, **change})


def test_known_times_may_meet_a_traced_map(x):
    plain_e, times = plain(E), jnp.asarray(TIMES)
    y = jax.eval_shape(lambda f: OffResonance(plain_e, f, times, 3)(x), MAP)
    assert y.shape == (ARMS, SAMPLES)


def test_unknown_segments_under_jit_say_what_to_pass(x):
    with pytest.raises(ValueError, match="pass segments=L"):
        jax.jit(lambda f: OffResonance(plain(E), f, TIMES)(x))(MAP)
