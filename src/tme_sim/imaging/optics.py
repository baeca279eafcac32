"""Point spread functions of fluorescence microscopes from one scalar pupil."""

from __future__ import annotations

from dataclasses import dataclass
from math import asin, ceil, log, pi, sqrt, tan
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.signal import fftconvolve

Floats = NDArray[np.floating]
Kind = Literal["widefield", "confocal", "two_photon", "light_sheet"]
Triple = tuple[float, float, float]

LATERAL = 0.514
"""FWHM of the Airy disc over λ/NA."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """An objective lens: numerical aperture and the refractive index in front of it; wavelengths are those in vacuum."""

    aperture: float
    index: float

    def lateral_um(self, wavelength_um: float) -> float:
        """Full width at half maximum in the plane, 0.514 λ/NA."""
        return LATERAL * wavelength_um / self.aperture

    def axial_um(self, wavelength_um: float) -> float:
        """Full width at half maximum along the axis, 0.886 λ/(n − √(n² − NA²)): sinc² of the pupil's spread of k_z."""
        return 0.886 * wavelength_um / (self.index - sqrt(self.index**2 - self.aperture**2))

    def widefield(self, wavelength_um: float, z_um: Floats, side: int, step_um: float) -> Floats:
        """(z, side, side) intensity of a point source, centred, at the defocus z; every plane adds up to 1.

        h = |FFT⁻¹{P(k) exp(2πi z √(n²/λ² − k²))}|² with a uniform pupil of radius NA/λ, its edge shared by the frequencies
        that it cuts. The sum over a plane is the same at all z by Parseval's theorem; step_um must be below λ/(2 NA).
        """
        frequency = fft.fftfreq(side, step_um)
        radial2 = frequency[:, None] ** 2 + frequency[None, :] ** 2
        cells = (self.aperture / wavelength_um - np.sqrt(radial2)) * side * step_um
        pupil = np.clip(cells + 0.5, 0, 1)
        axial = np.sqrt(np.maximum((self.index / wavelength_um) ** 2 - radial2, 0))
        total = np.sum(pupil**2) / side**2
        planes = [np.abs(fft.ifft2(pupil * np.exp(2j * pi * z * axial))) ** 2 / total for z in z_um]
        return np.asarray(fft.fftshift(planes, axes=(1, 2)))


@dataclass(frozen=True, kw_only=True)
class Optics:
    """How light gets to a point and back from it.

    kind: `widefield`, all is lit; `confocal`, excitation × detection through a pinhole (diameter in Airy units, 1.22 λ/NA);
    `two_photon`, excitation squared, everything collected; `light_sheet`, a Gaussian sheet (FWHM) × wide-field detection.
    """

    kind: Kind
    objective: Objective
    pinhole_airy: float = 1.0
    sheet_um: float = 5.0

    def lateral_um(self, excitation_um: float, emission_um: float) -> float:
        """Approximate width of the PSF in the plane: of a product of Gaussians 1/√(Σ 1/w²)."""
        lit, seen = self.objective.lateral_um(excitation_um), self.objective.lateral_um(emission_um)
        if self.kind == "two_photon":
            return lit / sqrt(2)
        return 1 / sqrt(lit**-2 + seen**-2) if self.kind == "confocal" else seen

    def axial_um(self, excitation_um: float, emission_um: float) -> float:
        """Approximate width of the PSF along the axis, as in `lateral_um`."""
        lit, seen = self.objective.axial_um(excitation_um), self.objective.axial_um(emission_um)
        if self.kind == "two_photon":
            return lit / sqrt(2)
        if self.kind == "confocal":
            return 1 / sqrt(lit**-2 + seen**-2)
        return 1 / sqrt(self.sheet_um**-2 + seen**-2) if self.kind == "light_sheet" else seen

    def psf(self, excitation_um: float, emission_um: float, step_um: Triple, reach_um: float | None = None) -> Floats:
        """(z, y, x), odd edges, centred: photons that reach the detector of one emitted there, per photon emitted at best.

        Scanned (confocal, two-photon): share of the largest excitation × share through the pinhole, so the centre is 1 with a
        wide pinhole. On a camera: what of the collected light falls on a pixel of the step, times the sheet's intensity there.
        reach_um: half of the axial extent; by default where little is left.
        """
        reach = self._axial_reach_um(excitation_um, emission_um) if reach_um is None else reach_um
        z_um = np.arange(-ceil(reach / step_um[0]), ceil(reach / step_um[0]) + 1) * step_um[0]
        side = self._side(excitation_um, emission_um, reach, step_um[1])
        if self.kind == "two_photon":
            return self._lit(excitation_um, z_um, side, step_um[1]) ** 2
        seen = self.objective.widefield(emission_um, z_um, side, step_um[1])
        if self.kind == "confocal":
            passed = fftconvolve(seen, _disc(self.pinhole_airy * 0.61 * emission_um / self.objective.aperture, step_um[1])[None])
            cut = (passed.shape[1] - side) // 2
            through = np.maximum(passed[:, cut : cut + side, cut : cut + side], 0)
            return np.asarray(self._lit(excitation_um, z_um, side, step_um[1]) * through)
        if self.kind == "light_sheet":
            seen = seen * np.exp(-4 * log(2) * (z_um / self.sheet_um) ** 2)[:, None, None]
        return seen

    def section(self, excitation_um: float, emission_um: float, planes: int, step_um: Triple) -> Floats:
        """(planes, y, x) of a section, wide-field: each plane of it as a camera sees it that is focused on the middle."""
        z_um = (np.arange(planes) - (planes - 1) / 2) * step_um[0]
        side = self._side(excitation_um, emission_um, float(np.abs(z_um).max()), step_um[1])
        return self.objective.widefield(emission_um, z_um, side, step_um[1])

    def _lit(self, wavelength_um: float, z_um: Floats, side: int, step_um: float) -> Floats:
        lit = self.objective.widefield(wavelength_um, z_um, side, step_um)
        return np.asarray(lit / lit.max())

    def _axial_reach_um(self, excitation_um: float, emission_um: float) -> float:
        if self.kind == "light_sheet":
            return self.sheet_um
        return 2 * self.axial_um(excitation_um, emission_um)

    def _side(self, excitation_um: float, emission_um: float, reach_um: float, step_um: float) -> int:
        """Odd number of points across: the cone of light at the ends of the reach, and the rings of the focus around it."""
        cone = reach_um * tan(asin(min(self.objective.aperture / self.objective.index, 0.999)))
        half = cone + 6 * self.objective.lateral_um(max(excitation_um, emission_um))
        return 2 * ceil(half / step_um) + 1


def _disc(radius_um: float, step_um: float) -> Floats:
    """(n, n) share of each point's cell within a disc around the middle, edges sampled 5 × 5."""
    half = ceil(radius_um / step_um)
    fine = (np.arange((2 * half + 1) * 5) - (2 * half + 1) * 2.5 + 0.5) / 5 * step_um
    inside = (fine[:, None] ** 2 + fine[None, :] ** 2 <= radius_um**2).astype(np.float64)
    return np.asarray(inside.reshape(2 * half + 1, 5, 2 * half + 1, 5).mean(axis=(1, 3)))


def blur(emission: Floats, psf: Floats, planes: int = 1) -> Floats:
    """(z/planes, y, x) light in focus: the emission convolved with the PSF, mean over `planes` planes of focus; float32.

    Beyond its borders the emission is mirrored, as if the tissue went on alike: what leaves on one side comes back in.
    """
    transforms, spectra = _Transforms(emission.shape, psf.shape), []
    light = [transforms.forward(plane, mirrored=True) for plane in emission]
    spread = [transforms.forward(plane / planes) for plane in psf]
    half, n = len(psf) // 2, len(emission)
    for first in range(0, n, planes):
        total = np.zeros_like(light[0])
        for focus in range(first, first + planes):
            for k, transfer in enumerate(spread):
                at = (focus + half - k) % (2 * n)
                total += light[min(at, 2 * n - 1 - at)] * transfer
        spectra.append(total)
    return np.stack([transforms.back(total) for total in spectra])


def project(emission: Floats, psf: Floats) -> Floats:
    """(y, x) light on a camera focused on the middle of a section: plane k is blurred by plane k of the PSF, borders mirrored.

    emission, psf: the same number of planes.
    """
    transforms = _Transforms(emission.shape, psf.shape)
    pairs = zip(emission, psf, strict=True)
    total = sum(transforms.forward(plane, mirrored=True) * transforms.forward(spread) for plane, spread in pairs)
    return transforms.back(np.asarray(total))


class _Transforms:
    """Planes to spectra and back, wide enough for a mirrored border as wide as half of the PSF."""

    def __init__(self, light: tuple[int, ...], psf: tuple[int, ...]) -> None:
        self.size, self.half = light[1:], [(n - 1) // 2 for n in psf[1:]]
        self.shape = [fft.next_fast_len(n + 2 * h, True) for n, h in zip(self.size, self.half, strict=True)]

    def forward(self, plane: Floats, mirrored: bool = False) -> NDArray[np.complex64]:
        """Spectrum of a plane of light, or of the PSF."""
        plane = np.asarray(plane, np.float32)
        wide = np.pad(plane, [(h, h) for h in self.half], mode="symmetric") if mirrored else plane
        return np.asarray(fft.rfft2(wide, self.shape))

    def back(self, spectrum: NDArray[np.complex64]) -> Floats:
        """The plane without its border."""
        (h, w), (ny, nx) = self.half, self.size
        return np.asarray(np.maximum(fft.irfft2(spectrum, self.shape)[2 * h : 2 * h + ny, 2 * w : 2 * w + nx], 0))


def attenuation(depth_um: Floats, per_um: float) -> Floats:
    """exp(−μ z): what is left of light that goes in and comes back through tissue this deep; μ is the sum of both ways'."""
    return np.asarray(np.exp(-per_um * depth_um))
