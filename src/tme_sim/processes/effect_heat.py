"""What heat does to tumour cells (model section 7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.damage import give_damage, harm
from tme_sim.state.parameters import parameter
from tme_sim.state.state import State

Reals = NDArray[np.float64]


@dataclass(kw_only=True, eq=False)
class EffectHeat(Process):
    """Survival 2^(−(C/C50)^n) after a thermal dose of C equivalent minutes at 43 °C, counted by the process `heat`.

    n = 1 is an exponential curve, larger n has a shoulder, and a large n is a threshold at C50. Tolerance that heat induces is
    left out. Thermal dose: Sapareto & Dewey 1984, doi:10.1016/0360-3016(84)90379-1.
    """

    half_dose_s: float = parameter("time at 43 °C after which half of the cells survive", above=0)
    exponent: float = parameter(
        "how steep survival falls with the dose: 1 exponential, more with a shoulder", above=0, at_most=50
    )

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"fields.thermal_dose_min", "populations.tumor_cells.site"})

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({"fields.thermal_dose_seen_min", "populations.tumor_cells.damage", "populations.tumor_cells.phase"})

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """No dose has been counted yet."""
        give_damage(state.populations["tumor_cells"])
        state.fields["thermal_dose_seen_min"] = np.zeros(state.lattice.voxels)

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if dt_s == 0:
            return
        dose, seen = state.fields["thermal_dose_min"], state.fields["thermal_dose_seen_min"]
        hazard = state.lattice.on_sites(self._hazard(dose) - self._hazard(seen)).ravel()
        seen[...] = dose
        cells = state.populations["tumor_cells"]
        harm(cells, hazard[cells["site"]], streams.seed)

    def _hazard(self, dose_min: Reals) -> Reals:
        return np.asarray(np.log(2) * (dose_min * 60 / self.half_dose_s) ** self.exponent)
