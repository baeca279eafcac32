"""Images without symmetry, so that a confusion of axes, signs or channels is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tme_sim.files.image import Image, Quantity

ACQUISITION: dict[str, dict[str, Any]] = {
    "PET": {
        "TracerRadionuclide": "Zr89",
        "InjectedRadioactivity": 5.0,
        "InjectedRadioactivityUnits": "MBq",
        "FrameDuration": [600.0],
    },
    "MEGRE": {"EchoTime": [0.002, 0.004], "FlipAngle": 30},
    "VFA": {"FlipAngle": [2, 20], "RepetitionTimeExcitation": 0.01},
}
UNITS = {"PET": "Bq/mL", "R2starmap": "1/s"}
SHAPE = (4, 5, 6)


@pytest.fixture
def image() -> Callable[..., Image]:
    """`image(modality, name, channels=0, ...)`: random numbers with layers, regions and a quantity."""

    def make(modality: str, name: str = "pet", channels: int = 0, **given: Any) -> Image:
        shape = (channels, *SHAPE) if channels else SHAPE
        data = np.random.default_rng(3).normal(10.0, 5.0, shape)
        regions = np.zeros(SHAPE, np.int16)
        regions[1, 2, 3:] = 1
        settings: dict[str, Any] = {
            "voxel_um": (30.0, 20.0, 10.0),
            "origin_um": (15.0, 110.0, 205.0),
            "unit": UNITS.get(modality, "1"),
            "time_s": 86400.0,
            "channels": tuple(f"dye {number}" for number in range(channels)),
            "layers": {"truth": data + 1.0, "noise_free": data + 2.0},
            "regions": regions,
            "region_names": {1: "tumor"},
            "quantities": (Quantity("tumor", "mean", 3.5, "Bq/mL", "partial volume"),),
            "acquisition": ACQUISITION.get(modality, {}),
        }
        return Image(name=name, data=data, modality=modality, **(settings | given))

    return make
