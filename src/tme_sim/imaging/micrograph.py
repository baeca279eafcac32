"""What all fluorescence microscopes here share: colours, exposure, and how points become pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tme_sim.imaging.anatomy import Anatomy, Box, Triple, Whole
from tme_sim.imaging.base import Frame, Readout
from tme_sim.imaging.detector import Detector, exposure_s
from tme_sim.imaging.optics import Objective
from tme_sim.imaging.placement import Placed, evenly, place
from tme_sim.imaging.stains import DYES, STAINS_UM, Channel, Dyes, Name, channel
from tme_sim.state.errors import InputError
from tme_sim.state.fluorescence import Fluorescence
from tme_sim.state.label import Label
from tme_sim.state.lattice import Lattice
from tme_sim.state.parameters import given, parameter

Floats = NDArray[Any]

POINTS_ACROSS = 2
"""Points across the width of the dyes' PSF at least, before they are put together to pixels."""


@dataclass(kw_only=True)
class Microscope(Readout):
    """What all fluorescence microscopes here have in common."""

    aperture: float = parameter("numerical aperture of the objective", above=0.02, at_most=1.45)
    refractive_index: float = parameter("refractive index in front of it", at_least=1, at_most=1.6)
    pixel_um: float = parameter("edge of a pixel; made to divide a site", above=0.02, at_most=20)
    center_um: tuple[float, ...] | None = parameter(
        "middle of the field as (z, y, x) from the lattice's corner; null: that of the thickest patch", default=None, at_least=0
    )
    channels: tuple[Name, ...] = parameter("colours: particles, drug, vessels, nuclei, macrophages")
    vessel_stain: Literal["wall", "lumen"] = parameter("what is stained of vessels: CD31 in their wall, or a dye in blood")
    placement: Literal["sub_lattice", "none"] = parameter(
        "carriers one by one where they can be in a voxel, or evenly in it", default="sub_lattice"
    )
    excitations_per_s: float = parameter("how often light at best excites a dye of 1e5 1/(M cm)", above=0, at_most=1e9)
    efficiency: float = parameter(
        "photo-electrons per photon emitted: collection, filters, quantum efficiency", above=0, at_most=1
    )
    exposure_s: float | None = parameter(
        "time per pixel or picture; null: so that the brightest are at half of full scale", above=0
    )
    longest_exposure_s: float = parameter("as long as an operator waits for that", above=0)
    stain_electrons: float = parameter("photo-electrons in the brightest pixels of a stain", above=0, at_most=1e6)
    detector: Detector = parameter("camera or photomultiplier")
    label: Label | None = given("nanoparticle.label", default=None)
    diameter_um: float = given("nanoparticle.hydrodynamic_diameter_um", default=0.05)
    cell_um3: float = given("cells.volume_um3", default=2000.0)
    drug: Fluorescence | None = given("drug_fluorescence", default=None)
    loaded_amol: float | None = given("drug_per_particle_amol", default=None)

    def __post_init__(self) -> None:
        if self.aperture >= self.refractive_index:
            told = f"must be below the refractive index, {self.refractive_index:g}"
            raise InputError("aperture", f"{self.aperture:g}", told)
        if self.center_um is not None and len(self.center_um) != 3:
            raise InputError("center_um", str(self.center_um), "needs three lengths, along z, y and x")
        if not self.channels:
            raise InputError("channels", "[]", "needs at least one colour")

    @property
    def objective(self) -> Objective:
        """The lens."""
        return Objective(aperture=self.aperture, index=self.refractive_index)

    @property
    def dyes(self) -> Dyes:
        """What glows by itself."""
        return Dyes(self.label, self.diameter_um, self.drug, self.loaded_amol)

    def wavelengths_um(self) -> dict[str, tuple[float, float]]:
        """Channel → excitation and emission. Raises InputError for a dye that the run's cards do not have."""
        known = dict(STAINS_UM)
        for name, dye in zip(DYES, (None if self.label is None else self.label.fluorescence, self.drug), strict=True):
            if dye is not None:
                known[name] = (dye.excitation_um, dye.emission_um)
        for name in self.channels:
            if name not in known:
                told = "is not on the card, nothing of it glows; take a card with a dye or leave the channel out"
                raise InputError({"particles": "nanoparticle.label", "drug": "drug"}[name] + ".fluorescence", None, told)
        return {name: known[name] for name in self.channels}

    def narrowest_um(self, widths_um: Mapping[str, float]) -> float:
        """The smallest width of the dyes' PSF by channel; of the stains' where there is no dye."""
        return min([widths_um[name] for name in DYES if name in widths_um] or widths_um.values())

    def refuse_unplaced(self, lattice: Lattice, width_um: float) -> None:
        """Raises InputError where the optics would resolve what `placement: none` does not tell."""
        if self.placement == "none" and width_um < lattice.voxel_um:
            told = (
                f"must be sub_lattice: the PSF of {width_um:.3g} um is finer than the lattice's voxels of {lattice.voxel_um:g} um"
            )
            raise InputError("placement", "none", told)

    def placed(self, frame: Frame, anatomy: Anatomy) -> list[Placed]:
        """Where the carriers are."""
        return place(frame, anatomy) if self.placement == "sub_lattice" else evenly(frame, anatomy.box)

    def colours(self, frame: Frame, anatomy: Anatomy, placed: Sequence[Placed]) -> Iterator[Channel]:
        """The channels in their order."""
        for name in self.channels:
            yield channel(name, frame, anatomy, placed, self.dyes, self.vessel_stain)

    def electrons(self, name: str, light: Floats, ideal: Floats) -> tuple[Floats, Floats, float]:
        """Expected photo-electrons of blurred and of ideal light in each pixel, and the exposure for them (0 of a stain)."""
        if name in DYES:
            per_s = self.excitations_per_s * self.efficiency
            time_s = self.exposure_s or exposure_s(light * per_s, self.detector, self.longest_exposure_s)
            return light * (per_s * time_s), ideal * (per_s * time_s), time_s
        brightest = float(np.percentile(light, 99.9)) or float(light.max())
        scale = self.stain_electrons / brightest if brightest > 0 else 0.0
        return light * scale, ideal * scale, 0.0


def common_settings(
    microscope: Microscope, exposures: Mapping[str, float], waves: Mapping[str, tuple[float, float]]
) -> dict[str, Any]:
    """Settings that any of these microscopes writes beside its image."""
    detector = microscope.detector
    return {
        "numerical_aperture": microscope.aperture,
        "refractive_index": microscope.refractive_index,
        "placement": microscope.placement,
        "exposure_s": {name: time for name, time in exposures.items() if time > 0},
        "excitation_um": {name: pair[0] for name, pair in waves.items()},
        "emission_um": {name: pair[1] for name, pair in waves.items()},
        "bits": detector.bits,
        "gain": detector.gain,
        "offset": detector.offset,
        "background_electrons": detector.background,
        "read_noise_electrons": detector.read_noise,
    }


def mesh(lattice: Lattice, pixel_um: Triple, psf_um: Triple) -> tuple[Whole, Whole]:
    """Pixels of a site and points of a pixel along (z, y, x), so that points sample the PSF and none lies in two voxels."""
    pixels, per_pixel = [], []
    for pixel, psf in zip(pixel_um, psf_um, strict=True):
        n = max(1, round(lattice.site_um / pixel))
        points = max(1, int(np.ceil(lattice.site_um / n / (psf / POINTS_ACROSS) - 1e-9)))
        while n * points % lattice.refinement:
            points += 1
        pixels.append(n)
        per_pixel.append(points)
    return (pixels[0], pixels[1], pixels[2]), (per_pixel[0], per_pixel[1], per_pixel[2])


def to_pixels(points: Floats, per_pixel: Whole, camera: bool) -> Floats:
    """Points put together to pixels: their mean; on a camera the sum across, as it catches all light that falls on a pixel."""
    (nz, ny, nx), (a, b, c) = points.shape, per_pixel
    mean = points.reshape(nz // a, a, ny // b, b, nx // c, c).mean(axis=(1, 3, 5), dtype=np.float64)
    return np.asarray(mean * (b * c if camera else 1))


def voxel_um(box: Box, per_pixel: Whole) -> Triple:
    """Edges of a pixel along (z, y, x)."""
    z, y, x = (step * n for step, n in zip(box.step_um, per_pixel, strict=True))
    return z, y, x


def origin_um(box: Box, step_um: Triple) -> Triple:
    """Centre of the first pixel in the lattice."""
    z, y, x = (float(corner + step / 2) for corner, step in zip(box.corner_um, step_um, strict=True))
    return z, y, x
