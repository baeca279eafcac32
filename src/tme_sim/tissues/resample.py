"""A volume on other voxels, with nothing lost or made: each target voxel takes its exact share of those it overlaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tme_sim.numerics.overlap import along_axes, mean_over, overlap
from tme_sim.state.errors import InputError

TOLERANCE = 1e-6  # of a target voxel: what the rounding of a voxel size written in a header may cost


def fitting_shape(
    shape: tuple[int, int, int], source_voxel_um: tuple[float, float, float], target_um: float, multiple: int = 1
) -> tuple[int, int, int]:
    """How many whole voxels of edge `target_um` fit into a volume of `shape`, per axis, as a multiple of `multiple`."""
    z, y, x = (
        int((size * edge_um / target_um + TOLERANCE) // multiple) * multiple
        for size, edge_um in zip(shape, source_voxel_um, strict=True)
    )
    if min(z, y, x) < 1:
        extent = " x ".join(f"{size * edge_um:g}" for size, edge_um in zip(shape, source_voxel_um, strict=True))
        raise InputError("lattice.site", f"{target_um:g} um", f"{multiple} must fit along each axis of {extent} um (z, y, x)")
    return z, y, x


def resample(
    data: NDArray[np.generic], source_voxel_um: tuple[float, float, float], target_um: float, shape: tuple[int, int, int]
) -> NDArray[np.float64]:
    """Volume-weighted mean of `data` (z, y, x) on `shape` cubes of edge `target_um` that start at the same corner.

    For intensities, fractions and masks: the integral over the box that the target covers is preserved.
    """
    return along_axes([mean_over(shared) for shared in _overlaps(data.shape, source_voxel_um, target_um, shape)], data)


def resample_sum(
    data: NDArray[np.generic], source_voxel_um: tuple[float, float, float], target_um: float, shape: tuple[int, int, int]
) -> NDArray[np.float64]:
    """Like `resample`, for amounts held by each voxel (a surface, a count): the sum over the covered box is preserved."""
    overlaps = _overlaps(data.shape, source_voxel_um, target_um, shape)
    return along_axes([shared / edge_um for shared, edge_um in zip(overlaps, source_voxel_um, strict=True)], data)


def overlap_um(sources: int, source_um: float, targets: int, target_um: float) -> csr_array:
    """(targets, sources) length that each target interval shares with each source interval, both starting at 0."""
    if targets < 1 or targets * target_um > sources * source_um + TOLERANCE * target_um:
        raise InputError("shape", f"{targets} voxels of {target_um:g} um", f"must lie within {sources * source_um:g} um")
    return overlap(np.arange(sources + 1) * source_um, np.arange(targets + 1) * target_um)


def _overlaps(
    source_shape: tuple[int, ...], source_voxel_um: tuple[float, float, float], target_um: float, shape: tuple[int, int, int]
) -> list[csr_array]:
    axes = zip(source_shape, source_voxel_um, shape, strict=True)
    return [overlap_um(sources, source_um, targets, target_um) for sources, source_um, targets in axes]
