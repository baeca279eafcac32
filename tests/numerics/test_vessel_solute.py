"""A solute along vessels against Renkin and Crone's formula and against solutions by hand; nothing is lost at the nodes."""

from __future__ import annotations

import numpy as np
import pytest

from tme_sim.numerics.network import solve_flow
from tme_sim.numerics.vessel_solute import advect, course, extraction


def carry(segments, flow, surface, *, outside=0.0, source=0.0, inlet=None):
    """`advect` on lists; `inlet` maps node to concentration, by default 1 everywhere."""
    segments = np.array(segments, np.int64).reshape(-1, 2)
    n, nodes = len(segments), int(segments.max()) + 1
    entering = np.ones(nodes) if inlet is None else np.zeros(nodes)
    for node, concentration in (inlet or {}).items():
        entering[node] = concentration
    full = [np.broadcast_to(np.asarray(value, float), n) for value in (surface, outside, source)]
    way = course(segments, np.asarray(flow, float), nodes)
    return way, advect(way, *full, entering)


def balance(way, carried, inlet, source):
    """Entering + released - given to the tissue - leaving, per second."""
    into, out_of = (np.bincount(ends, way.flow, way.nodes) for ends in (way.downstream, way.upstream))
    entering = np.sum(np.maximum(out_of - into, 0) * inlet)
    at_ends = np.maximum(into - out_of, 0)
    mixed = np.bincount(way.downstream, way.flow * carried.outlet, way.nodes)
    leaving = np.sum(np.divide(mixed, into, out=np.zeros(way.nodes), where=into > 0) * at_ends)
    return entering + np.sum(source[way.flow > 0]) - carried.exchange.sum() - leaving, entering


@pytest.mark.parametrize("ratio", [1e-9, 1e-3, 0.5, 1.0, 5.0, 40.0])
def test_one_segment_extracts_what_renkin_and_crone_say(ratio):
    flow = 1000.0
    _, carried = carry([(0, 1)], [flow], ratio * flow)
    extracted = carried.exchange[0] / flow
    assert extracted == pytest.approx(1 - np.exp(-ratio) if ratio > 1e-6 else ratio, rel=1e-8)
    assert extraction(np.array([ratio * flow]), np.array([flow])) == pytest.approx([extracted], rel=1e-12)
    assert carried.outlet[0] == pytest.approx(np.exp(-ratio), rel=1e-12, abs=1e-15)


def test_how_a_vessel_is_cut_into_segments_does_not_matter():
    """Seven unequal pieces, some written against the flow, with tissue at 0.3 and release along the way."""
    share = np.array([0.05, 0.3, 0.1, 0.2, 0.15, 0.15, 0.05])
    pieces = [(i, i + 1) if i % 2 else (i + 1, i) for i in range(7)]
    signs = [1.0 if i % 2 else -1.0 for i in range(7)]
    _, whole = carry([(0, 1)], [10.0], 8.0, outside=0.3, source=4.0)
    _, cut = carry(pieces, 10 * np.array(signs), 8 * share, outside=0.3, source=4 * share, inlet={0: 1.0})
    assert cut.outlet[-1] == pytest.approx(whole.outlet[0], rel=1e-12)
    assert cut.exchange.sum() == pytest.approx(whole.exchange[0], rel=1e-12)


def test_release_in_the_blood_of_a_tight_vessel_all_comes_out_below_and_of_a_leaky_one_all_goes_into_the_tissue():
    _, tight = carry([(0, 1)], [10.0], 0.0, source=5.0, inlet={})
    assert tight.outlet[0] == pytest.approx(0.5, rel=1e-12)
    assert tight.exchange[0] == 0
    _, leaky = carry([(0, 1)], [10.0], 1e6, source=5.0, inlet={})
    assert leaky.exchange[0] == pytest.approx(5.0, rel=1e-4)
    assert leaky.outlet[0] == pytest.approx(5e-6, rel=1e-9)  # s/PS, the balance with an empty tissue


def test_release_and_loss_along_a_segment_follow_the_solution_of_the_equation():
    """Q c' = s - k (c - c_i) over unit length: c = c* + (c0 - c*) exp(-k/Q), c* = c_i + s/k."""
    q, k, s, outside, start = 3.0, 2.0, 0.7, 0.4, 1.5
    _, carried = carry([(0, 1)], [q], k, outside=outside, source=s, inlet={0: start})
    end = outside + s / k + (start - outside - s / k) * np.exp(-k / q)
    assert carried.outlet[0] == pytest.approx(end, rel=1e-12)
    assert carried.exchange[0] == pytest.approx(q * (start - end) + s, rel=1e-12)


@pytest.mark.parametrize("ratio", [0.0, 1e-7, 1e-4, 0.5, 40.0])
def test_the_mean_along_a_segment_is_that_of_the_solution_and_drives_the_exchange(ratio):
    """∫ of c* + (c0 - c*) exp(-k x), over 2000 middles of pieces; without a wall what is released raises it by s/(2 Q)."""
    q, s, outside, start = 3.0, 0.7, 0.4, 1.5
    _, carried = carry([(0, 1)], [q], ratio * q, outside=outside, source=s, inlet={0: start})
    x = (np.arange(2000) + 0.5) / 2000
    along = start + s / q * x
    if ratio:
        gained = -np.expm1(-ratio * x) / ratio
        along = outside + (start - outside) * np.exp(-ratio * x) + s / q * gained
    assert carried.mean[0] == pytest.approx(along.mean(), rel=1e-4)
    assert carried.exchange[0] == pytest.approx(ratio * q * (carried.mean[0] - outside), rel=1e-7, abs=1e-15)


def test_a_bifurcation_hands_the_same_blood_to_both_daughters_and_a_confluence_mixes_by_flow():
    """0-1 forks into 1-2 (Q 2) and 1-3 (Q 8), which meet again in 4."""
    segments, flow = [(0, 1), (1, 2), (1, 3), (2, 4), (3, 4), (4, 5)], [10.0, 2, 8, 2, 8, 10]
    surface = np.array([5.0, 4.0, 1.0, 0.0, 0.0, 0.0])
    _, carried = carry(segments, flow, surface)
    fork = np.exp(-0.5)
    assert carried.node[1] == pytest.approx(fork, rel=1e-12)
    assert carried.node[2:4] == pytest.approx([fork * np.exp(-2), fork * np.exp(-1 / 8)], rel=1e-12)
    assert carried.node[4] == pytest.approx(fork * (0.2 * np.exp(-2) + 0.8 * np.exp(-1 / 8)), rel=1e-12)


def test_a_ladder_gives_each_rung_what_the_rail_has_left():
    """A rail with rungs leaving it, flow Q_k = n - k: after k pieces of PS = a the rail holds exp(-a Σ 1/Q)."""
    n, a = 12, 0.3
    rail = [(k, k + 1) for k in range(n)]
    rungs = [(k + 1, n + 1 + k) for k in range(n)]
    flow = np.array([float(n - k) for k in range(n)] + [1.0] * n)
    _, carried = carry(rail + rungs, flow, np.repeat([a, 0.0], n))
    left = np.exp(-a * np.cumsum(1 / flow[:n]))
    assert carried.outlet[n:] == pytest.approx(left, rel=1e-12)
    assert carried.exchange.sum() == pytest.approx(n - left.sum(), rel=1e-12)


def test_two_inlets_of_unlike_blood_mix_where_they_meet():
    _, carried = carry([(0, 2), (1, 2), (2, 3)], [3.0, 1.0, 4.0], 0.0, inlet={0: 1.0, 1: 5.0})
    assert carried.outlet[2] == pytest.approx(2.0, rel=1e-12)


def test_nothing_is_lost_in_a_network_with_loops():
    """A cubic grid driven by pressure, unlike walls, tissue and release; blood and tissue together keep every amount."""
    n = 12
    index = np.arange(n**3).reshape(n, n, n)
    pairs = [(np.take(index, range(n - 1), k), np.take(index, range(1, n), k)) for k in range(3)]
    segments = np.concatenate([np.stack([a.ravel(), b.ravel()], axis=1) for a, b in pairs])
    random = np.random.default_rng(5)
    ends = np.concatenate([index[0].ravel(), index[-1].ravel()])
    pressure = np.repeat([1.0, 0.0], n * n)
    flow = solve_flow(segments, random.lognormal(0, 1, len(segments)), n**3, ends, pressure).flow
    way = course(segments, flow, n**3)
    outside, source = random.random(len(segments)), random.random(len(segments))
    inlet = np.zeros(n**3)
    inlet[index[0].ravel()] = random.random(n * n)
    carried = advect(way, random.lognormal(0, 2, len(segments)), outside, source, inlet)
    lost, entering = balance(way, carried, inlet, source)
    assert entering > 1
    assert abs(lost) < 1e-10 * (entering + source.sum())
    assert carried.outlet[way.flow > 0].min() > 0


def test_blood_in_balance_with_the_tissue_exchanges_nothing():
    _, carried = carry([(0, 1), (1, 2), (1, 3)], [3.0, 1.0, 2.0], [1.0, 20.0, 0.1], outside=1.0)
    assert carried.outlet == pytest.approx(np.ones(3), rel=1e-12)
    assert carried.exchange == pytest.approx(np.zeros(3), abs=1e-12)


def test_standing_blood_gives_nothing_and_its_release_is_left_out():
    way, carried = carry([(0, 1), (1, 2), (3, 4)], [2.0, 2.0, 0.0], [1.0, 0.0, 7.0], source=[0.0, 0.0, 3.0])
    assert carried.exchange[2] == 0
    assert carried.node[3] == 0
    assert len(way.order) == 2


def test_a_flow_next_to_nothing_gives_up_all_it_has():
    _, carried = carry([(0, 1)], [1e-300], 1e20)
    assert carried.outlet[0] == 0
    assert carried.exchange[0] == pytest.approx(1e-300, rel=1e-12)


def test_flow_in_a_circle_is_refused():
    with pytest.raises(ValueError, match="circle"):
        course(np.array([(0, 1), (1, 2), (2, 0)]), np.ones(3), 3)
