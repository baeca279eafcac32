"""Plasma: doses come in, organs take out (model section 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import exp, expm1, log

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.saturation import Saturation, cleared
from tme_sim.numerics.share import share, split
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.clearance import Clearance, renal_passage
from tme_sim.state.errors import InputError
from tme_sim.state.kupffer import FLOW, KIND, extraction, hand_out
from tme_sim.state.parameters import given
from tme_sim.state.state import State
from tme_sim.state.variables import FORMS

SIZES = "plasma_sizes"
IN_LIVER = ("kupffer", "liver_endothelium")


@dataclass(kw_only=True, eq=False)
class Circulation(Process):
    """Intravenous doses, and clearance by Kupffer cells with parallel sinks and the kidney, or along a given plasma curve.

    compartments: dC_i/dt = −[f(C) k_K s_i + Σ k_sink s_i + k_renal(d_i)] C_i over the classes of size, s_i = (d_i/⟨d⟩)^n,
    k_K = n_K V_max/(K_m V); C is the sum over classes and forms. What saturates is the rate, f = 1/(1 + C/K_m), or by the rival
    hypothesis the room, f = 1 − held/(n_K · capacity), with the same uptake at low doses. The kidney filters GFR/V · sieving.

    A class needs no pool of its own: only the share of plasma in each is kept (`traits.plasma_sizes`), and a particle of unknown
    size survives with the mean of the classes' probabilities, so that counts are drawn as if every size were followed.

    Where the tissue holds Kupffer cells (`liver`), they are some of the body's and their share of the pool is shown on them.

    Along a given curve f(t) of one bolus plasma loses 1 − f(t+dt)/f(t) to the pool `elsewhere`; what the tissue draws comes on
    top.
    """

    clearance: Clearance = given("nanoparticle.clearance")
    sizes_um: tuple[float, ...] = given("size_classes_um", default=(1.0,))
    kupffer_cells: float = given("body.kupffer_cells", default=1.0)
    filtration_um3_per_s: float = given("body.glomerular_filtration_um3_per_s", default=0.0)
    dose: float = given("dose.particles")
    dose_times_s: tuple[float, ...] = given("protocol.times_s")
    infusion_s: float = given("protocol.infusion_s")
    route: str = given("protocol.route", default="intravenous")
    curve: NDArray[np.float64] | None = given("clearance_curve")
    _has_kupffer_cells: bool = field(default=False, init=False, repr=False)

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
        if c.model != "compartments" and self.route != "intravenous":
            told = "a given plasma curve is that of an intravenous bolus; use compartments"
            raise InputError("nanoparticle.clearance.model", c.model, told)
        if c.model == "compartments" and c.kupffer == "capacity" and c.kupffer_capacity is None:
            raise InputError("nanoparticle.clearance.kupffer_capacity", None, "is needed where the Kupffer cells' room saturates")

    @property
    def reads(self) -> frozenset[str]:
        cells = {f"populations.{KIND}.{column}" for column in ("voxel", "passed")} | {f"traits.{FLOW}"}
        return frozenset(cells if self._has_kupffer_cells else ())

    @property
    def writes(self) -> frozenset[str]:
        sizes = {f"traits.{SIZES}"} if self._follows_sizes else set()
        taken = {f"populations.{KIND}.taken"} if self._has_kupffer_cells else set()
        return frozenset({f"body.{name}" for name in ("plasma", self._site, *self.organs)} | sizes | taken)

    @property
    def _site(self) -> str:
        """The pool that a dose goes into."""
        return "plasma" if self.route == "intravenous" else "depot"

    @property
    def _follows_sizes(self) -> bool:
        return self.clearance.model == "compartments" and len(self.sizes_um) > 1

    @property
    def organs(self) -> tuple[str, ...]:
        """Pools that take carriers out of plasma."""
        if self.clearance.model != "compartments":
            return ("elsewhere",)
        kupffer = ("kupffer",) if self.clearance.kupffer_maximum_per_s > 0 else ()
        urine = ("urine",) if self.clearance.renal_sieving * self.filtration_um3_per_s > 0 and self._renal().any() else ()
        return kupffer + tuple(self.clearance.sinks_per_s) + urine

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """Empty pools; the dose of time 0 comes with the first step."""
        for name in ("plasma", self._site, *self.organs):
            state.body.pools.setdefault(name, np.zeros(len(FORMS), state.total_dtype))
        self._has_kupffer_cells = KIND in state.populations and "kupffer" in self.organs
        if self._follows_sizes:
            state.body.traits[SIZES] = np.full(len(self.sizes_um), 1 / len(self.sizes_um))

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if dt_s == 0:
            return
        plasma = state.body["plasma"]
        n = round(state.time_s / dt_s)  # start + dt is not, to the last bit, the start of the next step; n·dt and (n+1)·dt are
        due = self._dose_until((n + 1) * dt_s, dt_s) - self._dose_until(n * dt_s, dt_s)
        if due:
            self._mix(state, due)
            state.ledger.inject(state.body[self._site], FORMS.index("loaded"), plasma.dtype.type(due))
        total = float(plasma.sum())
        gained = self._cleared(state, total, dt_s) if total > 0 else np.zeros(0)
        if gained.sum() > 0:
            lost = share(plasma, min(gained.sum() / total, 1.0), streams.key("loss"))
            parts = split(lost, gained / gained.sum(), streams.key("organ"))
            for organ, name in enumerate(self.organs):
                state.body[name][...] += parts[:, organ]
            plasma -= lost
            if self._has_kupffer_cells:
                self._show_in_liver(state, parts, total, dt_s, streams)

    def _show_in_liver(self, state: StateView, parts: NDArray[np.float64], total: float, dt_s: float, streams: Streams) -> None:
        """Which Kupffer cells of the tissue took what; (forms, organs) `parts` of the `total` in plasma went to the organs."""
        by_organ = dict(zip(self.organs, parts.sum(axis=0), strict=True))
        into_liver = float(sum(by_organ.get(name, 0) for name in IN_LIVER))
        cleared_um3 = into_liver * state.plasma_volume_um3 / (total - float(parts.sum()) / 2)
        extracted = extraction(cleared_um3, float(state.traits[FLOW][0]) * dt_s)
        capacity = self.clearance.kupffer_capacity if self.clearance.kupffer == "capacity" else None
        cells, key = state.populations[KIND], streams.key("on the lattice")
        hand_out(cells, by_organ["kupffer"], self.kupffer_cells, extracted, capacity, key)

    def _dose_until(self, time_s: float, dt_s: float) -> int | float:
        """Dose injected before time_s, whole particles; a bolus goes in at the start of the step at its time."""
        length_s = max(self.infusion_s, dt_s)
        fraction = sum(min(max((time_s - t) / length_s, 0.0), 1.0) for t in self.dose_times_s)
        return round(self.dose * fraction)

    def _mix(self, state: StateView, due: float) -> None:
        """A fresh dose has every class alike; so has, assumed, what comes from a depot."""
        if self._follows_sizes and self._site == "plasma":
            sizes, before = state.traits[SIZES], float(state.body["plasma"].sum())
            sizes[...] = (sizes * before + due / len(sizes)) / (before + due)

    def _cleared(self, state: StateView, total: float, dt_s: float) -> NDArray[np.float64]:
        """(organs,) carriers of `total` in plasma that each takes in this step, in the mean."""
        c = self.clearance
        if c.model != "compartments":
            before, after = (self._remaining(state.time_s + t - self.dose_times_s[0]) for t in (0.0, dt_s))
            return np.array([total * (1 - after / before) if before > 0 else total])  # 0: less than a float can tell
        sizes = state.traits[SIZES] if self._follows_sizes else np.ones(1)
        held = float(state.body["kupffer"].sum()) if c.kupffer_maximum_per_s > 0 else 0.0
        rates, saturation = self._rates(state.plasma_volume_um3, state.time_s + dt_s / 2)
        left, gained = cleared(total * sizes, rates, saturation, held, dt_s)
        if self._follows_sizes and left.sum() > 0:
            sizes[...] = left / left.sum()
        return gained

    def _rates(self, volume_um3: float, time_s: float) -> tuple[NDArray[np.float64], Saturation]:
        """(classes, organs) rates far from saturation, and how the Kupffer cells' saturates, if they come first."""
        c = self.clearance
        since_s = [time_s - t for t in self.dose_times_s]
        affinity = 1 - (c.opsonised_affinity - 1) * expm1(-max(*since_s, 0.0) / c.opsonisation_time_s)
        half = c.kupffer_half_saturation_per_um3 * volume_um3 / affinity
        primed = c.repeat_acceleration if max(since_s) >= c.repeat_delay_s else 1.0
        maximum_per_s = self.kupffer_cells * c.kupffer_maximum_per_s * primed
        by_size = (np.array(self.sizes_um) / np.mean(self.sizes_um)) ** c.size_exponent
        columns = [by_size * maximum_per_s / half] if maximum_per_s > 0 else []
        columns += [by_size * rate for rate in c.sinks_per_s.values()]
        if "urine" in self.organs:
            columns.append(self._renal() * c.renal_sieving * self.filtration_um3_per_s / volume_um3)
        rates = np.stack(columns, axis=1) if columns else np.zeros((len(self.sizes_um), 0))
        if maximum_per_s == 0:
            return rates, Saturation()
        if c.kupffer == "rate":
            return rates, Saturation(half=half)
        assert c.kupffer_capacity is not None
        return rates, Saturation(capacity=self.kupffer_cells * c.kupffer_capacity)

    def _renal(self) -> NDArray[np.float64]:
        return np.array([renal_passage(size) for size in self.sizes_um])

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
