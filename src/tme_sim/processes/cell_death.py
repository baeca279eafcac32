"""The death of tumour cells, and who clears the dead: what they held goes back to the tissue or to the one that ate them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.random import uniforms
from tme_sim.numerics.walk import meet
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.cells import IN_CELLS, Space, free_drug, give_back, give_phases, is_alive, occupied_sites
from tme_sim.state.lattice import Lattice
from tme_sim.state.parameters import given, parameter
from tme_sim.state.population import Population
from tme_sim.state.state import State
from tme_sim.state.variables import DEAD, PHASES

NECROTIC, APOPTOTIC = PHASES.index("necrotic"), PHASES.index("apoptotic")

Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]


@dataclass(kw_only=True, eq=False)
class CellDeath(Process):
    """Necrosis after a time without oxygen, apoptosis at a rate; what else kills a cell makes its `phase` apoptotic.

    The dead keep their site and what they hold, consume and take up nothing, and are pushed as the living are. A dead cell falls
    apart at a rate of its phase, and what it held goes into the interstitium by its route; a macrophage on its site or behind a
    face of it that has oxygen eats it at another rate, and has then all of its particles in its endosomes. Released drug that
    was in the cell is outside in either case.
    """

    anoxic_below_mmHg: float = parameter("oxygen below which a cell cannot live for long", at_least=0, at_most=160)
    survival_s: float = parameter("how long it lives below that, without a break", at_least=0)
    apoptosis_per_s: float = parameter("rate of apoptosis of live cells", at_least=0)
    apoptotic_lysis_per_s: float = parameter("rate at which an apoptotic cell falls apart", at_least=0)
    necrotic_lysis_per_s: float = parameter("rate at which a necrotic cell falls apart", at_least=0)
    engulfment_per_s: float = parameter("rate at which a macrophage in contact eats a dead cell", at_least=0)
    space: Space = given("cell_space")
    with_oxygen: bool = given("has_oxygen", default=False)
    with_drug: bool = given("has_drug", default=False)

    @property
    def reads(self) -> frozenset[str]:
        oxygen = {"fields.oxygen_mmHg"} if self.with_oxygen else set()
        return frozenset({"fields.lumen_fraction", "fields.inside", "populations.macrophages.site"} | oxygen)

    @property
    def writes(self) -> frozenset[str]:
        drug = {f"fields.{name}" for name in ("drug_mM", "drug_source_amol", *IN_CELLS)} if self.with_drug else set()
        fields = {f"fields.{name}" for name in ("nanoparticle", "cell_fraction", "accessible_fraction")}
        return frozenset(fields | drug | {"populations.tumor_cells", "populations.macrophages.cargo"})

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """All cells live, and have had oxygen until now."""
        cells = state.populations["tumor_cells"]
        give_phases(cells)
        cells.columns["anoxic_s"] = np.zeros(len(cells))
        state.fields.setdefault("nanoparticle", state.empty_field())

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if dt_s == 0:
            return
        cells = state.population("tumor_cells")
        self._clear(state, cells, dt_s, streams)
        self._kill(state, cells, dt_s, streams)

    def _kill(self, state: StateView, cells: Population, dt_s: float, streams: Streams) -> None:
        phase, anoxic_s = cells["phase"], cells["anoxic_s"]
        anoxic_s[...] = np.where(self._lacks_oxygen(state, cells["site"]), anoxic_s + dt_s, 0.0)
        phase[is_alive(cells) & (anoxic_s > self.survival_s)] = NECROTIC
        dies = uniforms(streams.key("apoptosis"), cells["id"]) < -np.expm1(-self.apoptosis_per_s * dt_s)
        phase[is_alive(cells) & dies] = APOPTOTIC

    def _clear(self, state: StateView, cells: Population, dt_s: float, streams: Streams) -> None:
        """Falling apart and being eaten exclude each other."""
        dead = np.flatnonzero(cells["phase"] >= DEAD)
        if len(dead) == 0:
            return
        lattice, ids, site = state.lattice, cells["id"][dead], cells["site"][dead]
        eater = self._eaters(state, site, ids, streams)
        lysis = np.where(cells["phase"][dead] == NECROTIC, self.necrotic_lysis_per_s, self.apoptotic_lysis_per_s)
        rate = lysis + (eater >= 0) * self.engulfment_per_s
        ends = uniforms(streams.key("clear"), ids) < -np.expm1(-rate * dt_s)
        eaten = ends & (eater >= 0) & (uniforms(streams.key("how"), ids) * rate >= lysis)
        if not ends.any():
            return
        held = cells["cargo"][dead[eaten]] + cells["lysosome"][dead[eaten]]
        np.add.at(state.populations["macrophages"]["cargo"], eater[eaten], held)
        fallen_apart, gone = np.zeros((2, len(cells)), bool)
        fallen_apart[dead[ends & ~eaten]] = gone[dead[ends]] = True
        give_back(lattice, state.fields, cells, fallen_apart, streams.key("debris"))
        cells.remove(gone)
        self._vacate(state, cells, site[ends])

    def _eaters(self, state: StateView, site: Integers, ids: Integers, streams: Streams) -> Integers:
        """(dead,) the row of a macrophage in contact that breathes, -1 for none."""
        macrophages = state.populations["macrophages"]["site"]
        able = np.flatnonzero(~self._lacks_oxygen(state, macrophages))
        found = meet(site, macrophages[able], ways(state.lattice), streams.key("meet"), ids)
        return np.where(found >= 0, able[found] if len(able) else found, found)

    def _lacks_oxygen(self, state: StateView, site: Integers) -> Bools:
        if not self.with_oxygen:
            return np.zeros(len(site), bool)
        return np.asarray(state.lattice.on_sites(state.fields["oxygen_mmHg"]).ravel()[site] < self.anoxic_below_mmHg)

    def _vacate(self, state: StateView, cells: Population, left: Integers) -> None:
        taken = occupied_sites(state.lattice, {"macrophages": state.populations["macrophages"], "tumor_cells": cells})
        if self.with_drug:
            free_drug(state.lattice, state.fields, np.unique(left[~taken[left]]))
        self.space.fill(state.lattice, state.fields, taken)


def ways(lattice: Lattice) -> Bools:
    """(6, z, y, x) whether a face of a site leads to another of its patch."""
    found = np.ones((6, *lattice.sites), bool)
    for patch in lattice.patches:
        found[0, patch.first_plane] = found[1, patch.first_plane + patch.planes - 1] = False
    found[2, :, 0] = found[3, :, -1] = found[4, :, :, 0] = found[5, :, :, -1] = False
    return found
