"""A body around the tumour: which organ fills how much of each voxel, and what share of it is blood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from tme_sim.imaging.solids import Grid, Region, Shape, Triple
from tme_sim.state.errors import InputError

Shapes = Mapping[str, Sequence[Shape]]

TUMOR, BODY = "tumor", "body"
"""The tumour, and what of the body is no other region."""
MOST_VOXELS = 2e8
"""Of a grid; every voxel takes about 25 bytes while it is blurred."""
BODY_BLOOD = 0.04
"""Blood in what is no other region, as in muscle (Brown 1997, from memory)."""


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """regions: name → (box, share of each voxel); no voxel holds more than 1 in all. blood: share of a region that is blood.

    Of a part of a body, whole: by how much an organ exceeds what of it is here, where it does; blood_um3: all blood of the body,
    None where all of it is here. is_lattice: the tumour is the run's lattice in place and shape, and needs no tiles.
    """

    grid: Grid
    regions: Mapping[str, Region]
    tumor_centre_um: Triple
    blood: Mapping[str, float]
    whole: Mapping[str, float] = field(default_factory=dict)
    blood_um3: float | None = None
    is_lattice: bool = False

    def volume_um3(self, region: str) -> float:
        """The region's volume within the phantom."""
        return float(self.regions[region][1].sum(dtype=np.float64)) * self.grid.voxel_um**3

    def labels(self, factor: int) -> tuple[NDArray[np.int16], dict[int, str]]:
        """Regions by number on voxels `factor` times as wide: each where it fills at least half, or most if that is nowhere.

        0 is none; where two claim a voxel it is the earlier's.
        """
        z, y, x = (n // factor for n in self.grid.shape)
        names = dict(enumerate(self.regions, 1))
        labels = np.zeros((z, y, x), np.int16)
        for number, name in reversed(names.items()):
            box, share = self.regions[name]
            wide = tuple(slice(part.start // factor, -(-part.stop // factor)) for part in box)
            before = [part.start - factor * w.start for part, w in zip(box, wide, strict=True)]
            after = [factor * w.stop - part.stop for part, w in zip(box, wide, strict=True)]
            a, b, c = (w.stop - w.start for w in wide)
            filled = np.pad(share, list(zip(before, after, strict=True))).reshape(a, factor, b, factor, c, factor)
            mean = filled.mean(axis=(1, 3, 5))
            labels[wide][mean >= min(0.5, mean.max())] = number
        return labels, names


def assemble(
    voxel_um: float,
    shapes: Shapes,
    blood: Mapping[str, float],
    margin_um: float,
    factor: int = 1,
) -> Phantom:
    """A phantom of shapes by region, the first to come keeping its place: each region loses what an earlier one fills."""
    grid = _grid_around([shape for parts in shapes.values() for shape in parts], voxel_um, margin_um, factor)
    taken = np.zeros(grid.shape, np.float32)
    regions: dict[str, Region] = {}
    for name, parts in shapes.items():
        box = grid.box(*_bounds(parts))
        share = np.zeros([part.stop - part.start for part in box], np.float32)
        for part in parts:
            inner, filled = part.fill(grid)
            share[tuple(slice(i.start - b.start, i.stop - b.start) for i, b in zip(inner, box, strict=True))] += filled
        share = np.minimum(share, 1 - taken[box])
        taken[box] += share
        regions[name] = (box, share)
    (tumor,) = shapes[TUMOR]
    return Phantom(grid=grid, regions=regions, tumor_centre_um=tumor.centre_um, blood={BODY: BODY_BLOOD, **blood})


def _grid_around(solids: Sequence[Shape], voxel_um: float, margin_um: float, factor: int) -> Grid:
    """A grid that holds all solids with the margin, of numbers of voxels that transform fast and divide by `factor`.

    Raises InputError where it is too fine to be held.
    """
    low, high = _bounds(solids)
    wide = factor * voxel_um
    needed = [int(np.ceil((b - a + 2 * margin_um) / wide)) for a, b in zip(low, high, strict=True)]
    z, y, x = (factor * fft.next_fast_len(n, real=True) for n in needed)
    if z * y * x > MOST_VOXELS:
        told = f"makes {z} × {y} × {x} voxels of this body, and up to {MOST_VOXELS:g} fit; choose a coarser one"
        raise InputError("grid", f"{voxel_um:g} um", told)
    corner = [(a + b - n * voxel_um) / 2 for a, b, n in zip(low, high, (z, y, x), strict=True)]
    return Grid((z, y, x), voxel_um, (corner[0], corner[1], corner[2]))


def _bounds(solids: Sequence[Shape]) -> tuple[Triple, Triple]:
    """Lower and upper corner of the box around solids."""
    corners = np.array([[solid.low_um for solid in solids], [solid.high_um for solid in solids]])
    low, high = corners[0].min(axis=0).tolist(), corners[1].max(axis=0).tolist()
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])
