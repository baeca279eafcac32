"""Perfusion: blood flow through the vessel graph, and vessels that shut and open again (model section 1.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.network import conductance_um3_per_mmHg_s, connected, solve_flow, unbranched
from tme_sim.numerics.random import uniforms
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.blood import nearest_segment
from tme_sim.state.errors import InputError, ModelError
from tme_sim.state.lattice import Lattice
from tme_sim.state.parameters import parameter
from tme_sim.state.state import State
from tme_sim.state.substance import PA_PER_MMHG
from tme_sim.state.vessels import VesselGraph

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WRITTEN = ("perfused", "segment_open", "segment_flow_um3_per_s", "segment_velocity_um_per_s", "segment_hematocrit")

STANDS = 1e-12
"""Share of the largest flow below which a loop that leads nowhere only has the solver's rounding in it, and its blood stands."""


@dataclass(frozen=True)
class Static:
    """What follows from the graph: ends (ends,) and their pressures; per segment conductance when open, and its vessel; the
    segment that each wall (walls,) belongs to.
    """

    graph: VesselGraph
    ends: Ints
    end_pressure_mmHg: Floats
    conductance_um3_per_mmHg_s: Floats
    vessel: Ints
    segment_of_wall: Ints


@dataclass(kw_only=True, eq=False)
class Perfusion(Process):
    """Poiseuille flow with the in-vivo viscosity of blood; every vessel between two branch points opens and shuts at random.

    Q = π r⁴ Δp/(8 μ L) in each segment, conserved at nodes. A vessel is a two-state Markov chain: shut for closed_time in the
    mean and closed_fraction of all time, stepped with its exact transition probabilities. A wall belongs to the nearest
    segment, and is perfused where blood moves there at stagnant_below or faster.

    Only differences of pressure matter. pressure_gradient treats the lattice as cut out of a larger tissue: the pressure at
    every open end falls with z, so velocities hardly depend on the size of the box. pressure_drop holds all inlets at one
    pressure and all outlets at one lower, as for a graph with its own artery and vein; a generated network, open on all sides,
    would be short-circuited by it where inlets and outlets are neighbours.
    """

    pressure_gradient_mmHg_per_um: float | None = parameter("fall of the open ends' pressure along z", above=0, at_most=1)
    pressure_drop_mmHg: float | None = parameter("from inlets to outlets, instead of pressure_gradient", above=0, at_most=150)
    hematocrit: float = parameter("volume share of red cells in the blood that flows", at_least=0, at_most=0.8)
    plasma_viscosity_Pa_s: float = parameter("viscosity of plasma", above=0, at_most=0.1)
    closed_fraction: float = parameter("share of the time that a vessel is shut; 0: none ever is", at_least=0, at_most=0.9)
    closed_time_s: float = parameter("mean time that a vessel stays shut", above=0)
    stagnant_below_um_per_s: float = parameter("slower blood counts as standing", at_least=0)
    _static: Static | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if (self.pressure_gradient_mmHg_per_um is None) == (self.pressure_drop_mmHg is None):
            raise InputError(
                "processes.perfusion", None, "needs either pressure_gradient or pressure_drop, and null for the other"
            )

    @property
    def reads(self) -> frozenset[str]:
        return frozenset()

    @property
    def writes(self) -> frozenset[str]:
        return frozenset(f"vessels.{name}" for name in WRITTEN)

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """Draw which vessels are shut at the start, each with its long-run chance, and let the blood flow."""
        if state.vessels is None or state.vessels.graph is None:
            raise InputError("processes.perfusion", None, "needs vessels as a graph, and this tissue only knows their wall")
        graph = state.vessels.graph
        graph.check()
        self._static = static = self._prepare_static(graph, state.vessels.voxel, state.lattice)
        draw = random("open").random(int(static.vessel.max()) + 1)[static.vessel]
        n = len(graph.segments)
        arrays = state.vessels.arrays
        arrays["segment_open"] = (draw >= self.closed_fraction).astype(np.int8)
        arrays["segment_flow_um3_per_s"], arrays["segment_velocity_um_per_s"] = np.zeros(n), np.zeros(n)
        arrays["segment_hematocrit"] = np.full(n, self.hematocrit)
        self._refuse_standing_blood(static)
        self._let_flow(arrays, "at the start")

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        assert self._static is not None
        is_open = state.vessels["segment_open"]
        relaxed = -np.expm1(-dt_s / (self.closed_time_s * (1 - self.closed_fraction)))
        chance = np.where(is_open, self.closed_fraction, 1 - self.closed_fraction) * relaxed
        changes = uniforms(streams.key("open"), self._static.vessel) < chance  # one draw for all segments of a vessel
        if changes.any():
            is_open[changes] = 1 - is_open[changes]
            self._let_flow(state.vessels, f"at {state.time_s:g} s")

    def _refuse_standing_blood(self, static: Static) -> None:
        """Vessels of which none joins two ends of unlike pressure carry nothing even when all are open: a mistake."""
        graph = static.graph
        part = connected(len(graph.nodes_um), graph.segments)
        of_end = part[static.ends]
        if not any(np.ptp(static.end_pressure_mmHg[of_end == p]) > 0 for p in np.unique(of_end)):
            told = f"no blood can flow, in none of the {len(graph.segments)} segments: none joins two ends of unlike pressure"
            raise InputError("processes.perfusion", "segment 0", told)

    def _let_flow(self, vessels: Mapping[str, NDArray[Any]], when: str) -> None:
        """Solve for the flow with the vessels as they are open now, and write what follows from it."""
        static = self._static
        assert static is not None
        graph = static.graph
        conductance = static.conductance_um3_per_mmHg_s * vessels["segment_open"]
        try:
            flow = solve_flow(graph.segments, conductance, len(graph.nodes_um), static.ends, static.end_pressure_mmHg).flow
        except ArithmeticError as failure:
            raise ModelError(f"perfusion: blood flow in {failure}, {when}") from failure
        flow[np.abs(flow) < STANDS * np.abs(flow).max(initial=0.0)] = 0.0
        velocity = flow / (np.pi * graph.radius_um**2)
        moves = np.abs(velocity) >= max(self.stagnant_below_um_per_s, np.finfo(float).tiny)
        vessels["segment_flow_um3_per_s"][...] = flow
        vessels["segment_velocity_um_per_s"][...] = velocity
        vessels["perfused"][...] = moves[static.segment_of_wall]

    def _prepare_static(self, graph: VesselGraph, wall_voxel: Ints, lattice: Lattice) -> Static:
        ends = np.concatenate([graph.inlets, graph.outlets])
        viscosity_mmHg_s = self.plasma_viscosity_Pa_s / PA_PER_MMHG
        conductance = conductance_um3_per_mmHg_s(graph.radius_um, graph.length_um, self.hematocrit, viscosity_mmHg_s)
        return Static(
            graph,
            ends,
            self._end_pressure_mmHg(graph),
            conductance,
            unbranched(graph.segments, len(graph.nodes_um), ends),
            nearest_segment(graph, wall_voxel, lattice),
        )

    def _end_pressure_mmHg(self, graph: VesselGraph) -> Floats:
        if self.pressure_gradient_mmHg_per_um is None:
            return np.repeat([self.pressure_drop_mmHg or 0.0, 0.0], [len(graph.inlets), len(graph.outlets)])
        ends = np.concatenate([graph.inlets, graph.outlets])
        return np.asarray(-self.pressure_gradient_mmHg_per_um * graph.nodes_um[ends, 0])
