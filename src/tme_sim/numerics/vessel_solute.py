"""A small solute carried along a network of vessels, given to the tissue through their walls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.arrays import Integers, Reals, plain
from tme_sim.numerics.jit import kernel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Course:
    """The way of the blood. upstream, downstream: (segments,) nodes; flow: (segments,) ≥ 0; order: the segments that carry
    any, each after all that feed it.
    """

    upstream: Ints
    downstream: Ints
    flow: Floats
    order: Ints
    nodes: int


@dataclass(frozen=True)
class Carried:
    """A solute in balance. node: (nodes,) concentration of the blood that leaves each node, 0 where none does; outlet, mean:
    (segments,) concentration at the lower end of each and along it, 0 in standing blood; exchange: (segments,) amount per second
    that goes into the tissue, PS (mean − c_i).
    """

    node: Floats
    outlet: Floats
    mean: Floats
    exchange: Floats


def course(segments: Ints, flow: Floats, nodes: int) -> Course:
    """Order the segments (n, 2) by their flow, positive from first node to second. O(segments); the same for every solute.

    Raises ValueError if blood goes round in a circle, which no pressure can drive.
    """
    forward = flow >= 0
    upstream = np.where(forward, segments[:, 0], segments[:, 1])
    downstream = np.where(forward, segments[:, 1], segments[:, 0])
    leaving = np.flatnonzero(flow != 0)
    leaving = leaving[np.argsort(upstream[leaving], kind="stable")]
    start = np.searchsorted(upstream[leaving], np.arange(nodes + 1))
    waiting = np.bincount(downstream[leaving], minlength=nodes)
    order = np.empty(len(leaving), np.int64)
    if _downstream_order(leaving, start, downstream, waiting, order) < len(leaving):
        raise ValueError("the flow goes round in a circle")
    return Course(upstream, downstream, np.abs(flow), order, nodes)


def extraction(permeability_surface: Floats, flow: Floats) -> Floats:
    """Share of a solute that leaves on the way through, E = 1 − exp(−PS/Q) (Renkin 1959, Crone 1963); 0 without flow."""
    return np.asarray(-np.expm1(-_ratio(permeability_surface, flow)))


def advect(course: Course, permeability_surface: Floats, outside: Floats, source: Floats, inlet: Floats) -> Carried:
    """Quasi-steady ∂(Q c)/∂x = s − 2πrP (c − c_i) along every segment, with full mixing where segments meet.

    permeability_surface: (segments,) P · 2πrL in um³/s; outside: (segments,) c_i, the free concentration behind the wall;
    source: (segments,) amount per second released in the blood; inlet: (nodes,) concentration of what enters the network there
    from outside. The equation is solved exactly along each segment, so its length does not matter, and the blood's transit
    (seconds) is taken as short: amounts entering, released, given to the tissue and leaving balance at every moment. A segment
    without flow gives nothing: what is released there stays out of the balance.
    """
    ratio = _ratio(permeability_surface, course.flow)
    leaves = extraction(permeability_surface, course.flow)
    kept = np.divide(leaves, ratio, out=np.ones_like(leaves), where=ratio > 0)  # of the source, the share still in blood
    carries = course.flow > 0
    node, outlet = np.zeros(course.nodes), np.zeros(len(course.flow))
    surplus = np.bincount(course.upstream, course.flow, course.nodes) - np.bincount(course.downstream, course.flow, course.nodes)
    entering = np.maximum(surplus, 0)
    amount, volume = entering * inlet, entering
    behind, released = plain(outside, np.float64), kept * source
    _advect(course.order, course.upstream, course.downstream, course.flow, leaves, behind, released, amount, volume, outlet)
    np.divide(amount, volume, out=node, where=np.bincount(course.upstream[carries], minlength=course.nodes) > 0)
    above = node[course.upstream] - outside
    per_flow = np.divide(source, course.flow, out=np.zeros_like(leaves), where=carries)
    mean = np.where(carries, outside + kept * above + _lag(ratio, kept) * per_flow, 0.0)
    exchange = np.where(carries, course.flow * leaves * above + (1 - kept) * source, 0.0)
    return Carried(node, outlet, mean, exchange)


def _lag(ratio: Floats, kept: Floats) -> Floats:
    """(1 − kept)/(PS/Q), by its series where the difference would have no digits: 1/2 where nothing leaves."""
    lag = 0.5 - ratio / 6
    return np.asarray(np.divide(1 - kept, ratio, out=lag, where=ratio > 1e-5))


def _ratio(permeability_surface: Floats, flow: Floats) -> Floats:
    """PS/Q, 0 without flow."""
    with np.errstate(over="ignore"):  # of a flow next to nothing all is given up: the exponential takes infinity
        return np.divide(permeability_surface, flow, out=np.zeros(np.shape(flow)), where=np.asarray(flow) > 0)


@kernel
def _downstream_order(leaving: Integers, start: Integers, downstream: Integers, waiting: Integers, order: Integers) -> int:
    """Nodes in turn as soon as all that flows into them is known (Kahn 1962); returns how many segments were reached."""
    ready = np.empty(waiting.size, np.int64)
    found = 0
    for node in range(waiting.size):
        if waiting[node] == 0:
            ready[found] = node
            found += 1
    done = placed = 0
    while done < found:
        node = ready[done]
        done += 1
        for i in range(start[node], start[node + 1]):
            order[placed] = leaving[i]
            placed += 1
            below = downstream[leaving[i]]
            waiting[below] -= 1
            if waiting[below] == 0:
                ready[found] = below
                found += 1
    return placed


@kernel
def _advect(
    order: Integers,
    upstream: Integers,
    downstream: Integers,
    flow: Reals,
    leaves: Reals,
    outside: Reals,
    released: Reals,
    amount: Reals,
    volume: Reals,
    outlet: Reals,
) -> None:
    """`amount` and `volume` per second come together at each node; both are known when its turn comes."""
    for i in range(order.size):
        s = order[i]
        upper = amount[upstream[s]] / volume[upstream[s]]
        outlet[s] = upper + leaves[s] * (outside[s] - upper) + released[s] / flow[s]
        amount[downstream[s]] += flow[s] * outlet[s]
        volume[downstream[s]] += flow[s]
