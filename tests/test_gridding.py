"""Direct reconstruction: its scale on known phantoms; Cartesian nodes, coils and off-resonance."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr
from jaxrecon.gridding import Gridding
from jaxrecon.operators.nufft import NUFFT
from jaxrecon.operators.off_resonance import OffResonance
from jaxrecon.simulate import discs, koosh_ball, radial, spiral

N = 32
SPOKES = radial(math.ceil(math.pi / 2 * N), 2 * N)
RAMP = jnp.maximum(jnp.linalg.norm(SPOKES, axis=-1), 1 / 6 / (2 * N))
# Pixel centres in [-1, 1], and the parts of `discs` at least 3 pixels away from every edge.
Y, X = np.meshgrid(*[(np.arange(N) + 0.5) / N * 2 - 1] * 2, indexing="ij")
HOLE = np.hypot(X - 0.2, Y + 0.1)
DISC = (np.hypot(X, Y) < 0.62) & (HOLE > 0.48) & (np.hypot(X + 0.3, Y - 0.3) > 0.38)

# Operators are arguments, and few in kind: the tests share what is compiled.
run = jax.jit(lambda density, A, b: Gridding(density)(A, b))
measure = jax.jit(lambda A, x: A(x))


def check_amplitude(x, tolerance=0.015):
    assert x.real[DISC].mean() == pytest.approx(1.0, abs=tolerance)
    assert x.real[HOLE < 0.12].mean() == pytest.approx(0.5, abs=tolerance)


def test_a_radial_scan_gives_the_phantoms_amplitude():
    A = NUFFT(SPOKES, (N, N))
    x = run(RAMP, A, measure(A, discs(N)))
    assert x.dtype == jnp.complex128
    check_amplitude(x)
    assert np.abs(x.imag).max() < 0.05
    assert np.abs(x.real[np.hypot(X, Y) > 0.97]).mean() < 0.04


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [pytest.param(SPOKES, marks=pytest.mark.slow), spiral(N, 4, 400)],
                         ids=["radial", "spiral"])
def test_the_default_density_gives_the_phantoms_amplitude(nodes):
    A = NUFFT(nodes.astype("float32"), (N, N))
    x = run(None, A, measure(A, discs(N, "float32")))
    assert x.dtype == jnp.complex64
    check_amplitude(x, 0.02)


@pytest.mark.slow
def test_a_koosh_ball_gives_the_amplitude_of_a_blob():
    n = 14
    k = koosh_ball(500, 2 * n, dtype="float32")
    z, y, x = np.meshgrid(*[np.arange(n) - n // 2] * 3, indexing="ij")
    blob = np.exp(-(x**2 + y**2 + z**2) / (2 * 2.0**2))
    A = NUFFT(k, (n, n, n))
    got = run(jnp.sum(k**2, axis=-1), A, measure(A, blob))
    assert got.real[n // 2, n // 2, n // 2] == pytest.approx(1.0, abs=0.01)
    np.testing.assert_allclose(got, blob, atol=0.03)


def test_cartesian_nodes_give_the_inverse_transform(rng):
    ny, nx = 18, 15
    k = jnp.stack(jnp.meshgrid(*[(jnp.arange(n) - n // 2) / n for n in (ny, nx)], indexing="ij"), -1)
    A = NUFFT(k, (ny, nx))
    b = rng.standard_normal((ny, nx)) + 1j * rng.standard_normal((ny, nx))
    np.testing.assert_allclose(run(3.0, A, b), jr.Fourier((ny, nx)).H(b), atol=1e-6)


def test_it_is_linear_and_knows_no_scale_of_the_density(rng):
    A = NUFFT(SPOKES, (N, N))
    b, c = rng.standard_normal((2, *SPOKES.shape[:-1])) + 0j
    x = run(RAMP, A, b)
    np.testing.assert_allclose(run(1e3 * RAMP, A, b), x, atol=1e-9)
    np.testing.assert_allclose(run(RAMP, A, 2 * b - 1j * c), 2 * x - 1j * run(RAMP, A, c), atol=1e-9)


def test_coils_are_combined_to_one_image_of_the_right_amplitude():
    maps = 3 * jr.simulate.coil_maps((N, N), 3)
    maps = maps.at[:, :, :3].set(0)
    F = NUFFT(SPOKES, (N, N))
    A = F @ jr.CoilMaps(maps)
    b = jnp.stack([measure(F, m * discs(N)) for m in maps])
    x = run(RAMP, A, b)
    assert x.shape == (N, N) and np.all(np.asarray(x[:, :3]) == 0)
    check_amplitude(x)
    coils = jnp.stack([run(RAMP, F, one) for one in b])
    energy = jnp.sum(jnp.abs(maps) ** 2, 0)[:, 3:]
    np.testing.assert_allclose(x[:, 3:], jnp.sum(jnp.conj(maps) * coils, 0)[:, 3:] / energy, atol=1e-8)


@pytest.mark.slow
def test_with_off_resonance_it_is_the_conjugate_phase_reconstruction():
    times = 1e-5 * np.arange(2 * N)
    A = NUFFT(SPOKES, (N, N))
    with_map = OffResonance(A, 300 * X, times, 6)
    b = measure(with_map, discs(N))
    check_amplitude(run(RAMP, with_map, b), 0.03)
    constant = OffResonance(A, np.full((N, N), 200.0), times, 6)
    demodulated = b * np.exp(2j * np.pi * 200 * times)
    np.testing.assert_allclose(run(RAMP, constant, b), run(RAMP, A, demodulated), atol=1e-8)


@pytest.mark.slow
def test_gradients_reach_the_density():
    A = NUFFT(radial(5, 8), (8, 8))
    b = jnp.ones((5, 8), complex)
    slope = jax.jit(jax.grad(lambda w, A: jnp.sum(jnp.abs(Gridding(w)(A, b)) ** 2)))(RAMP[:5, 28:36], A)
    assert slope.shape == (5, 8) and np.isfinite(slope).all() and np.abs(slope).max() > 0
    # The scale of the density has no effect.
    assert abs(float(jnp.sum(RAMP[:5, 28:36] * slope))) < 1e-9 * float(jnp.max(slope))


@pytest.mark.parametrize(("density", "says"), [
    (-RAMP, "must not be negative"), (1j * RAMP, "must be real"),
    (jnp.ones((3, 2 * N)), r"density of shape \(3, 64\) does not broadcast to the samples, \(51, 64\)")])
def test_errors_of_the_density(density, says):
    A = NUFFT(SPOKES, (N, N))
    with pytest.raises(ValueError, match=says):
        Gridding(density)(A, jnp.zeros(SPOKES.shape[:-1], complex))


@pytest.mark.parametrize("A", [jr.Fourier((4, 4)), 2.0 * NUFFT(radial(4, 4), (4, 4)),
                               NUFFT(radial(4, 4), (4, 4)) @ jr.Convolution(jnp.ones((3, 3)), (4, 4))])
def test_an_operator_of_unknown_scale_says_what_to_use(A):
    with pytest.raises(ValueError, match=r"takes a jr\.NUFFT, .* use jr\.ZeroFilled"):
        Gridding()(A, jnp.ones(A.codomain.shape, complex))
