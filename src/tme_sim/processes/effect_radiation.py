"""What ionising radiation does to tumour cells: beams and decays, with what enhances or sensitises (model section 7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.carriers import carriers_on_voxels, in_tissue
from tme_sim.state.damage import give_damage, harm
from tme_sim.state.errors import InputError
from tme_sim.state.parameters import given, parameter
from tme_sim.state.state import State

Reals = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Fraction:
    """One exposure to a beam."""

    start_s: float = parameter("when it is given, at once", at_least=0)
    dose_Gy: float = parameter("dose to tissue without particles", above=0, at_most=200)
    beam: str = parameter("one of the beams by name")


@dataclass(frozen=True, kw_only=True)
class Beam:
    """Relative rise of the dose per mass of metal in a mass of tissue, (μ_en/ρ of metal)/(μ_en/ρ of tissue) − 1, by metal."""

    gold: float = parameter("rise of the dose per mass share of gold", at_least=-1)
    hafnium: float = parameter("rise of the dose per mass share of hafnium", at_least=-1)


@dataclass(frozen=True, kw_only=True)
class Enhancer:
    """The metal of the particle, which absorbs more of a beam than tissue does."""

    metal: Literal["gold", "hafnium"] = parameter("which metal")
    fraction: float = parameter("mass of the metal per mass of particle", above=0, at_most=1)


@dataclass(frozen=True, kw_only=True)
class Sensitiser:
    """How much more a measured concentration of particles lets a beam kill."""

    ratio: float = parameter("measured ratio by which it raises alpha", at_least=1, at_most=5)
    at_g_per_mL: float = parameter("particle mass per volume at which that was measured", above=0)


@dataclass(kw_only=True, eq=False)
class EffectRadiation(Process):
    """Linear-quadratic survival exp(−α s D − G β D²), with repair between what is given apart.

    A dose d adds α s d + β d (d + 2Γ) to a cell's log-kill, Γ the dose of before that is not repaired, dΓ/dt = d' − μ Γ: this is
    Lea & Catcheside's G for any course of doses (1942, doi:10.1007/BF02982830). Decays count as given evenly over each interval.

    A beam's dose is D (1 + r w): w the mass share of the metal, r the beam's rise for it in charged-particle equilibrium, so the
    mean over tissue. Peaks within nanometres of a particle are left out; what they do is in a measured sensitiser ratio alone,
    s = 1 + (ratio − 1) min(c/c_measured, 1), of the beams.
    """

    alpha_per_Gy: float = parameter("log-kill per dose", at_least=0, at_most=5)
    beta_per_Gy2: float = parameter("log-kill per squared dose", at_least=0, at_most=1)
    repair_half_life_s: float = parameter("time in which half of the sublethal damage is repaired", above=0)
    fractions: tuple[Fraction, ...] = parameter("when which beam gives how much", default=())
    beams: dict[str, Beam] = parameter("beams by name")
    enhancer: Enhancer | None = parameter("metal in the particle that raises the dose; null: none", default=None)
    sensitiser: Sensitiser | None = parameter("measured sensitisation by the particle; null: none", default=None)
    particle_g: float = given("particle_mass_g", default=0.0)
    density_g_per_mL: float = given("tissue.density_g_per_mL", default=1.0)
    pools: tuple[str, ...] = given("carrier_pools", default=())
    kinds: tuple[str, ...] = given("carrying_kinds", default=())
    with_decays: bool = given("has_decays", default=False)
    step_s: float = given("step_s", default=1.0)
    duration_s: float = given("protocol.duration_s", default=np.inf)

    def __post_init__(self) -> None:
        interval_s = self.interval_s or self.step_s
        for i, fraction in enumerate(self.fractions):
            where = f"processes.effect_radiation.fractions[{i}]"
            if fraction.beam not in self.beams:
                raise InputError(f"{where}.beam", fraction.beam, f"is no beam; one of {', '.join(self.beams)}")
            if abs(fraction.start_s - interval_s * round(fraction.start_s / interval_s)) > 1e-6 * interval_s:
                told = f"must be a whole multiple of the effect's interval, {interval_s:g} s"
                raise InputError(f"{where}.start", f"{fraction.start_s:g} s", told)
            if fraction.start_s >= self.duration_s:
                raise InputError(f"{where}.start", f"{fraction.start_s:g} s", "must be before the end, protocol.duration")

    @property
    def _asks_for_carriers(self) -> bool:
        return self.enhancer is not None or self.sensitiser is not None

    @property
    def reads(self) -> frozenset[str]:
        kinds = self.kinds if self._asks_for_carriers else ()
        carriers = {f"populations.{kind}.{column}" for kind in kinds for column in ("site", "cargo", "lysosome")}
        carriers |= set(in_tissue(self.pools)) if self._asks_for_carriers else set()
        decays = {"fields.decay_dose_Gy"} if self.with_decays else set()
        return frozenset({"populations.tumor_cells.site"} | carriers | decays)

    @property
    def writes(self) -> frozenset[str]:
        fields = ("dose_Gy", "unrepaired_dose_Gy") + (("decay_dose_seen_Gy",) if self.with_decays else ())
        columns = {f"populations.tumor_cells.{column}" for column in ("damage", "phase")}
        return frozenset({f"fields.{name}" for name in fields} | columns)

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """No dose yet."""
        give_damage(state.populations["tumor_cells"])
        for name in self.writes:
            if name.startswith("fields."):
                state.fields[name.removeprefix("fields.")] = np.zeros(state.lattice.voxels)

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if dt_s == 0:
            return
        hazard = np.zeros(state.lattice.voxels)
        for fraction in self.fractions:
            if state.time_s <= fraction.start_s + 1e-6 * dt_s and fraction.start_s + 1e-6 * dt_s < state.time_s + dt_s:
                hazard += self._of_beam(state, fraction)
        hazard += self._of_decays(state, dt_s)
        cells = state.populations["tumor_cells"]
        harm(cells, state.lattice.on_sites(hazard).ravel()[cells["site"]], streams.seed)

    def _of_beam(self, state: StateView, fraction: Fraction) -> Reals:
        """(z, y, x) log-kill by a fraction, given at once."""
        unrepaired = state.fields["unrepaired_dose_Gy"]
        dose, sensitised = self._dose_and_ratio(state, fraction)
        hazard: Reals = self.alpha_per_Gy * sensitised * dose + self.beta_per_Gy2 * dose * (dose + 2 * unrepaired)
        unrepaired += dose
        state.fields["dose_Gy"][...] += dose
        return hazard

    def _dose_and_ratio(self, state: StateView, fraction: Fraction) -> tuple[Reals, Reals]:
        """(z, y, x) each: the dose with what the metal adds, and the ratio that sensitises."""
        dose, ratio = np.full(state.lattice.voxels, fraction.dose_Gy), np.ones(state.lattice.voxels)
        if not self._asks_for_carriers:
            return dose, ratio
        homes = {"fields": state.fields, "vessels": state.vessels}
        carriers = carriers_on_voxels(state.lattice, homes, state.populations, self.pools, self.kinds)
        particles_g_per_mL = carriers * (self.particle_g / (state.lattice.voxel_um3 * 1e-12))
        if self.enhancer is not None:
            rise: float = getattr(self.beams[fraction.beam], self.enhancer.metal)
            dose *= 1 + rise * self.enhancer.fraction * particles_g_per_mL / self.density_g_per_mL
        if self.sensitiser is not None:
            ratio += (self.sensitiser.ratio - 1) * np.minimum(particles_g_per_mL / self.sensitiser.at_g_per_mL, 1.0)
        return dose, ratio

    def _of_decays(self, state: StateView, dt_s: float) -> Reals | float:
        """(z, y, x) log-kill by what decays gave since the last step, evenly over this one; and repair goes on."""
        unrepaired = state.fields["unrepaired_dose_Gy"]
        repaired = np.log(2) / self.repair_half_life_s * dt_s
        left, mean_left = np.exp(-repaired), -np.expm1(-repaired) / repaired
        if not self.with_decays:
            unrepaired *= left
            return 0.0
        dose = state.fields["decay_dose_Gy"] - state.fields["decay_dose_seen_Gy"]
        state.fields["decay_dose_seen_Gy"][...] = state.fields["decay_dose_Gy"]
        within = (1 - mean_left) / repaired  # of a dose given evenly what is not repaired, mean over the step
        hazard = self.alpha_per_Gy * dose + 2 * self.beta_per_Gy2 * dose * (mean_left * unrepaired + within * dose)
        unrepaired *= left
        unrepaired += mean_left * dose
        state.fields["dose_Gy"][...] += dose
        return np.asarray(hazard)
