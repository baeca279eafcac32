"""Uptake by cells: interstitium → endosome → lysosome → degraded, and back by exocytosis (model section 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.collect import collect
from tme_sim.numerics.share import share, split
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state import substance
from tme_sim.state.parameters import given
from tme_sim.state.state import State
from tme_sim.state.variables import FORMS, ROUTES


@dataclass(kw_only=True, eq=False)
class Uptake(Process):
    """dN/dt = CL (C/φ)(1 − N/N_max) − k_exo N − k_mat N per cell, C/φ averaged over the cell's footprint.

    The clearance is per cell, so the result does not depend on how finely the site is meshed. Cells of all kinds on a site
    compete for the same particles.
    """

    uptake: Mapping[str, substance.Uptake] = given("nanoparticle.uptake")
    kinds: tuple[str, ...] = given("cell_kinds")
    _footprint: NDArray[np.int64] | None = field(default=None, init=False, repr=False)

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"fields.accessible_fraction"} | {f"populations.{kind}.site" for kind in self.kinds})

    @property
    def writes(self) -> frozenset[str]:
        columns = {f"populations.{kind}.{column}" for kind in self.kinds for column in ("cargo", "lysosome")}
        return frozenset({"fields.nanoparticle"} | columns)

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """Empty endosomes and lysosomes."""
        state.fields.setdefault("nanoparticle", state.empty_field())
        for kind in self.kinds:
            population = state.populations[kind]
            for column in ("cargo", "lysosome"):
                population.columns[column] = state.empty_cargo(len(population))

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if self._footprint is None:
            self._footprint = state.lattice.footprint()
        accessible = state.fields["accessible_fraction"].ravel()
        self._give_back(state, accessible, dt_s, streams)
        self._take_up(state, accessible, dt_s, streams)

    def _take_up(self, state: StateView, accessible: NDArray[np.float64], dt_s: float, streams: Streams) -> None:
        assert self._footprint is not None
        cells = [state.populations[kind] for kind in self.kinds]
        if not cells:
            return
        clearance = [self._clearance(self.uptake[kind], population) for kind, population in zip(self.kinds, cells, strict=True)]
        free = state.fields["nanoparticle"].reshape(len(ROUTES) * len(FORMS), -1)
        taken = collect(
            free,
            np.concatenate([population["site"] for population in cells]),
            np.concatenate(clearance),
            accessible,
            state.lattice.voxel_um3,
            self._footprint,
            dt_s,
            streams.key("take up"),
        )
        start = 0
        for population in cells:
            stop = start + len(population["site"])
            population["cargo"][...] += taken[start:stop].reshape(-1, len(ROUTES), len(FORMS))
            start = stop

    def _clearance(self, uptake: substance.Uptake, population: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        held = population["cargo"].sum(axis=(1, 2)) + population["lysosome"].sum(axis=(1, 2))
        return np.asarray(uptake.clearance_um3_per_s * np.clip(1 - held / uptake.saturation, 0, 1))

    def _give_back(self, state: StateView, accessible: NDArray[np.float64], dt_s: float, streams: Streams) -> None:
        """Degradation, then maturation and exocytosis into the footprint's accessible volume: exact first-order steps."""
        assert self._footprint is not None
        free = state.fields["nanoparticle"].reshape(len(ROUTES) * len(FORMS), -1)
        for kind in self.kinds:
            uptake, population = self.uptake[kind], state.populations[kind]
            ids, site = population["id"], population["site"]
            endosome, lysosome = (population[name].reshape(len(ids), -1) for name in ("cargo", "lysosome"))
            cell, part, amount, entity = _held(lysosome, ids)
            degraded = share(amount, -np.expm1(-uptake.degradation_per_s * dt_s), streams.key(kind, "degrade"), entity)
            lysosome[cell, part] -= degraded
            tally = state.ledger.degraded.reshape(len(state.ledger.degraded), -1)
            np.add.at(tally, (state.lattice.patch_of_site(site)[cell], part), degraded)

            cell, part, amount, entity = _held(endosome, ids)
            voxels = self._footprint[site[cell]]
            volume = accessible[voxels]
            open_to = volume.sum(axis=1) > 0
            exits = np.stack([uptake.exocytosis_per_s * open_to, np.full(len(cell), uptake.maturation_per_s)], axis=1)
            rate = exits.sum(axis=1)
            leaving = share(amount, -np.expm1(-rate * dt_s), streams.key(kind, "leave"), entity)
            exits[rate == 0] = 1  # nothing leaves such a cell; split only needs somewhere to put zero
            out, matured = split(leaving, exits, streams.key(kind, "way"), entity).T
            endosome[cell, part] -= leaving
            lysosome[cell, part] += matured
            volume[~open_to] = 1
            spread = split(out, volume, streams.key(kind, "place"), entity)
            np.add.at(free, (part[:, None], voxels), spread.astype(free.dtype, copy=False))


def _held(
    cargo: NDArray[Any], ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any], NDArray[np.int64]]:
    """What is held, sparsely: row, component, amount, and an entity number from the stable id, whatever the rows' order."""
    cell, part = np.nonzero(cargo)
    return cell, part, cargo[cell, part], ids[cell] * cargo.shape[1] + part
