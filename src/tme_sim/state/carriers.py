"""Where carriers are in the tissue, whatever holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.state.lattice import Lattice

Columns = Mapping[str, NDArray[Any]]


def in_tissue(pools: Iterable[str]) -> tuple[str, ...]:
    """Of dotted names of pools those on the lattice, not in the body."""
    return tuple(pool for pool in pools if not pool.startswith("body."))


def carriers_on_voxels(
    lattice: Lattice,
    homes: Mapping[str, Columns],
    populations: Mapping[str, Columns],
    pools: Iterable[str],
    kinds: Iterable[str],
) -> NDArray[np.float64]:
    """(z, y, x) carriers in each voxel, of all routes and forms: in tissue, in the vessel wall, and in cells.

    homes: `fields` and `vessels`; pools: dotted names in them; kinds: populations with cargo, spread evenly over the site.
    """
    carriers = np.zeros(lattice.voxels)
    for pool in in_tissue(pools):
        home, name = pool.split(".", 1)
        amount = homes[home][name].sum(axis=(0, 1), dtype=np.float64)
        if home == "vessels":
            amount = np.bincount(homes[home]["voxel"], amount, lattice.n_voxels).reshape(lattice.voxels)
        carriers += amount
    for kind in kinds:
        agents = populations[kind]
        held = (agents["cargo"] + agents["lysosome"]).sum(axis=(1, 2), dtype=np.float64)
        carriers += lattice.evenly(np.bincount(agents["site"], held, lattice.n_sites).astype(np.float64))
    return carriers
