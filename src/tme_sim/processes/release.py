"""Release: a carrier gives up its whole payload with a first-order probability, wherever it is (model section 6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.convert import convert
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state import substance
from tme_sim.state.drug import release_in_cells, release_on_voxels
from tme_sim.state.parameters import given
from tme_sim.state.variables import FORMS


@dataclass(kw_only=True, eq=False)
class Release(Process):
    """Loaded → released at the rate of the place: blood and organs, interstitium and matrix, endosome, lysosome.

    With `drug` in the run, what a carrier held is handed over to it: to the voxel outside cells, to the cell, or to plasma.
    """

    release: substance.Release = given("nanoparticle.release")
    kinds: tuple[str, ...] = given("carrying_kinds")
    pools: tuple[str, ...] = given("carrier_pools")
    drug_amol: float | None = given("drug_per_particle_amol", default=None)

    @property
    def reads(self) -> frozenset[str]:
        return frozenset() if self.drug_amol is None else frozenset(f"populations.{kind}.site" for kind in self.kinds)

    @property
    def writes(self) -> frozenset[str]:
        columns = {f"populations.{kind}.{column}" for kind in self.kinds for column in ("cargo", "lysosome")}
        drug = {"fields.drug_source_amol", "fields.drug_source_in_cells_amol", "drug.waiting_amol", "drug.released_amol"}
        return frozenset(set(self.pools) | columns | (drug if self.drug_amol is not None else set()))

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        rates = self.release
        for pool in self.pools:
            home, name = pool.split(".", 1)
            per_s = {"body": rates.plasma_per_s, "vessels": rates.cell_per_s}.get(home, rates.tissue_per_s)
            if per_s > 0:
                amount = getattr(state, home)[name]
                forms = amount.reshape(1, len(FORMS), 1) if home == "body" else amount.reshape(len(amount), len(FORMS), -1)
                released = convert(forms, -np.expm1(-per_s * dt_s), streams.key(pool))
                if self.drug_amol is not None:
                    self._hand_over(state, pool, self.drug_amol * released)
        for kind in self.kinds:
            population = state.populations[kind]
            for column, per_s in (("cargo", rates.cell_per_s), ("lysosome", rates.lysosome_per_s)):
                if per_s > 0:
                    forms = np.moveaxis(population[column], 0, -1)
                    released = convert(forms, -np.expm1(-per_s * dt_s), streams.key(kind, column), population["id"])
                    if self.drug_amol is not None:
                        release_in_cells(state.lattice, state.fields, state.drug, population["site"], self.drug_amol * released)

    def _hand_over(self, state: StateView, pool: str, amol: NDArray[np.float64]) -> None:
        """Drug released outside cells: `amol` by voxel, by wall, or all that is in a pool of the body, plasma or other."""
        home = pool.split(".")[0]
        if home == "body":
            state.drug["waiting_amol"][0 if pool == "body.plasma" else 1] += amol.item()
            state.drug["released_amol"][-1] += amol.item()
            return
        if home == "vessels":
            amol = np.asarray(np.bincount(state.vessels["voxel"], amol, state.lattice.n_voxels), np.float64)
        release_on_voxels(state.lattice, state.fields, state.drug, amol.reshape(state.lattice.voxels))
