"""Means of images over bins of distance, with intervals from blocks of voxels: neighbours are not independent."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tme_sim.analysis.agreement import RESAMPLES

Floats = NDArray[np.float64]

BLOCK_VOXELS = 8
"""Edge of the blocks that are resampled, in voxels (assumed: longer than a signal is correlated)."""
FEWEST_BLOCKS = 8
"""With fewer there is no interval."""


def distance_profile(
    images: Mapping[str, Floats], distance_um: Floats, counts: NDArray[np.bool_], width_um: float
) -> pd.DataFrame:
    """A row per bin that has voxels: distance_um (its centre, a whole multiple of the width), voxels, mean, `_low` and `_high`.

    low, high: 95 % of means over whole blocks drawn with replacement; not a number with too few blocks.
    """
    bin_of = np.floor(distance_um[counts] / width_um + 0.5).astype(np.int64)
    bins, block = int(bin_of.max(initial=0)) + 1, _blocks(counts)
    blocks, cell = int(block.max(initial=0)) + 1, block * bins + bin_of
    voxels = np.bincount(cell, minlength=blocks * bins).reshape(blocks, bins).astype(float)
    drawn = np.random.default_rng(0).multinomial(blocks, np.full(blocks, 1 / blocks), RESAMPLES).astype(float)
    table = {"distance_um": np.arange(bins) * width_um, "voxels": voxels.sum(axis=0)}
    for name, image in images.items():
        sums = np.bincount(cell, image[counts], blocks * bins).reshape(blocks, bins)
        with np.errstate(invalid="ignore"):
            table[name] = sums.sum(axis=0) / voxels.sum(axis=0)
            means = (drawn @ sums) / (drawn @ voxels)
        low, high = _middle(means) if blocks >= FEWEST_BLOCKS else np.full((2, bins), np.nan)
        table |= {f"{name}_low": low, f"{name}_high": high}
    seen: pd.DataFrame = pd.DataFrame(table).query("voxels > 0").reset_index(drop=True)
    return seen


def _blocks(counts: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(voxels that count,) number of the cube of voxels that each lies in."""
    corner = tuple(index // BLOCK_VOXELS for index in np.nonzero(counts))
    shape = tuple(-(-length // BLOCK_VOXELS) for length in counts.shape)
    return np.asarray(np.unique(np.ravel_multi_index(corner, shape), return_inverse=True)[1], np.int64)


def _middle(means: Floats) -> Floats:
    """(2, bins) quantiles of the resampled means; not a number where a bin was missed by more than 1 in 20 draws."""
    seen = np.isfinite(means).mean(axis=0) > 0.95
    bounds = np.full((2, means.shape[1]), np.nan)
    bounds[:, seen] = np.nanquantile(means[:, seen], [0.025, 0.975], axis=0)
    return bounds
