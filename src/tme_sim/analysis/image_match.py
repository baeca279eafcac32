"""Two images made comparable: the same resolution, the same voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn

from tme_sim.numerics.overlap import along_axes, mean_over, overlap
from tme_sim.state.errors import InputError

Floats = NDArray[np.float64]
Triple = tuple[float, float, float]
FWHM_PER_SIGMA = sqrt(8 * log(2))
WHOLE = 1e-3
"""Of a voxel: what voxel sizes from the float32 numbers of a header may miss by."""


@dataclass(frozen=True)
class Grid:
    """Voxels of a volume: its shape, their edges, and the position of its first corner, all (z, y, x)."""

    shape: tuple[int, ...]
    voxel_um: Triple
    corner_um: Triple = (0.0, 0.0, 0.0)


def to_resolution(simulated: Floats, voxel_um: Triple, fwhm_um: Triple, wanted_um: Triple) -> Floats:
    """Blur (z, y, x) so that a full width of `fwhm_um` becomes `wanted_um`: by √(FWHM_m² − FWHM_s²) along each axis.

    The Gaussian is Lindeberg's for grids (1990, doi:10.1109/34.49051), e^(−σ²(1 − cos k)) on the cosine transform: its second
    moment is σ² for any σ and it makes nothing negative. The edges mirror, the mean is kept to rounding. Raises InputError where
    the simulated image is the coarser one: nothing can be sharpened.
    """
    for name, had, wanted in zip("zyx", fwhm_um, wanted_um, strict=True):
        if had > wanted * (1 + 1e-6):
            told = f"of {had:g} um along {name} is coarser than the measured {wanted:g} um; an image cannot be sharpened"
            raise InputError("resolution", "of the simulated image", f"{told}, choose a sharper readout")
    spectrum = dctn(simulated, type=2, norm="ortho")
    for axis, (edge, had, wanted) in enumerate(zip(voxel_um, fwhm_um, wanted_um, strict=True)):
        sigma = sqrt(max(wanted**2 - had**2, 0.0)) / FWHM_PER_SIGMA / edge
        wave = np.pi * np.arange(simulated.shape[axis]) / simulated.shape[axis]
        spectrum *= np.expand_dims(np.exp(-(sigma**2) * (1 - np.cos(wave))), tuple({0, 1, 2} - {axis}))
    return np.asarray(idctn(spectrum, type=2, norm="ortho"))


def common(first: Grid, second: Grid) -> Grid:
    """The coarser voxel along each axis, over the whole voxels that lie in both volumes. Raises InputError where none do."""
    axes = [_axis(first, second, axis) for axis in range(3)]
    (nz, hz, cz), (ny, hy, cy), (nx, hx, cx) = axes
    return Grid((nz, ny, nx), (hz, hy, hx), (cz, cy, cx))


def _axis(first: Grid, second: Grid, axis: int) -> tuple[int, float, float]:
    """How many voxels, their edge and first corner along an axis: on the edges of the coarser grid."""
    coarse, fine = (first, second) if first.voxel_um[axis] >= second.voxel_um[axis] else (second, first)
    edge, corner = coarse.voxel_um[axis], coarse.corner_um[axis]
    ends = [grid.corner_um[axis] + grid.shape[axis] * grid.voxel_um[axis] for grid in (coarse, fine)]
    begin = int(np.ceil(max(0.0, (fine.corner_um[axis] - corner) / edge) - WHOLE))
    end = int(np.floor((min(ends) - corner) / edge + WHOLE))
    if end <= begin:
        raise InputError("position", f"along {'zyx'[axis]}", "must make the measured and the simulated volume overlap")
    return end - begin, edge, corner + begin * edge


def alone(grid: Grid, voxel_um: Triple) -> Grid:
    """The voxels that an image has by itself once it is averaged to `voxel_um`, from its first corner."""
    counts = (int(n * edge / wide + WHOLE) for n, edge, wide in zip(grid.shape, grid.voxel_um, voxel_um, strict=True))
    shape = tuple(counts)
    if min(shape) < 1:
        raise InputError(
            "voxel", " x ".join(f"{edge:g}" for edge in voxel_um), "um does not fit into the smaller of the two images"
        )
    return Grid(shape, voxel_um, grid.corner_um)


def onto(data: NDArray[np.generic], source: Grid, target: Grid) -> Floats:
    """Mean of (z, y, x) over each target voxel; whole multiples are block averages, others take exact shares."""
    if source.shape == target.shape and source.voxel_um == target.voxel_um and source.corner_um == target.corner_um:
        return data.astype(np.float64)
    matrices = [mean_over(overlap(_edges(source, axis), _edges(target, axis))) for axis in range(3)]
    return along_axes(matrices, data)


def _edges(grid: Grid, axis: int) -> Floats:
    return np.asarray(grid.corner_um[axis] + np.arange(grid.shape[axis] + 1) * grid.voxel_um[axis], float)


def coarser(first: Sequence[float], second: Sequence[float]) -> Triple:
    """The larger edge along each axis."""
    z, y, x = (max(pair) for pair in zip(first, second, strict=True))
    return z, y, x
