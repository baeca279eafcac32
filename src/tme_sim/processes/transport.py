"""Interstitial transport: free particles move between voxels (model section 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.edges import Edges, Side, edge_rates
from tme_sim.numerics.hops import hop
from tme_sim.numerics.pace import pace, slow_down
from tme_sim.numerics.random import Key
from tme_sim.numerics.rkl2 import Integration, integrate
from tme_sim.numerics.transport import FaceRates, face_rates, fingerprint, holds_any, leave_rate, parts, step_continuum
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.boundaries import NO_FLUX, Boundaries
from tme_sim.state.errors import InputError
from tme_sim.state.outflow import FIELDS, Outflow
from tme_sim.state.parameters import given, parameter
from tme_sim.state.state import State

VELOCITY = "interstitial_velocity_um_per_s"
FLOW = (VELOCITY, *FIELDS)
FEW = 150
"""Explicit parts of a step up to which `auto` takes them. Super-time-stepping with its ramp needs fewer evaluations from some 40
parts on (37 for 45, 79 for 167), but eight explicit parts share a pass over memory and its stages do not: by the clock it is the
faster from 100 to 150 parts on at 64³ voxels, from 170 to 330 on at 128³."""


@dataclass(kw_only=True, eq=False)
class Transport(Process):
    """∂C/∂t = ∇·(φ D ∇(C/φ)) − ∇·(f_r v C/φ) from one set of face rates, v that of interstitial_flow if the run has it.

    Amounts take explicit or RKL2 steps, counts exact multinomial hops, in parts as short as 99 of 100 voxels need: exchange of
    the others, of little accessible volume amid much, is slowed down to that (`numerics.pace`). What passes a periodic face of
    the lattice enters opposite; nothing leaves but what the flow washes out (`state.outflow`). Every step follows what other
    processes let in, so RKL2 starts it with short steps; `integration` tells what the last one took, and its error.
    """

    retardation: float = parameter("velocity of the carriers over that of the fluid, f_r", default=1.0, at_least=0, at_most=1)
    diffusivity_um2_per_s: float = given("tissue_diffusivity")
    integrator: Literal["auto", "explicit", "rkl2"] = given("carrier_integrator", default="auto")
    has_flow: bool = given("has_interstitial_flow", default=False)
    space_changes: bool = given("cells_change_space", default=False)
    boundaries: Boundaries = given("lattice.boundaries", default=NO_FLUX)
    integration: Integration | None = field(default=None, init=False, repr=False)
    _rates: FaceRates | None = field(default=None, init=False, repr=False)
    _marks: list[float] = field(default_factory=list, init=False, repr=False)
    _edges: Edges | None = field(default=None, init=False, repr=False)
    _outflow: Outflow | None = field(default=None, init=False, repr=False)
    _leave_per_s: float = field(default=0.0, init=False, repr=False)
    _parts: int = field(default=1, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.has_flow and self.integrator == "rkl2":
            raise InputError("integrator", "rkl2", "not with interstitial_flow, where it would be unstable; auto or explicit")
        if self.has_flow and (axes := self.boundaries.periodic):
            told = "not with interstitial_flow, whose pressure holds at the faces; no_flux"
            raise InputError(f"lattice.boundaries.{axes[0]}", "periodic", told)

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"fields.accessible_fraction"} | ({f"fields.{name}" for name in FLOW} if self.has_flow else set()))

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({"fields.nanoparticle"})

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        if "z" in self.boundaries.periodic and len(state.lattice.patches) > 1:
            told = f"not with {len(state.lattice.patches)} patches, which lie along z behind impermeable planes; no_flux"
            raise InputError("lattice.boundaries.z", "periodic", told)

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        rates = self._rates_now(state, dt_s)
        amounts, n = state.fields["nanoparticle"], self._parts
        for route, form in np.ndindex(*amounts.shape[:2]):
            amount = amounts[route, form]
            if not holds_any(amount):
                continue
            if amount.dtype.kind == "f":
                washed_out = self._advance(amount, rates, dt_s, n)
            else:
                washed_out = self._hop(amount, rates, dt_s / n, [streams.key("hop", route, form, part) for part in range(n)])
            state.ledger.washed_out[:, route, form] += washed_out

    def _advance(self, amount: NDArray[Any], rates: FaceRates, dt_s: float, n: int) -> Any:
        """The mean over dt_s, in n parts where it is explicit; returns what was washed out, by patch."""
        if self._outflow is not None:
            return self._outflow.carry(amount, rates, dt_s / n, n)
        if self.integrator == "rkl2" or (self.integrator == "auto" and n > FEW):
            self.integration = integrate(amount, rates, dt_s, edges=self._edges, first_s=0.0, leave_per_s=self._leave_per_s)
        else:
            step_continuum(amount, rates, dt_s / n, steps=n, edges=self._edges)
        return 0

    def report(self) -> dict[str, Any]:
        """Of the last step of super-time-stepping, if there was one: evaluations of all fluxes, and the error that it added."""
        last = self.integration
        return {} if last is None else {"rkl2_evaluations": last.evaluations, "rkl2_error": last.error}

    def _hop(self, amount: NDArray[Any], rates: FaceRates, part_s: float, keys: list[Key]) -> Any:
        """Counts over a part for each key, as the mean: some leave, others hop, some enter; returns what was washed out."""
        washed_out: Any = 0
        for key in keys:
            if self._outflow is None:
                hop(amount, rates, part_s, key, self._edges)
                continue
            left = self._outflow.carry_out(amount, part_s, (key[0], key[1] ^ 1))
            hop(amount, rates, part_s, key)
            washed_out = washed_out + self._outflow.bring_in(amount, left, (key[0], key[1] ^ 2))
        return washed_out

    def _rates_now(self, state: StateView, dt_s: float) -> FaceRates:
        """The rates, computed anew where flow or cells are others: to look at all is cheap beside that, and restarts alike."""
        lattice, capacity = state.lattice, state.fields["accessible_fraction"]
        flow = [state.fields[name] for name in FLOW] if self.has_flow else []
        marks = [dt_s, *(fingerprint(each) for each in (*flow, *([capacity] if self.space_changes else [])))]
        if self._rates is None or marks != self._marks:
            self._marks = marks
            carried = self.retardation * flow[0] if flow else None
            medium = self.diffusivity_um2_per_s, capacity, lattice.voxel_um, lattice.blocked_z
            self._rates = face_rates(*medium, velocity_um_per_s=carried, dtype=np.float32)
            self._edges = self._edges_of(lattice.voxel_um, capacity)
            leave_per_s = leave_rate(self._rates, self._edges)
            if flow:
                self._outflow = Outflow.of(lattice, capacity, flow[1:], self.retardation)
                leave_per_s.ravel()[self._outflow.outlets] += self._outflow.rate_per_s
            self._leave_per_s = float(leave_per_s.max(initial=0.0))
            self._parts = self._in_parts(self._rates, leave_per_s, dt_s)
        return self._rates

    def _in_parts(self, rates: FaceRates, leave_per_s: NDArray[np.float64], dt_s: float) -> int:
        """How many a step takes; slows down what is faster than they allow, where all of it is between voxels and explicit."""
        n = parts(self._leave_per_s, dt_s)
        if dt_s == 0 or self._edges is not None or self.integrator == "rkl2" or (self._outflow is None and n > FEW):
            return n
        washes_per_s = 0.0 if self._outflow is None else float(self._outflow.rate_per_s.max(initial=0.0))
        fewer = max(parts(pace(leave_per_s), dt_s, 1.0), parts(washes_per_s, dt_s))
        if fewer < n:
            slow_down(rates, leave_per_s, fewer / dt_s)
        return min(fewer, n)

    def _edges_of(self, voxel_um: float, capacity: NDArray[Any]) -> Edges | None:
        """What passes the lattice's faces; None where nothing does, which is the faster way."""
        if not self.boundaries.periodic:
            return None
        sides: list[Side] = ["periodic" if axis in self.boundaries.periodic else "closed" for axis in "zzyyxx"]
        return edge_rates(self.diffusivity_um2_per_s, capacity, voxel_um, sides)
