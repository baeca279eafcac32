"""From light to numbers: photo-electrons, their noise, and the camera's or converter's counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.state.parameters import parameter

Floats = NDArray[Any]

HALF = 0.5
"""An operator sets the exposure so that the brightest parts reach this share of full scale."""
BRIGHTEST = 99.9
"""Percentile of the pixels that the operator takes for the brightest."""


@dataclass(frozen=True, kw_only=True)
class Detector:
    """Camera or photomultiplier: counts = round(gain (Poisson(light + background) + N(0, read²)) + offset), cut at full scale."""

    bits: int = parameter("bit depth", default=12, at_least=4, at_most=16)
    gain: float = parameter("counts per photo-electron", above=0, at_most=1e6)
    offset: float = parameter("counts without light", at_least=0, at_most=60000)
    read_noise: float = parameter("standard deviation of a pixel read in darkness, in photo-electrons", at_least=0, at_most=1e4)
    background: float = parameter(
        "photo-electrons per pixel that are not the dye's: autofluorescence and dark current", at_least=0
    )

    @property
    def full_scale(self) -> float:
        """Photo-electrons above the background at which counts saturate."""
        return float((2**self.bits - 1 - self.offset) / self.gain - self.background)

    def mean_counts(self, electrons: Floats) -> Floats:
        """Expected counts, not rounded and not cut."""
        return np.asarray((electrons + self.background) * self.gain + self.offset)

    def read(self, electrons: Floats, random: np.random.Generator) -> NDArray[np.float32]:
        """Counts with noise, whole numbers."""
        caught = random.poisson(electrons + self.background) + random.normal(0, self.read_noise, electrons.shape)
        return np.clip(np.round(caught * self.gain + self.offset), 0, 2**self.bits - 1).astype(np.float32)

    def above_background(self, counts: Floats) -> Floats:
        """Photo-electrons of the dye by counts, as who knows offset, gain and background from a slide without dye."""
        return np.asarray((np.asarray(counts, np.float64) - self.offset) / self.gain - self.background)


def exposure_s(electrons_per_s: Floats, detector: Detector, longest_s: float) -> float:
    """As an operator sets it: the brightest parts at half of full scale, but no longer than they would wait."""
    brightest = float(np.percentile(electrons_per_s, BRIGHTEST))
    return min(longest_s, HALF * detector.full_scale / brightest) if brightest > 0 else longest_s
