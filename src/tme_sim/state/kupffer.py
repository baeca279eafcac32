"""Kupffer cells of the tissue: which of them took what the liver's Kupffer cells, a pool of the body, took from blood."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.random import Key
from tme_sim.numerics.share import share, split
from tme_sim.state.population import Population

Reals = NDArray[np.float64]
KIND = "kupffer_cells"
FLOW = "liver_plasma_flow_um3_per_s"
LARGEST_EXTRACTION = 0.99
"""Of the plasma's content in one passage; a card's clearance may exceed the liver's flow, which brings no more than it holds."""


@dataclass(frozen=True)
class Sinusoids:
    """Where Kupffer cells may sit, both (z, y, x): `surface_um2`, the wall of sinusoids in the voxel, and `passed`, the share of
    its sinusoid that blood has passed there, 0 at the portal tract, 1 at the central vein. plasma_flow_per_s: plasma that passes
    the liver per its volume.
    """

    surface_um2: Reals
    passed: Reals
    plasma_flow_per_s: float

    def populate(self, cells: int, carriers: type, random: np.random.Generator) -> Population:
        """So many Kupffer cells at most one in a voxel, by its wall, who have taken nothing."""
        wall = self.surface_um2.ravel()
        voxel = np.sort(random.choice(wall.size, min(cells, int((wall > 0).sum())), replace=False, p=wall / wall.sum()))
        columns = {"voxel": voxel.astype(np.int64), "passed": self.passed.ravel()[voxel]}
        return Population({**columns, "taken": np.zeros(len(voxel), carriers)})


def extraction(cleared_um3: float, passed_um3: float) -> float:
    """E, the share of its content that plasma loses in one passage through the liver."""
    return min(cleared_um3 / passed_um3, LARGEST_EXTRACTION)


def hand_out(cells: Mapping[str, Any], taken: Any, of_all: float, extracted: float, capacity: float | None, key: Key) -> None:
    """Of what the body's `of_all` Kupffer cells took, the share of those on the lattice goes to them one by one, in place.

    Each particle is theirs with the chance n/N, so nothing is taken twice: they tell where in the liver a part of the pool is.
    Along a sinusoid plasma falls to (1 − E)^s of what came in at the share s of its length, and uptake with it; where their room
    is what saturates (`capacity`), by what is left of it.
    """
    if len(cells["voxel"]) == 0:
        return
    weight = (1 - extracted) ** cells["passed"]
    if capacity is not None:
        weight = weight * np.clip(1 - cells["taken"] / capacity, 1e-9, None)
    theirs = share(taken, min(len(weight) / of_all, 1.0), key)
    cells["taken"][...] += split(theirs, weight, (key[0], key[1] ^ 1))
