from decimal import Decimal, getcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.simulate import MPISequence, Particles, mpi_system_matrix
from jaxrecon.simulate import langevin as eager_langevin
from jaxrecon.simulate.mpi import MU0, SOLID_IRON

SEQUENCE = MPISequence()
langevin = jax.jit(eager_langevin)


@pytest.fixture(scope="module")
def s():
    return np.asarray(mpi_system_matrix(shape=(5, 5)))


def exact_langevin(x):
    getcontext().prec = 60
    x = Decimal(x)
    e = (2 * x).exp()
    return float((e + 1) / (e - 1) - 1 / x)


def test_langevin_is_exact_to_rounding():
    x = np.concatenate([np.geomspace(1e-12, 0.99, 40), np.geomspace(1.0, 500, 30)])
    wanted = np.array([exact_langevin(v) for v in x])
    np.testing.assert_allclose(langevin(x), wanted, rtol=1e-15 * 4)
    np.testing.assert_allclose(langevin(-x), -wanted, rtol=1e-15 * 4)
    single = np.array([exact_langevin(float(v)) for v in x.astype(np.float32)])
    got = langevin(x.astype(np.float32))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, single, rtol=6e-7)


def test_langevin_limits_and_slopes():
    slope = jax.jit(jax.vmap(jax.grad(langevin)))
    assert float(langevin(0.0)) == 0 and float(jax.grad(langevin)(0.0)) == pytest.approx(1 / 3, abs=1e-15)
    np.testing.assert_allclose(langevin(np.array([1e300, -np.inf, 1e4])), [1, -1, 1 - 1e-4], rtol=1e-14)
    np.testing.assert_allclose(langevin(1e-5), 1e-5 / 3, rtol=1e-10)
    for dtype in (np.float32, np.float64):
        x = np.array([0, 1e-20, 0.5, 1, 1.5, 30, 1e4, 1e15], dtype)
        assert np.isfinite(slope(x)).all() and (np.diff(np.asarray(slope(x))) <= 1e-7).all()
    x = np.array([0.3, 0.5, 0.8, 0.99, 1.01, 2.0, 7.0, 9.0])
    np.testing.assert_allclose(slope(x), 1 / x**2 - 1 / np.sinh(x) ** 2, rtol=1e-12)


def test_the_published_sequence():
    assert SEQUENCE.samples == 1632 and SEQUENCE.period == pytest.approx(652.8e-6)
    assert len(SEQUENCE.frequencies) == 817 and SEQUENCE.frequencies[-1] == 1.25e6
    np.testing.assert_allclose(SEQUENCE.frequencies[[16, 17]], [2.5e6 / 102, 2.5e6 / 96])
    np.testing.assert_allclose(SEQUENCE.field_of_view, [24e-3, 24e-3])
    path = np.asarray(SEQUENCE.path())
    assert path.shape == (1632, 2)
    np.testing.assert_allclose(np.abs(path).max(0), 12e-3, rtol=1e-2)
    t = np.arange(1632) / 2.5e6
    np.testing.assert_allclose(path[:, 1], 12e-3 * np.sin(2 * np.pi * 2.5e6 / 96 * t), atol=1e-15)
    assert MPISequence((102, 96, 99)).samples == 53856  # 21.54 ms


def test_voxel_against_the_formula_written_out(s):
    # Voxel (1, 3): y = -4.8 mm, x = 4.8 mm, by the derivative of L at eight times the sampling rate.
    n, d = 8 * 1632, 25e-9
    t = np.arange(n) / (8 * 2.5e6)
    w = 2 * np.pi * 2.5e6 / np.array([[102], [96]])
    h = np.array([[-1 * 4.8e-3], [-1 * -4.8e-3]]) + 12e-3 * np.sin(w * t)
    dh = 12e-3 * w * np.cos(w * t)
    beta = 0.6 / MU0 * np.pi / 6 * d**3 / (1.380649e-23 * 293)
    size = np.sqrt((h**2).sum(0))
    x = beta * size
    L, dL = 1 / np.tanh(x) - 1 / x, 1 / x**2 - 1 / np.sinh(x) ** 2
    dsize = (h * dh).sum(0) / size
    dm = dL * beta * dsize * h / size + L * (dh / size - h * dsize / size**2)
    volume = (24e-3 / 5) ** 2 * 1e-3
    u = -MU0 * volume * (0.6 / MU0) / SOLID_IRON * dm
    wanted = np.fft.rfft(u)[:, :300] / 8
    np.testing.assert_allclose(s[:, :300, 1, 3], wanted, atol=1e-6 * np.abs(wanted).max())


def test_mirror_symmetries(s):
    sign = (-1.0) ** np.arange(817)[:, None, None]
    scale = np.abs(s).max() * 1e-12
    np.testing.assert_allclose(s[0, :, ::-1], sign * s[0], atol=scale)
    np.testing.assert_allclose(s[1, :, ::-1], -sign * s[1], atol=scale)
    np.testing.assert_allclose(s[0, :, :, ::-1], sign * s[0].conj(), atol=scale)
    np.testing.assert_allclose(s[1, :, :, ::-1], -sign * s[1].conj(), atol=scale)


def test_mixing_orders():
    m = SEQUENCE.mixing_orders()
    np.testing.assert_array_equal(m[[0, 16, 17, 48, 49, 50, 1]], [[0, 0], [1, 0], [0, 1], [3, 0], [2, 1], [1, 2],
                                                                    [-1, 1]])
    np.testing.assert_array_equal(m @ [16, 17], np.arange(817))
    # Of least order: no other pair within reach is smaller.
    a, b = np.meshgrid(np.arange(-60, 61), np.arange(-60, 61))
    for k in (100, 333, 700):
        assert np.abs(m[k]).sum() == (abs(a) + abs(b))[16 * a + 17 * b == k].min()
    far = SEQUENCE.mixing_orders(largest=2)
    assert (far[300] == 3).all() and (far[34] == [0, 2]).all()


def test_energy_sits_at_low_mixing_orders(s):
    order = np.abs(SEQUENCE.mixing_orders()).sum(1)
    energy = (np.abs(s) ** 2).sum((0, 2, 3))
    by_order = np.array([energy[order == n].sum() for n in range(1, 26)])
    assert by_order.argmax() == 0 and by_order[:10].sum() > 0.98 * energy.sum()
    assert (np.diff(by_order) < 0).all() and by_order[24] < 1e-4 * by_order[0]
    # At the centre M is odd in the field: even orders vanish but for what odd representations of the same k give.
    centre = np.abs(s[:, :, 2, 2]).max(0)
    low = order <= 5
    assert centre[low & (order % 2 == 0)].max() < 1e-3 * centre[low & (order % 2 == 1)].max()


def test_one_dimension_gives_chebyshev_polynomials():
    # Ideal particles: component n is U_{n-1}(x / A) sqrt(1 - (x / A)^2) (Rahmer et al., 2009).
    # Driven by a sine and not a cosine, component n has the phase of i^n besides.
    sequence = MPISequence((4000,), amplitude=10e-3)
    s = mpi_system_matrix(sequence, Particles(core_diameter=150e-9), shape=(101,), field_of_view=[20e-3])
    x = np.linspace(-1, 1, 102)[:-1] + 1 / 101
    for n in (2, 3, 5, 8):
        wanted = np.sin(n * np.arccos(np.clip(x, -1, 1)))  # U_{n-1} sqrt(1 - x^2)
        got = np.asarray(s[0, n])
        match = np.abs(np.vdot(wanted, got)) / np.linalg.norm(wanted) / np.linalg.norm(got)
        assert match > 0.9999, (n, match)


@pytest.mark.slow
def test_options_scale_as_they_should(s):
    small = {"shape": (5, 5), "field_of_view": (10e-3, 12e-3)}
    base = mpi_system_matrix(**small)
    transfer = np.exp(1j * np.arange(817) / 100) / (1 + np.arange(817))
    got = mpi_system_matrix(**small, transfer=transfer)
    np.testing.assert_allclose(got, base * transfer[:, None, None], rtol=1e-12)
    both = mpi_system_matrix(**small, transfer=np.stack([transfer, 2 * transfer]))
    np.testing.assert_allclose(both[1], 2 * got[1], rtol=1e-12)
    np.testing.assert_allclose(mpi_system_matrix(**small, thickness=3e-3), 3 * base, rtol=1e-10, atol=1e-16)
    coils = mpi_system_matrix(**small, receive=[[0.0, 2.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(coils[0], 2 * base[1], rtol=1e-10, atol=1e-20)
    np.testing.assert_allclose(coils[1], base[0] + base[1], rtol=1e-8, atol=1e-15)
    assert not coils[2].any()
    volume = mpi_system_matrix(shape=(1, 5, 5), field_of_view=(1e-3, 10e-3, 12e-3))
    np.testing.assert_allclose(volume[:, :, 0], base, rtol=1e-10, atol=1e-15)


def test_three_drive_fields():
    s = mpi_system_matrix(MPISequence((8, 10, 12)), shape=(2, 3, 2))
    assert s.shape == (3, 61, 2, 3, 2)
    assert np.isfinite(np.asarray(s)).all() and np.abs(np.asarray(s))[:, :, 0, 0, 0].any()


def test_single_precision(s):
    single = mpi_system_matrix(shape=(5, 5), dtype="float32")
    assert single.dtype == jnp.complex64
    assert np.linalg.norm(single - s) < 1e-5 * np.linalg.norm(s)


@pytest.mark.slow
def test_gradient_to_the_particles():
    # With the voxel at the centre, where |H| = 0 at times.
    def loss(d):
        return jnp.sum(jnp.abs(mpi_system_matrix(particles=Particles(d), shape=(5, 5))[:, 40:80]) ** 2)

    h = 1e-13
    numeric = (loss(25e-9 + h) - loss(25e-9 - h)) / (2 * h)
    np.testing.assert_allclose(jax.grad(loss)(25e-9), numeric, rtol=1e-4)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: MPISequence((1, 2, 3, 4)), "1 to 3 dividers"),
    (lambda: MPISequence((102, 0)), "dividers >= 1"),
    (lambda: MPISequence(gradient=(0.0, -1.0, 2.0)), "gradient must not be zero"),
    (lambda: MPISequence(amplitude=[1e-3] * 3), "each of 2 drive channels"),
    (lambda: Particles(core_diameter=-1e-9), "core_diameter must be positive"),
    (lambda: mpi_system_matrix(shape=(2, 2, 2)), "give field_of_view"),
    (lambda: mpi_system_matrix(shape=(2, 2), field_of_view=[1e-2]), "one length for each axis"),
    (lambda: mpi_system_matrix(shape=(2, 2), transfer=np.ones(5)), r"transfer needs shape \(817,\)"),
    (lambda: mpi_system_matrix(shape=(2, 2), receive=np.ones(3)), r"receive needs shape \(coils, 3\)"),
])
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
