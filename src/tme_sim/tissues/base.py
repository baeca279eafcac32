"""What a tissue is: a lattice with vessels in it and places for cells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tme_sim.state.kupffer import Sinusoids
from tme_sim.state.lattice import Lattice
from tme_sim.state.parameters import given, parameter
from tme_sim.state.substance import Matrix
from tme_sim.state.vessels import VesselGraph


@dataclass(frozen=True)
class Geometry:
    """What a tissue builds; its one patch still has one copy.

    lumen_fraction, surface_um2: (z, y, x) per voxel; inside: (z, y, x) per voxel, True within the tumour; occupancy:
    (z, y, x) per site, chance that it holds a cell, None where the density of cells is the same everywhere; morphometry:
    figures for the report, with units in their names. macrophage_fraction: (z, y, x) per site where patches differ in it.
    sinusoids: where Kupffer cells may sit, in a liver. sinus: (z, y, x) per voxel, True where lymph flows, in a lymph node.
    """

    lattice: Lattice
    lumen_fraction: NDArray[np.float64]
    surface_um2: NDArray[np.float64]
    inside: NDArray[np.bool_]
    occupancy: NDArray[np.float64] | None = None
    morphometry: dict[str, float] = field(default_factory=dict)
    graph: VesselGraph | None = None
    macrophage_fraction: NDArray[np.float64] | None = None
    sinusoids: Sinusoids | None = None
    sinus: NDArray[np.bool_] | None = None


@dataclass(frozen=True, kw_only=True)
class PatchSettings:
    """One patch of a tumour (rim, middle, core …): its share, its place, and what differs from the tissue around it."""

    mass_share: float = parameter("share of the tumour's mass; those of all patches add up to 1", above=0, at_most=1)
    radial_position: float = parameter("place in the tumour, 0 the centre, 1 the edge", at_least=0, at_most=1)
    vessel_radius_um: float | None = parameter("mean vessel radius; null: the tissue's", default=None, at_least=2, at_most=50)
    vessel_surface_per_um: float | None = parameter(
        "vessel surface per volume; null: the tissue's", default=None, above=0, at_most=0.1
    )
    macrophage_fraction: float | None = parameter(
        "share of the cells that are macrophages; null: that of cells", default=None, at_least=0, at_most=1
    )


@dataclass(kw_only=True, eq=False)
class Tissue(ABC):
    """One kind of tissue. Subclasses are dataclasses of parameters and build a Geometry."""

    tumor_mass_g: float = parameter("mass of the whole tumour that the lattice is a part of", above=0)
    density_g_per_mL: float = parameter("density of the tissue", above=0.5, below=2)
    doubling_time_s: float | None = parameter(
        "time in which the tumour doubles its mass; null: not known, and none of its cells divides", default=None, above=0
    )
    matrix: Matrix = parameter("extracellular matrix")
    site_um: float = given("lattice.site_um")
    refinement: int = given("lattice.refinement")

    @abstractmethod
    def build(self, random: np.random.Generator, data: Path | None) -> Geometry:
        """Make the tissue; `data` is the folder that holds data-set folders."""
