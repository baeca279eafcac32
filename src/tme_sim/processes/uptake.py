"""Uptake by cells: interstitium → endosome → lysosome → degraded, and back by exocytosis (model section 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.binning import Bins, bins
from tme_sim.numerics.collect import collect
from tme_sim.numerics.turnover import Rates, turn_over
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state import substance
from tme_sim.state.cells import is_alive
from tme_sim.state.drug import release_in_cells
from tme_sim.state.lattice import Lattice
from tme_sim.state.parameters import given
from tme_sim.state.state import State
from tme_sim.state.variables import FORMS, ROUTES


class Static:
    """What follows from the lattice, and from where cells are as long as they stay there."""

    def __init__(self, lattice: Lattice) -> None:
        self.footprint = lattice.footprint()
        self.patch_of_site = lattice.patch_of_site(np.arange(lattice.n_sites))
        self._bins: dict[str, tuple[NDArray[np.int64], Bins]] = {}

    def bins(self, kind: str, site: NDArray[np.int64]) -> Bins:
        """Those of the last time, if nobody has moved."""
        if kind not in self._bins or not np.array_equal(self._bins[kind][0], site):
            self._bins[kind] = site.copy(), bins(site, len(self.footprint))
        return self._bins[kind][1]


@dataclass(kw_only=True, eq=False)
class Uptake(Process):
    """dN/dt = CL (C/φ)(1 − N/N_max) − k_exo N − k_mat N per cell, C/φ averaged over the cell's footprint.

    The clearance is per cell, so the result does not depend on how finely the site is meshed. Cells of all kinds on a site
    compete for the same particles; the dead take up none. With `drug` in the run, what a degraded particle still held is free in
    its cell. With `macrophages` in the run a macrophage of polarisation p clears m2_uptake^p times as much.
    """

    uptake: Mapping[str, substance.Uptake] = given("nanoparticle.uptake")
    kinds: tuple[str, ...] = given("carrying_kinds")
    phased: tuple[str, ...] = given("phased_kinds", default=())
    drug_amol: float | None = given("drug_per_particle_amol", default=None)
    m2_uptake: float | None = given("m2_uptake", default=None)
    _static: Static | None = field(default=None, init=False, repr=False)

    @property
    def reads(self) -> frozenset[str]:
        cells = {f"populations.{kind}.site" for kind in self.kinds} | {f"populations.{kind}.phase" for kind in self.phased}
        polarised = {"populations.macrophages.polarisation"} if self.m2_uptake is not None else set()
        return frozenset({"fields.accessible_fraction"} | cells | polarised)

    @property
    def writes(self) -> frozenset[str]:
        columns = {f"populations.{kind}.{column}" for kind in self.kinds for column in ("cargo", "lysosome")}
        drug = {"fields.drug_source_in_cells_amol", "drug.released_amol"} if self.drug_amol is not None else set()
        return frozenset({"fields.nanoparticle"} | columns | drug)

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """Empty endosomes and lysosomes."""
        state.fields.setdefault("nanoparticle", state.empty_field())
        for kind in self.kinds:
            population = state.populations[kind]
            for column in ("cargo", "lysosome"):
                population.columns[column] = state.empty_cargo(len(population))

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        """What cells hold turns over first; then they take up."""
        lattice, accessible = state.lattice, state.fields["accessible_fraction"].ravel()
        static = self._static = self._static or Static(lattice)
        free = state.fields["nanoparticle"].reshape(len(ROUTES) * len(FORMS), -1)
        payload = np.tile([self.drug_amol or 0.0, 0.0], len(ROUTES))  # loaded, released
        clearance, sites = [], []
        for kind in self.kinds:
            card, population = self.uptake[kind], state.populations[kind]
            ids, site = population["id"], population["site"]
            decayed, held, freed = turn_over(
                population["cargo"].reshape(len(ids), len(free)),
                population["lysosome"].reshape(len(ids), len(free)),
                free,
                static.bins(kind, site),
                ids,
                static.footprint,
                accessible,
                static.patch_of_site,
                Rates(card.exocytosis_per_s, card.maturation_per_s, card.degradation_per_s),
                dt_s,
                streams.key(kind, "turn over"),
                payload,
            )
            tally = state.ledger.degraded
            tally += decayed.reshape(tally.shape)
            if self.drug_amol is not None:
                release_in_cells(lattice, state.fields, state.drug, site, freed)
            clears = card.clearance_um3_per_s * np.clip(1 - held / card.saturation, 0, 1) * is_alive(population)
            if kind == "macrophages" and self.m2_uptake is not None:
                clears = clears * self.m2_uptake ** population["polarisation"]
            clearance.append(clears)
            sites.append(site)
        if sites:
            site = np.concatenate(sites)
            args = (np.concatenate(clearance), accessible, lattice.voxel_um3, static.footprint, dt_s, streams.key("take up"))
            taken = collect(free, site, *args, binned=static.bins("all", site))
            for kind, part in zip(self.kinds, np.split(taken, np.cumsum([len(s) for s in sites])), strict=False):
                cargo = state.populations[kind]["cargo"]
                cargo += part.reshape(cargo.shape)
