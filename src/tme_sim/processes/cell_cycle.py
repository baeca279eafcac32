"""The cycle of tumour cells: with oxygen and room they divide, and what they hold is split between the two (model section 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.crowding import divide
from tme_sim.numerics.random import uniforms
from tme_sim.numerics.share import share
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.cells import IN_CELLS, Space, give_phases, is_alive, move_drug, occupied_sites, parts_of
from tme_sim.state.damage import INHERITED
from tme_sim.state.errors import InputError
from tme_sim.state.parameters import given, parameter
from tme_sim.state.population import Population
from tme_sim.state.state import State
from tme_sim.state.variables import PHASES

CYCLING, QUIESCENT, HYPOXIC = (PHASES.index(name) for name in ("cycling", "quiescent", "hypoxic"))
LEAST_TISSUE = 0.5
"""Share of a site that must be tumour outside vessels for a cell to be pushed or born there."""

Integers = NDArray[np.int64]


@dataclass(kw_only=True, eq=False)
class CellCycle(Process):
    """Live tumour cells with oxygen divide in a step with the chance 2^(dt/T_d) − 1: free growth is 2^(t/T_d) in the mean.

    T_d is the tumour's doubling time. The daughter goes to the nearest free site within `reach`, and the cells on the line to it
    move on by one, macrophages too; without a free site the mother stays quiescent, and tries again at the same rate. Each
    particle goes with the daughter or stays, as likely. A cell on a site below `least_oxygen` is hypoxic and does not divide;
    without `oxygen` in the run none is.

    A block cut out of a dense tumour has no room to grow into. That growth the tumour's mass tells, M_0 2^(t/T_d): the lattice
    and its copies stand for the tissue that was there at the dose and what it grows into, so that %ID never changes by growth
    and %ID/g falls. Added tissue brings no vessels that let more in: the dilution is an upper bound.
    """

    least_oxygen_mmHg: float = parameter("oxygen below which a cell is hypoxic and does not divide", at_least=0, at_most=160)
    reach_um: float = parameter("how far a free site may be that a dividing cell pushes others to", at_least=0, at_most=300)
    doubling_time_s: float | None = given("tissue.doubling_time_s")
    space: Space = given("cell_space")
    with_oxygen: bool = given("has_oxygen", default=False)
    with_drug: bool = given("has_drug", default=False)

    def __post_init__(self) -> None:
        if self.doubling_time_s is None:
            raise InputError("tissue.doubling_time", None, "must be given, for its cells to divide; or leave cell_cycle out")
        if self.interval_s is not None and self.interval_s > self.doubling_time_s:
            most = f"at most tissue.doubling_time, {self.doubling_time_s:g} s: a cell divides once in it"
            raise InputError("processes.cell_cycle.interval", f"{self.interval_s:g} s", most)

    @property
    def reads(self) -> frozenset[str]:
        oxygen = {"fields.oxygen_mmHg"} if self.with_oxygen else set()
        return frozenset({"fields.lumen_fraction", "fields.inside", "traits.doubling_time_s"} | oxygen)

    @property
    def writes(self) -> frozenset[str]:
        drug = {f"fields.{name}" for name in ("drug_mM", *IN_CELLS)} if self.with_drug else set()
        cells = {"populations.tumor_cells", "populations.macrophages.site"}
        return frozenset({"fields.cell_fraction", "fields.accessible_fraction"} | cells | drug)

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """All cells cycle."""
        assert self.doubling_time_s is not None
        give_phases(state.populations["tumor_cells"])
        state.body.traits["doubling_time_s"] = np.array([self.doubling_time_s])

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if dt_s == 0:
            return
        cells: Population = state.population("tumor_cells")
        phase, breathes = cells["phase"], self._breathes(state, cells["site"])
        alive = is_alive(cells)
        phase[alive & ~breathes] = HYPOXIC
        phase[breathes & (phase == HYPOXIC)] = CYCLING
        assert self.doubling_time_s is not None
        chance = min(np.exp2(dt_s / self.doubling_time_s) - 1, 1.0)
        mothers = np.flatnonzero(alive & breathes & (uniforms(streams.key("divide"), cells["id"]) < chance))
        if len(mothers):
            self._divide(state, cells, mothers, streams)

    def _breathes(self, state: StateView, site: Integers) -> NDArray[np.bool_]:
        if not self.with_oxygen:
            return np.ones(len(site), bool)
        on_sites = state.lattice.on_sites(state.fields["oxygen_mmHg"]).ravel()
        return np.asarray(on_sites[site] >= self.least_oxygen_mmHg)

    def _divide(self, state: StateView, cells: Population, mothers: Integers, streams: Streams) -> None:
        lattice, others = state.lattice, state.populations["macrophages"]["site"]
        before = np.concatenate([others, cells["site"]])
        room = lattice.on_sites((1 - state.fields["lumen_fraction"]) * (state.fields["inside"] > 0)) >= LEAST_TISSUE
        patch = lattice.patch_of_site(np.arange(lattice.sites[0]) * lattice.sites[1] * lattice.sites[2])
        key, ids = streams.key("push"), cells["id"][mothers]
        after, born = divide(before, mothers + len(others), room, patch, self.reach_um / lattice.site_um, key, ids)
        fits = born >= 0
        cells["phase"][mothers] = np.where(fits, CYCLING, QUIESCENT)
        mothers, born = mothers[fits], born[fits]
        if len(mothers) == 0:
            return
        if self.with_drug:
            self._carry_drug(state, before, after, mothers + len(others), born)
        others[...] = after[: len(others)]
        cells["site"][...] = after[len(others) :]
        self._bear(cells, mothers, born, streams)
        self.space.fill(lattice, state.fields, occupied_sites(lattice, {"macrophages": {"site": others}, "tumor_cells": cells}))

    def _bear(self, cells: Population, mothers: Integers, born: Integers, streams: Streams) -> None:
        """Daughters with half of what their mothers hold, and `INHERITED`; any other column begins at zero."""
        taken_along = {"site": born} | {column: cells[column][mothers] for column in INHERITED if column in cells}
        for column in ("cargo", "lysosome"):
            held = cells[column][mothers]
            half = share(held, 0.5, streams.key("split", column), parts_of(cells["id"][mothers], held))
            cells[column][mothers] -= half
            taken_along[column] = half
        cells.add(taken_along)

    def _carry_drug(self, state: StateView, before: Integers, after: Integers, mothers: Integers, born: Integers) -> None:
        """Drug in cells is followed by site: each cell has an even part of what is on its own, and mothers give half of that."""
        part = 1 / np.bincount(before, minlength=state.lattice.n_sites)[before]
        part[mothers] /= 2
        moved = np.flatnonzero(after != before)
        who = np.concatenate([moved, mothers])
        move_drug(state.lattice, state.fields, before[who], np.concatenate([after[moved], born]), part[who])
