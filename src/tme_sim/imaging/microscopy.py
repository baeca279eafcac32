"""Confocal, two-photon and light-sheet microscopes: a stack of optical sections in several colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tme_sim.imaging.anatomy import KINDS, Anatomy, Box, Triple, Whole, choose_box, draw
from tme_sim.imaging.base import Frame, Image, Quantity, generator
from tme_sim.imaging.detector import Detector
from tme_sim.imaging.micrograph import Floats, Microscope, common_settings, mesh, origin_um, to_pixels, voxel_um
from tme_sim.imaging.optics import Optics, attenuation, blur
from tme_sim.imaging.stains import DYES, Channel
from tme_sim.state.errors import InputError
from tme_sim.state.parameters import parameter

REGIONS = {1: "blood", 2: "vessel wall", 3: "outside cells"} | {4 + i: kind.replace("_", " ") for i, kind in enumerate(KINDS)}
REGION_OF = {"blood": "blood", "endothelium": "vessel wall", "extracellular": "outside cells"}
"""Compartment → region; those of cells are named alike."""
SUFFIX = {"confocal": "CONF", "two_photon": "MPE", "light_sheet": "SPIM", "widefield": "FLUO"}
"""BIDS words for the kinds of optics."""


@dataclass(kw_only=True)
class Microscopy(Microscope):
    """A stack of optical sections; z goes into the tissue from the side of the objective.

    In the tissue light is lost as exp(−μ depth), of both ways together. Two photons excite as the square of the light; their
    dyes are ranked by ε as those of one photon (assumed), at twice the wavelength.
    """

    optics: Literal["widefield", "confocal", "two_photon", "light_sheet"] = parameter("how light gets to a point and back")
    pinhole: float = parameter("diameter of a confocal pinhole in Airy units", default=1.0, above=0.1, at_most=20)
    sheet_um: float = parameter("thickness of a light sheet, full width at half maximum", default=5.0, above=0.5, at_most=100)
    slice_um: float = parameter("distance of optical sections; made to divide a site", above=0.1, at_most=50)
    size_um: tuple[float, ...] = parameter("field as (z, y, x), rounded up to whole sites", above=0)
    depth_um: float = parameter("tissue between the objective's side and the field's first section", at_least=0, at_most=5000)
    attenuation_per_um: float = parameter("loss of light per depth, of both ways together", at_least=0, at_most=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.size_um) != 3:
            raise InputError("size_um", str(self.size_um), "needs three lengths, along z, y and x")

    def acquire(self, frame: Frame) -> list[Image]:
        optics = Optics(kind=self.optics, objective=self.objective, pinhole_airy=self.pinhole, sheet_um=self.sheet_um)
        waves = {name: self._at_laser(pair) for name, pair in self.wavelengths_um().items()}
        width = self.narrowest_um({name: optics.lateral_um(*pair) for name, pair in waves.items()})
        height = self.narrowest_um({name: optics.axial_um(*pair) for name, pair in waves.items()})
        self.refuse_unplaced(frame.lattice, width)
        pixels, per_pixel = mesh(frame.lattice, (self.slice_um, self.pixel_um, self.pixel_um), (height, width, width))
        size: Triple = (self.size_um[0], self.size_um[1], self.size_um[2])
        parts: Whole = (pixels[0] * per_pixel[0], pixels[1] * per_pixel[1], pixels[2] * per_pixel[2])
        box = choose_box(frame.lattice, self.center_um, size, parts)  # type: ignore[arg-type]
        anatomy = draw(frame, box, self.cell_um3)
        regions = regions_of(anatomy, per_pixel)
        depth = self.depth_um + (np.arange(box.shape[0]) + 0.5) * box.step_um[0]
        left = attenuation(depth, self.attenuation_per_um).astype(np.float32)[:, None, None]
        images, quantities, exposures = [], [], {}
        for colour in self.colours(frame, anatomy, self.placed(frame, anatomy)):
            psf = optics.psf(*self._at_laser((colour.excitation_um, colour.emission_um)), box.step_um)
            camera = self.optics in ("widefield", "light_sheet")
            light = to_pixels(blur(colour.light * left, psf, per_pixel[0]), (1, *per_pixel[1:]), camera)
            ideal = to_pixels(colour.light, per_pixel, camera) * psf.sum()
            expected, truth, exposures[colour.name] = self.electrons(colour.name, light, ideal)
            counts = self.detector.read(expected, generator(frame, "microscopy", self.optics, colour.name))
            images.append((counts, self.detector.mean_counts(expected), truth * self.detector.gain))
            if colour.name in DYES:
                quantities += measured(colour, counts, truth, regions, self.detector)
        data, noise_free, truth = (np.stack(layer).astype(np.float32) for layer in zip(*images, strict=True))
        step = voxel_um(box, per_pixel)
        return [
            Image(
                name=self.optics,
                data=data,
                voxel_um=step,
                origin_um=origin_um(box, step),
                unit="counts",
                time_s=frame.time_s,
                modality="micr",
                channels=self.channels,
                layers={"noise_free": noise_free, "truth": truth},
                regions=regions,
                region_names=REGIONS,
                quantities=tuple(quantities),
                acquisition=self._settings(box, exposures, waves, width, height),
            )
        ]

    def _at_laser(self, waves: tuple[float, float]) -> tuple[float, float]:
        """Excitation as the laser has it, and emission."""
        return (2 * waves[0], waves[1]) if self.optics == "two_photon" else waves

    def _settings(
        self,
        box: Box,
        exposures: Mapping[str, float],
        waves: Mapping[str, tuple[float, float]],
        width_um: float,
        height_um: float,
    ) -> dict[str, Any]:
        return {
            **common_settings(self, exposures, waves),
            "suffix": SUFFIX[self.optics],
            "optics": self.optics,
            "psf_width_um": width_um,
            "psf_height_um": height_um,
            "points_um": box.step_um,
            "depth_um": self.depth_um,
            "attenuation_per_um": self.attenuation_per_um,
            "truth": "light of each pixel's own volume, unblurred and from no depth, as counts above the background",
        }


def regions_of(anatomy: Anatomy, per_pixel: Whole) -> NDArray[np.int16]:
    """(z, y, x) of pixels: the number in REGIONS of what is at the middle of each."""
    a, b, c = per_pixel
    at = (slice(a // 2, None, a), slice(b // 2, None, b), slice(c // 2, None, c))
    found = np.append(4 + anatomy.kind.astype(np.int16), np.int16(3))[anatomy.cell[at]]
    found[anatomy.endothelium[at]] = 2
    found[anatomy.lumen[at]] = 1
    return np.asarray(found, np.int16)


def measured(colour: Channel, counts: Floats, truth: Floats, regions: NDArray[np.int16], detector: Detector) -> list[Quantity]:
    """What the image tells of where the dye is, each beside the truth, and how well it is exposed.

    Shares of light by region, whose borders are known here: what is wrong in them is the optics' and the noise's doing.
    """
    light, total = detector.above_background(counts), float(sum(colour.share.values()))
    seen = float(light.sum())
    noise = float(np.sqrt(max(seen, 0) + light.size * (detector.background + detector.read_noise**2)))
    flag = "below noise" if seen < 3 * noise else ""
    true = dict.fromkeys(REGIONS.values(), 0.0)
    for compartment, amount in colour.share.items():
        true[_region_of(compartment)] += amount
    rows = []
    for number, name in REGIONS.items():
        if true[name] > 0 or (regions == number).any():
            share = 100 * float(light[regions == number].sum()) / seen if seen > 0 else float("nan")
            rows.append(Quantity(name, f"{colour.name}_percent", share, "%", flag))
            of_all = 100 * true[name] / total if total > 0 else float("nan")
            rows.append(Quantity(name, f"{colour.name}_percent_true", of_all, "%"))
    saturated = 100 * float(np.mean(counts >= 2**detector.bits - 1))
    rows.append(Quantity("field", f"{colour.name}_mean", seen / light.size, "electrons", flag))
    rows.append(Quantity("field", f"{colour.name}_mean_true", float(truth.mean()), "electrons"))
    rows.append(Quantity("field", f"{colour.name}_saturated", saturated, "%", "saturated" if saturated > 1 else ""))
    return rows


def _region_of(compartment: str) -> str:
    """Name of the region that a compartment's light comes from; cells from blood go with the neutrophils."""
    return REGION_OF.get(compartment, {"phagocytes": "neutrophils"}.get(compartment, compartment).replace("_", " "))
