"""Volumes on other voxels by exact overlap: nothing is interpolated, lost or made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array

Floats = NDArray[np.float64]


def overlap(source_edges: NDArray[np.floating[Any]], target_edges: NDArray[np.floating[Any]]) -> csr_array:
    """(targets, sources) length that each target interval shares with each source interval; edges increase."""
    # between two neighbouring edges of the union lie at most one source and one target interval
    edges = np.union1d(source_edges, target_edges)
    middle = (edges[:-1] + edges[1:]) / 2
    row, column = (np.searchsorted(ends, middle) - 1 for ends in (target_edges, source_edges))
    shape = len(target_edges) - 1, len(source_edges) - 1
    inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    return csr_array(coo_array((np.diff(edges)[inside], (row[inside], column[inside])), shape=shape))


def mean_over(shared: csr_array) -> csr_array:
    """From lengths shared to the weights of a mean over each target interval."""
    return csr_array(diags_array(1 / shared.sum(axis=1)) @ shared)


def along_axes(matrices: Sequence[csr_array], data: NDArray[np.generic]) -> Floats:
    """Each matrix along its axis of (z, y, x); plane by plane, so that no copy of the whole source in float64 is made."""
    along_z, along_y, along_x = matrices
    planes = np.stack([along_y @ plane.astype(np.float64) @ along_x.T for plane in data])
    return np.asarray((along_z @ planes.reshape(len(planes), -1)).reshape(-1, *planes.shape[1:]))
