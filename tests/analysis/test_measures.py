"""Measures of states whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from tme_sim.analysis.measures import (
    blood_in_tumor,
    hypoxic_fraction,
    penetration_half_distance_um,
    phagocyte_traffic,
    plasma_half_life_h,
    summarise,
    tissue_carriers,
    where_by_route,
)
from tme_sim.state.lattice import Patch
from tme_sim.state.variables import ROUTES

GAP, TRANSCYTOSIS = ROUTES.index("gap"), ROUTES.index("transcytosis")


def tissue(make_state, sites=(4, 4, 4), **more):
    state = make_state(sites, **more)
    for name in ("inside", "lumen_fraction", "wall_surface_um2"):
        state.fields[name] = np.full(state.lattice.voxels, 1.0 if name == "inside" else 0.0)
    return state


def plasma_rows(times_s, values):
    """Two forms that add up to the values, and rows that are none of plasma's."""
    rows = []
    for time_s, value in zip(times_s, values, strict=True):
        rows += [
            {"time_s": time_s, "substance": "nanoparticle", "compartment": "plasma", "form": f, "value": value * s}
            for f, s in (("loaded", 0.7), ("released", 0.3))
        ]
        inside = {"time_s": time_s, "substance": "nanoparticle", "compartment": "interstitium"}
        rows.append(inside | {"form": "loaded", "value": 1.0})
        rows.append({"time_s": time_s, "substance": "docetaxel", "compartment": "plasma", "form": "released", "value": 1e9})
    return rows


def test_an_exponential_has_its_half_life():
    time_s = np.arange(0, 86400, 3600.0)
    assert plasma_half_life_h(plasma_rows(time_s, 1e9 * 2 ** (-time_s / 43200))) == pytest.approx(12, rel=1e-9)


def test_the_half_life_counts_from_the_largest_value():
    time_s = np.arange(0, 86400, 3600.0)
    values = np.where(time_s < 7200, time_s / 7200, 2 ** (-(time_s - 7200) / 21600))
    assert plasma_half_life_h(plasma_rows(time_s, values)) == pytest.approx(6, rel=1e-9)


@pytest.mark.parametrize("values", [[], [1.0], [4.0, 2.0], [1.0, 2.0, 3.0], [5.0, 0.0, 0.0], [3.0, 3.0, 3.0]])
def test_no_decay_or_too_few_points_give_no_half_life(values):
    assert plasma_half_life_h(plasma_rows(np.arange(len(values)) * 60.0, values)) is None


def test_cells_below_ten_mmhg_count_as_hypoxic(make_state, add_cells):
    """Three sites are low, a cell in two of them; one of these lies in a patch that counts three times."""
    patches = (Patch("rim", 0, 1, 3), Patch("core", 1, 1, 1))
    state = make_state((2, 2, 2), refinement=2, patches=patches)
    assert hypoxic_fraction(state) is None
    oxygen = np.full((2, 2, 2), 10.0)
    oxygen[0, 0, 1] = oxygen[1, 1, 1] = oxygen[1, 0, 0] = 9.9
    state.fields["oxygen_mmHg"] = np.kron(oxygen, np.ones((2, 2, 2)))
    assert hypoxic_fraction(state) is None
    add_cells(state, "tumor_cells", [0, 1, 5])
    add_cells(state, "macrophages", [7])
    assert hypoxic_fraction(state) == pytest.approx((3 + 1) / (3 + 3 + 1 + 1))


def test_the_summary_counts_what_is_there(make_state, add_cells):
    """1000 injected, one patch that counts twice: 10 free, 4 bound, 6 in endothelium, 20 in macrophages, 10 in tumour cells."""
    state = tissue(make_state, plasma=1000.0, copies=2, walls=([0], [1.0]))
    state.fields["nanoparticle"][GAP, 0, 1, 1, 1] = 10
    state.fields["bound"] = state.empty_field()
    state.fields["bound"][TRANSCYTOSIS, 0, 1, 1, 1] = 4
    state.vessels.arrays["endothelium"] = np.array([[[2.0], [1.0]], [[3.0], [0.0]]])
    add_cells(state, "macrophages", [3])["cargo"][0, GAP, 1] = 12
    state.populations["macrophages"]["lysosome"][0, TRANSCYTOSIS, 0] = 8
    add_cells(state, "tumor_cells", [3, 4])["cargo"][:, GAP, 0] = 5
    state.ledger.entered[0, GAP, 0], state.ledger.entered[0, TRANSCYTOSIS, 0] = 40, 60
    state.body.pools |= {"kupffer": np.array([100.0, 50]), "spleen": np.array([20.0, 0])}
    found = summarise(state, 0.5, [], 1e-15)
    total = 50.0
    assert found["tumor_percent_id"] == pytest.approx(2 * total / 1000 * 100)
    assert found["tumor_percent_id_per_g"] == found["tumor_percent_id_per_g_without_blood"] == pytest.approx(20)
    assert found["extracellular_fraction"] == pytest.approx(14 / total)
    assert found["intracellular_fraction"] == pytest.approx(30 / total)
    assert found["endothelium_fraction"] == pytest.approx(6 / total)
    assert found["intracellular_fraction_in_phagocytes"] == pytest.approx(20 / 30)
    assert found["released_fraction"] == pytest.approx(13 / total)
    assert found["drug_released_in_tumor_ug"] == pytest.approx(26 * 1e-15 * 1e6)
    assert found["liver_percent_id_per_g"] == pytest.approx(15)
    assert found["spleen_percent_id_per_g"] == pytest.approx(2 / 0.1)
    assert found["route_fraction_gap"] == pytest.approx(0.4)
    assert found["route_fraction_transcytosis"] == pytest.approx(0.6)
    assert found["route_fraction_phagocyte"] == 0
    assert found["injected"] == 1000


def test_fractions_of_nothing_are_null_and_not_zero(make_state):
    found = summarise(tissue(make_state), 0.5, [], 0.0)
    for name in (
        "tumor_percent_id",
        "extracellular_fraction",
        "released_fraction",
        "route_fraction_gap",
        "liver_percent_id_per_g",
    ):
        assert found[name] is None, name


def test_patches_count_as_often_as_they_are_there(make_state):
    state = tissue(make_state, plasma=1e4, patches=(Patch("rim", 0, 1, 3), Patch("core", 1, 3, 7)))
    state.fields["nanoparticle"][GAP, 0, 0, 0, 0] = 2
    state.fields["nanoparticle"][GAP, 1, 2, 0, 0] = 5
    found = summarise(state, 1.0, [], 0.0)
    assert found["tumor_percent_id"] == pytest.approx((3 * 2 + 7 * 5) / 100)
    assert found["released_fraction"] == pytest.approx(35 / 41)
    state.fields["lumen_fraction"][0], state.fields["lumen_fraction"][2] = 0.1, 0.2
    lumen_um3 = (3 * 0.1 + 7 * 0.2) * 16 * 15**3
    assert blood_in_tumor(state, 1.0) == pytest.approx(1e4 / 1e12 * lumen_um3)


def test_the_closing_table_adds_up_to_the_dose(simulate):
    simulation = simulate("number=stochastic", "protocol.dose=1e13particles")
    simulation.run(4 * 3600)
    rows = where_by_route(simulation.state)
    assert sum(row["percent_id"] for row in rows) == pytest.approx(100, rel=1e-12)
    assert {"interstitium", "endothelium", "macrophages", "plasma", "kupffer", "degraded"} <= {row["where"] for row in rows}


@pytest.mark.parametrize("refinement", [1, 2])
def test_an_exponential_profile_has_its_half_distance(make_state, refinement):
    """Carriers fall as exp(-d/λ) from a vessel plane; ln 2 λ between voxels is found by straight lines to about h²/(8λ)."""
    length_um = 100.0
    state = tissue(make_state, (24, 8, 8), refinement=refinement)
    h = state.lattice.voxel_um
    state.fields["wall_surface_um2"][0] = 1.0
    distance = h * np.arange(24 * refinement)
    state.fields["nanoparticle"][GAP, 0] = 1000 * np.exp(-distance / length_um)[:, None, None]
    assert penetration_half_distance_um(state) == pytest.approx(np.log(2) * length_um, abs=1.1 * h**2 / (8 * length_um))


def test_around_a_lone_vessel_the_shells_are_centred_on_their_distances(make_state):
    """Distances to a line are no multiples of the voxel: shells half a voxel off would shift the answer by as much."""
    state = tissue(make_state, (52, 41, 41))
    state.fields["wall_surface_um2"][:, 20, 20] = 1.0
    y, x = np.indices((41, 41)) - 20
    state.fields["nanoparticle"][GAP, 0] = np.exp(-15 * np.hypot(y, x) / 150.0)
    assert penetration_half_distance_um(state) == pytest.approx(np.log(2) * 150, abs=0.25 * 15)


def test_what_is_outside_the_tumour_is_not_part_of_the_profile(make_state):
    state = tissue(make_state, (24, 8, 8))
    state.fields["wall_surface_um2"][0] = 1.0
    profile = np.exp(-np.arange(24) * 15 / 100.0)
    state.fields["nanoparticle"][GAP, 0] = profile[:, None, None]
    expected = penetration_half_distance_um(state)
    state.fields["inside"][:, 1] = 0
    state.fields["nanoparticle"][GAP, 0, :, 1] = 77.0
    assert penetration_half_distance_um(state) == pytest.approx(expected)


@pytest.mark.parametrize("profile", ["flat", "steep", "empty"])
def test_a_length_that_is_not_there_or_not_resolved_is_null(make_state, profile):
    state = tissue(make_state, (24, 8, 8))
    state.fields["wall_surface_um2"][0] = 1.0
    distance = 15.0 * np.arange(24)
    values = {"flat": np.ones(24), "steep": np.exp(-distance / 30.0), "empty": np.zeros(24)}[profile]
    state.fields["nanoparticle"][GAP, 0] = values[:, None, None]
    assert penetration_half_distance_um(state) is None


def test_a_cells_cargo_lies_in_all_voxels_of_its_site(make_state, add_cells):
    state = tissue(make_state, (1, 1, 2), refinement=2)
    add_cells(state, "macrophages", [1])["cargo"][0, GAP, 0] = 16
    state.populations["macrophages"]["lysosome"][0, GAP, 1] = 8
    state.fields["nanoparticle"][GAP, 1, 0, 0, 0] = 5
    carriers = tissue_carriers(state)
    assert carriers.sum() == 29
    assert (carriers[:, :, 2:] == 3).all()
    assert carriers[0, 0, 0] == 5


def test_phagocytes_that_came_in_are_told_per_gram_and_day_with_what_each_brought(make_state):
    """On patches that count 3 and 11 times: 2·3 + 5·11 cells in half a day and half a gram, with 610 particles."""
    patches = (Patch("rim", 0, 1, 3), Patch("core", 1, 1, 11))
    state = make_state((2, 1, 1), patches=patches, walls=([0, 1], [1.0, 1.0]))
    series = [{"time_s": 0.0}, {"time_s": 43200.0}]
    without = {"phagocyte_entries_per_g_per_day": None, "phagocyte_mean_load": None}
    assert phagocyte_traffic(state, 0.5, series, 0.0) == without
    state.vessels.arrays["crossings"] = np.array([[2, 0], [0, 5]])
    found = phagocyte_traffic(state, 0.5, series, 610.0)
    assert found == {"phagocyte_entries_per_g_per_day": 61 * 4, "phagocyte_mean_load": 10}
    assert phagocyte_traffic(state, 0.5, [], 0.0)["phagocyte_entries_per_g_per_day"] is None
