"""A piece of tissue by hand, for microscopes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tme_sim.imaging.frame import COMPARTMENTS, Frame
from tme_sim.state.body import Body
from tme_sim.state.lattice import Lattice, Patch

LATTICE = Lattice((2, 4, 4), 15.0)


def tissue(number: float = 20.0, lattice: Lattice = LATTICE, **changes: Any) -> Frame:
    """A tube along x through the middle, cells on every second site, carriers everywhere."""
    zero = np.zeros((2, *lattice.voxels))
    lumen = np.zeros(lattice.sites)
    lumen[1, 1:3] = 0.06
    lumen = lattice.on_voxels(lumen).copy()
    carriers = {name: zero.copy() for name in COMPARTMENTS}
    carriers["extracellular"][0], carriers["blood"][0], carriers["endothelium"][1] = number, number * (lumen > 0), lumen > 0
    sites = {"tumor_cells": np.arange(0, 32, 4), "macrophages": np.arange(2, 32, 4)}
    held = {kind: np.full((8, 2), number / 2) for kind in sites}
    for kind, site in sites.items():
        carriers[kind] += lattice.evenly(np.bincount(site, np.full(8, number / 2), 32))
    tube = {"z0_um": 16.0, "y0_um": 30.0, "x0_um": -20.0, "z1_um": 16.0, "y1_um": 30.0, "x1_um": 80.0, "radius_um": 4.0}
    made = Frame(
        time_s=3600.0,
        seed=7,
        lattice=lattice,
        carriers=carriers,
        held=held,
        agents={kind: pd.DataFrame({"id": np.arange(8), "site": site}) for kind, site in sites.items()},
        fields={"lumen_fraction": lumen, "cell_fraction": np.full(lattice.voxels, 0.3)},
        organs={},
        tumor_carriers=np.ones(2),
        label_on={},
        label_free={},
        body=Body(1e12, 25.0, {}, blood_volume_um3=1.7e12),
        tumor_mass_g=0.5,
        injected=1e10,
        vessels=pd.DataFrame({name: [value] for name, value in tube.items()}),
    )
    return replace(made, **changes)


@pytest.fixture(scope="session", name="make_frame")
def _make_frame() -> Callable[..., Frame]:
    """`make_frame(20.0, seed=8, …)`: 20 carriers in each voxel and cell, and what else a frame may have."""
    return tissue


BLOCK = Lattice((10, 10, 10), 60.0, 1, (Patch("tumor", 0, 10, 2000),))
DENSITY_G_PER_ML = 1.05


def mouse(**changes: Any) -> Frame:
    """Two whole carriers a voxel outside cells, a released one in macrophages; plasma, liver and spleen hold the rest."""
    zero = np.zeros((2, *BLOCK.voxels))
    carriers = {name: zero.copy() for name in COMPARTMENTS}
    carriers["extracellular"][0], carriers["macrophages"][1] = 2.0, 1.0
    lumen = np.full(BLOCK.voxels, 0.03)
    organs = {"blood": 4e7, "liver": 6e7, "spleen": 1e7, "elsewhere": 3e7}
    carriers["blood"][0] = lumen * BLOCK.voxel_um3 * organs["blood"] / 1.7e12
    made = Frame(
        time_s=24 * 3600.0,
        seed=4,
        lattice=BLOCK,
        carriers=carriers,
        held={},
        agents={},
        fields={"lumen_fraction": lumen, "inside": np.ones(BLOCK.voxels)},
        organs={name: np.array([amount, 0.0]) for name, amount in organs.items()},
        tumor_carriers=np.array([4e6, 2e6]),
        label_on={},
        label_free={},
        body=Body(1e12, 25.0, {"liver": 1.375, "spleen": 0.1}, blood_volume_um3=1.7e12),
        tumor_mass_g=2000 * 0.6**3 * 1e-3 * DENSITY_G_PER_ML,
        injected=2000 * 3 * 1000.0 + sum(organs.values()),
    )
    return replace(made, **changes)


@pytest.fixture(scope="session", name="make_mouse_frame")
def _make_mouse_frame() -> Callable[..., Frame]:
    """`make_mouse_frame(seed=8, …)`: a tumour of 432 mm³ in a mouse of 25 g, with all that an instrument of millimetres needs."""
    return mouse
