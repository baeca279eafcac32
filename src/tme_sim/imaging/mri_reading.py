"""What a reader takes from scans before and after an agent: rates, their change, and the metal that it stands for, by region."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tme_sim.files.image import Quantity
from tme_sim.imaging.mri_grid import WHOLE

Floats = NDArray[np.float64]


class Layers(NamedTuple):
    """A volume as the scanner gives it, without noise, and without noise and k-space's blur."""

    image: Floats
    noise_free: Floats
    truth: Floats


@dataclass(frozen=True)
class Reading:
    """Maps of one examination; rates per s, shot and shot_before the weighted image over fully relaxed water's signal.

    metal_ug_per_mL: by the rate's change; its truth is what is there. noise: standard deviation of the weighted image's noise.
    """

    rate_name: str
    metal_name: str
    rate: Layers
    rate_before: Layers
    metal_ug_per_mL: Layers
    metal_mM: Floats
    shot: Layers
    shot_before: Layers
    noise: float

    @property
    def change(self) -> Layers:
        """Of the rate, by the agent."""
        return Layers(*(after - before for after, before in zip(self.rate, self.rate_before, strict=True)))

    def quantities(self, regions: NDArray[np.int16], names: Mapping[int, str], weights: Mapping[int, float]) -> list[Quantity]:
        """Means by region, and over the whole tumour by the patches' shares of its mass; what has no fit is left out and told."""
        numbers = [number for number in names if (regions == number).any()]
        by_region = [[replace(q, region=names[number]) for q in self._of(regions == number)] for number in numbers]
        listed = [quantity for found in by_region for quantity in found]
        if len(numbers) > 1:
            share = np.array([weights[number] for number in numbers])
            for same in zip(*by_region, strict=True):
                mean = float(share @ [q.value for q in same] / share.sum())
                listed.append(replace(same[0], region=WHOLE, value=mean, flag="; ".join(sorted({q.flag for q in same} - {""}))))
        return listed

    def _of(self, here: NDArray[np.bool_]) -> Iterator[Quantity]:
        rate, metal = self.rate_name, self.metal_name
        for name, layers, unit in (
            (rate, self.rate, "1/s"),
            (f"{rate}_before", self.rate_before, "1/s"),
            (f"d{rate}", self.change, "1/s"),
            (metal, self.metal_ug_per_mL, "ug/mL"),
            ("SNR", Layers(*(shot / self.noise for shot in self.shot)), "1"),
            ("CNR", Layers(*((a - b) / self.noise for a, b in zip(self.shot, self.shot_before, strict=True))), "1"),
        ):
            yield _mean(name, layers.image, here, unit)
            yield _mean(f"{name}_true", layers.truth, here, unit)
        held_mM = _mean("", self.metal_mM, here, "mM").value
        for ending, change in (("", self.change.image), ("_true", self.change.truth)):
            per_metal = _mean(f"d{rate}_per_{metal}{ending}", change, here, "1/mM/s")
            yield replace(per_metal, value=per_metal.value / held_mM if held_mM > 0 else float("nan"))


def _mean(name: str, volume: Floats, here: NDArray[np.bool_], unit: str) -> Quantity:
    values = volume[here]
    fitted = values[np.isfinite(values)]
    flag = "" if fitted.size == values.size else f"no fit in {values.size - fitted.size} of {values.size} voxels"
    return Quantity("", name, float(fitted.mean()) if fitted.size else float("nan"), unit, flag)
