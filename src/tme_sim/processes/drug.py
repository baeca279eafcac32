"""The drug that carriers have released: dissolved, bound, in cells, and washed out into the body (model section 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.compartments import advance
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.drug import extracellular
from tme_sim.state.parameters import given
from tme_sim.state.state import State
from tme_sim.state.steady import SteadyField, live_cells, per_volume
from tme_sim.state.substance import SmallMolecule

Reals = NDArray[np.float64]


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


@dataclass(kw_only=True, eq=False)
class Drug(Process):
    """(1 + b) ε ∂c/∂t = ∇·(D∇c) − P (S/V)(c − c_p) − n CL c + k a + s, ∂a/∂t = n CL c − k a, and the body's compartments.

    c is the free concentration in the extracellular share ε, b what is bound per free, a the amount in n cells per volume, S the
    perfused wall, c_p the unbound concentration in plasma. Diffusion settles within seconds to minutes: c is taken at the end of
    each interval (one implicit step: the steady balance where that is long, and nothing is lost where it is not), a and the body
    follow exactly from a constant c and a constant inflow. Plasma is one and the same everywhere, so washout is limited by the
    wall and not by the blood's flow. Drug released in the body's organs is taken as in plasma at once.
    """

    card: SmallMolecule = given("small_molecule")
    kinds: tuple[str, ...] = given("cell_kinds")
    _steady: SteadyField | None = field(default=None, init=False, repr=False)
    _last: tuple[Reals, Reals, Reals] | None = field(default=None, init=False, repr=False)

    @property
    def reads(self) -> frozenset[str]:
        fields = {"fields.lumen_fraction", "fields.cell_fraction"}
        return frozenset({"vessels.perfused"} | fields | {f"populations.{kind}.site" for kind in self.kinds})

    @property
    def writes(self) -> frozenset[str]:
        fields = ("drug_mM", "drug_bound_amol", "drug_in_cells_amol", "drug_source_amol", "drug_source_in_cells_amol")
        body = ("waiting_amol", "body_amol", "cleared_amol", "washed_out_amol")
        return frozenset({f"fields.{name}" for name in fields} | {f"drug.{name}" for name in body})

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """No drug anywhere; and the tallies that `release` adds to."""
        for name in self.writes:
            if name.startswith("fields."):
                state.fields[name.removeprefix("fields.")] = np.zeros(state.lattice.voxels)
        patches = len(state.lattice.patches)
        sizes = {"released_amol": patches + 1, "waiting_amol": 1, "body_amol": 1 + len(self.card.peripheral)}
        sizes |= {"cleared_amol": 1, "washed_out_amol": patches}
        state.drug |= {name: np.zeros(size) for name, size in sizes.items()}

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if dt_s == 0:
            return
        fields, lattice = state.fields, state.lattice
        steady = self._steady = self._steady or SteadyField(
            streams.process, "drug_mM", lattice, self.card.diffusivity_um2_per_s, state.time_s
        )
        balance, by_cells = self._balance(state, dt_s), self._by_cells(dt_s)
        sink, free = balance.sink, fields["drug_mM"]
        own = free.copy()
        _solve(steady, own, sink, balance.source, state.time_s)
        of_plasma = self._of_plasma(steady, balance, sink, state.time_s)
        washed = np.array([(balance.wall * own)[planes].sum() for planes in lattice.planes]) * lattice.voxel_um3
        drawn = np.array([(balance.wall * (1 - of_plasma))[planes].sum() for planes in lattice.planes]) * lattice.voxel_um3
        plasma = self._advance_body(state, washed, drawn, dt_s)
        state.drug["washed_out_amol"][...] += dt_s * (washed - plasma * drawn)
        free[...] = own + plasma * of_plasma
        self._settle(state, balance.taken * free * lattice.voxel_um3 * dt_s, by_cells)

    def _of_plasma(self, steady: SteadyField, balance: Balance, sink: Reals, time_s: float) -> Reals:
        """What an unbound concentration of 1 in plasma adds to the free one; the same until vessels or cells change."""
        last = self._last
        if last is None or not (np.array_equal(last[0], sink) and np.array_equal(last[1], balance.wall)):
            share = np.divide(balance.wall, sink, out=np.zeros_like(sink), where=sink > 0)
            _solve(steady, share, sink, balance.wall, time_s)
            self._last = last = (sink, balance.wall, share)
        return last[2]

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
        unbound_per_um3 = card.unbound_in_plasma / (state.plasma_volume_um3 * card.central_volumes)
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


def _solve(steady: SteadyField, u: Reals, sink: Reals, source: Reals, time_s: float) -> None:
    """Solve, and scale each patch by the little that the solver left over: what comes then goes, to rounding."""
    steady.solve(u, sink, source, time_s)
    np.maximum(u, 0.0, out=u)
    for planes in steady.planes:
        gone = float((sink[planes] * u[planes]).sum())
        if gone > 0:
            u[planes] *= float(source[planes].sum()) / gone
