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
        chance = -np.expm1(-copies * total * dt_s / plasma_volume_um3)
        drawn = share(_per_copy(plasma, copies, key), chance, (key[0], key[1] ^ patch))
        if plasma.dtype.kind == "i":
            drawn = np.minimum(drawn, plasma // copies)
        entered[:, here] = split(drawn, clearance_um3_per_s[here] / total, (key[0], key[1] ^ (patch + 2**32)))
        ledger.enter(plasma, patch, copies, route, drawn)
    return entered


def _per_copy(plasma: NDArray[Any], copies: int, key: Key) -> NDArray[Any]:
    """What plasma holds for one copy; of counts the remainder is rounded up by chance, so that the mean is exact.

    Where that chance particle is drawn and plasma cannot pay for it in every copy, it stays: fewer than `copies` particles
    cannot enter.
    """
    if plasma.dtype.kind != "i":
        return np.asarray(plasma / copies)
    chance = plasma % copies / copies
    return np.asarray(plasma // copies + share(np.ones_like(plasma), chance, (key[0], key[1] ^ 2**33)))


def return_to_plasma(
    plasma: NDArray[Any], ledger: Ledger, lattice: Lattice, voxel: NDArray[np.int64], amount: NDArray[Any]
) -> None:
    """Give `amount` (route, form, places) back to plasma."""
    patch_of_place = lattice.patch_of_voxel(voxel)
    for patch, copies in enumerate(lattice.copies.tolist()):
        ledger.leave(plasma, patch, copies, amount[:, :, patch_of_place == patch].sum(axis=2))
