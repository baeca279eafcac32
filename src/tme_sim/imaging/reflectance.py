"""A camera over a body lit from its side: planar fluorescence, in the near infrared and beyond."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tme_sim.files.image import Image, Quantity
from tme_sim.imaging.base import Frame, generator
from tme_sim.imaging.diffuse_optics import VIEWS, Medium, View, folded
from tme_sim.imaging.macroscopic import CROSS_SECTION_UM2, Floats, Macroscope, diffusion_flag
from tme_sim.imaging.optical_properties import SKIN, SOFT, Tissue
from tme_sim.imaging.phantom import BODY, TUMOR, Phantom
from tme_sim.state.errors import InputError
from tme_sim.state.parameters import parameter

PER_CM2 = 1e8
"""1/µm² in 1/cm²."""
UNIT = "1/s/cm^2/sr"
SEEN = 3.0
"""Contrast over the noise below which a tumour is not told from its surroundings."""
UNSEEN = "below noise"


@dataclass(kw_only=True)
class Reflectance(Macroscope):
    """Lamp and camera on one side; radiance in photons, one pixel a voxel of the grid.

    Φ_x of the lamp, q = (σ Φ_F n + μ_af) Φ_x, Φ_m of that, and of the surface its exitance over π, as Lambert's law has it.
    """

    view: Literal["back", "belly", "left", "right"] = parameter("the body's side that camera and lamp look at")
    depth_um: float = parameter("skin over the body on this side, whole voxels of the grid", at_least=0, at_most=20000)
    irradiance_per_um2_s: float = parameter("photons of the lamp on the surface, per area and time", above=0)
    autofluorescence_per_um: float = parameter(
        "light that tissue itself emits, as photons per photon and length of its path", at_least=0, at_most=1e-4
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if abs(self.cover * self.grid_um - self.depth_um) > 1e-6 * self.grid_um:
            told = f"must be a multiple of the grid's {self.grid_um / 1e3:g} mm"
            raise InputError("depth", f"{self.depth_um / 1e3:g} mm", told)

    @property
    def cover(self) -> int:
        """Voxels of skin over the body."""
        return round(self.depth_um / self.grid_um)

    @property
    def outermost(self) -> Tissue:
        return SKIN if self.cover else SOFT

    def acquire(self, frame: Frame) -> list[Image]:
        view, dye = VIEWS[self.view], self.dye
        body = self.surroundings.body(frame, self.grid_um, self.depth_um + 2 * self.grid_um)
        shining, present = self.filled(frame, body)
        waves = {"excitation": dye.excitation_um, "emission": dye.emission_um}
        media = {name: self.medium(frame, body, wave, self.cover, view) for name, wave in waves.items()}
        glow = CROSS_SECTION_UM2 * dye.brightness * shining.density.astype(np.float64)
        shone = folded(glow, media["emission"].inside) + self.autofluorescence_per_um
        leaving = self.leaving(media["excitation"], media["emission"], shone, view)
        truth = self.irradiance_per_um2_s * view.along(glow).sum(axis=0) * self.grid_um / (4 * pi) * PER_CM2
        per_radiance = pi / PER_CM2 * self.grid_um**2 * self.efficiency  # photo-electrons per second and radiance
        noise_free = leaving / pi * PER_CM2
        exposure = self.exposed(noise_free * per_radiance)
        counts = self.detector.read(noise_free * per_radiance * exposure, generator(frame, "reflectance", self.view))
        data = self.detector.above_background(counts) / (per_radiance * exposure)
        labels, names = silhouettes(body, view)
        amounts = {name: present.amounts.get(name, 0.0) / body.volume_um3(name) for name in body.regions}
        flag = diffusion_flag(media)
        layers = {"noise_free": noise_free, "truth": truth}
        flat = {name: np.expand_dims(layer, view.axis).astype(np.float32) for name, layer in layers.items()}
        return [
            Image(
                name="reflectance",
                data=np.expand_dims(data, view.axis).astype(np.float32),
                voxel_um=(self.grid_um,) * 3,
                origin_um=_on_surface(body, media["emission"], view),
                unit=UNIT,
                time_s=frame.time_s,
                modality="optical",
                layers=flat,
                regions=np.expand_dims(labels, view.axis),
                region_names=names,
                quantities=tuple(measured(data, noise_free, labels, names, amounts, flag)),
                acquisition={
                    **self.common_settings(media, shining),
                    "view": self.view,
                    "depth_mm": self.depth_um / 1e3,
                    "exposure_s": exposure,
                    "truth": "light that the dyes under each pixel would send to the camera if there were no tissue",
                },
            )
        ]

    def leaving(self, excited: Medium, emitted: Medium, glow_per_um: Floats, view: View) -> Floats:
        """(rows, columns) emitted photons that leave the surface per area and time; glow: photons per photon and path."""
        lamp = excited.fluence(excited.first_scattering(self.irradiance_per_um2_s * self.transmitted, view))
        return emitted.exitance(emitted.fluence(lamp * glow_per_um), view)


def silhouettes(body: Phantom, view: View) -> tuple[NDArray[np.int16], dict[int, str]]:
    """(rows, columns) numbers of what lies below: the tumour first, then organs, and `body` where there is nothing else."""
    volume, names = body.labels(1)
    depths = view.along(volume)
    seen = np.zeros(depths.shape[1:], np.int16)
    for number in sorted(names, reverse=True):
        seen[(depths == number).any(axis=0)] = number
    return seen, names


def measured(
    data: Floats,
    noise_free: Floats,
    labels: NDArray[np.int16],
    names: Mapping[int, str],
    true_per_um3: Mapping[str, float],
    flag: str,
) -> list[Quantity]:
    """Radiance over each region as a reader draws it, and of the tumour its contrast with the body, beside that of the dye."""
    means = {name: float(data[labels == number].mean()) for number, name in names.items() if (labels == number).any()}
    rows = [Quantity(name, "radiance", mean, UNIT, flag) for name, mean in means.items()]
    around = labels == next((number for number, name in names.items() if name == BODY), -1)
    if TUMOR not in means or BODY not in means:
        return rows
    noise = float((data - noise_free)[around].std())
    contrast = (means[TUMOR] - means[BODY]) / noise if noise > 0 else float("inf")
    flags = ", ".join(word for word in (flag, UNSEEN if contrast < SEEN else "") if word)
    rows.append(Quantity(TUMOR, "contrast_to_noise", contrast, "1", flags))
    if means[BODY] > 0:
        rows.append(Quantity(TUMOR, "tumor_to_background", means[TUMOR] / means[BODY], "1", flags))
    if true_per_um3[BODY] > 0:
        rows.append(Quantity(TUMOR, "tumor_to_background_true", true_per_um3[TUMOR] / true_per_um3[BODY], "1"))
    return rows


def _on_surface(body: Phantom, medium: Medium, view: View) -> tuple[float, float, float]:
    """Centre of the first voxel, in a plane that touches the body where it is nearest to the camera."""
    index, is_there = view.surface(medium.inside)
    nearest = int(index[is_there].max() if view.upper else index[is_there].min())
    z, y, x = (float(body.grid.centres(axis)[nearest if axis == view.axis else 0]) for axis in range(3))
    return z, y, x
