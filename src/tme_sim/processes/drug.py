"""The drug that carriers have released: dissolved, bound, in cells, and exchanged with the blood (model section 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.compartments import advance
from tme_sim.numerics.settling import settle
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.blood import Blood, nearest_segment
from tme_sim.state.drug import extracellular
from tme_sim.state.errors import InputError, ModelError
from tme_sim.state.lattice import Lattice
from tme_sim.state.parameters import given
from tme_sim.state.state import State
from tme_sim.state.steady import SteadyField, live_cells, per_volume
from tme_sim.state.substance import SmallMolecule
from tme_sim.state.vessels import VesselGraph

Reals = NDArray[np.float64]

IN_PLASMA = 0
"""Of what waits to be taken up by the body, what was released in plasma at large; the rest in its organs or in heated vessels."""
TOLERANCE, SETTLED, MOST_ROUNDS = 1e-6, 1e-4, 200
"""Of the residual in the tissue, and of the change from round to round at which blood and tissue agree: far below what the mesh
costs. What passes between them adds up in any case."""
OF_CHANGE, LOOSE = 0.01, 0.1
"""While they settle: the residual over the last round's change, and the largest."""


@dataclass(frozen=True)
class Balance:
    """What the free concentration is in balance with, all (z, y, x): per second and tissue volume, a sink per concentration
    (stored until the next application, through the wall, into cells) and the source of what is there and comes.
    """

    stored: Reals
    wall: Reals
    taken: Reals
    source: Reals

    @property
    def sink(self) -> Reals:
        """All that the free concentration goes to."""
        return self.stored + self.wall + self.taken


@dataclass(frozen=True)
class Solution:
    """The free concentration (z, y, x), in balance with `met`, that of the blood at the walls; `mean`: (segments,) in blood."""

    free: Reals
    met: Reals
    mean: Reals


@dataclass(kw_only=True, eq=False)
class Drug(Process):
    """(1 + b) ε ∂c/∂t = ∇·(D∇c) − P (S/V)(c − c_v) − n CL c + k a + s, ∂a/∂t = n CL c − k a, and the body's compartments.

    c is the free concentration in the extracellular share ε, b what is bound per free, a the amount in n cells per volume, S the
    perfused wall, c_v the unbound concentration in the plasma that passes it. Diffusion settles within seconds to minutes: c is
    taken at the end of each interval (one implicit step: the steady balance where that is long, and nothing is lost where it is
    not), a and the body follow exactly from a constant c and a constant inflow.

    With `perfusion`, blood enters with the body's concentration, takes up what carriers release in it, exchanges with the tissue
    along every segment, and goes back to the body: ∂(Q (1 − H) c_v/f_u)/∂x = s_v − 2πr P (c_v − c), so that washout is limited by
    the flow where P S exceeds it. Blood and tissue are solved in turn until they agree. Without it c_v is the body's everywhere.
    Drug released in the body's organs is taken as in plasma at once.
    """

    card: SmallMolecule = given("small_molecule")
    kinds: tuple[str, ...] = given("cell_kinds")
    phased: tuple[str, ...] = given("phased_kinds", default=())
    with_flow: bool = given("has_perfusion", default=False)
    name: str = given("drug_name", default="drug")
    amol_per_particle: float | None = given("drug_per_particle_amol", default=None)
    _steady: SteadyField | None = field(default=None, init=False, repr=False)
    _last: tuple[list[Reals], Solution] | None = field(default=None, init=False, repr=False)
    _graph: VesselGraph | None = field(default=None, init=False, repr=False)
    _segment: NDArray[np.int64] | None = field(default=None, init=False, repr=False)

    @property
    def reads(self) -> frozenset[str]:
        fields = {"fields.lumen_fraction", "fields.cell_fraction"}
        flow = {"vessels.segment_flow_um3_per_s", "vessels.segment_hematocrit"} if self.with_flow else set()
        cells = {f"populations.{kind}.site" for kind in self.kinds} | {f"populations.{kind}.phase" for kind in self.phased}
        return frozenset({"vessels.perfused"} | fields | flow | cells)

    @property
    def writes(self) -> frozenset[str]:
        fields = ("drug_mM", "drug_bound_amol", "drug_in_cells_amol", "drug_source_amol", "drug_source_in_cells_amol")
        body = ("waiting_amol", "body_amol", "cleared_amol", "washed_out_amol")
        blood = {"vessels.segment_drug_mM", "vessels.segment_source_amol"} if self.with_flow else set()
        return frozenset(blood | {f"fields.{name}" for name in fields} | {f"drug.{name}" for name in body})

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """No drug anywhere; and the tallies that `release` adds to."""
        for name in self.writes:
            if name.startswith("fields."):
                state.fields[name.removeprefix("fields.")] = np.zeros(state.lattice.voxels)
        patches = len(state.lattice.patches)
        sizes = {"released_amol": patches + 1, "waiting_amol": 2, "body_amol": 1 + len(self.card.peripheral)}
        sizes |= {"cleared_amol": 1, "washed_out_amol": patches}
        state.drug |= {name: np.zeros(size) for name, size in sizes.items()}
        state.drug_name = self.name
        state.drug["per_particle_amol"] = np.array([self.amol_per_particle or 0.0])
        if self.with_flow:
            if state.vessels is None or state.vessels.graph is None:
                raise InputError("processes.drug", None, "needs vessels as a graph beside perfusion")
            self._graph = state.vessels.graph
            self._segment = nearest_segment(self._graph, state.vessels.voxel, state.lattice)
            for name in ("segment_drug_mM", "segment_source_amol"):
                state.vessels.arrays[name] = np.zeros(len(self._graph.segments))

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if dt_s == 0:
            return
        fields, lattice = state.fields, state.lattice
        self._steady = self._steady or SteadyField(
            streams.process, "drug_mM", lattice, self.card.diffusivity_um2_per_s, state.time_s, tolerance=TOLERANCE
        )
        balance, by_cells, blood = self._balance(state, dt_s), self._by_cells(dt_s), self._blood(state)
        per_plasma = self._of_plasma(state, balance, blood)
        before = float(state.drug["body_amol"][0]) * self._unbound_per_um3(state)
        start = np.maximum(fields["drug_mM"] - before * per_plasma.free, 0.0)
        own = self._solved(state, balance, blood, start, 0.0, self._released(state, blood, dt_s))
        washed, drawn = self._to_plasma(lattice, balance, own), -self._to_plasma(lattice, balance, per_plasma)
        plasma = self._advance_body(state, washed, drawn, dt_s)
        state.drug["washed_out_amol"][...] += dt_s * (washed - plasma * drawn)
        fields["drug_mM"][...] = own.free + plasma * per_plasma.free
        if blood is not None:
            state.vessels["segment_drug_mM"][...] = own.mean + plasma * per_plasma.mean
            state.vessels["segment_source_amol"][...] = 0.0
        self._settle(state, balance.taken * fields["drug_mM"] * lattice.voxel_um3 * dt_s, by_cells)

    def _blood(self, state: StateView) -> Blood | None:
        """As it flows now; None where all blood holds the body's concentration."""
        if not self.with_flow:
            return None
        assert self._graph is not None
        assert self._segment is not None
        vessels, card = state.vessels, self.card
        flow, hematocrit = vessels["segment_flow_um3_per_s"], vessels["segment_hematocrit"]
        clears = card.wall_permeability_um_per_s * vessels["surface_um2"] * vessels["perfused"]
        return Blood.running(self._graph, flow, hematocrit, card.unbound_in_plasma, vessels["voxel"], self._segment, clears)

    def _released(self, state: StateView, blood: Blood | None, dt_s: float) -> Reals:
        """(segments,) amount per second that carriers release in each: as in all plasma, and where it is heated; (0,) at rest."""
        if blood is None:
            return np.empty(0)
        at_large = float(state.drug["waiting_amol"][IN_PLASMA]) / state.plasma_volume_um3
        return np.asarray((at_large * blood.plasma_um3 + state.vessels["segment_source_amol"]) / dt_s)

    def _of_plasma(self, state: StateView, balance: Balance, blood: Blood | None) -> Solution:
        """What an unbound concentration of 1 in the body's plasma adds; the same until flow, vessels or cells change."""
        given = [balance.sink, balance.wall] + ([] if blood is None else [blood.course.flow])
        if self._last is None or not all(map(np.array_equal, self._last[0], given)):
            share = np.divide(balance.wall, balance.sink, out=np.zeros_like(balance.sink), where=balance.sink > 0)
            alone = replace(balance, source=np.zeros_like(balance.source))
            self._last = given, self._solved(state, alone, blood, share, 1.0, np.zeros_like(self._released(state, blood, 1.0)))
        return self._last[1]

    def _solved(
        self, state: StateView, balance: Balance, blood: Blood | None, free: Reals, inlet: float, released: Reals
    ) -> Solution:
        """Tissue in balance with blood that enters with `inlet` and where `released` per second comes in along each segment."""
        assert self._steady is not None
        steady, sink = self._steady, balance.sink
        if blood is None:
            _solve(steady, free, sink, balance.source + balance.wall * inlet, state.time_s)
            return Solution(free, np.full_like(free, inlet), np.empty(0))

        def follows(mean: Reals, change: float) -> Reals:
            source = balance.source + balance.wall * blood.at_walls(mean, state.lattice)
            _solve(steady, free, sink, source, state.time_s, min(max(OF_CHANGE * change, TOLERANCE), LOOSE))
            return blood.mean_along(free, inlet, released)

        try:
            mean, _ = settle(follows, blood.mean_along(free, inlet, released), SETTLED, MOST_ROUNDS)
        except ArithmeticError as failure:
            raise ModelError(f"{steady.process}: blood and tissue at {state.time_s:g} s: {failure}") from failure
        return Solution(free, blood.at_walls(mean, state.lattice), mean)

    def _to_plasma(self, lattice: Lattice, balance: Balance, solution: Solution) -> Reals:
        """(patches,) amol per second that one instance gives to the blood, less what it takes."""
        through = balance.wall * (solution.free - solution.met)
        return np.array([through[planes].sum() for planes in lattice.planes]) * lattice.voxel_um3

    def _unbound_per_um3(self, state: StateView) -> float:
        """Unbound concentration in plasma per amount in its compartment."""
        return self.card.unbound_in_plasma / (state.plasma_volume_um3 * self.card.central_volumes)

    def _by_cells(self, dt_s: float) -> tuple[float, float]:
        """Share of a cell's content that is still there after dt, and the mean share of an even inflow that is."""
        decay = self.card.efflux_per_s * dt_s
        return float(np.exp(-decay)), float(-np.expm1(-decay) / decay) if decay > 0 else 1.0

    def _balance(self, state: StateView, dt_s: float) -> Balance:
        fields, lattice, card = state.fields, state.lattice, self.card
        stays, mean = self._by_cells(dt_s)
        per_s = 1 / (lattice.voxel_um3 * dt_s)
        stored = extracellular(fields) * (1 + card.bound_per_free) / dt_s
        perfused = state.vessels["surface_um2"] * state.vessels["perfused"]
        wall = card.wall_permeability_um_per_s * per_volume(lattice, state.vessels["voxel"], perfused)
        cells = live_cells(lattice, state.populations, self.kinds) / lattice.site_um**3
        given_back = (1 - stays) * fields["drug_in_cells_amol"] + (1 - mean) * fields["drug_source_in_cells_amol"]
        source = stored * fields["drug_mM"] + (fields["drug_source_amol"] + given_back) * per_s
        return Balance(stored, wall, mean * card.influx_um3_per_s * cells, source)

    def _settle(self, state: StateView, taken_amol: Reals, by_cells: tuple[float, float]) -> None:
        """What is in cells and bound after the step; what was released has been taken in."""
        fields, lattice = state.fields, state.lattice
        stays, mean = by_cells
        in_cells = fields["drug_in_cells_amol"]
        in_cells[...] = stays * in_cells + mean * fields["drug_source_in_cells_amol"] + taken_amol
        volume = extracellular(fields) * lattice.voxel_um3
        fields["drug_bound_amol"][...] = self.card.bound_per_free * fields["drug_mM"] * volume
        fields["drug_source_amol"][...] = 0.0
        fields["drug_source_in_cells_amol"][...] = 0.0

    def _advance_body(self, state: StateView, washed: Reals, drawn: Reals, dt_s: float) -> float:
        """The body's compartments over dt; returns the mean unbound concentration in plasma.

        washed: (patches,) amol per second that one instance gives to plasma without drug; drawn: (patches,) µm³ per second of
        unbound plasma concentration that it clears.
        """
        card, body, copies = self.card, state.drug["body_amol"], state.lattice.copies
        unbound_per_um3 = self._unbound_per_um3(state)
        out = np.array([p.to_per_s for p in card.peripheral.values()])
        back = np.array([p.back_per_s for p in card.peripheral.values()])
        rates = np.zeros((len(body), len(body)))
        rates[0, 0] = -(card.elimination_per_s + out.sum() + unbound_per_um3 * float(copies @ drawn))
        rates[0, 1:], rates[1:, 0] = back, out
        rates[range(1, len(body)), range(1, len(body))] = -back
        inflow = np.zeros(len(body))
        inflow[0] = state.drug["waiting_amol"].sum() / dt_s + float(copies @ washed)
        body[...], integral = advance(rates, body, inflow, dt_s)
        state.drug["waiting_amol"][...] = 0.0
        state.drug["cleared_amol"][...] += card.elimination_per_s * integral[0]
        return float(unbound_per_um3 * integral[0] / dt_s)


def _solve(steady: SteadyField, u: Reals, sink: Reals, source: Reals, time_s: float, tolerance: float | None = None) -> None:
    """Solve, and scale each patch by the little that the solver left over: what comes then goes, to rounding."""
    steady.solve(u, sink, source, time_s, tolerance)
    np.maximum(u, 0.0, out=u)
    for planes in steady.planes:
        gone = float((sink[planes] * u[planes]).sum())
        if gone > 0:
            u[planes] *= float(source[planes].sum()) / gone
