"""Reversible binding of free particles to extracellular matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tme_sim.numerics.langmuir import bind
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state import substance
from tme_sim.state.parameters import given
from tme_sim.state.state import State
from tme_sim.state.variables import FORMS, ROUTES


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
        free, bound = (state.fields[name].reshape(len(ROUTES) * len(FORMS), -1) for name in ("nanoparticle", "bound"))
        most = self.binding.capacity_per_um3 * state.lattice.voxel_um3
        bind(free, bound, most, self.binding.on_rate_per_s, self.binding.off_rate_per_s, dt_s, streams.key("bind"))
