"""A field of view: whole sites of the lattice, each divided into points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.state.errors import InputError
from tme_sim.state.lattice import Lattice

Floats = NDArray[np.float64]
Triple = tuple[float, float, float]
Whole = tuple[int, int, int]

MOST_POINTS = 1.5e8
"""Of a field; every point takes about 20 bytes."""
POINTS_ACROSS = 2
"""Points across the width of the dyes' PSF at least, before they are put together to pixels."""


@dataclass(frozen=True)
class Mesh:
    """Pixels of a site and points of a pixel, along (z, y, x)."""

    pixels: Whole
    points: Whole

    @property
    def parts(self) -> Whole:
        """Points of a site."""
        z, y, x = (a * b for a, b in zip(self.pixels, self.points, strict=True))
        return z, y, x

    def pixel_um(self, site_um: float) -> Triple:
        """Edges of a pixel."""
        z, y, x = (site_um / n for n in self.pixels)
        return z, y, x


def mesh(lattice: Lattice, pixel_um: Triple, psf_um: Triple) -> Mesh:
    """The mesh nearest to these pixels whose points sample the PSF and lie in one voxel each."""
    pixels, points = [], []
    for pixel, psf in zip(pixel_um, psf_um, strict=True):
        pixels.append(max(1, round(lattice.site_um / pixel)))
        points.append(max(1, ceil(lattice.site_um / pixels[-1] / (psf / POINTS_ACROSS) - 1e-9)))
        while pixels[-1] * points[-1] % lattice.refinement:
            points[-1] += 1
    return Mesh((pixels[0], pixels[1], pixels[2]), (points[0], points[1], points[2]))


@dataclass(frozen=True)
class Box:
    """Whole sites `first` to `last` (exclusive) of a lattice, each edge of a site divided into `parts` along (z, y, x).

    The number of parts is a multiple of the lattice's refinement, so every point lies in one voxel.
    """

    lattice: Lattice
    first: Whole
    last: Whole
    parts: Whole

    def __post_init__(self) -> None:
        if np.prod(np.array(self.shape, np.float64)) > MOST_POINTS:
            points = " × ".join(map(str, self.shape))
            raise InputError("size", f"{points} points", f"needs up to {MOST_POINTS:g}; choose a smaller size or larger pixels")

    @property
    def sites(self) -> Whole:
        """Sites along (z, y, x)."""
        z, y, x = (b - a for a, b in zip(self.first, self.last, strict=True))
        return z, y, x

    @property
    def shape(self) -> Whole:
        """Points along (z, y, x)."""
        z, y, x = (n * p for n, p in zip(self.sites, self.parts, strict=True))
        return z, y, x

    @property
    def step_um(self) -> Triple:
        """Distance of points along (z, y, x)."""
        z, y, x = (self.lattice.site_um / p for p in self.parts)
        return z, y, x

    @property
    def patch(self) -> int:
        """The patch that it lies in."""
        return int(self.lattice.patch_of_site(np.array([np.ravel_multi_index(self.first, self.lattice.sites)]))[0])

    @property
    def corner_um(self) -> Floats:
        """(3,) where the box starts."""
        return np.array(self.first) * self.lattice.site_um

    @property
    def parts_of_voxel(self) -> Whole:
        """Points of a voxel along (z, y, x)."""
        z, y, x = (p // self.lattice.refinement for p in self.parts)
        return z, y, x

    def voxels(self, values: NDArray[Any]) -> NDArray[Any]:
        """The box's part of (…, z, y, x) values on the lattice's voxels."""
        r = self.lattice.refinement
        z, y, x = (slice(a * r, b * r) for a, b in zip(self.first, self.last, strict=True))
        return values[..., z, y, x]

    def rows(self, points: NDArray[Any]) -> NDArray[Any]:
        """(z, y, x) points → (voxels of the box, points of a voxel)."""
        a, b, c = self.parts_of_voxel
        nz, ny, nx = (n // p for n, p in zip(self.shape, (a, b, c), strict=True))
        return points.reshape(nz, a, ny, b, nx, c).transpose(0, 2, 4, 1, 3, 5).reshape(nz * ny * nx, a * b * c)

    def point(self, row: NDArray[np.int64], part: NDArray[np.int64]) -> NDArray[np.int64]:
        """Flat index of a voxel's part, as `rows` counts both."""
        per = self.parts_of_voxel
        voxels = tuple(n // p for n, p in zip(self.shape, per, strict=True))
        at = [v * p + i for v, p, i in zip(np.unravel_index(row, voxels), per, np.unravel_index(part, per), strict=True)]
        return np.asarray(np.ravel_multi_index(at, self.shape), np.int64)

    def on_points(self, values: NDArray[Any]) -> NDArray[Any]:
        """Each voxel's value at all its points: (z, y, x) of the box's voxels → points."""
        for axis, n in enumerate(self.parts_of_voxel):
            values = np.repeat(values, n, axis)
        return values

    def index(self, position_um: Floats) -> NDArray[np.int64]:
        """Flat index of the points nearest to (…, 3) positions in the lattice; beyond the border they are mirrored in it."""
        at = np.floor((position_um - self.corner_um) / self.step_um).astype(np.int64)
        at = np.where(at < 0, -1 - at, np.where(at >= self.shape, 2 * np.array(self.shape) - 1 - at, at))
        return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(at, -1, 0)), self.shape, mode="clip"), np.int64)


def choose_box(lattice: Lattice, centre_um: Sequence[float] | None, size_um: Sequence[float], parts: Whole) -> Box:
    """The sites that a field of this size touches around this place, within the lattice and the patch that it lies in.

    centre_um, size_um: along (z, y, x); None for the middle of the thickest patch, or the sites next to it.
    """
    edge = lattice.site_um
    at = middle_um(lattice) if centre_um is None else centre_um
    patch = lattice.patches[int(lattice.patch_of_site(np.array([_site_at(lattice, at)]))[0])]
    ends = [(patch.first_plane, patch.first_plane + patch.planes), (0, lattice.sites[1]), (0, lattice.sites[2])]
    first, last = [], []
    for centre, size, (low, high) in zip(at, size_um, ends, strict=True):
        start = (centre - size / 2) / edge
        start = round(start) if centre_um is None else floor(start + 1e-9)
        stop = start + ceil(size / edge - 1e-9) if centre_um is None else ceil((centre + size / 2) / edge - 1e-9)
        first.append(max(low, start))
        last.append(min(high, stop))
    return Box(lattice, (first[0], first[1], first[2]), (last[0], last[1], last[2]), parts)


def middle_um(lattice: Lattice) -> Triple:
    """The middle of the thickest patch."""
    thickest = max(lattice.patches, key=lambda patch: patch.planes)
    edge = lattice.site_um
    return (thickest.first_plane + thickest.planes / 2) * edge, lattice.sites[1] * edge / 2, lattice.sites[2] * edge / 2


def _site_at(lattice: Lattice, position_um: Sequence[float]) -> int:
    """Flat index of the site at a position. Raises InputError outside the lattice."""
    edges = [n * lattice.site_um for n in lattice.sites]
    if not all(0 <= at < edge for at, edge in zip(position_um, edges, strict=True)):
        told = ", ".join(f"{edge:g}" for edge in edges)
        raise InputError(
            "center",
            ", ".join(f"{at:g}" for at in position_um) + " um",
            f"must lie within the lattice of {told} um along (z, y, x)",
        )
    return int(np.ravel_multi_index([int(at // lattice.site_um) for at in position_um], lattice.sites))
