"""Endothelial gaps: pores in the wall, passed both ways by diffusion and with leaking fluid while open (model section 3.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.share import share
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.errors import InputError
from tme_sim.state.exchange import draw_from_plasma, return_to_plasma
from tme_sim.state.parameters import given, parameter
from tme_sim.state.population import Population
from tme_sim.state.pores import (
    Filtration,
    Passage,
    Radii,
    accessible_behind,
    gap_columns,
    log_normal_radii,
    mean_area_um2,
    scatter,
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
    carried_um3_per_mmHg_s: NDArray[np.float64]
    place_of_gap: NDArray[np.int64]
    wall_of_gap: NDArray[np.int64]
    places: NDArray[np.int64]
    volume_um3: NDArray[np.float64]
    wall_of_place: NDArray[np.int64]


@dataclass(kw_only=True, eq=False)
class Gaps(Process):
    """Gap agents on the wall, seeded at random in proportion to its surface; J = G (C_p − C_i/φ) through each that is open and
    that blood passes.

    Where interstitial_flow gives a pressure, the fluid that leaks carries particles with it: J = W J_v (C_p − (C_i/φ) e^(−Pe))/
    (1 − e^(−Pe)), Pe = W J_v/G, J_v = Q (p_0 − p), with the Q and the p_0 (where nothing leaks) that its flow has. The gaps
    seeded here are always open; `bursts` adds those that open and shut. With `macrophages` in the run those near a gap make it
    count for more, for particles both ways; the fluid that leaks stays as it is.

    In a step the share k dt of what is in a voxel goes back (k its gaps' exchange over its accessible volume), and not
    1 − e^(−k dt): transport refills the voxel as fast as its gaps empty it. Where k dt > 1 one filling of the voxel stays, and
    the rest of what came in turns back, so that blood and tissue come to the same balance for any step.
    """

    pore_radius_um: float = parameter("radius of a gap, the median where they differ", above=0, at_most=5)
    radius_spread: float = parameter("standard deviation of ln(radius); 0: all alike", default=0.0, at_least=0, at_most=2)
    largest_radius_um: float = parameter("largest radius of a gap", default=1.0, above=0, at_most=5)
    wall_length_um: float = parameter("length of the gap through the wall", above=0, at_most=5)
    area_fraction: float = parameter("share of the wall's area that is open gap", at_least=0, at_most=0.2)
    diameter_um: float = given("diameter_in_blood_um")
    diffusivity_um2_per_s: float = given("tissue_diffusivity")
    filtration: Filtration | None = given("filtration", default=None)
    beside_macrophages: bool = given("has_macrophages", default=False)
    _static: Static | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.largest_radius_um < self.pore_radius_um:
            at_least = f"must be at least pore_radius, {self.pore_radius_um:g} um"
            raise InputError("processes.gaps.largest_radius", f"{self.largest_radius_um:g} um", at_least)

    @property
    def reads(self) -> frozenset[str]:
        gaps = {f"populations.gaps.{column}" for column in ("voxel", "radius_um", "open")}
        pressure = {"fields.interstitial_pressure_mmHg"} if self.filtration is not None else set()
        factor = {"vessels.permeability_factor"} if self.beside_macrophages else set()
        tissue = {"fields.accessible_fraction", "fields.lumen_fraction"}
        return frozenset({"vessels.perfused"} | tissue | gaps | pressure | factor)

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({"fields.nanoparticle", "body.plasma", "populations.gaps.entered"})

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """Seed Poisson numbers of gaps on the wall voxels."""
        assert state.vessels is not None
        voxel, radius = scatter(self._radii, self._per_um2, state.vessels, random("gaps"))
        state.populations["gaps"] = Population(gap_columns(voxel, radius, state.total_dtype))
        state.fields.setdefault("nanoparticle", state.empty_field())

    def entry_um3_per_s(self, state: State) -> float:
        """Of the mean number of gaps, at the mean pressure drop of the tumour."""
        return self._passage.expected_um3_per_s(self._radii, self._per_um2, state)

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        gaps, plasma = state.populations["gaps"], state.body["plasma"]
        static = self._static_now(state)
        carriers = state.fields["nanoparticle"].reshape(len(ROUTES), len(FORMS), -1)
        perfused = state.vessels["perfused"]
        clears, return_per_s = self._rates(state, static)
        exchanged = return_per_s * perfused[static.wall_of_place] * dt_s
        share_back = np.minimum(exchanged, 1.0)
        held_to = np.divide(share_back, exchanged, out=np.ones_like(exchanged), where=exchanged > 0)
        back = share(carriers[:, :, static.places], share_back, streams.key("return"))
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
        new = np.zeros((1, len(FORMS), len(static.places)), entered.dtype)
        for form, amount in enumerate(entered):
            np.add.at(new[0, form], static.place_of_gap, amount)
        if (held_to < 1).any():
            turned = np.zeros((len(ROUTES), *new.shape[1:]), new.dtype)
            turned[ROUTE] = share(new, 1 - held_to, streams.key("turn"))[0]
            new -= turned[ROUTE]
            return_to_plasma(plasma, state.ledger, state.lattice, static.places, turned)
        carriers[ROUTE][:, static.places] += new[0].astype(carriers.dtype, copy=False)

    @property
    def _radii(self) -> Radii:
        return log_normal_radii(self.pore_radius_um, self.radius_spread, self.largest_radius_um)

    @property
    def _per_um2(self) -> float:
        return self.area_fraction / mean_area_um2(self._radii)

    @property
    def _passage(self) -> Passage:
        return Passage(self.wall_length_um, self.diameter_um / 2, self.diffusivity_um2_per_s, self.filtration)

    def _rates(self, state: StateView, static: Static) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Volume of plasma that each gap clears per second, and the rate at which free particles of each place go back."""
        is_open = state.populations["gaps"]["open"]
        if self.beside_macrophages:
            is_open = is_open * state.vessels["permeability_factor"][static.wall_of_gap]
        into = back = static.conductance_um3_per_s
        if self.filtration is not None:
            pressure = state.fields["interstitial_pressure_mmHg"].ravel()[static.places]
            drives = (self.filtration.driving_mmHg - pressure)[static.place_of_gap]
            into, back = two_way_um3_per_s(back, static.carried_um3_per_mmHg_s * drives)
        total = np.bincount(static.place_of_gap, back * is_open, len(static.places)).astype(np.float64)  # none: integers
        volume = static.volume_um3
        return into * is_open, np.divide(total, volume, out=np.zeros_like(total), where=volume > 0)

    def _static_now(self, state: StateView) -> Static:
        """Anew where cells beside the gaps leave another space than they did."""
        if self._static is None or not np.array_equal(_volume_um3(state, self._static.places), self._static.volume_um3):
            self._static = self._prepare_static(state)
        return self._static

    def _prepare_static(self, state: StateView) -> Static:
        """The gaps of one voxel act as one on what is in it."""
        gaps = state.populations["gaps"]
        radius = gaps["radius_um"]
        places, of_gap = np.unique(gaps["voxel"], return_inverse=True)
        wall_of_place = np.searchsorted(state.vessels["voxel"], places)
        return Static(
            self._passage.conductance_um3_per_s(radius, accessible_behind(state.fields, gaps["voxel"])),
            self._passage.carried_um3_per_mmHg_s(radius),
            of_gap,
            wall_of_place[of_gap],
            places,
            _volume_um3(state, places),
            wall_of_place,
        )


def _volume_um3(state: StateView, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """(places,) what carriers can reach of these voxels."""
    return np.asarray(state.fields["accessible_fraction"].ravel()[places] * state.lattice.voxel_um3)
