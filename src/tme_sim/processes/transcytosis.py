"""Transcytosis: endothelial cells carry particles through, after a delay (model section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.chain import pass_on
from tme_sim.numerics.poisson import chances
from tme_sim.numerics.share import share
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.exchange import draw_from_plasma, return_to_plasma
from tme_sim.state.parameters import given, parameter
from tme_sim.state.state import State
from tme_sim.state.substance import Receptors
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

    P = P_f (1 − a/r_v)² + J/(K + C). The first term is the fluid phase: P_f the card's permeability, that of fluid where the
    vesicles' radius r_v is given, from whose rim the centres of particles of radius a are excluded; without r_v the particle's
    own. The second are receptors, which saturate with the concentration C in plasma (card; default none). With `macrophages` in
    the run P is that of a wall without any near it.
    """

    transit_time_s: float = parameter("mean time through the endothelial cell", above=0)
    stages: int = parameter("stages of the Erlang chain", at_least=1, at_most=20)
    recycled_fraction: float = parameter("share of what is taken up that returns to blood", at_least=0, below=1)
    active_fraction: float = parameter("share of the endothelial cells that carry particles", above=0, at_most=1)
    vesicle_radius_um: float | None = parameter(
        "radius of the vesicles of fluid-phase uptake; null: the card's permeability is its particle's", default=None, above=0
    )
    permeability_um_per_s: float = given("nanoparticle.transcytosis_permeability_um_per_s")
    receptors: Receptors | None = given("nanoparticle.transcytosis_receptors", default=None)
    diameter_um: float = given("diameter_in_blood_um", default=0.0)
    beside_macrophages: bool = given("has_macrophages", default=False)

    @property
    def reads(self) -> frozenset[str]:
        factor = {"vessels.permeability_factor"} if self.beside_macrophages else set()
        return frozenset({"vessels.activity", "vessels.perfused"} | factor)

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
        return float(self._permeability_um_per_s(0.0) * state.vessels.surface_um2.sum())

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        held, voxel = state.vessels["endothelium"], state.vessels["voxel"]
        moves = chances(np.arange(self.stages), self.stages * dt_s / self.transit_time_s)
        arrived = pass_on(held.reshape(self.stages, -1), moves, streams.key("stage")).reshape(held.shape[1:])
        recycled = share(arrived, self.recycled_fraction, streams.key("recycle"))
        self._recycle(state, voxel, recycled)
        field = state.fields["nanoparticle"].reshape(len(ROUTES), len(FORMS), -1)
        field[ROUTE][:, voxel] += (arrived - recycled).astype(field.dtype, copy=False)
        held[0] += draw_from_plasma(
            state.body["plasma"],
            state.plasma_volume_um3,
            state.ledger,
            state.lattice,
            voxel,
            self._uptake_um3_per_s(state),
            ROUTE,
            dt_s,
            streams.key("enter"),
        )

    def _recycle(self, state: StateView, voxel: NDArray[np.int64], recycled: NDArray[Any]) -> None:
        back = np.zeros((len(ROUTES), *recycled.shape), recycled.dtype)
        back[ROUTE] = recycled
        return_to_plasma(state.body["plasma"], state.ledger, state.lattice, voxel, back)

    def _uptake_um3_per_s(self, state: StateView) -> NDArray[np.float64]:
        """(walls,) plasma that the wall of each voxel clears into vesicles."""
        vessels = state.vessels
        permeability = self._permeability_um_per_s(float(state.body["plasma"].sum()) / state.plasma_volume_um3)
        taken_up = permeability / (1 - self.recycled_fraction)
        clears = vessels["activity"] * vessels["surface_um2"] * vessels["perfused"] * taken_up
        return np.asarray(clears * vessels["permeability_factor"] if self.beside_macrophages else clears)

    def _permeability_um_per_s(self, per_um3: float) -> float:
        """Of the mean wall to particles at this concentration in plasma, by both ways of uptake."""
        fluid = self.permeability_um_per_s * vesicle_share(self.diameter_um / 2, self.vesicle_radius_um)
        if self.receptors is None:
            return fluid
        return fluid + self.receptors.maximum_per_um2_s / (self.receptors.half_saturation_per_um3 + per_um3)


def vesicle_share(particle_radius_um: float, vesicle_radius_um: float | None) -> float:
    """Partition of spheres of radius a into the neck of a vesicle of radius r, (1 − a/r)²; 1 where r is None."""
    return 1.0 if vesicle_radius_um is None else max(0.0, 1 - particle_radius_um / vesicle_radius_um) ** 2
