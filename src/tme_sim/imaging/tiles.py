"""Filling a volume with one small block: turned and mirrored copies side by side, and layers by depth."""

from __future__ import annotations

from itertools import pairwise, permutations, product
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tme_sim.imaging.solids import Grid, Triple, edges_around, resample

Floats = NDArray[np.float64]
Box = tuple[slice, slice, slice]


def turns(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The orders of axes that keep a block's shape: six of a cube."""
    return [turn for turn in permutations(range(3)) if tuple(shape[a] for a in turn) == shape]


def orientations(block: NDArray[Any]) -> NDArray[Any]:
    """(variants, z, y, x) the block turned and mirrored: 48 of a cube, fewer where turning would change its shape."""
    flips = [tuple(slice(None, None, step) for step in steps) for steps in product((1, -1), repeat=3)]
    return np.stack([block.transpose(turn)[flip] for turn in turns(block.shape) for flip in flips])


def tiled(block: Floats, voxel_um: float, grid: Grid, box: Box, centre_um: Triple, random: np.random.Generator) -> Floats:
    """Means over the voxels of a box of the grid, where space is filled with the block around the centre, each at random turned.

    block: (z, y, x) density; it is first averaged to cells no wider than the grid's voxels, which keeps its amounts.
    """
    edge = [n * voxel_um for n in block.shape]
    variants = orientations(
        _coarsened(block, [_cells(n, ceil(t / grid.voxel_um)) for n, t in zip(block.shape, edge, strict=True)])
    )
    corners = [grid.corner_um[a] + np.array([box[a].start, box[a].stop]) * grid.voxel_um for a in range(3)]
    reach = [float(np.abs(corner - c).max()) for corner, c in zip(corners, centre_um, strict=True)]
    count = [max(1, ceil(2 * r / t)) for r, t in zip(reach, edge, strict=True)]
    chosen = variants[random.integers(len(variants), size=count)]
    z, y, x = (n * m for n, m in zip(count, variants.shape[1:], strict=True))
    cell = [t / m for t, m in zip(edge, variants.shape[1:], strict=True)]
    space = chosen.transpose(0, 3, 1, 4, 2, 5).reshape(z, y, x)
    return np.asarray(resample(space, edges_around(centre_um, (z, y, x), *cell), grid, box))


def by_depth(share: NDArray[np.floating[Any]], parts: Floats) -> Floats:
    """(parts, z, y, x) share of each voxel that belongs to each layer, from the surface inwards; `parts` are the layers' shares.

    Voxels are ranked by their distance to the outside, then to the centre; a layer that ends in a voxel takes a part of it, so
    that the layers have their shares of the volume exactly.
    """
    padded = np.pad(share > 0, 1)
    depth = ndimage.distance_transform_edt(padded)[1:-1, 1:-1, 1:-1].ravel()
    where = np.indices(share.shape).reshape(3, -1)
    volume = share.ravel().astype(np.float64)
    centre = where @ volume / volume.sum()
    order = np.lexsort((-((where - centre[:, None]) ** 2).sum(axis=0), depth))
    after = np.cumsum(volume[order])
    ends = np.concatenate([[0.0], np.cumsum(parts) / np.sum(parts)]) * after[-1]
    out = np.zeros((len(parts), share.size))
    for layer, (low, high) in enumerate(pairwise(ends.tolist())):
        out[layer, order] = np.maximum(np.minimum(after, high) - np.maximum(after - volume[order], low), 0)
    return out.reshape(len(parts), *share.shape)


def _cells(voxels: int, least: int) -> int:
    """The smallest number of equal cells, of whole voxels, that is `least` or more."""
    return next((n for n in range(max(least, 1), voxels + 1) if voxels % n == 0), voxels)


def _coarsened(block: Floats, cells: list[int]) -> Floats:
    z, y, x = cells
    a, b, c = (n // m for n, m in zip(block.shape, cells, strict=True))
    return np.asarray(block.reshape(z, a, y, b, x, c).mean(axis=(1, 3, 5)))
