"""Carriers that pass heated vessels give up their payload there: extraction along the way, and both ledgers."""

from __future__ import annotations

import numpy as np
import pytest

from tme_sim.processes.base import StateView, Streams
from tme_sim.processes.drug import Drug
from tme_sim.processes.release import Release
from tme_sim.state.drug import RELATIVE_TOLERANCE, audit_drug
from tme_sim.state.errors import InputError
from tme_sim.state.lattice import Patch
from tme_sim.state.ledger import audit, still_loaded
from tme_sim.state.release import HeatTrigger, Reporter
from tme_sim.state.release import Release as Card
from tme_sim.state.reporter import reporter_released
from tme_sim.state.substance import SmallMolecule
from tme_sim.state.vessels import VesselGraph, Vessels

HEAT = HeatTrigger(maximum_per_s=0.5, midpoint_C=40.0, width_K=0.5)
FLOW, HEMATOCRIT, UNBOUND = 500.0, 0.4, 0.05
PLASMA_UM3 = 1e10
RATE = float(HEAT.rate_per_s(42.0))
TWO_PATCHES = (Patch("rim", 0, 4, 1000), Patch("core", 4, 4, 3000))


def vessel(make_state, add_cells, pieces=4, number="continuum", patches=(), wall_um_per_s=0.0, per_s=0.0, **more):
    """A straight vessel of radius 3 µm along z through 8 sites, tissue at 42 °C; 1e9 carriers in plasma, 2 amol each."""
    state = make_state((8, 1, 1), number, patches=patches, plasma_volume_um3=PLASMA_UM3, plasma=10**9)
    z = np.linspace(0, 120.0, pieces + 1)
    first = np.arange(pieces)
    nodes = np.stack([z, np.full_like(z, 7.5), np.full_like(z, 7.5)], axis=1)
    graph = VesselGraph(nodes, np.stack([first, first + 1], axis=1), np.full(pieces, 3.0), np.array([0]), np.array([pieces]))
    state.vessels = Vessels(np.arange(8), np.full(8, 300.0), graph=graph)
    state.vessels.arrays["segment_flow_um3_per_s"] = np.full(pieces, FLOW)
    state.vessels.arrays["segment_hematocrit"] = np.full(pieces, HEMATOCRIT)
    state.fields |= {"lumen_fraction": np.full((8, 1, 1), 0.1), "cell_fraction": np.full((8, 1, 1), 0.6)}
    state.fields["temperature_C"] = np.full((8, 1, 1), 42.0)
    add_cells(state, "tumor_cells", np.arange(8))
    fate = {"bound_per_free": 0.0, "influx_um3_per_s": 1e12, "efflux_per_s": 0.0, "elimination_per_s": 1e9}  # tissue takes all
    sizes = {"diffusivity_um2_per_s": 90.0, "central_volumes": 2.4, "unbound_in_plasma": UNBOUND}
    drug = Drug(
        card=SmallMolecule(wall_permeability_um_per_s=wall_um_per_s, **fate, **sizes), kinds=("tumor_cells",), with_flow=True
    )
    drug.prepare(state, None)
    state.drug["per_particle_amol"][...] = 2.0
    rates = {"plasma_per_s": per_s, "tissue_per_s": 0.0, "cell_per_s": 0.0, "lysosome_per_s": 0.0}
    card = Card(**rates, heat=HEAT, reporter=Reporter(name="dye", per_particle=5.0))
    pools = ("body.plasma", "fields.nanoparticle")
    release = Release(release=card, kinds=(), pools=pools, drug_amol=2.0, with_heat=True, with_flow=True, **more)
    release.prepare(state, None)
    return state, release, drug


def step(process, state, dt_s=60.0):
    view = StateView(state, process.reads, process.writes, state.tick * dt_s)
    process.step(view, dt_s, Streams(1, type(process).__name__, state.tick))


def released(state):
    return float(state.body.pools["plasma"][1])


@pytest.mark.parametrize("pieces", [1, 4])
@pytest.mark.parametrize("flow", [5.0, 500.0, 50_000.0])
def test_what_passes_heat_gives_up_what_its_transit_time_allows(make_state, add_cells, pieces, flow):
    """Q (1 − H) c_L (1 − exp(−k A L/Q)), however the vessel is cut."""
    state, release, _ = vessel(make_state, add_cells, pieces)
    state.vessels.arrays["segment_flow_um3_per_s"][...] = -flow
    step(release, state)
    carried, volume = flow * (1 - HEMATOCRIT), 9 * np.pi * 120 * (1 - HEMATOCRIT)
    per_s = carried * -np.expm1(-RATE * volume / carried) / PLASMA_UM3
    assert released(state) == pytest.approx(-1e9 * np.expm1(-60 * per_s), rel=1e-9)
    assert state.vessels.arrays["segment_source_amol"].sum() == pytest.approx(2 * released(state), rel=1e-12)
    audit(state)


def test_without_exchange_blood_leaves_with_what_was_released_on_its_way(make_state, add_cells):
    """c = k c_L A L/Q at the end of the heated part, where little is released; nothing above it, nothing more below it."""
    state, release, drug = vessel(make_state, add_cells, pieces=8)
    state.vessels.arrays["segment_flow_um3_per_s"][...] = 5e5
    state.fields["temperature_C"][:2] = state.fields["temperature_C"][6:] = 37.0
    step(release, state)
    step(drug, state)
    c = 2 * 1e9 / PLASMA_UM3 * RATE * 9 * np.pi * 60 / 5e5
    along = np.array([0, 0, 1, 3, 5, 7, 8, 8]) / 8
    np.testing.assert_allclose(state.vessels.arrays["segment_drug_mM"], UNBOUND * c * along, rtol=3e-3, atol=1e-12 * c)
    audit_drug(state, still_loaded(state))


def test_a_leaky_wall_takes_its_share_of_what_is_released_in_the_vessel(make_state, add_cells):
    """s (1 − (1 − e^(−r))/r) with r = P S/Q goes into tissue that takes all, for a source that is even along the vessel."""
    carried, ratio = 5e5 * (1 - HEMATOCRIT) / UNBOUND, 0.7
    state, release, drug = vessel(make_state, add_cells, wall_um_per_s=ratio * carried / (8 * 300.0))
    state.vessels.arrays["segment_flow_um3_per_s"][...] = 5e5
    step(release, state)
    source = state.vessels.arrays["segment_source_amol"].sum()
    step(drug, state)
    assert state.fields["drug_in_cells_amol"].sum() == pytest.approx(source * (1 + np.expm1(-ratio) / ratio), rel=2e-3)
    assert not state.vessels.arrays["segment_source_amol"].any()
    audit_drug(state, still_loaded(state))


@pytest.mark.parametrize("number", ["continuum", "stochastic"])
def test_copies_add_up_and_both_ledgers_balance(make_state, add_cells, number):
    """The rim is heated, the core is not: plasma loses what the rim's copies release, and its passive leak besides."""
    state, release, drug = vessel(make_state, add_cells, number=number, patches=TWO_PATCHES, wall_um_per_s=5.0, per_s=1e-6)
    state.fields["temperature_C"][4:] = 37.0
    for _ in range(5):
        step(release, state)
        source = state.vessels.arrays["segment_source_amol"].copy()
        assert source[:2].all()
        assert not source[2:].any()
        step(drug, state)
        state.tick += 1
        audit(state)
    assert audit_drug(state, still_loaded(state)) < RELATIVE_TOLERANCE
    carried = FLOW * (1 - HEMATOCRIT)
    heated = 1000 * carried * -np.expm1(-RATE * 9 * np.pi * 60 * (1 - HEMATOCRIT) / carried) / PLASMA_UM3
    gone = -np.expm1(-(heated + 1e-6) * 300)
    spread = 4.5 * np.sqrt(1e9 * gone * (1 - gone)) if number == "stochastic" else 1e-3
    assert abs(released(state) - 1e9 * gone) < spread
    found = reporter_released(state)
    assert found["heated_vessels"] == pytest.approx(5 * released(state) * heated / (heated + 1e-6), rel=1e-9)
    assert found["plasma"] + found["heated_vessels"] == pytest.approx(5 * released(state), rel=1e-12)


def test_blood_that_stands_and_blood_at_37_releases_nothing_more(make_state, add_cells):
    for change in ("stand", "cool"):
        state, release, _ = vessel(make_state, add_cells)
        if change == "stand":
            state.vessels.arrays["segment_flow_um3_per_s"][...] = 0.0
        else:
            state.fields["temperature_C"][...] = 37.0
        step(release, state)
        assert released(state) == 0


def test_vessels_without_a_graph_or_flow_are_refused(make_state):
    state = make_state((1, 1, 1), walls=([0], [1.0]))
    rates = {"plasma_per_s": 0.0, "tissue_per_s": 0.0, "cell_per_s": 0.0, "lysosome_per_s": 0.0}
    given = {"release": Card(**rates, heat=HEAT), "kinds": (), "pools": ("body.plasma",), "with_heat": True}
    with pytest.raises(InputError, match="needs vessels as a graph"):
        Release(**given, with_flow=True).prepare(state, None)
    with pytest.raises(InputError, match="in_vessels true: needs perfusion"):
        Release(**given)


def test_without_release_in_vessels_heat_leaves_the_blood_as_it_is(make_state, add_cells):
    state, release, _ = vessel(make_state, add_cells, in_vessels=False)
    step(release, state)
    assert released(state) == 0
    assert not state.vessels.arrays["segment_source_amol"].any()


@pytest.mark.parametrize("number", ["continuum", "stochastic"])
def test_a_heated_tumour_gets_more_drug_and_a_second_pulse_more_again(simulate, number):
    """Thermosensitive liposomes in a run of all that takes part; the ledger is audited at the end of each arm."""
    processes = "processes=[circulation,perfusion,gaps,transcytosis,transport,heat,release,drug]"
    words = ["nanoparticle=liposome_topotecan_thermo", "drug=docetaxel", processes, f"number={number}", "protocol.duration=40min"]
    words += ["protocol.dose=1e12particles", "processes.release.interval=60s", "processes.drug.interval=60s"]
    found = []
    for pulses in (
        "[]",
        "[{start: 5 min, duration: 3 min}]",
        "[{start: 5 min, duration: 3 min}, {start: 20 min, duration: 3 min}]",
    ):
        simulation = simulate(*words, f"processes.heat.pulses={pulses}")
        simulation.run(2400.0)
        state = simulation.state
        audit(state)
        found.append(state.fields["drug_in_cells_amol"].sum() + (state.fields["drug_mM"] * state.lattice.voxel_um3).sum())
    assert found[0] < found[1] < found[2]
