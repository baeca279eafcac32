"""Flow in networks of tubes against solutions by hand, and the viscosity of blood against what was published."""

from __future__ import annotations

import numpy as np
import pytest

from tme_sim.numerics import network
from tme_sim.numerics.network import conductance_um3_per_mmHg_s, relative_viscosity, solve_flow, unbranched


def solve(segments, conductance, ends, nodes=None):
    """Flow and pressures of a network given as lists; `ends` maps node to pressure."""
    segments = np.array(segments, np.int64).reshape(-1, 2)
    nodes = int(segments.max()) + 1 if nodes is None else nodes
    where, pressure = np.array(list(ends), np.int64), np.array(list(ends.values()), float)
    return solve_flow(segments, np.array(conductance, float), nodes, where, pressure)


def net_flow(segments, flow, nodes):
    return np.bincount(segments[:, 0], flow, nodes) - np.bincount(segments[:, 1], flow, nodes)


def grid(n, seed=0):
    """A cubic grid of n³ nodes with unlike conductances, its first plane the inlet, its last the outlet."""
    index = np.arange(n**3).reshape(n, n, n)
    pairs = [(np.take(index, range(n - 1), k), np.take(index, range(1, n), k)) for k in range(3)]
    segments = np.concatenate([np.stack([a.ravel(), b.ravel()], axis=1) for a, b in pairs])
    random = np.random.default_rng(seed)
    backwards = random.random(len(segments)) < 0.5
    segments[backwards] = segments[backwards, ::-1]
    ends = dict.fromkeys(index[0].ravel().tolist(), 16.0) | dict.fromkeys(index[-1].ravel().tolist(), 15.0)
    return segments, random.lognormal(0, 1, len(segments)), ends


def glass_tube_viscosity(diameter_um):
    """At hematocrit 0.45, Pries et al. 1992, doi:10.1152/ajpheart.1992.263.6.H1770."""
    return 220 * np.exp(-1.3 * diameter_um) + 3.2 - 2.44 * np.exp(-0.06 * diameter_um**0.645)


def test_a_ten_micron_vessel_resists_four_times_as_much_as_a_glass_tube():
    """'by a factor of approximately 4' and 'markedly higher below approximately 40 um' (abstract of Pries et al. 1994)."""
    diameter = np.array([10.0, 25.0, 40.0, 1000.0])
    ratio = relative_viscosity(diameter, 0.45) / glass_tube_viscosity(diameter)
    assert ratio[0] == pytest.approx(4, abs=0.5)
    assert ratio[1] > 1.4
    assert ratio[2:] == pytest.approx([1.2, 1.0], abs=0.02)


def test_the_viscosity_of_wide_vessels_is_that_of_bulk_blood_and_is_least_near_50_um():
    diameter = np.geomspace(4, 3000, 2000)
    viscosity = relative_viscosity(diameter, 0.45)
    assert viscosity[-1] == pytest.approx(3.2, rel=0.01)
    assert 40 < diameter[np.argmin(viscosity)] < 60
    assert viscosity.min() == pytest.approx(2.3, abs=0.02)


def test_the_viscosity_rises_with_hematocrit_without_a_jump_where_the_formula_is_nought_by_nought():
    diameter = np.linspace(3, 20, 20_001)  # the exponent passes zero near 8 um
    curves = np.array([relative_viscosity(diameter, h) for h in (0.0, 0.15, 0.3, 0.45, 0.6)])
    assert np.isfinite(curves).all()
    assert (np.diff(curves, axis=0) > 0).all()
    assert np.abs(np.diff(np.log(curves), axis=1)).max() < 2e-3
    assert curves[0] == pytest.approx((diameter / (diameter - 1.1)) ** 2, rel=1e-12)


def test_a_tube_conducts_as_poiseuille_says():
    """10 um wide, 100 um long, 1.2 mPa s · 5.872: π (5 um)⁴/(8 μ L) per 133.322 Pa."""
    found = conductance_um3_per_mmHg_s(np.array([5.0]), np.array([100.0]), 0.45, 1.2e-3 / 133.322387415)
    by_hand = np.pi * (5e-6) ** 4 / (8 * 1.2e-3 * 5.872 * 100e-6) * 1e18 * 133.322
    assert found == pytest.approx([by_hand], rel=1e-3)


def test_a_bifurcation_shares_the_flow_by_conductance():
    """Inlet 0, fork 1, outlets 2 and 3, one of the daughters written against the flow."""
    g0, g1, g2 = 2.0, 1.0, 3.0
    found = solve([(0, 1), (1, 2), (3, 1)], [g0, g1, g2], {0: 12.0, 2: 0.0, 3: 0.0})
    fork = 12 * g0 / (g0 + g1 + g2)
    assert found.pressure == pytest.approx([12, fork, 0, 0], rel=1e-12)
    assert found.flow == pytest.approx([g0 * (12 - fork), g1 * fork, -g2 * fork], rel=1e-12)


def test_a_bifurcation_with_unequal_outlet_pressures():
    found = solve([(0, 1), (1, 2), (1, 3)], [1.0, 1.0, 1.0], {0: 9.0, 2: 3.0, 3: 0.0})
    assert found.pressure[1] == pytest.approx(4.0, rel=1e-12)
    assert found.flow == pytest.approx([5.0, 1.0, 4.0], rel=1e-12)


def test_a_loop_carries_flow_through_its_bridge_only_when_it_is_out_of_balance():
    """Wheatstone's bridge. Unbalanced: p1 - p2 from two equations by hand."""
    segments = [(0, 1), (0, 2), (1, 3), (2, 3), (1, 2)]
    balanced = solve(segments, [1.0, 2.0, 3.0, 6.0, 5.0], {0: 8.0, 3: 0.0})
    assert balanced.flow[4] == pytest.approx(0, abs=1e-13)
    assert balanced.flow[:4] == pytest.approx([6, 12, 6, 12], rel=1e-12)
    tilted = solve(segments, [1.0, 1.0, 1.0, 2.0, 1.0], {0: 1.0, 3: 0.0})
    assert tilted.pressure[1:3] == pytest.approx([5 / 11, 4 / 11], rel=1e-12)  # 3a - b = 1, 4b - a = 1
    assert tilted.flow[4] == pytest.approx(1 / 11, rel=1e-12)


def test_a_ladder_of_equal_rungs_has_the_golden_ratio_in_its_resistance():
    """Rails to rungs to the other rail: an endless ladder of unit tubes has resistance (1 + √5)/2 between one rail's start and a
    grounded rail; with 40 rungs the rest is below 1e-15."""
    rungs = 40
    rail = [(i, i + 1) for i in range(rungs)]
    down = [(i + 1, rungs + 1 + i) for i in range(rungs)]
    ends = {0: 1.0} | {rungs + 1 + i: 0.0 for i in range(rungs)}
    found = solve(rail + down, np.ones(2 * rungs), ends)
    assert found.flow[0] == pytest.approx(2 / (1 + np.sqrt(5)), rel=1e-12)
    assert found.flow[rungs:].sum() == pytest.approx(found.flow[0], rel=1e-12)


@pytest.mark.parametrize("loops", [0, 10**9])
def test_flow_is_conserved_at_the_nodes_of_ten_thousand_segments_by_either_solver(monkeypatch, loops):
    monkeypatch.setattr(network, "MOST_LOOPS", loops)
    segments, conductance, ends = grid(16)
    assert len(segments) > 10**4
    found = solve(segments, conductance, ends)
    inner = np.setdiff1d(np.arange(16**3), list(ends))
    net = net_flow(segments, found.flow, 16**3)
    assert np.abs(net[inner]).max() < 1e-10 * np.abs(found.flow).max()
    through = np.bincount(segments.ravel(), np.repeat(np.abs(found.flow), 2)) / 2
    busy = inner[through[inner] > 0.01 * through.max()]
    assert len(busy) > 0.8 * len(inner)
    assert (np.abs(net[busy]) < 1e-10 * through[busy]).all()
    assert net.sum() == pytest.approx(0, abs=1e-10 * np.abs(net).sum())
    assert found.pressure.min() == 15.0
    assert found.pressure.max() == 16.0


def test_both_solvers_agree(monkeypatch):
    found = []
    for loops in (0, 10**9):
        monkeypatch.setattr(network, "MOST_LOOPS", loops)
        found.append(solve(*grid(12, seed=3)).flow)
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-11 * np.abs(found[1]).max())


def test_parts_without_two_pressures_and_closed_segments_carry_exactly_nothing():
    """0-1-2 carries; 3-4 has an inlet only; 5-6-7-5 is a ring without ends; 1-8 is a blind end; 9 is alone; 1-2 again is shut."""
    segments = [(0, 1), (1, 2), (3, 4), (5, 6), (6, 7), (7, 5), (1, 8), (1, 2)]
    found = solve(segments, [1.0, 1, 1, 1, 1, 1, 1, 0], {0: 2.0, 2: 0.0, 3: 2.0}, nodes=10)
    assert found.flow[:2] == pytest.approx([1, 1], rel=1e-12)
    np.testing.assert_array_equal(found.flow[[2, 3, 4, 5, 7]], 0)
    assert abs(found.flow[6]) < 1e-15
    np.testing.assert_array_equal(found.pressure[3:8], [2, 2, np.nan, np.nan, np.nan])
    assert found.pressure[8] == pytest.approx(1)


def test_closing_the_only_way_through_stops_all_flow():
    found = solve([(0, 1), (1, 2)], [1.0, 0.0], {0: 2.0, 2: 0.0})
    np.testing.assert_array_equal(found.flow, 0)
    np.testing.assert_array_equal(found.pressure, [2, 2, 0])


def test_a_solver_that_does_not_balance_the_nodes_is_an_error(monkeypatch):
    monkeypatch.setattr(network, "MOST_LOOPS", 0)
    monkeypatch.setattr(network, "_conjugate_gradients", lambda matrix, b: np.zeros_like(b))
    with pytest.raises(ArithmeticError, match=r"segment \d+ at node \d+: .* do not balance there"):
        solve(*grid(4))


def test_segments_in_a_row_are_one_vessel():
    """0-1-2-3 forks at 3 into 3-4-5 and 3-6; 4 is an end of its own, so the vessel is cut there; a ring 7-8-9."""
    segments = np.array([(0, 1), (2, 1), (2, 3), (3, 4), (4, 5), (3, 6), (7, 8), (8, 9), (9, 7)])
    vessel = unbranched(segments, 10, np.array([0, 4, 5, 6]))
    groups = [np.flatnonzero(vessel == v).tolist() for v in np.unique(vessel)]
    assert groups == [[0, 1, 2], [3], [4], [5], [6, 7, 8]]
