"""What the released drug does to tumour cells (model section 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.damage import DrugEffect, give_damage, harm
from tme_sim.state.errors import InputError
from tme_sim.state.parameters import given, parameter
from tme_sim.state.state import State
from tme_sim.state.substance import SmallMolecule

Reals = NDArray[np.float64]


@dataclass(kw_only=True, eq=False)
class EffectDrug(Process):
    """Survival by Hill, 1/(1 + (c/IC50)^n) after the assay's exposure T, as a hazard that grows with what is in the cell.

    c = a k/CL is the free concentration with which a cell that holds a is in balance (k its efflux, CL its influx): what an assay
    reports is the medium's, while the killing is that of the drug inside. by=exposure: ln(1 + (∫c dt/(IC50 T))^n) after ∫c dt,
    so that the area under the curve counts; by=concentration: ln(1 + (c/IC50)^n)/T per second, so that each moment counts by
    itself. Both are the assay where c is constant for T. Growth that a drug only holds up is counted as death.
    """

    by: Literal["exposure", "concentration"] = parameter("what counts: the area under the curve, or each moment by itself")
    drug: DrugEffect = given("drug_effect")
    card: SmallMolecule = given("small_molecule")
    kinds: tuple[str, ...] = given("cell_kinds")

    def __post_init__(self) -> None:
        for key in ("influx_um3_per_s", "efflux_per_s"):
            if not getattr(self.card, key) > 0:
                told = "must be above 0: the effect is that of the concentration with which a cell is in balance"
                raise InputError(f"drug.transport.{key.split('_')[0]}", getattr(self.card, key), told)

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"fields.drug_in_cells_amol"} | {f"populations.{kind}.site" for kind in (*self.kinds, "tumor_cells")})

    @property
    def writes(self) -> frozenset[str]:
        columns = ("damage", "phase") + (("drug_exposure_mM_s",) if self.by == "exposure" else ())
        return frozenset(f"populations.tumor_cells.{column}" for column in columns)

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """No cell has met any drug."""
        cells = state.populations["tumor_cells"]
        give_damage(cells)
        if self.by == "exposure":
            cells.columns["drug_exposure_mM_s"] = np.zeros(len(cells))

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if dt_s == 0:
            return
        cells, concentration = state.populations["tumor_cells"], self._concentration_mM(state)
        harm(cells, self._hazard(cells, concentration, dt_s), streams.seed)

    def _hazard(self, cells: Mapping[str, NDArray[Any]], concentration_mM: Reals, dt_s: float) -> Reals:
        drug = self.drug
        if self.by == "concentration":
            return hill_hazard(concentration_mM / drug.half_mM, drug.hill) * (dt_s / drug.exposure_s)
        exposure, half = cells["drug_exposure_mM_s"], drug.half_mM * drug.exposure_s
        before = hill_hazard(exposure / half, drug.hill)
        exposure += concentration_mM * dt_s
        return hill_hazard(exposure / half, drug.hill) - before

    def _concentration_mM(self, state: StateView) -> Reals:
        """(cells,) free concentration in balance with what each holds: an even part of what is in the cells of its site."""
        lattice = state.lattice
        on_site = lattice.on_sites(state.fields["drug_in_cells_amol"]).ravel() * lattice.refinement**3
        sharing = sum(np.bincount(state.populations[kind]["site"], minlength=lattice.n_sites) for kind in self.kinds)
        site = state.populations["tumor_cells"]["site"]
        held_amol = on_site[site] / np.asarray(sharing)[site]
        return np.asarray(held_amol * (self.card.efflux_per_s / self.card.influx_um3_per_s))


def hill_hazard(times_half: Reals, hill: float) -> Reals:
    """−ln of the survival 1/(1 + x^n) at x times the half-effective amount."""
    return np.asarray(np.log1p(times_half**hill))
