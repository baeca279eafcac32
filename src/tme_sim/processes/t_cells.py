"""Labelled T cells: they come out of the vessels, walk at random, and dilute their label as they divide (model section 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.poisson import events
from tme_sim.numerics.random import uniforms
from tme_sim.numerics.share import share
from tme_sim.numerics.transport import face_rates
from tme_sim.numerics.walk import walk
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.parameters import parameter
from tme_sim.state.population import Population
from tme_sim.state.state import State


@dataclass(kw_only=True, eq=False)
class TCells(Process):
    """Poisson numbers cross the perfused wall, arrival · e^(−t ln 2/T_½) per area and time; each walks with ⟨r²⟩ = 6 D t.

    In a step a cell divides with the chance 2^(dt/T_d) − 1, each label goes with either daughter, as likely: after g divisions
    it holds 2^(−g) of `label_per_cell` in the mean. T cells pass between the others, take no volume and no particles.
    `labels_in` = what is in cells + `labels_out`, which those that die leave.
    """

    arrival_per_um2_s: float = parameter("cells that cross per area of perfused wall and time, at the start", at_least=0)
    arrival_half_life_s: float | None = parameter("half-life of the arrival; null: it goes on", default=None, above=0)
    motility_um2_per_s: float = parameter("random motility, ⟨r²⟩ = 6 D t", above=0, at_most=100)
    doubling_time_s: float | None = parameter("time in which their number doubles; null: none divides", default=None, above=0)
    death_per_s: float = parameter("rate of dying", at_least=0)
    label_per_cell: int = parameter("labels of a cell that has not divided in the tissue", at_least=1, at_most=10**12)
    _rates: NDArray[np.float64] | None = field(default=None, init=False, repr=False)

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"vessels.perfused", "fields.accessible_fraction"})

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({"populations.t_cells", "traits.labels_in", "traits.labels_out"})

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """Nobody in the tissue."""
        nobody = np.zeros(0, np.int64)
        columns = {"site": nobody, "divisions": nobody.copy(), "label": np.zeros(0, state.total_dtype)}
        state.populations["t_cells"] = Population(columns)
        state.body.traits |= {"labels_in": np.zeros(1), "labels_out": np.zeros(1)}

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if dt_s == 0:
            return
        cells: Population = state.population("t_cells")
        if len(cells):
            if self._rates is None:
                open_to = state.lattice.on_sites(state.fields["accessible_fraction"]) > 0
                blocked = [patch.first_plane for patch in state.lattice.patches[1:]]
                self._rates = face_rates(self.motility_um2_per_s, open_to.astype(float), state.lattice.site_um, blocked).out()
            cells.columns["site"] = walk(cells["site"], self._rates, dt_s, streams.key("walk"), cells["id"])
            dies = uniforms(streams.key("die"), cells["id"]) < -np.expm1(-self.death_per_s * dt_s)
            state.traits["labels_out"][...] += cells["label"][dies].sum()
            cells.remove(dies)
            self._divide(cells, dt_s, streams)
        self._arrive(state, cells, dt_s, streams)

    def _divide(self, cells: Population, dt_s: float, streams: Streams) -> None:
        if self.doubling_time_s is None:
            return
        chance = min(np.exp2(dt_s / self.doubling_time_s) - 1, 1.0)
        mothers = np.flatnonzero(uniforms(streams.key("divide"), cells["id"]) < chance)
        half = share(cells["label"][mothers], 0.5, streams.key("split"), cells["id"][mothers])
        cells["label"][mothers] -= half
        cells["divisions"][mothers] += 1
        cells.add({"site": cells["site"][mothers], "divisions": cells["divisions"][mothers], "label": half})

    def _arrive(self, state: StateView, cells: Population, dt_s: float, streams: Streams) -> None:
        expected = self.arrival_per_um2_s * self._lasting_s(state.time_s, dt_s)
        rows = events(expected * state.vessels["surface_um2"] * state.vessels["perfused"], streams.key("arrive"))
        if len(rows):
            site = state.lattice.site_of_voxel(state.vessels["voxel"][rows])
            cells.add({"site": site, "label": np.full(len(site), self.label_per_cell)})
            state.traits["labels_in"][...] += float(self.label_per_cell) * len(site)

    def _lasting_s(self, time_s: float, dt_s: float) -> float:
        """∫ e^(−t ln 2/T_½) dt over the step."""
        if self.arrival_half_life_s is None:
            return dt_s
        rate = np.log(2) / self.arrival_half_life_s
        return float(np.exp(-rate * time_s) * -np.expm1(-rate * dt_s) / rate)
