"""Sweeps: what they expand to, one number mode, what is skipped and what is run again, failures, kills, and the table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tme_sim import sweeping
from tme_sim.cli import main
from tme_sim.config.load import request
from tme_sim.provenance import config_hash
from tme_sim.simulation import Simulation
from tme_sim.state.errors import InputErrors, ModelError

WORDS = ["quick", "lattice.size=120um", "protocol.duration=10min", "record.interval=10min"]
FAILING = "tissue.tumor_mass=0.1ug,200mg"  # the first is less than the lattice holds


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def jobs(*words: str) -> list[sweeping.Job]:
    return sweeping.make_jobs(request([*WORDS, *words]))


def sweep(*words: str) -> int:
    return main(["run", "-m", *WORDS, *words, "--out", "sweep", "--quiet"])


def table() -> pd.DataFrame:
    return pd.read_parquet("sweep/sweep.parquet")


def status() -> dict[str, str]:
    found = {path.parent.name: json.loads(path.read_text("utf-8"))["status"] for path in Path("sweep").glob("*/run.json")}
    return dict(sorted(found.items()))


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Hashes of the jobs that are run, in order."""
    seen: list[str] = []
    execute = sweeping.execute

    def watch(config: Any, folder: Path, **more: Any) -> Any:
        seen.append(folder.name)
        return execute(config, folder, **more)

    monkeypatch.setattr(sweeping, "execute", watch)
    return seen


def test_the_product_of_all_lists_is_run_the_last_key_fastest() -> None:
    made = jobs("seed=1,2", "protocol.dose=1e9particles,2e9particles,3e9particles")
    swept = [(job.overrides["seed"], job.overrides["protocol.dose"]) for job in made]
    assert swept == [(seed, f"{dose}e9particles") for seed in "12" for dose in "123"]
    assert len({job.hash for job in made}) == 6


def test_a_range_is_a_list_and_equal_configurations_are_one_job() -> None:
    assert [job.config["seed"] for job in jobs("seed=range(3,6)")] == [3, 4, 5]
    assert len(jobs("nanoparticle.hydrodynamic_diameter=65nm,0.065um,30nm")) == 2


def test_replicates_differ_in_their_seed_only() -> None:
    made = jobs("replicates=3", "seed=10")
    assert [job.config["seed"] for job in made] == [10, 11, 12]
    assert [job.overrides["seed"] for job in made] == ["10", "11", "12"]
    assert {job.config["replicates"] for job in made} == {1}


def test_a_sweep_keeps_summaries_and_draws_no_reports_unless_asked() -> None:
    (quiet,) = jobs()
    assert (quiet.config["record"]["level"], quiet.config["report"]) == ("summary", False)
    (full,) = jobs("record.level=full")
    assert full.config["record"]["level"] == "full"
    assert full.hash == quiet.hash  # what is kept is no science


def test_one_number_mode_is_used_throughout() -> None:
    made = jobs("number=auto", "protocol.dose=1e9particles,1e15particles")
    assert [job.config["number"] for job in made] == ["continuum", "continuum"]
    assert [job.config["number"] for job in jobs("number=auto", "protocol.dose=1e9particles,2e9particles")] == ["stochastic"] * 2
    asked = jobs("number=stochastic,continuum")
    assert [job.config["number"] for job in asked] == ["stochastic", "continuum"]


def test_every_combination_is_validated_before_the_first_is_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep("seed=1,x", "lattice.refinement=1,7") == 2
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "tme-sim: error: lattice.refinement 7: must be at least 1 and at most 3",
        "tme-sim: error: seed x: needs a plain number",
    ]
    assert list(here.iterdir()) == []


def test_a_sweep_of_too_many_jobs_is_refused() -> None:
    with pytest.raises(InputErrors, match="sweep of 1000000 jobs: at most 100000"):
        jobs("seed=range(0,1000)", "protocol.dose=range(0,1000)")


def test_the_table_has_a_row_a_job_with_overrides_mode_status_and_summary(executed: list[str]) -> None:
    assert sweep("seed=1,2", "protocol.dose=1e9particles,2e9particles") == 0
    rows = table()
    assert list(rows["job"]) == executed == [job.hash for job in jobs("seed=1,2", "protocol.dose=1e9particles,2e9particles")]
    assert list(rows["protocol.dose"]) == ["1e9particles", "2e9particles"] * 2
    assert list(rows["injected"]) == [1e9, 2e9] * 2
    assert list(rows["seed"]) == [1, 1, 2, 2]
    assert set(rows["number"]) == {"stochastic"}
    assert set(rows["status"]) == {"done"}
    assert {"tumor_percent_id", "ledger_residual", "wall_s", "version"} <= set(rows.columns)
    assert set(status()) == set(executed)


def test_done_jobs_are_skipped_and_new_ones_run(executed: list[str]) -> None:
    assert sweep("seed=1,2") == 0
    first = table()
    executed.clear()
    assert sweep("seed=1,2") == 0
    assert executed == []
    assert sweep("seed=1,2,3") == 0
    assert len(executed) == 1
    again = table()
    pd.testing.assert_frame_equal(again.iloc[:2], first, check_dtype=False)


def test_a_failed_job_gives_one_and_its_reason_and_is_run_again_only_when_asked(executed: list[str]) -> None:
    assert sweep(FAILING) == 1
    rows = table()
    assert list(rows["status"]) == ["failed", "done"]
    assert rows["error"][0].startswith("tissue.tumor_mass 0.1 ug: must be at least 1.73e-06 g")
    assert rows["error"][1] is None or pd.isna(rows["error"][1])
    executed.clear()
    assert sweep(FAILING) == 1
    assert executed == []
    assert sweep(FAILING, "--retry") == 1
    assert executed == [rows["job"][0]]


def test_a_job_that_fails_in_the_model_and_is_mended_ends_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Simulation) -> None:
        raise ModelError("ledger: plasma does not balance")

    with monkeypatch.context() as broken:
        broken.setattr(Simulation, "step", fail)
        assert sweep("seed=1") == 1
    assert table()["error"][0] == "ledger: plasma does not balance"
    assert sweep("seed=1", "--retry") == 0
    assert list(table()["status"]) == ["done"]


def test_two_workers_give_what_one_gives(here: Path) -> None:
    axes = ["seed=1,2", "protocol.dose=1e9particles,3e10particles"]
    assert main(["run", "-m", *WORDS, *axes, "--out", "one", "--quiet"]) == 0
    assert main(["run", "-m", *WORDS, *axes, "--out", "two", "--quiet", "--workers", "2"]) == 0
    one, two = (
        pd.read_parquet(here / name / "sweep.parquet").drop(columns=["wall_s", "peak_memory_mb"]) for name in ("one", "two")
    )
    pd.testing.assert_frame_equal(one, two)


def test_workers_follow_their_sweep_to_another_working_directory(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("first", "second"):
        (here / place).mkdir()
        monkeypatch.chdir(here / place)
        assert sweep("seed=1,2", "--workers", "2") == 0
        assert (table()["status"] == "done").all()


def test_a_job_is_named_by_the_files_it_reads() -> None:
    curve = ["nanoparticle.clearance.model=curve", "nanoparticle.clearance.curve=plasma.csv"]
    Path("plasma.csv").write_text("time_h,percent_id\n0,100\n24,10\n")
    (before,) = jobs(*curve)
    assert (before.hash,) == tuple(job.hash for job in jobs(*curve))
    Path("plasma.csv").write_text("time_h,percent_id\n0,100\n24,20\n")
    (after,) = jobs(*curve)
    assert before.hash != after.hash
    assert before.config == after.config


def test_a_job_without_files_has_the_hash_of_its_run() -> None:
    (job,) = jobs()
    assert sweep() == 0
    assert json.loads(Path("sweep", job.hash, "run.json").read_text("utf-8"))["hash"] == job.hash
    assert config_hash(sweeping.validated(job.config).config) == job.hash


class Cells(HTMLParser):
    """The text of every cell of a page's table, by row; a tag that closes nothing is an error."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.inside = tag in ("td", "th")

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] += data


def test_the_page_holds_the_table_and_nothing_that_a_value_could_inject() -> None:
    assert sweep(FAILING) == 1
    page = Path("sweep/sweep.html").read_text("utf-8")
    head, *rows = Cells(page).rows
    assert head == list(table().columns)
    assert [row[0] for row in rows] == list(table()["job"])
    assert rows[0][head.index("status")] == "failed"
    assert "tissue.tumor_mass 0.1 ug: must be at least" in rows[0][head.index("error")]
    job = sweeping.Job({"name": "<script>alert(1)</script>"}, "0", {"name": "x", "number": "auto", "seed": 1}, ())
    sweeping.write_table([job], Path("sweep"))
    assert "<script>" not in Path("sweep/sweep.html").read_text("utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("stop", "code"),
    [pytest.param(signal.SIGKILL, -signal.SIGKILL, marks=pytest.mark.slow), (signal.SIGINT, 130)],
    ids=["killed", "interrupted"],
)
def test_a_sweep_that_is_stopped_goes_on_with_what_is_missing(stop: int, code: int, executed: list[str]) -> None:
    words = ["quick", "lattice.size=120um", "protocol.duration=8h", "seed=1,2,3"]
    command = [sys.executable, "-m", "tme_sim.cli", "sweep", *words, "--out", "sweep"]
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_NUM_THREADS"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    wait_for(lambda: "done" in status().values() and "running" in status().values(), process)
    process.send_signal(stop)
    told, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in errors
    if stop == signal.SIGINT:
        assert "interrupted; the same command with --out sweep goes on\n" in told
    done = [name for name, found in status().items() if found == "done"]
    assert 1 <= len(done) < 3
    assert main(["sweep", *words, "--out", "sweep", "--quiet"]) == 0
    assert len(executed) == 3 - len(done)
    assert set(executed).isdisjoint(done)
    assert list(table()["status"]) == ["done"] * 3


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            if condition():
                return
        except (OSError, ValueError):  # a file that is just being replaced
            pass
        assert process.poll() is None, "the sweep ended before it could be stopped"
        assert time.monotonic() < until
        time.sleep(0.01)


def test_replicates_are_summed_up_by_mean_and_sd(here: Path) -> None:
    assert sweep("replicates=3", "protocol.dose=1e9particles,2e9particles") == 0
    means, runs = pd.read_parquet("sweep/replicates.parquet"), table()
    assert means["n"].tolist() == [3, 3]
    first = runs[runs["protocol.dose"] == "1e9particles"]["tumor_percent_id"]
    assert means["tumor_percent_id mean"][0] == pytest.approx(first.mean())
    assert means["tumor_percent_id std"][0] == pytest.approx(first.std())


def test_replicates_beside_a_sweep_over_seeds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep("replicates=2", "seed=1,2") == 2
    assert "sweep over seed or set replicates, not both" in capsys.readouterr().err
