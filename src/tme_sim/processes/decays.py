"""The dose that the tissue absorbs from the isotope on its carriers (model section 7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.carriers import carriers_on_voxels, in_tissue
from tme_sim.state.errors import InputError
from tme_sim.state.label import Label
from tme_sim.state.parameters import given, parameter
from tme_sim.state.state import State
from tme_sim.state.steady import SteadyField

J_PER_KEV = 1.602176634e-16
TOLERANCE = 1e-8
"""Of the residual, over the source: energy is conserved to that."""


@dataclass(frozen=True, kw_only=True)
class Isotope:
    """What a decay leaves near where it was: the energy of its electrons and positrons; photons leave the tumour."""

    energy_keV: float = parameter("mean energy of electrons and positrons per decay", above=0)
    range_um: float = parameter("mean distance from the decay at which that energy is absorbed; 0: on the spot", at_least=0)


@dataclass(kw_only=True, eq=False)
class Decays(Process):
    """D(x) = E/ρ ∫∫ K(x − x') A(x', t) dx' dt, with the point kernel K = exp(−r/λ)/(4π λ² r), of mean distance 2λ, the range.

    K is the solution of (1 − λ²∇²) u = A: a single balance for each step, which conserves the energy. Behind the lattice's faces
    tissue goes on as within. A is that of carriers in tissue, wall and cells: each has the label's activity at its injection,
    which decays from the run's start. Not counted are blood in the lumen, photons, and label that has come off.
    """

    isotopes: dict[str, Isotope] = parameter("isotopes by the name that a label has")
    label: Label = given("label")
    density_g_per_mL: float = given("tissue.density_g_per_mL")
    pools: tuple[str, ...] = given("carrier_pools", default=())
    kinds: tuple[str, ...] = given("carrying_kinds", default=())
    _kernel: SteadyField | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.label.activity_Bq == 0:
            raise InputError("nanoparticle.label.activity", "0 Bq", "decays need a label that is active")
        if self.label.name not in self.isotopes:
            told = f"is not among the isotopes of this process ({', '.join(self.isotopes)}); add it with its energy and range"
            raise InputError("nanoparticle.label.name", self.label.name, told)

    @property
    def reads(self) -> frozenset[str]:
        columns = {f"populations.{kind}.{column}" for kind in self.kinds for column in ("site", "cargo", "lysosome")}
        return frozenset(columns | set(in_tissue(self.pools)))

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({"fields.decay_dose_Gy"})

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """No dose yet."""
        state.fields["decay_dose_Gy"] = np.zeros(state.lattice.voxels)

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if dt_s == 0:
            return
        homes = {"fields": state.fields, "vessels": state.vessels}
        carriers = carriers_on_voxels(state.lattice, homes, state.populations, self.pools, self.kinds)
        isotope, lattice = self.isotopes[self.label.name], state.lattice
        voxel_kg = self.density_g_per_mL * lattice.voxel_um3 * 1e-15
        emitted_Gy = carriers * (self._decays(state.time_s, dt_s) * isotope.energy_keV * J_PER_KEV / voxel_kg)
        if isotope.range_um == 0 or not emitted_Gy.any():
            state.fields["decay_dose_Gy"][...] += emitted_Gy
            return
        self._kernel = self._kernel or SteadyField(
            streams.process, "decay_dose_Gy", lattice, (isotope.range_um / 2) ** 2, state.time_s, tolerance=TOLERANCE
        )
        absorbed_Gy = emitted_Gy.copy()
        self._kernel.solve(absorbed_Gy, np.ones(lattice.voxels), emitted_Gy, state.time_s)
        state.fields["decay_dose_Gy"][...] += np.maximum(absorbed_Gy, 0.0)

    def _decays(self, time_s: float, dt_s: float) -> float:
        """Decays of one carrier from now on over dt."""
        assert self.label.half_life_s is not None
        rate_per_s = np.log(2) / self.label.half_life_s
        return float(self.label.activity_Bq * np.exp(-rate_per_s * time_s) * -np.expm1(-rate_per_s * dt_s) / rate_per_s)
