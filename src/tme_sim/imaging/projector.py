"""One slice of an emission tomograph: parallel projections, attenuation, scatter and randoms, and reconstruction by OSEM.

A check of the noise that `noise.counted` adds in image space: how much more a reconstruction's voxels vary than their own counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import pi

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Projector:
    """Line integrals of square slices of side² voxels along as many parallel rays, one voxel apart, under each of `angles`."""

    side: int
    angles: int

    @cached_property
    def matrix(self) -> sparse.csr_array:
        """(angles · rays, voxels) weights: the slice, bilinear between voxels, summed at steps of one voxel along each ray."""
        half = (self.side - 1) / 2
        offset = np.arange(self.side) - half
        ray, step = np.meshgrid(offset, np.arange(-self.side, self.side + 1) * 1.0, indexing="ij")
        number = np.broadcast_to(np.arange(self.side)[:, None], ray.shape)
        parts = [self._under(angle, ray, step, number, half) for angle in range(self.angles)]
        rows, columns, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
        return sparse.csr_array((weights, (rows, columns)), shape=(self.angles * self.side, self.side**2))

    def _under(
        self, angle: int, ray: Floats, step: Floats, number: NDArray[np.int64], half: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
        """Rows, columns and weights of the rays under one angle."""
        turn = pi * angle / self.angles
        y, x = ray * np.sin(turn) + step * np.cos(turn) + half, ray * np.cos(turn) - step * np.sin(turn) + half
        y0, x0 = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
        rows, columns, weights = [], [], []
        for dy in (0, 1):
            for dx in (0, 1):
                weight = (1 - np.abs(y - y0 - dy)) * (1 - np.abs(x - x0 - dx))
                there = (y0 + dy >= 0) & (y0 + dy < self.side) & (x0 + dx >= 0) & (x0 + dx < self.side) & (weight > 0)
                rows.append(angle * self.side + number[there])
                columns.append(((y0 + dy) * self.side + x0 + dx)[there])
                weights.append(weight[there])
        return np.concatenate(rows), np.concatenate(columns), np.concatenate(weights)

    def project(self, image: Floats) -> Floats:
        """(angles, rays) line integrals of a slice, in voxels times its unit; every angle holds the slice's sum."""
        return np.asarray((self.matrix @ image.ravel()).reshape(self.angles, self.side))


@dataclass(frozen=True)
class Sinogram:
    """(angles, rays): prompts counted; factor: trues per line integral; background: expected scatter and randoms among them."""

    prompts: Floats
    factor: Floats
    background: Floats


def measure(
    projector: Projector,
    expected: Floats,
    mu_per_voxel: Floats,
    random: np.random.Generator | None,
    *,
    scatter: float = 0.0,
    randoms: float = 0.0,
    scatter_sigma: float = 10.0,
) -> Sinogram:
    """Counts of a slice whose voxels would give `expected` trues in all without attenuation; random None: their expectation.

    mu_per_voxel: attenuation per voxel's width. scatter: scattered over scattered and true pairs, a wide Gaussian of the trues;
    randoms: over trues and scattered, the same in all rays.
    """
    factor = np.exp(-projector.project(mu_per_voxel)) / projector.angles
    trues = factor * projector.project(expected)
    spread = ndimage.gaussian_filter1d(trues, scatter_sigma, axis=1)
    scattered = spread * (trues.sum() / spread.sum() * scatter / (1 - scatter))
    background = scattered + randoms * (trues.sum() + scattered.sum()) / trues.size
    mean = trues + background
    return Sinogram(mean if random is None else random.poisson(mean).astype(np.float64), factor, background)


def osem(projector: Projector, sinogram: Sinogram, *, iterations: int = 2, subsets: int = 12) -> Floats:
    """The slice that the prompts come from, by expectation maximisation over ordered subsets of angles, from an even start.

    x ← x/(Aᵀ1) · Aᵀ[y/(A x + b)], A with attenuation, b the known background (Hudson & Larkin 1994, doi:10.1109/42.363108). Noise
    grows with the iterations. Raises ValueError where the subsets do not divide the angles.
    """
    if projector.angles % subsets:
        raise ValueError(f"{subsets} subsets do not divide {projector.angles} angles")
    image = np.ones(projector.side**2)
    parts = []
    for first in range(subsets):
        rows = (np.arange(first, projector.angles, subsets)[:, None] * projector.side + np.arange(projector.side)).ravel()
        system = sparse.diags_array(sinogram.factor.ravel()[rows]) @ projector.matrix[rows]
        parts.append((system, system.T.tocsr(), rows))
    prompts, background = sinogram.prompts.ravel(), sinogram.background.ravel()
    for _ in range(iterations):
        for system, back, rows in parts:
            mean = system @ image + background[rows]
            ratio = np.divide(prompts[rows], mean, out=np.zeros_like(mean), where=mean > 0)
            seen = back @ np.ones(len(rows))
            image *= np.divide(back @ ratio, seen, out=np.zeros_like(image), where=seen > 0)
    return np.asarray(image.reshape(projector.side, projector.side))
