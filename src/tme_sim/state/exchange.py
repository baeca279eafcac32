"""Carriers crossing between the body and the lattice: one draw for the whole wall, shared among its places."""

from __future__ import annotations

from collections.abc import Iterator
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
    for patch, copies, here in _places_by_patch(lattice, voxel):
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
    for patch, copies, here in _places_by_patch(lattice, voxel):
        ledger.leave(plasma, patch, copies, amount[:, :, here].sum(axis=2))


def _places_by_patch(lattice: Lattice, voxel: NDArray[np.int64]) -> Iterator[tuple[int, int, NDArray[np.bool_] | slice]]:
    """Patch, its copies, and which places lie in it; of a lattice of one patch all of them, without a copy."""
    if len(lattice.patches) == 1:
        yield 0, lattice.patches[0].copies, slice(None)
        return
    patch_of_place = lattice.patch_of_voxel(voxel)
    for patch, copies in enumerate(lattice.copies.tolist()):
        yield patch, copies, patch_of_place == patch


def draw_loads(pool: NDArray[Any], cells: float, lattice: Lattice, voxel: NDArray[np.int64], key: Key) -> NDArray[Any]:
    """What cells that come out of blood at `voxel` (agents,) bring along, (agents, form): each a share 1/`cells` of the pool.

    A patch's total is one draw from pool / copies, as in `draw_from_plasma`: what all copies of these agents bring is never more
    than blood's cells hold, nor are they ever more than its `cells`.
    """
    loads = np.zeros((len(voxel), len(FORMS)), pool.dtype)
    patch_of_agent = lattice.patch_of_voxel(voxel)
    for patch, copies in enumerate(lattice.copies.tolist()):
        here = patch_of_agent == patch
        agents = int(here.sum())
        if agents == 0:
            continue
        drawn = share(_per_copy(pool, copies, key), min(1.0, agents * copies / cells), (key[0], key[1] ^ patch))
        if pool.dtype.kind == "i":
            drawn = np.minimum(drawn, pool // copies)
        loads[here] = split(drawn, np.ones(agents), (key[0], key[1] ^ (patch + 2**32))).T
        pool[...] = np.maximum(pool - copies * drawn, 0)  # of reals the last rounding could owe
    return loads


def return_loads(pool: NDArray[Any], lattice: Lattice, voxel: NDArray[np.int64], loads: NDArray[Any]) -> None:
    """Give the loads (agents, form) of cells that go back into blood at `voxel` back to its pool."""
    patch_of_agent = lattice.patch_of_voxel(voxel)
    for patch, copies in enumerate(lattice.copies.tolist()):
        pool += copies * loads[patch_of_agent == patch].sum(axis=0)
