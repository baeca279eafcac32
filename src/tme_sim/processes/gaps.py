"""Endothelial gaps: static pores in the vessel wall through which particles diffuse both ways (model section 3.1)."""

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
from tme_sim.state.state import State
from tme_sim.state.substance import pore_hindrance, stokes_einstein_um2_per_s
from tme_sim.state.variables import FORMS, ROUTES

ROUTE = ROUTES.index("gap")


def gap_conductance_um3_per_s(
    pore_radius_um: NDArray[np.float64],
    wall_length_um: float,
    particle_radius_um: float,
    tissue_diffusivity_um2_per_s: float,
    accessible_fraction: NDArray[np.float64],
) -> NDArray[np.float64]:
    """G of one gap: 1/G = L/(H(a/r) D0 π r²) + 1/(4 φ D_t r), the pore and the access to the tissue behind it in series.

    The access term is the flux 4 D r to a disc in a half-space; pores no wider than the particle pass nothing.
    """
    sizes, of_gap = np.unique(pore_radius_um, return_inverse=True)
    hindrance = np.array([pore_hindrance(particle_radius_um / r) for r in sizes])[of_gap]
    pore = hindrance * stokes_einstein_um2_per_s(particle_radius_um) * pi * pore_radius_um**2 / wall_length_um
    access = 4 * accessible_fraction * tissue_diffusivity_um2_per_s * pore_radius_um
    total = pore + access
    return np.divide(pore * access, total, out=np.zeros_like(total), where=total > 0)


@dataclass(frozen=True)
class Static:
    """What follows from where the gaps are: (gaps,) conductances and rows of the wall; (places,) voxels that hold gaps, return
    rates there, and rows of the wall.
    """

    conductance_um3_per_s: NDArray[np.float64]
    wall_of_gap: NDArray[np.int64]
    places: NDArray[np.int64]
    return_per_s: NDArray[np.float64]
    wall_of_place: NDArray[np.int64]


@dataclass(kw_only=True, eq=False)
class Gaps(Process):
    """Gap agents on the wall, seeded at random in proportion to its surface; J = G (C_p − C_i/φ) through each that blood passes.

    The gaps are static: their conductances are computed once.
    """

    pore_radius_um: float = parameter("radius of a gap", above=0, at_most=5)
    wall_length_um: float = parameter("length of the gap through the wall", above=0, at_most=5)
    area_fraction: float = parameter("share of the wall's area that is open gap", at_least=0, at_most=0.2)
    diameter_um: float = given("nanoparticle.hydrodynamic_diameter_um")
    diffusivity_um2_per_s: float = given("tissue_diffusivity")
    _static: Static | None = field(default=None, init=False, repr=False)

    @property
    def reads(self) -> frozenset[str]:
        gaps = {"populations.gaps.voxel", "populations.gaps.radius_um"}
        return frozenset({"fields.accessible_fraction", "vessels.perfused"} | gaps)

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
        assert state.vessels is not None
        accessible = state.fields["accessible_fraction"].ravel()[state.vessels.voxel]
        radius = np.full(len(accessible), self.pore_radius_um)
        per_um2 = self.area_fraction / (pi * self.pore_radius_um**2)
        return float((self._conductance(radius, accessible) * state.vessels.surface_um2 * per_um2).sum())

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        gaps, plasma = state.populations["gaps"], state.body["plasma"]
        static = self._static = self._static or self._prepare_static(state)
        carriers = state.fields["nanoparticle"].reshape(len(ROUTES), len(FORMS), -1)
        perfused = state.vessels["perfused"]
        return_per_s = static.return_per_s * perfused[static.wall_of_place]
        back = share(carriers[:, :, static.places], -np.expm1(-return_per_s * dt_s), streams.key("return"))
        carriers[:, :, static.places] -= back
        return_to_plasma(plasma, state.ledger, state.lattice, static.places, back)
        entered = draw_from_plasma(
            plasma,
            state.plasma_volume_um3,
            state.ledger,
            state.lattice,
            gaps["voxel"],
            static.conductance_um3_per_s * perfused[static.wall_of_gap],
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

    def _prepare_static(self, state: StateView) -> Static:
        """Conductances, and the rate at which free particles go back; the gaps of one voxel act as one."""
        gaps = state.populations["gaps"]
        accessible = state.fields["accessible_fraction"].ravel()
        conductance = self._conductance(gaps["radius_um"], accessible[gaps["voxel"]])
        places, of_gap = np.unique(gaps["voxel"], return_inverse=True)
        total = np.bincount(of_gap, conductance, len(places)).astype(np.float64)  # of no gaps it is of integers
        volume = accessible[places] * state.lattice.voxel_um3
        return_per_s = np.divide(total, volume, out=np.zeros_like(total), where=volume > 0)
        wall_of_place = np.searchsorted(state.vessels["voxel"], places)
        return Static(conductance, wall_of_place[of_gap], places, return_per_s, wall_of_place)
