"""Interstitial transport: free particles move between voxels (model section 4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.hops import hop
from tme_sim.numerics.rkl2 import Integration, integrate
from tme_sim.numerics.transport import face_rates, leave_rate, parts, step_continuum
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.errors import InputError
from tme_sim.state.outflow import FIELDS, Outflow, outflows
from tme_sim.state.parameters import given, parameter

VELOCITY = "interstitial_velocity_um_per_s"
FLOW = (VELOCITY, *FIELDS)
FEW = 150
"""Explicit parts of a step up to which `auto` takes them; from there on super-time-stepping with its ramp is the cheaper."""


@dataclass(kw_only=True, eq=False)
class Transport(Process):
    """∂C/∂t = ∇·(φ D ∇(C/φ)) − ∇·(f_r v C/φ) from one set of face rates, v that of interstitial_flow if the run has it.

    Amounts take explicit or RKL2 steps, counts exact multinomial hops. Nothing leaves the lattice but what the flow washes out
    (`state.outflow`). Every step follows what other processes let in, so RKL2 starts it with short steps; `integration` tells
    what the last one took, and its error.
    """

    retardation: float = parameter("velocity of the carriers over that of the fluid, f_r", default=1.0, at_least=0, at_most=1)
    diffusivity_um2_per_s: float = given("tissue_diffusivity")
    integrator: Literal["auto", "explicit", "rkl2"] = given("carrier_integrator", default="auto")
    has_flow: bool = given("has_interstitial_flow", default=False)
    integration: Integration | None = field(default=None, init=False, repr=False)
    _rates: NDArray[np.float64] | None = field(default=None, init=False, repr=False)
    _flow: list[NDArray[np.float64]] = field(default_factory=list, init=False, repr=False)
    _outflows: list[Outflow] = field(default_factory=list, init=False, repr=False)
    _leave_per_s: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.has_flow and self.integrator == "rkl2":
            raise InputError("integrator", "rkl2", "not with interstitial_flow, where it would be unstable; auto or explicit")

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"fields.accessible_fraction"} | ({f"fields.{name}" for name in FLOW} if self.has_flow else set()))

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({"fields.nanoparticle"})

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        rates = self._rates_now(state)
        amounts = state.fields["nanoparticle"]
        n = parts(self._leave_per_s, dt_s)
        for route, form in np.ndindex(*amounts.shape[:2]):
            amount = amounts[route, form]
            if not amount.any():
                continue
            if amount.dtype.kind == "f" and not self.has_flow:
                self._advance(amount, rates, dt_s, n)
                continue
            for part in range(n):
                out, back = (streams.key(way, route, form, part) for way in ("out", "back"))
                left = [outflow.carry_out(amount, dt_s / n, out) for outflow in self._outflows]
                if amount.dtype.kind == "f":
                    step_continuum(amount, rates, dt_s / n)
                else:
                    hop(amount, rates, dt_s / n, streams.key("hop", route, form, part))
                for patch, outflow in enumerate(self._outflows):
                    state.ledger.washed_out[patch, route, form] += outflow.bring_in(amount, left[patch], back)

    def _rates_now(self, state: StateView) -> NDArray[np.float64]:
        """The rates, computed anew where the flow is another: to compare all of it is cheap beside that, and restarts alike."""
        flow = [state.fields[name] for name in FLOW] if self.has_flow else []
        if self._rates is None or not all(np.array_equal(now, before) for now, before in zip(flow, self._flow, strict=True)):
            lattice, capacity = state.lattice, state.fields["accessible_fraction"]
            self._flow = [each.copy() for each in flow]
            carried = self.retardation * flow[0] if flow else None
            self._rates = face_rates(self.diffusivity_um2_per_s, capacity, lattice.voxel_um, lattice.blocked_z, carried)
            leave_per_s = leave_rate(self._rates)
            self._outflows = outflows(lattice, capacity, flow[1:], self.retardation) if flow else []
            for outflow in self._outflows:
                leave_per_s.ravel()[outflow.outlets] += outflow.rate_per_s
            self._leave_per_s = float(leave_per_s.max(initial=0.0))
        return self._rates

    def _advance(self, amount: NDArray[Any], rates: NDArray[np.float64], dt_s: float, n: int) -> None:
        if self.integrator == "rkl2" or (self.integrator == "auto" and n > FEW):
            self.integration = integrate(amount, rates, dt_s, first_s=0.0, leave_per_s=self._leave_per_s)
        else:
            step_continuum(amount, rates, dt_s / n, steps=n)
