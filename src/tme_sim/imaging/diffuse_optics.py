"""Light that diffuses in tissue: −∇·D∇Φ + μ_a Φ = q with D = 1/(3(μ_a + μ_s′)), and Φ = −z_b ∂Φ/∂n at the surface, z_b = 2AD."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from tme_sim.numerics.elliptic import EllipticSolver
from tme_sim.numerics.faces import face_conductances

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

SMOOTH = 1.0
"""Voxels over which the surface's direction is taken."""


@dataclass(frozen=True)
class View:
    """Where a camera or lamp stands: beyond the upper (or lower) end of an axis of (z, y, x)."""

    axis: int
    upper: bool

    def along(self, volume: NDArray[Any]) -> NDArray[Any]:
        """The volume with this axis first, from the camera inwards."""
        first = np.moveaxis(volume, self.axis, 0)
        return first[::-1] if self.upper else first

    def surface(self, inside: Mask) -> tuple[NDArray[np.int64], Mask]:
        """(rows, columns) index along the axis of the first voxel of tissue, and whether there is one."""
        seen = self.along(inside)
        depth = np.argmax(seen, axis=0)
        return np.asarray(len(seen) - 1 - depth if self.upper else depth), np.asarray(seen.any(axis=0))

    def pick(self, volume: Floats, index: NDArray[np.int64]) -> Floats:
        """(rows, columns) values at these indices along the axis."""
        return np.take_along_axis(volume, np.expand_dims(index, self.axis), self.axis).squeeze(self.axis)


VIEWS = {
    "back": View(1, upper=False),
    "belly": View(1, upper=True),
    "left": View(2, upper=False),
    "right": View(2, upper=True),
}


@dataclass(frozen=True, eq=False)
class Medium:
    """Tissue on cubic voxels: (z, y, x) μ_a and μ_s′ in 1/µm, and where there is any; the array's own edges are mirrors.

    boundary: A of the surface.
    """

    absorption_per_um: Floats
    scattering_per_um: Floats
    inside: Mask
    voxel_um: float
    boundary: float

    @cached_property
    def diffusion_um(self) -> Floats:
        """D, 0 where there is no tissue."""
        return np.where(self.inside, 1 / (3 * np.where(self.inside, self.absorption_per_um + self.scattering_per_um, 1)), 0)

    @cached_property
    def exitance_per_fluence(self) -> Floats:
        """Light that leaves a surface's area over the fluence in its voxel: 1/(h/2D + 2A), half a voxel and the boundary."""
        resistance = 0.5 * self.voxel_um / np.where(self.inside, self.diffusion_um, 1) + 2 * self.boundary
        return np.where(self.inside, 1 / resistance, 0)

    @cached_property
    def escape_per_um(self) -> Floats:
        """Light that leaves a voxel over its fluence and volume: by each open face, as wide as the surface that it stands for.

        A slanting surface is a staircase on voxels; a face along an axis is counted by the normal's part along it, which
        makes its area true.
        """
        slope = np.stack(np.gradient(ndimage.gaussian_filter(self.inside.astype(np.float64), SMOOTH, mode="nearest")))
        steep = np.sqrt((slope**2).sum(axis=0))
        area = np.zeros(self.inside.shape)
        for axis in range(3):
            here = np.moveaxis(self.inside, axis, 0)
            part = np.moveaxis(np.where(steep > 0, np.abs(slope[axis]) / np.where(steep > 0, steep, 1), 1), axis, 0)
            open_faces = np.moveaxis(area, axis, 0)
            open_faces[1:] += (here[1:] & ~here[:-1]) * part[1:]
            open_faces[:-1] += (here[:-1] & ~here[1:]) * part[:-1]
        return area * self.exitance_per_fluence / self.voxel_um

    @cached_property
    def _solver(self) -> EllipticSolver:
        return EllipticSolver(face_conductances(self.diffusion_um, self.voxel_um, self.inside.shape))

    def fluence(self, source: ArrayLike, tolerance: float = 1e-8) -> Floats:
        """(z, y, x) fluence rate in 1/(µm² s) of photons set free at (z, y, x) 1/(µm³ s); 0 outside tissue.

        Each is absorbed or leaves: Σ q = Σ (μ_a + escape) Φ. Raises NotSolvedError where no light can be lost.
        """
        fluence = np.zeros(self.inside.shape)
        sink = np.where(self.inside, self.absorption_per_um, 0) + self.escape_per_um
        self._solver.solve(sink, np.where(self.inside, source, 0), fluence, tolerance)
        return fluence

    def first_scattering(self, irradiance: ArrayLike, view: View) -> Floats:
        """(z, y, x) photons per volume and time that a beam along an axis scatters first: I μ_s′ e^(−∫ μ_a + μ_s′).

        irradiance: (rows, columns) or one number, in 1/(µm² s), that has entered; exact over each voxel.
        """
        lost = view.along(np.where(self.inside, self.absorption_per_um + self.scattering_per_um, 0)).astype(np.float64)
        after = np.exp(-np.cumsum(lost, axis=0) * self.voxel_um)
        before = np.concatenate([np.ones_like(after[:1]), after[:-1]])
        total = np.where(self.inside, self.absorption_per_um + self.scattering_per_um, 1)
        source = np.zeros(self.inside.shape)
        view.along(source)[...] = (before - after) / self.voxel_um * np.asarray(irradiance)
        return np.asarray(source * self.scattering_per_um / total)

    def exitance(self, fluence: Floats, view: View) -> Floats:
        """(rows, columns) photons per area of the surface and time that leave it towards a camera; 0 beside the body.

        Averaged over light's transport mean free path, below which diffusion tells nothing, but the voxels' staircase would.
        """
        index, is_there = view.surface(self.inside)
        leaving = np.where(is_there, view.pick(fluence * self.exitance_per_fluence, index), 0)
        path = 1 / float((self.absorption_per_um + self.scattering_per_um)[self.inside].mean())
        mean, weight = (
            ndimage.gaussian_filter(a, path / self.voxel_um, mode="nearest") for a in (leaving, is_there.astype(np.float64))
        )
        return np.where(is_there, mean / np.where(is_there, weight, 1), 0)


def folded(amounts: NDArray[Any], inside: Mask) -> Floats:
    """(z, y, x) amounts, with those of voxels that are less than half tissue put into the nearest that counts as tissue."""
    kept = np.where(inside, amounts, 0.0)
    outside = np.nonzero((amounts != 0) & ~inside)
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    np.add.at(kept, tuple(nearest[axis][outside] for axis in range(3)), np.asarray(amounts)[outside])
    return np.asarray(kept)


def attenuation_per_um(absorption_per_um: float, scattering_per_um: float) -> float:
    """μ_eff = √(μ_a/D), by which light falls off far from where it came."""
    return float(np.sqrt(3 * absorption_per_um * (absorption_per_um + scattering_per_um)))


def half_space_escape(absorption_per_um: float, scattering_per_um: float, depth_um: float, boundary: float) -> float:
    """Share of light from a depth below a flat surface that leaves: e^(−μd)/(1 + μ z_b), Φ = −z_b ∂Φ/∂n solved exactly.

    (e^(−μd) + e^(−μ(d + 2 z_b)))/2, with Φ = 0 at z_b above the surface in its place, differs by (μ z_b)³/3 of it.
    """
    decay = attenuation_per_um(absorption_per_um, scattering_per_um)
    beyond = 2 * boundary / (3 * (absorption_per_um + scattering_per_um))
    return float(np.exp(-decay * depth_um) / (1 + decay * beyond))
