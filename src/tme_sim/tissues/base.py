"""What a tissue is: a lattice with vessels in it and places for cells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tme_sim.state.lattice import Lattice
from tme_sim.state.parameters import given, parameter
from tme_sim.state.substance import Matrix
from tme_sim.state.vessels import VesselGraph


@dataclass(frozen=True)
class Geometry:
    """What a tissue builds; its one patch still has one copy.

    lumen_fraction, surface_um2: (z, y, x) per voxel; inside: (z, y, x) per voxel, True within the tumour; occupancy:
    (z, y, x) per site, chance that it holds a cell, None where the density of cells is the same everywhere; morphometry:
    figures for the report, with units in their names.
    """

    lattice: Lattice
    lumen_fraction: NDArray[np.float64]
    surface_um2: NDArray[np.float64]
    inside: NDArray[np.bool_]
    occupancy: NDArray[np.float64] | None = None
    morphometry: dict[str, float] = field(default_factory=dict)
    graph: VesselGraph | None = None


@dataclass(kw_only=True, eq=False)
class Tissue(ABC):
    """One kind of tissue. Subclasses are dataclasses of parameters and build a Geometry."""

    tumor_mass_g: float = parameter("mass of the whole tumour that the lattice is a part of", above=0)
    density_g_per_mL: float = parameter("density of the tissue", above=0.5, below=2)
    matrix: Matrix = parameter("extracellular matrix")
    site_um: float = given("lattice.site_um")
    refinement: int = given("lattice.refinement")

    @abstractmethod
    def build(self, random: np.random.Generator, data: Path | None) -> Geometry:
        """Make the tissue; `data` is the folder that holds data-set folders."""
