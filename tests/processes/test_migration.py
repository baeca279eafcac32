"""Phagocytes in tissue follow the chemokine, pass on, die and become macrophages as their closed forms say."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from scipy import stats

from tme_sim.processes.migration import Fate, Migration, chemokine_steps
from tme_sim.state.lattice import Lattice, Patch
from tme_sim.state.state import flatten, restore
from tme_sim.state.vessels import Vessels

SITE_UM = 15.0


def fate(motility=1e-9, chemotaxis=0.0, hand_over=0.0, death=0.0, conversion=0.0):
    return Fate(
        motility_um2_per_s=motility,
        chemotaxis_um_per_s=chemotaxis,
        hand_over_per_s=hand_over,
        death_per_s=death,
        conversion_per_s=conversion,
    )


def migration(neutrophils=None, monocytes=None, range_um=60.0):
    return Migration(neutrophils=neutrophils or fate(), monocytes=monocytes or fate(), chemokine_range_um=range_um)


@pytest.fixture
def tissue(make_state, add_cells):
    """A row of sites along x with the wall at its beginning, and empty cells on the sites named."""

    def make(sites=(1, 1, 30), number="continuum", wall=(0,), refinement=1, patches=(), **cells):
        state = make_state(sites, number, refinement=refinement, patches=patches)
        state.vessels = Vessels(np.asarray(wall, np.int64), np.full(len(wall), 100.0))
        for kind in ("macrophages", "neutrophils", "monocytes"):
            add_cells(state, kind, np.asarray(cells.get(kind, []), np.int64))
        return state

    return make


def carry(state, kind, amount, route=3):
    """Every cell holds so many loaded carriers in endosomes and twice as many in lysosomes; the ledger knows."""
    for column, times in (("cargo", 1), ("lysosome", 2)):
        state.populations[kind][column][:, route, 0] = times * amount
    patch = state.lattice.patch_of_site(state.populations[kind]["site"])
    np.add.at(state.ledger.entered[:, route, 0], patch, 3 * amount)


def test_near_a_flat_wall_the_drift_is_the_stated_one(tissue, advance):
    """v = v_0 exp(−d/λ) between sites: mean displacement over a time in which d hardly changes, within 4 standard errors."""
    speed, n = 0.02, 40_000
    process = migration(neutrophils=fate(motility=0.5, chemotaxis=speed), range_um=1e5)
    state = tissue((1, 1, 60), neutrophils=np.full(n, 25))
    advance(state, process, 300, 4)
    moved = (state.populations["neutrophils"]["site"] - 25) * SITE_UM
    assert moved.mean() == pytest.approx(speed * 1200, abs=4 * moved.std() / np.sqrt(n))


def test_in_a_closed_tissue_they_come_to_rest_where_the_chemokine_is(tissue, advance):
    """Density ∝ exp(v_0 λ u/D), u = 1 − exp(−d/λ): chi-squared at the level 10⁻⁴ after many relaxation times."""
    speed, motility, range_um, sites = 0.03, 1.0, 60.0, 12
    process = migration(monocytes=fate(motility, speed), range_um=range_um)
    state = tissue((1, 1, sites), monocytes=np.arange(12_000) % sites)
    advance(state, process, 40_000, 3)
    u = -np.expm1(-np.arange(sites) * SITE_UM / range_um)
    weight = np.exp(speed * range_um * u / motility)
    counts = np.bincount(state.populations["monocytes"]["site"], minlength=sites)
    assert stats.chisquare(counts, 12_000 * weight / weight.sum()).pvalue > 1e-4
    assert weight.max() / weight.min() > 3


def test_the_chemokine_stays_within_its_patch_and_needs_a_wall():
    lattice = Lattice((4, 3, 3), SITE_UM, 1, (Patch("rim", 0, 2, 1), Patch("core", 2, 2, 1)))
    steps = chemokine_steps(lattice, np.array([4]), 50.0)
    assert steps[0, 0, 1, 1] == pytest.approx(-np.expm1(-SITE_UM / 50))
    assert not steps[0, 1].any()
    assert not steps[:, 2:].any()


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_particles_pass_to_macrophages_in_contact_in_first_order(tissue, advance, number):
    """N = N_0 exp(−k t), shared evenly by the two in reach; a cell with nobody in reach keeps all. To 4 sd."""
    rate, amount = 2e-4, 3000
    process = migration(neutrophils=fate(hand_over=rate))
    state = tissue(number=number, macrophages=[9, 11, 20], neutrophils=[10] * 50 + [25])
    carry(state, "neutrophils", amount)
    advance(state, process, 100, 20)
    expected = amount * np.exp(-rate * 2000)
    spread = 4 * np.sqrt(amount * 50 / 4) * (number == "stochastic") + 1e-6
    for column, times in (("cargo", 1), ("lysosome", 2)):
        kept = state.populations["neutrophils"][column][:, 3, 0]
        assert kept[:50].sum() == pytest.approx(50 * times * expected, abs=2 * spread)
        assert kept[50] == times * amount
    received = state.populations["macrophages"]["cargo"][:, 3, 0]
    assert received.sum() == pytest.approx(50 * 3 * (amount - expected), abs=3 * spread)
    assert received[2] == 0
    assert received[0] == pytest.approx(received[1], rel=0.2)
    assert not state.populations["macrophages"]["lysosome"].any()


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
@pytest.mark.parametrize("refinement", [1, 2])
def test_the_dead_leave_what_they_held_on_their_site_by_its_route(tissue, advance, number, refinement):
    """They die at exponential times: survivors within 4 standard deviations."""
    n, rate = 10_000, 1e-4
    process = migration(neutrophils=fate(death=rate))
    state = tissue((1, 1, 6), number, refinement=refinement, neutrophils=np.full(n, 2))
    carry(state, "neutrophils", 5)
    advance(state, process, 500, 10)
    alive = len(state.populations["neutrophils"])
    assert abs(alive - n * np.exp(-0.5)) < 4 * np.sqrt(n / 4)
    free = state.lattice.on_sites(state.fields["nanoparticle"][3, 0].astype(float)).ravel() * refinement**3
    assert free == pytest.approx(15 * (n - alive) * (np.arange(6) == 2))
    assert not state.fields["nanoparticle"][:3].any()


def test_monocytes_become_macrophages_at_exponential_times_with_all_they_carry(tissue, advance):
    n, death, conversion = 10_000, 5e-5, 1.5e-4
    process = migration(monocytes=fate(death=death, conversion=conversion))
    state = tissue(number="stochastic", macrophages=[1, 2], monocytes=np.full(n, 4))
    state.populations["macrophages"].columns["age_s"] = np.array([7.0, 8.0])
    carry(state, "monocytes", 5)
    advance(state, process, 1000, 3)
    new = len(state.populations["macrophages"]) - 2
    gone = n - len(state.populations["monocytes"])
    assert abs(gone - n * -np.expm1(-0.6)) < 4 * np.sqrt(n / 4)
    assert new / gone == pytest.approx(0.75, abs=4 * np.sqrt(0.25 * 0.75 / gone))
    macrophages = state.populations["macrophages"]
    assert macrophages["id"].tolist() == list(range(new + 2))
    assert macrophages["site"].tolist() == [1, 2] + [4] * new
    assert (macrophages["cargo"][2:, 3, 0] == 5).all()
    assert (macrophages["lysosome"][2:, 3, 0] == 10).all()
    assert macrophages["age_s"].tolist() == [7.0, 8.0] + [0.0] * new


def test_counts_agree_with_real_amounts_in_the_mean_and_the_cells_do_the_same(tissue, advance):
    found = {}
    for number in ("stochastic", "continuum"):
        found[number] = []
        for seed in range(20):
            process = migration(neutrophils=fate(0.5, 0.01, 3e-4, 1e-4), monocytes=fate(0.5, 0.01, 3e-4, 1e-5, 1e-4))
            cells = {"macrophages": np.arange(0, 48, 3), "neutrophils": np.arange(20), "monocytes": np.arange(20, 40)}
            state = tissue((3, 4, 4), number, **cells)
            carry(state, "neutrophils", 200)
            carry(state, "monocytes", 300, route=1)
            advance(state, process, 300, 10, seed=seed)
            held = [(p["cargo"] + p["lysosome"]).sum() for p in state.populations.values()]
            sites = np.concatenate([p["site"] for p in state.populations.values()])
            found[number].append([*held, state.fields["nanoparticle"].sum(), sites.sum(), len(sites)])
    difference = np.array(found["stochastic"]) - np.array(found["continuum"])
    assert not difference[:, -2:].any()
    assert (np.abs(difference.mean(axis=0)) <= 4 * difference.std(axis=0) / np.sqrt(20) + 1e-9).all()
    assert np.array(found["stochastic"])[:, :4].sum(axis=1) == pytest.approx(20 * 600 + 20 * 900)


def test_a_restart_goes_on_to_the_bit_while_cells_die_and_change(tissue, advance, digests):
    def start():
        state = tissue((3, 4, 4), "stochastic", macrophages=[5, 20], neutrophils=np.arange(30), monocytes=np.arange(30))
        for kind in ("neutrophils", "monocytes"):
            carry(state, kind, 100)
        return state

    def process():
        return migration(neutrophils=fate(0.5, 0.01, 3e-4, 1e-4), monocytes=fate(0.5, 0.01, 3e-4, 1e-5, 2e-4))

    whole, half, again = start(), start(), start()
    advance(whole, process(), 300, 16)
    advance(half, process(), 300, 8)
    restore(again, copy.deepcopy(flatten(half)), half.tick)
    advance(again, process(), 300, 8)
    assert len(whole.populations["monocytes"]) < len(half.populations["monocytes"]) < 30
    assert digests(again) == digests(whole)
