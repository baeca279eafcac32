"""The Python interface: what it returns, twice in one process, and its errors."""

from __future__ import annotations

from pathlib import Path

import pytest

import tme_sim

SMALL = {"variant": "small", "lattice.size": "120 um", "protocol.duration": "2 h"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_gives_its_fields_series_agents_and_summary(here: Path) -> None:
    run = tme_sim.run("quick", {**SMALL, "protocol.dose": "1e12particles"}, seed=3)
    assert run.fields["nanoparticle"].dims == ("time", "route", "form", "z", "y", "x")
    assert run.fields["nanoparticle"].attrs["units"] == "count"
    assert run.fields["time"].values.tolist() == [0.0, 3600.0, 7200.0]
    assert run.summary["seed"] == 3
    last, first = run.agents("macrophages"), run.agents("macrophages", time="0 h")
    assert last["id"].tolist() == first["id"].tolist()
    assert last.filter(like="cargo_").to_numpy().sum() > first.filter(like="cargo_").to_numpy().sum() == 0
    held = run.series.query("time_s == 7200 and compartment == 'interstitium' and quantity == 'amount'")["value"].sum()
    assert held == run.fields["nanoparticle"].isel(time=-1).sum()
    assert "quick" in run._repr_html_()


def test_two_runs_in_one_process_do_not_know_of_each_other(here: Path) -> None:
    first = tme_sim.run("quick", SMALL, out="a")
    other = tme_sim.run("quick", {**SMALL, "seed": 2}, out="b")
    again = tme_sim.run("quick", SMALL, out="c")
    assert first.series.equals(again.series)
    assert not first.series.equals(other.series)


def test_a_run_is_found_by_folder_by_last_and_by_its_hash(here: Path) -> None:
    run = tme_sim.run("quick", SMALL)
    for name in (run.folder, "last", run.info["hash"][:6]):
        assert tme_sim.open_run(name).folder == run.folder
    with pytest.raises(tme_sim.InputError, match="no such run"):
        tme_sim.open_run("nothing")


def test_a_time_that_was_not_recorded_is_refused_with_those_that_were(here: Path) -> None:
    run = tme_sim.run("quick", SMALL)
    with pytest.raises(tme_sim.InputError, match=r"was not recorded; recorded are 0 h, 1 h, 2 h"):
        run.agents("macrophages", time="5 h")
    with pytest.raises(tme_sim.InputError, match="recorded arrested, gaps, macrophages, monocytes, neutrophils, tumor_cells"):
        run.agents("platelets")


def test_a_sweep_returns_its_table(here: Path) -> None:
    sizes = ["30 nm", "65 nm"]
    table = tme_sim.sweep(
        "quick", {"nanoparticle.hydrodynamic_diameter": sizes, **{key: [value] for key, value in SMALL.items()}}
    )
    assert table["nanoparticle.hydrodynamic_diameter"].tolist() == sizes
    assert (table["status"] == "done").all()
    assert table["tumor_percent_id"].is_monotonic_decreasing


def test_plan_runs_nothing(here: Path) -> None:
    planned = tme_sim.plan("quick", SMALL)
    assert planned.steps == 120
    assert planned.wall_s > 0
    assert not list(here.iterdir())


def test_errors_are_exceptions_that_list_everything(here: Path) -> None:
    with pytest.raises(tme_sim.InputErrors) as caught:
        tme_sim.run("quick", {"sed": 3, "lattice.size": 480})
    assert len(caught.value.errors) == 2
    assert not list(here.iterdir())


def test_public_names_are_all_there() -> None:
    assert all(hasattr(tme_sim, name) for name in tme_sim.__all__)
    assert {"lightsheet_tumor", "quick"} <= set(tme_sim.list("experiments"))
    with pytest.raises(AttributeError):
        tme_sim.nothing  # noqa: B018
