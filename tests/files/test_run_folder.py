"""Reading runs back: what was recorded, what was not, and finding a run by path, `last` or the start of its hash."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tme_sim.cli import main
from tme_sim.files.run_folder import RunFolder, find_run
from tme_sim.state.errors import InputError
from tme_sim.state.variables import FORMS, ROUTES

WORDS = ["quick", "lattice.size=120um", "protocol.duration=1h", "record.interval=30min", "report=false", "--quiet"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("run") / "full"
    assert main(["run", *WORDS, "protocol.dose=1e13particles", "--out", str(folder)]) == 0
    return RunFolder(folder)


@pytest.fixture(scope="module")
def summary_only(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("run") / "summary"
    assert main(["run", *WORDS, "record.level=summary", "--out", str(folder)]) == 0
    return RunFolder(folder)


def test_fields_have_coordinates_and_units(run: RunFolder) -> None:
    fields = run.fields
    assert fields["nanoparticle"].dims == ("time", "route", "form", "z", "y", "x")
    assert fields["nanoparticle"].shape == (3, len(ROUTES), len(FORMS), 8, 8, 8)
    assert fields["time"].values.tolist() == [0.0, 1800.0, 3600.0]
    assert fields["z"].values.tolist() == [7.5 + 15 * n for n in range(8)]
    assert fields["z"].attrs["units"] == "um"
    assert [name for name in fields.data_vars if not {"units", "long_name"} <= set(fields[name].attrs)] == []
    gap = fields["nanoparticle"].sel(route="gap", form="loaded", time=3600.0)
    assert gap.dtype == np.int32
    assert int(gap.sum()) > 0


def test_fields_series_and_agents_tell_the_same(run: RunFolder) -> None:
    series = run.series
    amounts = series[(series["time_s"] == 3600.0) & (series["quantity"] == "amount")].groupby("compartment")["value"].sum()
    last = run.fields.isel(time=-1)
    assert amounts["interstitium"] == float(last["nanoparticle"].sum())
    assert amounts["bound"] == float(last["bound"].sum())
    assert amounts["endothelium"] == float(last["endothelium"].sum())
    for kind in ("macrophages", "tumor_cells"):
        agents = run.agents(kind)
        held = [name for name in agents.columns if name.startswith(("cargo_", "lysosome_"))]
        assert len(held) == 2 * len(ROUTES) * len(FORMS)
        assert amounts[kind] == agents[held].to_numpy().sum() > 0


def test_agents_come_at_recorded_times_only(run: RunFolder) -> None:
    assert len(run.agents("macrophages", 0.0)) == len(run.agents("macrophages")) > 0
    with pytest.raises(InputError, match=r"time 60 s: was not recorded; recorded are 0 h, 0\.5 h, 1 h"):
        run.agents("macrophages", 60.0)
    with pytest.raises(InputError, match="agents platelets: this run recorded arrested, gaps, macrophages, monocytes"):
        run.agents("platelets")


def test_frames_are_found_by_time(run: RunFolder) -> None:
    assert [run.frame(), run.frame(0.0), run.frame(1800.4)] == [2, 0, 1]
    with pytest.raises(InputError, match="was not recorded"):
        run.frame(900.0)


def test_a_run_knows_its_configuration_vessels_and_status(run: RunFolder) -> None:
    assert run.config["lattice"]["size"] == "120 um"
    assert run.config["sources"]["lattice.size"] == {"note": "set by the user"}
    assert run.info["status"] == "done"
    assert run.summary["seed"] == 1
    assert run.times_s == [0.0, 1800.0, 3600.0]
    assert run.vessels is not None
    assert {"z0_um", "x1_um", "radius_um"} <= set(run.vessels.columns)
    assert repr(run) == f"<run quick done in {run.folder}>"


def test_what_was_not_kept_is_told_with_the_level_that_keeps_it(summary_only: RunFolder) -> None:
    assert summary_only.summary["injected"] == 3e10
    for name, level in (("fields", "full"), ("series", "series"), ("ledger", "series")):
        told = rf"record\.level summary: kept no {name}.*; run again with record\.level={level}"
        with pytest.raises(InputError, match=told):
            getattr(summary_only, name)
    with pytest.raises(InputError, match=r"this run recorded no agents \(record\.level=full does\)"):
        summary_only.agents("macrophages")
    with pytest.raises(InputError, match=r"kept no fields; run again with record\.level=full"):
        summary_only.frame()


def test_a_run_that_goes_on_has_no_summary_yet(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"format": 1, "status": "running", "name": "x"}')
    assert RunFolder(tmp_path).summary == {}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three runs under a base folder, the second the youngest."""
    for n, (name, hash_) in enumerate([("a", "12ab"), ("b", "12cd"), ("c", "ff00")]):
        folder = tmp_path / "quick" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"format": 1, "status": "done", "hash": hash_}))
        os.utime(folder / "run.json", (n if n != 1 else 9,) * 2)
    return tmp_path


@pytest.mark.parametrize(("name", "found"), [("last", "b"), ("12a", "a"), ("ff00", "c"), ("f", "c")])
def test_a_run_is_found_by_last_and_by_a_unique_start_of_its_hash(runs: Path, name: str, found: str) -> None:
    assert find_run(name, runs) == runs / "quick" / found


def test_a_run_is_found_by_its_folder_first(runs: Path) -> None:
    assert find_run(runs / "quick" / "a", runs) == runs / "quick" / "a"


@pytest.mark.parametrize(
    ("name", "told"),
    [("12", "2 runs have this hash; give the folder"), ("77", "no such run"), ("", "no such run"), (".", "no such")],
)
def test_an_ambiguous_or_unknown_name_is_told(runs: Path, name: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        find_run(name, runs)


def test_a_folder_that_is_half_written_does_not_hide_the_others(runs: Path) -> None:
    (runs / "quick" / "broken").mkdir()
    (runs / "quick" / "broken" / "run.json").write_text('{"format": 1, "sta')
    os.utime(runs / "quick" / "broken" / "run.json", (0, 0))
    assert find_run("ff", runs) == runs / "quick" / "c"
    assert find_run("last", runs) == runs / "quick" / "b"
