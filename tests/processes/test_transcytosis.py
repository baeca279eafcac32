"""The wall carries P·S·C_p through, later, and a fifth of it carries all."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest
from scipy.stats import gamma

from tme_sim.processes.circulation import Circulation
from tme_sim.processes.gaps import Gaps
from tme_sim.processes.transcytosis import Transcytosis, vesicle_share
from tme_sim.state.state import flatten
from tme_sim.state.substance import Clearance, Receptors
from tme_sim.state.variables import ROUTES
from tme_sim.state.vessels import VesselGraph
from tme_sim.tissues.rasterise import rasterise

ROUTE = ROUTES.index("transcytosis")
TRANSIT_S, STAGES = 1800.0, 3


def transcytosis(**changes):
    settings = {
        "transit_time_s": TRANSIT_S,
        "stages": STAGES,
        "recycled_fraction": 0.0,
        "active_fraction": 1.0,
        "permeability_um_per_s": 1e-4,
    }
    return Transcytosis(**(settings | changes))


def prepared(state, process, seed=0):
    process.prepare(state, lambda purpose: np.random.default_rng(seed))
    return state


@pytest.mark.parametrize("step_s", [60.0, 300.0, 1800.0])
def test_a_pulse_arrives_as_an_erlang_chain_lets_it_whatever_the_step(make_state, advance, step_s):
    """Delivered by t: the gamma distribution of shape n and mean T."""
    process = transcytosis(permeability_um_per_s=0.0)
    state = prepared(make_state(walls=([0], [1.0])), process)
    state.vessels.arrays["endothelium"][0, 0, 0] = 1.0
    for step in range(1, round(5 * TRANSIT_S / step_s)):
        advance(state, process, step_s, 1)
        expected = gamma.cdf(step * step_s, STAGES, scale=TRANSIT_S / STAGES)
        assert state.fields["nanoparticle"][ROUTE, 0].item() == pytest.approx(expected, abs=1e-12)


def test_recycling_returns_its_share_of_what_was_taken_up(make_state, advance):
    process = transcytosis(recycled_fraction=0.4, permeability_um_per_s=0.0)
    state = prepared(make_state(walls=([0], [1.0])), process)
    state.vessels.arrays["endothelium"][0, :, 0] = [600.0, 400.0]
    advance(state, process, 60, 1000)
    assert state.body.pools["plasma"] == pytest.approx([240, 160], rel=1e-9)
    assert state.ledger.returned[0, ROUTE] == pytest.approx([240, 160], rel=1e-9)
    assert state.fields["nanoparticle"][ROUTE, :, 0, 0, 0] == pytest.approx([360, 240], rel=1e-9)


@pytest.mark.parametrize("recycled", [0.0, 0.5])
def test_all_that_is_delivered_is_permeability_times_surface_times_the_integral_of_plasma(make_state, advance, recycled):
    """C_p = C0 exp(-kt): P·S·C0/k (1 - exp(-kT)), in first order of the step since C_p is taken at its end."""
    k, surface, days_s, dose, volume = 2e-5, 500.0, 4 * 86400.0, 1e12, 1e12
    exact = 1e-4 * surface * dose / volume / k * -np.expm1(-k * days_s)
    errors = []
    for step_s in (600.0, 300.0):
        circulation = Circulation(
            clearance=Clearance(model="compartments", sinks_per_s={"elsewhere": k}),
            dose=dose,
            dose_times_s=(0.0,),
            infusion_s=0.0,
            curve=None,
        )
        process = transcytosis(recycled_fraction=recycled)
        state = make_state(plasma_volume_um3=volume, walls=([0], [surface]))
        for each in (circulation, process):
            prepared(state, each)
        advance(state, {"circulation": circulation, "transcytosis": process}, step_s, round(days_s / step_s))
        arrived = state.fields["nanoparticle"].sum() + state.vessels.arrays["endothelium"].sum() * (1 - recycled)
        errors.append(arrived / exact - 1)
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.05)
    assert abs(errors[1]) < k * 300


def test_the_active_share_of_the_endothelium_carries_all(make_state, advance):
    """Of 8000 sites Binomial(8000, 0.21) are active; |z| < 4 has probability 1 - 6e-5."""
    n = 20**3
    surface = np.linspace(10, 100, n)
    process = transcytosis(active_fraction=0.21, recycled_fraction=0.5)
    state = prepared(make_state((20, 20, 20), walls=(np.arange(n), surface), plasma=1e12), process)
    activity = state.vessels.arrays["activity"]
    assert abs((activity > 0).mean() - 0.21) < 4 * np.sqrt(0.21 * 0.79 / n)
    assert (activity @ surface) / surface.sum() == pytest.approx(1, rel=1e-12)
    advance(state, process, 60, 1)
    entered = state.vessels.arrays["endothelium"].sum(axis=(0, 1))
    assert (entered[activity == 0] == 0).all()
    assert entered.sum() == pytest.approx(1e-4 / 0.5 * surface.sum() * 60, rel=1e-6)
    np.testing.assert_allclose(entered, entered.sum() * activity * surface / surface.sum(), rtol=1e-9)


def test_the_voxels_of_a_site_share_one_endothelium(make_state):
    process = transcytosis(active_fraction=0.3)
    state = prepared(make_state((4, 4, 4), refinement=2, walls=(np.arange(512), np.ones(512))), process)
    site = state.lattice.site_of_voxel(np.arange(512))
    active = state.vessels.arrays["activity"] > 0
    per_site = np.bincount(site, active)
    assert set(per_site.tolist()) == {0.0, 8.0}


def test_a_wall_with_one_site_is_active_however_few_are(make_state):
    process = transcytosis(active_fraction=1e-9)
    state = prepared(make_state((1, 1, 2), walls=([0, 1], [1.0, 2.0])), process)
    assert state.vessels.arrays["activity"].tolist() == [0.0, 1.5]


@pytest.mark.parametrize("refinement", [1, 2, 3])
def test_a_straight_tube_passes_permeability_times_lateral_surface_times_plasma(make_state, advance, refinement):
    """The wall reaches the process through the graph and its rasterisation: S = 2πrL, whatever the mesh."""
    sites, radius_um, length_um = (8, 6, 6), 7.0, 90.0
    graph = VesselGraph(np.array([[15.0, 41, 47], [105, 41, 47]]), np.array([[0, 1]]), np.array([radius_um]))
    _, wall = rasterise(graph, tuple(n * refinement for n in sites), 15.0 / refinement)
    voxel = np.flatnonzero(wall)
    state = make_state(sites, refinement=refinement, plasma=1e12, plasma_volume_um3=1e12, walls=(voxel, wall.ravel()[voxel]))
    process = prepared(state, p := transcytosis(recycled_fraction=0.5)) and p
    hours = 10 * 3600.0
    advance(state, process, 60, round(hours / 60))
    before = state.fields["nanoparticle"].sum()
    advance(state, process, 60, 60)
    surface = 2 * pi * radius_um * length_um
    assert (state.fields["nanoparticle"].sum() - before) / 3600 == pytest.approx(1e-4 * surface, rel=1e-6)
    gaps = Gaps(pore_radius_um=0.25, wall_length_um=0.5, area_fraction=5e-4, diameter_um=1e-6, diffusivity_um2_per_s=1e-3)
    per_area = 4 * 0.1 * 1e-3 * 0.25 * 5e-4 / (pi * 0.25**2)  # access-limited
    assert gaps.entry_um3_per_s(state) == pytest.approx(per_area * surface, rel=1e-4)


def test_where_no_blood_passes_nothing_is_taken_up_and_what_is_under_way_arrives(make_state, advance):
    state = prepared(make_state((1, 1, 3), walls=([0, 1, 2], [1.0, 1.0, 1.0]), plasma=1e15), transcytosis())
    state.vessels.arrays["perfused"][:] = [1, 0, 0.25]
    advance(state, transcytosis(), 60, 1)
    taken = state.vessels.arrays["endothelium"].sum(axis=(0, 1))
    assert taken == pytest.approx(taken[0] * np.array([1, 0, 0.25]), rel=1e-12)
    assert taken[0] > 0
    state.vessels.arrays["perfused"][:] = 0
    advance(state, transcytosis(), 60, 1000)
    assert state.fields["nanoparticle"].sum(axis=(0, 1)).ravel() == pytest.approx(taken, rel=1e-9)


@pytest.mark.parametrize(("diameter_nm", "share"), [(0, 1.0), (15, 0.9409), (100, 0.64), (500, 0.0), (900, 0.0)])
def test_vesicles_take_up_less_of_what_is_large(make_state, advance, diameter_nm, share):
    process = transcytosis(vesicle_radius_um=0.25, diameter_um=diameter_nm / 1000)
    state = prepared(make_state(walls=([0], [500.0]), plasma=1e15), process)
    advance(state, process, 60, 1)
    assert state.vessels.arrays["endothelium"].sum() == pytest.approx(share * 1e-4 * 500 * 1e3 * 60, rel=1e-6)


def test_without_a_vesicle_the_cards_permeability_is_the_particles_own():
    assert vesicle_share(0.5, None) == 1


@pytest.mark.parametrize("over_half", [1e-3, 1.0, 1e3])
def test_receptors_saturate_as_michaelis_and_menten_say(make_state, advance, over_half):
    """Taken up per area and second: maximum · C/(K + C)."""
    process = transcytosis(permeability_um_per_s=0.0, receptors=Receptors(maximum_per_um2_s=2e-3, half_saturation_per_um3=5.0))
    state = prepared(make_state(walls=([0], [500.0]), plasma=5e12 * over_half), process)
    advance(state, process, 1, 1)
    expected = 2e-3 * 500 * over_half / (1 + over_half)
    assert state.vessels.arrays["endothelium"].sum() == pytest.approx(expected, rel=1e-6)


def test_receptors_and_fluid_phase_add_up(make_state):
    process = transcytosis(receptors=Receptors(maximum_per_um2_s=1e-3, half_saturation_per_um3=10.0))
    state = make_state(walls=([0], [500.0]))
    assert process.entry_um3_per_s(state) == pytest.approx(500 * (1e-4 + 1e-3 / 10))


def test_without_transcytosis_what_it_does_not_touch_has_the_same_bits(simulate):
    """Gaps draw from the plasma that transcytosis takes from; where they are, open and shut, and the flow do not depend on it."""
    found = []
    for enabled in ("true", "false"):
        words = ("processes=[circulation,perfusion,interstitial_flow,gaps,bursts,transcytosis,transport]", "number=stochastic")
        run = simulate(*words, "processes.bursts.opening_rate=1/h", f"processes.transcytosis.enabled={enabled}")
        for _ in range(10):
            run.step()
        found.append(flatten(run.state))
    with_it, without = found
    both = ("vessels.perfused", "vessels.segment_", "fields.interstitial_", "fields.accessible", "populations.gaps.")
    same = [name for name in without if name.startswith(both) and not name.endswith(".entered")]
    assert {"populations.gaps.open", "populations.gaps.voxel", "fields.interstitial_pressure_mmHg"} <= set(same)
    for name in same:
        np.testing.assert_array_equal(with_it[name], without[name], err_msg=name)
    assert "vessels.endothelium" not in without
    assert with_it["vessels.endothelium"].any()


def test_an_idle_transcytosis_leaves_every_other_process_its_bits(simulate, digests):
    found = []
    for words in (("nanoparticle.transcytosis_permeability=0 cm/s",), ("processes.transcytosis.enabled=false",)):
        run = simulate("processes=[circulation,gaps,transcytosis,transport,uptake]", "number=stochastic", *words)
        for _ in range(10):
            run.step()
        found.append({name: bits for name, bits in digests(run.state).items() if not name.startswith("vessels.")})
    assert found[0] == found[1]
