"""Plasma: doses come in, organs take out (model section 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.share import share, split
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.errors import InputError
from tme_sim.state.parameters import given
from tme_sim.state.state import State
from tme_sim.state.substance import Clearance
from tme_sim.state.variables import FORMS


@dataclass(kw_only=True, eq=False)
class Circulation(Process):
    """Intravenous doses, and clearance by saturable Kupffer cells with parallel sinks or along a given plasma curve.

    compartments: dC/dt = −[V_max/(K_m + C)/V + Σ k_sink] C, C over both forms. A given curve f(t) of one bolus makes plasma
    lose the share 1 − f(t+dt)/f(t) to the pool `elsewhere`; what the tissue draws comes on top.
    """

    clearance: Clearance = given("nanoparticle.clearance")
    kupffer_cells: float = given("body.kupffer_cells", default=1.0)
    dose: float = given("dose.particles")
    dose_times_s: tuple[float, ...] = given("protocol.times_s")
    infusion_s: float = given("protocol.infusion_s")
    curve: NDArray[np.float64] | None = given("clearance_curve")

    def __post_init__(self) -> None:
        c = self.clearance
        if c.model == "biexponential" and (c.slow_half_life_s is None or (c.fast_fraction > 0 and c.fast_half_life_s is None)):
            raise InputError(
                "nanoparticle.clearance", "biexponential", "needs slow_half_life, and fast_half_life where fast_fraction > 0"
            )
        if c.model != "compartments" and (len(self.dose_times_s) != 1 or self.infusion_s > 0):
            raise InputError(
                "nanoparticle.clearance.model", c.model, "a given plasma curve is that of one bolus; use compartments"
            )

    @property
    def reads(self) -> frozenset[str]:
        return frozenset()

    @property
    def writes(self) -> frozenset[str]:
        return frozenset(f"body.{name}" for name in ("plasma", *self.organs))

    @property
    def organs(self) -> tuple[str, ...]:
        """Pools that take carriers out of plasma."""
        if self.clearance.model != "compartments":
            return ("elsewhere",)
        kupffer = ("kupffer",) if self.clearance.kupffer_maximum_per_s > 0 else ()
        return kupffer + tuple(self.clearance.sinks_per_s)

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """Empty pools; the dose of time 0 comes with the first step."""
        for name in ("plasma", *self.organs):
            state.body.pools.setdefault(name, np.zeros(len(FORMS), state.total_dtype))

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        plasma = state.body["plasma"]
        if dt_s == 0:
            return
        start_s = state.time_s
        n = round(start_s / dt_s)  # start + dt is not, to the last bit, the start of the next step; n·dt and (n+1)·dt are
        due = self._dose_until((n + 1) * dt_s, dt_s) - self._dose_until(n * dt_s, dt_s)
        if due:
            state.ledger.inject(plasma, FORMS.index("loaded"), plasma.dtype.type(due))
        rates = self._rates_per_s(plasma, state.plasma_volume_um3, start_s, dt_s)
        if rates.sum() > 0:
            lost = share(plasma, -np.expm1(-rates.sum() * dt_s), streams.key("loss"))
            parts = split(lost, rates / rates.sum(), streams.key("organ"))
            for organ, name in enumerate(self.organs):
                state.body[name][...] += parts[:, organ]
            plasma -= lost

    def _dose_until(self, time_s: float, dt_s: float) -> int | float:
        """Dose injected before time_s, whole particles; a bolus goes in at the start of the step at its time."""
        length_s = max(self.infusion_s, dt_s)
        fraction = sum(min(max((time_s - t) / length_s, 0.0), 1.0) for t in self.dose_times_s)
        return round(self.dose * fraction)

    def _rates_per_s(self, plasma: NDArray[Any], volume_um3: float, start_s: float, dt_s: float) -> NDArray[np.float64]:
        """(organs,) first-order rates over this step."""
        c = self.clearance
        if c.model != "compartments":
            before, after = (self._remaining(t - self.dose_times_s[0]) for t in (start_s, start_s + dt_s))
            return np.array([log(before / after) / dt_s if after < before else 0.0])
        concentration = float(plasma.sum()) / volume_um3
        kupffer = self.kupffer_cells * c.kupffer_maximum_per_s / (c.kupffer_half_saturation_per_um3 + concentration) / volume_um3
        return np.array([kupffer] * (c.kupffer_maximum_per_s > 0) + list(c.sinks_per_s.values()))

    def _remaining(self, age_s: float) -> float:
        """Share of a bolus that is in plasma at this age."""
        c = self.clearance
        if age_s <= 0:
            return 1.0
        if c.model == "biexponential":
            fast = c.fast_fraction * exp(-log(2) * age_s / c.fast_half_life_s) if c.fast_half_life_s else 0.0
            assert c.slow_half_life_s is not None
            return fast + (1 - c.fast_fraction) * exp(-log(2) * age_s / c.slow_half_life_s)
        assert self.curve is not None
        return float(np.exp(np.interp(age_s, self.curve[0], np.log(self.curve[1]))))
