"""Numbers that a reader takes off an emission image, and the true ones beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tme_sim.files.image import Quantity
from tme_sim.imaging.phantom import BODY, TUMOR

Floats = NDArray[np.floating[Any]]

UNLIKE = 0.1
"""By how much recovery differs from 1 where a region is flagged for partial volume."""
FEW_COUNTS = 100.0
"""Counts in a region below which it is flagged; its mean is then uncertain by a tenth or more."""
PARTIAL, FEW = "partial volume", "few counts"


@dataclass(frozen=True, kw_only=True)
class Uptake:
    """What turns activity into uptake: that injected, decayed to the time of the image, the body's mass, the tissue's density.

    Before the injection uptake is NaN.
    """

    injected_Bq: float
    body_mass_g: float
    density_g_per_mL: float

    def percent_id_per_g(self, activity_Bq_per_mL: float) -> float:
        """100 · (C/ρ)/A: share of the injected activity per gram of tissue, decay-corrected."""
        return 100 * activity_Bq_per_mL / self.density_g_per_mL / (self.injected_Bq or nan)

    def suv(self, activity_Bq_per_mL: float) -> float:
        """(C/ρ)/(A/mass of the body): 1 if all were spread evenly; %ID/g · mass/100."""
        return activity_Bq_per_mL / self.density_g_per_mL / (self.injected_Bq / self.body_mass_g or nan)


def read_off(
    data: Floats,
    noise_free: Floats,
    labels: NDArray[np.int16],
    names: Mapping[int, str],
    true_Bq_per_mL: Mapping[str, float],
    uptake: Uptake,
    *,
    counts_per_Bq_per_mL: float,
    peak_voxels: float,
) -> tuple[Quantity, ...]:
    """Uptake by region, measured and true, with flags; regions without a voxel of their own are left out.

    Regions are the true ones, as a reader with perfect anatomy draws them. Measured values are of `data`; recovery is of the mean
    without noise, the noise of `contrast_to_noise` is that of the rest of the body. peak_voxels: diameter of the sphere whose
    largest mean, centred in the region, is the peak.
    """
    around = np.isin(labels, [number for number, name in names.items() if name == BODY])
    found: list[Quantity] = []
    for number, name in names.items():
        here = labels == number
        if not here.any():
            continue
        true, mean = true_Bq_per_mL.get(name, 0.0), float(data[here].mean())
        recovery = float(noise_free[here].mean()) / true if true > 0 else None
        flags = [PARTIAL] if recovery is not None and abs(recovery - 1) > UNLIKE else []
        flags += [FEW] if float(noise_free[here].sum()) * counts_per_Bq_per_mL < FEW_COUNTS else []
        flag = ", ".join(flags)
        rows = {
            "activity": (mean, "Bq/mL"),
            "percent_id_per_g": (uptake.percent_id_per_g(mean), "%/g"),
            "percent_id_per_kg": (1e3 * uptake.percent_id_per_g(mean), "%/kg"),
            "suv_mean": (uptake.suv(mean), "1"),
            "suv_max": (uptake.suv(float(data[here].max())), "1"),
            "suv_peak": (uptake.suv(_peak(data, here, peak_voxels)), "1"),
        }
        if recovery is not None:
            rows["recovery"] = (recovery, "1")
        found += [Quantity(name, quantity, value, unit, flag) for quantity, (value, unit) in rows.items()]
        found += [
            Quantity(name, "activity_true", true, "Bq/mL"),
            Quantity(name, "percent_id_per_g_true", uptake.percent_id_per_g(true), "%/g"),
            Quantity(name, "suv_mean_true", uptake.suv(true), "1"),
        ]
        if name == TUMOR and around.any():
            level, noise = float(data[around].mean()), float((data - noise_free)[around].std())
            found += [Quantity(name, "tumor_to_background", mean / level, "1", flag)] if level > 0 else []
            found += [Quantity(name, "contrast_to_noise", (mean - level) / noise, "1", flag)] if noise > 0 else []
    return tuple(found)


def _peak(data: Floats, here: NDArray[np.bool_], diameter_voxels: float) -> float:
    """The largest mean over a sphere that is centred in the region."""
    reach = int(diameter_voxels / 2)
    axis = np.arange(-reach, reach + 1) ** 2
    ball = (axis[:, None, None] + axis[:, None] + axis <= (diameter_voxels / 2) ** 2).astype(np.float64)
    (box,) = ndimage.find_objects(here.astype(np.int8))
    wide = tuple(slice(max(0, part.start - reach), part.stop + reach) for part in box)
    means = ndimage.convolve(data[wide], ball / ball.sum(), mode="nearest")
    return float(means[here[wide]].max())
