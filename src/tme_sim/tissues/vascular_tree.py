"""Tissue `vascular_tree`: a generated, tumour-like vessel network in a box, or in several patches of a tumour."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tme_sim.state.errors import InputError
from tme_sim.state.lattice import Lattice, Patch
from tme_sim.state.parameters import given, parameter
from tme_sim.state.vessels import VesselGraph
from tme_sim.tissues.base import Geometry, PatchSettings, Tissue
from tme_sim.tissues.morphometry import morphometry
from tme_sim.tissues.network import grow_network
from tme_sim.tissues.rasterise import rasterise

WHOLE = {"tumor": PatchSettings(mass_share=1.0, radial_position=0.0)}


@dataclass(kw_only=True, eq=False)
class VascularTree(Tissue):
    """A seeded network that meets a vessel radius and a vessel surface per volume; spacing, density and blood share follow.

    With patches the lattice is a row of such boxes along z, one a patch, separated by impermeable planes.
    """

    vessel_radius_um: float = parameter("mean vessel radius", at_least=2, at_most=50)
    radius_variation: float = parameter("coefficient of variation of the radii", at_least=0, at_most=1)
    vessel_surface_per_um: float = parameter("vessel surface per tissue volume", above=0, at_most=0.1)
    tortuosity: float = parameter("0: straight vessels, 1: very tortuous", at_least=0, at_most=1)
    avascular_core: float = parameter("how much sparser vessels are at the centre, 0: uniform", at_least=0, at_most=1)
    patches: dict[str, PatchSettings] = parameter("patches by name; none: one patch that is the whole tumour", default=dict)
    size_um: float = given("lattice.size_um")
    macrophage_fraction: float = given("cells.macrophage_fraction")

    def build(self, random: np.random.Generator, data: Path | None) -> Geometry:
        patches = self.patches or WHOLE
        total = sum(patch.mass_share for patch in patches.values())
        if abs(total - 1) > 1e-6:
            raise InputError("tissue.patches", f"mass shares of {total:g} in all", "mass_share of all patches must add up to 1")
        n = self._sites_along_edge()
        lattice = Lattice(
            (n * len(patches), n, n),
            self.site_um,
            self.refinement,
            tuple(Patch(name, i * n, n, 1, p.mass_share, p.radial_position) for i, (name, p) in enumerate(patches.items())),
        )
        graphs = [self._grow(patch, random) for patch in patches.values()]
        box = (n * self.refinement,) * 3
        rasters = [rasterise(graph, box, lattice.voxel_um) for graph in graphs]
        lumen, surface = (np.concatenate(parts) for parts in zip(*rasters, strict=True))
        graph = in_a_row(graphs, n * self.site_um)
        figures = morphometry(lumen, surface, lattice.voxel_um, graph)
        macrophages = [
            self.macrophage_fraction if p.macrophage_fraction is None else p.macrophage_fraction for p in patches.values()
        ]
        per_site: NDArray[np.float64] = np.repeat(macrophages, n)[:, None, None] * np.ones((1, n, n))
        return Geometry(lattice, lumen, surface, np.ones(lattice.voxels, bool), None, figures, graph, per_site)

    def _grow(self, patch: PatchSettings, random: np.random.Generator) -> VesselGraph:
        return grow_network(
            (self.size_um,) * 3,
            vessel_radius_um=patch.vessel_radius_um or self.vessel_radius_um,
            radius_variation=self.radius_variation,
            surface_per_um=patch.vessel_surface_per_um or self.vessel_surface_per_um,
            tortuosity=self.tortuosity,
            avascular_core=self.avascular_core,
            seed_rng=random,
        )

    def _sites_along_edge(self) -> int:
        n = round(self.size_um / self.site_um)
        if n < 4 or abs(n * self.site_um - self.size_um) > 1e-6 * self.size_um:
            allowed = f"must be a whole multiple of lattice.site, {self.site_um:g} um, and at least 4 of them"
            raise InputError("lattice.size", f"{self.size_um:g} um", allowed)
        return n


def in_a_row(graphs: list[VesselGraph], edge_um: float) -> VesselGraph:
    """The graphs of boxes that stand along z, as one."""
    shifts = np.cumsum([0, *(len(graph.nodes_um) for graph in graphs[:-1])])
    return VesselGraph(
        np.concatenate([graph.nodes_um + np.array([i * edge_um, 0, 0]) for i, graph in enumerate(graphs)]),
        np.concatenate([graph.segments + shift for graph, shift in zip(graphs, shifts, strict=True)]),
        np.concatenate([graph.radius_um for graph in graphs]),
        np.concatenate([graph.inlets + shift for graph, shift in zip(graphs, shifts, strict=True)]),
        np.concatenate([graph.outlets + shift for graph, shift in zip(graphs, shifts, strict=True)]),
    )
