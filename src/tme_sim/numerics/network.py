"""Blood flow in a network of tubes: viscosity, conductance, pressures and flows. Plain mathematics on arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

NARROWEST_UM = 3.0
"""Diameter below which the viscosity is taken as there; the measurements end near 4 um, and the formula diverges at 1.1."""
MOST_LOOPS = 30_000
"""Segments less free nodes, that is independent loops, up to which the direct solver is used. Loops fill its factors, segments
in a row do not: it takes 0.16 s for a vessel tree of 110 000 segments (6 000 loops), conjugate gradients 1.1 s; on a cubic grid
of as many it is 2 s against 0.12 s."""
CONSERVED = 1e-10
"""Largest net flow at a node that is accepted, relative to the largest flow in the network."""


def relative_viscosity(diameter_um: Floats, hematocrit: Floats | float) -> Floats:
    """Apparent viscosity of blood in living microvessels over that of plasma, by diameter D and discharge hematocrit H.

    [1 + (m − 1) w ((1−H)^C − 1)/((1−0.45)^C − 1)] w, with w = (D/(D − 1.1))², m = 6 e^(−0.085 D) + 3.2 − 2.44 e^(−0.06 D^0.645),
    C = (0.8 + e^(−0.075 D)) (q − 1) + q and q = 1/(1 + 10⁻¹¹ D¹²). Pries et al. 1994, doi:10.1161/01.RES.75.5.904.
    """
    d = np.maximum(np.asarray(diameter_um, float), NARROWEST_UM)
    wall = (d / (d - 1.1)) ** 2
    at_045 = 6 * np.exp(-0.085 * d) + 3.2 - 2.44 * np.exp(-0.06 * d**0.645)
    q = 1 / (1 + 1e-11 * d**12)
    curvature = (0.8 + np.exp(-0.075 * d)) * (q - 1) + q
    curvature = np.where(np.abs(curvature) < 1e-9, 1e-9, curvature)  # the ratio is smooth through its 0/0 near 8 um
    by_hematocrit = np.expm1(curvature * np.log1p(-np.asarray(hematocrit))) / np.expm1(curvature * np.log(0.55))
    return np.asarray((1 + (at_045 - 1) * wall * by_hematocrit) * wall)


def conductance_um3_per_mmHg_s(
    radius_um: Floats, length_um: Floats, hematocrit: Floats | float, plasma_viscosity_mmHg_s: float
) -> Floats:
    """(segments,) flow per pressure difference after Poiseuille, π r⁴/(8 μ L), with the viscosity of blood in vivo."""
    viscosity_mmHg_s = plasma_viscosity_mmHg_s * relative_viscosity(2 * radius_um, hematocrit)
    return np.asarray(np.pi * radius_um**4 / (8 * viscosity_mmHg_s * length_um))


@dataclass(frozen=True)
class Flow:
    """pressure: (nodes,), NaN in parts of the network that no end with a given pressure belongs to; flow: (segments,), from
    the first node of each to its second, exactly 0 in parts that carry nothing.
    """

    pressure: Floats
    flow: Floats


def solve_flow(segments: Ints, conductance: Floats, nodes: int, ends: Ints, end_pressure: Floats) -> Flow:
    """Steady flow through `segments` (n, 2) of `conductance` (n,), 0 where closed, with pressures given at the nodes `ends`.

    Flow is conserved at every other node to 1e-10 of the largest flow. A connected part whose ends all have one pressure, or
    that has none, carries nothing. Raises ArithmeticError if the solver does not get there.
    """
    is_open = conductance > 0
    part = connected(nodes, segments[is_open])
    highest, lowest = np.full(part.max(initial=-1) + 1, -np.inf), np.full(part.max(initial=-1) + 1, np.inf)
    np.maximum.at(highest, part[ends], end_pressure)
    np.minimum.at(lowest, part[ends], end_pressure)
    pressure = np.where(highest == lowest, highest, np.nan)[part]
    pressure[ends] = end_pressure
    carries = (highest > lowest)[part]
    free = carries.copy()
    free[ends] = False
    live = is_open & carries[segments[:, 0]]
    first, second = segments[live].T
    through = conductance[live]
    # Pressures from the middle of their range: what differs between nodes keeps more digits than with the offset.
    middle = (end_pressure.max(initial=0) + end_pressure.min(initial=0)) / 2
    relative = np.where(carries & ~free, pressure - middle, 0.0)
    _solve_free(first, second, through, relative, free)
    pressure[free] = relative[free] + middle
    flow = np.zeros(len(segments))
    flow[live] = through * (relative[first] - relative[second])
    _check_conserved(segments, flow, free)
    return Flow(pressure, flow)


def connected(count: int, pairs: Ints) -> Ints:
    """(count,) number of the connected part each thing is in."""
    links = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


def unbranched(segments: Ints, nodes: int, ends: Ints) -> Ints:
    """(segments,) number of the vessel each belongs to: the segments in a row between two nodes where vessels branch or end."""
    inner = np.bincount(segments.ravel(), minlength=nodes) == 2
    inner[ends] = False
    order = np.argsort(segments.ravel(), kind="stable")
    pairs = (order // 2)[inner[segments.ravel()[order]]].reshape(-1, 2)
    return connected(len(segments), pairs)


def _solve_free(first: Ints, second: Ints, conductance: Floats, pressure: Floats, free: Mask) -> None:
    """Fill in the pressure of the free nodes from that of the others: net flow 0 at each."""
    n = int(np.count_nonzero(free))
    if n == 0:
        return
    nodes = len(pressure)
    rows, columns = np.concatenate([first, second, first, second]), np.concatenate([first, second, second, first])
    values = np.concatenate([conductance, conductance, -conductance, -conductance])
    balance = coo_array((values, (rows, columns)), shape=(nodes, nodes)).tocsr()[free]
    inflow = -(balance @ pressure)
    matrix = balance[:, free]
    if len(first) - n <= MOST_LOOPS:
        factors = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        pressure[free] = factors.solve(inflow)
    else:
        pressure[free] = _conjugate_gradients(csr_array(matrix), inflow)


def _conjugate_gradients(matrix: csr_array, b: Floats, tolerance: float = 1e-14, most: int = 50_000) -> Floats:
    """Preconditioned by the diagonal. Sums are numpy's own: those of a BLAS depend on its threads."""
    x, r = np.zeros_like(b), b.copy()
    inverse, enough = 1 / matrix.diagonal(), tolerance * np.abs(b).max()
    z = inverse * r
    direction, rz = z.copy(), np.add.reduce(r * z)
    for _ in range(most):
        if np.abs(r).max() <= enough:
            break
        q = matrix @ direction
        step = rz / np.add.reduce(direction * q)
        x += step * direction
        r -= step * q
        z = inverse * r
        before, rz = rz, np.add.reduce(r * z)
        direction = z + rz / before * direction
    return x


def _check_conserved(segments: Ints, flow: Floats, free: Mask) -> None:
    net = np.bincount(segments[:, 0], flow, len(free)) - np.bincount(segments[:, 1], flow, len(free))
    most = float(np.abs(flow).max(initial=0.0))
    net[~free] = 0.0
    worst = int(np.argmax(np.where(np.isfinite(net), np.abs(net), np.inf))) if len(net) else 0
    if len(net) and not abs(net[worst]) <= CONSERVED * most:
        segment = int(np.flatnonzero((segments == worst).any(axis=1))[0])
        told = f"segment {segment} at node {worst}: {net[worst]:.2g} of {most:.2g} um^3/s do not balance there"
        raise ArithmeticError(told)
