"""Acidity: acid made by cells and washed out by vessels sets the extracellular pH (model section 1.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.errors import InputError
from tme_sim.state.parameters import given, parameter
from tme_sim.state.state import State
from tme_sim.state.steady import SteadyField, live_cells, per_volume

TOLERANCE = 1e-6
"""Of the residual: some 1e-6 of the field, far below what the mesh costs."""


@dataclass(kw_only=True, eq=False)
class Acidity(Process):
    """A steady balance of acid, written for what it takes from the pH at constant buffering, a = pH_blood − pH.

    D ∇²a + k (a_max − a) · cells/density − P (S/V) a = 0 with a_max = pH_blood − pH_lowest and S the perfused wall. Cells make
    less acid the more of it there is and none at pH_lowest, so the pH stays between the two; k is the rate at which tissue
    with `cells.density` cells would approach pH_lowest without vessels.
    """

    diffusivity_um2_per_s: float = parameter("diffusivity of acid and its buffers", above=0, at_most=10000)
    acidification_per_s: float = parameter("rate at which cells of cells.density approach lowest_pH", at_least=0)
    wall_permeability_um_per_s: float = parameter("permeability of the vessel wall to acid", above=0)
    blood_pH: float = parameter("pH of blood", above=6, below=8)
    lowest_pH: float = parameter("pH at which cells make no more acid", above=5, below=8)
    density_per_um3: float = given("cells.density_per_um3")
    kinds: tuple[str, ...] = given("cell_kinds")
    phased: tuple[str, ...] = given("phased_kinds", default=())
    _balance: SteadyField | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.lowest_pH >= self.blood_pH:
            raise InputError("processes.acidity.lowest_pH", self.lowest_pH, f"must be below blood_pH, {self.blood_pH:g}")

    @property
    def reads(self) -> frozenset[str]:
        cells = {f"populations.{kind}.site" for kind in self.kinds} | {f"populations.{kind}.phase" for kind in self.phased}
        return frozenset({"vessels.perfused"} | cells)

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({"fields.pH"})

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """As in blood, until the first step."""
        state.fields["pH"] = np.full(state.lattice.voxels, self.blood_pH)

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if dt_s == 0:
            return
        lattice, now_s = state.lattice, state.time_s
        self._balance = balance = self._balance or SteadyField(
            streams.process, "pH", lattice, self.diffusivity_um2_per_s, now_s, tolerance=TOLERANCE
        )
        perfused = state.vessels["surface_um2"] * state.vessels["perfused"]
        washout = self.wall_permeability_um_per_s * per_volume(lattice, state.vessels["voxel"], perfused)
        cells = live_cells(lattice, state.populations, self.kinds)
        making = self.acidification_per_s / (self.density_per_um3 * lattice.site_um**3) * cells
        pH = state.fields["pH"]
        acid = self.blood_pH - pH
        if balance.solve(acid, making + washout, making * (self.blood_pH - self.lowest_pH), now_s):
            pH[...] = self.blood_pH - acid
