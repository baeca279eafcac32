"""Oxygen: what vessels give and cells consume is in balance at any time (model section 1.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.parameters import given, parameter
from tme_sim.state.state import State
from tme_sim.state.steady import SteadyField, live_cells, per_volume

TOLERANCE = 1e-6
"""Of the residual: some 1e-6 of the field, far below what the mesh costs."""


@dataclass(kw_only=True, eq=False)
class Oxygen(Process):
    """D ∇²P − M P/(P + P50) · cells/density + k (S/V) (P_blood − P) = 0, S the perfused wall; nothing passes the patches' faces.

    M is the largest consumption of tissue with `cells.density` live cells, so that a cell consumes the same on any mesh.
    Diffusion takes seconds where vessels and cells change over minutes: the balance holds at every application, and the field
    is that of blood before the first.
    """

    diffusivity_um2_per_s: float = parameter("diffusivity of oxygen in tissue", above=0, at_most=10000)
    consumption_mmHg_per_s: float = parameter("largest consumption of tissue with cells.density live cells", at_least=0)
    half_consumption_mmHg: float = parameter("partial pressure at half of that, P50", above=0)
    blood_mmHg: float = parameter("partial pressure in blood", above=0, at_most=800)
    wall_permeability_um_per_s: float = parameter("permeability from blood through the wall", above=0)
    density_per_um3: float = given("cells.density_per_um3")
    kinds: tuple[str, ...] = given("cell_kinds")
    phased: tuple[str, ...] = given("phased_kinds", default=())
    _balance: SteadyField | None = field(default=None, init=False, repr=False)

    @property
    def reads(self) -> frozenset[str]:
        cells = {f"populations.{kind}.site" for kind in self.kinds} | {f"populations.{kind}.phase" for kind in self.phased}
        return frozenset({"vessels.perfused"} | cells)

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({"fields.oxygen_mmHg"})

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """As in blood, until the first step."""
        state.fields["oxygen_mmHg"] = np.full(state.lattice.voxels, self.blood_mmHg)

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if dt_s == 0:
            return
        lattice, now_s = state.lattice, state.time_s
        self._balance = balance = self._balance or SteadyField(
            streams.process, "oxygen_mmHg", lattice, self.diffusivity_um2_per_s, now_s, tolerance=TOLERANCE
        )
        perfused = state.vessels["surface_um2"] * state.vessels["perfused"]
        exchange = self.wall_permeability_um_per_s * per_volume(lattice, state.vessels["voxel"], perfused)
        cells = live_cells(lattice, state.populations, self.kinds)
        largest = self.consumption_mmHg_per_s / (self.density_per_um3 * lattice.site_um**3) * cells
        balance.solve_saturable(
            state.fields["oxygen_mmHg"], exchange, exchange * self.blood_mmHg, largest, self.half_consumption_mmHg, now_s
        )
