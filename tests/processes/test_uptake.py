"""Cells take up, keep, give back and degrade as the equations say, on any mesh."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from tme_sim.processes.transcytosis import Transcytosis
from tme_sim.processes.transport import Transport
from tme_sim.processes.uptake import Uptake
from tme_sim.state import substance
from tme_sim.state.vessels import VesselGraph
from tme_sim.tissues.rasterise import rasterise

SITE_UM3 = 15.0**3
PHI = 0.1


def card(clearance=0.05, saturation=1e15, exocytosis=0.0, maturation=0.0, degradation=0.0):
    return substance.Uptake(
        clearance_um3_per_s=clearance,
        saturation=saturation,
        exocytosis_per_s=exocytosis,
        maturation_per_s=maturation,
        degradation_per_s=degradation,
    )


def uptake(**cards):
    return Uptake(uptake=cards, kinds=tuple(cards))


def held(state, kind="macrophages"):
    population = state.populations[kind]
    return population["cargo"].sum() + population["lysosome"].sum()


@pytest.mark.parametrize("refinement", [1, 2, 3])
def test_a_cell_in_a_closed_site_clears_it_exponentially_on_any_mesh(make_state, add_cells, advance, refinement):
    state = make_state(refinement=refinement)
    add_cells(state, "macrophages", [0])
    state.fields["nanoparticle"][1, 0] = 1000 / refinement**3
    advance(state, uptake(macrophages=card()), 300, 50)
    assert held(state) == pytest.approx(1000 * -np.expm1(-0.05 / (PHI * SITE_UM3) * 15000), rel=1e-9)


def test_the_concentration_is_the_mean_over_the_cells_footprint(make_state, add_cells, advance):
    """Unequal voxels: dN/dt = CL · mean(C/φ), to first order in a short step; a voxel without space gives nothing."""
    rng = np.random.default_rng(0)
    accessible = rng.uniform(0.05, 0.2, (2, 2, 2))
    accessible[1, 1, 1] = 0
    amount = np.where(accessible > 0, rng.uniform(100, 1000, (2, 2, 2)), 0)
    state = make_state(refinement=2, accessible=accessible)
    add_cells(state, "macrophages", [0])
    state.fields["nanoparticle"][1, 0] = amount
    advance(state, uptake(macrophages=card()), 0.01, 1)
    concentration = amount / (SITE_UM3 / 8)
    mean = np.divide(concentration, accessible, out=np.zeros_like(amount), where=accessible > 0).mean()
    assert held(state) == pytest.approx(0.05 * mean * 0.01, rel=1e-5)


def test_in_a_whole_tissue_uptake_does_not_depend_on_the_mesh(make_state, add_cells, advance):
    """A vessel feeds 8 x 6 x 6 sites of cells for half a day; refinement 1, 2 and 3 agree within 3 %."""
    graph = VesselGraph(np.array([[0.0, 38, 50], [120, 38, 50]]), np.array([[0, 1]]), np.array([7.0]))
    found = []
    for refinement in (1, 2, 3):
        sites = (8, 6, 6)
        shape = tuple(n * refinement for n in sites)
        _, wall = rasterise(graph, shape, 15.0 / refinement)
        voxel = np.flatnonzero(wall)
        state = make_state(sites, refinement=refinement, plasma=1e13, walls=(voxel, wall.ravel()[voxel]))
        add_cells(state, "macrophages", np.arange(0, 288, 2))
        add_cells(state, "tumor_cells", np.arange(1, 288, 2))
        processes = {
            "transcytosis": Transcytosis(
                transit_time_s=1800, stages=3, recycled_fraction=0.5, active_fraction=1.0, permeability_um_per_s=8e-5
            ),
            "transport": Transport(diffusivity_um2_per_s=0.2),
            "uptake": uptake(macrophages=card(0.01, exocytosis=1e-6), tumor_cells=card(0.002, maturation=1e-4, degradation=1e-5)),
        }
        processes["transcytosis"].prepare(state, lambda purpose: np.random.default_rng(0))
        advance(state, processes, 60, 720)
        found.append([held(state), held(state, "tumor_cells"), state.fields["nanoparticle"].sum()])
    found = np.array(found)
    np.testing.assert_allclose(found, found[[2]].repeat(3, axis=0), rtol=0.03)
    assert (found[:, 0] / found.sum(axis=1) > 0.05).all()


def test_at_constant_concentration_a_cell_fills_up_to_its_saturation(make_state, add_cells, advance):
    """N = N_max (1 - exp(-CL (C/φ) t/N_max)) (Langmuir, literature V12), in first order of the step."""
    most, free_per_um3, time_s = 500.0, 2e6, 6000.0
    clearance = 5e-8  # so small that the cell does not change what is around it
    exact = most * -np.expm1(-clearance * free_per_um3 * time_s / most)
    errors = []
    for steps in (25, 50, 100):
        state = make_state()
        add_cells(state, "macrophages", [0])
        state.fields["nanoparticle"][1, 0] = free_per_um3 * PHI * SITE_UM3
        advance(state, uptake(macrophages=card(clearance, most)), time_s / steps, steps)
        errors.append(held(state) / exact - 1)
    assert np.log2(np.array(errors[:-1]) / np.array(errors[1:])) == pytest.approx(1, abs=0.1)
    assert abs(errors[-1]) < 0.01


def test_uptake_and_exocytosis_come_to_rest_where_their_rates_balance(make_state, add_cells, advance):
    """CL F/(φV) = k_exo N in a closed site, within the splitting error of first order."""
    into, out = 0.05 / (PHI * SITE_UM3), 2e-4
    exact = 1e4 * into / (into + out)
    errors = []
    for step_s in (240.0, 120.0, 60.0):
        state = make_state()
        add_cells(state, "macrophages", [0])
        state.fields["nanoparticle"][2, 1] = 1e4
        advance(state, uptake(macrophages=card(exocytosis=out)), step_s, round(150_000 / step_s))
        assert state.populations["macrophages"]["cargo"][0, 2, 1] == held(state)
        errors.append(held(state) / exact - 1)
    assert np.log2(np.array(errors[:-1]) / np.array(errors[1:])) == pytest.approx(1, abs=0.1)
    assert abs(errors[-1]) < 0.01


def test_endosome_lysosome_and_degradation_follow_their_differential_equations(make_state, add_cells, advance):
    cl, most, exo, mat, deg = 0.05, 2000.0, 2e-5, 1e-4, 4e-5
    into = cl / (PHI * SITE_UM3)

    def rates(t, y):
        free, endosome, lysosome, _ = y
        taken = into * free * (1 - (endosome + lysosome) / most)
        return [exo * endosome - taken, taken - (exo + mat) * endosome, mat * endosome - deg * lysosome, deg * lysosome]

    time_s = 24000.0
    exact = solve_ivp(rates, (0, time_s), [1500.0, 0, 0, 0], rtol=1e-10, atol=1e-8).y[:, -1]
    errors = []
    for step_s in (120.0, 60.0, 30.0):
        state = make_state()
        add_cells(state, "macrophages", [0])
        state.fields["nanoparticle"][1, 0] = 1500
        advance(state, uptake(macrophages=card(cl, most, exo, mat, deg)), step_s, round(time_s / step_s))
        cell = state.populations["macrophages"]
        found = [state.fields["nanoparticle"].sum(), cell["cargo"].sum(), cell["lysosome"].sum(), state.ledger.degraded[0, 1, 0]]
        assert sum(found) == pytest.approx(1500, rel=1e-12)
        errors.append(np.array(found) / exact - 1)
    np.testing.assert_allclose(np.log2(np.abs(errors[0]) / np.abs(errors[1])), 1, atol=0.15)
    np.testing.assert_allclose(np.log2(np.abs(errors[1]) / np.abs(errors[2])), 1, atol=0.15)
    assert np.abs(errors[-1]).max() < 5e-3


def test_cells_of_two_kinds_on_a_site_share_by_their_clearances(make_state, add_cells, advance):
    state = make_state()
    add_cells(state, "macrophages", [0])
    add_cells(state, "tumor_cells", [0, 0])
    state.fields["nanoparticle"][1, 0] = 1e5
    advance(state, uptake(macrophages=card(0.06), tumor_cells=card(0.02)), 300, 30)
    assert held(state) / held(state, "tumor_cells") == pytest.approx(0.06 / 0.04, rel=1e-9)
    assert held(state) + held(state, "tumor_cells") == pytest.approx(1e5 * -np.expm1(-0.1 / (PHI * SITE_UM3) * 9000), rel=1e-9)


def test_what_is_given_back_goes_where_there_is_space_and_keeps_its_origin(make_state, add_cells, advance):
    accessible = np.zeros((2, 2, 2))
    accessible[0, 0, 0], accessible[1, 0, 1] = 0.1, 0.3
    for number in ("continuum", "stochastic"):
        state = make_state(number=number, refinement=2, accessible=accessible)
        cell = add_cells(state, "macrophages", [0])
        cell["cargo"][0, 3, 1] = 10**6
        advance(state, uptake(macrophages=card(0.0, exocytosis=1e-3)), 1000, 1)
        out = state.fields["nanoparticle"][3, 1]
        total = 1e6 * -np.expm1(-1)
        assert out.sum() == pytest.approx(total, abs=0 if number == "continuum" else 4 * np.sqrt(total), rel=1e-9)
        assert out[1, 0, 1] / out.sum() == pytest.approx(0.75, abs=1e-9 if number == "continuum" else 4 * 0.433 / np.sqrt(total))
        assert out[0, 0, 0] + out[1, 0, 1] == out.sum() == state.fields["nanoparticle"].sum()


def test_a_cell_without_space_around_it_keeps_what_it_has(make_state, add_cells, advance):
    state = make_state(number="stochastic", accessible=0.0)
    cell = add_cells(state, "macrophages", [0])
    cell["cargo"][0, 1, 0] = 1000
    advance(state, uptake(macrophages=card(exocytosis=1e-2)), 1000, 5)
    assert held(state) == 1000


def test_cells_draw_by_their_ids_and_not_by_their_rows(make_state, add_cells, advance):
    found = []
    for turned in (False, True):
        state = make_state((1, 2, 3), "stochastic")
        cells = add_cells(state, "macrophages", np.arange(6))
        cells["cargo"][...] = np.random.default_rng(0).integers(0, 1000, cells["cargo"].shape)
        state.fields["nanoparticle"][...] = 500
        if turned:
            cells.columns = {name: column[::-1].copy() for name, column in cells.columns.items()}
        advance(state, uptake(macrophages=card(exocytosis=1e-4, maturation=1e-4, degradation=1e-4)), 1000, 3)
        found.append((cells["cargo"][np.argsort(cells["id"])], state.fields["nanoparticle"], state.ledger.degraded))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_whole_particles_are_taken_up_with_the_mean_of_real_amounts(make_state, add_cells, advance):
    """Each of 10^7 particles is inside with the same chance: |z| < 4 has probability 1 - 6e-5."""
    found = {}
    for number in ("continuum", "stochastic"):
        state = make_state((2, 1, 1), number)
        add_cells(state, "macrophages", [0, 1])
        add_cells(state, "tumor_cells", [1])
        state.fields["nanoparticle"][1, 0] = 5_000_000
        advance(state, uptake(macrophages=card(exocytosis=1e-5, maturation=1e-4), tumor_cells=card(0.01)), 300, 20)
        found[number] = np.array([held(state), held(state, "tumor_cells"), state.populations["macrophages"]["lysosome"].sum()])
    mean = found["continuum"]
    assert (np.abs(found["stochastic"] - mean) < 4 * np.sqrt(mean * (1 - mean / 1e7))).all()
