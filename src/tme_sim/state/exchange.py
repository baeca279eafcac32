"""Carriers crossing between plasma and the lattice: one draw for the whole wall, shared among its places."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.random import Key
from tme_sim.numerics.share import share, split
from tme_sim.state.lattice import Lattice
from tme_sim.state.ledger import Ledger
from tme_sim.state.variables import FORMS


def draw_from_plasma(
    plasma: NDArray[Any],
    plasma_volume_um3: float,
    ledger: Ledger,
    lattice: Lattice,
    voxel: NDArray[np.int64],
    clearance_um3_per_s: NDArray[np.float64],
    route: int,
    dt_s: float,
    key: Key,
) -> NDArray[Any]:
    """Move what the places at `voxel` clear from plasma in dt; returns it as (form, places) per patch instance.

    Every place takes clearance · C_p; a patch's total is one draw from plasma / copies, so that what its copies take can
    never exceed what plasma holds, and the parts add up exactly.
    """
    entered = np.zeros((len(FORMS), len(voxel)), plasma.dtype)
    patch_of_place = lattice.patch_of_voxel(voxel)
    for patch, copies in enumerate(lattice.copies.tolist()):
        here = patch_of_place == patch
        total = float(clearance_um3_per_s[here].sum())
        if total <= 0:
            continue
        per_copy = plasma // copies if plasma.dtype.kind == "i" else plasma / copies
        drawn = share(per_copy, -np.expm1(-copies * total * dt_s / plasma_volume_um3), (key[0], key[1] ^ patch))
        entered[:, here] = split(drawn, clearance_um3_per_s[here] / total, (key[0], key[1] ^ (patch + 2**32)))
        ledger.enter(plasma, patch, copies, route, drawn)
    return entered


def return_to_plasma(
    plasma: NDArray[Any], ledger: Ledger, lattice: Lattice, voxel: NDArray[np.int64], amount: NDArray[Any]
) -> None:
    """Give `amount` (route, form, places) back to plasma."""
    patch_of_place = lattice.patch_of_voxel(voxel)
    for patch, copies in enumerate(lattice.copies.tolist()):
        ledger.leave(plasma, patch, copies, amount[:, :, patch_of_place == patch].sum(axis=2))
