"""Plasma follows its curves, organs share what it loses, and doses come in whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import lambertw

from tme_sim.files.tables import read_plasma_curve
from tme_sim.processes.circulation import Circulation
from tme_sim.simulation import Simulation
from tme_sim.state.errors import InputError
from tme_sim.state.substance import Clearance

DOSE = 10**12 + 7
VOLUME_UM3 = 1e12


def circulation(dose=DOSE, times_s=(0.0,), infusion_s=0.0, curve=None, **clearance):
    return Circulation(clearance=Clearance(**clearance), dose=dose, dose_times_s=times_s, infusion_s=infusion_s, curve=curve)


def plasma_after(make_state, advance, process, step_s, steps, number="continuum", seed=1):
    state = make_state(number=number, plasma_volume_um3=VOLUME_UM3)
    process.prepare(state, lambda purpose: np.random.default_rng(0))
    advance(state, process, step_s, steps, seed)
    return state


BIEXPONENTIAL = {"model": "biexponential", "fast_fraction": 0.3, "fast_half_life_s": 1800.0, "slow_half_life_s": 43200.0}


def biexponential(age_s):
    return 0.3 * 2 ** (-age_s / 1800) + 0.7 * 2 ** (-age_s / 43200)


@pytest.mark.parametrize(("step_s", "steps"), [(60.0, 1), (60.0, 30), (600.0, 144)])
def test_a_biexponential_is_followed_exactly_whatever_the_step(make_state, advance, step_s, steps):
    state = plasma_after(make_state, advance, circulation(**BIEXPONENTIAL), step_s, steps)
    expected = DOSE * biexponential(step_s * steps)
    assert state.body.pools["plasma"].sum() == pytest.approx(expected, rel=1e-12)
    assert state.body.pools["elsewhere"].sum() == pytest.approx(DOSE - expected, rel=1e-12)


def test_the_curve_of_a_later_dose_starts_with_that_dose(make_state, advance):
    state = plasma_after(make_state, advance, circulation(times_s=(600.0,), **BIEXPONENTIAL), 60, 40)
    assert state.body.pools["plasma"].sum() == pytest.approx(DOSE * biexponential(40 * 60 - 600), rel=1e-12)


def test_whole_particles_follow_the_curve_within_sampling_error(make_state, advance):
    """Each particle is in plasma with probability f(t): binomial, |z| < 4 has probability 1 - 6e-5."""
    state = plasma_after(make_state, advance, circulation(dose=10**6, **BIEXPONENTIAL), 60, 120, "stochastic")
    f = biexponential(7200)
    z = (state.body.pools["plasma"].sum() - 1e6 * f) / np.sqrt(1e6 * f * (1 - f))
    assert abs(z) < 4


def test_a_measured_curve_is_met_at_its_points_and_straight_in_the_logarithm_between(make_state, advance, tmp_path):
    (tmp_path / "plasma.csv").write_text("time_h,percent_id\n0,80\n1,40\n4,10\n48,1\n")
    curve = read_plasma_curve(tmp_path / "plasma.csv", None)
    process = circulation(curve=curve, model="curve")
    for hours, share in ((1, 0.5), (4, 0.125), (48, 0.0125), (2.5, np.sqrt(0.5 * 0.125))):
        state = plasma_after(make_state, advance, process, 600, round(hours * 6))
        assert state.body.pools["plasma"].sum() == pytest.approx(DOSE * share, rel=1e-12)


def test_far_below_saturation_plasma_is_a_single_exponential(make_state, advance):
    k_m, per_s = 1e6, 1e-5
    process = circulation(
        dose=10**6,
        model="compartments",
        kupffer_maximum_per_s=per_s * k_m * VOLUME_UM3,
        kupffer_half_saturation_per_um3=k_m,
        sinks_per_s={"spleen": 2e-6},
    )
    state = plasma_after(make_state, advance, process, 60, 1440)
    # the Michaelis-Menten rate is lower by C/K_m = 1e-12 at most
    assert state.body.pools["plasma"].sum() == pytest.approx(1e6 * np.exp(-1.2e-5 * 86400), rel=1e-10)


def test_a_saturating_bolus_converges_to_the_lambert_w_solution_in_first_order(make_state, advance):
    """C(t) = K_m W{(C0/K_m) exp[(C0 - V_max t/V)/K_m]} (literature V11)."""
    k_m, c0, vmax_per_s, time_s = 1.0, 5.0, 1e-4, 48000.0
    exact = k_m * lambertw(c0 / k_m * np.exp((c0 - vmax_per_s * time_s) / k_m)).real
    process = circulation(
        dose=c0 * VOLUME_UM3,
        model="compartments",
        kupffer_maximum_per_s=vmax_per_s * VOLUME_UM3,
        kupffer_half_saturation_per_um3=k_m,
    )
    errors = []
    for steps in (40, 80, 160, 800):
        state = plasma_after(make_state, advance, process, time_s / steps, steps)
        errors.append(state.body.pools["plasma"].sum() / VOLUME_UM3 / exact - 1)
    orders = np.log2(np.array(errors[:2]) / np.array(errors[1:3]))
    assert orders == pytest.approx(1, abs=0.1)
    assert abs(errors[-1]) < 5e-3  # a step of 60 s


def test_parallel_sinks_share_by_their_rates(make_state, advance):
    sinks = {"liver_endothelium": 4e-6, "spleen": 1e-6, "elsewhere": 5e-6}
    process = circulation(model="compartments", sinks_per_s=sinks)
    pools = plasma_after(make_state, advance, process, 60, 500).body.pools
    lost = DOSE - pools["plasma"].sum()
    for name, rate in sinks.items():
        assert pools[name].sum() / lost == pytest.approx(rate / 1e-5, rel=1e-12)
    counts = plasma_after(make_state, advance, process, 60, 500, "stochastic").body.pools
    lost = DOSE - counts["plasma"].sum()
    for name, rate in sinks.items():
        share = rate / 1e-5
        assert abs(counts[name].sum() - lost * share) < 4 * np.sqrt(lost * share * (1 - share))


@given(
    dose=st.integers(1, 10**16),
    doses=st.lists(st.integers(0, 400), min_size=1, max_size=3, unique=True),
    infusion=st.integers(0, 60),
    step_s=st.sampled_from([0.1, 0.7, 1.0, 60.0]),
)
def test_infusions_and_repeated_doses_come_in_as_exactly_the_dose(make_state, dose, doses, infusion, step_s):
    process = circulation(dose=dose, times_s=tuple(n * step_s for n in doses), infusion_s=infusion * step_s, model="compartments")
    state = make_state(number="stochastic")
    simulation = Simulation(state, {"circulation": process}, [], step_s, 1)
    simulation.run((max(doses) + infusion + 2) * step_s)
    assert state.ledger.injected.tolist() == [dose * len(doses), 0]
    assert state.body.pools["plasma"].tolist() == [dose * len(doses), 0]


def test_an_infusion_comes_in_evenly(make_state, advance):
    process = circulation(infusion_s=3600.0, model="compartments")
    for steps in range(1, 70, 7):
        state = plasma_after(make_state, advance, process, 60, steps, "stochastic")
        assert abs(state.body.pools["plasma"].sum() - DOSE * min(steps / 60, 1)) <= 0.5


def test_a_bolus_is_in_plasma_from_the_first_step_on(make_state, advance):
    state = plasma_after(make_state, advance, circulation(model="compartments", times_s=(120.0,)), 60, 2)
    assert state.body.pools["plasma"].sum() == 0
    state = plasma_after(make_state, advance, circulation(model="compartments", times_s=(120.0,)), 60, 3)
    assert state.body.pools["plasma"].tolist() == [DOSE, 0]


def test_a_plasma_curve_of_one_bolus_is_refused_for_several_doses_or_an_infusion():
    with pytest.raises(InputError, match="biexponential: a given plasma curve is that of one bolus"):
        circulation(times_s=(0.0, 3600.0), **BIEXPONENTIAL)
    with pytest.raises(InputError, match="one bolus"):
        circulation(infusion_s=60.0, **BIEXPONENTIAL)
    with pytest.raises(InputError, match="needs slow_half_life"):
        circulation(model="biexponential", fast_fraction=0.5, slow_half_life_s=10.0)
