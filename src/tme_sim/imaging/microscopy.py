"""Confocal, two-photon and light-sheet microscopes: a stack of optical sections in several colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tme_sim.imaging.anatomy import KINDS, Anatomy, draw
from tme_sim.imaging.base import Frame, Image, Quantity
from tme_sim.imaging.box import Box, Mesh, Triple, Whole, choose_box, mesh
from tme_sim.imaging.detector import Detector
from tme_sim.imaging.micrograph import Floats, Microscope, Pictures, See, origin_um, to_pixels
from tme_sim.imaging.optics import Optics, attenuation, blur
from tme_sim.imaging.stains import DYES, Channel
from tme_sim.state.errors import InputError
from tme_sim.state.parameters import parameter

REGIONS = {1: "blood", 2: "vessel wall", 3: "outside cells"} | {4 + i: kind.replace("_", " ") for i, kind in enumerate(KINDS)}
REGION_NUMBER = {name: number for number, name in REGIONS.items()}
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
        psf_um = self._psf_um(optics)
        self.refuse_unplaced(frame.lattice, psf_um[1])
        grid = mesh(frame.lattice, (self.slice_um, self.pixel_um, self.pixel_um), psf_um)
        box = choose_box(frame.lattice, self.center_um, self.size_um, grid.parts)
        anatomy = draw(frame, box, self.cell_um3)
        regions = regions_of(anatomy, grid.points)
        colours = self.colours(frame, anatomy, self.placed(frame, anatomy))
        pictures = self.take(frame, colours, self._see(optics, box, grid), "microscopy", self.optics)
        pixel_um = grid.pixel_um(frame.lattice.site_um)
        return [
            Image(
                name=self.optics,
                data=pictures.counts,
                voxel_um=pixel_um,
                origin_um=origin_um(box, pixel_um),
                unit="counts",
                time_s=frame.time_s,
                modality="micr",
                channels=self.channels,
                layers={"noise_free": pictures.noise_free, "truth": pictures.truth},
                regions=regions,
                region_names=REGIONS,
                quantities=tuple(q for name in DYES for q in measured(name, pictures, self.channels, regions, self.detector)),
                acquisition={**self.settings(pictures), **self._more_settings(box, psf_um)},
            )
        ]

    def _psf_um(self, optics: Optics) -> Triple:
        """Height and widths of the narrowest dye's PSF."""
        waves = {name: self._at_laser(*pair) for name, pair in self.wavelengths_um().items()}
        width = self.narrowest_um({name: optics.lateral_um(*pair) for name, pair in waves.items()})
        return self.narrowest_um({name: optics.axial_um(*pair) for name, pair in waves.items()}), width, width

    def _at_laser(self, excitation_um: float, emission_um: float) -> tuple[float, float]:
        """Excitation as the laser has it, and emission."""
        return (2 * excitation_um if self.optics == "two_photon" else excitation_um), emission_um

    def _see(self, optics: Optics, box: Box, grid: Mesh) -> See:
        depth = self.depth_um + (np.arange(box.shape[0]) + 0.5) * box.step_um[0]
        left = attenuation(depth, self.attenuation_per_um).astype(np.float32)[:, None, None]
        camera = self.optics in ("widefield", "light_sheet")

        def see(colour: Channel) -> tuple[Floats, Floats]:
            psf = optics.psf(*self._at_laser(colour.excitation_um, colour.emission_um), box.step_um)
            blurred = blur(colour.light * left, psf, grid.points[0])
            seen = to_pixels(blurred, (1, *grid.points[1:]), camera)
            return seen, to_pixels(colour.light, grid.points, camera) * psf.sum()

        return see

    def _more_settings(self, box: Box, psf_um: Triple) -> dict[str, Any]:
        return {
            "suffix": SUFFIX[self.optics],
            "optics": self.optics,
            "psf_um": psf_um,
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


def measured(
    name: str, pictures: Pictures, channels: Sequence[str], regions: NDArray[np.int16], detector: Detector
) -> list[Quantity]:
    """What a channel tells of where its dye is, each beside the truth, and how well it is exposed; nothing of one not there.

    Shares of light by region, whose borders are known here: what is wrong in them is the optics' and the noise's doing.
    """
    if name not in channels:
        return []
    counts, truth = (layer[channels.index(name)] for layer in (pictures.counts, pictures.truth))
    light = detector.above_background(counts)
    seen = float(light.sum())
    noise = float(np.sqrt(max(seen, 0) + light.size * (detector.background + detector.read_noise**2)))
    flag = "below noise" if seen < 3 * noise else ""
    rows = []
    for region, share in true_shares(pictures.share[name]).items():
        inside = regions == REGION_NUMBER[region]
        if share > 0 or inside.any():
            found = 100 * float(light[inside].sum()) / seen if seen > 0 else float("nan")
            rows.append(Quantity(region, f"{name}_percent", found, "%", flag))
            rows.append(Quantity(region, f"{name}_percent_true", share, "%"))
    saturated = 100 * float(np.mean(counts >= 2**detector.bits - 1))
    rows.append(Quantity("field", f"{name}_mean", seen / light.size, "electrons", flag))
    rows.append(Quantity("field", f"{name}_mean_true", float(truth.mean(dtype=np.float64)) / detector.gain, "electrons"))
    rows.append(Quantity("field", f"{name}_saturated", saturated, "%", "saturated" if saturated > 1 else ""))
    return rows


def true_shares(light: Mapping[str, float]) -> dict[str, float]:
    """Region → share of the light that comes from there, %; NaN where there is none."""
    total = sum(light.values())
    found = dict.fromkeys(REGIONS.values(), 0.0 if total > 0 else float("nan"))
    for compartment, amount in light.items():
        found[_region_of(compartment)] += 100 * amount / total if total > 0 else float("nan")
    return found


def _region_of(compartment: str) -> str:
    """Name of the region that a compartment's light comes from; cells from blood go with the neutrophils."""
    return REGION_OF.get(compartment, {"phagocytes": "neutrophils"}.get(compartment, compartment).replace("_", " "))
