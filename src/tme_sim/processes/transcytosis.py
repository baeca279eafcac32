"""Transcytosis: endothelial cells carry particles through, after a delay (model section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import poisson

from tme_sim.numerics.share import share, split
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.exchange import draw_from_plasma, return_to_plasma
from tme_sim.state.parameters import given, parameter
from tme_sim.state.state import State
from tme_sim.state.variables import FORMS, ROUTES

ROUTE = ROUTES.index("transcytosis")


@dataclass(kw_only=True, eq=False)
class Transcytosis(Process):
    """Fluid-phase uptake from blood, an Erlang chain of transit stages, release behind the wall or back into blood.

    Where blood passes, the wall clears activity · P/(1 − recycled) · surface of plasma; each of n stages is left at the rate
    n/transit_time, so the delay has mean transit_time and variance transit_time²/n; a step moves carriers on by Poisson numbers
    of stages, which is exact for steps of any length. `active_fraction` of the sites along the wall carry all of it (Kingston
    2021: a fifth of the endothelial cells); P is the wall's mean permeability. What is recycled counts as plasma at once, even
    while the vessel is shut.
    """

    transit_time_s: float = parameter("mean time through the endothelial cell", above=0)
    stages: int = parameter("stages of the Erlang chain", at_least=1, at_most=20)
    recycled_fraction: float = parameter("share of what is taken up that returns to blood", at_least=0, below=1)
    active_fraction: float = parameter("share of the endothelial cells that carry particles", above=0, at_most=1)
    permeability_um_per_s: float = given("nanoparticle.transcytosis_permeability_um_per_s")

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"vessels.activity", "vessels.perfused"})

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({"fields.nanoparticle", "body.plasma", "vessels.endothelium"})

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """Draw which sites' endothelium is active; the surface-weighted mean activity is 1."""
        assert state.vessels is not None
        vessels = state.vessels
        site = state.lattice.site_of_voxel(vessels.voxel)
        active = random("activity").random(state.lattice.n_sites)[site] < self.active_fraction
        if len(active) and not active.any():
            active[np.argmax(vessels.surface_um2)] = True
        active_surface = vessels.surface_um2[active].sum()
        vessels.arrays["activity"] = active * (vessels.surface_um2.sum() / active_surface if active_surface > 0 else 0.0)
        vessels.arrays["endothelium"] = np.zeros((self.stages, len(FORMS), len(vessels.voxel)), state.total_dtype)
        state.fields.setdefault("nanoparticle", state.empty_field())

    def entry_um3_per_s(self, state: State) -> float:
        assert state.vessels is not None
        return float(self.permeability_um_per_s * state.vessels.surface_um2.sum())

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        stages, voxel = state.vessels["endothelium"], state.vessels["voxel"]
        arrived = np.zeros((len(ROUTES), *stages.shape[1:]), stages.dtype)
        moves = poisson.pmf(np.arange(self.stages), self.stages * dt_s / self.transit_time_s)
        for stage in reversed(range(self.stages)):
            onward = moves[: self.stages - stage]  # by none, one, two … stages; the rest leaves the chain
            held = np.flatnonzero(stages[stage])
            place = np.unravel_index(held, stages[stage].shape)
            parts = split(stages[stage][place], [*onward, max(0.0, 1 - onward.sum())], streams.key("stage", stage), held)
            stages[stage][place] = 0
            for passed, moved in enumerate(parts.T[:-1]):
                stages[stage + passed][place] += moved
            arrived[ROUTE][place] += parts[:, -1]
        recycled = share(arrived, self.recycled_fraction, streams.key("recycle"))
        return_to_plasma(state.body["plasma"], state.ledger, state.lattice, voxel, recycled)
        field = state.fields["nanoparticle"].reshape(len(ROUTES), len(FORMS), -1)
        field[ROUTE][:, voxel] += (arrived - recycled)[ROUTE].astype(field.dtype, copy=False)
        vessels = state.vessels
        uptake = vessels["activity"] * vessels["surface_um2"] * self.permeability_um_per_s / (1 - self.recycled_fraction)
        uptake = uptake * vessels["perfused"]
        stages[0] += draw_from_plasma(
            state.body["plasma"],
            state.plasma_volume_um3,
            state.ledger,
            state.lattice,
            voxel,
            uptake,
            ROUTE,
            dt_s,
            streams.key("enter"),
        )
