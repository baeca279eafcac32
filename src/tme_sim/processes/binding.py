"""Reversible binding of free particles to extracellular matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tme_sim.numerics.share import share
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state import substance
from tme_sim.state.parameters import given
from tme_sim.state.state import State


@dataclass(kw_only=True, eq=False)
class Binding(Process):
    """Langmuir binding, dB/dt = k_on (1 − B/B_max) F − k_off B per voxel, in exponential Rosenbrock steps.

    ΔB = dB/dt · (1 − exp(−κ dt))/κ with κ = −∂(dB/dt)/∂B at fixed F + B (Hochbruck & Ostermann 2010,
    doi:10.1017/S0962492910000048): exact far below B_max, second order near it, with the right equilibrium for any step, and
    no step fills beyond B_max.
    """

    binding: substance.Binding = given("nanoparticle.binding")

    @property
    def reads(self) -> frozenset[str]:
        return frozenset()

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({"fields.nanoparticle", "fields.bound"})

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """Nothing is bound at first."""
        state.fields.setdefault("nanoparticle", state.empty_field())
        state.fields["bound"] = state.empty_field()

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        free, bound = state.fields["nanoparticle"], state.fields["bound"]
        capacity = self.binding.capacity_per_um3 * state.lattice.voxel_um3
        on = self.binding.on_rate_per_s * np.clip(1 - bound.sum(axis=(0, 1)) / capacity, 0, 1)
        off = self.binding.off_rate_per_s
        relax = on + off + self.binding.on_rate_per_s * free.sum(axis=(0, 1)) / capacity
        with np.errstate(invalid="ignore"):
            acting_s = np.nan_to_num(-np.expm1(-relax * dt_s) / relax)  # nothing relaxes only where both rates are 0
        for route, form in np.ndindex(*free.shape[:2]):
            if not (free[route, form].any() or bound[route, form].any()):
                continue
            binding = share(free[route, form], on * acting_s, streams.key("bind", route, form))
            leaving = share(bound[route, form], off * acting_s, streams.key("unbind", route, form))
            free[route, form] += leaving - binding
            bound[route, form] += binding - leaving
