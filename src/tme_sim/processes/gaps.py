"""Endothelial gaps: static pores in the wall, passed both ways by diffusion and with leaking fluid (model section 3.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import pi

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.share import share
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.exchange import draw_from_plasma, return_to_plasma
from tme_sim.state.parameters import given, parameter
from tme_sim.state.population import Population
from tme_sim.state.pores import (
    Filtration,
    gap_conductance_um3_per_s,
    gap_convection,
    gap_filtration_um3_per_mmHg_s,
    two_way_um3_per_s,
)
from tme_sim.state.state import State
from tme_sim.state.variables import FORMS, ROUTES

ROUTE = ROUTES.index("gap")


@dataclass(frozen=True)
class Static:
    """What follows from where the gaps are: (gaps,) conductances, what a mmHg carries, place and row of the wall; (places,)
    voxels that hold gaps, their accessible volume, and rows of the wall.
    """

    conductance_um3_per_s: NDArray[np.float64]
    carried_um3_per_mmHg_s: NDArray[np.float64] | None
    place_of_gap: NDArray[np.int64]
    wall_of_gap: NDArray[np.int64]
    places: NDArray[np.int64]
    volume_um3: NDArray[np.float64]
    wall_of_place: NDArray[np.int64]


@dataclass(kw_only=True, eq=False)
class Gaps(Process):
    """Gap agents on the wall, seeded at random in proportion to its surface; J = G (C_p − C_i/φ) through each that blood passes.

    Where interstitial_flow gives a pressure, the fluid that leaks carries particles with it: J = W J_v (C_p − (C_i/φ) e^(−Pe))/
    (1 − e^(−Pe)), Pe = W J_v/G, J_v = Q (p_0 − p), with the Q and the p_0 (where nothing leaks) that its flow has.
    """

    pore_radius_um: float = parameter("radius of a gap", above=0, at_most=5)
    wall_length_um: float = parameter("length of the gap through the wall", above=0, at_most=5)
    area_fraction: float = parameter("share of the wall's area that is open gap", at_least=0, at_most=0.2)
    diameter_um: float = given("nanoparticle.hydrodynamic_diameter_um")
    diffusivity_um2_per_s: float = given("tissue_diffusivity")
    filtration: Filtration | None = given("filtration", default=None)
    _static: Static | None = field(default=None, init=False, repr=False)

    @property
    def reads(self) -> frozenset[str]:
        gaps = {"populations.gaps.voxel", "populations.gaps.radius_um"}
        pressure = {"fields.interstitial_pressure_mmHg"} if self.filtration is not None else set()
        return frozenset({"fields.accessible_fraction", "vessels.perfused"} | gaps | pressure)

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({"fields.nanoparticle", "body.plasma", "populations.gaps.entered"})

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """Seed Poisson numbers of gaps on the wall voxels."""
        assert state.vessels is not None
        generator = random("gaps")
        per_um2 = self.area_fraction / (pi * self.pore_radius_um**2)
        voxel = np.repeat(state.vessels.voxel, generator.poisson(state.vessels.surface_um2 * per_um2))
        radius = np.full(len(voxel), self.pore_radius_um)
        state.populations["gaps"] = Population(
            {"voxel": voxel, "radius_um": radius, "entered": np.zeros(len(voxel), state.total_dtype)}
        )
        state.fields.setdefault("nanoparticle", state.empty_field())

    def entry_um3_per_s(self, state: State) -> float:
        """Of the mean number of gaps; with convection into tissue without any pressure, an upper bound."""
        assert state.vessels is not None
        accessible = state.fields["accessible_fraction"].ravel()[state.vessels.voxel]
        radius = np.full(len(accessible), self.pore_radius_um)
        per_um2 = self.area_fraction / (pi * self.pore_radius_um**2)
        clears = self._conductance(radius, accessible)
        if self.filtration is not None:
            clears, _ = two_way_um3_per_s(clears, self._carried(radius, self.filtration) * max(self.filtration.driving_mmHg, 0.0))
        return float((clears * state.vessels.surface_um2 * per_um2).sum())

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        gaps, plasma = state.populations["gaps"], state.body["plasma"]
        static = self._static = self._static or self._prepare_static(state)
        carriers = state.fields["nanoparticle"].reshape(len(ROUTES), len(FORMS), -1)
        perfused = state.vessels["perfused"]
        clears, return_per_s = self._rates(state, static)
        return_per_s = return_per_s * perfused[static.wall_of_place]
        back = share(carriers[:, :, static.places], -np.expm1(-return_per_s * dt_s), streams.key("return"))
        carriers[:, :, static.places] -= back
        return_to_plasma(plasma, state.ledger, state.lattice, static.places, back)
        entered = draw_from_plasma(
            plasma,
            state.plasma_volume_um3,
            state.ledger,
            state.lattice,
            gaps["voxel"],
            clears * perfused[static.wall_of_gap],
            ROUTE,
            dt_s,
            streams.key("enter"),
        )
        gaps["entered"][...] += entered.sum(axis=0)
        for form, amount in enumerate(entered):
            np.add.at(carriers[ROUTE, form], gaps["voxel"], amount.astype(carriers.dtype, copy=False))

    def _conductance(self, radius_um: NDArray[np.float64], accessible: NDArray[np.float64]) -> NDArray[np.float64]:
        return gap_conductance_um3_per_s(
            radius_um, self.wall_length_um, self.diameter_um / 2, self.diffusivity_um2_per_s, accessible
        )

    def _carried(self, radius_um: NDArray[np.float64], filtration: Filtration) -> NDArray[np.float64]:
        """W Q of each gap."""
        leaks = gap_filtration_um3_per_mmHg_s(radius_um, self.wall_length_um, filtration.conductivity_um2_per_mmHg_s)
        return gap_convection(radius_um, self.diameter_um / 2) * leaks

    def _rates(self, state: StateView, static: Static) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Volume of plasma that each gap clears per second, and the rate at which free particles of each place go back."""
        into = back = static.conductance_um3_per_s
        if self.filtration is not None and static.carried_um3_per_mmHg_s is not None:
            pressure = state.fields["interstitial_pressure_mmHg"].ravel()[static.places]
            drives = (self.filtration.driving_mmHg - pressure)[static.place_of_gap]
            into, back = two_way_um3_per_s(back, static.carried_um3_per_mmHg_s * drives)
        total = np.bincount(static.place_of_gap, back, len(static.places)).astype(np.float64)  # of no gaps it is of integers
        volume = static.volume_um3
        return into, np.divide(total, volume, out=np.zeros_like(total), where=volume > 0)

    def _prepare_static(self, state: StateView) -> Static:
        """The gaps of one voxel act as one on what is in it."""
        gaps = state.populations["gaps"]
        accessible, radius = state.fields["accessible_fraction"].ravel(), gaps["radius_um"]
        places, of_gap = np.unique(gaps["voxel"], return_inverse=True)
        wall_of_place = np.searchsorted(state.vessels["voxel"], places)
        return Static(
            self._conductance(radius, accessible[gaps["voxel"]]),
            None if self.filtration is None else self._carried(radius, self.filtration),
            of_gap,
            wall_of_place[of_gap],
            places,
            accessible[places] * state.lattice.voxel_um3,
            wall_of_place,
        )
