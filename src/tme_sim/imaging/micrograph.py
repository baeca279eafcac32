"""What all fluorescence microscopes here share: colours, exposure, and how points become pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tme_sim.imaging.anatomy import Anatomy
from tme_sim.imaging.base import Frame, Readout, generator
from tme_sim.imaging.box import Box, Triple, Whole
from tme_sim.imaging.detector import BRIGHTEST, Detector, exposure_s
from tme_sim.imaging.optics import Objective
from tme_sim.imaging.placement import Placed, evenly, place
from tme_sim.imaging.stains import DYES, STAINS_UM, Channel, Dyes, Name, channel
from tme_sim.state.errors import InputError
from tme_sim.state.fluorescence import Fluorescence
from tme_sim.state.label import Label
from tme_sim.state.lattice import Lattice
from tme_sim.state.parameters import given, parameter

Floats = NDArray[Any]

See = Callable[[Channel], tuple[Floats, Floats]]


@dataclass(frozen=True)
class Pictures:
    """All channels, (channel, z, y, x): counts, their mean without noise, and by ideal optics, above the background.

    exposure_s: of the dyes; share: channel → light by compartment.
    """

    counts: NDArray[np.float32]
    noise_free: NDArray[np.float32]
    truth: NDArray[np.float32]
    exposure_s: Mapping[str, float]
    share: Mapping[str, Mapping[str, float]]


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

    def take(self, frame: Frame, colours: Iterable[Channel], see: See, *purpose: str) -> Pictures:
        """The channels one by one: exposed as their operator would, with noise by its purpose.

        see: light of a channel → (z, y, x) of pixels, through the optics and through ideal ones.
        """
        layers, exposures, share = [], {}, {}
        for colour in colours:
            light, ideal = see(colour)
            scale, time_s = self._exposed(colour.name, light)
            counts = self.detector.read(light * scale, generator(frame, *purpose, colour.name))
            layers.append((counts, self.detector.mean_counts(light * scale), ideal * (scale * self.detector.gain)))
            share[colour.name] = colour.share
            if time_s is not None:
                exposures[colour.name] = time_s
        counts, noise_free, truth = (np.stack(layer).astype(np.float32) for layer in zip(*layers, strict=True))
        return Pictures(counts, noise_free, truth, exposures, share)

    def _exposed(self, name: str, light: Floats) -> tuple[float, float | None]:
        """Photo-electrons per unit of light, and the exposure that gives them; of a stain as many as are wanted of it."""
        if name in DYES:
            per_s = self.excitations_per_s * self.efficiency
            time_s = self.exposure_s or exposure_s(light * per_s, self.detector, self.longest_exposure_s)
            return per_s * time_s, time_s
        brightest = float(np.percentile(light, BRIGHTEST)) or float(light.max())
        return self.stain_electrons / brightest if brightest > 0 else 0.0, None

    def settings(self, pictures: Pictures) -> dict[str, Any]:
        """What any of these microscopes writes beside its image."""
        detector = self.detector
        return {
            "numerical_aperture": self.aperture,
            "refractive_index": self.refractive_index,
            "placement": self.placement,
            "exposure_s": dict(pictures.exposure_s),
            "wavelengths_um": self.wavelengths_um(),
            "bits": detector.bits,
            "gain": detector.gain,
            "offset": detector.offset,
            "background_electrons": detector.background,
            "read_noise_electrons": detector.read_noise,
        }


def to_pixels(points: Floats, per_pixel: Whole, camera: bool) -> Floats:
    """Points put together to pixels: their mean; on a camera the sum across, as it catches all light that falls on a pixel."""
    (nz, ny, nx), (a, b, c) = points.shape, per_pixel
    mean = points.reshape(nz // a, a, ny // b, b, nx // c, c).mean(axis=(1, 3, 5), dtype=np.float64)
    return np.asarray(mean * (b * c if camera else 1))


def origin_um(box: Box, pixel_um: Triple) -> Triple:
    """Centre of the first pixel in the lattice."""
    z, y, x = (float(corner + edge / 2) for corner, edge in zip(box.corner_um, pixel_um, strict=True))
    return z, y, x
