"""What a microscopist makes of a stained section: thresholds, nuclei, and which part of the picture is which cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Bools = NDArray[np.bool_]
Floats = NDArray[Any]

SMOOTHING_UM = 0.5
"""Standard deviation of the Gaussian before a threshold (assumed)."""
CLOSING_UM = 2.0
"""Gaps in an outline up to about this are closed before it is filled (assumed)."""
WIDEST_VESSEL_UM, WIDEST_CELL_UM = 60.0, 20.0
"""What a wider outline encloses is tissue among vessels, or among macrophages (assumed)."""
SMALLEST_UM2 = 12.0
"""Spots below this area are not taken for nuclei (assumed; 4 µm across)."""
NUCLEI_APART_UM = 4.0
"""Nearer peaks are one nucleus (assumed)."""
OUTSIDE, MACROPHAGES, OTHERS, VESSELS = 1, 2, 3, 4


@dataclass(frozen=True)
class Stained:
    """Masks of a section (y, x): filled CD31 and F4/80 outlines, and numbered nuclei."""

    vessels: Bools
    macrophages: Bools
    nuclei: NDArray[np.int32]
    pixel_um: float

    def regions(self, expansion_um: float) -> NDArray[np.int16]:
        """(y, x) OUTSIDE, MACROPHAGES, OTHERS or VESSELS; what lies up to `expansion_um` around a nucleus is its cell."""
        from skimage.segmentation import expand_labels  # skimage is slow to load

        cells = expand_labels(self.nuclei, expansion_um / self.pixel_um)  # type: ignore[no-untyped-call]
        found = np.where(cells > 0, OTHERS, OUTSIDE).astype(np.int16)
        found[self.macrophages] = MACROPHAGES
        found[self.vessels] = VESSELS
        return found


def segment(counts: Mapping[str, Floats], darkest: float, pixel_um: float) -> Stained:
    """Masks from the channels `vessels`, `macrophages` and `nuclei` (y, x); no threshold goes below `darkest` counts.

    Otsu's threshold (1979) of the smoothed picture; outlines are closed and filled; touching nuclei are parted by a watershed
    on the distance to their border.
    """
    vessels = _filled(_above(counts["vessels"], darkest, pixel_um), WIDEST_VESSEL_UM, pixel_um)
    macrophages = _filled(_above(counts["macrophages"], darkest, pixel_um), WIDEST_CELL_UM, pixel_um)
    return Stained(vessels, macrophages, _nuclei(_above(counts["nuclei"], darkest, pixel_um), pixel_um), pixel_um)


def threshold(picture: Floats, darkest: float) -> float:
    """Otsu's, but at least `darkest`; of a picture without contrast `darkest`."""
    from skimage.filters import threshold_otsu

    return max(float(threshold_otsu(picture)), darkest) if np.ptp(picture) > 0 else darkest  # type: ignore[no-untyped-call]


def _above(picture: Floats, darkest: float, pixel_um: float) -> Bools:
    smooth = ndimage.gaussian_filter(np.asarray(picture, np.float64), SMOOTHING_UM / pixel_um)
    return np.asarray(smooth > threshold(smooth, darkest))


def _filled(mask: Bools, widest_um: float, pixel_um: float) -> Bools:
    """Outlines closed, and what they enclose unless it is wider than that; an outline may be cut by one side of the picture."""
    around = max(1, round(CLOSING_UM / 2 / pixel_um))
    y, x = np.ogrid[-around : around + 1, -around : around + 1]
    wide = np.pad(mask, around, mode="symmetric")
    closed = (ndimage.binary_closing(wide, y**2 + x**2 <= around**2) | wide)[around:-around, around:-around]
    enclosed = np.zeros_like(mask)
    for turn in range(4):  # the picture's upper side closed, then each of the others
        turned = np.pad(np.rot90(closed, turn), ((1, 0), (0, 0)), constant_values=True)
        enclosed |= np.rot90(ndimage.binary_fill_holes(turned)[1:], -turn)
    holes, n = ndimage.label(enclosed & ~closed)
    width = 2 * pixel_um * ndimage.maximum(ndimage.distance_transform_edt(holes), holes, np.arange(n + 1))
    narrow = np.asarray(width) <= widest_um
    narrow[0] = False
    return np.asarray(closed | narrow[holes])


def _nuclei(mask: Bools, pixel_um: float) -> NDArray[np.int32]:

    from skimage.feature import peak_local_max
    from skimage.segmentation import watershed

    spots, n = ndimage.label(ndimage.binary_fill_holes(mask))
    large = np.bincount(spots.ravel(), minlength=n + 1) * pixel_um**2 >= SMALLEST_UM2
    large[0] = False
    kept = large[spots]
    inner = ndimage.gaussian_filter(ndimage.distance_transform_edt(kept), SMOOTHING_UM / pixel_um)
    apart = max(1, round(NUCLEI_APART_UM / pixel_um))
    peaks = peak_local_max(inner, min_distance=apart, labels=spots * kept, exclude_border=False)  # type: ignore[no-untyped-call]
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return np.asarray(watershed(-inner, seeds, mask=kept), np.int32)  # type: ignore[no-untyped-call]
