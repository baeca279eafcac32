"""What instruments share that look at a whole body's fluorescence: its dyes, its tissue's optics, its light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.imaging.base import Frame
from tme_sim.imaging.detector import Detector, exposure_s
from tme_sim.imaging.diffuse_optics import VIEWS, Medium, View
from tme_sim.imaging.embed import Embedded
from tme_sim.imaging.fluorophore import PH
from tme_sim.imaging.labels import DETACHED, Pools, pools
from tme_sim.imaging.optical_properties import SKIN, SKIN_BLOOD, SOFT, TISSUES, Tissue, boundary_factor, check_wavelength
from tme_sim.imaging.phantom import TUMOR, Phantom
from tme_sim.imaging.surroundings import InBody
from tme_sim.state.errors import InputError
from tme_sim.state.fluorescence import Fluorescence
from tme_sim.state.label import Label
from tme_sim.state.parameters import given, parameter

Floats = NDArray[np.float64]

CROSS_SECTION_UM2 = log(10) * 1e3 * 1e8 / 6.02214076e23
"""Area that absorbs, of one molecule with ε = 1/(M cm)."""
CELL_PH = 5.0
"""pH around carriers in organs, which are in cells there (assumed)."""
FREE_PH = 7.2
"""pH around what has come off them (assumed)."""
COARSEST = 3.0
"""Transport mean free paths that a voxel may be wide."""
SCATTERED = 3.0
"""Light diffuses where it is scattered so many times as often as absorbed, or more."""
NOT_DIFFUSE = "absorption near scattering"


@dataclass(kw_only=True)
class Macroscope(InBody):
    """The body, its dyes and its tissue; light diffuses, and dyes take none of it from each other (Born's approximation)."""

    grid_um: float = parameter("voxel in which light diffuses", at_least=100, at_most=5000)
    saturation: float = parameter("of tissue's haemoglobin with oxygen", at_least=0, at_most=1)
    refractive_index: float = parameter("of tissue against air", at_least=1, at_most=1.6)
    band_um: tuple[float, ...] = parameter("shortest and longest wavelength that the camera sees", above=0)
    excitation_um: float | None = parameter("wavelength of the lamp; null: the dye's", default=None, above=0)
    emission_um: float | None = parameter("wavelength of the light that is seen; null: the dye's", default=None, above=0)
    efficiency: float = parameter(
        "photo-electrons per photon that leaves the surface: collection, filters, quantum efficiency", above=0, at_most=1
    )
    exposure_s: float | None = parameter("time per picture; null: so that the brightest are at half of full scale", above=0)
    longest_exposure_s: float = parameter("as long as an operator waits for that", above=0)
    detector: Detector = parameter("camera")
    label: Label | None = given("nanoparticle.label", default=None)
    diameter_um: float = given("nanoparticle.hydrodynamic_diameter_um", default=0.05)

    def __post_init__(self) -> None:
        _ = self.surroundings
        dye = self.dye
        for field, wave in (("excitation", dye.excitation_um), ("emission", dye.emission_um)):
            check_wavelength(field if getattr(self, f"{field}_um") else f"nanoparticle.label.fluorescence.{field}", wave)
        if len(self.band_um) != 2 or not self.band_um[0] <= dye.emission_um <= self.band_um[1]:
            seen = "-".join(f"{1e3 * wave:g}" for wave in self.band_um)
            told = f"must hold the dye's emission, {1e3 * dye.emission_um:g} nm; take an instrument that sees it"
            raise InputError("band", f"{seen} nm", told)
        path = min(1 / self.outermost.scattering_per_um(wave) for wave in (dye.excitation_um, dye.emission_um))
        if self.grid_um > COARSEST * path:
            most = f"{COARSEST:g} transport mean free paths, {COARSEST * path / 1e3:.2g} mm"
            told = f"must be at most {most}, to tell where light enters"
            raise InputError("grid", f"{self.grid_um / 1e3:g} mm", told)

    @property
    def outermost(self) -> Tissue:
        """What light enters first."""
        return SOFT

    @property
    def dye(self) -> Fluorescence:
        """What glows. Raises InputError where nothing does."""
        dye = None if self.label is None else self.label.fluorescence
        if dye is None:
            told = "is not on the card, nothing of it glows; take a card with a dye"
            raise InputError("nanoparticle.label.fluorescence", None, told)
        return replace(
            dye, excitation_um=self.excitation_um or dye.excitation_um, emission_um=self.emission_um or dye.emission_um
        )

    @property
    def transmitted(self) -> float:
        """Light of a lamp that enters: what Fresnel's reflection at right angles leaves."""
        return 1 - ((self.refractive_index - 1) / (self.refractive_index + 1)) ** 2

    def brightness(self, where: str, form: str, labels: float) -> float:
        """Dyes that would shine unquenched as bright as one carrier, or as the label that came off one."""
        dye, number = self.dye, self.dye.dyes * labels
        if form == DETACHED:
            return number * float(dye.at_pH(PH["blood"] if where == "blood" else FREE_PH))
        free = form == "released" and dye.dequenched_by_release
        pH = dye.core_pH if dye.core_pH is not None else PH.get(where, CELL_PH)
        return number * (1.0 if free else dye.unquenched(number, self.diameter_um)) * float(dye.at_pH(pH))

    def molecules(self, where: str, form: str, labels: float) -> float:
        """Dyes on one carrier, or in the label that came off one."""
        return self.dye.dyes * labels

    def filled(self, frame: Frame, body: Phantom) -> tuple[Embedded, Embedded]:
        """Dyes in the body, by their light and by their number."""
        held: list[Pools] = [pools(frame, worth) for worth in (self.brightness, self.molecules)]
        shining, present = (self.surroundings.filled(frame, body, each) for each in held)
        return shining, present

    def medium(self, frame: Frame, body: Phantom, wavelength_um: float, cover: int = 0, view: View = VIEWS["right"]) -> Medium:
        """The body's tissue for light of a wavelength, under `cover` voxels of skin on the side of the camera."""
        share, absorbed, scattered = (np.zeros(body.grid.shape) for _ in range(3))
        for region, (box, filled) in body.regions.items():
            tissue, blood = TISSUES.get(region, SOFT), body.blood.get(region, 0.0)
            blood = blood_of_tumor(frame) if region == TUMOR else blood
            share[box] += filled
            absorbed[box] += filled * tissue.absorption_per_um(wavelength_um, blood, self.saturation)
            scattered[box] += filled * tissue.scattering_per_um(wavelength_um)
        inside = share >= 0.5
        absorbed, scattered = (np.where(inside, value / np.where(inside, share, 1), 0) for value in (absorbed, scattered))
        skin = covering(inside, cover, view)
        absorbed[skin] = SKIN.absorption_per_um(wavelength_um, SKIN_BLOOD, self.saturation)
        scattered[skin] = SKIN.scattering_per_um(wavelength_um)
        return Medium(absorbed, scattered, inside | skin, body.grid.voxel_um, boundary_factor(self.refractive_index))

    def exposed(self, electrons_per_s: Floats) -> float:
        """The exposure: given, or as an operator sets it."""
        return self.exposure_s or exposure_s(electrons_per_s, self.detector, self.longest_exposure_s)

    def common_settings(self, media: Mapping[str, Medium], embedded: Embedded) -> dict[str, Any]:
        """What an image tells of how it was made."""
        tissue = {f"{name}_{what}_per_cm": value for name, m in media.items() for what, value in optics_of(m).items()}
        return {
            "Phantom": self.phantom,
            "excitation_nm": 1e3 * self.dye.excitation_um,
            "emission_nm": 1e3 * self.dye.emission_um,
            "efficiency": self.efficiency,
            "read_noise_electrons": self.detector.read_noise,
            "background_electrons": self.detector.background,
            "oxygen_saturation": self.saturation,
            "LatticesInTumor": embedded.tiles,
            **tissue,
        }


def blood_of_tumor(frame: Frame) -> float:
    """Share of the tumour that is in vessels."""
    inside = frame.fields["inside"]
    return float((frame.fields["lumen_fraction"] * inside).sum() / inside.sum())


def covering(inside: NDArray[np.bool_], voxels: int, view: View) -> NDArray[np.bool_]:
    """The voxels without tissue that so thick a layer on the side of the camera takes. It must have room."""
    seen = view.along(inside)
    covered = seen.copy()
    for _ in range(voxels):
        covered[:-1] |= covered[1:]
    layer = np.zeros_like(inside)
    view.along(layer)[...] = covered & ~seen
    return layer


def optics_of(medium: Medium) -> dict[str, float]:
    """Mean absorption and reduced scattering of the tissue, in 1/cm."""
    return {
        "absorption": 1e4 * float(medium.absorption_per_um[medium.inside].mean()),
        "scattering": 1e4 * float(medium.scattering_per_um[medium.inside].mean()),
    }


def diffusion_flag(media: Mapping[str, Medium]) -> str:
    """A word of warning where light is absorbed about as soon as scattered, which diffusion cannot tell."""
    mean = [optics_of(medium) for medium in media.values()]
    return NOT_DIFFUSE if any(m["scattering"] < SCATTERED * m["absorption"] for m in mean) else ""
