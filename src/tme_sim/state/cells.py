"""Cells in space: who lives, what share of each voxel they take, and what becomes of what a dead one held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.random import Key
from tme_sim.numerics.share import split
from tme_sim.state.drug import extracellular
from tme_sim.state.population import Population
from tme_sim.state.variables import DEAD, OCCUPANTS

if TYPE_CHECKING:
    from tme_sim.state.lattice import Lattice

Columns = Mapping[str, NDArray[Any]]
Fields = Mapping[str, NDArray[Any]]
Bools = NDArray[np.bool_]

IN_CELLS = ("drug_in_cells_amol", "drug_source_in_cells_amol")


@dataclass(frozen=True)
class Space:
    """What a site loses to its cell: the cell's volume, and the share of the extracellular space that the carrier can reach."""

    cell_um3: float
    accessible_share: float

    def fill(self, lattice: Lattice, fields: Fields, occupied: Bools) -> None:
        """Set `cell_fraction` and `accessible_fraction` for the sites (sites,) that are taken now, in place.

        A cell takes the same share of the tissue of all its voxels, less than all of it: where carriers could be they still
        can, and what is in a voxel stays there. Dissolved drug keeps its amount: its concentration changes.
        """
        dissolved = fields["drug_mM"] * extracellular(fields) if "drug_mM" in fields else None
        tissue = 1 - fields["lumen_fraction"]
        fields["cell_fraction"][...] = lattice.on_voxels(occupied) * (self.cell_um3 / lattice.site_um**3) * tissue
        left = extracellular(fields)
        fields["accessible_fraction"][...] = np.where(fields["inside"] > 0, left * self.accessible_share, 0.0)
        if dissolved is not None:
            np.divide(dissolved, left, out=fields["drug_mM"], where=left > 0)


def give_phases(cells: Population) -> None:
    """The column `phase`, if it is not there: all are cycling."""
    cells.columns.setdefault("phase", np.zeros(len(cells), np.int8))


def is_alive(cells: Columns) -> Bools:
    """(cells,) who lives; of a kind without phases all do."""
    return np.asarray(cells["phase"] < DEAD) if "phase" in cells else np.ones(len(cells["site"]), bool)


def occupied_sites(lattice: Lattice, populations: Mapping[str, Columns]) -> Bools:
    """(sites,) whether a cell fills the site, dead or alive."""
    taken = np.zeros(lattice.n_sites, bool)
    for kind in OCCUPANTS:
        taken[populations[kind]["site"]] = True
    return taken


def parts_of(ids: NDArray[np.int64], held: NDArray[Any]) -> NDArray[np.int64]:
    """An entity number for every part of what agents hold (agents, …), from their ids whatever their rows."""
    parts = int(np.prod(held.shape[1:]))
    return (ids[:, None] * parts + np.arange(parts)).reshape(held.shape)


def give_back(lattice: Lattice, fields: Fields, cells: Columns, dead: Bools, key: Key) -> None:
    """What dead cells held goes into the accessible volume of their sites, by route and form as before."""
    if not dead.any():
        return
    voxels = lattice.footprint()[cells["site"][dead]]
    held = (cells["cargo"][dead] + cells["lysosome"][dead]).reshape(len(voxels), -1)
    volume = fields["accessible_fraction"].ravel()[voxels]
    spread = split(held, volume[:, None], key, parts_of(cells["id"][dead], held))
    free: NDArray[Any] = fields["nanoparticle"].reshape(held.shape[1], -1)
    part = np.arange(held.shape[1])[None, :, None]
    np.add.at(free, (part, voxels[:, None]), spread.astype(free.dtype, copy=False))


def free_drug(lattice: Lattice, fields: Fields, vacated: NDArray[np.int64]) -> None:
    """Drug in the cells of sites that nobody is left on is outside cells now."""
    voxels = lattice.footprint()[vacated]
    for name in IN_CELLS:
        in_cells = fields[name].reshape(-1)
        fields["drug_source_amol"].reshape(-1)[voxels] += in_cells[voxels]
        in_cells[voxels] = 0.0


def move_drug(
    lattice: Lattice, fields: Fields, before: NDArray[np.int64], after: NDArray[np.int64], part: NDArray[np.float64]
) -> None:
    """Drug in cells goes with them from site to site: of what is on `before`, the share `part` (cells,) is each one's."""
    footprint = lattice.footprint()
    for name in IN_CELLS:
        in_cells = fields[name].reshape(-1)
        taken = in_cells[footprint[before]] * part[:, None]
        np.subtract.at(in_cells, footprint[before], taken)
        np.add.at(in_cells, footprint[after], taken)
        np.maximum(in_cells, 0.0, out=in_cells)  # rounding, where several leave
