"""Blood vessels: the graph of their segments, and the wall that each voxel holds."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


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


@dataclass
class Vessels:
    """The vessel wall as the exchange processes see it: one row per voxel that holds wall, in voxel order.

    voxel: (walls,) flat voxel index, increasing; surface_um2: (walls,) wall area in it; arrays: further columns per wall,
    last axis walls (`activity`: relative transcytotic activity; `endothelium`: (stage, form, walls) carriers in transit).
    graph: None where only a rasterised wall is known.
    """

    voxel: NDArray[np.int64]
    surface_um2: NDArray[np.float64]
    arrays: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    graph: VesselGraph | None = None
