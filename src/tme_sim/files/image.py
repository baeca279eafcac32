"""An image as instruments make it, writers store it and pages show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Quantity:
    """A number read off an image, as its user would: in a region, with its unit; the truth is a quantity of its own.

    flag: what a reader must know of it, such as `partial volume`; empty where there is nothing.
    """

    region: str
    quantity: str
    value: float
    unit: str
    flag: str = ""


@dataclass(frozen=True, kw_only=True)
class Image:
    """What an instrument gives at one time.

    data: (z, y, x) or (channel, z, y, x), noise included; voxel_um: edges along (z, y, x); origin_um: centre of the first voxel
    in the scene's (z, y, x); modality: PET, MEGRE, T1w, micr … as BIDS names it, or a word of our own.
    layers: volumes of the same shape by name: `truth`, the signal in these voxels without blur or noise, and `noise_free`.
    regions: (z, y, x) numbers, named by region_names; acquisition: settings that JSON can hold.
    """

    name: str
    data: NDArray[Any]
    voxel_um: tuple[float, float, float]
    unit: str
    time_s: float
    modality: str
    origin_um: tuple[float, float, float] = (0.0, 0.0, 0.0)
    channels: tuple[str, ...] = ()
    layers: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    regions: NDArray[np.int16] | None = None
    region_names: Mapping[int, str] = field(default_factory=dict)
    quantities: tuple[Quantity, ...] = ()
    acquisition: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        others = {**self.layers, **({} if self.regions is None else {"regions": self.regions})}
        for name, layer in others.items():
            if layer.shape != (self.data.shape[-3:] if name == "regions" else self.data.shape):
                raise ValueError(f"image {self.name}: {name} has shape {layer.shape}, the image {self.data.shape}")
        if self.data.ndim - 3 != bool(self.channels) or (self.channels and len(self.channels) != len(self.data)):
            raise ValueError(f"image {self.name}: {len(self.channels)} channels for an image of shape {self.data.shape}")

    def save(self, path: str | Path) -> Path:
        """Write it by the name's ending, `.nii`, `.nii.gz`, `.ome.tif` or `.ome.zarr`; returns the path."""
        from tme_sim.files.images import save_image  # the writers know images

        return save_image(path, self)
