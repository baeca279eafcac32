"""Solids of a phantom, and how much of each voxel of a grid they fill."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.overlap import along_axes, overlap

Triple = tuple[float, float, float]
Region = tuple[tuple[slice, slice, slice], NDArray[np.float32]]
"""A box of the grid, and the share of each of its voxels that something fills."""

SAMPLES = 4
"""Points per axis of a voxel that an edge passes."""


@dataclass(frozen=True)
class Grid:
    """Cubic voxels (z, y, x); corner_um: where the first one begins."""

    shape: tuple[int, int, int]
    voxel_um: float
    corner_um: Triple

    def centres(self, axis: int, part: slice = slice(None)) -> NDArray[np.float64]:
        """Centres of the voxels along an axis."""
        return np.asarray(self.corner_um[axis] + (np.arange(self.shape[axis])[part] + 0.5) * self.voxel_um, np.float64)

    def cuts(self, low_um: Triple, high_um: Triple) -> bool:
        """Whether a box reaches beyond the grid."""
        ends = [c + n * self.voxel_um for c, n in zip(self.corner_um, self.shape, strict=True)]
        return any(a < c for a, c in zip(low_um, self.corner_um, strict=True)) or any(
            b > e for b, e in zip(high_um, ends, strict=True)
        )

    def box(self, low_um: Triple, high_um: Triple) -> tuple[slice, slice, slice]:
        """The voxels that a box touches."""
        z, y, x = (
            slice(max(0, int(np.floor((a - c) / self.voxel_um))), min(n, int(np.ceil((b - c) / self.voxel_um))))
            for a, b, c, n in zip(low_um, high_um, self.corner_um, self.shape, strict=True)
        )
        return z, y, x


class Shape(Protocol):
    """What a phantom is made of: a box that holds it, its volume, and its share of each voxel of a grid."""

    @property
    def centre_um(self) -> Triple: ...
    @property
    def low_um(self) -> Triple: ...
    @property
    def high_um(self) -> Triple: ...
    @property
    def volume_um3(self) -> float: ...
    def fill(self, grid: Grid) -> Region: ...
    def at(self, centre_um: Triple) -> Shape: ...


@dataclass(frozen=True)
class Solid:
    """An ellipsoid, or with `axis` an elliptic cylinder along it; semi: half-lengths (z, y, x)."""

    centre_um: Triple
    semi_um: Triple
    axis: int | None = None

    @property
    def volume_um3(self) -> float:
        """4/3 π abc, or 2π abc of a cylinder."""
        return (4 / 3 if self.axis is None else 2) * pi * float(np.prod(self.semi_um))

    @property
    def low_um(self) -> Triple:
        """The lower corner of its box."""
        z, y, x = (c - s for c, s in zip(self.centre_um, self.semi_um, strict=True))
        return z, y, x

    @property
    def high_um(self) -> Triple:
        """The upper corner of its box."""
        z, y, x = (c + s for c, s in zip(self.centre_um, self.semi_um, strict=True))
        return z, y, x

    def at(self, centre_um: Triple) -> Solid:
        """The same elsewhere."""
        return replace(self, centre_um=centre_um)

    def scaled(self, factor: float) -> Solid:
        """Larger by `factor` in each direction, where it is."""
        z, y, x = (factor * s for s in self.semi_um)
        return replace(self, semi_um=(z, y, x))

    def fill(self, grid: Grid) -> Region:
        """The share of each voxel inside, sampled at 4³ points where an edge may pass; the sum is the volume."""
        box = grid.box(self.low_um, self.high_um)
        scaled = [(grid.centres(a, box[a]) - self.centre_um[a]) / self.semi_um[a] for a in range(3)]
        half = [0.5 * grid.voxel_um / s for s in self.semi_um]
        nearest = self._inside([np.maximum(np.abs(u) - h, 0) for u, h in zip(scaled, half, strict=True)])
        farthest = self._inside([np.abs(u) + h for u, h in zip(scaled, half, strict=True)])
        share = farthest.astype(np.float32)
        edge = np.argwhere(nearest & ~farthest)
        offsets = (np.arange(SAMPLES) + 0.5) / SAMPLES * 2 - 1
        fine = [scaled[a][edge[:, a], None] + half[a] * offsets for a in range(3)]
        z, y, x = (f.reshape(len(edge), *(SAMPLES if a == b else 1 for b in range(3))) for a, f in enumerate(fine))
        share[tuple(edge.T)] = self._inside([z, y, x]).mean(axis=(1, 2, 3), dtype=np.float32)
        return box, self._exact(share, grid)

    def _inside(self, scaled: list[NDArray[np.float64]]) -> NDArray[np.bool_]:
        """Whether points lie inside, by their offsets in half-lengths: one array per axis, broadcast where they are lines."""
        if scaled[0].ndim == 1:
            scaled = [u.reshape([-1 if a == b else 1 for b in range(3)]) for a, u in enumerate(scaled)]
        if self.axis is None:
            return np.asarray(scaled[0] ** 2 + scaled[1] ** 2 + scaled[2] ** 2 <= 1)
        across = [u for a, u in enumerate(scaled) if a != self.axis]
        return np.asarray((across[0] ** 2 + across[1] ** 2 <= 1) & (np.abs(scaled[self.axis]) <= 1))

    def _exact(self, share: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
        """The sampled shares with what they miss of the volume put on the voxels of the edge; as they are where it is cut off."""
        if grid.cuts(self.low_um, self.high_um):
            return share
        missing = self.volume_um3 / grid.voxel_um**3 - float(share.sum(dtype=np.float64))
        room = np.where((share > 0) & (share < 1), share * (1 - share), 0)
        total = float(room.sum(dtype=np.float64))
        inside = min(missing / total, 1.0) if total > 0 else 0.0
        return np.asarray(share + np.float32(max(inside, -1.0)) * room, np.float32)


@dataclass(frozen=True, eq=False)
class Sampled:
    """A shape given on voxels of its own, (z, y, x) share of each that it fills, around its centre."""

    centre_um: Triple
    share: NDArray[np.floating[Any]]
    voxel_um: Triple

    @property
    def volume_um3(self) -> float:
        """What its voxels add up to."""
        return float(self.share.sum(dtype=np.float64)) * float(np.prod(self.voxel_um))

    def at(self, centre_um: Triple) -> Sampled:
        """The same elsewhere."""
        return replace(self, centre_um=centre_um)

    @property
    def edges_um(self) -> list[NDArray[np.float64]]:
        """Edges of its voxels along each axis."""
        return edges_around(self.centre_um, self.share.shape, *self.voxel_um)

    @property
    def low_um(self) -> Triple:
        """The lower corner of its box."""
        z, y, x = (float(edges[0]) for edges in self.edges_um)
        return z, y, x

    @property
    def high_um(self) -> Triple:
        """The upper corner of its box."""
        z, y, x = (float(edges[-1]) for edges in self.edges_um)
        return z, y, x

    def fill(self, grid: Grid) -> Region:
        """Its share of each voxel of the grid, as far as this reaches."""
        box = grid.box(self.low_um, self.high_um)
        return box, resample(self.share, self.edges_um, grid, box).astype(np.float32)


def edges_around(centre_um: Triple, cells: tuple[int, ...], *cell_um: float) -> list[NDArray[np.float64]]:
    """Edges, per axis, of cells around a centre; cell_um: one edge, or one per axis."""
    each = cell_um * (3 // len(cell_um))
    return [np.asarray(c + (np.arange(n + 1) - n / 2) * h, np.float64) for c, n, h in zip(centre_um, cells, each, strict=True)]


def resample(
    cells: NDArray[Any], edges: list[NDArray[np.float64]], grid: Grid, box: tuple[slice, slice, slice]
) -> NDArray[np.float64]:
    """Means over voxels of a box of the grid, from cells of a rectangular mesh; empty outside of it. Amounts are kept."""
    ends = [grid.corner_um[a] + np.arange(box[a].start, box[a].stop + 1) * grid.voxel_um for a in range(3)]
    return along_axes([overlap(edges[a], ends[a]) / grid.voxel_um for a in range(3)], cells)
