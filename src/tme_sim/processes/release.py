"""Release: a carrier gives up its whole payload with a first-order probability, wherever it is (model section 6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.random import Key
from tme_sim.numerics.share import share
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state import substance
from tme_sim.state.parameters import given
from tme_sim.state.variables import FORMS

LOADED, RELEASED = FORMS.index("loaded"), FORMS.index("released")


@dataclass(kw_only=True, eq=False)
class Release(Process):
    """Loaded → released at the rate of the place: blood and organs, interstitium and matrix, endosome, lysosome.

    With `drug` in the run, what a carrier held is handed over to it: to the voxel outside cells, to the cell, or to plasma.
    """

    release: substance.Release = given("nanoparticle.release")
    kinds: tuple[str, ...] = given("cell_kinds")
    pools: tuple[str, ...] = given("carrier_pools")
    drug_amol: float | None = given("drug_per_particle_amol", default=None)
    _footprint: NDArray[np.int64] | None = field(default=None, init=False, repr=False)

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
            key = streams.key(pool)
            if home == "body":
                released = _release(state.body[name], 0, rates.plasma_per_s * dt_s, key)
            elif home == "vessels":
                released = _release(state.vessels[name], 1, rates.cell_per_s * dt_s, key)
            else:
                released = _release(state.fields[name], 1, rates.tissue_per_s * dt_s, key)
            if self.drug_amol is not None and released is not None:
                self._hand_over(state, home, self.drug_amol * released.sum(axis=0))
        for kind in self.kinds:
            population = state.populations[kind]
            for column, rate in (("cargo", rates.cell_per_s), ("lysosome", rates.lysosome_per_s)):
                key = streams.key(kind, column)
                released = _release(population[column], 2, rate * dt_s, key, population["id"][:, None])
                if self.drug_amol is not None and released is not None:
                    self._hand_over_in_cells(state, population["site"], self.drug_amol * released.sum(axis=1))

    def _hand_over(self, state: StateView, home: str, amol: Any) -> None:
        """Drug released outside cells: `amol` by voxel, by wall, or all that is in a pool of the body."""
        if home == "body":
            state.drug["waiting_amol"][...] += amol
            state.drug["released_amol"][-1] += amol
            return
        source = state.fields["drug_source_amol"]
        if home == "vessels":
            amol = np.bincount(state.vessels["voxel"], amol, source.size)
        added = np.asarray(amol, np.float64).reshape(source.shape)
        source += added
        self._tally(state, added)

    def _hand_over_in_cells(self, state: StateView, site: NDArray[np.int64], amol: NDArray[np.float64]) -> None:
        if self._footprint is None:
            self._footprint = state.lattice.footprint()
        source = state.fields["drug_source_in_cells_amol"]
        voxels = self._footprint[site]
        share_amol = np.broadcast_to(amol[:, None] / voxels.shape[1], voxels.shape)
        added = np.asarray(np.bincount(voxels.ravel(), share_amol.ravel(), source.size), np.float64).reshape(source.shape)
        source += added
        self._tally(state, added)

    def _tally(self, state: StateView, amol: NDArray[np.float64]) -> None:
        for patch, planes in enumerate(state.lattice.planes):
            state.drug["released_amol"][patch] += amol[planes].sum()


def _release(
    amount: NDArray[Any], form_axis: int, rate_dt: float, key: Key, ids: NDArray[np.int64] | None = None
) -> NDArray[Any] | None:
    """Release in place; returns what was, without the axis of forms, or None at no rate."""
    if rate_dt == 0:
        return None
    forms = np.moveaxis(amount, form_axis, 0)
    loaded = np.atleast_1d(forms[LOADED])
    held = np.nonzero(loaded)
    entity = np.ravel_multi_index(held, loaded.shape) if ids is None else ids[held[0], 0] * loaded.shape[1] + held[1]
    released: NDArray[Any] = np.zeros_like(loaded)
    released[held] = share(loaded[held], -np.expm1(-rate_dt), key, entity)
    released = released.reshape(np.shape(forms[LOADED]))
    forms[LOADED] -= released
    forms[RELEASED] += released
    return released
