"""What sets a payload free beside time: the age of the dose, acid, heat, enzyme; and the reporter that comes out with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tme_sim.processes.base import Process
from tme_sim.processes.release import Release
from tme_sim.state import release as cards
from tme_sim.state.errors import InputError
from tme_sim.state.release import AcidTrigger, HeatTrigger, InCells, Reporter, Window
from tme_sim.state.reporter import reporter_released

NOTHING = {"plasma_per_s": 0.0, "tissue_per_s": 0.0, "cell_per_s": 0.0, "lysosome_per_s": 0.0}
HOUR = 3600.0
S76 = {0.5: 0.162, 1: 0.0928, 2: 0.0699, 6: 0.0448, 168: 0.0199}
"""Rates per hour by the hour at which they end; 0.0157 beyond."""
S78 = {1: 0.88, 6: 0.69, 24: 0.48, 48: 0.30, 96: 0.114, 168: 0.027}
ACID = AcidTrigger(maximum_per_s=1e-3, midpoint_pH=6.9, hill=40.0)
HEAT = HeatTrigger(maximum_per_s=0.03, midpoint_C=40.0, width_K=0.5)
ON_VOXELS = ("fields.nanoparticle",)


def release(pools=("body.plasma",), kinds=(), *, card=None, **more):
    rates = NOTHING | {name: more.pop(name) for name in list(more) if name in cards.Release.__dataclass_fields__}
    return Release(release=card or cards.Release(**rates), kinds=kinds, pools=pools, **more)


def windows():
    return tuple(Window(until_s=hours * HOUR, rate_per_s=rate / HOUR) for hours, rate in S76.items())


def free(state, amount):
    """The same number of loaded carriers in every voxel."""
    state.fields["nanoparticle"][1, 0] = amount
    return state


def loaded(state):
    return state.fields["nanoparticle"][1, 0]


def test_the_micelles_payload_leaves_by_the_published_windows(configure, make_state, advance):
    """∏ exp(−k_i t_i) of S76 to 1e-3, and the shares of S78 to 0.01, from the card; windows end within a step of 20 min."""
    card = configure("nanoparticle=micelle_65nm").nanoparticle.release
    state, process, ended = make_state(plasma=1.0), release(card=card), 0.0
    for hours, published in S78.items():
        advance(state, process, 1200.0, round((hours - ended) * 3))
        starts = [0.0, *S76][:-1]
        exact = np.exp(
            -sum(rate * max(min(hours, end) - start, 0) for (end, rate), start in zip(S76.items(), starts, strict=True))
        )
        found, ended = state.body.pools["plasma"][0], hours
        assert found == pytest.approx(exact, rel=1e-3)
        assert found == pytest.approx(published, abs=0.01)


def test_each_of_repeated_doses_has_its_own_age(make_state, advance):
    """Two doses a day apart, half of the plasma gone between them: each goes on as if it were alone."""
    process = release(plasma_per_s=0.0157 / HOUR, plasma_before=windows(), dose_times_s=(0.0, 24 * HOUR))
    state = make_state(plasma=1000.0)
    process.prepare(state, None)
    plasma = state.body.pools["plasma"]
    advance(state, process, 1200.0, 72)
    plasma /= 2
    state.ledger.inject(plasma, 0, 700.0)
    advance(state, process, 1200.0, 72)
    ages = np.array([48.0, 24.0]) * HOUR
    exact = np.array([500.0, 700.0]) * np.exp(-process.release.passive_in_blood(ages))
    assert plasma[0] == pytest.approx(exact.sum(), rel=1e-9)
    np.testing.assert_allclose(state.body.traits["plasma_doses"], exact / exact.sum(), rtol=1e-9)


@pytest.mark.parametrize("hill", [30.0, 50.0])
def test_the_switch_in_acid_is_as_steep_as_was_published(hill):
    """10-90 % within 0.25 pH (S42): log10(81)/n of a Hill curve."""
    acid = replace(ACID, hill=hill)
    pH = np.linspace(6.4, 7.4, 100_001)
    share = acid.share(pH)
    width = pH[share < 0.1][0] - pH[share > 0.9][-1]
    assert width == pytest.approx(np.log10(81) / hill, rel=1e-3)
    assert width < 0.25
    assert acid.share(6.9) == pytest.approx(0.5)


@pytest.mark.parametrize("number", ["continuum", "stochastic"])
def test_acid_sets_free_by_the_pH_of_each_voxel_and_the_latch_holds(make_state, advance, number):
    """Binomial by voxel, |z| < 4.5; back in neutral tissue nothing is loaded again."""
    state = free(make_state((1, 1, 4), number), 100_000)
    state.fields["pH"] = np.array([6.5, 6.88, 6.92, 7.4]).reshape(1, 1, 4)
    process = release(ON_VOXELS, acid=ACID, with_pH=True)
    advance(state, process, 60.0, 10)
    stays = np.exp(-1e-3 * ACID.share(state.fields["pH"]) * 600.0)
    off = np.abs(loaded(state) - 100_000 * stays)
    assert (off <= (1e-7 if number == "continuum" else 4.5 * np.sqrt(1e5 * stays * (1 - stays)) + 1e-7)).all()
    before = loaded(state).copy()
    state.fields["pH"][...] = 7.4
    advance(state, process, 60.0, 10)
    np.testing.assert_allclose(loaded(state), before, rtol=1e-12)


@pytest.mark.parametrize("number", ["continuum", "stochastic"])
def test_a_switch_that_is_not_latched_comes_to_its_balance_in_any_step(make_state, advance, number):
    """θ (1 − e^(−k t)), the chain of two states, by one long step as by many short ones."""
    acid = replace(ACID, latched=False)
    for steps in (1, 60):
        state = free(make_state((1, 1, 3), number), 1_000_000)
        state.fields["pH"] = np.array([6.88, 6.9, 6.93]).reshape(1, 1, 3)
        advance(state, release(ON_VOXELS, acid=acid, with_pH=True), 1800.0 / steps, steps)
        on = acid.share(state.fields["pH"]) * -np.expm1(-1.8)
        off = np.abs(state.fields["nanoparticle"][1, 1] - 1e6 * on)
        assert (off <= (1e-5 if number == "continuum" else 4.5 * np.sqrt(1e6 * on * (1 - on)))).all()
        np.testing.assert_allclose(state.fields["nanoparticle"].sum(axis=(0, 1)), 1e6, rtol=1e-12 if number == "continuum" else 0)


def test_what_came_out_does_not_go_back_into_the_carrier():
    with pytest.raises(InputError, match="latched"):
        release(acid=replace(ACID, latched=False), drug_amol=1.0)


def test_endosomes_and_lysosomes_are_acid_and_blood_is_not(make_state, add_cells, advance):
    state = make_state((1, 1, 1), plasma=100.0)
    cells = add_cells(state, "tumor_cells", [0])
    cells["cargo"][0, 1, 0] = cells["lysosome"][0, 1, 0] = 100.0
    slow = replace(ACID, midpoint_pH=5.25, hill=2.0)
    advance(state, release(kinds=("tumor_cells",), acid=slow), 60.0, 10)
    for column, pH in (("cargo", 5.5), ("lysosome", 5.0)):
        assert cells[column][0, 1, 0] == pytest.approx(100 * np.exp(-0.6 / (1 + 10 ** (2 * (pH - 5.25)))), rel=1e-12)
    assert state.body.pools["plasma"][0] == pytest.approx(100, rel=1e-4)


def test_heat_sets_free_on_voxels_and_in_cells_and_adds_nothing_at_37(make_state, add_cells, advance):
    state = free(make_state((1, 1, 2), plasma=1.0), 1.0)
    state.fields["temperature_C"] = np.array([37.0, 42.0]).reshape(1, 1, 2)
    cells = add_cells(state, "tumor_cells", [0, 1])
    cells["cargo"][:, 1, 0] = 1.0
    heated = {"heat": HEAT, "with_heat": True, "in_vessels": False}
    process = release((*ON_VOXELS, "body.plasma"), ("tumor_cells",), tissue_per_s=1e-4, **heated)
    advance(state, process, 10.0, 6)
    added = 0.03 / (1 + np.exp(-4)) - 0.03 / (1 + np.exp(6))
    assert loaded(state).ravel() == pytest.approx(np.exp([-0.006, -0.006 - 60 * added]), rel=1e-12)
    assert cells["cargo"][:, 1, 0] == pytest.approx(np.exp([0, -60 * added]), rel=1e-12)
    assert state.body.pools["plasma"][0] == 1.0


def test_the_enzyme_adds_its_rate_outside_cells_and_depots_have_rates_of_their_own(make_state, add_cells, advance):
    state = free(make_state(), 1.0)
    for kind in ("macrophages", "tumor_cells"):
        add_cells(state, kind, [0])["cargo"][0, 1, 0] = 1.0
    depot = {"macrophages": InCells(cell_per_s=1e-4, lysosome_per_s=0.0)}
    kinds = ("macrophages", "tumor_cells")
    process = release(ON_VOXELS, kinds, cell_per_s=1e-3, by_kind=depot, tissue_per_s=1e-3, enzyme_per_s=2e-3, enzyme=0.5)
    advance(state, process, 100.0, 10)
    assert loaded(state).item() == pytest.approx(np.exp(-2), rel=1e-12)
    assert state.populations["macrophages"]["cargo"][0, 1, 0] == pytest.approx(np.exp(-0.1), rel=1e-12)
    assert state.populations["tumor_cells"]["cargo"][0, 1, 0] == pytest.approx(np.exp(-1), rel=1e-12)


@pytest.mark.parametrize("number", ["continuum", "stochastic"])
def test_the_reporter_is_where_it_was_released_as_many_as_particles_that_gave_it_up(make_state, add_cells, advance, number):
    state = free(make_state((1, 1, 2), number, refinement=2, copies=3, plasma=1000), 50)
    add_cells(state, "tumor_cells", [1])["cargo"][0, 1, 0] = 400
    names = [name for name in NOTHING if name != "lysosome_per_s"]
    rates = dict.fromkeys(names, 1e-3)
    process = release((*ON_VOXELS, "body.plasma"), ("tumor_cells",), reporter=Reporter(name="dye", per_particle=7.0), **rates)
    process.prepare(state, None)
    advance(state, process, 100.0, 10)
    released = 3 * state.fields["nanoparticle"][:, 1].sum(), 3 * state.populations["tumor_cells"]["cargo"][0, 1, 1]
    found = reporter_released(state)
    assert found["interstitium"] == pytest.approx(7 * released[0], rel=1e-12)
    assert found["cells"] == pytest.approx(7 * released[1], rel=1e-12)
    assert found["plasma"] == pytest.approx(7 * state.body.pools["plasma"][1], rel=1e-12)
    assert found["heated_vessels"] == found["organs"] == 0
    assert (state.fields["reporter_in_cells"][:, :, :2] == 0).all()


def test_windows_that_do_not_follow_each_other_are_refused():
    with pytest.raises(InputError, match="end later"):
        cards.Release(**NOTHING, plasma_before=tuple(reversed(windows())))


def test_pulses_that_the_interval_of_release_would_miss_are_refused():
    pulses = {"with_heat": True, "in_vessels": False, "pulse_times_s": (1800.0, 180.0)}
    with pytest.raises(InputError, match="divide the start and the duration of every pulse"):
        release(heat=HEAT, interval_s=600.0, **pulses)
    fitting: Process = release(heat=HEAT, interval_s=60.0, **pulses)
    assert "fields.temperature_C" in fitting.reads
