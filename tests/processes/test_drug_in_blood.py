"""Drug in blood that flows: extraction after Renkin and Crone, washout limited by flow, and nothing is lost on the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tme_sim.processes import drug as drug_module
from tme_sim.processes.base import StateView, Streams
from tme_sim.processes.drug import IN_PLASMA, Drug
from tme_sim.state.drug import RELATIVE_TOLERANCE, audit_drug
from tme_sim.state.errors import InputError, ModelError
from tme_sim.state.lattice import Patch
from tme_sim.state.ledger import still_loaded
from tme_sim.state.state import flatten, restore
from tme_sim.state.substance import SmallMolecule
from tme_sim.state.vessels import VesselGraph, Vessels

CARD = SmallMolecule(
    diffusivity_um2_per_s=90.0,
    bound_per_free=8.0,
    wall_permeability_um_per_s=1.0,
    influx_um3_per_s=200.0,
    efflux_per_s=0.003,
    unbound_in_plasma=0.05,
    central_volumes=2.4,
    elimination_per_s=0.0,
    peripheral={},
)
EMPTY_TISSUE = {"influx_um3_per_s": 1e12, "efflux_per_s": 0.0}  # cells take all that comes
EMPTY_PLASMA = {"elimination_per_s": 1e9}
PASSIVE = {"influx_um3_per_s": 0.0, "efflux_per_s": 0.0, "bound_per_free": 0.0}
HEMATOCRIT, FLOW, SURFACE = 0.4, 500.0, 300.0


def vessel(make_state, add_cells, card, sites=8, pieces=4, flow=FLOW, patches=(), with_flow=True):
    """A straight vessel along z through a row of sites, wall and a cell in each; blood runs in its first patch only."""
    state = make_state((sites, 1, 1), patches=patches, plasma_volume_um3=1e15)
    z = np.linspace(0, sites * 15.0, pieces + 1)
    first = np.arange(pieces)
    nodes = np.stack([z, np.full_like(z, 7.5), np.full_like(z, 7.5)], axis=1)
    graph = VesselGraph(nodes, np.stack([first, first + 1], axis=1), np.full(pieces, 3.0), np.array([0]), np.array([pieces]))
    state.vessels = Vessels(np.arange(sites), np.full(sites, SURFACE), graph=graph)
    state.vessels.arrays["segment_flow_um3_per_s"] = np.full(pieces, flow)
    state.vessels.arrays["segment_hematocrit"] = np.full(pieces, HEMATOCRIT)
    state.fields["lumen_fraction"] = np.full(state.lattice.voxels, 0.1)
    state.fields["cell_fraction"] = np.full(state.lattice.voxels, 0.6)
    add_cells(state, "tumor_cells", np.arange(sites))
    process = Drug(card=card, kinds=("tumor_cells",), with_flow=with_flow)
    process.prepare(state, None)
    return state, process


def step(process, state, dt_s=600.0):
    view = StateView(state, process.reads, process.writes, state.tick * dt_s)
    process.step(view, dt_s, Streams(1, "drug", state.tick))
    state.tick += 1


def put_in_plasma(state, amol):
    state.drug["body_amol"][0] += amol
    state.drug["released_amol"][-1] += amol


def unbound_mM(state, card):
    return state.drug["body_amol"][0] * card.unbound_in_plasma / (state.body.plasma_volume_um3 * card.central_volumes)


@pytest.mark.parametrize("ratio", [0.01, 0.5, 3.0, 30.0])
@pytest.mark.parametrize("pieces", [1, 4])
def test_a_vessel_gives_an_empty_tissue_what_renkin_and_crone_say(make_state, add_cells, ratio, pieces):
    """E = 1 - exp(-PS/Q) of Q c_u/f_u (1 - H), however it is cut into segments; the rest goes back to the body."""
    carried = FLOW * (1 - HEMATOCRIT) / 0.05
    card = replace(CARD, wall_permeability_um_per_s=ratio * carried / (8 * SURFACE), **EMPTY_TISSUE)
    state, process = vessel(make_state, add_cells, card, pieces=pieces)
    put_in_plasma(state, 1e12)
    step(process, state)
    given = -state.drug["washed_out_amol"][0] / 600.0
    assert given == pytest.approx(-np.expm1(-ratio) * carried * unbound_mM(state, card), rel=1e-5)
    assert state.fields["drug_in_cells_amol"].sum() == pytest.approx(600.0 * given, rel=1e-6)
    mean = state.vessels.arrays["segment_drug_mM"].mean() / unbound_mM(state, card)
    assert mean == pytest.approx(-np.expm1(-ratio) / ratio, rel=1e-5)
    assert audit_drug(state, 0.0) < RELATIVE_TOLERANCE


@pytest.mark.parametrize("ratio", [0.1, 1.0, 20.0])
def test_what_tissue_releases_leaves_as_fast_as_blood_can_carry_it(make_state, add_cells, ratio):
    """Tissue of one concentration c, as diffusion is fast: at rest Q (1 - e^(-PS/Q)) c goes, for leaky walls no more than Q c."""
    carried = FLOW * (1 - HEMATOCRIT) / 0.05
    card = replace(CARD, **PASSIVE, **EMPTY_PLASMA, diffusivity_um2_per_s=1e9)
    card = replace(card, wall_permeability_um_per_s=ratio * carried / (8 * SURFACE))
    state, process = vessel(make_state, add_cells, card)
    for _ in range(3):
        state.fields["drug_source_amol"] += 1e6
        state.drug["released_amol"][0] += 8e6
        step(process, state, 1e6)
    np.testing.assert_allclose(state.fields["drug_mM"], 8 / (carried * -np.expm1(-ratio)), rtol=1e-4)
    assert audit_drug(state, 0.0) < RELATIVE_TOLERANCE


def test_drug_released_in_the_blood_on_its_way_is_shared_by_tissue_and_vein(make_state, add_cells):
    """Into an empty tissue goes s (1 - (1 - e^(-k))/k), k = PS/Q, of what is released in the vessel's plasma."""
    carried, ratio = FLOW * (1 - HEMATOCRIT) / 0.05, 0.7
    card = replace(CARD, **EMPTY_TISSUE, elimination_per_s=1e3, wall_permeability_um_per_s=ratio * carried / (8 * SURFACE))
    state, process = vessel(make_state, add_cells, card)
    state.drug["waiting_amol"][IN_PLASMA] = state.drug["released_amol"][-1] = 1e15
    step(process, state)
    released = 1e15 / 1e15 * (1 - HEMATOCRIT) * np.pi * 9 * 120
    expected = released * (1 + np.expm1(-ratio) / ratio)
    assert state.fields["drug_in_cells_amol"].sum() == pytest.approx(expected, rel=3e-4)
    assert audit_drug(state, 0.0) < RELATIVE_TOLERANCE


def test_blood_that_runs_fast_is_plasma_that_is_the_same_everywhere(make_state, add_cells):
    found = []
    for with_flow in (False, True):
        state, process = vessel(make_state, add_cells, CARD, flow=1e12, with_flow=with_flow)
        put_in_plasma(state, 1e12)
        state.fields["drug_source_amol"][3] = state.drug["released_amol"][0] = 50.0
        for _ in range(3):
            step(process, state)
        found.append(state.fields["drug_mM"])
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_standing_blood_and_shut_walls_take_nothing(make_state, add_cells):
    for flow, perfused in ((0.0, 0.0), (FLOW, 0.0)):
        state, process = vessel(make_state, add_cells, CARD, flow=flow)
        state.vessels.arrays["perfused"][...] = perfused
        put_in_plasma(state, 1e12)
        state.fields["drug_source_amol"][...] = 1.0
        state.drug["released_amol"][0] = 8.0
        step(process, state)
        assert state.drug["washed_out_amol"][0] == 0
        assert audit_drug(state, 0.0) < RELATIVE_TOLERANCE


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32), dt_s=st.sampled_from([1.0, 600.0, 1e5]))
def test_nothing_is_lost_between_tissue_blood_and_body(make_state, add_cells, seed, dt_s):
    """Random walls, flows either way, sources in tissue, cells, plasma and organs, on two patches of many copies."""
    random = np.random.default_rng(seed)
    card = replace(
        CARD, elimination_per_s=1e-4, unbound_in_plasma=random.random(), wall_permeability_um_per_s=10 ** random.normal()
    )
    patches = (Patch("rim", 0, 4, 10**6), Patch("core", 4, 4, 3))
    state, process = vessel(make_state, add_cells, card, patches=patches)
    for _ in range(5):
        state.vessels.arrays["segment_flow_um3_per_s"][...] = random.choice([-1, 1]) * 10 ** random.normal(2, 2)
        state.vessels.arrays["perfused"][...] = random.random(8) < 0.7
        for name in ("drug_source_amol", "drug_source_in_cells_amol"):
            amol = random.random((8, 1, 1)) ** 5
            state.fields[name] += amol
            state.drug["released_amol"][:2] += amol[:4].sum(), amol[4:].sum()
        waiting = 1e9 * random.random(2)
        state.drug["waiting_amol"] += waiting
        state.drug["released_amol"][-1] += waiting.sum()
        step(process, state, dt_s)
        assert audit_drug(state, 0.0) < RELATIVE_TOLERANCE
    amounts = [state.fields["drug_mM"], state.fields["drug_in_cells_amol"], state.vessels.arrays["segment_drug_mM"]]
    assert min(a.min() for a in [*amounts, state.drug["body_amol"], state.drug["cleared_amol"]]) >= 0


def test_blood_and_tissue_that_do_not_agree_are_told_with_the_time(make_state, add_cells, monkeypatch):
    monkeypatch.setattr(drug_module, "MOST_ROUNDS", 1)
    state, process = vessel(make_state, add_cells, CARD)
    put_in_plasma(state, 1e12)
    state.tick = 2
    with pytest.raises(ModelError, match="drug: blood and tissue at 1200 s: no balance after 1 rounds"):
        step(process, state)


def test_a_tissue_that_only_knows_its_wall_is_refused(make_state):
    with pytest.raises(InputError, match="needs vessels as a graph"):
        Drug(card=CARD, kinds=(), with_flow=True).prepare(make_state(walls=([0], [1.0])), None)


RUN = ("processes=[circulation,perfusion,gaps,transcytosis,transport,binding,uptake,release,drug]", "number=continuum")


def test_a_network_gives_an_empty_tissue_what_its_mixing_says(simulate):
    """The network of a run: Σ Q c in = Σ Q c out at every node with e^(-PS/Q) along each segment, as one linear system."""
    simulation = simulate(*RUN, "drug.transport.influx=1e6um^3/s", "drug.transport.efflux=0/s", "drug.transport.bound_per_free=0")
    state, process = simulation.state, simulation.processes["drug"]
    process.card = card = replace(process.card, **EMPTY_TISSUE, diffusivity_um2_per_s=1e-9, elimination_per_s=0.0, peripheral={})
    process.prepare(state, None)
    put_in_plasma(state, 1e9)
    before = unbound_mM(state, card)
    view = StateView(state, process.reads, process.writes, 0.0)
    process.step(view, 600.0, Streams(1, "drug", 0))
    graph, arrays, plasma = state.vessels.graph, state.vessels.arrays, (before + unbound_mM(state, card)) / 2
    flow = arrays["segment_flow_um3_per_s"] * (1 - arrays["segment_hematocrit"]) / card.unbound_in_plasma
    upper = np.where(flow > 0, graph.segments[:, 0], graph.segments[:, 1])
    lower = np.where(flow > 0, graph.segments[:, 1], graph.segments[:, 0])
    n, flow = len(graph.nodes_um), np.abs(flow)
    clears = card.wall_permeability_um_per_s * state.vessels.surface_um2 * arrays["perfused"]
    surface = np.bincount(process._segment, clears, len(flow))
    weighed = np.bincount(process._segment, clears * state.fields["drug_mM"].ravel()[state.vessels.voxel], len(flow))
    outside = np.divide(weighed, surface, out=np.zeros(len(flow)), where=surface > 0)
    left = np.exp(-np.divide(surface, flow, out=np.zeros(len(flow)), where=flow > 0))
    system = np.diag(np.bincount(lower, flow, n) + np.maximum(np.bincount(upper, flow, n) - np.bincount(lower, flow, n), 0))
    right = np.maximum(np.bincount(upper, flow, n) - np.bincount(lower, flow, n), 0) * plasma
    np.add.at(system, (lower, upper), -flow * left)
    right += np.bincount(lower, flow * (1 - left) * outside, n)
    idle = np.diag(system) == 0
    system[idle, idle] = 1.0
    node = np.linalg.solve(system, right)
    given = (flow * (1 - left) * (node[upper] - outside)).sum()
    assert -state.drug["washed_out_amol"].sum() / 600.0 == pytest.approx(given, rel=1e-4)
    assert given > 0.01 * clears.sum() * plasma


@pytest.mark.slow
@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_a_run_is_some_steps_a_checkpoint_and_the_rest_with_drug_in_the_blood(simulate, digests, number):
    words = (*RUN[:1], f"number={number}", "protocol.dose=1e12particles", "processes.perfusion.closed_fraction=0.4")
    whole, first, second = simulate(*words), simulate(*words), simulate(*words)
    whole.run(7200)
    first.run(2400)
    restore(second.state, {name: array.copy() for name, array in flatten(first.state).items()}, first.state.tick)
    second.run(7200)
    assert digests(second.state) == digests(whole.state)
    assert audit_drug(whole.state, still_loaded(whole.state)) < RELATIVE_TOLERANCE
    assert whole.state.vessels.arrays["segment_drug_mM"].max() > 0
