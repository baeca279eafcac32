"""Blood vessels: the graph of their segments, and the wall that each voxel holds."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from tme_sim.state.errors import InputError
from tme_sim.state.lattice import Lattice


@dataclass
class VesselGraph:
    """Cylindrical segments between nodes.

    nodes_um: (nodes, 3) positions as (z, y, x) from the lattice's corner; segments: (segments, 2) node indices;
    radius_um: (segments,); inlets, outlets: node indices where blood enters and leaves.
    """

    nodes_um: NDArray[np.float64]
    segments: NDArray[np.int64]
    radius_um: NDArray[np.float64]
    inlets: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    outlets: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def length_um(self) -> NDArray[np.float64]:
        """(segments,) straight length of each segment."""
        ends = self.nodes_um[self.segments]
        return np.asarray(np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1))

    @property
    def surface_um2(self) -> float:
        """Lateral surface of all segments."""
        return float(np.sum(2 * np.pi * self.radius_um * self.length_um))

    @property
    def volume_um3(self) -> float:
        """Volume of all segments as cylinders."""
        return float(np.sum(np.pi * self.radius_um**2 * self.length_um))

    def check(self) -> None:
        """Raise InputError, naming the row, for a graph that blood cannot be computed on."""
        nodes = len(self.nodes_um)
        for row in np.flatnonzero(((self.segments < 0) | (self.segments >= nodes)).any(axis=1)):
            raise InputError(f"vessel segment {row}", tuple(self.segments[row].tolist()), f"must join two of the {nodes} nodes")
        for name, size_um in (("length", self.length_um), ("radius", self.radius_um)):
            for row in np.flatnonzero(~(np.isfinite(size_um) & (size_um > 0))):
                raise InputError(f"vessel segment {row}", f"of {name} {size_um[row]:g} um", f"needs a {name} above 0")
        for name, ends in (("inlet", self.inlets), ("outlet", self.outlets)):
            for node in ends[(ends < 0) | (ends >= nodes)]:
                raise InputError(f"vessel {name}", node, f"must be one of the {nodes} nodes")
            if len(ends) == 0:
                raise InputError(f"vessel {name}s", None, "there must be at least one, or no blood can flow")
        for node in np.intersect1d(self.inlets, self.outlets):
            raise InputError("vessel inlet", node, "is an outlet too; it must be one or the other")


@dataclass
class Vessels:
    """The vessel wall as the exchange processes see it: one row per voxel that holds wall, in voxel order.

    voxel: (walls,) flat voxel index, increasing; surface_um2: (walls,) wall area in it; graph: None where only a rasterised
    wall is known; arrays: further columns per wall, last axis walls (`perfused`: share of the wall that moving blood passes,
    1 unless a process says otherwise; `activity`: relative transcytotic activity; `endothelium`: (stage, form, walls) carriers
    in transit), and `segment_...` per segment of the graph.
    """

    voxel: NDArray[np.int64]
    surface_um2: NDArray[np.float64]
    arrays: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    graph: VesselGraph | None = None

    def __post_init__(self) -> None:
        self.arrays.setdefault("perfused", np.ones(len(self.voxel)))


def site_distance_um(lattice: Lattice, wall_voxel: NDArray[np.int64]) -> NDArray[np.float64]:
    """(z, y, x) of sites: from each centre to that of the nearest site with wall in the same patch; infinite without wall."""
    has_wall = np.zeros(lattice.n_sites, bool)
    has_wall[lattice.site_of_voxel(wall_voxel)] = True
    has_wall = has_wall.reshape(lattice.sites)
    found = np.full(lattice.sites, np.inf)
    for patch in lattice.patches:
        planes = slice(patch.first_plane, patch.first_plane + patch.planes)
        if has_wall[planes].any():
            found[planes] = distance_transform_edt(~has_wall[planes], sampling=lattice.site_um)
    return found
