"""Planes of an image through the place that matters, as plain arrays: rows go up, columns to the right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.files.image import Image

TUMOR = "tumor"
AXES = "zyx"
ENDS = {"z": ("I", "S"), "y": ("P", "A"), "x": ("L", "R")}
"""Ends of an axis in a body, from low to high."""


@dataclass(frozen=True)
class Plane:
    """across: the axis that it cuts, at_um; up, right: those of rows and columns, edge_um: of a pixel along them.

    index: the place of the plane in (z, y, x), whose other two axes are whole.
    """

    across: str
    up: str
    right: str
    at_um: float
    edge_um: tuple[float, float]
    index: tuple[int | slice, ...]

    def of(self, data: NDArray[Any]) -> NDArray[Any]:
        """(up, right) values of a volume (z, y, x)."""
        return np.asarray(data[self.index])

    def size_um(self, shape: tuple[int, ...]) -> tuple[float, float]:
        """Height and width of the plane of a volume of this shape (z, y, x)."""
        up, right = (shape[AXES.index(axis)] * edge for axis, edge in zip((self.up, self.right), self.edge_um, strict=True))
        return up, right


def planes(image: Image) -> list[Plane]:
    """Planes through the focus across z, y and x, without those that would be a line; across z if all would."""
    at, shape, found = focus(image), image.data.shape[-3:], []
    thick = sum(n > 1 for n in shape) > 1
    for axis, (up, right) in enumerate(((1, 2), (0, 2), (0, 1))):
        if (shape[up] > 1 and shape[right] > 1) or (axis == 0 and not thick):
            index: list[int | slice] = [slice(None)] * 3
            index[axis] = at[axis]
            place_um = image.origin_um[axis] + at[axis] * image.voxel_um[axis]
            edges = image.voxel_um[up], image.voxel_um[right]
            found.append(Plane(AXES[axis], AXES[up], AXES[right], place_um, edges, tuple(index)))
    return found


def focus(image: Image) -> tuple[int, int, int]:
    """The hottest voxel, of the tumour where the image knows it, as it is without noise; of channels, of the first."""
    volume = next((image.layers[name] for name in ("noise_free", "truth") if name in image.layers), image.data)
    volume = volume[0] if image.channels else volume
    number = next((number for number, name in image.region_names.items() if name == TUMOR), None)
    hot = np.where(np.isfinite(volume), volume, -np.inf)
    if number is not None and image.regions is not None and (image.regions == number).any():
        hot = np.where(image.regions == number, hot, -np.inf)
    z, y, x = np.unravel_index(int(np.argmax(hot)), hot.shape)
    return int(z), int(y), int(x)


def is_body(image: Image) -> bool:
    """Whether the image shows a body, whose sides have names, and not a piece of tissue."""
    return "Phantom" in image.acquisition
