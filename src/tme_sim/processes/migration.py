"""Phagocytes that have come out of the blood: they follow a chemokine, pass cargo on, die or become macrophages (section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.random import uniforms
from tme_sim.numerics.share import share
from tme_sim.numerics.transport import face_rates
from tme_sim.numerics.walk import meet, walk
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.cells import give_back, parts_of
from tme_sim.state.lattice import Lattice
from tme_sim.state.parameters import parameter
from tme_sim.state.population import Population
from tme_sim.state.variables import PHAGOCYTES
from tme_sim.state.vessels import site_distance_um

Reals = NDArray[np.float64]
Ways = tuple[Reals, NDArray[np.bool_]]
"""(6, z, y, x) of sites: the rates of hopping through their faces, and which faces let a cell through."""


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What becomes of one kind of phagocyte in the tissue."""

    motility_um2_per_s: float = parameter("random motility, ⟨r²⟩ = 6 D t", above=0, at_most=100)
    chemotaxis_um_per_s: float = parameter("drift up the chemokine at its steepest, at the wall", at_least=0, at_most=1)
    hand_over_per_s: float = parameter("rate at which its particles pass to a macrophage that it touches", at_least=0)
    death_per_s: float = parameter("rate of dying; its particles go back to the interstitium", at_least=0)
    conversion_per_s: float = parameter("rate of becoming a macrophage, with all it carries", at_least=0)


@dataclass(kw_only=True, eq=False)
class Migration(Process):
    """Every phagocyte walks at random with the drift v = v_0 λ ∇u up the chemokine u = 1 − exp(−d/λ), d the distance to the wall.

    u is what tissue makes everywhere and loses by decay over the range λ and into vessels (exact beside a flat wall); a closed
    tissue would come to rest at the density exp(v_0 λ u/D). Walkers keep to what particles can reach, may share a site with other
    cells, and change no volume fraction. In contact, on the site or behind a face of it, one macrophage receives.
    """

    neutrophils: Fate = parameter("fate of neutrophils")
    monocytes: Fate = parameter("fate of monocytes")
    chemokine_range_um: float = parameter("range of the chemokine, √(D/k) of its diffusion and decay", above=0, at_most=1e4)
    _ways: dict[str, Ways] | None = field(default=None, init=False, repr=False)

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"fields.accessible_fraction"})

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({"fields.nanoparticle"} | {f"populations.{kind}" for kind in (*PHAGOCYTES, "macrophages")})

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if self._ways is None:
            self._ways = {kind: self._prepare_ways(state, getattr(self, kind)) for kind in PHAGOCYTES}
        for kind in PHAGOCYTES:
            cells: Population = state.population(kind)
            if len(cells) == 0:
                continue
            rates, passable = self._ways[kind]
            cells.columns["site"] = walk(cells["site"], rates, dt_s, streams.key(kind, "walk"), cells["id"])
            self._hand_over(state, cells, passable, kind, dt_s, streams)
            self._end(state, cells, kind, dt_s, streams)

    def _prepare_ways(self, state: StateView, fate: Fate) -> Ways:
        lattice = state.lattice
        open_to = lattice.on_sites(state.fields["accessible_fraction"]) > 0
        gradient = chemokine_steps(lattice, state.vessels["voxel"], self.chemokine_range_um)
        drift = fate.chemotaxis_um_per_s * self.chemokine_range_um / lattice.site_um * gradient
        blocked = [patch.first_plane for patch in lattice.patches[1:]]
        rates = face_rates(fate.motility_um2_per_s, open_to.astype(float), lattice.site_um, blocked, drift).out()
        return rates, rates > 0

    def _hand_over(
        self, state: StateView, cells: Population, passable: NDArray[np.bool_], kind: str, dt_s: float, streams: Streams
    ) -> None:
        """Each particle goes with the same first-order chance, to the macrophage's endosomes."""
        fate: Fate = getattr(self, kind)
        macrophages = state.population("macrophages")
        if fate.hand_over_per_s == 0 or len(macrophages) == 0:
            return
        partner = meet(cells["site"], macrophages["site"], passable, streams.key(kind, "meet"), cells["id"])
        giving = np.flatnonzero(partner >= 0)
        chance = -np.expm1(-fate.hand_over_per_s * dt_s)
        for column in ("cargo", "lysosome"):
            held = cells[column][giving]
            passed = share(held, chance, streams.key(kind, "pass on", column), parts_of(cells["id"][giving], held))
            cells[column][giving] -= passed
            np.add.at(macrophages["cargo"], partner[giving], passed)

    def _end(self, state: StateView, cells: Population, kind: str, dt_s: float, streams: Streams) -> None:
        """Death and conversion exclude each other."""
        fate: Fate = getattr(self, kind)
        rate = fate.death_per_s + fate.conversion_per_s
        ends = uniforms(streams.key(kind, "end"), cells["id"]) < -np.expm1(-rate * dt_s)
        converts = ends & (uniforms(streams.key(kind, "how"), cells["id"]) * rate < fate.conversion_per_s)
        if converts.any():
            taken_along = {name: cells[name][converts] for name in ("site", "cargo", "lysosome")}
            state.population("macrophages").add(taken_along)
        give_back(state.lattice, state.fields, cells, ends & ~converts, streams.key(kind, "debris"))
        cells.remove(ends)


def chemokine_steps(lattice: Lattice, wall_voxel: NDArray[np.int64], range_um: float) -> Reals:
    """(3, z, y, x) what the chemokine u = 1 − exp(−d/λ) rises by through each site's +z, +y, +x face; d from sites with wall.

    Each patch by itself; one without wall has no gradient.
    """
    u = -np.expm1(-site_distance_um(lattice, wall_voxel) / range_um)
    steps = np.zeros((3, *lattice.sites))
    for axis in range(3):
        inner = [slice(None)] * 3
        inner[axis] = slice(None, -1)
        steps[axis][tuple(inner)] = np.diff(u, axis=axis)
    for patch in lattice.patches[1:]:
        steps[0, patch.first_plane - 1] = 0.0
    return steps
