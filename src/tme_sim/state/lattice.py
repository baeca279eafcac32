"""The lattice: sites that hold cells, voxels that hold fields, and the patches it is divided into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Patch:
    """A slab of the lattice, `planes` sites thick along z from `first_plane`, that stands for `copies` of itself.

    mass_share: its share of the tumour's mass; radial_position: where in the tumour it lies, 0 the centre, 1 the edge.
    """

    name: str
    first_plane: int
    planes: int
    copies: int
    mass_share: float = 1.0
    radial_position: float = 0.0


@dataclass(frozen=True)
class Lattice:
    """A box of cubic sites, each holding refinement³ voxels; `boundaries` and flow say what passes its faces.

    sites: sites along (z, y, x); site_um: their edge; patches: slabs along z that together fill the box, separated by
    impermeable planes.
    """

    sites: tuple[int, int, int]
    site_um: float
    refinement: int = 1
    patches: tuple[Patch, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.patches:
            object.__setattr__(self, "patches", (Patch("tumor", 0, self.sites[0], 1),))
        ends = [0]
        for patch in self.patches:
            if patch.first_plane != ends[-1] or patch.planes < 1 or patch.copies < 1:
                raise ValueError(f"patch {patch.name}: patches must follow each other along z, with at least one copy each")
            ends.append(patch.first_plane + patch.planes)
        if ends[-1] != self.sites[0]:
            raise ValueError(f"patches cover {ends[-1]} of {self.sites[0]} planes of sites")

    @property
    def voxels(self) -> tuple[int, int, int]:
        """Voxels along (z, y, x)."""
        z, y, x = self.sites
        return z * self.refinement, y * self.refinement, x * self.refinement

    @property
    def voxel_um(self) -> float:
        """Edge of a voxel."""
        return self.site_um / self.refinement

    @property
    def voxel_um3(self) -> float:
        """Volume of a voxel."""
        return self.voxel_um**3

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return int(np.prod(self.sites))

    @property
    def n_voxels(self) -> int:
        """Number of voxels."""
        return int(np.prod(self.voxels))

    @property
    def copies(self) -> NDArray[np.int64]:
        """(patches,) how many times each patch counts in the body."""
        return np.array([patch.copies for patch in self.patches], np.int64)

    def over_copies(self, amount: NDArray[Any]) -> NDArray[np.float64]:
        """Sum of (…, z, y, x) voxels, each patch as often as it counts in the body."""
        by_patch = [amount[..., planes, :, :].sum(axis=(-3, -2, -1), dtype=np.float64) for planes in self.planes]
        return np.asarray(np.tensordot(self.copies.astype(np.float64), np.array(by_patch), 1))

    @property
    def planes(self) -> list[slice]:
        """Per patch, its voxel planes along z."""
        r = self.refinement
        return [slice(p.first_plane * r, (p.first_plane + p.planes) * r) for p in self.patches]

    @property
    def blocked_z(self) -> list[int]:
        """Voxel planes b such that nothing passes between planes b-1 and b."""
        return [planes.start for planes in self.planes[1:]]

    def patch_of_voxel(self, voxel: NDArray[np.int64]) -> NDArray[np.int64]:
        """Patch index of flat voxel indices."""
        _, ny, nx = self.voxels
        starts = [planes.start for planes in self.planes]
        return np.asarray(np.searchsorted(starts, voxel // (ny * nx), side="right") - 1, np.int64)

    def patch_of_site(self, site: NDArray[np.int64]) -> NDArray[np.int64]:
        """Patch index of flat site indices."""
        _, ny, nx = self.sites
        starts = [patch.first_plane for patch in self.patches]
        return np.asarray(np.searchsorted(starts, site // (ny * nx), side="right") - 1, np.int64)

    def site_of_voxel(self, voxel: NDArray[np.int64]) -> NDArray[np.int64]:
        """Flat site index of flat voxel indices."""
        z, y, x = (axis // self.refinement for axis in np.unravel_index(voxel, self.voxels))
        return np.asarray(np.ravel_multi_index((z, y, x), self.sites), np.int64)

    def footprint(self) -> NDArray[np.int64]:
        """(sites, refinement³) flat voxel indices of each site."""
        r = self.refinement
        z, y, x = self.sites
        index = np.arange(self.n_voxels, dtype=np.int64).reshape(z, r, y, r, x, r)
        return np.ascontiguousarray(index.transpose(0, 2, 4, 1, 3, 5).reshape(self.n_sites, r**3))

    def evenly(self, sites: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each site holds, shared evenly by its voxels: (sites,) or (z, y, x) sites → (z, y, x) voxels."""
        r = self.refinement
        z, y, x = self.sites
        return np.broadcast_to(sites.reshape(z, 1, y, 1, x, 1) / r**3, (z, r, y, r, x, r)).reshape(self.voxels)

    def on_sites(self, voxels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over each site's voxels: (z, y, x) voxels → (z, y, x) sites."""
        r = self.refinement
        z, y, x = self.sites
        return np.asarray(voxels.reshape(z, r, y, r, x, r).mean(axis=(1, 3, 5)))

    def on_voxels(self, sites: NDArray[Any]) -> NDArray[Any]:
        """Each site's value in all its voxels: flat sites → (z, y, x) voxels."""
        (z, y, x), r = self.sites, self.refinement
        return np.broadcast_to(sites.reshape(z, 1, y, 1, x, 1), (z, r, y, r, x, r)).reshape(self.voxels)
