"""Phagocytes of the blood: they take up particles there, arrest on vessel walls, crawl, and cross or let go (section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.poisson import events
from tme_sim.numerics.random import uniforms
from tme_sim.numerics.share import share, split
from tme_sim.numerics.transport import face_rates
from tme_sim.numerics.walk import walk
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.exchange import draw_loads, return_loads
from tme_sim.state.parameters import given, parameter
from tme_sim.state.population import Population
from tme_sim.state.state import State
from tme_sim.state.substance import Uptake
from tme_sim.state.variables import FORMS, PHAGOCYTES, ROUTES

ROUTE = ROUTES.index("phagocyte")


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """How one kind of phagocyte of the blood comes and goes."""

    arrest_um_per_s: float = parameter(
        "cells that arrest per area of perfused wall and time, per concentration of them in blood", at_least=0, at_most=1e3
    )
    crawling_um2_per_s: float = parameter("motility coefficient of crawling along the wall", at_least=0, at_most=100)
    crossing_per_s: float = parameter("rate at which an arrested cell crosses the wall", at_least=0)
    detachment_per_s: float = parameter("rate at which an arrested cell goes back into blood", at_least=0)
    blood_residence_s: float = parameter("mean time after which a cell of the blood is replaced by a new one", above=0)


@dataclass(kw_only=True, eq=False)
class Phagocytes(Process):
    """Particles taken up in blood enter the tissue with the cells that hold them.

    Blood: dL/dt = N CL C_p (1 − L/(N N_max)) − (k_exo + 1/τ) L for the cargo L of the N cells of a kind, whose number the marrow
    keeps; what worn-out cells hold goes to `spent_phagocytes`. Maturation and degradation begin with the crossing. Wall: Poisson
    numbers arrest, arrest · (N/V_blood) per perfused area and time, each with its share of L. An arrested cell crawls over the
    faces between wall voxels, ⟨r²⟩ = 4 D t on a flat wall, and crosses or detaches with competing rates; beside an open gap of at
    least `passable_radius` it crosses `crossing_at_gaps` times as fast. Cells on the wall, like those in tissue, take no volume
    from anything.
    """

    neutrophils: Traffic = parameter("traffic of neutrophils")
    monocytes: Traffic = parameter("traffic of monocytes")
    crossing_at_gaps: float = parameter("factor of the crossing rate in a voxel with an open gap", at_least=1, at_most=1e4)
    passable_radius_um: float = parameter("radius from which a gap lets a cell squeeze through", above=0, at_most=10)
    uptake: Mapping[str, Uptake] = given("nanoparticle.uptake")
    neutrophils_per_um3: float = given("body.neutrophils_per_um3")
    monocytes_per_um3: float = given("body.monocytes_per_um3")
    blood_volume_um3: float = given("body.blood_volume_um3")
    has_gaps: bool = given("has_gaps", default=False)
    _wall_rates: NDArray[np.float64] | None = field(default=None, init=False, repr=False)

    @property
    def reads(self) -> frozenset[str]:
        gaps = {f"populations.gaps.{column}" for column in ("voxel", "radius_um", "open")} if self.has_gaps else set()
        return frozenset({"vessels.perfused"} | gaps)

    @property
    def writes(self) -> frozenset[str]:
        body = {"body.plasma", "body.spent_phagocytes", *(f"body.blood_{kind}" for kind in PHAGOCYTES)}
        agents = {f"populations.{kind}" for kind in ("arrested", *PHAGOCYTES)}
        return frozenset(body | agents | {"vessels.crossings"})

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """Empty cells in blood, nobody on the wall or in the tissue."""
        assert state.vessels is not None
        for kind in PHAGOCYTES:
            state.body.pools[f"blood_{kind}"] = np.zeros(len(FORMS), state.total_dtype)
            state.populations.setdefault(kind, state.no_cells())
        state.body.pools["spent_phagocytes"] = np.zeros(len(FORMS), state.total_dtype)
        nobody = np.zeros(0, np.int64)
        load: NDArray[Any] = np.zeros((0, len(FORMS)), state.total_dtype)
        state.populations["arrested"] = Population({"voxel": nobody, "kind": nobody.copy(), "load": load})
        state.vessels.arrays["crossings"] = np.zeros((len(PHAGOCYTES), len(state.vessels.voxel)), np.int64)

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        self._exchange_with_plasma(state, dt_s, streams)
        arrested = state.population("arrested")
        if len(arrested):
            self._crawl(state, arrested, dt_s, streams)
            self._leave_the_wall(state, arrested, dt_s, streams)
        for number, kind in enumerate(PHAGOCYTES):
            self._arrest(state, arrested, number, kind, dt_s, streams)

    def cells_in_blood(self, kind: str) -> float:
        """Number of cells of a kind that circulate in the body."""
        return float(getattr(self, f"{kind}_per_um3")) * self.blood_volume_um3

    def _exchange_with_plasma(self, state: StateView, dt_s: float, streams: Streams) -> None:
        plasma, spent = state.body["plasma"], state.body["spent_phagocytes"]
        pools = {kind: state.body[f"blood_{kind}"] for kind in PHAGOCYTES}
        concentration = float(plasma.sum()) / state.plasma_volume_um3
        clears = np.array([self._clears_um3(kind, pool, concentration, dt_s) for kind, pool in pools.items()])
        total = clears.sum()
        taken = share(plasma, -np.expm1(-total / state.plasma_volume_um3), streams.key("take up"))
        parts = split(taken, clears if total > 0 else np.ones(len(clears)), streams.key("by whom"))
        plasma -= taken
        for (kind, pool), part in zip(pools.items(), parts.T, strict=True):
            exits = np.array([1 / self._traffic(kind).blood_residence_s, self.uptake[kind].exocytosis_per_s])
            left = share(pool, -np.expm1(-exits.sum() * dt_s), streams.key(kind, "lose"))
            worn_out, given_back = split(left, exits, streams.key(kind, "where to")).T
            spent += worn_out
            plasma += given_back
            pool[...] += part - left

    def _clears_um3(self, kind: str, pool: NDArray[Any], per_um3: float, dt_s: float) -> float:
        """Plasma volume that all cells of a kind clear in dt while they fill up at this concentration: exact for constant C_p."""
        cells, card = self.cells_in_blood(kind), self.uptake[kind]
        space = max(0.0, cells * card.saturation - float(pool.sum()))
        filling = card.clearance_um3_per_s * per_um3 * dt_s / card.saturation
        if filling < 1e-9:
            return space * card.clearance_um3_per_s * dt_s / card.saturation
        return float(-space * np.expm1(-filling) / per_um3)

    def _crawl(self, state: StateView, arrested: Population, dt_s: float, streams: Streams) -> None:
        if self._wall_rates is None:
            on_wall = np.zeros(state.lattice.n_voxels)
            on_wall[state.vessels["voxel"]] = 1
            lattice = state.lattice
            rates = face_rates(1.0, on_wall.reshape(lattice.voxels), lattice.voxel_um, lattice.blocked_z)
            self._wall_rates = rates.out()
        voxel = arrested["voxel"].copy()
        for number, kind in enumerate(PHAGOCYTES):
            rows = np.flatnonzero(arrested["kind"] == number)
            squares_um2 = self._traffic(kind).crawling_um2_per_s * dt_s
            voxel[rows] = walk(voxel[rows], self._wall_rates, squares_um2, streams.key("crawl"), arrested["id"][rows])
        arrested.columns["voxel"] = voxel

    def _leave_the_wall(self, state: StateView, arrested: Population, dt_s: float, streams: Streams) -> None:
        """The two ways off the wall exclude each other; who crosses goes on as an agent of the tissue."""
        crossing, detachment = (
            np.array([getattr(self._traffic(kind), name) for kind in PHAGOCYTES])[arrested["kind"]]
            for name in ("crossing_per_s", "detachment_per_s")
        )
        crossing = crossing * np.where(self._beside_gap(state)[arrested["voxel"]], self.crossing_at_gaps, 1.0)
        rate = crossing + detachment
        leaves = uniforms(streams.key("leave"), arrested["id"]) < -np.expm1(-rate * dt_s)
        crosses = leaves & (uniforms(streams.key("cross"), arrested["id"]) * rate < crossing)
        for number, kind in enumerate(PHAGOCYTES):
            of_kind = arrested["kind"] == number
            self._enter(state, arrested, of_kind & crosses, number, kind)
            back = of_kind & leaves & ~crosses
            return_loads(state.body[f"blood_{kind}"], state.lattice, arrested["voxel"][back], arrested["load"][back])
        arrested.remove(leaves)

    def _enter(self, state: StateView, arrested: Population, rows: NDArray[np.bool_], number: int, kind: str) -> None:
        if not rows.any():
            return
        voxel, load = arrested["voxel"][rows], arrested["load"][rows]
        cargo = np.zeros((len(load), len(ROUTES), len(FORMS)), load.dtype)
        cargo[:, ROUTE] = load
        state.population(kind).add({"site": state.lattice.site_of_voxel(voxel), "cargo": cargo})
        np.add.at(state.ledger.entered[:, ROUTE], state.lattice.patch_of_voxel(voxel), load)
        np.add.at(state.vessels["crossings"][number], np.searchsorted(state.vessels["voxel"], voxel), 1)

    def _beside_gap(self, state: StateView) -> NDArray[np.bool_]:
        """(voxels,) whether a gap is open there that a cell can squeeze through."""
        open_here = np.zeros(state.lattice.n_voxels, bool)
        if self.has_gaps:
            gaps = state.populations["gaps"]
            open_here[gaps["voxel"][(gaps["open"] > 0) & (gaps["radius_um"] >= self.passable_radius_um)]] = True
        return open_here

    def _arrest(self, state: StateView, arrested: Population, number: int, kind: str, dt_s: float, streams: Streams) -> None:
        per_um2 = self._traffic(kind).arrest_um_per_s * float(getattr(self, f"{kind}_per_um3")) * dt_s
        expected = per_um2 * state.vessels["surface_um2"] * state.vessels["perfused"]
        rows = events(expected, streams.key(kind, "arrest"))
        if len(rows) == 0:
            return
        voxel, pool = state.vessels["voxel"][rows], state.body[f"blood_{kind}"]
        load = draw_loads(pool, self.cells_in_blood(kind), state.lattice, voxel, streams.key(kind, "load"))
        arrested.add({"voxel": voxel, "kind": np.full(len(rows), number), "load": load})

    def _traffic(self, kind: str) -> Traffic:
        traffic: Traffic = getattr(self, kind)
        return traffic
