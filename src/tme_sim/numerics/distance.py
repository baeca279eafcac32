"""Distances to the walls of cylinders, and even samples of places to take them at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

Floats = NDArray[np.float64]

RADIUS_CLASS_UM = 1.0


def distance_to_cylinders(points_um: Floats, ends_um: Floats, radius_um: Floats) -> Floats:
    """(points,) distance from each point (points, 3) to the nearest wall of cylinders with axes `ends_um` (cylinders, 2, 3).

    0 inside a cylinder, infinite where there are none. Nearest of the axes sampled every half radius, less the radius, with one
    tree for each class of radii 1 um wide: too long by at most r²/(32 d) at distance d from an axis, and by less than 1 um where
    a wider cylinder of the class is nearer.
    """
    sample_um, cylinder, _ = along(ends_um, radius_um / 2)
    of_sample_um = radius_um[cylinder]
    classes = np.floor((of_sample_um - of_sample_um.min(initial=np.inf)) / RADIUS_CLASS_UM)
    nearest = np.full(len(points_um), np.inf)
    for each in np.unique(classes):
        rows = np.flatnonzero(classes == each)
        to_axis_um, row = KDTree(sample_um[rows]).query(points_um)
        nearest = np.minimum(nearest, to_axis_um - of_sample_um[rows[row]])
    return np.asarray(np.maximum(nearest, 0), float)


def along(ends_um: Floats, step_um: Floats) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Middles of equal pieces no longer than `step_um` (lines,) of lines (lines, 2, 3); the line and the length of each piece."""
    start, end = ends_um[:, 0], ends_um[:, 1]
    length_um = np.linalg.norm(end - start, axis=1)
    count = np.maximum(np.ceil(length_um / step_um), 1).astype(np.int64)
    line = np.repeat(np.arange(len(count)), count)
    share = (np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count) + 0.5) / count[line]
    return start[line] + share[:, None] * (end - start)[line], line, np.asarray((length_um / count)[line], float)


def spread(count: int, most: int) -> NDArray[np.int64]:
    """Numbers of at most `most` of `count` rows, the same at every call, free of the period that a constant stride would have."""
    if count <= most:
        return np.arange(count)
    edges = np.linspace(0, count, most + 1)
    within = np.random.default_rng(0).random(most)
    return (edges[:-1] + within * np.diff(edges)).astype(np.int64)
