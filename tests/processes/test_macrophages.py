"""Macrophages keep to niches, walk, change, die and loosen the wall as closed forms say; nothing that they carry is lost."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from scipy.special import expit

from tme_sim.processes.macrophages import Macrophages
from tme_sim.state.cells import Space, occupied_sites
from tme_sim.state.ledger import audit
from tme_sim.state.state import flatten, restore
from tme_sim.state.vessels import Vessels

HOUR = 3600.0
SITE_UM = 15.0


def macrophages(**changed):
    """Nothing happens but what is asked for."""
    still = {
        "speed_um_per_s": 0.0,
        "persistence_s": 1200.0,
        "perivascular_attraction": 1.0,
        "perivascular_range_um": 30.0,
        "hypoxic_attraction": 1.0,
        "hypoxic_below_mmHg": 10.0,
        "resting_polarisation": 0.0,
        "polarisation_time_s": 1e12,
        "m2_uptake": 1.0,
        "death_per_s": 0.0,
        "leak_per_macrophage": 0.0,
        "leak_range_um": 30.0,
        "space": Space(2000.0, 0.5),
    }
    return Macrophages(**(still | changed))


@pytest.fixture
def tissue(make_state, add_cells):
    """Tissue full of cells, macrophages on the sites named; the voxels of the first plane of x hold wall."""

    def make(process, sites, on, number="continuum", tick=1, free=(), oxygen=None):
        state = make_state(sites, number)
        n = state.lattice.n_sites
        state.fields |= {"lumen_fraction": np.zeros(sites), "cell_fraction": np.zeros(sites), "inside": np.ones(sites)}
        if oxygen is not None:
            state.fields["oxygen_mmHg"] = np.broadcast_to(oxygen, sites).copy()
        wall = np.arange(n).reshape(sites)[:, :, 0].ravel()
        state.vessels = Vessels(wall, np.full(len(wall), 100.0))
        add_cells(state, "macrophages", np.array(on, np.int64))
        add_cells(state, "tumor_cells", np.setdiff1d(np.arange(n), np.concatenate([on, free])))
        process.prepare(state, None)
        process.space.fill(state.lattice, state.fields, occupied_sites(state.lattice, state.populations))
        state.tick = tick
        return state

    return make


def test_they_walk_through_a_full_tissue_with_a_mean_square_displacement_of_two_v_squared_t(tissue, advance):
    """⟨r²⟩ = 2 v² T t of few among many, within 4 standard errors; every site still holds one cell."""
    grid = np.arange(41**3).reshape(41, 41, 41)[10:31:3, 10:31:3, 10:31:3].ravel()
    speed, persistence, time_s = 0.01, 1200.0, 4 * HOUR
    process = macrophages(speed_um_per_s=speed, persistence_s=persistence)
    state = tissue(process, (41, 41, 41), grid)
    advance(state, process, 1200, 12)
    at, start = (np.stack(np.unravel_index(s, (41, 41, 41))) for s in (state.populations["macrophages"]["site"], grid))
    squares = ((at - start) ** 2).sum(axis=0) * SITE_UM**2
    expected = 2 * speed**2 * persistence * time_s
    assert squares.mean() == pytest.approx(expected, abs=4 * squares.std() / np.sqrt(len(grid)))
    everybody = np.concatenate([state.populations[kind]["site"] for kind in ("macrophages", "tumor_cells")])
    assert (np.sort(everybody) == np.arange(41**3)).all()


@pytest.mark.parametrize("begins", ["settled", "walking"])
def test_they_come_to_rest_in_the_perivascular_niche_with_the_stated_odds(tissue, advance, begins):
    """By distance d the share ρ of macrophages obeys ρ/(1 − ρ) = c a^exp(−d/λ), one c for all; to 4.5 sd of binomials."""
    shape, attraction, range_um = (24, 24, 16), 8.0, 30.0
    n = int(np.prod(shape))
    process = macrophages(speed_um_per_s=0.05, perivascular_attraction=attraction, perivascular_range_um=range_um)
    state = tissue(process, shape, np.arange(n)[::5], tick=0 if begins == "settled" else 1)
    advance(state, process, 1.0 if begins == "settled" else 6 * HOUR, 1 if begins == "settled" else 12)
    energy = np.log(attraction) * np.exp(-np.arange(16) * SITE_UM / range_um)
    found = np.bincount(state.populations["macrophages"]["site"] % 16, minlength=16)
    low, high = -10.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(energy + middle).sum() * 576 < found.sum() else (low, middle)
    share = expit(energy + low)
    assert share[0] > 2.5 * share[-1]
    assert (np.abs(found - 576 * share) < 4.5 * np.sqrt(576 * share * (1 - share))).all()


def test_they_are_dealt_to_where_oxygen_is_low_and_nobody_is_gained_or_lost(tissue, advance):
    """Odds a_h without oxygen against 1 with enough, half of the tissue each."""
    oxygen = np.where(np.arange(20) < 10, 40.0, 0.0)
    process = macrophages(hypoxic_attraction=6.0, with_oxygen=True)
    state = tissue(process, (20, 20, 20), np.arange(8000)[::4], tick=0, oxygen=oxygen)
    advance(state, process, 1.0, 1)
    site = state.populations["macrophages"]["site"]
    share = np.array([(site % 20 < 10).sum(), (site % 20 >= 10).sum()]) / 4000
    odds = share / (1 - share)
    error = 4.5 * np.sqrt((1 / (4000 * share * (1 - share))).sum())
    assert np.log(odds[1] / odds[0]) == pytest.approx(np.log(6.0), abs=error)
    assert len(np.union1d(site, state.populations["tumor_cells"]["site"])) == 8000


def test_without_preferences_nobody_is_moved_at_the_start(tissue, advance, digests):
    process = macrophages()
    state = tissue(process, (6, 6, 6), [3, 100], tick=0)
    before = digests(state)
    advance(state, process, 600, 1)
    assert {name for name, bits in digests(state).items() if bits != before[name]} == {"tick"}


def test_polarisation_follows_oxygen_in_first_order_and_scales_uptake(tissue, advance):
    """p(t) = p_0 + (1 − p_0) h (1 − e^(−t/τ)), h = 1 − P/P_h; the step does not matter."""
    rest, tau = -0.4, 6 * HOUR
    process = macrophages(resting_polarisation=rest, polarisation_time_s=tau, with_oxygen=True)
    oxygen = np.array([0.0, 5.0, 10.0, 38.0])
    state = tissue(process, (1, 1, 4), np.arange(4), oxygen=oxygen)
    advance(state, process, 2 * HOUR, 5)
    hypoxia = np.array([1.0, 0.5, 0.0, 0.0])
    expected = rest + (1 - rest) * hypoxia * -np.expm1(-10 * HOUR / tau)
    np.testing.assert_allclose(state.populations["macrophages"]["polarisation"], expected, rtol=1e-12)


def test_a_polarised_macrophage_clears_so_much_more_until_it_is_full(simulate):
    """From even tissue two cells alike but for p take up as m2_uptake^p, and N = N_max (1 − e^(−k t)) of Langmuir (V12)."""
    alone = ["processes=[uptake,macrophages,transcytosis,circulation]", "number=continuum", "cells.macrophage_fraction=1"]
    card = "nanoparticle.uptake.macrophages"
    alone += [f"{card}.saturation=50", f"{card}.exocytosis=0/h", f"{card}.maturation=0/h", f"{card}.clearance=0.01um^3/s"]
    alone += ["processes.macrophages.m2_uptake=3", "processes.macrophages.speed=0um/s", "processes.macrophages.death=0/h"]
    alone += ["processes.macrophages.perivascular_attraction=1", "processes.macrophages.polarisation_time=1e9h"]
    simulation = simulate(*alone)
    state, uptake = simulation.state, simulation.processes["uptake"]
    cells, accessible = state.populations["macrophages"], state.fields["accessible_fraction"]
    cells["polarisation"][...] = np.where(np.arange(len(cells)) % 2, 1.0, 0.0)
    simulation.processes = {"uptake": uptake}
    simulation._every = {"uptake": 1}
    concentration, time_s = 2.0, 1800.0
    for _ in range(30):
        state.fields["nanoparticle"][0, 0] = concentration * accessible * state.lattice.voxel_um3
        simulation.step()
    held = cells["cargo"].sum(axis=(1, 2))
    rate = 0.01 * 3.0 ** cells["polarisation"] * concentration / 50
    np.testing.assert_allclose(held, 50 * -np.expm1(-rate * time_s), rtol=0.03)


def test_on_a_single_wall_each_macrophage_within_reach_adds_beta(tissue, advance):
    """At 0, 15, 30 µm they count, at √2·30 and 45 µm not; nobody is seen across patches."""
    process = macrophages(leak_per_macrophage=0.7)
    near, far = [(2, 2, 0), (2, 2, 1), (2, 4, 0), (1, 1, 1)], [(0, 4, 1), (2, 2, 3)]
    shape = (5, 5, 5)
    state = tissue(process, shape, [np.ravel_multi_index(at, shape) for at in near + far])
    advance(state, process, 600, 1)
    factor = state.vessels.arrays["permeability_factor"].reshape(5, 5)
    assert factor[2, 2] == pytest.approx(1 + 0.7 * 4)


@pytest.mark.parametrize("route", ["transcytosis", "gaps"])
def test_the_wall_lets_through_so_many_times_more_and_beta_zero_changes_no_bit(simulate, digests, route):
    """Entry in one step from the same plasma: Σ S (1 + β n)/Σ S of that without; at β = 0 all arrays are those of no process."""
    words = ["number=continuum", "step=10min"] + ["processes.transcytosis.active_fraction=1"] * (route == "transcytosis")
    still = ["speed=0um/s", "perivascular_attraction=1", "death=0/h"]
    found = {}
    for beta in (0, 2):
        own = [f"processes.macrophages.{word}" for word in (*still, f"leak_per_macrophage={beta}")]
        simulation = simulate(f"processes=[circulation,macrophages,{route}]", *words, *own)
        simulation.step()
        found[beta] = simulation.state
    factor, walls = found[2].vessels.arrays["permeability_factor"], found[2].vessels
    if route == "transcytosis":
        weight = walls.surface_um2
    else:
        weight = np.zeros(len(walls.voxel))
        gaps = found[0].populations["gaps"]
        np.add.at(weight, np.searchsorted(walls.voxel, gaps["voxel"]), gaps["entered"])
    entered = {beta: state.ledger.entered.sum() for beta, state in found.items()}
    assert factor.min() >= 1
    assert entered[2] / entered[0] == pytest.approx((weight * factor).sum() / weight.sum(), rel=1e-3)
    without = simulate(f"processes=[circulation,{route}]", *words)
    without.step()
    more = {"vessels.permeability_factor", "populations.macrophages.polarisation"}
    assert digests(without.state) == {name: bits for name, bits in digests(found[0]).items() if name not in more}


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_what_they_hold_goes_with_them_and_back_to_the_tissue_when_they_die(tissue, advance, number):
    """Numbers e^(−kt) to 4 sd; carriers by route all there; free sites are filled and left as they come and go."""
    process = macrophages(speed_um_per_s=0.05, death_per_s=1e-5)
    shape = (12, 12, 12)
    free = np.arange(1728)[::10]
    state = tissue(process, shape, np.arange(1, 1728, 4)[np.arange(1, 1728, 4) % 10 != 0], number, free=free)
    cells = state.populations["macrophages"]
    n = len(cells)
    cells["cargo"][:, 2, 0], cells["lysosome"][:, 1, 1] = 7, 5
    state.ledger.entered[0, 2, 0], state.ledger.entered[0, 1, 1] = 7 * n, 5 * n
    state.ledger.injected[...] = 7 * n, 5 * n
    advance(state, process, HOUR, 20)
    alive, chance = len(state.populations["macrophages"]), np.exp(-1e-5 * 20 * HOUR)
    assert alive == pytest.approx(n * chance, abs=4 * np.sqrt(n * chance * (1 - chance)))
    audit(state)
    assert state.fields["nanoparticle"].sum() == pytest.approx(12 * (n - alive))
    taken = occupied_sites(state.lattice, state.populations).reshape(shape)
    np.testing.assert_allclose(state.fields["cell_fraction"], taken * 2000 / SITE_UM**3)


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_a_restart_goes_on_to_the_bit(tissue, advance, digests, number):
    def process():
        return macrophages(speed_um_per_s=0.05, death_per_s=1e-6, perivascular_attraction=3.0, leak_per_macrophage=0.3)

    whole, half, again = (tissue(process(), (8, 8, 8), np.arange(512)[::6], number, tick=0) for _ in range(3))
    advance(whole, process(), 600, 20)
    advance(half, process(), 600, 9)
    restore(again, copy.deepcopy(flatten(half)), half.tick)
    advance(again, process(), 600, 11)
    assert digests(again) == digests(whole)
    assert whole.vessels.arrays["permeability_factor"].max() > 1


@pytest.mark.parametrize("number", [pytest.param("stochastic", marks=pytest.mark.slow), "continuum"])
def test_drug_in_cells_goes_with_those_who_change_places_and_none_is_lost(simulate, number):
    words = [
        "processes=[circulation,macrophages,gaps,transcytosis,transport,uptake,release,drug]",
        f"number={number}",
        "step=5min",
    ]
    words += [
        f"processes.macrophages.{word}" for word in ("speed=1um/min", "persistence=2h", "death=0.3/h", "hypoxic_attraction=1")
    ]
    words += ["nanoparticle.uptake.macrophages.clearance=1um^3/s", "nanoparticle.release.cell=1/h", "protocol.dose=1e11particles"]
    simulation = simulate(*words)
    began = len(simulation.state.populations["macrophages"])
    for _ in range(60):
        simulation.step()
    state = simulation.state
    assert len(state.populations["macrophages"]) < began / 2
    assert state.populations["macrophages"]["cargo"].sum() > 0
    assert state.fields["drug_in_cells_amol"].sum() > 0
    assert audit(state) < 1e-10
