"""Noise of counting, in image space."""

from __future__ import annotations

from math import expm1, log

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float64]


def decays(activity_Bq: float, half_life_s: float, duration_s: float) -> float:
    """Decays in a frame that begins with this activity: A0 (T/ln 2) (1 − 2^(−Δt/T))."""
    return activity_Bq * (half_life_s / log(2) * -expm1(-log(2) * duration_s / half_life_s))


def counted(expected: Floats, random: np.random.Generator, *, sigma_voxels: float = 0.0, excess: float = 1.0) -> Floats:
    """(z, y, x) counts with this expectation: Poisson's, whose difference to the mean goes through the reconstruction's kernel.

    The Gaussian kernel, sigma_voxels wide, correlates the noise of neighbours and leaves a region's sum with the variance that
    its counts give; the mean is not blurred again. excess: variance over Poisson's of such a sum; reconstruction adds it, by the
    counts of other voxels on the same rays, and it is Gaussian. Values may fall below 0, as in linear reconstructions, and means
    stay true.
    """
    mean = np.maximum(expected, 0.0)
    noise: Floats = random.poisson(mean).astype(np.float64) - mean
    if excess > 1:
        noise += np.sqrt((excess - 1) * mean) * random.standard_normal(mean.shape)
    if sigma_voxels > 0:
        noise = ndimage.gaussian_filter(noise, sigma_voxels, mode="wrap")
    return np.asarray(mean + noise)
