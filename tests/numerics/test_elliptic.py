"""Steady balances: closed forms, order, independence of mesh shape and threads, and what is refused."""

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from scipy.integrate import cumulative_simpson
from scipy.sparse.linalg import spsolve
from scipy.special import k0

from tme_sim.numerics.elliptic import EllipticSolver
from tme_sim.numerics.faces import CLOSED, OPEN, NotSolvedError, face_conductances, hold_voxels
from tme_sim.numerics.multigrid import Multigrid

ALONG_X = ((False, False), (False, False), (True, True))


def order(spacings, errors):
    return np.polyfit(np.log(spacings), np.log(errors), 1)[0]


def centres(n, h):
    return (np.arange(n) + 0.5) * h


def matrix(faces, sink):
    """The same balance as a sparse matrix."""
    index = np.arange(sink.size).reshape(sink.shape)
    diagonal, rows, columns, values = sink.astype(float), [], [], []
    for axis, conductance in enumerate(faces.arrays):
        g, i, d = (np.moveaxis(a, axis, 0) for a in (conductance, index, diagonal))
        d += g[:-1] + g[1:]
        low, high, between = i[:-1].ravel(), i[1:].ravel(), -g[1:-1].ravel()
        rows += [low, high]
        columns += [high, low]
        values += [between, between]
    entries = (np.concatenate([*values, diagonal.ravel()]), (np.r_[(*rows, index.ravel())], np.r_[(*columns, index.ravel())]))
    return sparse.csr_matrix(entries)


@pytest.mark.parametrize("shape", [(4, 17, 23), (1, 9, 30), (13, 8, 11), (5, 5, 1)])
@pytest.mark.parametrize("fixed", [CLOSED, OPEN, ((True, False), (False, False), (False, True))])
def test_a_rough_medium_of_any_shape_agrees_with_a_direct_solver(shape, fixed):
    rng = np.random.default_rng(3)
    faces = face_conductances(10.0 ** rng.uniform(-1, 1, shape), 2.0, shape, fixed)
    faces, held_sink, held_source = hold_voxels(faces, rng.random(shape) < 0.1, 7.0)
    sink = held_sink + np.where(rng.random(shape) < 0.1, 5.0, 1e-3)
    source = held_source + rng.random(shape) + faces.inflow_at_edge([(1.0, 2.0), (3.0, 4.0), (5.0, 6.0)])
    u = np.zeros(shape)
    solved = EllipticSolver(faces).solve(sink, source, u, 1e-10)
    expected = spsolve(matrix(faces, sink), source.ravel()).reshape(shape)
    np.testing.assert_allclose(u, expected, rtol=1e-6)
    assert solved.residual <= 1e-10


def test_held_voxels_keep_their_value_and_feed_their_neighbours():
    held = np.zeros((1, 1, 11), bool)
    held[0, 0, [0, 10]] = True
    faces, sink, source = hold_voxels(face_conductances(3.0, 1.0, held.shape), held, np.arange(11.0))
    u = np.zeros(held.shape)
    EllipticSolver(faces).solve(sink, source, u, 1e-12)
    np.testing.assert_allclose(u[0, 0], np.arange(11.0), atol=1e-9)


def test_values_on_the_faces_and_a_varying_diffusivity_give_second_order():
    """u = cos(x) cosh(y) + z with D = 1 + sin(x)/2 and a sink of 1; the faces hold its values at their middles."""
    spacings, errors = [], []

    def exact(z, y, x):
        return np.cos(x) * np.cosh(y) + z

    for n in (10, 15, 20, 30):
        h = 2.0 / n
        shape = (n // 2, n, n + n // 2)
        at = [centres(m, h) for m in shape]
        z, y, x = np.ix_(*at)
        ends = [(np.array([0.0]), np.array([m * h])) for m in shape]
        values = [
            tuple(exact(*np.ix_(*(ends[i][side] if i == axis else at[i] for i in range(3)))).squeeze(axis) for side in (0, 1))
            for axis in range(3)
        ]
        faces = face_conductances((1 + np.sin(x) / 2) * np.ones(shape), h, shape, OPEN)
        slope = -np.sin(x) * np.cosh(y)  # ∇²u = 0, so −∇·(D∇u) = −D'(x) ∂u/∂x
        source = -np.cos(x) / 2 * slope + exact(z, y, x)
        u = np.zeros(shape)
        EllipticSolver(faces).solve(np.ones(shape), source + faces.inflow_at_edge(values), u, 1e-11)
        spacings.append(h)
        errors.append(np.sqrt(np.mean((u - exact(z, y, x)) ** 2)))
    assert 1.8 < order(spacings, errors) < 2.2
    assert errors[-1] < 1e-3


def test_a_line_source_with_decay_falls_off_as_a_bessel_function_with_second_order():
    """c = q K0(r √(k/D))/(2π D), V05; the faces hold the exact value."""
    spacings, errors = [], []
    d, decay, q = 2000.0, 0.8, 500.0
    for n in (25, 51, 101):
        h = 150.0 / n
        y, x = np.meshgrid(centres(n, h) - 75, centres(n, h) - 75, indexing="ij")
        along = centres(n, h) - 75
        edge = q / (2 * np.pi * d) * k0(np.hypot(along, 75.0) * np.sqrt(decay / d))
        faces = face_conductances(d, h, (1, n, n), ((False, False), (True, True), (True, True)))
        source = faces.inflow_at_edge([(0, 0), (edge[None, :], edge[None, :]), (edge[None, :], edge[None, :])])
        source[0, n // 2, n // 2] += q / h**2
        u = np.zeros((1, n, n))
        EllipticSolver(faces).solve(decay, source, u, 1e-11)
        r = np.hypot(y, x)
        exact = q / (2 * np.pi * d) * k0(np.maximum(r, h / 2) * np.sqrt(decay / d))
        spacings.append(h)
        errors.append(np.abs(u[0] - exact)[(r > 25) & (r < 60)].max() / exact[(r > 25) & (r < 60)].max())
    assert 1.8 < order(spacings, errors) < 2.3
    assert errors[-1] < 2e-3


@pytest.mark.parametrize(("consumption", "published"), [(5, 31.05), (10, 22.10), (15, 13.16), (20, 4.21)])
def test_krogh_cylinder(consumption, published):
    """V02: capillary of 5 µm with 40 mmHg, tissue cylinder of 60 µm, D = 2000 µm²/s; the capillary's voxels hold the formula.

    The cylinder's rim in cubes makes it a first-order approximation.
    """
    d, p_c, r_c, r_t = 2000.0, 40.0, 5.0, 60.0
    spacings, errors = (2.0, 1.0, 0.5, 0.4), []
    for h in spacings:
        n = 2 * int(np.ceil(61 / h)) + 1
        y, x = np.meshgrid(centres(n, h) - n * h / 2, centres(n, h) - n * h / 2, indexing="ij")
        r = np.hypot(y, x)[None]
        rise = (r**2 - r_c**2) / 2 - r_t**2 * np.log(np.maximum(r, h / 2) / r_c)
        exact = p_c + consumption * rise / (2 * d)
        faces, sink, source = hold_voxels(face_conductances(np.where(r <= r_t, d, 0.0), h, r.shape), r <= r_c, exact)
        tissue = (r > r_c) & (r <= r_t)
        p = np.full(r.shape, p_c)
        EllipticSolver(faces).solve(sink, source - consumption * tissue, p)
        errors.append(np.abs(p - exact)[tissue].max())
        at_rim = p[(r > r_t - h) & (r <= r_t)].mean()
    assert 1.0 < order(spacings, errors) < 2.0
    assert at_rim == pytest.approx(published, abs=0.005 + 0.001 * consumption)


def sphere(radius_um, n):
    """Distances from the centre of a box that holds the sphere, and the mesh width."""
    h = 2 * radius_um / (n - 4)
    z, y, x = np.ix_(*(centres(n, h) - n * h / 2,) * 3)
    return np.sqrt(z**2 + y**2 + x**2), h


@pytest.mark.parametrize("size", [0.95, 1.15, 1.6])
def test_a_spheroid_is_anoxic_at_its_centre_from_the_published_radius_on(size):
    """V04: r_l = √(6 D p0/Q) = 233 µm for D = 2000, p0 = 100, Q = 22.1; beyond, p = Q (r² + 2 a³/r − 3 a²)/(6 D) down to the
    anoxic radius a, set by p(R) = p0 (Grimes 2014). A half saturation of 0.001 mmHg stands for constant consumption; voxels
    outside hold the formula.
    """
    d, p0, q, half = 2000.0, 100.0, 22.1, 0.001
    limit = np.sqrt(6 * d * p0 / q)
    assert limit == pytest.approx(233, abs=0.1)
    radius = size * limit
    roots = np.roots([2 / radius, -3, 0, radius**2 - limit**2])
    anoxic = min((float(root.real) for root in roots if abs(root.imag) < 1e-9 and 0 < root.real < radius), default=0.0)
    assert (anoxic > 0) == (size > 1)
    at_centre = max(p0 - q * radius**2 / (6 * d), 0.0)
    spacings, errors = [], []
    for n in (24, 34, 48):
        r, h = sphere(radius, n)
        exact = np.where(r > anoxic, q / (6 * d) * (r**2 + 2 * anoxic**3 / r - 3 * anoxic**2) + at_centre, 0.0)
        faces, sink, source = hold_voxels(face_conductances(d, h, r.shape), r > radius, exact)
        p = np.full(r.shape, p0)
        EllipticSolver(faces).solve_saturable(sink, source, np.where(r <= radius, q, 0.0), half, p)
        spacings.append(h)
        errors.append(np.abs(p - exact)[r <= radius].max())
        found = (3 / (4 * np.pi) * (p < 0.02).sum()) ** (1 / 3) * h
    assert found == pytest.approx(anoxic, abs=h / 2)
    assert errors[-1] < 0.005 * p0
    assert size < 1 or 1.5 < order(spacings, errors) < 2.5


@pytest.mark.parametrize(
    ("alpha", "at_centre", "mean"), [(1, 0.149, 0.061), (2, 0.449, 0.194), (5, 0.933, 0.520), (10, 0.9991, 0.730)]
)
def test_pressure_in_a_sphere_that_leaks_evenly(alpha, at_centre, mean):
    """V01. A sphere of voxels in a bath of 0 has a first-order error of its surface, so two meshes are extrapolated."""
    found = []
    for n in (37, 69):
        r, h = sphere(1.0, n)
        inside = r <= 1
        faces, sink, source = hold_voxels(face_conductances(1.0, h, r.shape), ~inside, 0.0)
        p = np.zeros(r.shape)
        EllipticSolver(faces).solve(sink + alpha**2 * inside, source + alpha**2 * inside, p)
        found.append((p[n // 2, n // 2, n // 2], p[inside].mean()))
    coarse, fine = np.array(found)
    closed = np.array([1 - alpha / np.sinh(alpha), 1 - 3 * (alpha / np.tanh(alpha) - 1) / alpha**2])
    np.testing.assert_allclose(closed, [at_centre, mean], atol=0.001)
    errors = np.abs(np.array(found)[:, 1] - closed[1])
    assert 0.6 < np.log(errors[0] / errors[1]) / np.log(65 / 33) < 1.6
    np.testing.assert_allclose(2 * fine - coarse, closed, atol=0.012)


def test_saturable_consumption_in_one_dimension_follows_its_first_integral_with_second_order():
    """D u'² / 2 = m [u − k ln(1 + u/k)] in a half-space that nothing reaches the far end of."""
    d, m, k, top = 2000.0, 20.0, 5.0, 40.0
    value = np.concatenate([np.geomspace(1e-3, 1, 20001), np.linspace(1, top, 40001)[1:]])
    slope = np.sqrt(2 * m / d * (value - k * np.log1p(value / k)))
    depth = cumulative_simpson(1 / slope, x=value, initial=0)
    spacings, errors = [], []
    for n in (64, 128, 256):
        h = 600.0 / n
        faces = face_conductances(d, h, (1, 1, n), ((False, False), (False, False), (True, False)))
        u = np.full((1, 1, n), top)
        edge = faces.inflow_at_edge([(0, 0), (0, 0), (top, 0)])
        EllipticSolver(faces).solve_saturable(0.0, edge, m, k, u, 1e-12)
        exact = np.interp(depth[-1] - centres(n, h), depth, value)
        spacings.append(h)
        errors.append(np.abs(u[0, 0] - exact)[exact > 0.1].max())
    assert 1.8 < order(spacings, errors) < 2.2
    assert errors[-1] < 0.02


@pytest.mark.parametrize("start", [0.0, 40.0, 1e4])
def test_a_well_mixed_voxel_reaches_the_root_of_its_quadratic(start):
    """r (b − u) = m u/(u + k) without any exchange, over eight orders of m, from above and below."""
    m, r, b, k = np.logspace(-3, 5, 64).reshape(4, 4, 4), 3.0, 40.0, 0.5
    u = np.full(m.shape, start)
    EllipticSolver(face_conductances(0.0, 1.0, m.shape)).solve_saturable(r, r * b, m, k, u, 1e-13)
    half = r * (b - k) - m
    exact = np.where(half > 0, (half + np.sqrt(half**2 + 4 * r * r * b * k)) / (2 * r), 0)
    below = half <= 0
    exact[below] = 2 * r * b * k / (np.sqrt(half[below] ** 2 + 4 * r * r * b * k) - half[below])
    np.testing.assert_allclose(u, exact, rtol=1e-6, atol=1e-9)


def problem(shape, seed=0):
    """Tissue with vessels in one voxel of twenty and cells in four of five."""
    rng = np.random.default_rng(seed)
    exchange = np.where(rng.random(shape) < 0.05, 58.0, 0.0)
    return exchange + 0.15 * (rng.random(shape) < 0.8), 40 * exchange


@pytest.mark.parametrize("shape", [(64, 64, 64), (100, 100, 100), (4, 117, 152), (33, 47, 61)])
@pytest.mark.parametrize("vessels", [False, True])
def test_ten_iterations_suffice_on_any_shape(shape, vessels):
    sink, source = problem(shape) if vessels else (np.zeros(shape), np.ones(shape))
    u = np.zeros(shape)
    solver = EllipticSolver(face_conductances(2000.0, 10.0, shape, CLOSED if vessels else OPEN))
    assert solver.solve(sink, source, u).iterations <= 10
    assert solver.solve(sink, source, before := u.copy()).iterations == 0
    assert np.array_equal(before, u)


def test_the_preconditioner_is_symmetric_and_positive():
    shape = (7, 12, 19)
    rng = np.random.default_rng(1)
    cycle = Multigrid(face_conductances(10.0 ** rng.uniform(-1, 1, shape), 1.0, shape, ALONG_X).arrays)
    cycle.set_sink(rng.random(shape))

    def correct(residual):
        cycle.b[...] = residual
        cycle.precondition()
        return cycle.u[1:-1, 1:-1, 1:-1].astype(float)

    for _ in range(5):
        a, b = rng.normal(size=(2, *shape)).astype(np.float32)
        energy = np.vdot(a, correct(a))
        assert energy > 0
        assert np.vdot(a, correct(b)) == pytest.approx(np.vdot(b, correct(a)), abs=1e-5 * energy)


def test_a_cycle_allocates_no_fields():
    cycle = Multigrid(face_conductances(1.0, 1.0, (40, 40, 40), OPEN).arrays)
    cycle.set_sink(np.ones((40, 40, 40)))
    cycle.precondition()
    tracemalloc.start()
    cycle.precondition()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < cycle.b.nbytes / 4


DIGESTS = """
import hashlib
import numpy as np
from tme_sim.numerics import threads
from tme_sim.numerics.elliptic import EllipticSolver
from tme_sim.numerics.faces import face_conductances

threads.GRAIN = 100
shape = (21, 30, 25)
rng = np.random.default_rng(0)
exchange = np.where(rng.random(shape) < 0.05, 58.0, 0.0)
d = 10.0 ** rng.uniform(1, 3, shape)
for n in (4, 2, 1):
    assert threads.set_threads(n) == n
    assert threads.use_threads_for(exchange.size) == n
    solver = EllipticSolver(face_conductances(d, 10.0, shape))
    u, v = np.zeros(shape), np.full(shape, 40.0)
    assert solver.solve(exchange + 0.1, 40 * exchange, u).iterations > 3
    solver.solve_saturable(exchange, 40 * exchange, 20.0, 1.0, v)
    print(hashlib.sha256(u.tobytes() + v.tobytes()).hexdigest())
"""


def test_one_two_and_four_threads_give_the_same_bits():
    four = os.environ | {"NUMBA_NUM_THREADS": "4"}
    done = subprocess.run([sys.executable, "-c", DIGESTS], capture_output=True, text=True, check=False, env=four)
    assert done.returncode == 0, done.stderr
    digests = done.stdout.split()
    assert len(digests) == 3
    assert len(set(digests)) == 1


SHAPE = (3, 4, 5)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_a_bad_diffusivity_sink_or_source_is_named_by_its_voxel(bad):
    wrong = np.ones(SHAPE)
    wrong[2, 1, 3] = bad
    solver = EllipticSolver(face_conductances(1.0, 1.0, SHAPE))
    with pytest.raises(NotSolvedError, match=r"voxel \(2, 1, 3\).*diffusivity"):
        face_conductances(wrong, 1.0, SHAPE)
    with pytest.raises(NotSolvedError, match=r"voxel \(2, 1, 3\).*sink"):
        solver.solve(wrong, 1.0, np.zeros(SHAPE))
    with pytest.raises(NotSolvedError, match=r"voxel \(2, 1, 3\).*source"):
        solver.solve_saturable(1.0, wrong, 1.0, 1.0, np.zeros(SHAPE))
    with pytest.raises(NotSolvedError, match=r"voxel \(2, 1, 3\).*consumption"):
        solver.solve_saturable(1.0, 1.0, wrong, 1.0, np.zeros(SHAPE))


def test_a_value_to_start_from_that_is_not_finite_is_refused():
    u = np.zeros(SHAPE)
    u[0, 3, 4] = np.nan
    with pytest.raises(NotSolvedError, match=r"voxel \(0, 3, 4\)"):
        EllipticSolver(face_conductances(1.0, 1.0, SHAPE)).solve(1.0, 1.0, u)


def test_what_has_nowhere_to_go_has_no_balance():
    solver = EllipticSolver(face_conductances(1.0, 1.0, SHAPE))
    with pytest.raises(NotSolvedError, match="no balance"):
        solver.solve(0.0, 1.0, np.zeros(SHAPE))


def test_too_few_iterations_are_an_error_that_says_how_far_it_came():
    sink, source = problem((20, 20, 20))
    solver = EllipticSolver(face_conductances(2000.0, 10.0, sink.shape))
    with pytest.raises(NotSolvedError, match=r"after 2 iterations; .* left over"):
        solver.solve(sink, source, np.zeros(sink.shape), at_most=2)
    with pytest.raises(NotSolvedError, match="after 1 tangents"):
        solver.solve_saturable(sink, source, 50.0, 0.1, np.zeros(sink.shape), at_most=1)


def test_without_any_source_nothing_is_left():
    u = np.full(SHAPE, 5.0)
    EllipticSolver(face_conductances(1.0, 1.0, SHAPE)).solve_saturable(0.0, 0.0, 3.0, 1.0, u)
    assert np.abs(u).max() == 0
    u[...] = 5.0
    EllipticSolver(face_conductances(1.0, 1.0, SHAPE)).solve(1.0, 0.0, u)
    assert np.abs(u).max() == 0


def test_voxels_that_nothing_reaches_keep_their_value():
    d = np.ones(SHAPE)
    d[1, 1, 1] = 0.0
    u = np.full(SHAPE, 9.0)
    sink = np.where(d > 0, 1.0, 0.0)
    EllipticSolver(face_conductances(d, 1.0, SHAPE)).solve(sink, 2 * sink, u)
    assert u[1, 1, 1] == 9.0
    np.testing.assert_allclose(u[d > 0], 2.0, rtol=1e-7)
