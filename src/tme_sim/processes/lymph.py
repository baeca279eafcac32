"""Lymph: what is injected into tissue drains, by size, and passes a node on its way to blood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.share import share
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.errors import InputError
from tme_sim.state.exchange import draw_from_plasma
from tme_sim.state.outflow import FIELDS
from tme_sim.state.parameters import given, parameter
from tme_sim.state.state import State
from tme_sim.state.variables import FORMS, ROUTES

ROUTE = ROUTES.index("injected")
DEPOT, VELOCITY = "depot", "interstitial_velocity_um_per_s"


@dataclass(kw_only=True, eq=False)
class Lymph(Process):
    """The depot of an interstitial injection drains at k = k0 min(1, (d0/d)^n), d the mean diameter: large particles stay.

    In a lymph node what drains enters the near end of the sinus, all of it and the same in every copy; `transport` carries it
    along x at the given superficial velocity (carriers faster by 1/φ), and what leaves the far end is in blood at the next step.
    In other tissues it goes into plasma directly. Does nothing with other routes of administration.
    """

    drainage_per_s: float = parameter("rate k0 at which small particles leave the site of injection", at_least=0, at_most=1)
    free_diameter_um: float = parameter("diameter d0 up to which particles drain freely", above=0, at_most=1)
    size_exponent: float = parameter("n of larger particles", at_least=0, at_most=10)
    velocity_um_per_s: float = parameter("superficial velocity of lymph along the sinus", above=0, at_most=1e4)
    diameter_um: float = given("diameter_in_blood_um")
    route: str = given("protocol.route")
    _inlets: NDArray[np.int64] | None = field(default=None, init=False, repr=False)

    @property
    def reads(self) -> frozenset[str]:
        return frozenset()

    @property
    def writes(self) -> frozenset[str]:
        if self.route != "interstitial":
            return frozenset()
        node = {f"fields.{name}" for name in ("nanoparticle", VELOCITY, *FIELDS)} if self._inlets is not None else set()
        return frozenset({"body.plasma", f"body.{DEPOT}"} | node)

    @property
    def rate_per_s(self) -> float:
        """k of this particle."""
        return float(self.drainage_per_s * min(1.0, (self.free_diameter_um / self.diameter_um) ** self.size_exponent))

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """The flow through the sinus, the same at all times."""
        if self.route != "interstitial":
            return
        state.body.pools.setdefault(DEPOT, np.zeros(len(FORMS), state.total_dtype))
        if "sinus" not in state.fields:
            return
        if VELOCITY in state.fields:
            told = "in a lymph node lymph is what flows; leave interstitial_flow out"
            raise InputError("processes.interstitial_flow", None, told)
        state.fields.setdefault("nanoparticle", state.empty_field())
        sinus = state.fields["sinus"] > 0
        inlets = np.zeros_like(sinus)
        inlets[:, :, 0] = sinus[:, :, 0]
        self._inlets = np.flatnonzero(inlets)
        velocity = np.zeros((3, *state.lattice.voxels))
        velocity[2] = self.velocity_um_per_s * sinus
        state.fields |= {VELOCITY: velocity} | {name: np.zeros(state.lattice.voxels) for name in FIELDS}
        state.fields[FIELDS[0]][:, :, -1] = velocity[2, :, :, -1] / state.lattice.voxel_um

    def entry_um3_per_s(self, state: State) -> float:
        """As if the depot were plasma: in each copy its share of what drains."""
        if self.route != "interstitial" or "sinus" not in state.fields:
            return 0.0
        return self.rate_per_s * state.body.plasma_volume_um3 / int(state.lattice.copies[0])

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if self.route != "interstitial" or dt_s == 0:
            return
        depot, plasma, ledger = state.body[DEPOT], state.body["plasma"], state.ledger
        if self._inlets is None:
            drained = share(depot, -np.expm1(-self.rate_per_s * dt_s), streams.key("drain"))
            depot -= drained
            plasma += drained
            return
        copies = int(state.lattice.copies[0])
        ledger.leave(plasma, 0, copies, ledger.washed_out[0])
        ledger.washed_out[0] = 0
        each = np.full(len(self._inlets), self.rate_per_s / copies / len(self._inlets))
        entered = draw_from_plasma(depot, 1.0, ledger, state.lattice, self._inlets, each, ROUTE, dt_s, streams.key("enter"))
        free = state.fields["nanoparticle"].reshape(len(ROUTES), len(FORMS), -1)
        free[ROUTE][:, self._inlets] += entered.astype(free.dtype, copy=False)
