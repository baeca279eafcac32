"""Tissue `vascular_tree`: a generated, tumour-like vessel network in a box."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tme_sim.state.errors import InputError
from tme_sim.state.lattice import Lattice
from tme_sim.state.parameters import given, parameter
from tme_sim.tissues.base import Geometry, Tissue
from tme_sim.tissues.morphometry import morphometry
from tme_sim.tissues.network import grow_network
from tme_sim.tissues.rasterise import rasterise


@dataclass(kw_only=True, eq=False)
class VascularTree(Tissue):
    """A seeded network that meets a vessel radius and a vessel surface per volume; spacing, density and blood share follow."""

    vessel_radius_um: float = parameter("mean vessel radius", at_least=2, at_most=50)
    radius_variation: float = parameter("coefficient of variation of the radii", at_least=0, at_most=1)
    vessel_surface_per_um: float = parameter("vessel surface per tissue volume", above=0, at_most=0.1)
    tortuosity: float = parameter("0: straight vessels, 1: very tortuous", at_least=0, at_most=1)
    avascular_core: float = parameter("how much sparser vessels are at the centre, 0: uniform", at_least=0, at_most=1)
    size_um: float = given("lattice.size_um")

    def build(self, random: np.random.Generator, data: Path | None) -> Geometry:
        lattice = Lattice(self._sites(), self.site_um, self.refinement)
        z, y, x = (n * self.site_um for n in lattice.sites)
        graph = grow_network(
            (z, y, x),
            vessel_radius_um=self.vessel_radius_um,
            radius_variation=self.radius_variation,
            surface_per_um=self.vessel_surface_per_um,
            tortuosity=self.tortuosity,
            avascular_core=self.avascular_core,
            seed_rng=random,
        )
        lumen, surface = rasterise(graph, lattice.voxels, lattice.voxel_um)
        inside = np.ones(lattice.voxels, bool)
        figures = morphometry(lumen, surface, lattice.voxel_um, graph)
        return Geometry(lattice, lumen, surface, inside, None, figures, graph)

    def _sites(self) -> tuple[int, int, int]:
        """Whole sites along each edge."""
        n = round(self.size_um / self.site_um)
        if n < 4 or abs(n * self.site_um - self.size_um) > 1e-6 * self.size_um:
            allowed = f"must be a whole multiple of lattice.site, {self.site_um:g} um, and at least 4 of them"
            raise InputError("lattice.size", f"{self.size_um:g} um", allowed)
        return n, n, n
