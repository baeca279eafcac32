"""Plasma follows its curves, organs share what it loses, and doses come in whole."""

from __future__ import annotations

from math import exp, expm1, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import lambertw

from tme_sim.files.tables import read_plasma_curve
from tme_sim.processes.circulation import Circulation
from tme_sim.simulation import Simulation
from tme_sim.state.clearance import Clearance, renal_passage, size_classes_um
from tme_sim.state.errors import InputError
from tme_sim.state.ledger import audit

DOSE = 10**12 + 7
VOLUME_UM3 = 1e12


def circulation(dose=DOSE, times_s=(0.0,), infusion_s=0.0, curve=None, sizes_um=(1.0,), filtration_um3_per_s=0.0, **clearance):
    return Circulation(
        clearance=Clearance(**{"model": "compartments", **clearance}),
        sizes_um=sizes_um,
        filtration_um3_per_s=filtration_um3_per_s,
        dose=dose,
        dose_times_s=times_s,
        infusion_s=infusion_s,
        curve=curve,
    )


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


def test_what_comes_back_after_a_curve_has_come_to_nothing_is_cleared_at_once(make_state, advance):
    """1440 half-lives: 2^−1440 is below the smallest float."""
    process = circulation(model="biexponential", slow_half_life_s=60.0)
    state = plasma_after(make_state, advance, process, 60, 1440)
    state.body.pools["plasma"][...] = 5.0
    advance(state, process, 60, 1)
    assert state.body.pools["plasma"].sum() == 0


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


def test_a_saturating_bolus_converges_to_the_lambert_w_solution_in_second_order(make_state, advance):
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
    for steps in (48, 96, 192, 800):
        state = plasma_after(make_state, advance, process, time_s / steps, steps)
        errors.append(state.body.pools["plasma"].sum() / VOLUME_UM3 / exact - 1)
    orders = np.log2(np.array(errors[:2]) / np.array(errors[1:3]))
    assert orders == pytest.approx(2, abs=0.1)
    assert abs(errors[-1]) < 1e-5  # a step of 60 s


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


@pytest.mark.parametrize(("mg_per_kg", "half_time_h"), [(1, 13.7), (4, 21.0), (510 / 80, 26.7)])
def test_ferumoxytol_takes_longer_to_halve_the_more_is_given(make_state, advance, mg_per_kg, half_time_h):
    """t = (K_m ln 2 + C0/2) V/V_max with what was found in 80 kg patients (literature S17-S20); a count is a nanogram."""
    per_mg, volume_um3 = 1e6, 2.78e15
    process = circulation(
        dose=mg_per_kg * 80 * per_mg,
        kupffer_maximum_per_s=16.5 * per_mg / 3600,
        kupffer_half_saturation_per_um3=96.7 * per_mg / 1e15,
    )
    state = make_state(plasma_volume_um3=volume_um3)
    process.prepare(state, lambda purpose: np.random.default_rng(0))
    closed_h = (96.7 * log(2) + mg_per_kg * 80 / 2.78 / 2) * 2.78 / 16.5
    assert closed_h == pytest.approx(half_time_h, rel=0.02)
    advance(state, process, closed_h * 36, 100)
    assert state.body.pools["plasma"].sum() == pytest.approx(process.dose / 2, rel=1e-4)


RATE_PER_S, HALF = 1e-3, 1e12
KUPFFER = {"kupffer_maximum_per_s": RATE_PER_S * HALF, "kupffer_half_saturation_per_um3": HALF / VOLUME_UM3}


@pytest.mark.parametrize("dose", [1e10, 1e12, 1e14])
@pytest.mark.parametrize(("step_s", "steps"), [(10.0, 400), (60.0, 60), (3600.0, 3)])
def test_room_that_fills_takes_a_bolus_along_a_logistic_curve(make_state, advance, dose, step_s, steps):
    """dP/dt = -k P (1 - (P0 - P)/Q): P = (Q - P0)/[(1 + (Q - P0)/P0) exp(k (Q - P0) t/Q) - 1], or P0/(1 + k t) at P0 = Q."""
    process = circulation(dose=dose, kupffer="capacity", kupffer_capacity=HALF, **KUPFFER)
    pools = plasma_after(make_state, advance, process, step_s, steps).body.pools
    time_s, spare = step_s * steps, HALF - dose
    x = RATE_PER_S * spare * time_s / HALF
    if spare < 0:
        exact = spare / ((1 + spare / dose) * exp(x) - 1)
    else:
        exact = spare * exp(-x) / (1 + spare / dose - exp(-x)) if spare > 0 else dose / (1 + RATE_PER_S * time_s)
    assert pools["plasma"].sum() == pytest.approx(exact, rel=1e-3)
    assert pools["kupffer"].sum() <= HALF * (1 + 1e-12)


def test_rate_and_room_are_one_at_low_doses_and_part_at_high_ones(make_state, advance):
    left = {}
    for dose in (1e8, 1e14):
        for kupffer in ("rate", "capacity"):
            process = circulation(dose=dose, kupffer=kupffer, kupffer_capacity=HALF, **KUPFFER)
            left[kupffer, dose] = plasma_after(make_state, advance, process, 60, 60).body.pools["plasma"].sum()
    assert left["rate", 1e8] == pytest.approx(left["capacity", 1e8], rel=1e-3)
    assert left["rate", 1e8] == pytest.approx(1e8 * exp(-3.6), rel=1e-3)
    assert left["capacity", 1e14] == pytest.approx(1e14 - HALF, rel=1e-9)  # full, and nothing more
    assert left["rate", 1e14] < 1e14 - 3 * HALF  # as fast as ever: V_max t = 3.6 K_m


def test_a_full_kupffer_pool_takes_no_count_too_many_for_long(make_state, advance):
    process = circulation(dose=10**14, kupffer="capacity", kupffer_capacity=HALF, **KUPFFER)
    state = plasma_after(make_state, advance, process, 600, 50, "stochastic")
    over = state.body.pools["kupffer"].sum() - HALF
    assert abs(over) < 6 * np.sqrt(HALF)  # the draw of the step that fills it
    assert audit(state) == 0


def test_capacity_without_its_figure_is_refused():
    with pytest.raises(InputError, match=r"kupffer_capacity: is needed where the Kupffer cells' room saturates"):
        circulation(kupffer="capacity", **KUPFFER)


@pytest.mark.parametrize(("diameter_um", "passes"), [(0.003, 1), (0.0055, 1), (0.00675, 0.5), (0.008, 0), (0.065, 0)])
def test_the_kidney_filters_what_is_below_its_cut_off(make_state, advance, diameter_um, passes):
    """P = exp(-sieving · passage · GFR t/V)."""
    process = circulation(sizes_um=(diameter_um,), filtration_um3_per_s=4e9, renal_sieving=0.013)
    pools = plasma_after(make_state, advance, process, 60, 100).body.pools
    assert renal_passage(diameter_um) == pytest.approx(passes)
    assert pools["plasma"].sum() == pytest.approx(DOSE * exp(-0.013 * passes * 4e9 / VOLUME_UM3 * 6000), rel=1e-10)
    assert ("urine" in pools) == (passes > 0)


@pytest.mark.parametrize("index", [0.05, 0.3])
def test_classes_of_size_are_equally_many_and_have_the_mean_of_all(index):
    sizes = np.array(size_classes_um(0.065, index))
    assert sizes.mean() == pytest.approx(0.065, rel=1e-12)
    assert (np.diff(sizes) > 0).all()
    assert 0.85 * index < sizes.var() / 0.065**2 < index  # what varies within a class is left out
    assert size_classes_um(0.065, 0.0) == (0.065,)


SIZES = size_classes_um(0.007, 0.2)
BY_SIZE = {"sizes_um": SIZES, "size_exponent": 2.0, "sinks_per_s": {"spleen": 2e-4}}
BY_SIZE |= {"renal_sieving": 0.1, "filtration_um3_per_s": 4e9}


def class_rates():
    """(classes,) rates of spleen and kidney."""
    sizes = np.array(SIZES)
    return 2e-4 * (sizes / sizes.mean()) ** 2, 0.1 * 4e-3 * np.array([renal_passage(size) for size in SIZES])


def test_every_class_of_size_is_cleared_at_its_own_rate(make_state, advance):
    """Plasma is the mean of the classes' exponentials, and each organ holds its share of every class."""
    state = plasma_after(make_state, advance, circulation(**BY_SIZE), 60, 120)
    spleen, kidney = class_rates()
    alone = np.exp(-(spleen + kidney) * 7200)
    assert state.body.pools["plasma"].sum() == pytest.approx(DOSE * alone.mean(), rel=1e-10)
    assert state.body.pools["urine"].sum() == pytest.approx(DOSE * (kidney / (spleen + kidney) * (1 - alone)).mean(), rel=1e-10)
    np.testing.assert_allclose(state.body.traits["plasma_sizes"], alone / alone.sum(), rtol=1e-10)


def test_whole_particles_of_unknown_size_survive_as_if_every_size_were_followed(make_state, advance):
    """|z| < 4 has probability 1 - 6e-5."""
    state = plasma_after(make_state, advance, circulation(dose=10**6, **BY_SIZE), 60, 120, "stochastic")
    f = np.exp(-sum(class_rates()) * 7200).mean()
    assert abs(state.body.pools["plasma"].sum() - 1e6 * f) < 4 * np.sqrt(1e6 * f * (1 - f))
    assert audit(state) == 0


def test_a_later_dose_brings_all_sizes_again(make_state, advance):
    state = plasma_after(make_state, advance, circulation(times_s=(0.0, 3600.0), **BY_SIZE), 60, 120)
    rates = sum(class_rates())
    alone = np.exp(-rates * 7200) + np.exp(-rates * 3600)
    assert state.body.pools["plasma"].sum() == pytest.approx(DOSE * alone.mean(), rel=1e-10)


LOW = 10**6  # 1e-6 of the half-saturation


def test_low_doses_add_up_repeated_or_infused(make_state, advance):
    """Bolus: sum of exponentials. Infusion: D/(T k) (1 - e^(-kT)) e^(-k (t - T)), to the half step that a dose waits in."""
    repeated = circulation(dose=LOW, times_s=(0.0, 600.0, 1800.0), **KUPFFER)
    state = plasma_after(make_state, advance, repeated, 60, 60)
    assert state.body.pools["plasma"].sum() == pytest.approx(
        LOW * sum(exp(-RATE_PER_S * t) for t in (3600, 3000, 1800)), rel=1e-5
    )
    infused = circulation(dose=LOW, infusion_s=1800.0, **KUPFFER)
    state = plasma_after(make_state, advance, infused, 6, 600)
    exact = LOW * -expm1(-RATE_PER_S * 1800) / (RATE_PER_S * 1800) * exp(-RATE_PER_S * 1800)
    assert state.body.pools["plasma"].sum() == pytest.approx(exact, rel=RATE_PER_S * 6)


def test_opsonisation_raises_the_affinity_with_time(make_state, advance):
    """Far from saturation ln(P/D) = -k [A t - (A - 1) τ (1 - e^(-t/τ))]."""
    process = circulation(dose=LOW, opsonised_affinity=5.0, opsonisation_time_s=900.0, **KUPFFER)
    state = plasma_after(make_state, advance, process, 20, 60)
    exponent = -RATE_PER_S * (5 * 1200 - 4 * 900 * -expm1(-1200 / 900))
    assert state.body.pools["plasma"].sum() == pytest.approx(LOW * exp(exponent), rel=1e-4)


def test_a_dose_speeds_up_the_clearance_of_those_that_come_later(make_state, advance):
    process = circulation(
        dose=LOW, times_s=(0.0, 86400.0), repeat_acceleration=3.0, repeat_delay_s=86400.0, **KUPFFER, sinks_per_s={"skin": 1e-4}
    )
    before = plasma_after(make_state, advance, process, 600, 3).body.pools["plasma"].sum()
    later = plasma_after(make_state, advance, process, 600, 147).body.pools["plasma"].sum()
    assert before == pytest.approx(LOW * exp(-1.1e-3 * 1800), rel=1e-5)
    assert later == pytest.approx(LOW * exp(-3.1e-3 * 1800), rel=1e-5)


@pytest.mark.parametrize("kupffer", ["rate", "capacity"])
def test_doses_of_ten_to_the_fourteenth_stay_exact(make_state, advance, kupffer):
    process = circulation(
        dose=10**14 + 3,
        times_s=(0.0, 120.0, 300.0),
        infusion_s=180.0,
        kupffer=kupffer,
        kupffer_capacity=HALF,
        **KUPFFER,
        **BY_SIZE,
    )
    state = plasma_after(make_state, advance, process, 60, 30, "stochastic")
    assert audit(state) == 0
    assert state.ledger.injected.tolist() == [3 * (10**14 + 3), 0]
