"""A small run written by hand, unequal along every axis so that a confusion of axes is seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tme_sim.files.run_folder import RunFolder
from tme_sim.files.run_store import RunStore
from tme_sim.state.variables import ROUTES

SITES, SITE_UM = (4, 6, 8), 20.0
VESSEL = {"z0_um": 30.0, "y0_um": 50.0, "x0_um": 0.0, "z1_um": 30.0, "y1_um": 50.0, "x1_um": 160.0, "radius_um": 8.0}


@pytest.fixture
def hand_made(tmp_path: Path) -> Callable[..., RunFolder]:
    """`hand_made(refinement=1, graph=True, fields=True)`: frames at 0 and 1 h; see the arrays below for what it holds."""

    def make(refinement: int = 1, *, graph: bool = True, fields: bool = True, dtype: Any = np.int32) -> RunFolder:
        store = RunStore.create(tmp_path / f"run{len(list(tmp_path.iterdir()))}")
        info = {"format": 1, "name": "hand_made", "status": "done", "sites": list(SITES)}
        store.write_json("run.json", info)
        config = "nanoparticle: {hydrodynamic_diameter: 65 nm}\ntissue: {kind: by_hand}\nrecord: {level: series}\n"
        store.write_text("config.yaml", config)
        if not fields:
            return RunFolder(store.folder)
        shape = tuple(refinement * n for n in SITES)
        lumen = np.zeros(shape)
        lumen[:, 2 * refinement : 3 * refinement, :] = 0.5
        store.static_fields({"lumen_fraction": lumen, "inside": np.ones(shape)}, {}, SITE_UM / refinement)
        for time_s in (0.0, 3600.0):
            amount = np.zeros((len(ROUTES), 2, *shape), dtype)
            if time_s:
                amount[ROUTES.index("gap"), 0, 1, 2, 5] = 300
                amount[ROUTES.index("transcytosis"), 1, 3, 5, 7] = 100
            store.append_frame(time_s, {"nanoparticle": amount, "bound": amount // 10}, {})
            agents = f"{round(time_s):09d}.parquet"
            store.write_table(f"agents/gaps/{agents}", pd.DataFrame({"voxel": [int(np.ravel_multi_index((1, 2, 5), shape))]}))
            cells = pd.DataFrame({"site": [0, 191], "cargo_gap_loaded": [0, 7], "lysosome_gap_loaded": [0, 1]})
            store.write_table(f"agents/macrophages/{agents}", cells)
        if graph:
            store.write_table("vessels.parquet", pd.DataFrame([VESSEL | {"node0": 0, "node1": 1}]))
        return RunFolder(store.folder)

    return make
