"""Fluorescence tomography with the anatomy of a computed tomography beside it (µCT-FMT): dye in moles, region by region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import nan
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tme_sim.files.image import Image, Quantity
from tme_sim.imaging.base import Frame, generator
from tme_sim.imaging.born import (
    TOLERANCE,
    Prior,
    Spots,
    block_numbers,
    lit,
    readings,
    reconstruct,
    region_volumes,
    seen,
    spread_spots,
    weights,
)
from tme_sim.imaging.diffuse_optics import VIEWS, Medium, folded
from tme_sim.imaging.macroscopic import CROSS_SECTION_UM2, Floats, Macroscope, diffusion_flag
from tme_sim.imaging.phantom import Phantom
from tme_sim.state.errors import InputError
from tme_sim.state.parameters import parameter

PMOL = 1e12 / 6.02214076e23
"""Of one molecule."""
UM3_PER_ML = 1e12
MARGIN = 1
"""Voxels between a spot and the edge of the silhouette."""
OPPOSITE = {"back": "belly", "belly": "back", "left": "right", "right": "left"}
LEAST_SNR = 10.0
"""Of a reading of the excitation, below which a pair of spot and point is left out."""
FAR_OFF = 0.25
"""Relative error above which a region is flagged; what such instruments reach in mice."""
UNCERTAIN = "ill-posed"


@dataclass(frozen=True, kw_only=True)
class Ratios:
    """(source, detector) ratio of fluorescence to excitation, its standard deviation as the operator knows it, which are used.

    exposure_s: the longest of the fluorescence's pictures.
    """

    ratio: Floats
    spread: Floats
    used: NDArray[np.bool_]
    exposure_s: float


@dataclass(kw_only=True)
class Tomography(Macroscope):
    """A spot of light on one side, a camera on the other; the ratio of both colours, n = F/X, by Born's approximation.

    n(s, d) = Σ_v G_m(d, v) κ c(v) Φ_x(s, v) V / X(s, d), inverted by Tikhonov with the regions as a prior: in each a mean, and
    blocks that differ from it. κ is that of the carriers as they were injected, so that a dye that shines more is taken as more
    of it. The light that tissue itself emits is taken as subtracted.
    """

    view: Literal["back", "belly", "left", "right"] = parameter("the side of the camera; the spots are on the other")
    source_spacing_um: float = parameter("distance of the spots", above=0)
    detector_spacing_um: float = parameter("distance of the points at which the picture is read", above=0)
    block: int = parameter("voxels along the edge of a block that is reconstructed", at_least=1, at_most=20)
    region_spread: float = parameter("how much means of regions may differ, over the body's mean", above=0, at_most=1e4)
    block_spread: float = parameter("how much blocks may differ from their regions, over the body's mean", above=0, at_most=1e4)
    absorption_ratio: float = parameter("absorption that the reconstruction assumes over the true one", above=0, at_most=10)
    reading_error: float = parameter("relative error of each reading besides noise: coupling, power", at_least=0, at_most=1)
    power_per_s: float = parameter("photons of the spot, per time", above=0)

    def acquire(self, frame: Frame) -> list[Image]:
        body = self.surroundings.body(frame, self.grid_um, 2 * self.grid_um, self.block)
        shining, present = self.filled(frame, body)
        dye = self.dye
        media = {
            name: self.medium(frame, body, wave)
            for name, wave in {"excitation": dye.excitation_um, "emission": dye.emission_um}.items()
        }
        inside = media["emission"].inside
        sources, detectors = self._spots(inside)
        truth = present.density.astype(np.float64)
        per_dye = self.brightness("blood", "loaded", 1.0) / self.molecules("blood", "loaded", 1.0)
        glow = CROSS_SECTION_UM2 * dye.brightness * folded(shining.density.astype(np.float64), inside)[inside]
        measured = self._measure(frame, media, sources, detectors, glow)
        prior = Prior(
            regions=region_volumes(inside, body.regions),
            block=block_numbers(inside, self.block),
            region_spread=self.region_spread,
            block_spread=self.block_spread,
        )
        found = self._invert(media, sources, detectors, measured, prior)
        mean, more = (part / (CROSS_SECTION_UM2 * dye.brightness * per_dye) for part in found)
        image, labels, names = np.zeros(inside.shape), *body.labels(1)
        image[inside] = prior.concentration(mean, more)
        amounts = prior.amounts(mean, more) * self.grid_um**3
        return [
            Image(
                name="fmt",
                data=(image * PMOL * UM3_PER_ML).astype(np.float32),
                voxel_um=(self.grid_um,) * 3,
                origin_um=_centre(body),
                unit="pmol/mL",
                time_s=frame.time_s,
                modality="optical",
                layers={"truth": (truth * PMOL * UM3_PER_ML).astype(np.float32)},
                regions=labels,
                region_names=names,
                quantities=tuple(self._read_off(frame, body, amounts, present.amounts, diffusion_flag(media))),
                acquisition=self.common_settings(media, shining)
                | {
                    "view": self.view,
                    "spots": len(sources.at),
                    "points": len(detectors.at),
                    "absorption_ratio": self.absorption_ratio,
                    "pairs": int(measured.used.sum()),
                    "exposure_s": measured.exposure_s,
                    "truth": "all dye in each voxel, whether it shines or not",
                },
            )
        ]

    def _spots(self, inside: NDArray[np.bool_]) -> tuple[Spots, Spots]:
        """Where light enters, and where it is read. Raises InputError where the pattern does not hit the body."""
        pairs = ((OPPOSITE[self.view], self.source_spacing_um), (self.view, self.detector_spacing_um))
        sources, detectors = (
            spread_spots(inside, VIEWS[side], max(1, round(spacing / self.grid_um)), MARGIN) for side, spacing in pairs
        )
        if not len(sources.at):
            raise InputError("grid", f"{self.grid_um / 1e3:g} mm", "is too coarse for this body: no spot of light hits it")
        return sources, detectors

    def _measure(self, frame: Frame, media: dict[str, Medium], sources: Spots, detectors: Spots, glow_per_um: Floats) -> Ratios:
        """The ratio of the colours; excitation is worked out in the true tissue, emission of it in each voxel."""
        excited, emitted = media["excitation"], media["emission"]
        light = lit(excited, sources).astype(np.float64)
        glow = np.zeros(emitted.inside.shape)
        fields = np.zeros_like(light)
        for field, shone in zip(light, fields, strict=True):
            glow[emitted.inside] = field * glow_per_um
            shone[:] = emitted.fluence(glow, TOLERANCE)[emitted.inside]
        to_rate = self.power_per_s * self.transmitted * self.grid_um**2 * self.efficiency
        both = [readings(medium, field, detectors) * to_rate for medium, field in ((excited, light), (emitted, fields))]
        times = [np.array([self.exposed(spot) for spot in rate])[:, None] for rate in both]
        random = generator(frame, "fmt", self.view)
        x, f = (
            self.detector.above_background(self.detector.read(rate * time, random))
            for rate, time in zip(both, times, strict=True)
        )
        dark = self.detector.background + self.detector.read_noise**2
        used = x > LEAST_SNR * np.sqrt(np.maximum(x, 0) + dark)
        x = np.where(used, x, 1)
        ratio = f / x * (1 + self.reading_error * random.standard_normal(x.shape))
        counting = np.sqrt(np.maximum(f, 0) + dark + ratio**2 * (x + dark)) / x
        scale = times[0] / times[1]
        spread = np.hypot(counting, self.reading_error * ratio)
        return Ratios(ratio=ratio * scale, spread=spread * scale, used=used, exposure_s=float(times[1].max()))

    def _invert(
        self, media: dict[str, Medium], sources: Spots, detectors: Spots, measured: Ratios, prior: Prior
    ) -> tuple[Floats, Floats]:
        """Glow per length of path, in regions and more in blocks, by the optics that the operator takes for true."""
        assumed = {
            name: replace(medium, absorption_per_um=medium.absorption_per_um * self.absorption_ratio)
            for name, medium in media.items()
        }
        light = lit(assumed["excitation"], sources)
        excited = readings(assumed["excitation"], light.astype(np.float64), detectors)
        parts = weights(light, seen(assumed["emission"], detectors), excited, measured.used, prior)
        of_regions, of_blocks = (part * self.grid_um**3 for part in parts)
        used = measured.used
        return reconstruct(measured.ratio[used], measured.spread[used], of_regions, of_blocks, prior)

    def _read_off(self, frame: Frame, body: Phantom, amounts: Floats, present: Mapping[str, float], flag: str) -> list[Quantity]:
        """Dye by region, as the reader finds it within the true outlines; beside it the truth, and the error."""
        injected = frame.injected * self.dye.dyes or nan  # before the first dose there is nothing to divide by
        rows = []
        for name, found in zip(body.regions, amounts.tolist(), strict=True):
            true = present.get(name, 0.0)
            mass = body.volume_um3(name) / UM3_PER_ML * self.density_g_per_mL
            error = found / true - 1 if true > 0 else float("nan")
            words = ", ".join(word for word in (flag, UNCERTAIN if abs(error) > FAR_OFF else "") if word)
            for ending, dyes, told in (("", found, words), ("_true", true, "")):
                rows.append(Quantity(name, f"amount{ending}", dyes * PMOL, "pmol", told))
                rows.append(Quantity(name, f"percent_id{ending}", 100 * dyes / injected, "%", told))
                rows.append(Quantity(name, f"percent_id_per_g{ending}", 100 * dyes / injected / mass, "%/g", told))
            if true > 0:
                rows.append(Quantity(name, "error", 100 * error, "%", words))
        return rows


def _centre(body: Phantom) -> tuple[float, float, float]:
    """Centre of the first voxel."""
    z, y, x = (float(body.grid.centres(axis)[0]) for axis in range(3))
    return z, y, x
