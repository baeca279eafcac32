"""What lies between the lattice's points: a box of sites on a fine grid, with its vessels drawn and each cell a ball."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import pi

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from tme_sim.imaging.box import Box
from tme_sim.imaging.frame import Frame
from tme_sim.numerics.random import Key, normals, stream_key, uniforms
from tme_sim.numerics.stamp import distance_to_capsules, draw_balls

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

KINDS = ("tumor_cells", "macrophages", "monocytes", "neutrophils", "t_cells")
"""Cells that are drawn; the number of a kind is its place here."""
RADIUS_UM = {"monocytes": 5.0, "neutrophils": 4.5, "t_cells": 3.5}
"""Radius of cells whose volume the run does not know (assumed, after blood smears)."""
WANDERS = 0.5
"""A cell's centre is off its site's by up to this share of the site's edge: anywhere in it, or some planes would hold more."""
SWELLS = 1.13
"""Radius of the ball that a cell is drawn as over that of its volume: neighbours flatten each other and take some of it."""
NUCLEUS = 0.55
"""Radius of the nucleus over the ball's (assumed; a fifth of the cell's volume)."""
ENDOTHELIUM_UM = 0.6
"""Thickness of the vessel wall outside the lumen (assumed)."""
CLINGING_UM = 3.0
"""How far an arrested cell reaches into the lumen (assumed; it flattens)."""
PIECE_UM = 10.0
"""Vessels are drawn in pieces of about this length, so that the boxes around them stay small."""


@dataclass(frozen=True)
class Anatomy:
    """The box's tissue: cells as balls, vessels as tubes.

    kind, id, row, own, centre_um, radius_um: per cell, the numbers of KINDS, of the agent and of its row in its table, and
    whether its site is in the box (or only next to it);
    cell: (z, y, x) row of the cell that a point lies in, -1 for none; depth_um: how deep below that cell's surface;
    wall_um: (z, y, x) distance outside the lumen, below 0 in it.
    """

    box: Box
    kind: NDArray[np.int8]
    id: NDArray[np.int64]
    row: NDArray[np.int64]
    own: Bools
    centre_um: Floats
    radius_um: Floats
    cell: NDArray[np.int32]
    depth_um: NDArray[np.float32]
    wall_um: NDArray[np.float32]

    @cached_property
    def lumen(self) -> Bools:
        """(z, y, x) where blood is."""
        return np.asarray(self.wall_um < 0)

    @cached_property
    def endothelium(self) -> Bools:
        """(z, y, x) the vessel wall."""
        return np.asarray((self.wall_um >= 0) & (self.wall_um < ENDOTHELIUM_UM))

    @cached_property
    def luminal_side(self) -> Bools:
        """(z, y, x) the blood within a few micrometres of the wall, where cells cling to it."""
        return np.asarray((self.wall_um < 0) & (self.wall_um > -CLINGING_UM))

    @cached_property
    def outside(self) -> Bools:
        """(z, y, x) outside cells and vessels."""
        return np.asarray((self.cell < 0) & (self.wall_um >= ENDOTHELIUM_UM))

    def of_kind(self, *kinds: str) -> Bools:
        """(z, y, x) within cells of these kinds."""
        wanted = np.isin(self.kind, [KINDS.index(kind) for kind in kinds])
        return np.append(wanted, False)[self.cell]

    def nucleus(self) -> NDArray[np.float32]:
        """(z, y, x) DNA: 1 in the mean in nuclei, up and down by a fifth from cell to cell, 0 elsewhere."""
        amount = np.append(np.exp(0.2 * normals(stream_key(0, "DNA"), self.id)), 0.0).astype(np.float32)
        ball, _ = draw_balls(self.centre_um - self.box.corner_um, self.radius_um * NUCLEUS, self.box.shape, self.box.step_um)
        return np.asarray(amount[ball] * (ball == self.cell))


def draw(frame: Frame, box: Box, cell_um3: float) -> Anatomy:
    """The tissue of a frame in a box; where a cell lies within its site depends on the run's seed and the cell's id alone."""
    kinds = [kind for kind in KINDS if kind in frame.agents]
    rows = [_near(frame.agents[kind]["site"].to_numpy(np.int64), box) for kind in kinds]
    ids = [frame.agents[kind]["id"].to_numpy(np.int64)[row] for kind, (row, _) in zip(kinds, rows, strict=True)]
    numbers = np.concatenate(
        [np.empty(0, np.int8), *(np.full(len(i), KINDS.index(k), np.int8) for k, i in zip(kinds, ids, strict=True))]
    )
    places = [_centre_um(frame, box, kind, row, i) for kind, (row, _), i in zip(kinds, rows, ids, strict=True)]
    centre = np.concatenate([np.empty((0, 3)), *places])
    ball_um = SWELLS * (3 * cell_um3 / (4 * pi)) ** (1 / 3)
    radius = np.array([RADIUS_UM.get(kind, ball_um) for kind in KINDS])[numbers]
    cell, depth = draw_balls(centre - box.corner_um, radius, box.shape, box.step_um)
    wall = wall_distance_um(frame.vessels, frame.fields, box)
    cell[wall < ENDOTHELIUM_UM] = -1
    return Anatomy(
        box=box,
        kind=numbers,
        id=np.concatenate([np.empty(0, np.int64), *ids]),
        row=np.concatenate([np.empty(0, np.int64), *(row for row, _ in rows)]),
        own=np.concatenate([np.empty(0, bool), *(own for _, own in rows)]),
        centre_um=centre,
        radius_um=radius,
        cell=cell,
        depth_um=depth,
        wall_um=wall,
    )


def _near(site: NDArray[np.int64], box: Box) -> tuple[NDArray[np.int64], Bools]:
    """Rows whose site is in the box or next to it in its patch, and which of them are in it."""
    place = np.stack(np.unravel_index(site, box.lattice.sites), axis=1)
    same = box.lattice.patch_of_site(site) == box.patch
    row = np.flatnonzero(same & (place >= np.array(box.first) - 1).all(axis=1) & (place < np.array(box.last) + 1).all(axis=1))
    return row, np.asarray(((place[row] >= box.first) & (place[row] < box.last)).all(axis=1))


def _centre_um(frame: Frame, box: Box, kind: str, row: NDArray[np.int64], ids: NDArray[np.int64]) -> Floats:
    """(cells, 3) centres: anywhere in their sites, always the same place for a cell in its site."""
    site = frame.agents[kind]["site"].to_numpy(np.int64)[row]
    place = np.stack(np.unravel_index(site, box.lattice.sites), axis=1)
    off = 2 * _thrice(stream_key(frame.seed, "place in its site", kind), ids) - 1
    return np.asarray((place + 0.5 + WANDERS * off) * box.lattice.site_um)


def _thrice(key: Key, ids: NDArray[np.int64]) -> Floats:
    return np.stack([uniforms(key, ids, draw) for draw in range(3)], axis=1)


def wall_distance_um(vessels: pd.DataFrame | None, fields: Mapping[str, Floats], box: Box) -> NDArray[np.float32]:
    """(z, y, x) distance outside the lumen, from the graph's segments; without a graph from the field `lumen_fraction`."""
    reach = 4.0
    if vessels is None or len(vessels) == 0:
        return _from_fraction(np.asarray(box.voxels(fields["lumen_fraction"]), np.float64), box, reach)
    ends = np.stack(
        [[np.asarray(vessels[f"{axis}{end}_um"], np.float64) for axis in "zyx"] for end in (0, 1)]
    )  # (2, 3, segments)
    ends = ends.transpose(2, 0, 1) - box.corner_um
    radius = np.asarray(vessels["radius_um"], np.float64)
    extent = np.array(box.sites) * box.lattice.site_um
    out = (radius + reach)[:, None]
    near = ((ends.max(axis=1) > -out) & (ends.min(axis=1) < extent + out)).all(axis=1)
    pieces = _pieces(ends[near])
    return distance_to_capsules(pieces[0], radius[near][pieces[1]], box.shape, box.step_um, reach)


def _pieces(ends: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Segments (n, 2, 3) cut into pieces of at most PIECE_UM, and the segment of each."""
    count = np.maximum(np.ceil(np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1) / PIECE_UM), 1).astype(np.int64)
    of = np.repeat(np.arange(len(ends)), count)
    nth = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
    start, along = ends[of, 0], (ends[:, 1] - ends[:, 0])[of]
    share = np.stack([nth, nth + 1], axis=1) / count[of][:, None]
    return start[:, None] + share[:, :, None] * along[:, None], of


def _from_fraction(lumen: Floats, box: Box, reach_um: float) -> NDArray[np.float32]:
    """Lumen where the smoothed fraction is among the highest, as much of it as the fractions add up to."""
    if not lumen.any():
        return np.full(box.shape, reach_um, np.float32)
    smooth = gaussian_filter(box.on_points(lumen), [n / 2 for n in box.parts_of_voxel], mode="nearest")
    inside = smooth > np.quantile(smooth, 1 - lumen.mean())
    distance = distance_transform_edt(~inside, sampling=box.step_um) - distance_transform_edt(inside, sampling=box.step_um)
    return np.asarray(np.minimum(distance, reach_um), np.float32)
