"""Tissue `liver`: straight sinusoids from portal tract to central vein, Kupffer cells on them, and a lesion that has none."""

from __future__ import annotations

from dataclasses import dataclass
from math import cbrt, pi, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tme_sim.state.errors import InputError
from tme_sim.state.kupffer import Sinusoids
from tme_sim.state.lattice import Lattice
from tme_sim.state.parameters import given, parameter
from tme_sim.state.vessels import VesselGraph
from tme_sim.tissues.base import Geometry, Tissue
from tme_sim.tissues.morphometry import morphometry
from tme_sim.tissues.rasterise import rasterise

Reals = NDArray[np.float64]


@dataclass(kw_only=True, eq=False)
class Liver(Tissue):
    """A block of liver around one lesion; the lesion is the tumour, and its copies are the lesions of the liver.

    Sinusoids run along x in a hexagonal array, from portal planes (inlets) to central planes (outlets) one sinusoid length
    apart. The lesion, a sphere, keeps the share of them that gives it its own vessel surface, as one that grows by replacement
    does; the others end at it. Tissue and carriers outside the lesion do not mix with its own. Around it, Kupffer cells sit on
    the sinusoids as dense as in the body's liver: what they take from blood is a part of the pool `kupffer`, shown in place
    (`state.kupffer`). Hepatocytes fill the rest; what they and the endothelium take are sinks of the circulation.
    """

    sinusoid_radius_um: float = parameter("radius of the sinusoids", at_least=2, at_most=10)
    sinusoid_spacing_um: float = parameter("distance between the axes of neighbouring sinusoids", at_least=10, at_most=100)
    sinusoid_length_um: float = parameter("from portal tract to central vein", at_least=50, at_most=2000)
    plasma_flow_per_s: float = parameter("plasma that passes the liver per its volume", above=0, at_most=1)
    lesion_fraction: float = parameter("share of the box that is the lesion", above=0, at_most=0.5)
    lesion_vessel_surface_per_um: float = parameter("vessel surface per volume of the lesion", above=0, at_most=0.1)
    size_um: float = given("lattice.size_um")

    def __post_init__(self) -> None:
        if self.sinusoid_spacing_um < 2 * self.sinusoid_radius_um:
            told = f"must be at least the diameter of a sinusoid, {2 * self.sinusoid_radius_um:g} um"
            raise InputError("tissue.sinusoid_spacing", f"{self.sinusoid_spacing_um:g} um", told)
        if self.lesion_vessel_surface_per_um > self._surface_per_um:
            told = f"must be at most that of the sinusoids around it, {1e3 * self._surface_per_um:.3g} mm^2/mm^3"
            raise InputError("tissue.lesion_vessel_surface", f"{1e3 * self.lesion_vessel_surface_per_um:g} mm^2/mm^3", told)

    def build(self, random: np.random.Generator, data: Path | None) -> Geometry:
        n = round(self.size_um / self.site_um)
        if n < 4 or abs(n * self.site_um - self.size_um) > 1e-6 * self.size_um:
            allowed = f"must be a whole multiple of lattice.site, {self.site_um:g} um, and at least 4 of them"
            raise InputError("lattice.size", f"{self.size_um:g} um", allowed)
        lattice = Lattice((n, n, n), self.site_um, self.refinement)
        rows = _hexagonal(self.size_um, self.sinusoid_spacing_um)
        half_chord = np.sqrt(np.maximum(self.lesion_radius_um**2 - ((rows - self.size_um / 2) ** 2).sum(axis=1), 0))
        goes_on = self._goes_on(half_chord, random)
        graph = self._graph(rows, np.where(goes_on, 0.0, half_chord))
        middle = (np.arange(lattice.voxels[0]) + 0.5) * lattice.voxel_um
        z, y, x = np.meshgrid(*(3 * [middle - self.size_um / 2]), indexing="ij", sparse=True)
        lesion = np.asarray(z**2 + y**2 + x**2 < self.lesion_radius_um**2)
        within, around = (
            rasterise(each, lattice.voxels, lattice.voxel_um)
            for each in (self._graph(rows[goes_on], np.zeros(goes_on.sum())), graph)
        )
        lumen, surface = (np.where(lesion, inner, outer) for inner, outer in zip(within, around, strict=True))
        phase = middle / self._length_um % 2
        passed = np.broadcast_to(np.minimum(phase, 2 - phase), lattice.voxels)
        sinusoids = Sinusoids(np.where(lesion, 0.0, surface), passed, self.plasma_flow_per_s)
        figures = morphometry(lumen, surface, lattice.voxel_um, graph, lesion)
        return Geometry(lattice, lumen, surface, lesion, None, figures, graph, sinusoids=sinusoids)

    @property
    def lesion_radius_um(self) -> float:
        """Radius of the sphere in the middle of the box."""
        return self.size_um * cbrt(3 * self.lesion_fraction / (4 * pi))

    @property
    def _surface_per_um(self) -> float:
        """Wall of the sinusoids per volume, 2 π r over the area √3/2 · spacing² of each."""
        return 2 * pi * self.sinusoid_radius_um / (sqrt(3) / 2 * self.sinusoid_spacing_um**2)

    @property
    def _length_um(self) -> float:
        """Of a sinusoid in this box: whole ones fit into it."""
        return self.size_um / max(1, round(self.size_um / self.sinusoid_length_um))

    def _goes_on(self, half_chord: Reals, random: np.random.Generator) -> NDArray[np.bool_]:
        """Which sinusoids go on through the lesion: at random, so many that their wall in it is as asked for; at least one."""
        crossing = random.permutation(np.flatnonzero(half_chord))
        volume_um3 = self.lesion_fraction * self.size_um**3
        length_um = self.lesion_vessel_surface_per_um * volume_um3 / (2 * pi * self.sinusoid_radius_um)
        if len(crossing) == 0:
            told = "must be large enough that a sinusoid crosses the lesion; or a larger lattice.size"
            raise InputError("tissue.lesion_fraction", f"{self.lesion_fraction:g}", told)
        enough = int(np.argmin(np.abs(np.cumsum(2 * half_chord[crossing]) - length_um)))
        goes_on = np.asarray(half_chord == 0)
        goes_on[crossing[: enough + 1]] = True
        return goes_on

    def _graph(self, rows: Reals, cut_um: Reals) -> VesselGraph:
        """Sinusoids at `rows` (sinusoids, 2), of each a piece twice as long as `cut_um` in the middle of the box left out."""
        centre_um = self.size_um / 2
        planes = np.arange(round(self.size_um / self._length_um) + 1) * self._length_um
        nodes, segments, first = [], [], 0
        for (z, y), cut in zip(rows, cut_um, strict=True):
            x = np.unique(np.concatenate([planes, [centre_um - cut, centre_um + cut] if cut > 0 else []]))
            start = first + np.flatnonzero(np.abs((x[:-1] + x[1:]) / 2 - centre_um) >= cut)
            nodes.append(np.stack([np.full(len(x), z), np.full(len(x), y), x], axis=1))
            segments.append(np.stack([start, start + 1], axis=1))
            first += len(x)
        return self._with_ends(np.concatenate(nodes), np.concatenate(segments))

    def _with_ends(self, nodes: Reals, segments: NDArray[np.int64]) -> VesselGraph:
        """Blood comes in on the portal planes, the first and every second one, and leaves on the central ones."""
        used = np.unique(segments)
        nodes, segments = nodes[used], np.searchsorted(used, segments).astype(np.int64)
        at = nodes[:, 2] / self._length_um
        plane, on_plane = np.round(at).astype(np.int64), np.abs(at - np.round(at)) < 1e-9
        radius_um = np.full(len(segments), self.sinusoid_radius_um)
        ends = [np.flatnonzero(on_plane & (plane % 2 == side)) for side in (0, 1)]
        return VesselGraph(nodes, segments, radius_um, *ends)


def _hexagonal(edge_um: float, spacing_um: float) -> Reals:
    """(places, 2) a hexagonal array of that density on a square, its rows evened to fill it."""
    rows = max(1, round(edge_um / (spacing_um * sqrt(3) / 2)))
    columns = max(1, round(edge_um / spacing_um))
    row, column = np.divmod(np.arange(rows * columns), columns)
    return np.stack([(row + 0.5) / rows, ((column + 0.25 + 0.5 * (row % 2)) / columns)], axis=1) * edge_um
