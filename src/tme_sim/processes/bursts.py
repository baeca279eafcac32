"""Bursts of the vessel wall: gaps that open, let a jet out and shut again (Matsumoto 2016, doi:10.1038/nnano.2015.342)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tme_sim.numerics.random import uniforms
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.errors import InputError
from tme_sim.state.parameters import given, parameter
from tme_sim.state.pores import Filtration, Passage, gap_columns, scatter, uniform_radii
from tme_sim.state.state import State


@dataclass(kw_only=True, eq=False)
class Bursts(Process):
    """Sites on the wall where a gap opens at `opening_rate` and shuts at 1/`open_time`, independent of each other.

    They are members of the population `gaps`, which lets carriers through while they are open; the interstitial flow counts them
    into the wall's conductivity. Each is a two-state Markov chain, exact at the ends of steps of any length: open for the share
    f = rate·time/(1 + rate·time), and over dt an open one is found shut with (1 − f)(1 − e^(−(rate + 1/time) dt)). They start in
    that equilibrium. Openings that end within a step are not counted in `opened`.

    The pressure answers at the interval of `interstitial_flow`: until its next step a gap that has opened is driven by the
    pressure from before, so its jet is too strong, and a gap that has shut still feeds the flow. That interval must be short
    beside `open_time`; processes.interstitial_flow.interval=null solves in every step.
    """

    sites_per_um2: float = parameter("places on the wall where a gap may burst open", at_least=0, at_most=1)
    opening_rate_per_s: float = parameter("rate at which a shut place opens", at_least=0)
    open_time_s: float = parameter("mean time that it stays open", above=0)
    smallest_radius_um: float = parameter("smallest radius of such a gap", above=0, at_most=5)
    largest_radius_um: float = parameter("largest radius; they are evenly spread between the two", above=0, at_most=5)
    wall_length_um: float | None = given("gap_length_um")
    diameter_um: float = given("diameter_in_blood_um")
    diffusivity_um2_per_s: float = given("tissue_diffusivity")
    filtration: Filtration | None = given("filtration", default=None)

    def __post_init__(self) -> None:
        if self.largest_radius_um < self.smallest_radius_um:
            at_least = f"must be at least smallest_radius, {self.smallest_radius_um:g} um"
            raise InputError("processes.bursts.largest_radius", f"{self.largest_radius_um:g} um", at_least)

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"populations.gaps.transient"})

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({"populations.gaps.open", "populations.gaps.opened"})

    @property
    def open_share(self) -> float:
        """Long-run share of the time that a site is open."""
        expected = self.opening_rate_per_s * self.open_time_s
        return expected / (1 + expected)

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """Scatter the sites over the wall and open some."""
        gaps = state.populations.get("gaps")
        if gaps is None or state.vessels is None:
            raise InputError("processes.bursts", None, "adds to the gaps in the wall; list `gaps` before it")
        radii = uniform_radii(self.smallest_radius_um, self.largest_radius_um)
        voxel, radius_um = scatter(radii, self.sites_per_um2, state.vessels, random("sites"))
        columns = gap_columns(voxel, radius_um, state.total_dtype, transient=True)
        columns["open"][...] = random("open").random(len(voxel)) < self.open_share
        gaps.add(columns)

    def entry_um3_per_s(self, state: State) -> float:
        """Through the mean number of open sites, at the mean pressure drop of the tumour."""
        if self.wall_length_um is None:
            return 0.0
        passage = Passage(self.wall_length_um, self.diameter_um / 2, self.diffusivity_um2_per_s, self.filtration)
        radii = uniform_radii(self.smallest_radius_um, self.largest_radius_um)
        return passage.expected_um3_per_s(radii, self.sites_per_um2 * self.open_share, state)

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        gaps = state.populations["gaps"]
        site = np.flatnonzero(gaps["transient"])
        was_open = gaps["open"][site] > 0
        relaxed = -np.expm1(-(self.opening_rate_per_s + 1 / self.open_time_s) * dt_s)
        chance = np.where(was_open, 1 - self.open_share, self.open_share) * relaxed
        changes = uniforms(streams.key("open"), gaps["id"][site]) < chance
        gaps["open"][site] = was_open ^ changes
        gaps["opened"][site] += changes & ~was_open
