"""Tumour-associated macrophages: niches, walking, polarisation, death, and what they may do to the wall (model sections 3, 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import log

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.nearby import count_within
from tme_sim.numerics.random import uniforms
from tme_sim.numerics.transport import face_rates
from tme_sim.numerics.walk import wander
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.cells import IN_CELLS, Space, free_drug, give_back, move_drug, occupied_sites
from tme_sim.state.lattice import Lattice
from tme_sim.state.parameters import given, parameter
from tme_sim.state.population import Population
from tme_sim.state.state import State
from tme_sim.state.vessels import site_distance_um

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]


@dataclass(kw_only=True, eq=False)
class Macrophages(Process):
    """Macrophages keep to niches: a site is w = a_v^exp(−d/λ) · a_h^h times as attractive as one far from vessels with oxygen.

    d is the distance to a site with wall, h = max(0, 1 − P/P_h) how hypoxic the site is (0 without `oxygen`). At the start they
    are dealt to the cells' sites so that ρ/(1 − ρ) ∝ w for the share ρ of macrophages, which is where walking leaves them too:
    ⟨r²⟩ = 2 v² T t for the speed v and persistence T, with the drift of detailed balance up w. One cell fills a site: who is in
    the way changes places with the macrophage, another macrophage stays. What a macrophage holds goes with it; when it dies it
    goes back to the interstitium. New ones are the monocytes of `migration`.

    Polarisation p, −1 M1-like to 1 M2-like, relaxes to p_0 + (1 − p_0) h in first order; newcomers begin at 0. A cell clears
    m2_uptake^p times the particle card's clearance. The depot that a macrophage can be is the card's `release.by_kind`.

    The wall's permeability is 1 + β n times that of transcytosis and gaps, n the macrophages at most `leak_range` from the wall,
    from centre to centre of sites. It is a hypothesis, and its mean over the wall is not kept: more macrophages let more in.
    """

    speed_um_per_s: float = parameter("speed of walking; 0: they stay", at_least=0, at_most=1)
    persistence_s: float = parameter("time for which a macrophage keeps its direction", above=0, at_most=1e5)
    perivascular_attraction: float = parameter("a_v, odds beside a wall over those far away", above=0, at_most=1e4)
    perivascular_range_um: float = parameter("λ, over which the wall's attraction falls", above=0, at_most=1000)
    hypoxic_attraction: float = parameter("a_h, odds without oxygen over those with enough", above=0, at_most=1e4)
    hypoxic_below_mmHg: float = parameter("P_h, oxygen below which tissue is hypoxic", above=0, at_most=160)
    resting_polarisation: float = parameter("p_0, polarisation with oxygen, −1 M1-like to 1 M2-like", at_least=-1, at_most=1)
    polarisation_time_s: float = parameter("time in which polarisation follows oxygen", above=0)
    m2_uptake: float = parameter("clearance of particles by an M2-like cell over one at 0", above=0, at_most=100)
    death_per_s: float = parameter("rate of dying", at_least=0)
    leak_per_macrophage: float = parameter("β, added to the wall's permeability by each macrophage near it; 0: none", at_least=0)
    leak_range_um: float = parameter("how far from the wall a macrophage adds to it", at_least=0, at_most=300)
    space: Space = given("cell_space")
    with_oxygen: bool = given("has_oxygen", default=False)
    with_drug: bool = given("has_drug", default=False)
    _wall_um: Reals | None = field(default=None, init=False, repr=False)
    _energy: Reals = field(default_factory=lambda: np.empty(0), init=False, repr=False)
    _rates: Reals | None = field(default=None, init=False, repr=False)

    @property
    def reads(self) -> frozenset[str]:
        oxygen = {"fields.oxygen_mmHg"} if self.with_oxygen else set()
        return frozenset({"fields.lumen_fraction", "fields.inside"} | oxygen)

    @property
    def writes(self) -> frozenset[str]:
        drug = {f"fields.{name}" for name in ("drug_mM", "drug_source_amol", *IN_CELLS)} if self.with_drug else set()
        fields = {f"fields.{name}" for name in ("nanoparticle", "cell_fraction", "accessible_fraction")}
        cells = {"populations.macrophages", "populations.tumor_cells.site"}
        return frozenset(fields | drug | cells | {"vessels.permeability_factor"})

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """All at rest; the wall as it is without them."""
        assert state.vessels is not None
        cells = state.populations["macrophages"]
        cells.columns["polarisation"] = np.full(len(cells), self.resting_polarisation)
        state.vessels.arrays["permeability_factor"] = np.ones(len(state.vessels.voxel))
        state.fields.setdefault("nanoparticle", state.empty_field())

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if dt_s == 0:
            return
        cells: Population = state.population("macrophages")
        hypoxia = self._hypoxia(state)
        energy = self._attraction(state, hypoxia)
        if state.tick == 0:
            self._settle(state, cells, energy, streams)
        self._die(state, cells, dt_s, streams)
        self._walk(state, cells, energy, dt_s, streams)
        self._polarise(cells, hypoxia, dt_s)
        if self.leak_per_macrophage > 0:
            self._loosen(state, cells)

    def _hypoxia(self, state: StateView) -> Reals:
        """(z, y, x) of sites."""
        if not self.with_oxygen:
            return np.zeros(state.lattice.sites)
        return np.maximum(0.0, 1 - state.lattice.on_sites(state.fields["oxygen_mmHg"]) / self.hypoxic_below_mmHg)

    def _attraction(self, state: StateView, hypoxia: Reals) -> Reals:
        """(z, y, x) ln w of sites."""
        if self._wall_um is None:
            self._wall_um = site_distance_um(state.lattice, state.vessels["voxel"])
        beside = np.exp(-self._wall_um / self.perivascular_range_um)
        return np.asarray(log(self.perivascular_attraction) * beside + log(self.hypoxic_attraction) * hypoxia)

    def _settle(self, state: StateView, cells: Population, energy: Reals, streams: Streams) -> None:
        """Deal the sites of each patch anew between its macrophages and tumour cells: the highest ln w + logit(u) win.

        With n of them to draw this is Pareto sampling, whose chances are ρ/(1 − ρ) ∝ w (Rosén 1997).
        """
        if np.ptp(energy) == 0:
            return
        others = state.populations["tumor_cells"]["site"]
        site = np.concatenate([cells["site"], others])
        u = uniforms(streams.key("settle"), site)
        score = energy.ravel()[site] + np.log(u) - np.log1p(-u)
        patch = state.lattice.patch_of_site(site)
        order = np.lexsort((-score, patch))
        rows = np.arange(len(site)) < len(cells)
        for each in np.unique(patch):
            ranked = order[patch[order] == each]
            is_macrophage, here = rows & (patch == each), np.count_nonzero(rows & (patch == each))
            cells["site"][np.flatnonzero(is_macrophage)] = np.sort(site[ranked[:here]])
            others[np.flatnonzero(~rows & (patch == each)) - len(cells)] = np.sort(site[ranked[here:]])

    def _die(self, state: StateView, cells: Population, dt_s: float, streams: Streams) -> None:
        dies = uniforms(streams.key("die"), cells["id"]) < -np.expm1(-self.death_per_s * dt_s)
        if not dies.any():
            return
        left = cells["site"][dies]
        give_back(state.lattice, state.fields, cells, dies, streams.key("debris"))
        cells.remove(dies)
        taken = self._taken(state, cells)
        if self.with_drug:
            free_drug(state.lattice, state.fields, np.unique(left[~taken[left]]))
        self.space.fill(state.lattice, state.fields, taken)

    def _walk(self, state: StateView, cells: Population, energy: Reals, dt_s: float, streams: Streams) -> None:
        if self.speed_um_per_s == 0 or len(cells) == 0:
            return
        lattice, others = state.lattice, state.populations["tumor_cells"]["site"]
        rates = self._rates_now(state, energy)
        before = np.concatenate([cells["site"], others])
        after = np.concatenate(wander(cells["site"], others, rates, dt_s, streams.key("walk"), cells["id"]))
        moved = np.flatnonzero(after != before)
        if len(moved) == 0:
            return
        if self.with_drug:
            part = 1 / np.bincount(before, minlength=lattice.n_sites)[before[moved]]
            move_drug(lattice, state.fields, before[moved], after[moved], part)
        was_taken = self._taken(state, cells)
        cells["site"][...], others[...] = after[: len(cells)], after[len(cells) :]
        taken = self._taken(state, cells)
        if not np.array_equal(taken, was_taken):
            self.space.fill(lattice, state.fields, taken)

    def _rates_now(self, state: StateView, energy: Reals) -> Reals:
        """(6, z, y, x) hops through the faces of sites, computed anew where oxygen has changed what attracts."""
        if self._rates is None or not np.array_equal(energy, self._energy):
            lattice = state.lattice
            tissue = lattice.on_sites((1 - state.fields["lumen_fraction"]) * (state.fields["inside"] > 0))
            motility = self.speed_um_per_s**2 * self.persistence_s / 3
            blocked = [patch.first_plane for patch in lattice.patches[1:]]
            rates = face_rates(motility, tissue * np.exp(energy - energy.max()), lattice.site_um, blocked)
            self._rates, self._energy = rates.out(), energy
        return self._rates

    def _taken(self, state: StateView, cells: Population) -> NDArray[np.bool_]:
        return occupied_sites(state.lattice, {"macrophages": cells, "tumor_cells": state.populations["tumor_cells"]})

    def _polarise(self, cells: Population, hypoxia: Reals, dt_s: float) -> None:
        target = self.resting_polarisation + (1 - self.resting_polarisation) * hypoxia.ravel()[cells["site"]]
        cells["polarisation"][...] += (target - cells["polarisation"]) * -np.expm1(-dt_s / self.polarisation_time_s)

    def _loosen(self, state: StateView, cells: Population) -> None:
        lattice: Lattice = state.lattice
        walls, plane = lattice.site_of_voxel(state.vessels["voxel"]), lattice.sites[1] * lattice.sites[2]
        groups = lattice.patch_of_site(np.arange(lattice.sites[0]) * plane)
        near = count_within(walls, cells["site"], lattice.sites, groups, self.leak_range_um / lattice.site_um)
        state.vessels["permeability_factor"][...] = 1 + self.leak_per_macrophage * near
