"""How much surface a segmented structure has, and in which voxels it lies."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import SphericalVoronoi

OFFSETS = np.array([offset for offset in product((-1, 0, 1), repeat=3) if any(offset)])


def surface_area(mask: NDArray[np.bool_], voxel_um: tuple[float, float, float]) -> NDArray[np.float64]:
    """Surface of `mask` (z, y, x) in each voxel outside it (um2), by the discrete Cauchy-Crofton formula.

    A surface S is met by lines of direction d, one per area V/|d|, in N_d points, and N_d V/|d| = ∫ |n·d| dS; over all
    directions |n·d| averages 1/2, so S = 2 Σ w_d N_d V/|d|. The directions are the steps to the 26 neighbouring voxels, w_d
    the share of the sphere that is nearest to each, V the voxel's volume (Ohser & Mücklich, Statistical Analysis of
    Microstructures in Materials Science, Wiley 2000; Lehmann & Legland 2012, HAL hal-02811118). Steps are taken in
    micrometres, so voxels need not be cubes. Structures thinner than about three voxels are met too rarely: a tube of radius
    1.5 voxels shows 97 % of its surface, one of radius 1 shows 93 %.

    A crossing goes whole to its outside voxel: that is the tissue into which a vessel's wall lets matter pass. Beyond its
    border the image is taken to go on unchanged: cut ends count no surface, and lines that leave the image are not lost.
    """
    neighbour = np.pad(mask, 1, mode="edge")
    area = np.zeros(mask.shape)
    for offset, area_um2 in zip(OFFSETS, crossing_um2(voxel_um), strict=True):
        window = tuple(slice(1 + step, 1 + step + size) for step, size in zip(offset, mask.shape, strict=True))
        area += area_um2 * neighbour[window]
    area[mask] = 0.0
    return area


def crossing_um2(voxel_um: tuple[float, float, float]) -> NDArray[np.float64]:
    """(26,) surface that one crossing stands for, along each of `OFFSETS`: 2 w_d V/|d|, the same for d and -d."""
    steps_um = OFFSETS * np.asarray(voxel_um)
    length_um = np.linalg.norm(steps_um, axis=1)
    share = SphericalVoronoi(steps_um / length_um[:, None]).calculate_areas() / (4 * np.pi)
    # a crossing is seen from its outside voxel only, so d and -d together make one line: twice the share of one direction
    return np.asarray(4 * share * np.prod(voxel_um) / length_um)
