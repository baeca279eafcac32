"""Binding to matrix follows Langmuir."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from tme_sim.processes.binding import Binding
from tme_sim.state import substance

VOXEL_UM3 = 15.0**3


def bound_after(make_state, advance, free, on, off, capacity, step_s, steps, number="continuum"):
    process = Binding(binding=substance.Binding(on_rate_per_s=on, off_rate_per_s=off, capacity_per_um3=capacity))
    state = make_state(number=number)
    process.prepare(state, lambda purpose: np.random.default_rng(0))
    state.fields["nanoparticle"][1, 0] = free
    advance(state, process, step_s, steps)
    bound = state.fields["bound"].sum()
    assert bound + state.fields["nanoparticle"].sum() == pytest.approx(free, rel=1e-12)
    return bound


@pytest.mark.parametrize(("step_s", "steps"), [(60.0, 100), (6000.0, 1)])
def test_far_below_capacity_the_linear_kinetics_are_exact_whatever_the_step(make_state, advance, step_s, steps):
    on, off, free = 2e-4, 1e-4, 1e4
    bound = bound_after(make_state, advance, free, on, off, 1e15, step_s, steps)
    assert bound == pytest.approx(free * on / (on + off) * -np.expm1(-(on + off) * 6000), rel=1e-9)


@pytest.mark.parametrize("free", [10.0, 1e3, 3e4])
def test_it_comes_to_rest_at_the_langmuir_equilibrium(make_state, advance, free):
    """k_on (1 - B/B_max)(N - B) = k_off B, the smaller root."""
    on, off, most = 2e-3, 1e-3, 0.2 * VOXEL_UM3
    b = free + most * (1 + off / on)
    expected = (b - np.sqrt(b**2 - 4 * free * most)) / 2
    assert bound_after(make_state, advance, free, on, off, 0.2, 60, 3000) == pytest.approx(expected, rel=1e-9)


def test_near_capacity_the_kinetics_converge_in_second_order(make_state, advance):
    on, off, most, free = 2e-4, 1e-4, 0.2 * VOXEL_UM3, 2000.0
    solved = solve_ivp(lambda t, b: on * (1 - b / most) * (free - b) - off * b, (0, 3600), [0.0], rtol=1e-10, atol=1e-8)
    errors = [bound_after(make_state, advance, free, on, off, 0.2, 3600 / n, n) / solved.y[0, -1] - 1 for n in (15, 30, 60)]
    assert np.log2(np.array(errors[:-1]) / np.array(errors[1:])) == pytest.approx(2, abs=0.2)
    assert abs(errors[-1]) < 1e-3


@pytest.mark.parametrize("number", ["continuum", "stochastic"])
def test_no_step_fills_the_matrix_beyond_its_capacity(make_state, advance, number):
    """A hundred times more particles than places, and a step in which every one of them would bind."""
    most = 0.2 * VOXEL_UM3
    bound = bound_after(make_state, advance, round(100 * most), 1e-2, 0.0, 0.2, 600, 1, number)
    assert 0.9 * most < bound < most + 4 * np.sqrt(most)
    assert bound <= most or number == "stochastic"


@given(on=st.floats(1e-6, 1e-3), off=st.floats(0, 1e-3), hours=st.integers(1, 24))
def test_whole_particles_bind_with_the_mean_of_real_amounts(make_state, advance, on, off, hours):
    """Linear, so each particle is bound with the same chance: binomial; |z| < 5 fails once in 10^6 examples."""
    n = 10**6
    p = on / (on + off) * -np.expm1(-(on + off) * hours * 3600)
    bound = bound_after(make_state, advance, n, on, off, 1e15, 1200, 3 * hours, "stochastic")
    assert abs(bound - n * p) < 5 * np.sqrt(n * p * (1 - p)) + 1


def test_without_rates_nothing_moves(make_state, advance):
    assert bound_after(make_state, advance, 1000, 0.0, 0.0, 0.1, 60, 10) == 0
