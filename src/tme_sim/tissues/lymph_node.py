"""Tissue `lymph_node`: a piece of subcapsular sinus with macrophages, and a metastasis that has none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tme_sim.state.errors import InputError
from tme_sim.state.lattice import Lattice
from tme_sim.state.parameters import given, parameter
from tme_sim.tissues.base import Geometry, Tissue


@dataclass(kw_only=True, eq=False)
class LymphNode(Tissue):
    """A sinus along the lowest planes of the box, through which `lymph` flows along x, and a metastasis on its floor.

    The metastasis is a ball around the middle of the floor, grown into the sinus above and the cortex below: it holds tumour
    cells, and the sinus beside it macrophages on a share of its sites. Lymph goes on through what fills the sinus. The cortex
    is closed to particles, as it is to what is larger than 70 kDa (Gretz 2000, doi:10.1084/jem.192.10.1425). What is told of the
    tumour is told of sinus and metastasis together, the tissue that particles reach. No blood vessels: blood brings none here.
    """

    sinus_height_um: float = parameter("height of the sinus", at_least=5, at_most=500)
    sinus_macrophages: float = parameter("share of the sinus's sites that hold a macrophage", at_least=0, at_most=1)
    metastasis_width: float = parameter("width of the metastasis over that of the box; 0: none", at_least=0, at_most=0.9)
    size_um: float = given("lattice.size_um")
    cells_per_um3: float = given("cells.density_per_um3")

    def build(self, random: np.random.Generator, data: Path | None) -> Geometry:
        n = round(self.size_um / self.site_um)
        if n < 4 or abs(n * self.site_um - self.size_um) > 1e-6 * self.size_um:
            allowed = f"must be a whole multiple of lattice.site, {self.site_um:g} um, and at least 4 of them"
            raise InputError("lattice.size", f"{self.size_um:g} um", allowed)
        planes = round(self.sinus_height_um / self.site_um)
        if not 1 <= planes <= n:
            told = f"must be between a site, {self.site_um:g} um, and the box"
            raise InputError("tissue.sinus_height", f"{self.sinus_height_um:g} um", told)
        lattice = Lattice((n, n, n), self.site_um, self.refinement)
        z, y, x = np.meshgrid(*(3 * [(np.arange(n) + 0.5) / n - 0.5]), indexing="ij", sparse=True)
        depth = z + 0.5 - planes / n
        metastasis = np.asarray(depth**2 + y**2 + x**2 < (self.metastasis_width / 2) ** 2)
        sinus = np.arange(n)[:, None, None] < planes
        filled = min(1.0, self.cells_per_um3 * self.site_um**3)
        occupancy = np.where(metastasis, filled, self.sinus_macrophages * sinus)
        inside = lattice.on_voxels((sinus | metastasis).ravel())
        nothing, of_cells = np.zeros(lattice.voxels), np.where(metastasis, 0.0, 1.0)
        figures = {"sinus_fraction": float(planes / n), "metastasis_fraction": float(metastasis.mean())}
        through = np.array(lattice.on_voxels((sinus & np.ones_like(metastasis)).ravel()))
        return Geometry(lattice, nothing, nothing.copy(), np.array(inside), occupancy, figures, None, of_cells, sinus=through)
