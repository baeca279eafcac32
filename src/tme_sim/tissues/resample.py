"""A volume on other voxels, with nothing lost or made: each target voxel takes its exact share of those it overlaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array

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
    return _apply([_mean(overlap) for overlap in _overlaps(data.shape, source_voxel_um, target_um, shape)], data)


def resample_sum(
    data: NDArray[np.generic], source_voxel_um: tuple[float, float, float], target_um: float, shape: tuple[int, int, int]
) -> NDArray[np.float64]:
    """Like `resample`, for amounts held by each voxel (a surface, a count): the sum over the covered box is preserved."""
    overlaps = _overlaps(data.shape, source_voxel_um, target_um, shape)
    return _apply([overlap / edge_um for overlap, edge_um in zip(overlaps, source_voxel_um, strict=True)], data)


def overlap_um(sources: int, source_um: float, targets: int, target_um: float) -> csr_array:
    """(targets, sources) length that each target interval shares with each source interval, both starting at 0."""
    if targets < 1 or targets * target_um > sources * source_um + TOLERANCE * target_um:
        raise InputError("shape", f"{targets} voxels of {target_um:g} um", f"must lie within {sources * source_um:g} um")
    source_edges, target_edges = np.arange(sources + 1) * source_um, np.arange(targets + 1) * target_um
    # between two neighbouring edges of the union lie exactly one source and one target interval
    edges = np.union1d(source_edges, target_edges)
    middle = (edges[:-1] + edges[1:]) / 2
    row, column = (np.searchsorted(ends, middle) - 1 for ends in (target_edges, source_edges))
    inside = (row < targets) & (column < sources)
    return csr_array(coo_array((np.diff(edges)[inside], (row[inside], column[inside])), shape=(targets, sources)))


def _overlaps(
    source_shape: tuple[int, ...], source_voxel_um: tuple[float, float, float], target_um: float, shape: tuple[int, int, int]
) -> list[csr_array]:
    axes = zip(source_shape, source_voxel_um, shape, strict=True)
    return [overlap_um(sources, source_um, targets, target_um) for sources, source_um, targets in axes]


def _mean(overlap: csr_array) -> csr_array:
    return csr_array(diags_array(1 / overlap.sum(axis=1)) @ overlap)


def _apply(matrices: list[csr_array], data: NDArray[np.generic]) -> NDArray[np.float64]:
    """Each matrix along its axis; plane by plane, so that no copy of the whole source in float64 is made."""
    along_z, along_y, along_x = matrices
    planes = np.stack([along_y @ plane.astype(np.float64) @ along_x.T for plane in data])
    return np.asarray((along_z @ planes.reshape(len(planes), -1)).reshape(-1, *planes.shape[1:]))
