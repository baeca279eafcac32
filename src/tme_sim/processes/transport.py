"""Interstitial transport: free particles move between voxels (model section 4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.hops import hop
from tme_sim.numerics.random import Key
from tme_sim.numerics.random import Key
from tme_sim.numerics.rkl2 import Integration, integrate
from tme_sim.numerics.sweep import Sink
from tme_sim.numerics.transport import FaceRates, face_rates, holds_any, leave_rate, parts, step_continuum, step_with_sink
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.errors import InputError
from tme_sim.state.outflow import FIELDS, Outflow
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
    _rates: FaceRates | None = field(default=None, init=False, repr=False)
    _flow: list[NDArray[np.float64]] = field(default_factory=list, init=False, repr=False)
    _outflow: Outflow | None = field(default=None, init=False, repr=False)
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
            if not holds_any(amount):
                continue
            if amount.dtype.kind == "f":
                left = self._advance(amount, rates, dt_s, n)
            else:
                left = self._hop(amount, rates, dt_s / n, [streams.key("hop", route, form, part) for part in range(n)])
            for patch, outflow in enumerate(self._outflows):
                back = streams.key("back", route, form, patch)
                state.ledger.washed_out[patch, route, form] += outflow.bring_in(amount, left[patch], back)

    def _advance(self, amount: NDArray[Any], rates: FaceRates, dt_s: float, n: int) -> list[float]:
        """The mean over dt_s, in n parts where it is explicit; returns what leaves each patch."""
        if self.integrator == "rkl2" or (self.integrator == "auto" and n > FEW and not self.has_flow):
            self.integration = integrate(amount, rates, dt_s, first_s=0.0, leave_per_s=self._leave_per_s)
            return []
        shares = [outflow.share_in(dt_s / n) for outflow in self._outflows]
        if not shares:
            step_continuum(amount, rates, dt_s / n, steps=n)
            return []
        sink = Sink(np.concatenate([outflow.outlets for outflow in self._outflows]), np.concatenate(shares))
        gone = step_with_sink(amount, rates, dt_s / n, n, sink)
        return [float(part.sum()) for part in np.split(gone, np.cumsum([share.size for share in shares])[:-1])]

    def _hop(self, amount: NDArray[Any], rates: FaceRates, part_s: float, keys: list[Key]) -> list[int]:
        """Counts over a part for each key, in the order of the mean: some leave their patch, then all others may hop."""
        left = [0] * len(self._outflows)
        for key in keys:
            for patch, outflow in enumerate(self._outflows):
                left[patch] += outflow.carry_out(amount, part_s, (key[0], key[1] ^ 1))
            hop(amount, rates, part_s, key)
        return left

    def _rates_now(self, state: StateView) -> FaceRates:
        """The rates, computed anew where the flow is another: to compare all of it is cheap beside that, and restarts alike."""
        flow = [state.fields[name] for name in FLOW] if self.has_flow else []
        if self._rates is None or not all(np.array_equal(now, before) for now, before in zip(flow, self._flow, strict=True)):
            lattice, capacity = state.lattice, state.fields["accessible_fraction"]
            self._flow = [each.copy() for each in flow]
            carried = self.retardation * flow[0] if flow else None
            medium = self.diffusivity_um2_per_s, capacity, lattice.voxel_um, lattice.blocked_z
            self._rates = face_rates(*medium, velocity_um_per_s=carried, dtype=np.float32)
            leave_per_s = leave_rate(self._rates)
            self._outflows = outflows(lattice, capacity, flow[1:], self.retardation) if flow else []
            for outflow in self._outflows:
                leave_per_s.ravel()[outflow.outlets] += outflow.rate_per_s
            self._leave_per_s = float(leave_per_s.max(initial=0.0))
        return self._rates
