"""Profiles of runs written by hand against closed forms, and of a small run against its own ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tme_sim.analysis import profiles
from tme_sim.config.load import load, request
from tme_sim.files.run_folder import RunFolder
from tme_sim.files.run_store import RunStore
from tme_sim.runner import execute
from tme_sim.state.errors import InputError
from tme_sim.state.variables import PHAGOCYTES, ROUTES

SITES, SITE_UM, RADIUS_UM, FALL_UM = (14, 40, 40), 10.0, 5.0, 60.0
AXIS_UM = 200.0  # the vessel runs along z at this y and x
Write = Callable[..., RunFolder]


def to_wall(refinement: int = 1) -> np.ndarray:
    """(y, x) distance of voxel centres from the wall of a vessel along z."""
    place = (np.arange(SITES[1] * refinement) + 0.5) * SITE_UM / refinement - AXIS_UM
    return np.maximum(np.hypot(place[:, None], place) - RADIUS_UM, 0)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A run with one straight vessel along z, free carriers as given per voxel, and cells that hold as many as given by site."""

    def make(free: np.ndarray, cells: dict[int, float] | None = None, *, graph: bool = True, **info: Any) -> RunFolder:
        store = RunStore.create(tmp_path / f"run{len(list(tmp_path.iterdir()))}")
        patches = info.get("patches", [{"name": "tumor", "copies": 7}])
        store.write_json("run.json", {"format": 1, "status": "done", "sites": list(SITES), "patches": patches})
        store.write_text("config.yaml", "record: {level: full}\n")
        refinement = free.shape[0] // SITES[0]
        lumen = np.broadcast_to(to_wall(refinement) == 0, free.shape) * 0.9
        static = {"inside": np.ones(free.shape), "lumen_fraction": lumen, "wall_surface_um2": (lumen > 0) * 1.0}
        store.static_fields(static, {}, SITE_UM / refinement)
        amount = np.zeros((len(ROUTES), 2, *free.shape))
        amount[1, 0], amount[2, 1] = 0.25 * free, 0.75 * free
        store.append_frame(0.0, {"nanoparticle": np.zeros_like(amount)}, {})
        store.append_frame(60.0, {"nanoparticle": amount}, {})
        held = cells or {}
        agents = {"site": list(held), "cargo_gap_loaded": list(held.values()), "lysosome_gap_loaded": 1.0}
        store.write_table("agents/macrophages/000000060.parquet", pd.DataFrame(agents))
        if graph:
            ends = {
                "y0_um": AXIS_UM,
                "x0_um": AXIS_UM,
                "y1_um": AXIS_UM,
                "x1_um": AXIS_UM,
                "z0_um": 0.0,
                "z1_um": SITES[0] * SITE_UM,
            }
            store.write_table("vessels.parquet", pd.DataFrame([ends | {"node0": 0, "node1": 1, "radius_um": RADIUS_UM}]))
        return RunFolder(store.folder)

    return make


@pytest.mark.parametrize("refinement", [1, 2])
def test_an_exponential_fall_around_a_vessel_is_read_off(write: Write, refinement: int) -> None:
    distance_um = to_wall(refinement)
    outside = np.where(distance_um > 0, 1.0, 0.1)
    shape = (SITES[0] * refinement, *distance_um.shape)
    profile = profiles.penetration(write(np.broadcast_to(1e3 * outside * np.exp(-distance_um / FALL_UM), shape)))
    assert profile.measured_to == profiles.GRAPH
    voxel_um = SITE_UM / refinement
    per_mm3 = 1e3 * np.exp(-profile.distance_um / FALL_UM) / voxel_um**3 * 1e9
    # within a bin the carriers lie up to half a voxel nearer or farther
    np.testing.assert_allclose(profile.density_per_mm3["free"][profile.read], per_mm3[profile.read], rtol=voxel_um / FALL_UM / 2)
    assert profile.half_distance_um == pytest.approx(FALL_UM * np.log(2), abs=voxel_um / 2)
    assert profile.resolved_um == 3 * voxel_um


def test_what_is_spread_evenly_is_its_own_null_model(write: Write) -> None:
    tissue = np.where(to_wall() > 0, 1.0, 0.1)
    profile = profiles.penetration(write(np.broadcast_to(50 * tissue, SITES)))
    np.testing.assert_allclose(profile.density_per_mm3["all"], profile.uniform_per_mm3)
    assert profile.uniform_per_mm3 == pytest.approx(50 / SITE_UM**3 * 1e9)
    assert profile.half_distance_um is None


def test_every_carrier_is_in_one_bin_weighted_by_the_copies(write: Write) -> None:
    random = np.random.default_rng(1)
    free = random.poisson(3.0, SITES).astype(float)
    profile = profiles.penetration(write(free, {5: 10.0, 700: 3.0}))
    assert profile.carriers["free"].sum() == pytest.approx(7 * free.sum())
    assert profile.carriers["in cells"].sum() == 7 * (10 + 3 + 2)
    assert profile.voxels.sum() == free.size


def test_a_cells_cargo_lies_at_its_site(write: Write) -> None:
    site = (3, 5, 28)
    fine = np.zeros(tuple(2 * n for n in SITES))
    profile = profiles.penetration(write(fine, {int(np.ravel_multi_index(site, SITES)): 15.0}))
    voxels_um = to_wall(2)[10:12, 56:58]
    expected = np.bincount(np.floor(voxels_um.ravel() / 5 + 0.5).astype(int), minlength=len(profile.voxels)) * 7 * 16 / 4
    np.testing.assert_allclose(profile.carriers["in cells"], expected)


def test_without_a_graph_distances_are_between_voxels(write: Write) -> None:
    profile = profiles.penetration(write(np.ones(SITES), graph=False))
    assert profile.measured_to == profiles.VOXELS
    assert profile.voxels[0] == SITES[0] * (to_wall() == 0).sum()


def test_a_patch_is_not_supplied_by_the_vessels_of_another(write: Write) -> None:
    patches = [
        {"name": "rim", "copies": 3, "first_plane": 0, "planes": 7},
        {"name": "core", "copies": 5, "first_plane": 7, "planes": 7},
    ]
    run = write(np.ones(SITES), patches=patches)
    half = run.vessels.assign(z1_um=69.0)
    RunStore(run.folder).write_table("vessels.parquet", half)
    profile = profiles.penetration(run)
    assert profile.voxels.sum() == np.prod(SITES) / 2
    assert profile.carriers["free"].sum() == 3 * np.prod(SITES) / 2


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    loaded = load(request(["lattice.size=90um", "protocol.duration=2h", "number=stochastic", "protocol.dose=1e12particles"]))
    return RunFolder(execute(loaded.config, tmp_path_factory.mktemp("runs") / "small").folder)


def test_amounts_over_time_are_those_of_the_ledger(small: RunFolder) -> None:
    table = profiles.amounts(small)
    found = table.groupby(["time_s", "compartment"])["amount"].sum()
    terms = small.ledger[small.ledger["term"] != "injected"].set_index(["time_s", "term"])["amount"]
    pd.testing.assert_series_equal(found.sort_index(), terms.sort_index(), check_names=False)
    last = table[table["time_s"] == table["time_s"].max()]
    assert last["percent_id"].sum() == pytest.approx(100)


def test_net_entry_is_what_is_held_and_what_was_degraded(small: RunFolder) -> None:
    table = profiles.amounts(small)
    last = table[(table["time_s"] == table["time_s"].max()) & (table["route"] != "all")]
    assert profiles.net_entry(small) == last.groupby("route")["amount"].sum().to_dict()
    assert profiles.net_entry(small)["gap"] > 0


def test_carriers_in_cells_are_those_of_the_series(small: RunFolder) -> None:
    held, table = profiles.carriers_per_cell(small), profiles.amounts(small)
    last = table[table["time_s"] == table["time_s"].max()].groupby("compartment")["amount"].sum()
    assert {"macrophages", "tumor_cells"} <= set(held) <= {"macrophages", "tumor_cells", *PHAGOCYTES}
    for kind, cargo in held.items():
        assert cargo.sum() * profiles.copies(small)["tumor"] == last[kind]


def test_what_was_not_recorded_is_named(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "bare")
    store.write_json("run.json", {"format": 1, "status": "done"})
    store.write_text("config.yaml", "record: {level: summary}\n")
    with pytest.raises(InputError, match="kept no series"):
        profiles.amounts(RunFolder(store.folder))
    with pytest.raises(InputError, match="kept no fields"):
        profiles.penetration(RunFolder(store.folder))
