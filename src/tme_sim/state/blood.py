"""Blood in a network: what each wall of the lattice meets, what tissue makes of it, and what is lost on the way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from tme_sim.numerics.distance import along
from tme_sim.numerics.vessel_solute import Course, advect, course
from tme_sim.state.lattice import Lattice
from tme_sim.state.vessels import VesselGraph

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Blood:
    """Blood that runs, and the walls it passes. Concentrations are those of what is unbound in plasma.

    course: the way of the blood, its flow in µm³/s of unbound concentration that it carries; plasma_um3: (segments,) plasma in
    each; voxel, segment: (walls,) where each wall is and which blood passes it; clears_um3_per_s: (walls,) permeability times
    perfused surface.
    """

    course: Course
    plasma_um3: Floats
    voxel: Ints
    segment: Ints
    clears_um3_per_s: Floats

    @classmethod
    def running(
        cls,
        graph: VesselGraph,
        flow_um3_per_s: Floats,
        hematocrit: Floats,
        unbound: float,
        voxel: Ints,
        segment: Ints,
        clears_um3_per_s: Floats,
    ) -> Blood:
        """Blood as it flows now. Its plasma carries bound and unbound, Q (1 − H)/f_u of unbound concentration, red cells none."""
        carries = flow_um3_per_s * (1 - hematocrit) / max(unbound, 1e-9)  # of a substance wholly bound nothing is exchanged
        plasma_um3 = np.pi * graph.radius_um**2 * graph.length_um * (1 - hematocrit)
        way = course(graph.segments, carries, len(graph.nodes_um))
        return cls(way, plasma_um3, voxel, segment, clears_um3_per_s)

    def mean_along(self, tissue: Floats, inlet: float, released: Floats) -> Floats:
        """(segments,) mean concentration in the blood of each, in balance with that of the tissue (z, y, x).

        inlet: what comes in at the arteries; released: (segments,) amount per second that carriers release in the blood of each.
        """
        n = len(self.plasma_um3)
        surface = np.asarray(np.bincount(self.segment, self.clears_um3_per_s, n), np.float64)
        weighed = np.bincount(self.segment, self.clears_um3_per_s * tissue.ravel()[self.voxel], n)
        outside = np.divide(weighed, surface, out=np.zeros(n), where=surface > 0)
        return advect(self.course, surface, outside, released, np.full(self.course.nodes, inlet)).mean

    def at_walls(self, mean: Floats, lattice: Lattice) -> Floats:
        """(z, y, x) the concentration in blood that the wall in each voxel meets; 0 without wall."""
        met = np.zeros(lattice.n_voxels)
        met[self.voxel] = mean[self.segment]
        return met.reshape(lattice.voxels)


def nearest_segment(graph: VesselGraph, voxel: Ints, lattice: Lattice) -> Ints:
    """(voxels,) the segment whose axis comes nearest to the centre of each voxel, to within an eighth of a voxel."""
    places_um, segment, _ = along(graph.nodes_um[graph.segments], np.full(len(graph.segments), lattice.voxel_um / 4))
    centre_um = (np.stack(np.unravel_index(voxel, lattice.voxels), axis=1) + 0.5) * lattice.voxel_um
    return np.asarray(segment[KDTree(places_um).query(centre_um)[1]], np.int64)


def middle_voxel(graph: VesselGraph, lattice: Lattice) -> Ints:
    """(segments,) flat index of the voxel that holds the middle of each segment, or is nearest to it."""
    at = (graph.nodes_um[graph.segments].mean(axis=1) / lattice.voxel_um).astype(np.int64)
    inside = np.clip(at, 0, np.array(lattice.voxels) - 1)
    return np.asarray(np.ravel_multi_index(tuple(inside.T), lattice.voxels), np.int64)


def lost_in_transit(graph: VesselGraph, flow_um3_per_s: Floats, hematocrit: Floats, per_s: Floats) -> Floats:
    """(segments,) µm³ of plasma per second that each clears of what it carries and loses at the rate per_s (segments,) in it.

    d(Q (1 − H) c)/dx = −A (1 − H) k c from a concentration of 1 in all blood that comes in: Q (1 − H) (1 − e^(−k A L/Q)) in one.
    """
    plasma, nothing = 1 - hematocrit, np.zeros(len(per_s))
    if not per_s.any():
        return nothing
    volume_um3 = np.pi * graph.radius_um**2 * graph.length_um * plasma
    way = course(graph.segments, flow_um3_per_s * plasma, len(graph.nodes_um))
    return advect(way, per_s * volume_um3, nothing, nothing, np.ones(way.nodes)).exchange
