"""A plan says what a run would be: its configuration, number mode, steps, parts of its time, memory, files; nothing is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tme_sim.cli import main
from tme_sim.config.build import build
from tme_sim.config.load import Loaded, load, request
from tme_sim.planning import Plan, fill, plan

WORDS = ["quick", "lattice.size=120um", "protocol.duration=2h", "record.interval=1h"]


def loaded(*words: str) -> Loaded:
    return load(request([*WORDS, *words]))


@pytest.fixture(scope="module")
def planned() -> Plan:
    return plan(loaded("report=false"))


def test_a_plan_tells_everything_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plan", *WORDS, "number=auto"]) == 0
    told = capsys.readouterr().out
    for line in (
        "lattice:\n  size: 120 um",
        "dose: 3e+10 particles per injection",
        "number: stochastic (at most ",
        "lattice: 8 x 8 x 8 sites (z, y, x), 512 voxels",
        "steps: 120 of 60 s",
        "time: about ",
        "  start: ",
        "  transport: ",
        "  report: ",
        "memory: about ",
        "disk: about ",
    ):
        assert line in told
    assert list(tmp_path.iterdir()) == []


def test_the_time_is_the_sum_of_its_parts(planned: Plan) -> None:
    parts = ["start", "tissue", "kernels", *planned.built.processes, "records"]
    assert list(planned.parts_s) == parts
    assert planned.wall_s == pytest.approx(sum(planned.parts_s.values()))
    assert planned.steps == 120
    assert planned.memory_mb > 50


def test_a_report_costs_time_and_memory(planned: Plan) -> None:
    with_report = plan(loaded("report=true"))
    assert "report" in with_report.parts_s
    assert with_report.memory_mb > planned.memory_mb + 100


def test_files_and_bytes_are_those_of_a_run(planned: Plan, tmp_path: Path) -> None:
    assert main(["run", *WORDS, "report=false", "--out", str(tmp_path / "run"), "--quiet"]) == 0
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert 0.5 < len(files) / planned.files < 2
    assert 0.5 < sum(path.stat().st_size for path in files) / 1e6 / planned.disk_mb < 2


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_the_filled_state_holds_the_occupancy_that_is_expected(number: str) -> None:
    words = loaded(f"number={number}", "protocol.dose=1e13particles")
    built = build(words.config)
    fill(built, words.config)
    inside = built.state.fields["inside"] > 0
    held = built.state.fields["nanoparticle"].sum(axis=(0, 1))[inside]
    expected = 0.35 * built.occupancy * held.size
    assert abs(held.sum() - expected) < 5 * np.sqrt(expected)  # 5 sigma of a Poisson sum; the draws are seeded


def test_more_steps_take_more_time_and_less_records_less_disk(planned: Plan) -> None:
    longer = plan(loaded("report=false", "protocol.duration=20h", "record.interval=20h"))
    assert longer.steps == 10 * planned.steps
    assert longer.disk_mb < planned.disk_mb
    assert longer.files < planned.files


def test_little_is_planned_where_little_is_kept() -> None:
    summary = plan(loaded("report=false", "record.level=summary"))
    assert summary.files < 10
    assert summary.disk_mb < 1
