"""Blood runs where pressure drives it, vessels shut and open with the times asked for, and what is shut carries nothing."""

from __future__ import annotations

import numpy as np
import pytest

from tme_sim.analysis.measures import blood_in_tumor, blood_velocity_um_per_s, perfused_fraction
from tme_sim.numerics import network
from tme_sim.numerics.network import relative_viscosity
from tme_sim.processes.base import StateView, Streams
from tme_sim.processes.perfusion import Perfusion
from tme_sim.state.blood import nearest_segment
from tme_sim.state.errors import InputError, ModelError
from tme_sim.state.lattice import Lattice, Patch
from tme_sim.state.state import flatten, restore
from tme_sim.state.vessels import VesselGraph, Vessels

WITH_PERFUSION = "processes=[circulation,perfusion,gaps,transcytosis,transport,binding,uptake,release]"
ALWAYS_OPEN = "processes.perfusion.closed_fraction=0"


def perfusion(**changes):
    settings = {
        "pressure_gradient_mmHg_per_um": 1e-3,
        "pressure_drop_mmHg": None,
        "hematocrit": 0.45,
        "plasma_viscosity_Pa_s": 1.2e-3,
        "closed_fraction": 0.0,
        "closed_time_s": 1200.0,
        "stagnant_below_um_per_s": 1.0,
    }
    return Perfusion(**(settings | changes))


def bars(count, pieces=1, radius_um=5.0, site_um=15.0, sites=8):
    """Straight vessels along z, two sites apart, each in `pieces` segments; the walls are the voxels they run through."""
    lattice = Lattice((sites, 1, 2 * count), site_um)
    z = np.linspace(0, sites * site_um, pieces + 1)
    nodes = [(height, site_um / 2, (2 * bar + 0.5) * site_um) for bar in range(count) for height in z]
    first = (np.arange(count)[:, None] * (pieces + 1) + np.arange(pieces)).ravel()
    ends = np.arange(count) * (pieces + 1)
    graph = VesselGraph(
        np.array(nodes), np.stack([first, first + 1], axis=1), np.full(len(first), radius_um), ends, ends + pieces
    )
    voxel = np.flatnonzero(np.arange(lattice.n_voxels) % (2 * count) % 2 == 0)
    return lattice, graph, voxel


def with_vessels(make_state, lattice, graph, voxel):
    state = make_state(lattice.sites, site_um=lattice.site_um, patches=lattice.patches)
    state.vessels = Vessels(voxel, np.ones(len(voxel)), graph=graph)
    return state


def prepared(state, process, seed=0):
    process.prepare(state, lambda purpose: np.random.default_rng(seed))
    return process


def test_blood_in_a_straight_vessel_has_poiseuilles_velocity(make_state):
    """v = r² Δp/(8 μ L); 1 mmHg/mm is 133.3 Pa/mm."""
    state = with_vessels(make_state, *bars(3, pieces=4))
    prepared(state, perfusion())
    viscosity = 1.2e-3 * relative_viscosity(np.array([10.0]), 0.45).item()
    expected = 133.322 / 1e-3 * (5e-6) ** 2 / (8 * viscosity) * 1e6
    arrays = state.vessels.arrays
    np.testing.assert_allclose(arrays["segment_velocity_um_per_s"], expected, rtol=1e-5)
    np.testing.assert_allclose(arrays["segment_flow_um3_per_s"], expected * np.pi * 25, rtol=1e-5)
    np.testing.assert_array_equal(arrays["perfused"], 1)
    assert blood_velocity_um_per_s(state) == pytest.approx(expected, rel=1e-5)
    assert perfused_fraction(state) == 1


def test_a_gradient_and_the_drop_it_makes_over_the_length_give_the_same_flow(make_state):
    flows = []
    for how in ({}, {"pressure_gradient_mmHg_per_um": None, "pressure_drop_mmHg": 0.12}):
        state = with_vessels(make_state, *bars(2))
        prepared(state, perfusion(**how))
        flows.append(state.vessels.arrays["segment_flow_um3_per_s"])
    np.testing.assert_allclose(*flows, rtol=1e-12)


def test_blood_slower_than_asked_for_does_not_perfuse(make_state):
    lattice, graph, voxel = bars(2)
    graph.radius_um[1] = 2.5
    state = with_vessels(make_state, lattice, graph, voxel)
    prepared(state, perfusion())
    fast, slow = np.abs(state.vessels.arrays["segment_velocity_um_per_s"])
    assert slow < fast / 4
    prepared(state, perfusion(stagnant_below_um_per_s=(slow + fast) / 2))
    of_first_bar = voxel % 4 == 0
    np.testing.assert_array_equal(state.vessels.arrays["perfused"], of_first_bar)
    assert perfused_fraction(state) == 0.5


def test_a_shut_vessel_carries_nothing_along_its_whole_length(make_state):
    state = with_vessels(make_state, *bars(40, pieces=5))
    prepared(state, perfusion(closed_fraction=0.5), seed=3)
    arrays = state.vessels.arrays
    is_open = arrays["segment_open"].reshape(40, 5)
    assert set(is_open.sum(axis=1).tolist()) == {0, 5}
    np.testing.assert_array_equal(arrays["segment_flow_um3_per_s"].reshape(40, 5) > 0, is_open == 1)
    per_bar = arrays["perfused"].reshape(8, 40)
    np.testing.assert_array_equal(per_bar, np.broadcast_to(is_open[:, 0], per_bar.shape))


def test_a_wall_belongs_to_the_segment_whose_axis_is_nearest():
    lattice, graph, voxel = bars(4, pieces=2)
    z, _, x = np.unravel_index(voxel, lattice.voxels)
    np.testing.assert_array_equal(nearest_segment(graph, voxel, lattice), x // 2 * 2 + (z >= 4))


def test_vessels_stay_shut_and_open_for_exponential_times_of_the_means_asked_for(make_state, advance):
    """2000 vessels, 40 steps of a quarter of the closed time; five numbers, each with |z| < 4, which fails once in 16 000.

    In one step P(open → shut) = f (1 - e^(-k dt)) and P(shut → open) = (1-f)(1 - e^(-k dt)), k = 1/((1-f) T), and both have no
    memory: of the spells that begin, (1 - P)^3 last three more steps.
    """
    fraction, time_s, step_s = 0.3, 1200.0, 300.0
    state = with_vessels(make_state, *bars(2000, sites=1))
    process = prepared(state, perfusion(closed_fraction=fraction, closed_time_s=time_s))
    seen = [state.vessels.arrays["segment_open"].copy()]
    for _ in range(40):
        advance(state, process, step_s, 1)
        seen.append(state.vessels.arrays["segment_open"].copy())
    before, after = np.array(seen[:-1]), np.array(seen[1:])
    relaxed = -np.expm1(-step_s / (time_s * (1 - fraction)))
    for state_before, expected in ((1, fraction * relaxed), (0, (1 - fraction) * relaxed)):
        trials = np.count_nonzero(before == state_before)
        switched = np.count_nonzero((before == state_before) & (after != before))
        assert abs(switched - trials * expected) < 4 * np.sqrt(trials * expected * (1 - expected))
        begins = (before[:-3] != state_before) & (after[:-3] == state_before)
        lasts = begins & (after[1:-2] == state_before) & (after[2:-1] == state_before) & (after[3:] == state_before)
        spells, kept = np.count_nonzero(begins), (1 - expected) ** 3
        assert abs(np.count_nonzero(lasts) - spells * kept) < 4 * np.sqrt(spells * kept * (1 - kept))
    shut = np.count_nonzero(seen[0] == 0)
    assert abs(shut - 2000 * fraction) < 4 * np.sqrt(2000 * fraction * (1 - fraction))


def test_the_times_do_not_depend_on_the_step(make_state, advance):
    """A vessel open at first is still or again open after an hour with probability 1 - f (1 - e^(-k t)), however it is cut."""
    fraction, total_s, n = 0.4, 3600.0, 4000
    expected = 1 - fraction * -np.expm1(-total_s / (1800.0 * (1 - fraction)))
    for steps in (1, 12):
        state = with_vessels(make_state, *bars(n, sites=1))
        process = prepared(state, perfusion(closed_fraction=fraction, closed_time_s=1800.0))
        state.vessels.arrays["segment_open"][:] = 1
        advance(state, process, total_s / steps, steps)
        found = np.count_nonzero(state.vessels.arrays["segment_open"])
        assert abs(found - n * expected) < 4 * np.sqrt(n * expected * (1 - expected))


def test_vessels_that_differ_after_twenty_minutes_are_as_many_as_were_stained(configure):
    """8.9 ± 2.4 % by the card's values: 2 f (1-f)(1 - e^(-k t)) (Trotter 1989)."""
    card = configure(WITH_PERFUSION).processes["perfusion"].values
    f, time_s = card["closed_fraction"], card["closed_time_s"]
    differ = 2 * f * (1 - f) * -np.expm1(-1200 / (time_s * (1 - f)))
    assert differ == pytest.approx(0.089, abs=0.005)


def test_no_time_changes_nothing(make_state, digests):
    state = with_vessels(make_state, *bars(50))
    process = prepared(state, perfusion(closed_fraction=0.5))
    before = digests(state)
    process.step(StateView(state, process.reads, process.writes, 0.0), 0.0, Streams(1, "perfusion", 0))
    assert digests(state) == before


def test_vessels_that_never_shut_leave_the_flow_as_it_is(make_state, advance, digests):
    state = with_vessels(make_state, *bars(5))
    process = prepared(state, perfusion())
    before = digests(state)
    advance(state, process, 3600.0, 5)
    state.tick = 0
    assert digests(state) == before


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_a_run_with_vessels_that_shut_is_some_steps_a_checkpoint_and_the_rest(simulate, digests, number):
    words = (WITH_PERFUSION, f"number={number}", "protocol.dose=1e12particles", "processes.perfusion.closed_fraction=0.4")
    whole = simulate(*words)
    whole.run(7200)
    first, second = simulate(*words), simulate(*words)
    first.run(2400)
    assert digests(first.state)["vessels.segment_open"] != digests(second.state)["vessels.segment_open"]
    restore(second.state, {name: array.copy() for name, array in flatten(first.state).items()}, first.state.tick)
    second.run(7200)
    assert digests(second.state) == digests(whole.state)


def test_the_default_network_has_the_velocities_of_tumours(configure, built):
    """Row X26: 30 (0-200) um/s; blood is conserved at every inner node, and what is cut off stands still."""
    start = built(WITH_PERFUSION, ALWAYS_OPEN, "lattice.size=480um")
    vessels, graph = start.state.vessels, start.state.vessels.graph
    speed, length = np.abs(vessels.arrays["segment_velocity_um_per_s"]), graph.length_um
    order = np.argsort(speed)
    along = np.cumsum(length[order]) / length.sum()
    median, high = speed[order][np.searchsorted(along, [0.5, 0.95])]
    assert 20 < median < 100
    assert high < 250
    assert perfused_fraction(start.state) > 0.95
    flow, nodes = vessels.arrays["segment_flow_um3_per_s"], len(graph.nodes_um)
    net = np.bincount(graph.segments[:, 0], flow, nodes) - np.bincount(graph.segments[:, 1], flow, nodes)
    inner = np.setdiff1d(np.arange(nodes), np.concatenate([graph.inlets, graph.outlets]))
    assert np.abs(net[inner]).max() < 1e-10 * np.abs(flow).max()


def test_less_perfused_wall_lets_less_in(simulate):
    entered = []
    for closed in (0, 0.6):
        simulation = simulate(
            WITH_PERFUSION, "number=continuum", f"processes.perfusion.closed_fraction={closed}", "lattice.size=240um"
        )
        simulation.run(3600)
        entered.append(simulation.state.ledger.entered.sum())
    assert 0 < entered[1] < 0.7 * entered[0]


def test_without_perfusion_the_summary_has_no_flow(built):
    state = built().state
    assert perfused_fraction(state) is None
    assert blood_velocity_um_per_s(state) is None


def test_the_patches_count_by_their_copies(make_state):
    """Two patches on top of each other, one bar in each, the second shut: 3 copies of the first against 1."""
    patches = (Patch("rim", 0, 4, 3), Patch("core", 4, 4, 1))
    _, graph, voxel = bars(1, pieces=2)
    lattice = Lattice((8, 1, 2), 15.0, 1, patches)
    cut = VesselGraph(
        graph.nodes_um[[0, 1, 1, 2]], np.array([(0, 1), (2, 3)]), graph.radius_um, np.array([0, 2]), np.array([1, 3])
    )
    state = with_vessels(make_state, lattice, cut, voxel)
    process = prepared(state, perfusion())
    both = blood_velocity_um_per_s(state)
    cut.radius_um[1] = 2.5
    process.prepare(state, lambda purpose: np.random.default_rng(0))
    one, other = np.abs(state.vessels.arrays["segment_velocity_um_per_s"])
    assert one == pytest.approx(both, rel=1e-12)
    assert blood_velocity_um_per_s(state) == pytest.approx((3 * one + other) / 4, rel=1e-12)
    state.vessels.arrays["perfused"][4:] = 0
    assert perfused_fraction(state) == 0.75


def test_either_a_gradient_or_a_drop_is_asked_for():
    with pytest.raises(InputError, match="needs either pressure_gradient or pressure_drop"):
        perfusion(pressure_gradient_mmHg_per_um=None)
    with pytest.raises(InputError, match="needs either pressure_gradient or pressure_drop"):
        perfusion(pressure_drop_mmHg=1.0)


def test_a_tissue_that_only_knows_its_wall_is_refused(make_state):
    state = make_state(walls=([0], [1.0]))
    with pytest.raises(InputError, match="needs vessels as a graph"):
        prepared(state, perfusion())


def test_vessels_that_no_pressure_drives_are_refused(make_state):
    """Two pieces that do not meet, inlets on one, outlets on the other; and ends of one pressure."""
    lattice, graph, voxel = bars(2)
    apart = VesselGraph(graph.nodes_um, graph.segments, graph.radius_um, np.array([0, 1]), np.array([2, 3]))
    drop = perfusion(pressure_gradient_mmHg_per_um=None, pressure_drop_mmHg=5.0)
    told = "processes.perfusion segment 0: no blood can flow, in none of the 2 segments"
    with pytest.raises(InputError, match=told):
        prepared(with_vessels(make_state, lattice, apart, voxel), drop)
    level = VesselGraph(graph.nodes_um[[0, 2]], np.array([(0, 1)]), np.array([5.0]), np.array([0]), np.array([1]))
    with pytest.raises(InputError, match="no blood can flow"):
        prepared(with_vessels(make_state, lattice, level, voxel), perfusion())


def test_flow_that_is_not_found_is_told_with_its_segment_and_the_time(make_state, monkeypatch):
    monkeypatch.setattr(network, "_solve_free", lambda first, second, through, pressure, free: None)
    with pytest.raises(ModelError, match=r"perfusion: blood flow in segment \d+ at node \d+: .* balance there, at the start"):
        prepared(with_vessels(make_state, *bars(1, pieces=3)), perfusion())


def test_standing_vessels_count_no_blood_in_the_tumour(make_state):
    """A third of the wall stands: a third of the lumen is taken not to hold any."""
    state = with_vessels(make_state, *bars(3))
    prepared(state, perfusion())
    state.fields["inside"] = np.ones(state.lattice.voxels)
    state.fields["lumen_fraction"] = np.full(state.lattice.voxels, 0.2)
    state.body.pools["plasma"][0] = 1e9
    all_of_it = blood_in_tumor(state, 1.0)
    assert all_of_it == pytest.approx(1e9 / 1e12 * 0.2 * state.lattice.n_voxels * 15.0**3, rel=1e-12)
    state.vessels.arrays["perfused"][state.vessels.voxel % 6 == 0] = 0.0
    assert blood_in_tumor(state, 1.0) == pytest.approx(all_of_it * 2 / 3, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segments": [(0, 1), (1, 7)]}, r"vessel segment 1 \(1, 7\): must join two of the 3 nodes"),
        ({"segments": [(-1, 1), (1, 2)]}, r"vessel segment 0 \(-1, 1\)"),
        ({"segments": [(0, 1), (2, 2)]}, "vessel segment 1 of length 0 um: needs a length above 0"),
        ({"radius_um": [5.0, np.nan]}, "vessel segment 1 of radius nan um: needs a radius above 0"),
        ({"inlets": []}, "vessel inlets: there must be at least one, or no blood can flow"),
        ({"outlets": [3]}, "vessel outlet 3: must be one of the 3 nodes"),
        ({"outlets": [0, 2]}, "vessel inlet 0: is an outlet too"),
    ],
)
def test_a_bad_graph_is_refused_with_its_row(make_state, change, message):
    lattice, graph, voxel = bars(1, pieces=2)
    for name, value in change.items():
        setattr(graph, name, np.array(value, float if name == "radius_um" else np.int64))
    with pytest.raises(InputError, match=message):
        prepared(with_vessels(make_state, lattice, graph, voxel), perfusion())
