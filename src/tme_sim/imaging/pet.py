"""Positron emission tomography of a body that holds the run's tumour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.files.image import Image
from tme_sim.imaging.base import generator
from tme_sim.imaging.blur import FWHM_PER_SIGMA, blur, margin_um
from tme_sim.imaging.embed import Embedded
from tme_sim.imaging.frame import Frame
from tme_sim.imaging.isotopes import Isotope, PositronRange, positron_emitter
from tme_sim.imaging.labels import pools
from tme_sim.imaging.noise import counted, decays
from tme_sim.imaging.surroundings import UM3_PER_ML, InBody
from tme_sim.imaging.uptake import Uptake, read_off
from tme_sim.numerics.blocks import block_mean
from tme_sim.state.errors import InputError
from tme_sim.state.label import Label
from tme_sim.state.parameters import given, parameter


@dataclass(kw_only=True)
class Pet(InBody):
    """A ⊗ positron range ⊗ Gaussian on the phantom's grid, averaged over the scanner's voxels; counts with noise; Bq/mL.

    A = a₀ 2^(−t/T½) · labels, on particles and off them, at the start of the scan. The trues of a voxel are
    S β⁺ V A (T½/ln 2)(1 − 2^(−Δt/T½)) times the share of pairs that leave the body; scatter and randoms are taken as corrected,
    their noise is in `excess_noise`. Positron range is that in water. Regions are the phantom's own.
    """

    grid_um: float = parameter("voxel of the phantom, at most a fifth of fwhm", above=0)
    voxel_um: float = parameter("voxel of the image, a multiple of grid", above=0)
    fwhm_um: float = parameter("width of the point spread", above=0)
    fwhm_contains_range: bool = parameter("whether fwhm contains the positron range, which is then not added")
    sensitivity: float = parameter("true coincidences per pair of photons that leaves the body", above=0, at_most=1)
    transmission: float = parameter("share of pairs that leave the body", above=0, at_most=1)
    scan_s: float = parameter("duration of the scan", above=0)
    reconstruction_fwhm_um: float = parameter("width of the reconstruction's kernel, which correlates the noise", at_least=0)
    excess_noise: float = parameter("variance of a region's counts over Poisson's, by reconstruction", default=1.0, at_least=1)
    peak_diameter_um: float = parameter("diameter of the sphere of the SUV's peak", above=0)
    label: Label = given("label")
    dose_times_s: tuple[float, ...] = given("protocol.times_s", default=(0.0,))

    def __post_init__(self) -> None:
        _ = self.surroundings
        if abs(self.factor * self.grid_um / self.voxel_um - 1) > 1e-9:
            raise InputError(
                "voxel", f"{self.voxel_um / 1e3:g} mm", f"must be a multiple of the grid's {self.grid_um / 1e3:g} mm"
            )
        if self.grid_um > 0.2 * self.fwhm_um * (1 + 1e-9):
            raise InputError("grid", f"{self.grid_um / 1e3:g} mm", f"must be at most a fifth of fwhm, {self.fwhm_um / 5e3:g} mm")
        positron_emitter(self.label.name)
        if self.dose_times_s != (0.0,):
            times = ", ".join(f"{time_s / 3600:g} h" for time_s in self.dose_times_s)
            raise InputError("protocol.times", times, "must be 0 h for PET, which counts the label's decay from the run's start")
        if self.label.activity_Bq == 0:
            raise InputError("nanoparticle.label.activity", "0 Bq", "must be above 0 for PET to see the label")

    @property
    def factor(self) -> int:
        """Voxels of the grid along the edge of one of the image."""
        return max(1, round(self.voxel_um / self.grid_um))

    @property
    def isotope(self) -> Isotope:
        """What the label is."""
        return positron_emitter(self.label.name)

    @property
    def ranges(self) -> tuple[PositronRange, ...]:
        """Positron ranges that come on top of fwhm."""
        return () if self.fwhm_contains_range else self.isotope.ranges

    def acquire(self, frame: Frame) -> list[Image]:
        body = self.surroundings.body(frame, self.grid_um, margin_um(self.fwhm_um, self.ranges), self.factor)
        embedded = self.surroundings.filled(frame, body, pools(frame))
        assert self.label.half_life_s is not None
        decayed = self.label.activity_Bq * 2 ** (-frame.time_s / self.label.half_life_s)
        activity = embedded.density * np.float32(decayed * UM3_PER_ML)
        truth = block_mean(activity, self.factor)
        noise_free = block_mean(blur(activity, self.grid_um, self.fwhm_um, self.ranges), self.factor)
        counts_per_activity = self._counts_per_activity()
        data = self._noisy(noise_free, counts_per_activity, frame)
        labels, names = body.labels(self.factor)
        quantities = read_off(
            data,
            noise_free,
            labels,
            names,
            {name: decayed * UM3_PER_ML * embedded.amounts.get(name, 0.0) / body.volume_um3(name) for name in body.regions},
            Uptake(injected_Bq=decayed * frame.injected, body_mass_g=frame.body.mass_g, density_g_per_mL=self.density_g_per_mL),
            counts_per_Bq_per_mL=counts_per_activity,
            peak_voxels=self.peak_diameter_um / self.voxel_um,
        )
        z, y, x = (c + self.voxel_um / 2 for c in body.grid.corner_um)
        image = Image(
            name="pet",
            data=data,
            voxel_um=(self.voxel_um,) * 3,
            origin_um=(z, y, x),
            unit="Bq/mL",
            time_s=frame.time_s,
            modality="PET",
            layers={"truth": truth, "noise_free": noise_free},
            regions=labels,
            region_names=names,
            quantities=quantities,
            acquisition=self._acquisition(frame, embedded),
        )
        return [image]

    def _counts_per_activity(self) -> float:
        """Trues of a voxel per Bq/mL in it."""
        assert self.label.half_life_s is not None
        seen = self.sensitivity * self.transmission * self.isotope.positron_fraction
        volume_mL = self.voxel_um**3 / UM3_PER_ML
        return seen * decays(volume_mL, self.label.half_life_s, self.scan_s)

    def _noisy(self, noise_free: NDArray[Any], counts_per_activity: float, frame: Frame) -> NDArray[np.float32]:
        counts = counted(
            noise_free.astype(np.float64) * counts_per_activity,
            generator(frame, "pet", "counts"),
            sigma_voxels=self.reconstruction_fwhm_um / FWHM_PER_SIGMA / self.voxel_um,
            excess=self.excess_noise,
        )
        return (counts / counts_per_activity).astype(np.float32)

    def _acquisition(self, frame: Frame, embedded: Embedded) -> dict[str, Any]:
        mass, element = self.isotope.name.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"), self.isotope.name
        return {
            "TracerRadionuclide": element[len(mass) :] + mass,
            "InjectedRadioactivity": frame.injected * self.label.activity_Bq * 1e-6,
            "InjectedRadioactivityUnits": "MBq",
            "FrameDuration": [self.scan_s],
            "Phantom": self.phantom,
            "PointSpreadFWHM_mm": self.fwhm_um / 1e3,
            "PositronRangeAdded": bool(self.ranges),
            "Sensitivity": self.sensitivity,
            "Transmission": self.transmission,
            "NoiseCorrelationFWHM_mm": self.reconstruction_fwhm_um / 1e3,
            "TumorMass_g": frame.tumor_mass_g,
            "LatticesInTumor": embedded.tiles,
            "EffectiveLatticesInTumor": embedded.effective_tiles,
            "LargestPatchCorrection": embedded.fit,
            "LabelsOutsideTheImage": max(0.0, 1 - sum(embedded.amounts.values()) / frame.injected) if frame.injected else 0.0,
        }
