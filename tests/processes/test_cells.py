"""Tumour cells divide, lack oxygen, die and are cleared as their closed forms say, and lose nothing that they hold."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tme_sim.analysis.measures import dead_fraction, growth_factor, hypoxic_fraction
from tme_sim.processes.cell_cycle import CYCLING, CellCycle
from tme_sim.processes.cell_death import APOPTOTIC, NECROTIC, CellDeath
from tme_sim.processes.migration import Fate, Migration
from tme_sim.processes.transport import Transport
from tme_sim.processes.uptake import Uptake
from tme_sim.state import substance
from tme_sim.state.cells import Space, occupied_sites
from tme_sim.state.errors import InputError
from tme_sim.state.ledger import audit, whole_body
from tme_sim.state.state import flatten, restore
from tme_sim.state.steady import live_cells
from tme_sim.state.variables import PHAGOCYTES
from tme_sim.state.vessels import Vessels

HOUR, DAY = 3600.0, 86400.0
SITE_UM3 = 15.0**3
SPACE = Space(0.74 * SITE_UM3, 0.5)
LUMEN = 0.1


def cycle(doubling_time_s=DAY, reach_um=45.0, **given):
    return CellCycle(least_oxygen_mmHg=10, reach_um=reach_um, doubling_time_s=doubling_time_s, space=SPACE, **given)


def death(survival_s=DAY, apoptosis=0.0, lysis=0.0, necrotic_lysis=0.0, engulfment=0.0, **given):
    return CellDeath(
        anoxic_below_mmHg=1,
        survival_s=survival_s,
        apoptosis_per_s=apoptosis,
        apoptotic_lysis_per_s=lysis,
        necrotic_lysis_per_s=necrotic_lysis,
        engulfment_per_s=engulfment,
        space=SPACE,
        **given,
    )


@pytest.fixture(scope="module")
def tissue(make_state, add_cells):
    """A tissue with a tenth of lumen everywhere, and cells on the sites named."""

    def make(sites=(8, 8, 8), number="continuum", tumor_cells=(), macrophages=(), oxygen=None, process=None, **given):
        state = make_state(sites, number, **given)
        shape = state.lattice.voxels
        state.fields |= {"lumen_fraction": np.full(shape, LUMEN), "inside": np.ones(shape), "cell_fraction": np.zeros(shape)}
        if oxygen is not None:
            state.fields["oxygen_mmHg"] = np.broadcast_to(np.asarray(oxygen, float), shape).copy()
        for kind, site in (("tumor_cells", tumor_cells), ("macrophages", macrophages)):
            add_cells(state, kind, np.asarray(site, np.int64))
        SPACE.fill(state.lattice, state.fields, occupied_sites(state.lattice, state.populations))
        for each in process or (cycle(), death()):
            each.prepare(state, None)
        return state

    return make


def carry(state, kind, amount, route=1):
    """Every cell holds so many loaded carriers in endosomes and twice as many in lysosomes; the ledger knows, as of plasma."""
    for column, times in (("cargo", 1), ("lysosome", 2)):
        state.populations[kind][column][:, route, 0] = times * amount
    patch = state.lattice.patch_of_site(state.populations[kind]["site"])
    np.add.at(state.ledger.entered[:, route, 0], patch, 3 * amount)
    weighted = 3 * amount * state.lattice.copies[patch].sum()
    state.ledger.injected[0] += weighted


def phases(state):
    return np.bincount(state.populations["tumor_cells"]["phase"], minlength=5).tolist()


def full_space(state):
    lattice = state.lattice
    fields = copy.deepcopy(state.fields)
    SPACE.fill(lattice, fields, occupied_sites(lattice, state.populations))
    return fields


@pytest.mark.parametrize("step_s", [HOUR, 6 * HOUR])
def test_with_room_and_oxygen_the_cells_double_in_the_doubling_time(tissue, advance, step_s):
    """40 lone clones over 1.5 T_d: mean 2^1.5 whatever the step, within 4 sd of the Yule process, √(m (m − 1)/n)."""
    found = []
    for seed in range(12):
        state = tissue((14, 14, 14), tumor_cells=np.arange(0, 14**3, 67))
        start = len(state.populations["tumor_cells"])
        advance(state, cycle(), step_s, round(1.5 * DAY / step_s), seed=seed)
        found.append(len(state.populations["tumor_cells"]) / start)
    mean = 2**1.5
    assert np.mean(found) == pytest.approx(mean, abs=4 * np.sqrt(mean * (mean - 1) / (start * 12)))


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_what_a_cell_holds_halves_with_every_division(tissue, advance, number):
    """T_d of one step: all divide, so after n steps each of 2ⁿ cells holds 2⁻ⁿ; counts to chi-squared at 10⁻⁴."""
    state = tissue((12, 12, 12), number, tumor_cells=[6 * 144 + 6 * 12 + 6])
    carry(state, "tumor_cells", 1024)
    advance(state, cycle(doubling_time_s=HOUR, reach_um=150), HOUR, 5)
    cells = state.populations["tumor_cells"]
    assert len(cells) == len(set(cells["site"].tolist())) == 32
    for column, times in (("cargo", 1), ("lysosome", 2)):
        held = cells[column][:, 1, 0]
        assert held.sum() == times * 1024
        if number == "continuum":
            assert (held == times * 32).all()
        else:
            assert stats.chisquare(held).pvalue > 1e-4
    assert phases(state) == [32, 0, 0, 0, 0]


def test_a_cell_divides_once_in_the_doubling_time_at_most():
    with pytest.raises(InputError, match="once"):
        cycle(doubling_time_s=HOUR, interval_s=2 * HOUR)
    with pytest.raises(InputError, match=r"tissue\.doubling_time"):
        cycle(doubling_time_s=None)


def test_without_room_they_are_quiescent_and_take_the_first_that_there_is(tissue, advance):
    """A full row: nobody divides. One dies at its end: the next to divide pushes those between, a macrophage among them."""
    process = cycle(doubling_time_s=HOUR)
    state = tissue((1, 1, 6), tumor_cells=[0, 1, 2, 4, 5], macrophages=[3])
    carry(state, "macrophages", 7)
    advance(state, process, HOUR, 1)
    assert phases(state) == [0, 5, 0, 0, 0]
    cells = state.populations["tumor_cells"]
    cells.remove(cells["site"] == 5)
    cells["phase"][cells["site"] == 4] = NECROTIC
    advance(state, process, HOUR, 1)
    assert phases(state) == [2, 2, 0, 1, 0]
    assert sorted([*cells["site"], *state.populations["macrophages"]["site"]]) == list(range(6))
    assert cells["site"][cells["phase"] == NECROTIC] == 5
    assert state.populations["macrophages"]["site"].item() in (3, 4)
    assert state.populations["macrophages"]["cargo"].sum() == 7


def test_cells_that_lack_oxygen_do_not_divide_and_come_back_with_it(tissue, advance):
    oxygen = np.where(np.arange(8) < 4, 5.0, 40.0)
    state = tissue((8, 8, 8), tumor_cells=np.arange(0, 512, 3), oxygen=oxygen)
    low = np.arange(0, 512, 3) % 8 < 4
    advance(state, cycle(with_oxygen=True, doubling_time_s=HOUR, reach_um=0), HOUR, 1)
    assert phases(state) == [0, (~low).sum(), low.sum(), 0, 0]
    assert hypoxic_fraction(state) == low.mean()
    state.fields["oxygen_mmHg"][...] = 40
    advance(state, cycle(with_oxygen=True, doubling_time_s=1e12, reach_um=0), HOUR, 1)
    assert phases(state) == [low.sum(), (~low).sum(), 0, 0, 0]


@pytest.mark.parametrize("refinement", [1, 2])
def test_space_follows_the_cells_and_what_is_in_a_voxel_stays(tissue, advance, refinement):
    """Shares of cells, lumen and extracellular space add up to 1, as they would from the cells that there are."""
    processes = {"cycle": cycle(doubling_time_s=6 * HOUR), "death": death(apoptosis=3e-5, lysis=1e-4)}
    state = tissue((5, 5, 5), tumor_cells=np.arange(60), macrophages=[70], refinement=refinement)
    state.fields["nanoparticle"][1, 0] = 3.0
    advance(state, processes, HOUR, 12)
    assert phases(state)[APOPTOTIC] > 0
    assert len(state.populations["tumor_cells"]) != 60
    assert (state.fields["nanoparticle"][1, 0] == 3.0).all()
    expected = full_space(state)
    taken = occupied_sites(state.lattice, state.populations).mean()
    assert state.fields["cell_fraction"].mean() == pytest.approx(taken * 0.74 * (1 - LUMEN))
    for name in ("cell_fraction", "accessible_fraction"):
        np.testing.assert_array_equal(state.fields[name], expected[name])
    assert state.fields["accessible_fraction"].min() >= 0.26 * (1 - LUMEN) * 0.5 - 1e-12


def test_carriers_spread_by_the_space_that_there_is_now(tissue, advance):
    """With D large C/φ is even: after a cell is cleared its voxel holds more by 1/0.26."""
    transport = Transport(diffusivity_um2_per_s=5.0, space_changes=True, integrator="explicit")
    state = tissue((1, 1, 4), tumor_cells=[0, 1, 2, 3])
    state.fields["nanoparticle"][1, 0] = 10.0
    advance(state, {"transport": transport}, 60, 2)
    state.populations["tumor_cells"]["phase"][0] = APOPTOTIC
    advance(state, {"death": death(lysis=1.0), "transport": transport}, HOUR, 4)
    held = state.fields["nanoparticle"][1, 0, 0, 0]
    assert held[1:] == pytest.approx(held[1])
    assert held[0] / held[1] == pytest.approx(1 / 0.26)


@pytest.mark.parametrize("steps", [24, 25])
def test_cells_without_oxygen_die_after_their_time_and_a_break_saves_them(tissue, advance, steps):
    oxygen = np.where(np.arange(6) < 3, 0.2, 40.0)
    state = tissue((1, 1, 6), tumor_cells=np.arange(6), oxygen=oxygen)
    advance(state, death(with_oxygen=True), HOUR, steps - 2)
    state.fields["oxygen_mmHg"][..., 0] = 40
    advance(state, death(with_oxygen=True), HOUR, 1)
    state.fields["oxygen_mmHg"][..., 0] = 0.2
    advance(state, death(with_oxygen=True), HOUR, 1)
    dead = 2 * (steps == 25)
    assert phases(state) == [6 - dead, 0, 0, dead, 0]
    assert dead_fraction(state) == dead / 6
    assert live_cells(state.lattice, state.populations, ("tumor_cells",)).sum() == 6 - dead


def test_cells_die_and_fall_apart_in_first_order(tissue, advance):
    """A chain: live → apoptotic → gone; numbers within 4 sd of the closed form, whatever the step."""
    n, die, lysis, time_s = 16**3, 2e-5, 1e-4, 4 * HOUR
    state = tissue((16, 16, 16), tumor_cells=np.arange(n))
    advance(state, death(apoptosis=die, lysis=lysis), 60, 240)
    alive = np.exp(-die * time_s)
    dying = die / (lysis - die) * (np.exp(-die * time_s) - np.exp(-lysis * time_s))
    found = phases(state)
    assert found[CYCLING] / n == pytest.approx(alive, abs=4 * np.sqrt(alive * (1 - alive) / n))
    assert found[APOPTOTIC] / n == pytest.approx(dying, abs=4 * np.sqrt(dying / n) + die * 60)


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_the_dead_are_eaten_by_macrophages_in_contact_or_leave_what_they_held(tissue, advance, number):
    """Of those beside a macrophage engulfment/(engulfment + lysis) go to it; the others all go back, by route."""
    beside, alone = np.arange(0, 3000, 3), np.arange(1, 3001, 3)  # rows of one site between macrophages
    state = tissue((2, 1, 3001), number, tumor_cells=np.concatenate([beside, alone]), macrophages=3001 + beside)
    carry(state, "tumor_cells", 4)
    state.populations["tumor_cells"]["phase"][...] = APOPTOTIC
    advance(state, death(lysis=1.0, engulfment=3.0), HOUR, 1)
    assert len(state.populations["tumor_cells"]) == 0
    eaten = state.populations["macrophages"]["cargo"][:, 1, 0]
    assert set(eaten.tolist()) == {0, 12}
    assert (eaten > 0).mean() == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / 1000))
    free = state.fields["nanoparticle"][1, 0]
    assert free.sum() == 12 * 2000 - eaten.sum()
    assert (free[0, 0, alone] == 12).all()
    np.testing.assert_allclose(state.fields["accessible_fraction"][0], (1 - LUMEN) * 0.5)


def test_a_macrophage_without_oxygen_eats_nobody(tissue, advance):
    state = tissue((1, 1, 4), tumor_cells=[0, 3], macrophages=[1, 2], oxygen=np.array([0.0, 0.0, 40.0, 40.0]))
    carry(state, "tumor_cells", 5)
    state.populations["tumor_cells"]["phase"][...] = NECROTIC
    advance(state, death(engulfment=1.0, with_oxygen=True), HOUR, 1)
    assert state.populations["tumor_cells"]["site"].tolist() == [0]
    assert state.populations["macrophages"]["cargo"].sum(axis=(1, 2)).tolist() == [0, 15]


def test_the_dead_take_up_nothing(tissue, advance):
    state = tissue((1, 1, 2), tumor_cells=[0, 1])
    state.fields["nanoparticle"][1, 0] = 100.0
    state.populations["tumor_cells"]["phase"][1] = NECROTIC
    card = substance.Uptake(clearance_um3_per_s=1, saturation=1e9, exocytosis_per_s=0, maturation_per_s=0, degradation_per_s=0)
    process = Uptake(uptake={"tumor_cells": card}, kinds=("tumor_cells",), phased=("tumor_cells",))
    advance(state, process, HOUR, 1)
    assert state.populations["tumor_cells"]["cargo"][:, 1, 0].tolist() == [pytest.approx(100, rel=0.2), 0.0]


def test_drug_stays_as_much_where_space_changes_and_goes_with_the_cells(tissue, advance):
    """What is dissolved in a voxel stays; what is in cells halves in division, is pushed along, and is free when they go."""
    state = tissue((1, 1, 5), tumor_cells=[0, 1, 2, 3])
    shape = state.lattice.voxels
    state.fields |= {f"drug_{name}": np.zeros(shape) for name in ("source_amol", "source_in_cells_amol", "in_cells_amol")}
    state.fields["drug_mM"] = np.full(shape, 2.0)
    state.fields["drug_in_cells_amol"][0, 0] = [8.0, 1.0, 2.0, 3.0, 0.0]
    before = dissolved(state)
    cells = state.populations["tumor_cells"]
    cells["phase"][1:] = NECROTIC  # they cannot divide
    advance(state, cycle(doubling_time_s=HOUR, reach_um=90, with_drug=True), HOUR, 1)
    assert state.fields["drug_in_cells_amol"].ravel().tolist() == [4.0, 4.0, 1.0, 2.0, 3.0]
    np.testing.assert_allclose(dissolved(state), before, rtol=1e-14)
    advance(state, death(necrotic_lysis=1.0, with_drug=True), HOUR, 1)
    assert state.fields["drug_in_cells_amol"].ravel().tolist() == [4.0, 4.0, 0.0, 0.0, 0.0]
    assert state.fields["drug_source_amol"].ravel().tolist() == [0.0, 0.0, 1.0, 2.0, 3.0]
    np.testing.assert_allclose(dissolved(state), before, rtol=1e-14)


def dissolved(state):
    fields = state.fields
    return fields["drug_mM"] * (1 - fields["lumen_fraction"] - fields["cell_fraction"])


def test_growth_dilutes_what_is_told_per_gram_and_not_the_share_of_the_dose(built, tissue):
    """After T_d the mass is twice that of the start."""
    from tme_sim.analysis.measures import summarise

    start = built("processes=[circulation,cell_cycle]", "tissue.doubling_time=2d")
    start.state.populations["tumor_cells"]["cargo"][0, 1, 0] = 100
    start.state.ledger.injected[0] = 1000
    row = {"compartment": "plasma", "substance": "nanoparticle", "value": 0.0}
    at = [summarise(start.state, 1.0, [{**row, "time_s": t}], 0.0) for t in (0.0, 2 * DAY)]
    assert growth_factor(tissue(process=()), []) == 1
    assert at[1]["tumor_percent_id"] == at[0]["tumor_percent_id"]
    assert at[1]["tumor_percent_id_per_g"] == pytest.approx(at[0]["tumor_percent_id_per_g"] / 2)
    assert at[1]["tumor_mass_g"] == 2 * at[0]["tumor_mass_g"]
    assert at[0]["dead_fraction"] == 0


@pytest.fixture(scope="module")
def mixed(tissue, add_cells):
    """Cells of all kinds, all of which hold something."""
    return partial(make_mixed, tissue, add_cells)


def make_mixed(tissue, add_cells, number, refinement=1):
    state = tissue((4, 5, 5), number, tumor_cells=np.arange(0, 90, 2), macrophages=[1, 41, 61], refinement=refinement, copies=3)
    carry(state, "tumor_cells", 20)
    state.vessels = Vessels(np.array([0]), np.array([100.0]))
    for kind in PHAGOCYTES:
        add_cells(state, kind, np.arange(5, 25))
        carry(state, kind, 10, route=3)
    carry(state, "macrophages", 30, route=3)
    return state


def all_processes():
    return {"cycle": cycle(doubling_time_s=5 * HOUR), "death": death(apoptosis=3e-5, lysis=5e-5, engulfment=2e-4)}


def test_a_restart_goes_on_to_the_bit_while_cells_divide_and_die(mixed, advance, digests):
    whole, half, again = (mixed("stochastic") for _ in range(3))
    advance(whole, all_processes(), HOUR, 10)
    advance(half, all_processes(), HOUR, 5)
    restore(again, copy.deepcopy(flatten(half)), half.tick)
    advance(again, all_processes(), HOUR, 5)
    assert digests(again) == digests(whole)
    assert whole.populations["tumor_cells"].next_id > 50
    assert whole.populations["macrophages"]["cargo"].sum() > 90


def check_conserved(state, totals):
    audit(state)
    assert sum(v for k, v in whole_body(state).items() if k != "plasma") == pytest.approx(totals, rel=1e-12)
    sites = state.populations["tumor_cells"]["site"].tolist()
    assert len(set(sites)) == len(sites)
    assert all((p["cargo"] >= 0).all() and (p["lysosome"] >= 0).all() for p in state.populations.values())


def run_sequence(mixed, advance, number, events, seed):
    """Division, death, clearing by both ways, hand-over, transformation, uptake and transport, one after the other."""
    state = mixed(number, 1 + seed % 2)
    total = float(state.ledger.injected.sum())
    card = substance.Uptake(
        clearance_um3_per_s=5, saturation=50, exocytosis_per_s=1e-4, maturation_per_s=1e-4, degradation_per_s=1e-5
    )
    kinds = ("tumor_cells", "macrophages", *PHAGOCYTES)
    fate = Fate(motility_um2_per_s=0.1, chemotaxis_um_per_s=0.01, hand_over_per_s=1e-4, death_per_s=3e-5, conversion_per_s=3e-5)
    acts = {
        "divide": cycle(doubling_time_s=2 * HOUR),
        "die": death(apoptosis=1e-4),
        "lyse": death(lysis=3e-4, apoptosis=1e-5),
        "eat": death(engulfment=3e-4, apoptosis=1e-5),
        "take up": Uptake(uptake=dict.fromkeys(kinds, card), kinds=kinds, phased=("tumor_cells",)),
        "migrate": Migration(neutrophils=fate, monocytes=fate, chemokine_range_um=60),
        "spread": Transport(diffusivity_um2_per_s=0.5, space_changes=True),
    }
    for event in events:
        advance(state, {event: acts[event]}, HOUR, 1, seed=seed)
        check_conserved(state, total)


NUMBERS, EVENT = (
    st.sampled_from(["stochastic", "continuum"]),
    st.sampled_from(["divide", "die", "lyse", "eat", "migrate", "take up", "spread"]),
)


@given(NUMBERS, st.lists(EVENT, min_size=3, max_size=8), st.integers(0, 1000))
@settings(max_examples=15)
def test_nothing_is_lost_whatever_happens_to_the_cells(mixed, advance, number, events, seed):
    run_sequence(mixed, advance, number, events, seed)


@pytest.mark.slow
@given(NUMBERS, st.lists(EVENT, min_size=20, max_size=60), st.integers(0, 10**6))
@settings(max_examples=150)
def test_nothing_is_lost_over_long_sequences(mixed, advance, number, events, seed):
    run_sequence(mixed, advance, number, events, seed)
