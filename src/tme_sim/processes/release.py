"""Release: a carrier gives up its whole payload with a first-order probability (model section 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from tme_sim.numerics.convert import switch
from tme_sim.numerics.random import Key
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.blood import lost_in_transit, middle_voxel
from tme_sim.state.drug import release_in_cells, release_on_voxels
from tme_sim.state.errors import InputError
from tme_sim.state.parameters import given, parameter
from tme_sim.state.release import BODY_C
from tme_sim.state.release import Release as Card
from tme_sim.state.reporter import put_in_body, put_in_cells, put_on_voxels
from tme_sim.state.state import State
from tme_sim.state.variables import FORMS
from tme_sim.state.vessels import VesselGraph

Reals = NDArray[np.float64]
Rates = tuple[Reals, Reals]
"""Loaded → released and back, per second, of one or of every place."""

LOADED = FORMS.index("loaded")
DOSES, SEEN = "plasma_doses", "injected_before_release"


@dataclass(kw_only=True, eq=False)
class Release(Process):
    """Loaded → released at the rate of the place, passive + acid + heat + enzyme; back only where acid's switch is not latched.

    Acid counts by the pH of endosomes, lysosomes, blood and outside cells (the field of `acidity`, else tissue_pH), heat on the
    whole lattice (the field of `heat`, else 37 °C), the enzyme outside cells. Chances are exact for rates constant over a step.

    In blood the passive rate follows the age of the dose, counted from its start. Of repeated doses the share of each in plasma
    is followed: clearance takes from all alike, release from each at the rate of its age. In organs release is as in plasma.

    Carriers in blood pass the heated vessels: along each segment d(Q c_L)/dx = −A k(T) c_L from plasma's concentration, exact
    for its length; plasma at large loses what all copies release, and stays at the passive rate else. in_vessels=false leaves
    this out, as where nothing computes the flow.

    With `drug` in the run, what a carrier held is handed over to it: to the voxel outside cells, to the cell, to plasma, or to
    the blood of the segment. A reporter stays where it was released.
    """

    tissue_pH: float = parameter("pH outside cells where `acidity` does not compute it", default=6.8, above=4, below=9)
    blood_pH: float = parameter("pH in blood and in transit through endothelium", default=7.4, above=6, below=8)
    endosome_pH: float = parameter("pH in endosomes", default=5.5, above=3, below=8)
    lysosome_pH: float = parameter("pH in lysosomes", default=5.0, above=3, below=8)
    enzyme: float = parameter("level outside cells of the enzyme that sets the payload free", default=1.0, at_least=0)
    in_vessels: bool = parameter("whether heat releases from carriers in the blood that passes; needs perfusion", default=True)
    release: Card = given("nanoparticle.release")
    kinds: tuple[str, ...] = given("carrying_kinds")
    pools: tuple[str, ...] = given("carrier_pools")
    drug_amol: float | None = given("drug_per_particle_amol", default=None)
    dose_times_s: tuple[float, ...] = given("protocol.times_s", default=(0.0,))
    pulse_times_s: tuple[float, ...] = given("heat_pulse_times_s", default=())
    with_pH: bool = given("has_acidity", default=False)
    with_heat: bool = given("has_heat", default=False)
    with_flow: bool = given("has_perfusion", default=False)
    _graph: VesselGraph | None = field(default=None, init=False, repr=False)
    _middle: NDArray[np.int64] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        acid = self.release.acid
        if acid is not None and not acid.latched and (self.drug_amol is not None or self.release.reporter is not None):
            told = "must be true where drug or reporter is followed: what came out does not go back into the carrier"
            raise InputError("nanoparticle.release.acid.latched", "false", told)
        if self._in_vessels and not self.with_flow:
            told = "needs perfusion among the processes, which says what passes the heat; or false"
            raise InputError("processes.release.in_vessels", "true", told)
        interval_s = self.interval_s or 0.0
        if self._in_heat and interval_s and any(abs(time_s / interval_s % 1) > 1e-9 for time_s in self.pulse_times_s):
            told = "must divide the start and the duration of every pulse of heat, which would be missed in part"
            raise InputError("processes.release.interval", f"{interval_s:g} s", told)

    @property
    def reads(self) -> frozenset[str]:
        names = {f"populations.{kind}.site" for kind in self.kinds}
        names |= {"fields.pH"} if self._by_pH else set()
        names |= {"fields.temperature_C"} if self._in_heat else set()
        flow = {"vessels.segment_flow_um3_per_s", "vessels.segment_hematocrit"}
        return frozenset(names | (flow if self._in_vessels else set()))

    @property
    def writes(self) -> frozenset[str]:
        columns = {f"populations.{kind}.{column}" for kind in self.kinds for column in ("cargo", "lysosome")}
        drug = {"fields.drug_source_amol", "fields.drug_source_in_cells_amol", "drug.waiting_amol", "drug.released_amol"}
        drug |= {"vessels.segment_source_amol"} if self._in_vessels else set()
        reporter = {"fields.reporter", "fields.reporter_in_cells", "traits.reporter_in_body"}
        names = set(self.pools) | columns | (drug if self.drug_amol is not None else set())
        names |= reporter if self.release.reporter is not None else set()
        return frozenset(names | ({f"traits.{DOSES}", f"traits.{SEEN}"} if self._by_dose else set()))

    @property
    def _by_pH(self) -> bool:
        return self.with_pH and self.release.acid is not None

    @property
    def _in_heat(self) -> bool:
        return self.with_heat and self.release.heat is not None

    @property
    def _in_vessels(self) -> bool:
        return self._in_heat and self.in_vessels and "body.plasma" in self.pools

    @property
    def _by_dose(self) -> bool:
        """Whether it matters of which dose a carrier in plasma is."""
        return len(self.release.plasma_before) > 0 and len(self.dose_times_s) > 1 and "body.plasma" in self.pools

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """No reporter anywhere, and no dose; where in the lattice each segment is."""
        if self._by_dose:
            state.body.traits |= {DOSES: np.zeros(len(self.dose_times_s)), SEEN: np.zeros(1)}
        if self.release.reporter is not None:
            state.fields |= {name: np.zeros(state.lattice.voxels) for name in ("reporter", "reporter_in_cells")}
            state.body.traits["reporter_in_body"] = np.zeros(3)
        if self._in_vessels:
            if state.vessels is None or state.vessels.graph is None:
                raise InputError("processes.release", None, "needs vessels as a graph beside perfusion")
            self._graph, self._middle = state.vessels.graph, middle_voxel(state.vessels.graph, state.lattice)

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if dt_s == 0:
            return
        temperature = state.fields["temperature_C"] if self._in_heat else np.full(1, BODY_C)
        in_blood, cleared = self._aged(state, dt_s), self._cleared(state, temperature)
        for pool in self.pools:
            home, name = pool.split(".", 1)
            amount = getattr(state, home)[name]
            if home == "body":
                self._in_body(state, name, amount, (in_blood, cleared), dt_s, streams.key(pool))
                continue
            forms = amount.reshape(len(amount), len(FORMS), -1)
            if home == "vessels":
                at = temperature.ravel()[state.vessels["voxel"]] if self._in_heat else temperature
                rates = self._rates(self.release.cell_per_s, self.blood_pH, at)
            else:
                pH = state.fields["pH"] if self._by_pH else np.full(1, self.tissue_pH)
                passive = self.release.tissue_per_s + self.release.enzyme_per_s * self.enzyme
                rates = self._rates(passive, pH, temperature)
            self._on_lattice(state, home, switch(forms, *rates, dt_s, streams.key(pool)))
        for kind in self.kinds:
            self._in_cells(state, kind, temperature, dt_s, streams)

    def _rates(self, passive_per_s: float, pH: Any, temperature_C: Reals) -> Rates:
        """Of a place, or of each, flat."""
        on, off, acid = np.full(1, passive_per_s), np.zeros(1), self.release.acid
        if acid is not None:
            switched = acid.share(pH).ravel()
            on, off = on + acid.maximum_per_s * switched, acid.maximum_per_s * (1 - switched) * (not acid.latched)
        if self.release.heat is not None:
            on = on + self.release.heat.rate_per_s(temperature_C).ravel()
        return on, np.atleast_1d(off)

    def _in_cells(self, state: StateView, kind: str, temperature: Reals, dt_s: float, streams: Streams) -> None:
        population, passive = state.populations[kind], self.release.in_cells(kind)
        site = population["site"]
        at = state.lattice.on_sites(temperature).ravel()[site] if self._in_heat else temperature
        places = {"cargo": (passive.cell_per_s, self.endosome_pH), "lysosome": (passive.lysosome_per_s, self.lysosome_pH)}
        for column, (per_s, pH) in places.items():
            forms, key = np.moveaxis(population[column], 0, -1), streams.key(kind, column)
            released = switch(forms, *self._rates(per_s, pH, at), dt_s, key, population["id"])
            if self.drug_amol is not None:
                release_in_cells(state.lattice, state.fields, state.drug, site, self.drug_amol * released)
            if self.release.reporter is not None:
                put_in_cells(state.lattice, state.fields, site, self.release.reporter.per_particle * released)

    def _on_lattice(self, state: StateView, home: str, released: NDArray[Any]) -> None:
        """What carriers release outside cells, by voxel or by wall."""
        if home == "vessels":
            released = np.bincount(state.vessels["voxel"], released, state.lattice.n_voxels)
        on_voxels = np.asarray(released, np.float64).reshape(state.lattice.voxels)
        if self.drug_amol is not None:
            release_on_voxels(state.lattice, state.fields, state.drug, self.drug_amol * on_voxels)
        if self.release.reporter is not None:
            put_on_voxels(state.fields, self.release.reporter.per_particle * on_voxels)

    def _in_body(
        self, state: StateView, name: str, amount: NDArray[Any], rates: tuple[float, Reals], dt_s: float, key: Key
    ) -> None:
        """In plasma or an organ; of plasma also what is released in heated vessels, each share by its rate."""
        passive, cleared = rates
        on, off = self._rates(passive, self.blood_pH, np.full(1, BODY_C))
        copies = state.lattice.copies[self._patch(state)] if name == "plasma" and cleared.any() else np.zeros(1)
        in_vessels = float((copies * cleared).sum()) / state.plasma_volume_um3
        released = float(switch(amount.reshape(1, len(FORMS), 1), on + in_vessels, off, dt_s, key).item())
        heated = released * in_vessels / float(on[0] + in_vessels) if in_vessels > 0 else 0.0
        if self.drug_amol is not None:
            at_large, elsewhere = (released - heated, heated) if name == "plasma" else (0.0, released)
            state.drug["waiting_amol"][...] += self.drug_amol * np.array([at_large, elsewhere])
            state.drug["released_amol"][-1] += self.drug_amol * released
            if heated > 0:
                state.vessels["segment_source_amol"][...] += self.drug_amol * heated * cleared / float((copies * cleared).sum())
        if self.release.reporter is not None:
            put_in_body(state.traits, name, self.release.reporter.per_particle * np.array([released - heated, heated]))

    def _cleared(self, state: StateView, temperature: Reals) -> Reals:
        """(segments,) µm³ of plasma per second whose carriers release their payload in each; 0 where it is not heated."""
        if not self._in_vessels:
            return np.zeros(1)
        assert self._graph is not None
        assert self._middle is not None
        assert self.release.heat is not None
        per_s = self.release.heat.rate_per_s(temperature.ravel()[self._middle])
        flow, hematocrit = state.vessels["segment_flow_um3_per_s"], state.vessels["segment_hematocrit"]
        return lost_in_transit(self._graph, flow, hematocrit, per_s)

    def _patch(self, state: StateView) -> NDArray[np.int64]:
        """(segments,) the patch that each segment lies in."""
        assert self._middle is not None
        return state.lattice.patch_of_voxel(self._middle)

    def _aged(self, state: StateView, dt_s: float) -> float:
        """Passive rate in blood, mean over the step and over the doses by what is loaded of each; ages the doses."""
        ages = state.time_s - np.sort(self.dose_times_s)
        hazard = self.release.passive_in_blood(ages + dt_s) - self.release.passive_in_blood(ages)
        if not self._by_dose:
            return float(hazard[0] / dt_s)
        share = self._doses(state, int((ages >= 0).sum()) - 1)
        left = float(logsumexp(-hazard, b=share))
        share *= np.exp(-hazard - left)
        return -left / dt_s

    def _doses(self, state: StateView, latest: int) -> Reals:
        """(doses,) share of each in what is loaded in plasma: what came since the last step is of the latest begun."""
        share, seen = state.traits[DOSES], state.traits[SEEN]
        injected, held = float(state.ledger.injected[LOADED]), float(state.body["plasma"][LOADED])
        fresh = min((injected - float(seen[0])) / held, 1.0) if held > 0 else 0.0
        share *= 1 - fresh
        share[max(latest, 0)] += 1 - share.sum()
        seen[0] = injected
        return share
