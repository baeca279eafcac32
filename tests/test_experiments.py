"""Every experiment that ships: its small variant runs end to end and has its files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tme_sim.cli import main
from tme_sim.config.compose import experiments
from tme_sim.config.load import experiment_dirs, load, request
from tme_sim.files.run_folder import RunFolder
from tme_sim.study import make_jobs, read_study, run_study

SHIPPED = experiment_dirs()[-1]
DATA = Path(os.environ.get("TME_SIM_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def data_sets(name: str) -> list[Path]:
    """The files that an experiment reads from --data."""
    tissue = load(request([name, "variant=small"])).config.tissue
    named = [tissue.values[key] for key in getattr(tissue.cls, "files", ())]
    return [Path(file) for file in named if file is not None]


@pytest.mark.parametrize("name", experiments([SHIPPED]))
def test_the_small_variant_runs_to_its_end_and_has_its_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = [file for file in data_sets(name) if not (DATA / file).is_file()]
    if missing:
        pytest.skip(f"{missing[0]} is not in {DATA}; TME_SIM_DATA names the folder of data sets (experiments/{name}/README.md)")
    monkeypatch.chdir(tmp_path)
    assert main(["run", name, "variant=small", "report=false", "--data", str(DATA), "--quiet"]) == 0
    run = RunFolder(capsys.readouterr().out.strip())
    assert run.info["status"] == "done"
    assert run.info["name"] == name
    assert run.summary["ledger_residual"] < 1e-12
    assert run.summary["tumor_percent_id"] > 0
    for file in ("config.yaml", "series.parquet", "ledger.parquet", "fields.zarr/zarr.json", "log.txt"):
        assert (run.folder / file).is_file()
    assert run.times_s[0] == 0
    assert len(run.fields["time"]) == len(run.times_s) > 1
    assert len(run.agents("tumor_cells")) > 0
    assert json.loads((run.folder / "run.json").read_text("utf-8"))["data"] == str(DATA.resolve())


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["small", "full"])
@pytest.mark.parametrize("name", [file.parent.name for file in sorted(SHIPPED.glob("*/study.yaml"))])
def test_every_arm_of_a_study_is_a_run_that_can_be_made(name: str, variant: str) -> None:
    study = read_study(name, variant)
    jobs = make_jobs(study, DATA)
    assert {arm for arm, _ in jobs} == set(study.arms)
    assert study.targets
    assert study.analyse is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", [file.parent.name for file in sorted(SHIPPED.glob("*/study.yaml"))])
def test_a_small_study_judges_every_row_and_its_removed_mechanism_and_draws_its_figure(name: str, tmp_path: Path) -> None:
    study = read_study(name, "small")
    done = run_study(study, out=tmp_path, data=DATA, threads=1)
    assert done.failed == 0
    assert len(done.rows) == len(study.targets) > 0
    assert [row.quantity for row in done.rows if row.simulated is None and row.role != "context"] == []  # nobody dies in 6 h
    for target, row in zip(study.targets, done.rows, strict=True):
        assert (row.met is None) == (target.role == "context" or target.status == "recall")
        assert target.role != "validation" or row.without_simulated is not None, row.quantity
    assert (tmp_path / "figure.svg").is_file() == hasattr(study.analyse, "figure")


@pytest.mark.slow
def test_the_real_tumour_has_the_vessel_surface_that_was_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "lightsheet_tumor"
    if any(not (DATA / file).is_file() for file in data_sets(name)):
        pytest.skip(f"the images of {name} are not in {DATA} (TME_SIM_DATA)")
    words = ["protocol.duration=10min", "record.interval=10min", "record.level=summary", "report=false", "--data", str(DATA)]
    assert main(["run", name, *words, "--out", str(tmp_path / "run"), "--quiet"]) == 0
    summary = RunFolder(tmp_path / "run").summary
    assert 12 <= summary["vessel_surface_mm2_per_mm3"] <= 13


@pytest.mark.parametrize("name", experiments([SHIPPED]))
def test_every_experiment_says_what_it_is(name: str) -> None:
    folder = SHIPPED / name
    text = (folder / "README.md").read_text("utf-8")
    assert len(text.split()) > 30
    assert f"tme-sim run {name}" in text or f"tme-sim study {name}" in text
    assert (folder / "small.yaml").is_file()
    comments = [line for line in (folder / "experiment.yaml").read_text("utf-8").splitlines() if line.startswith("#")]
    assert any("@package" not in line for line in comments)
