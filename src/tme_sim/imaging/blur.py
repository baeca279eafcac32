"""Blur on a regular grid: Gaussian point spread, positron range, and the step down to an instrument's voxels."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.special import roots_jacobi

from tme_sim.imaging.isotopes import PositronRange
from tme_sim.numerics.threads import use_threads_for

Volume = NDArray[np.floating[Any]]
FWHM_PER_SIGMA = sqrt(8 * log(2))

FINEST_SHARE = 0.2
"""Largest edge of the grid relative to the FWHM: then the centre of a sphere three voxels or more in radius is right to 0.3 %."""
NODES = 64
"""Quadrature of the range kernel; exact to rounding for all wave numbers that a Gaussian of a fifth of the range lets pass."""
PAST = 7.0
"""Gaussian sigmas, in wave numbers, past which the transfer function (below 3e-11) is taken as 0."""


def range_transfer(wave_per_um: NDArray[np.float64], ranges: Sequence[PositronRange]) -> NDArray[np.float64]:
    """Fourier transform of the distribution of annihilations around a decay; 1 at 0, and everywhere without ranges.

    H(k) = Σ share ∫ g(r) sin(kr)/(kr) dr with the radial density g(r) = (n+1)/R (1 − r/R)ⁿ, 0 ≤ r ≤ R: the form that Cal-González
    et al. 2013 (doi:10.1088/0031-9155/58/15/5127) fit to Monte Carlo, less its linear factor, so that mean and largest range set
    it, ⟨r⟩ = R/(n+2). As in theirs, g(0) > 0: slow positrons stop where they start, and profiles have a cusp. In water; the
    range is taken as that of water in all tissues.
    """
    if not ranges:
        return np.ones_like(wave_per_um)
    total = np.zeros_like(wave_per_um)
    for branch in ranges:
        power = branch.most_um / branch.mean_um - 2
        nodes, weights = roots_jacobi(NODES, power, 0)
        distance = (nodes + 1) / 2 * branch.most_um
        total += branch.share * (np.sinc(wave_per_um[..., None] * distance / pi) @ (weights / weights.sum()))
    return np.asarray(total / sum(branch.share for branch in ranges))


def blur(volume: Volume, voxel_um: float, fwhm_um: float, ranges: Sequence[PositronRange] = ()) -> Volume:
    """Convolve voxel means on a cubic grid with a Gaussian and the positron range, in one pass; the type of the input is kept.

    The means are a box already, so the Gaussian has σ² − h²/12. Periodic: the sum is kept exactly, and what passes one side comes
    back on the other, so there must be a margin (`margin_um`). Raises ValueError where h > FWHM/5.
    """
    if voxel_um > FINEST_SHARE * fwhm_um * (1 + 1e-9):
        raise ValueError(f"a grid of {voxel_um:g} um is too coarse for an FWHM of {fwhm_um:g} um; at most a fifth of it")
    variance = (fwhm_um / FWHM_PER_SIGMA) ** 2 - voxel_um**2 / 12
    threads = use_threads_for(volume.size)
    spectrum = fft.rfftn(volume, workers=threads)
    z, y, x = _waves(volume.shape, voxel_um)
    along_z, in_plane = (np.exp(-square * variance / 2).astype(volume.dtype) for square in (z**2, y[:, None] ** 2 + x**2))
    spectrum *= along_z[:, None, None] * in_plane
    if ranges:
        spectrum *= _range_filter(z, y, x, PAST / sqrt(variance), ranges).astype(volume.dtype)
    return np.asarray(fft.irfftn(spectrum, volume.shape, workers=threads, overwrite_x=True))


def _waves(shape: tuple[int, ...], voxel_um: float) -> list[NDArray[np.float64]]:
    """Wave numbers along z, y and x of a real transform."""
    return [2 * pi * fft.fftfreq(n, voxel_um) for n in shape[:2]] + [2 * pi * fft.rfftfreq(shape[2], voxel_um)]


def _range_filter(
    z: NDArray[np.float64], y: NDArray[np.float64], x: NDArray[np.float64], most_per_um: float, ranges: Sequence[PositronRange]
) -> NDArray[np.float32]:
    """The range's transfer function on the grid of waves; beyond `most_per_um` its last value, where the Gaussian leaves nothing.

    From a table whose linear interpolation is good to 2e-5 (step² R²/24).
    """
    step = 0.02 / max(branch.most_um for branch in ranges)
    wave = np.arange(0, most_per_um + step, step)
    square = z[:, None, None].astype(np.float32) ** 2 + (y[:, None] ** 2 + x**2).astype(np.float32)
    return np.interp(np.sqrt(square), wave, range_transfer(wave, ranges)).astype(np.float32)


def margin_um(fwhm_um: float, ranges: Sequence[PositronRange] = ()) -> float:
    """Empty space that a source needs around it: three sigmas of the Gaussian and the largest range."""
    return 3 * fwhm_um / FWHM_PER_SIGMA + max((branch.most_um for branch in ranges), default=0.0)
