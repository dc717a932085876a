"""Each solver against dense algebra, its optimality conditions, and a plain numpy loop written from the paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import jaxrecon as jr

RNG = np.random.default_rng(7)
A = RNG.standard_normal((9, 6))
B = RNG.standard_normal(9)
C = RNG.standard_normal((9, 6)) + 1j * RNG.standard_normal((9, 6))
D = RNG.standard_normal(9) + 1j * RNG.standard_normal(9)
L = np.linalg.norm(A, 2) ** 2
KINDS = {"real": (A, B), "complex": (C, D), "real matrix, complex data": (A, D), "complex matrix, real data": (C, B)}


def history(a, b, solver, iterations, **kwargs):
    return np.asarray(jr.solve(jr.Matrix(a), b, solver, iterations, record="x", **kwargs).history)


def agree(x, wanted, tolerance=1e-11):
    np.testing.assert_allclose(x, wanted, rtol=0, atol=tolerance * max(1, np.abs(wanted).max()))


def soft(v, t):
    return v * np.maximum(1 - t / np.maximum(np.abs(v), 1e-300), 0)


def start(a, b):
    return np.zeros(a.shape[1], np.result_type(a, b))


# ---- the loops of the papers


def landweber(a, b, t, n):
    x, out = start(a, b), []
    for _ in range(n):
        x = x + t * a.conj().T @ (b - a @ x)
        out.append(x)
    return out


def cg(a, b, lam, n):
    x = start(a, b)
    r = a.conj().T @ b
    p, out = r, []
    for _ in range(n):
        q = a.conj().T @ (a @ p) + lam * p
        alpha = np.vdot(r, r).real / np.vdot(p, q).real
        x, new = x + alpha * p, r - alpha * q
        p, r = new + np.vdot(new, new).real / np.vdot(r, r).real * p, new
        out.append(x)
    return out


def ista(a, b, lam, t, n):
    x, out = start(a, b), []
    for _ in range(n):
        x = soft(x - t * a.conj().T @ (a @ x - b), t * lam)
        out.append(x)
    return out


def fista(a, b, lam, t, n, restart=False):
    x = y = start(a, b)
    k, out = 1.0, []
    for _ in range(n):
        new = soft(y - t * a.conj().T @ (a @ y - b), t * lam)
        k_new = (1 + np.sqrt(1 + 4 * k * k)) / 2
        if restart and np.vdot(y - new, new - x).real > 0:
            y, k = new, 1.0
        else:
            y, k = new + (k - 1) / k_new * (new - x), k_new
        x = new
        out.append(x)
    return out


def pogm(a, b, lam, t, n):
    """Taylor, Hendrickx and Glineur 2017, in the form of Kim and Fessler 2018."""
    x = w = z = start(a, b)
    theta, gamma, out = 1.0, t, []
    for _ in range(n):
        w_new = x - t * a.conj().T @ (a @ x - b)
        theta_new = (1 + np.sqrt(1 + 4 * theta**2)) / 2
        gamma_new = t * (2 * theta + theta_new - 1) / theta_new
        z = (
            w_new
            + (theta - 1) / theta_new * (w_new - w)
            + theta / theta_new * (w_new - x)
            + t * (theta - 1) / (gamma * theta_new) * (z - x)
        )
        x, w, theta, gamma = soft(z, gamma_new * lam), w_new, theta_new, gamma_new
        out.append(x)
    return out


def admm(a, b, lam, rho, n, relaxation=1.0):
    z = u = start(a, b)
    out = []
    for _ in range(n):
        x = np.linalg.solve(a.conj().T @ a + rho * np.eye(a.shape[1]), a.conj().T @ b + rho * (z - u))
        mixed = relaxation * x + (1 - relaxation) * z
        z = soft(mixed + u, lam / rho)
        u = u + mixed - z
        out.append(z)
    return out


def differences(n):
    return np.vstack([np.diff(np.eye(n), axis=0), np.zeros(n)])


def clip(v, radius):
    return v / np.maximum(1, np.abs(v) / radius)


def pdhg(a, b, lam, tau, sigma, n):
    """1/2|Ax-b|^2 and lam |K x|_1, each behind a dual variable (Chambolle and Pock 2011)."""
    K = differences(a.shape[1])
    x = bar = start(a, b)
    y, p, out = np.zeros_like(b), np.zeros(len(K), x.dtype), []
    for _ in range(n):
        y = (y + sigma * (a @ bar - b)) / (1 + sigma)
        p = clip(p + sigma * K @ bar, lam)
        new = x - tau * (a.conj().T @ y + K.T @ p)
        x, bar = new, 2 * new - x
        out.append(x)
    return out


def condat_vu(a, b, lam, tau, sigma, n):
    K = differences(a.shape[1])
    x, out = start(a, b), []
    p = np.zeros(len(K), x.dtype)
    for _ in range(n):
        new = np.maximum(x - tau * (a.conj().T @ (a @ x - b) + K.T @ p), 0)
        p = clip(p + sigma * K @ (2 * new - x), lam)
        x = new
        out.append(x)
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_iterates_equal_the_papers_loop(kind):
    a, b = KINDS[kind]
    t = 0.9 / np.linalg.norm(a, 2) ** 2
    agree(history(a, b, jr.Landweber(t), 20), landweber(a, b, t, 20))
    agree(history(a, b, jr.CGNR(0.3), 5), cg(a, b, 0.3, 5), 1e-9)
    agree(history(a, b, jr.FISTA(jr.L1(0.5), t), 30), fista(a, b, 0.5, t, 30))
    agree(history(a, b, jr.ADMM(jr.L1(0.5), rho=2.0), 20), admm(a, b, 0.5, 2.0, 20))


def test_iterates_equal_the_papers_loop_in_the_variants():
    a, b = C, D
    t = 0.9 / np.linalg.norm(a, 2) ** 2
    agree(history(a, b, jr.ISTA(jr.L1(0.5), t), 20), ista(a, b, 0.5, t, 20))
    agree(history(a, b, jr.POGM(jr.L1(0.5), t, restart=False), 40), pogm(a, b, 0.5, t, 40))
    agree(history(a, b, jr.ADMM(jr.L1(0.5), 2.0, relaxation=1.6), 20), admm(a, b, 0.5, 2.0, 20, 1.6))
    # No balancing after step 0 where the residuals never differ by 5: checked against the fixed rho only in its limit.
    limit = history(a, b, jr.FISTA(jr.L1(0.5), restart=True), 400)[-1]
    agree(history(a, b, jr.ADMM(jr.L1(0.5), 1e-3, balance=True), 400)[-1], limit, 1e-9)
    agree(history(a, b, jr.ADMM(jr.L1(0.5), 1e3, balance=True), 400)[-1], limit, 1e-9)


def test_restart_happens_and_equals_the_loop():
    a, b = A, B
    t = 0.9 / L
    with_restart = fista(a, b, 0.5, t, 200, restart=True)
    assert np.abs(np.array(with_restart) - fista(a, b, 0.5, t, 200)).max() > 1e-3
    agree(history(a, b, jr.FISTA(jr.L1(0.5), t, restart=True), 200), with_restart, 1e-9)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_primal_dual_iterates_equal_the_papers_loop(kind):
    a, b = KINDS[kind]
    tau = sigma = 0.9 / np.sqrt(np.linalg.norm(a, 2) ** 2 + 4)
    prior = jr.L1(0.4, transform=jr.Matrix(differences(6)))
    agree(history(a, b, jr.PDHG(prior, tau, sigma), 30), pdhg(a, b, 0.4, tau, sigma, 30))
    if kind == "real":
        sigma, tau = L / 8, 0.9 / L
        agree(
            history(a, b, jr.CondatVu([prior, jr.NonNegative()], tau, sigma), 30), condat_vu(a, b, 0.4, tau, sigma, 30)
        )


def test_found_steps_are_what_they_say():
    t = 1 / L
    for solver, given in [
        (jr.Landweber(), jr.Landweber(t)),
        (jr.ISTA(jr.L1(0.1)), jr.ISTA(jr.L1(0.1), t)),
        (jr.CondatVu(jr.TV(0.1)), jr.CondatVu(jr.TV(0.1), 0.99 / L, L / 2 / np.linalg.norm(differences(6), 2) ** 2)),
    ]:
        agree(history(A, B, solver, 10), history(A, B, given, 10), 1e-6)
    step = 0.99 / np.sqrt(1 + np.linalg.norm(differences(6), 2) ** 2)
    unit = A / np.sqrt(L)
    agree(history(unit, B, jr.PDHG(jr.TV(0.1)), 10), history(unit, B, jr.PDHG(jr.TV(0.1), step, step), 10), 1e-6)


def test_found_steps_of_pdhg_do_not_depend_on_units():
    wanted = history(A, B, jr.PDHG([jr.NonNegative(), jr.TV(0.1)]), 10)
    for c in (1e-3, 1e3):
        agree(c * history(c * A, B, jr.PDHG([jr.NonNegative(), jr.TV(c * 0.1)]), 10), wanted, 1e-9)


# ---- Kaczmarz: blocks are exactly as many rows


def kaczmarz(a, b, lam, n, order, x=None, project=lambda x: x):
    """Row by row; lam scalar or per unknown (columns scaled by lam^-1/2, then lam = 1)."""
    lam = np.asarray(lam, float)
    scale = np.sqrt(lam) if lam.ndim else np.ones(a.shape[1])
    lam = 1.0 if lam.ndim else float(lam)
    a = a / scale
    x = (start(a, b) if x is None else x) * scale
    w, out = np.zeros(len(a), np.result_type(a, b)), []
    for sweep in range(n):
        for k in order[sweep] if np.ndim(order) == 2 else order:
            energy = np.vdot(a[k], a[k]).real
            if energy == 0:
                continue
            alpha = (b[k] - a[k] @ x - w[k]) / (energy + lam)
            x = x + alpha * a[k].conj()
            w[k] += lam * alpha
        x = project(x)
        out.append(x / scale)
    return out


TALL = {
    "real": (RNG.standard_normal((37, 5)), RNG.standard_normal(37)),
    "complex": (
        RNG.standard_normal((37, 5)) + 1j * RNG.standard_normal((37, 5)),
        RNG.standard_normal(37) + 1j * RNG.standard_normal(37),
    ),
}
TALL["real matrix, complex data"] = TALL["real"][0], TALL["complex"][1]
TALL["complex matrix, real data"] = TALL["complex"][0], TALL["real"][1]


@pytest.mark.parametrize(
    "block, lam, kind",
    [
        *[
            (block, lam, kind)
            for kind in ("real", "complex")
            for block, lam in ((1, 0.7), (3, 0.0), (32, 0.7), (None, "vector"), (100, 0.7))
        ],
        (3, 0.7, "real matrix, complex data"),
        (3, "vector", "complex matrix, real data"),
    ],
)
def test_kaczmarz_blocks_are_the_row_sweep(kind, block, lam):
    a, b = TALL[kind]
    a = a.copy()
    a[[4, 36]] = 0
    lam = np.linspace(0.2, 2, 5) if lam == "vector" else lam
    agree(history(a, b, jr.Kaczmarz(lam, block=block), 3), kaczmarz(a, b, lam, 3, range(37)))


@pytest.mark.parametrize("lam", [0.0, 0.7, "vector"])
def test_kaczmarz_shuffled_is_one_permutation(lam):
    a, b = TALL["complex"]
    lam = np.linspace(0.2, 2, 5) if lam == "vector" else lam
    key = jax.random.key(3)
    order = np.asarray(jax.random.permutation(key, 37))
    assert sorted(order) == list(range(37)) and list(order) != list(range(37))
    agree(history(a, b, jr.Kaczmarz(lam, order="shuffled", key=key, block=8), 3), kaczmarz(a, b, lam, 3, order))


@pytest.mark.parametrize("lam", [0.0, 0.7])
def test_kaczmarz_random_rows(lam):
    a, b = TALL["real"]
    a = a * np.linspace(0.1, 2, 37)[:, None]
    a[5] = 0
    key = jax.random.key(1)
    with np.errstate(divide="ignore"):
        chances = np.log(np.sum(a**2, 1))
    order = np.array(
        [jax.random.categorical(jax.random.fold_in(key, s), jnp.asarray(chances), shape=(37,)) for s in range(4)]
    )
    assert len({tuple(o) for o in order}) == 4 and not np.any(order == 5)
    agree(history(a, b, jr.Kaczmarz(lam, order="random", key=key), 4), kaczmarz(a, b, lam, 4, order))


def test_kaczmarz_random_rows_come_with_the_probability_of_their_energy():
    a = np.diag(np.sqrt([1.0, 2.0, 5.0, 0.0]))
    aux = jr.Kaczmarz(1e3, order="random", key=jax.random.key(0)).setup(
        jr.LeastSquares().problem(jr.Matrix(a), jnp.ones(4))
    )
    np.testing.assert_allclose(np.exp(aux.chances), [1, 2, 5, 0], atol=1e-12)


def test_kaczmarz_with_a_projection_and_a_start():
    a, b = TALL["real"]
    x0 = RNG.standard_normal(5)
    got = history(a, b, jr.Kaczmarz(0.0, prior=jr.NonNegative(), block=4), 5, x0=x0)
    agree(got, kaczmarz(a, b, 0.0, 5, range(37), x0, lambda x: np.maximum(x, 0)))


def test_kaczmarz_limits():
    a, b = TALL["complex"]
    lam = np.linspace(0.5, 2, 5)
    for w in (0.7, lam):
        agree(
            jr.solve(jr.Matrix(a), b, jr.Kaczmarz(w), 6000).x,
            np.linalg.solve(a.conj().T @ a + w * np.eye(5), a.conj().T @ b),
            1e-10,
        )
    # Consistent and underdetermined: the solution of least norm.
    wide = a[:3]
    agree(jr.solve(jr.Matrix(wide), b[:3], jr.Kaczmarz(), 500).x, np.linalg.pinv(wide) @ b[:3], 1e-10)


def test_kaczmarz_of_a_real_unknown_behind_a_complex_matrix():
    a, b = TALL["complex"]
    rows = np.stack([a.real, a.imag], 1).reshape(-1, 5)
    data = np.stack([b.real, b.imag], 1).ravel()
    got = jr.solve(jr.real_part(jr.Matrix(a)), b, jr.Kaczmarz(0.7), 3, record="x").history
    assert got.dtype == jnp.float64
    agree(got, kaczmarz(rows, data, 0.7, 3, range(74)))


# ---- limits and optimality


def optimal(x, a, b, lam):
    """Distance of 0 from the subdifferential of 1/2|Ax-b|^2 + lam|x|_1."""
    g = a.conj().T @ (a @ x - b)
    inside = np.abs(x) == 0
    active = np.abs(g + lam * x / np.where(inside, 1, np.abs(x)))[~inside]
    return max(np.max(active, initial=0), np.max(np.abs(g[inside]) - lam, initial=0))


L1_SOLVERS = [
    (jr.ISTA(jr.L1(1.5)), 2000),
    (jr.FISTA(jr.L1(1.5), restart=True), 500),
    (jr.POGM(jr.L1(1.5)), 600),
    (jr.ADMM(jr.L1(1.5), balance=True, relaxation=1.8), 500),
    *[
        pytest.param(*v, marks=pytest.mark.slow)
        for v in (
            (jr.ADMM(jr.L1(1.5), rho=3.0), 500),
            (jr.PDHG(jr.L1(1.5)), 2000),
            (jr.CondatVu(jr.L1(1.5)), 2000),
            (jr.FISTA(jr.L1(1.5)), 6000),
        )
    ],
]


@pytest.mark.parametrize("solver, iterations", L1_SOLVERS, ids=lambda v: getattr(v, "__class__", v).__name__)
def test_lasso_optimality(solver, iterations):
    for kind in ("real", "complex"):
        a, b = KINDS[kind]
        x = np.asarray(jr.solve(jr.Matrix(a), b, solver, iterations).x)
        assert 0 < np.sum(x == 0) < 6
        assert optimal(x, a, b, 1.5) < 1e-8


@pytest.mark.parametrize(
    "solver, iterations",
    [
        (jr.ADMM([jr.L1(0.4, jr.Matrix(differences(6))), jr.NonNegative(), jr.L2(0.2)], rho=2.0), 2000),
        (jr.PDHG([jr.NonNegative(), jr.L2(0.2), jr.L1(0.4, jr.Matrix(differences(6)))]), 6000),
        (jr.CondatVu([jr.TV(0.4), jr.NonNegative(), jr.L2(0.2)]), 6000),
    ],
    ids=["ADMM", "PDHG", "CondatVu"],
)
def test_several_priors_against_a_quadratic_programme(solver, iterations):
    K = differences(6)[:5]
    # x >= 0 and |K x| <= s, s >= 0: a smooth problem with bounds once |K x| is split into positive and negative parts.
    H = A.T @ A + 0.2 * np.eye(6)

    def objective(x):
        return x @ H @ x / 2 - x @ A.T @ B + 0.4 * np.abs(K @ x).sum()

    fit = scipy.optimize.minimize(
        lambda v: v[:6] @ H @ v[:6] / 2 - v[:6] @ A.T @ B + 0.4 * v[6:].sum(),
        np.full(11, 0.5),
        method="SLSQP",
        jac=lambda v: np.r_[H @ v[:6] - A.T @ B, np.full(5, 0.4)],
        bounds=[(0, None)] * 11,
        constraints=[
            {
                "type": "ineq",
                "fun": lambda v: np.r_[v[6:] - K @ v[:6], v[6:] + K @ v[:6]],
                "jac": lambda v: np.vstack([np.hstack([-K, np.eye(5)]), np.hstack([K, np.eye(5)])]),
            }
        ],
        options={"ftol": 1e-15, "maxiter": 500},
    )
    x = np.asarray(jr.solve(jr.Matrix(A), B, solver, iterations).x)
    agree(np.maximum(x, 0), fit.x[:6], 1e-6)
    assert objective(np.maximum(x, 0)) <= objective(fit.x[:6]) + 1e-9


def test_cg_stands_still_past_convergence():
    for a, b in ((A, B), (C, D)):
        agree(
            history(a, b, jr.CGNR(0.1), 200)[[6, 50, 199]],
            [np.linalg.solve(a.conj().T @ a + 0.1 * np.eye(6), a.conj().T @ b)] * 3,
            1e-10,
        )


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-9), ("float32", 1e-3)])
def test_cg_of_a_singular_system_gives_the_least_norm(dtype, tolerance):
    a = RNG.standard_normal((20, 5)) @ RNG.standard_normal((5, 12))
    b = RNG.standard_normal(20)
    x = jr.solve(jr.Matrix(a.astype(dtype)), b, jr.CGNR(), 300).x
    agree(x, np.linalg.pinv(a, rcond=1e-12) @ b, tolerance)
    wide = RNG.standard_normal((4, 30))
    agree(jr.solve(jr.Matrix(wide.astype(dtype)), b[:4], jr.CGNR(), 300).x, np.linalg.pinv(wide) @ b[:4], tolerance)


def test_cg_from_a_start_and_with_weights_per_unknown():
    x0, lam = RNG.standard_normal(6), np.linspace(0, 2, 6)
    want = np.linalg.solve(A.T @ A + np.diag(lam), A.T @ B)
    r = jr.solve(jr.Matrix(A), B, jr.CGNR(lam), 12, x0=x0, record="objective")
    agree(r.x, want, 1e-10)
    np.testing.assert_allclose(r.history[-1], np.sum((A @ want - B) ** 2) / 2 + np.sum(lam * want**2) / 2)
    agree(jr.solve(jr.Matrix(A), B, jr.CGNR(lam), 5, x0=want).x, want, 1e-10)


def test_landweber_is_a_filter():
    """x_k = V (1 - (1 - t s^2)^k) / s U^H b."""
    t = 1.5 / L
    u, s, vh = np.linalg.svd(A, full_matrices=False)
    x = jr.solve(jr.Matrix(A), B, jr.Landweber(t), 25).x
    agree(x, vh.T @ ((1 - (1 - t * s**2) ** 25) / s * (u.T @ B)))


IMAGE = (8, 7)
MASK = (np.random.default_rng(0).random(IMAGE) < 0.6).astype(float)
MASK[4, 3] = 0


@pytest.mark.parametrize("boundary", ["circular", "symmetric"])
@pytest.mark.slow
def test_tv_of_a_masked_fourier_transform_every_way(boundary):
    """Also without a sample at zero frequency, which neither the data nor TV sees: the mean stays 0."""
    F = jr.Fourier(IMAGE, mask=MASK)
    x = np.zeros(IMAGE)
    x[2:5, 1:6] = 1
    b, prior = F(x), jr.TV(0.05, boundary=boundary)
    xs = [
        np.asarray(jr.solve(F, b, solver, n).x)
        for solver, n in (
            (jr.ADMM(prior, rho=0.1), 3000),
            (jr.CondatVu(prior, tau=0.9, sigma=0.05), 6000),
            (jr.PDHG(prior, 0.3, 0.3), 6000),
            (jr.FISTA(prior, restart=True), 1500),
        )
    ]
    values = [float(jnp.sum(jnp.abs(F(v) - b) ** 2) / 2 + prior(jnp.asarray(v))) for v in xs]
    np.testing.assert_allclose(values, min(values), rtol=1e-6)
    for v in xs:
        agree(v, xs[0], 1e-3)
        assert abs(v.mean()) < 1e-10


def test_stacked_measurements():
    S = jr.stack([jr.Matrix(A), jr.Matrix(C)])
    both, b = np.vstack([A, C]), (B, D)
    want = np.linalg.solve(both.conj().T @ both + 0.3 * np.eye(6), both.conj().T @ np.r_[B, D])
    for solver, n in (
        (jr.CGNR(0.3), 20),
        (jr.PDHG(jr.L2(0.3)), 1500),
        (jr.ADMM(jr.L2(0.3), rho=5.0), 300),
        (jr.CondatVu(jr.L2(0.3)), 1500),
    ):
        agree(jr.solve(S, b, solver, n).x, want, 1e-9)


@pytest.mark.parametrize(
    "solver, iterations",
    [
        (jr.CGNR(0.2), 20),
        (jr.ADMM(jr.L2(0.2)), 400),
        (jr.Kaczmarz(0.2), 2000),
        *[
            pytest.param(*v, marks=pytest.mark.slow)
            for v in (
                (jr.FISTA(jr.L2(0.2), restart=True), 500),
                (jr.PDHG(jr.L2(0.2)), 2500),
                (jr.CondatVu(jr.L2(0.2)), 2500),
            )
        ],
    ],
    ids=lambda v: getattr(v, "__class__", v).__name__,
)
def test_weighted_least_squares(solver, iterations):
    w = np.array([1.0, 0, 2, 0.5, 1, 3, 1, 1, 0.1])
    for kind in ("real", "complex"):
        a, b = KINDS[kind]
        want = np.linalg.solve(a.conj().T @ (w[:, None] * a) + 0.2 * np.eye(6), a.conj().T @ (w * b))
        agree(jr.solve(jr.Matrix(a), b, solver, iterations, data=jr.LeastSquares(w)).x, want, 1e-9)
    want = np.linalg.solve((C.conj().T @ (w[:, None] * C)).real + 0.2 * np.eye(6), (C.conj().T @ (w * D)).real)
    got = jr.solve(jr.real_part(jr.Matrix(C)), D, solver, iterations, data=jr.LeastSquares(w)).x
    assert got.dtype == jnp.float64
    agree(got, want, 1e-9)


def test_weights_of_a_fourier_transform():
    F = jr.Fourier(IMAGE)
    b = RNG.standard_normal(IMAGE) + 1j * RNG.standard_normal(IMAGE)
    got = jr.solve(F, b, jr.CGNR(0.1), 60, data=jr.LeastSquares(MASK * 2)).x
    agree(got, F.H(2 * MASK * b / (2 * MASK + 0.1)), 1e-10)
    half = jr.solve(F, b, jr.CGNR(), 60, data=jr.LeastSquares(MASK[:, :1])).x
    agree(half, F.H(MASK[:, :1] * b), 1e-10)
