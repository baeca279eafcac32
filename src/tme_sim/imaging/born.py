"""Fluorescence tomography by the normalised Born approximation: what each reading weighs where, and the inverse of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from tme_sim.imaging.diffuse_optics import Medium, View, folded
from tme_sim.imaging.solids import Region

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Numbers = NDArray[np.floating[Any]]

TOLERANCE = 1e-7
"""Of the fields of light, far below any noise."""


@dataclass(frozen=True)
class Spots:
    """Places on the surface, in the columns along a view's axis: (spot, 2) rows and columns."""

    view: View
    at: NDArray[np.int64]

    def beam(self, medium: Medium, spot: int) -> Floats:
        """(z, y, x) photons scattered first, of one per time that enters there."""
        irradiance = np.zeros(medium.inside.sum(axis=self.view.axis).shape)
        irradiance[tuple(self.at[spot])] = 1 / medium.voxel_um**2
        return medium.first_scattering(irradiance, self.view)

    def voxels(self, medium: Medium) -> tuple[NDArray[np.int64], ...]:
        """Indices (z, y, x) of the voxels at the surface."""
        index, _ = self.view.surface(medium.inside)
        row, column = self.at.T
        place = [row, column]
        place.insert(self.view.axis, index[row, column])
        return tuple(place)


def spread_spots(inside: NDArray[np.bool_], view: View, spacing: int, margin: int) -> Spots:
    """Spots in a square pattern over the body's silhouette, `margin` voxels within it, at its middle."""
    _, is_there = view.surface(inside)
    padded = np.pad(is_there, margin)
    kept = np.all(
        [np.roll(padded, (a, b), (0, 1)) for a in range(-margin, margin + 1) for b in range(-margin, margin + 1)], axis=0
    )[margin : padded.shape[0] - margin, margin : padded.shape[1] - margin]
    found = np.argwhere(kept)
    if not len(found):
        return Spots(view, np.zeros((0, 2), np.int64))
    middle = (found.min(axis=0) + found.max(axis=0)) // 2
    return Spots(view, found[((found - middle) % spacing == 0).all(axis=1)])


def lit(medium: Medium, sources: Spots) -> Singles:
    """(source, tissue voxel) fluence of each source of one photon per time, 1/µm²."""
    return np.stack(
        [medium.fluence(sources.beam(medium, s), TOLERANCE)[medium.inside] for s in range(len(sources.at))], dtype=np.float32
    )


def seen(medium: Medium, detectors: Spots) -> Singles:
    """(detector, tissue voxel) exitance at each detector of one photon per time set free in the voxel, 1/µm².

    By reciprocity it is the fluence of one set free at the detector.
    """
    exitance = medium.exitance_per_fluence[detectors.voxels(medium)]
    fields = []
    for number, place in enumerate(zip(*detectors.voxels(medium), strict=True)):
        source = np.zeros(medium.inside.shape)
        source[place] = exitance[number] / medium.voxel_um**3
        fields.append(medium.fluence(source, TOLERANCE)[medium.inside])
    return np.stack(fields, dtype=np.float32)


def readings(medium: Medium, light: Floats, detectors: Spots) -> Floats:
    """(field, detector) exitance of fluences (field, tissue voxel) at the detectors."""
    z, y, x = detectors.voxels(medium)
    number = np.cumsum(medium.inside.ravel()) - 1
    place = np.ravel_multi_index((z, y, x), medium.inside.shape)
    return np.asarray(light[:, number[place]] * medium.exitance_per_fluence[z, y, x])


@dataclass(frozen=True, kw_only=True)
class Prior:
    """What is known beforehand. regions: (tissue voxel, region) volume of each in voxels, with what lies outside tissue's voxels;
    block: (tissue voxel,) number of its block.

    region_spread, block_spread: standard deviations of a region's mean and of a block's difference from it, over the mean of the
    whole body.
    """

    regions: Singles
    block: NDArray[np.int64]
    region_spread: float
    block_spread: float

    @property
    def filled(self) -> Singles:
        """(tissue voxel,) volume of all regions."""
        return np.asarray(self.regions.sum(axis=1))

    def concentration(self, of_regions: Floats, of_blocks: Floats) -> Floats:
        """(tissue voxel,) values of regions and differences of blocks put together."""
        return np.asarray(self.regions @ of_regions / np.maximum(self.filled, 1e-6) + of_blocks[self.block])

    def amounts(self, of_regions: Floats, of_blocks: Floats) -> Floats:
        """(region,) sums over the regions' own volumes, in voxels; a region's value is not mixed with its neighbour's."""
        volume = self.regions.sum(axis=0, dtype=np.float64)
        return np.asarray(volume * of_regions + self.regions.T @ of_blocks[self.block])


def weights(light: Singles, sight: Singles, excited: Floats, used: NDArray[np.bool_], prior: Prior) -> tuple[Floats, Floats]:
    """(pair, region) and (pair, block) sensitivity Σ Φ_s(v) G_d(v)/X(s, d) to a value in all its voxels.

    light: (source, voxel); sight: (detector, voxel); excited: (source, detector) readings at the excitation's wavelength; used:
    (source, detector) whether a pair is.
    """
    order = np.argsort(prior.block, kind="stable")
    starts = np.flatnonzero(np.diff(prior.block[order], prepend=-1))
    ordered, by_region, by_block = np.ascontiguousarray(sight[:, order]), [], []
    shares, filled = prior.regions[order], prior.filled[order]
    for field, scale, kept in zip(light[:, order], excited, used, strict=True):
        product = ordered[kept] * (field / scale[kept, None])
        by_region.append(product @ shares)
        by_block.append(np.add.reduceat(product * filled, starts, axis=1))
    return np.concatenate(by_region).astype(np.float64), np.concatenate(by_block).astype(np.float64)


def reconstruct(data: Floats, noise: Floats, of_regions: Floats, of_blocks: Floats, prior: Prior) -> tuple[Floats, Floats]:
    """Values of regions and differences of blocks that minimise Σ ((y − Jx)/σ)² + Σ (x/s)², Tikhonov's.

    s = spread times the mean that alone explains the data best. Solved in the space of the readings: x = S Jᵀ (J S Jᵀ + 1)⁻¹ y.
    """
    y = data / noise
    wide = np.concatenate([of_regions, of_blocks], axis=1) / noise[:, None]
    even = of_regions.sum(axis=1) / noise
    mean = abs(float(even @ y / (even @ even)))
    spread = np.repeat([prior.region_spread, prior.block_spread], [of_regions.shape[1], of_blocks.shape[1]]) * mean
    wide *= spread
    gram = wide @ wide.T
    gram[np.diag_indices_from(gram)] += 1
    found = spread * (wide.T @ linalg.solve(gram, y, assume_a="pos", overwrite_a=True))
    return found[: of_regions.shape[1]], found[of_regions.shape[1] :]


def block_numbers(inside: NDArray[np.bool_], edge: int) -> NDArray[np.int64]:
    """(tissue voxel,) number of the block of edge³ voxels that it lies in, of those with tissue, from 0 on."""
    place = np.argwhere(inside) // edge
    size = [-(-n // edge) for n in inside.shape]
    _, number = np.unique(np.ravel_multi_index(tuple(place.T), size), return_inverse=True)
    return np.asarray(number, np.int64)


def region_volumes(inside: NDArray[np.bool_], regions: Mapping[str, Region]) -> Singles:
    """(tissue voxel, region) volume of each in voxels, what lies in others put into the nearest."""
    volumes = np.zeros((int(inside.sum()), len(regions)), np.float32)
    for column, (box, share) in enumerate(regions.values()):
        whole = np.zeros(inside.shape)
        whole[box] = share
        volumes[:, column] = folded(whole, inside)[inside]
    return volumes
