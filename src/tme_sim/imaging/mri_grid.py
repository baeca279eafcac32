"""A scanner's voxels on the lattice, and the regions that a reader would draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.imaging.frame import Frame
from tme_sim.numerics.blocks import block_mean
from tme_sim.state.errors import InputError
from tme_sim.state.lattice import Lattice

Floats = NDArray[np.float64]
WHOLE = "tumor"


@dataclass(frozen=True)
class Grid:
    """Blocks of `factors` lattice voxels along (z, y, x), patch by patch; planes of a patch that fill no block are not imaged."""

    lattice: Lattice
    factors: tuple[int, int, int]

    @property
    def voxel_um(self) -> tuple[float, float, float]:
        """Edges of the scanner's voxels."""
        z, y, x = (factor * self.lattice.voxel_um for factor in self.factors)
        return z, y, x

    @property
    def origin_um(self) -> tuple[float, float, float]:
        """Centre of the first voxel."""
        z, y, x = (edge / 2 for edge in self.voxel_um)
        return z, y, x

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.voxel_um)) * 1e-9

    def imaged(self, part: NDArray[Any]) -> NDArray[Any]:
        """(…, z, y, x) of one patch, cut to whole blocks."""
        z, y, x = (slice(0, n - n % factor) for n, factor in zip(part.shape[-3:], self.factors, strict=True))
        return part[..., z, y, x]

    def sampled(self, volume: NDArray[Any]) -> Floats:
        """(…, z, y, x) on the lattice → means over the scanner's voxels, patch after patch along z."""
        parts = [volume[..., planes, :, :] for planes in self.lattice.planes]
        return np.concatenate([block_mean(self.imaged(part), self.factors) for part in parts], axis=-3).astype(np.float64)

    def regions(self, frame: Frame) -> tuple[NDArray[np.int16], dict[int, str], dict[int, float]]:
        """(z, y, x) number of the patch where most of the voxel is tumour, else 0; its name; its share of the tumour's mass."""
        lattice, patches = self.lattice, self.lattice.patches
        number = np.repeat(np.arange(1, len(patches) + 1), [p.planes * lattice.refinement for p in patches])
        inside = np.asarray(frame.fields["inside"], np.float64) if "inside" in frame.fields else np.ones(lattice.voxels)
        here = self.sampled(np.broadcast_to(number[:, None, None], lattice.voxels).astype(np.float64))
        labels = np.where(self.sampled(inside) >= 0.5, np.rint(here), 0).astype(np.int16)
        return labels, {n: p.name for n, p in enumerate(patches, 1)}, {n: p.mass_share for n, p in enumerate(patches, 1)}


def grid_of(lattice: Lattice, voxel_um: tuple[float, float, float]) -> Grid:
    """The voxels nearest to those asked for. Raises InputError where they are finer than the lattice's or do not fit thrice."""
    thinnest = min(planes.stop - planes.start for planes in lattice.planes)
    factors = tuple(round(edge / lattice.voxel_um) for edge in voxel_um)
    for edge, factor, n in zip(voxel_um, factors, (thinnest, *lattice.voxels[1:]), strict=True):
        if factor < 1:
            raise InputError("voxel", f"{edge:g} um", f"is finer than the lattice, whose voxels are {lattice.voxel_um:g} um")
        if 3 * factor > n:
            most = f"at most a third of the {n * lattice.voxel_um:g} um of lattice, which is imaged without a body around it"
            raise InputError("voxel", f"{edge:g} um", most)
    return Grid(lattice, (factors[0], factors[1], factors[2]))
