"""What a picture shows of one recorded time of a run, as plain arrays; positions are (z, y, x) in µm from the box's corner."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tme_sim.files.run_folder import RunFolder
from tme_sim.state.errors import InputError
from tme_sim.state.variables import ROUTES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OUTSIDE_CELLS = ("nanoparticle", "bound")
CARRIERS = (*OUTSIDE_CELLS, "endothelium")
UM3_PER_ML = 1e12


@dataclass(frozen=True)
class Cut:
    """A plane across the box: axis 0, 1, 2 for z, y, x, at `position_um`. What lies between it and the viewer is left out."""

    axis: int
    position_um: float

    @property
    def viewer_side(self) -> int:
        """Sign of the axis towards the viewer, who looks from high z, low y and high x."""
        return (1, -1, 1)[self.axis]

    def keeps(self, points_um: Floats, radius_um: float | Floats = 0.0) -> NDArray[np.bool_]:
        """(points,) which of (points, 3), as balls of this radius, lie wholly behind the plane."""
        return np.asarray((points_um[:, self.axis] - self.position_um) * self.viewer_side <= -np.asarray(radius_um))


def parse_cut(text: str, box_um: Floats) -> Cut:
    """A cut from `z=50%` or `y=120um`. Raises InputError for another form and for a plane outside the box."""
    match = re.fullmatch(r"([zyx])=(\d+(?:\.\d+)?)(%|um|µm)", text.replace(" ", ""))
    if match is None:
        raise InputError("slice", text, "write an axis and a place, for example z=50% or y=120um")
    axis = "zyx".index(match[1])
    position_um = float(match[2]) * (box_um[axis] / 100 if match[3] == "%" else 1)
    if position_um > box_um[axis]:
        raise InputError("slice", text, f"must lie within the box, 0 to {box_um[axis]:g} um along {match[1]}")
    return Cut(axis, position_um)


class Snapshot:
    """One recorded time of a run (default: the last). Raises InputError where the run kept no fields, or not at this time."""

    def __init__(self, run: RunFolder, time_s: float | None = None) -> None:
        self.run = run
        self.fields = run.fields.isel(time=run.frame(time_s))
        self.time_s = float(self.fields["time"])
        self.voxel_um = float(self.fields.attrs["spacing_um"])
        self.voxels: tuple[int, ...] = tuple(self.fields.sizes[axis] for axis in "zyx")
        self.sites: tuple[int, ...] = tuple(run.info["sites"])
        self.site_um = self.voxel_um * self.voxels[0] / self.sites[0]

    @property
    def box_um(self) -> Floats:
        """(3,) edges of the box."""
        return np.array(self.voxels) * self.voxel_um

    @property
    def kinds(self) -> list[str]:
        """Populations that were recorded."""
        return sorted(path.name for path in (self.run.folder / "agents").glob("*"))

    def field(self, name: str) -> NDArray[Any]:
        """(z, y, x) or (route, form, z, y, x) values of a field."""
        return np.asarray(self.fields[name])

    def agents(self, kind: str) -> pd.DataFrame:
        """One row per agent."""
        return self.run.agents(kind, self.time_s)

    @cached_property
    def outside_cells(self) -> NDArray[Any]:
        """(route, voxels) carriers in the interstitium, free or bound, of both forms."""
        total = sum(self.field(name).sum(axis=1) for name in OUTSIDE_CELLS if name in self.fields)
        return np.asarray(total).reshape(len(ROUTES), -1)

    @cached_property
    def concentration_per_mL(self) -> Floats:
        """(z, y, x) carriers per mL of tissue: free, bound, in the vessel wall and in cells; without those in blood."""
        amount = sum(
            (self.field(name).sum(axis=(0, 1), dtype=float) for name in CARRIERS if name in self.fields), np.zeros(self.voxels)
        )
        refinement = self.voxels[0] // self.sites[0]
        for kind in self.kinds:
            agents = self.agents(kind)
            if "site" in agents:
                held = np.bincount(agents["site"], cargo(agents), int(np.prod(self.sites))).reshape(self.sites)
                amount += np.kron(held, np.full((refinement,) * 3, refinement**-3))
        return np.asarray(amount / self.voxel_um**3 * UM3_PER_ML)

    def particles(self, count: int) -> tuple[Floats, Ints, float]:
        """At most `count` points for the carriers outside cells: positions (points, 3), routes, and carriers per point.

        Each carrier, or the share of the amount, has the same chance to be drawn; its place in the voxel is at random. The
        same run always gives the same points.
        """
        amount = self.outside_cells.ravel()
        total = float(amount.sum())
        count = min(count, round(total))
        random = np.random.default_rng(0)
        drawn = systematic_sample(amount, count, random)
        route, voxel = np.divmod(drawn, int(np.prod(self.voxels)))
        return self._somewhere_in(voxel, self.voxels, self.voxel_um, random), route, total / max(count, 1)

    def cells(self, kind: str, count: int) -> tuple[Floats, Floats]:
        """At most `count` cells of a kind, chosen at random: positions (cells, 3), and the carriers in each."""
        random = np.random.default_rng(0)
        agents = self._some(kind, count, random)
        return self._somewhere_in(agents["site"].to_numpy(np.int64), self.sites, self.site_um, random), cargo(agents)

    def kupffer_cells(self, count: int) -> tuple[Floats, Floats]:
        """At most `count` Kupffer cells chosen at random: positions (cells, 3), and what each has taken from blood."""
        random = np.random.default_rng(0)
        cells = self._some("kupffer_cells", count, random)
        places = self._somewhere_in(cells["voxel"].to_numpy(np.int64), self.voxels, self.voxel_um, random)
        return places, cells["taken"].to_numpy(np.float64)

    def gaps(self, count: int) -> tuple[Floats, NDArray[np.bool_]]:
        """(gaps, 3) places in the wall's voxels of at most `count` gaps chosen at random, and which of them are open."""
        random = np.random.default_rng(0)
        gaps = self._some("gaps", count, random)
        is_open = gaps["open"].to_numpy() > 0 if "open" in gaps else np.ones(len(gaps), bool)
        return self._somewhere_in(gaps["voxel"].to_numpy(np.int64), self.voxels, self.voxel_um, random), is_open

    def _some(self, kind: str, count: int, random: np.random.Generator) -> pd.DataFrame:
        agents = self.agents(kind)
        return agents if len(agents) <= count else agents.iloc[np.sort(random.choice(len(agents), count, replace=False))]

    @staticmethod
    def _somewhere_in(flat: Ints, shape: tuple[int, ...], edge_um: float, random: np.random.Generator) -> Floats:
        corner = np.stack(np.unravel_index(flat, shape), axis=1)
        return np.asarray((corner + random.random(corner.shape)) * edge_um)


def systematic_sample(amount: NDArray[Any], count: int, random: np.random.Generator) -> Ints:
    """(count,) indices, each drawn amount·count/total times on average and at most one more or less than that."""
    cumulative = np.cumsum(amount, dtype=float)
    if count == 0 or cumulative[-1] == 0:
        return np.empty(0, np.int64)
    marks = (np.arange(count) + random.random()) * (cumulative[-1] / count)
    return np.asarray(np.minimum(np.searchsorted(cumulative, marks, side="right"), len(amount) - 1), np.int64)


def cargo(agents: pd.DataFrame) -> Floats:
    """(agents,) carriers in each cell, in endosomes and lysosomes."""
    columns = [name for name in agents.columns if name.startswith(("cargo_", "lysosome_"))]
    return agents[columns].sum(axis=1).to_numpy(float)
