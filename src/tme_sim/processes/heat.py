"""Heat: focused ultrasound or iron in an alternating field warms the tissue, blood cools it (model section 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.numerics.faces import CLOSED, OPEN
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.carriers import carriers_on_voxels, in_tissue
from tme_sim.state.errors import InputError
from tme_sim.state.lattice import Lattice
from tme_sim.state.parameters import given, parameter
from tme_sim.state.state import State
from tme_sim.state.steady import SteadyField

Reals = NDArray[np.float64]

TOLERANCE = 1e-8
"""Of the residual: some 1e-7 K."""
COOL_K = 1e-6
"""Warmer than blood by no more than this is as cool as blood: after a pulse the balance need not be solved for ever."""


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """A time during which it is heated."""

    start_s: float = parameter("when the pulse begins", at_least=0)
    duration_s: float = parameter("how long it lasts", above=0)


@dataclass(frozen=True, kw_only=True)
class Focus:
    """Focused ultrasound: a Gaussian source of heat, the same in every patch."""

    width_um: tuple[float, float, float] = parameter("full width of the focus at half maximum, along (z, y, x)", above=0)
    centre_um: tuple[float, float, float] = parameter(
        "its centre, from the middle of each patch (z, y, x)", default=(0.0, 0.0, 0.0)
    )
    target_C: float | None = parameter(
        "temperature held in the voxel at the centre; null: `power` is given", above=37, at_most=100
    )
    power_W_per_mL: float | None = parameter("heat absorbed at the centre; null: `target` is given", above=0)

    def __post_init__(self) -> None:
        if (self.target_C is None) == (self.power_W_per_mL is None):
            raise InputError("target", None, "needs either target or power, and null for the other")

    def shape(self, lattice: Lattice) -> Reals:
        """(z, y, x) the source over that at the centre."""
        found = np.empty(lattice.voxels)
        for planes in lattice.planes:
            part = found[planes]
            exponent = np.zeros(part.shape)
            for axis, n in enumerate(part.shape):
                at = (np.arange(n) + 0.5 - n / 2) * lattice.voxel_um - self.centre_um[axis]
                exponent += (4 * np.log(2) * (at / self.width_um[axis]) ** 2).reshape([-1 if a == axis else 1 for a in range(3)])
            part[...] = np.exp(-exponent)
        return found


@dataclass(frozen=True, kw_only=True)
class Magnetic:
    """An alternating magnetic field: iron turns it into heat, wherever carriers with iron are."""

    absorption_W_per_g: float = parameter("specific absorption rate, power per mass of iron", above=0)


@dataclass(kw_only=True, eq=False)
class Heat(Process):
    """Pennes' bioheat, ρc ∂T/∂t = ∇·(k∇T) − w ρ_b c_b (T − T_b) + q during the pulses.

    One implicit step over each interval: the steady balance where that is long, and first order in time where it is not. w is
    the perfusion of the tissue as a whole. q is that of the focus, of the iron, or both; a focus with a target is controlled: its
    q is such that the voxel at the centre has the target's temperature after every step of a pulse.

    edge: through the lattice's faces nothing passes (`closed`: heated tissue goes on behind them; conduction reaches
    √(k/(w ρ_b c_b)), millimetres, so a focus wider than the lattice heats it evenly), or they stay as cool as blood (`blood`).
    Blood in the lattice is as warm as the tissue around it. Thermal dose is counted as CEM43 at the temperature after each step.
    Pennes 1948, doi:10.1152/jappl.1948.1.2.93.
    """

    diffusivity_um2_per_s: float = parameter("thermal diffusivity of tissue, k/(ρc)", above=0)
    capacity_J_per_mL_K: float = parameter("heat capacity of tissue per volume, ρc", above=0)
    blood_capacity_J_per_mL_K: float = parameter("heat capacity of blood per volume", above=0)
    perfusion_per_s: float = parameter("volume of blood that passes a volume of tissue per second, w", at_least=0)
    blood_C: float = parameter("temperature of blood that comes in, and of all tissue at the start", above=20, below=45)
    edge: Literal["closed", "blood"] = parameter("what the lattice's faces do: closed, or as cool as blood")
    pulses: tuple[Pulse, ...] = parameter("when it is heated", default=())
    focus: Focus | None = parameter("focused ultrasound; null: none")
    magnetic: Magnetic | None = parameter("heating of iron; null: none")
    iron_g: float = given("iron_per_particle_g", default=0.0)
    pools: tuple[str, ...] = given("carrier_pools", default=())
    kinds: tuple[str, ...] = given("carrying_kinds", default=())
    step_s: float = given("step_s", default=1.0)
    _balance: SteadyField | None = field(default=None, init=False, repr=False)
    _per_power: tuple[float, Reals] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.magnetic is not None and self.iron_g <= 0:
            raise InputError("processes.heat.magnetic", None, "heats iron, and the nanoparticle's iron_fraction is 0")
        interval_s = self.interval_s or self.step_s
        for i, pulse in enumerate(self.pulses):
            for key, time_s in (("start", pulse.start_s), ("duration", pulse.duration_s)):
                if abs(time_s - interval_s * round(time_s / interval_s)) > 1e-6 * interval_s:
                    told = f"must be a whole multiple of the heat's interval, {interval_s:g} s"
                    raise InputError(f"processes.heat.pulses[{i}].{key}", f"{time_s:g} s", told)

    @property
    def reads(self) -> frozenset[str]:
        if self.magnetic is None:
            return frozenset()
        columns = {f"populations.{kind}.{column}" for kind in self.kinds for column in ("site", "cargo", "lysosome")}
        return frozenset(columns | set(in_tissue(self.pools)))

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({"fields.temperature_C", "fields.thermal_dose_min"})

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """As warm as blood."""
        state.fields["temperature_C"] = np.full(state.lattice.voxels, self.blood_C)
        state.fields["thermal_dose_min"] = np.zeros(state.lattice.voxels)

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if dt_s == 0:
            return
        fields = state.fields
        rise, on = fields["temperature_C"] - self.blood_C, self._is_on(state.time_s + dt_s / 2)
        if on or np.abs(rise).max() > COOL_K:
            self._balance = self._balance or SteadyField(
                streams.process,
                "temperature_C",
                state.lattice,
                self.diffusivity_um2_per_s,
                state.time_s,
                fixed=CLOSED if self.edge == "closed" else OPEN,
                tolerance=TOLERANCE,
            )
            source = rise / dt_s
            if on and self.magnetic is not None:
                homes = {"fields": fields, "vessels": state.vessels}
                carriers = carriers_on_voxels(state.lattice, homes, state.populations, self.pools, self.kinds)
                iron_g_per_mL = self.iron_g * carriers / (state.lattice.voxel_um3 * 1e-12)
                source += self.magnetic.absorption_W_per_g * iron_g_per_mL / self.capacity_J_per_mL_K
            self._solve(rise, source, dt_s, state.time_s)
            if on and self.focus is not None:
                rise += self._of_focus(self.focus, state, rise, dt_s)
            fields["temperature_C"][...] = self.blood_C + rise
        fields["thermal_dose_min"][...] += equivalent_minutes(fields["temperature_C"], dt_s)

    def _is_on(self, time_s: float) -> bool:
        return any(pulse.start_s <= time_s < pulse.start_s + pulse.duration_s for pulse in self.pulses)

    def _solve(self, rise: Reals, source: Reals, dt_s: float, time_s: float) -> None:
        """(1/dt + w ρ_b c_b/(ρc)) T − ∇·(k/(ρc) ∇T) = source, in place."""
        assert self._balance is not None
        loss = 1 / dt_s + self.perfusion_per_s * self.blood_capacity_J_per_mL_K / self.capacity_J_per_mL_K
        self._balance.solve(rise, np.full(rise.shape, loss), source, time_s)

    def _of_focus(self, focus: Focus, state: StateView, rise: Reals, dt_s: float) -> Reals:
        """What the focus adds in this step to the `rise` without it, which it meets in part."""
        shape = focus.shape(state.lattice)
        if self._per_power is None or self._per_power[0] != dt_s:
            per_power = np.zeros(rise.shape)
            self._solve(per_power, shape, dt_s, state.time_s)
            self._per_power = dt_s, per_power
        per_power = self._per_power[1]
        if focus.power_W_per_mL is not None:
            return per_power * (focus.power_W_per_mL / self.capacity_J_per_mL_K)
        assert focus.target_C is not None
        added = np.empty(rise.shape)
        for planes in state.lattice.planes:
            centre = np.unravel_index(np.argmax(shape[planes]), shape[planes].shape)
            missing = focus.target_C - self.blood_C - rise[planes][centre]
            added[planes] = per_power[planes] * (max(missing, 0.0) / per_power[planes][centre])
        return added


def equivalent_minutes(temperature_C: ArrayLike, dt_s: float) -> Reals:
    """Thermal dose of dt at T, in minutes at 43 °C: R^(43 − T) dt, R = 1/2 above 43 °C and 1/4 below.

    Sapareto & Dewey 1984, doi:10.1016/0360-3016(84)90379-1.
    """
    above_K = np.asarray(temperature_C, np.float64) - 43.0
    return np.asarray(np.exp2(np.where(above_K > 0, above_K, 2 * above_K)) * (dt_s / 60))
