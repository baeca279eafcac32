"""Super-time-stepping: its order, its error estimate, that nothing goes negative or missing, and what it saves."""

import numpy as np
import pytest
from scipy.fft import dctn, idctn

from tme_sim.numerics.edges import edge_rates
from tme_sim.numerics.rkl2 import POSITIVE, integrate, reach, scheme, stages_for
from tme_sim.numerics.transport import face_rates, leave_rate, step_continuum, substeps


def order(steps, errors):
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


def exactly(amount, diffusivity, spacing_um, time_s):
    """The solution of the semi-discrete equation in a uniform closed box: cosines decay at the eigenvalues of the stencil."""
    rates = [2 * diffusivity / spacing_um**2 * (np.cos(np.pi * np.arange(n) / n) - 1) for n in amount.shape]
    return idctn(dctn(amount) * np.exp(time_s * (rates[0][:, None, None] + rates[1][:, None] + rates[2])))


def point(n):
    amount = np.zeros((n, n, n))
    amount[n // 2, n // 2, n // 3] = 1e6
    return amount


def test_the_coefficients_are_those_of_a_shifted_legendre_polynomial():
    """a + b P(1 + w z) (Meyer et al. 2014, eq. 12–15), with the value that numpy's Legendre polynomial has."""
    for stages in (3, 4, 9, 15):
        form, z = scheme(stages), -np.linspace(0, 2 * reach(stages), 50)
        w, b = 1 / reach(stages), (stages**2 + stages - 2) / (2 * stages * (stages + 1))
        change, before = form.first * z, 0 * z
        for mu, nu, tilde, of_flux in form.later:
            change, before = mu * change + nu * before + tilde * z * change + of_flux * z, change
        expected = 1 - b + b * np.polynomial.Legendre.basis(stages)(1 + w * z)
        assert np.allclose(1 + change, expected, atol=1e-12)
        assert np.abs(1 + change).max() <= 1 + 1e-12


def test_stages_reach_just_as_far_as_needed():
    assert [stages_for(steps) for steps in (0.5, 2.5, 2.6, 7.0, 59.5, 59.6)] == [3, 3, 5, 5, 15, 17]
    assert reach(15) == 59.5


def smooth(n):
    wave = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    return 2.0 + wave[:, None, None] * wave[:, None] + wave


@pytest.mark.parametrize("stages", [3, 5, 9, 15])
def test_it_is_second_order_in_time(stages):
    """Shorter steps take fewer stages, whose constant is up to 1.8 times as large: hence the width of the interval."""
    n = 24
    rates = face_rates(1.0, np.ones((n, n, n)), 1.0)
    explicit_s = 1 / leave_rate(rates).max()
    span, errors, lengths = 2 * reach(stages) * explicit_s, [], (1, 2, 4, 8)
    for parts in lengths:
        amount = smooth(n)
        for _ in range(parts):
            took = integrate(amount, rates, span / parts, stages_for(span / parts / explicit_s))
            assert took.steps == 1
        errors.append(np.abs(amount - exactly(smooth(n), 1.0, 1.0, span)).max())
    assert -2.25 < order(lengths, errors) < -1.75


@pytest.mark.parametrize("explicit_steps", [2.5, 7.0, 20.0])
def test_the_estimate_is_the_error_of_a_step_where_amounts_are_smooth(explicit_steps):
    n = 24
    rates = face_rates(1.0, np.ones((n, n, n)), 1.0)
    amount, span = smooth(n), explicit_steps / leave_rate(rates).max()
    took = integrate(amount, rates, span)
    exact = exactly(smooth(n), 1.0, 1.0, span)
    assert took.steps == 1
    assert took.error == pytest.approx(np.abs(amount - exact).sum() / exact.sum(), rel=0.3)


def test_a_point_source_stays_positive_and_costs_a_third_of_the_explicit_evaluations_at_equal_error():
    """A day of a nanoparticle with D = 1 µm²/s in voxels of 15 µm, from a single voxel; also in benchmarks/steps.py."""
    n, day = 20, 86400.0
    rates = face_rates(1.0, np.ones((n, n, n)), 15.0)
    explicit, super_steps = point(n), point(n)
    parts = substeps(rates, day)
    step_continuum(explicit, rates, day / parts, parts)
    took = integrate(super_steps, rates, day, first_s=0.0)
    exact = exactly(point(n), 1.0, 15.0, day)
    assert super_steps.min() > 0.0
    assert super_steps.sum() == pytest.approx(1e6, rel=1e-14)
    assert np.abs(super_steps - exact).max() / exact.max() < 1e-3
    assert took.evaluations / parts < 0.3


def test_a_step_that_would_go_negative_is_halved_until_it_does_not():
    n = 12
    rates = face_rates(1.0, np.ones((n, n, n)), 1.0)
    amount = point(n)
    took = integrate(amount, rates, 40 * reach(15) / 6)
    assert took.rejected > 0
    assert amount.min() >= 0.0
    assert np.allclose(amount, 1e6 / n**3, rtol=1e-6)
    ramped = integrate(point(n), rates, 40 * reach(15) / 6, first_s=0.0)
    assert ramped.rejected < took.rejected


def test_the_shortest_step_keeps_any_amounts_positive():
    """Amounts and media as rough as can be; the bound is a property of the polynomial, so no draw may break it."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        capacity, diffusivity = rng.uniform(0.01, 1, (4, 4, 4)), 10.0 ** rng.uniform(-3, 1, (4, 4, 4))
        rates = face_rates(diffusivity, capacity, 1.0)
        amount = np.where(rng.random((4, 4, 4)) < 0.2, 10.0 ** rng.uniform(-9, 9, (4, 4, 4)), 0.0)
        took = integrate(amount, rates, POSITIVE / leave_rate(rates).max(), first_s=0.0)
        assert took.steps == 1
        assert amount.min() >= 0.0


def test_a_million_million_particles_stay_over_many_steps():
    rng = np.random.default_rng(1)
    rates = face_rates(10.0 ** rng.uniform(-1, 1, (9, 8, 7)), rng.uniform(0.05, 0.3, (9, 8, 7)), 3.0, blocked_z=[4])
    amount = rng.random((9, 8, 7)) * 1e12
    below, total = amount[:4].sum(), amount.sum()
    for _ in range(300):
        integrate(amount, rates, 30 / leave_rate(rates).max())
    assert amount.sum() == pytest.approx(total, rel=1e-13)
    assert amount[:4].sum() == pytest.approx(below, rel=1e-13)


def test_what_passes_reservoirs_balances_and_comes_near_small_explicit_steps():
    capacity = np.random.default_rng(2).uniform(0.1, 0.3, (6, 5, 4))
    rates = face_rates(2.0, capacity, 1.0)
    edges = edge_rates(2.0, capacity, 1.0, [0.0, 1.0, "closed", "closed", "periodic", "periodic"])
    amount, small = 3.0 * capacity, 3.0 * capacity
    took = integrate(amount, rates, 0.3, stages=3, edges=edges, first_s=0.0)
    left, entered = step_continuum(small, rates, 0.3 / 5000, 5000, edges)
    assert amount.sum() == pytest.approx(3.0 * capacity.sum() - took.left + took.entered, rel=1e-12)
    assert took.left == pytest.approx(left, rel=0.01)
    assert took.entered == pytest.approx(entered, rel=1e-9)
    assert np.allclose(amount, small, rtol=0.03)


def test_where_nothing_moves_nothing_changes():
    amount = np.arange(8.0).reshape(2, 2, 2)
    took = integrate(amount, face_rates(0.0, np.ones((2, 2, 2)), 1.0), 1e5)
    assert np.array_equal(amount.reshape(-1), np.arange(8.0))
    assert took.error == took.rejected == 0


def test_arguments_that_make_no_sense_are_refused():
    rates = face_rates(1.0, np.ones((2, 2, 2)), 1.0)
    with pytest.raises(ValueError, match="rates"):
        integrate(np.ones((3, 2, 2)), rates, 1.0)
    with pytest.raises(ValueError, match="stages 2"):
        integrate(np.ones((2, 2, 2)), rates, 1.0, stages=2)
    with pytest.raises(ValueError, match="in place"):
        integrate(np.ones((2, 2, 2), np.float32), rates, 1.0)
    with pytest.raises(ValueError, match="with flow"):
        integrate(np.ones((2, 2, 2)), face_rates(1.0, np.ones((2, 2, 2)), 1.0, velocity_um_per_s=np.zeros((3, 2, 2, 2))), 1.0)
