"""The command line as users and scripts meet it: exit codes, files and their columns, Ctrl-C, kills, full disks, odd folders."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray
import zarr

import tme_sim
from tme_sim.cli import main
from tme_sim.files.run_folder import RunFolder
from tme_sim.files.run_store import RunStore
from tme_sim.simulation import Simulation
from tme_sim.state.errors import ModelError

SMALL = ["quick", "lattice.size=120um", "protocol.duration=2h", "record.interval=1h", "report=false"]
LONG = [
    "quick",
    "lattice.size=120um",
    "protocol.duration=24h",
    "record.interval=3h",
    "checkpoint.wall_interval=1s",
    "report=false",
]
SUMMARY = (  # interface.md, "at least"
    "injected number tumor_percent_id tumor_percent_id_per_g tumor_percent_id_per_g_without_blood liver_percent_id_per_g "
    "spleen_percent_id_per_g plasma_half_life_h extracellular_fraction intracellular_fraction "
    "intracellular_fraction_in_phagocytes route_fraction_gap route_fraction_transcytosis route_fraction_phagocyte "
    "released_fraction hypoxic_fraction dead_fraction penetration_half_distance_um vessel_surface_mm2_per_mm3 ledger_residual "
    "wall_s peak_memory_mb seed version"
)
DIMENSIONS = ("time", "route", "form", "z", "y", "x")
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run."""
    folder = tmp_path_factory.mktemp("done") / "run"
    assert main(["run", *SMALL, "--out", str(folder), "--quiet"]) == 0
    return folder


def strict_json(path: Path) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in {path}")

    return json.loads(path.read_text("utf-8"), parse_constant=refuse)


def contents(folder: Path) -> dict[str, Any]:
    """Everything that a run's folder says of its course, in a form that can be compared."""
    found: dict[str, Any] = {file.name: pd.read_parquet(file).to_csv() for file in folder.glob("*.parquet")}
    found |= {str(file.relative_to(folder)): pd.read_parquet(file).to_csv() for file in folder.glob("agents/*/*.parquet")}
    for name, array in zarr.open_group(folder / "fields.zarr", mode="r").arrays():
        found[f"fields/{name}"] = (array.shape, np.asarray(array[...]).tobytes())
    unlike = {"wall_s", "peak_memory_mb"}
    return found | {key: value for key, value in strict_json(folder / "summary.json").items() if key not in unlike}


def test_a_run_says_where_it_is_and_ends_with_zero(done: Path) -> None:
    run, summary = strict_json(done / "run.json"), strict_json(done / "summary.json")
    assert {"format", "status", "seed", "versions", "commit", "threads", "wall_s", "resumed_from"} <= set(run)
    assert (run["format"], run["status"], run["seed"], run["resumed_from"]) == (1, "done", 1, None)
    assert set(summary) >= set(SUMMARY.split())
    assert summary["ledger_residual"] == 0
    assert summary["version"] == tme_sim.__version__ == run["versions"]["tme_sim"]
    assert all(value is None or isinstance(value, int | float | str) for value in summary.values())  # flat
    assert not [path for path in done.rglob("*") if ":" in path.name]
    assert not list(done.rglob("*.part"))
    log = (done / "log.txt").read_text("utf-8")
    assert " running at 0 h of 2 h\ndose: 3e+10 particles per injection\nnumber: stochastic (as asked for)\n" in log
    assert log.endswith(" done at 2 h of 2 h\n")


def test_series_and_ledger_have_their_columns(done: Path) -> None:
    series, ledger = pd.read_parquet(done / "series.parquet"), pd.read_parquet(done / "ledger.parquet")
    columns = ["time_s", "substance", "patch", "compartment", "route", "form", "quantity", "value", "unit"]
    assert list(series.columns) == columns
    assert list(ledger.columns) == ["time_s", "substance", "term", "amount"]
    assert sorted(series["time_s"].unique()) == sorted(ledger["time_s"].unique()) == [0.0, 3600.0, 7200.0]


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_the_terms_of_the_ledger_add_up_to_what_was_injected_at_every_time(number: str) -> None:
    words = ["quick", "lattice.size=120um", "protocol.duration=3h", f"number={number}", "protocol.dose=1e13particles"]
    assert (
        main(["run", *words, "report=false", "protocol.times=0h,1h", "protocol.infusion=30min", "--out", "run", "--quiet"]) == 0
    )
    ledger = pd.read_parquet("run/ledger.parquet")
    injected = ledger[ledger["term"] == "injected"].set_index("time_s")["amount"]
    terms = ledger[ledger["term"] != "injected"].groupby("time_s")["amount"].sum()
    assert injected.tolist()[-1] == 2e13
    np.testing.assert_allclose(terms, injected, rtol=0 if number == "stochastic" else 1e-12)


def test_fields_open_in_xarray_with_their_dimensions(done: Path) -> None:
    fields = RunFolder(done).fields
    assert fields["nanoparticle"].dims == DIMENSIONS
    assert fields["nanoparticle"].attrs["units"]
    assert fields["time"].values.tolist() == [0.0, 3600.0, 7200.0]
    assert list(fields["route"].values) == ["injected", "gap", "transcytosis", "phagocyte"]
    plain = xarray.open_zarr(done / "fields.zarr", consolidated=False)
    assert plain["nanoparticle"].dims == DIMENSIONS


def test_the_configuration_that_is_kept_runs_again_to_the_same_end(done: Path) -> None:
    assert main(["run", "--from", str(done), "--out", "again", "--quiet"]) == 0
    assert contents(Path("again")) == contents(done)
    assert strict_json(Path("again/run.json"))["hash"] == strict_json(done / "run.json")["hash"]


def test_the_end_is_recorded_whatever_the_interval() -> None:
    words = ["quick", "lattice.size=120um", "protocol.duration=1h", "record.interval=25min", "report=false"]
    assert main(["run", *words, "--out", "run", "--quiet"]) == 0
    assert RunFolder("run").times_s == [0.0, 1500.0, 3000.0, 3600.0]
    assert RunFolder("run").fields["time"].values.tolist() == [0.0, 1500.0, 3000.0, 3600.0]
    assert len(RunFolder("run").agents("macrophages", 3600.0)) > 0


def test_quiet_prints_the_folder_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *SMALL, "--quiet"]) == 0
    told = capsys.readouterr()
    folder = told.out.strip()
    assert told.err == ""
    assert strict_json(Path(folder) / "run.json")["status"] == "done"
    assert Path(folder).parts[:2] == ("runs", "quick")


def test_the_end_of_a_run_tells_where_the_particles_are_and_what_to_do_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *SMALL]) == 0
    told = capsys.readouterr()
    for word in ("interstitium", "macrophages", "plasma", "by gap", "by transcytosis", "ledger residual 0", "Next:"):
        assert word in told.out
    commands = [line.split() for line in told.out.partition("Next:")[2].splitlines() if line.startswith("  tme-sim")]
    assert len(commands) == 3
    assert main(["list", "runs"]) == 0
    assert "done" in capsys.readouterr().out


def test_words_may_stand_behind_flags() -> None:
    words = ["run", "--out", "run", "quick", "--quiet", *SMALL[1:], "--threads", "1", "seed=7"]
    assert main(words) == 0
    assert strict_json(Path("run/run.json"))["seed"] == 7
    assert strict_json(Path("run/run.json"))["threads"] == 1


def test_a_second_run_in_the_same_folder_is_refused(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(done)
    assert main(["run", *SMALL, "--out", str(done)]) == 2
    assert capsys.readouterr().err.startswith(f"tme-sim: error: --out {done}: must be a new or empty folder")
    assert contents(done) == before


def test_a_done_run_is_not_resumed(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--resume", str(done)]) == 2
    assert capsys.readouterr().err == f"tme-sim: error: --resume {done}: this run is done; nothing is left to resume\n"


def test_a_run_that_fails_inside_the_model_ends_with_one_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = Simulation.step

    def fail(self: Simulation) -> None:
        step(self)
        if self.state.tick == 61:
            raise ModelError("ledger: plasma holds -1 carriers at tick 61")

    monkeypatch.setattr(Simulation, "step", fail)
    assert main(["run", *SMALL, "--out", "run"]) == 1
    assert "tme-sim: error: ledger: plasma holds -1 carriers at tick 61\n" in capsys.readouterr().err
    run = strict_json(Path("run/run.json"))
    assert (run["status"], run["error"]) == ("failed", "ledger: plasma holds -1 carriers at tick 61")


@pytest.mark.parametrize("frames", [0, 2])
def test_a_full_disk_is_one_line_and_keeps_what_was_recorded(
    frames: int, done: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    append, written = RunStore.append_frame, []

    def full(self: RunStore, *arguments: Any) -> None:
        if len(written) == frames:
            raise OSError(errno.ENOSPC, "No space left on device", "fields.zarr")
        written.append(append(self, *arguments))

    with monkeypatch.context() as patched:
        patched.setattr(RunStore, "append_frame", full)
        assert main(["run", *SMALL, "--out", "run", "--quiet"]) == 1
    told = capsys.readouterr().err
    assert told == "tme-sim: error: the system refused to read or write fields.zarr: No space left on device\n"
    assert strict_json(Path("run/run.json"))["status"] == "failed"
    kept = RunStore.open(Path("run")).frame_times_s()
    assert kept.tolist() == [0.0, 3600.0][:frames]


def test_too_little_memory_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(self: Simulation) -> None:
        raise MemoryError("Unable to allocate 1 TiB")

    monkeypatch.setattr(Simulation, "step", refuse)
    assert main(["run", *SMALL, "--quiet"]) == 1
    told = "memory: there is too little of it; tme-sim plan says how much (Unable to allocate 1 TiB)"
    assert capsys.readouterr().err == f"tme-sim: error: {told}\n"


def test_debug_adds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "quik", "--debug"]) == 2
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert told.splitlines()[-1].startswith("tme-sim: error: experiment quik: is not known; did you mean quick?")


# In processes of their own.


ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "NUMBA_NUM_THREADS"}  # which main() sets


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "tme_sim.cli", *words]


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), capture_output=True, text=True, check=False, timeout=120, env=ENVIRONMENT | environment
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the long run holds when nothing comes between."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert main(["run", *LONG, "--out", str(folder), "--quiet"]) == 0
    return contents(folder)


@pytest.fixture
def started() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Start the long run and wait for its first checkpoint."""
    processes: list[subprocess.Popen[str]] = []

    def start(folder: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(command("run", *LONG, "--out", str(folder)), stderr=subprocess.PIPE, text=True)
        processes.append(process)
        until = time.monotonic() + 60
        while not (folder / "checkpoint" / "checkpoint.json").exists():
            assert process.poll() is None, "the run ended before it could be stopped"
            assert time.monotonic() < until
            time.sleep(0.01)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@posix
def test_ctrl_c_keeps_what_was_recorded_and_resuming_gives_the_same_run(
    started: Callable[[Path], subprocess.Popen[str]], whole: dict[str, Any], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = started(here / "run")
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert told.endswith(f"interrupted; what was recorded is kept. To go on: tme-sim run --resume {here / 'run'}\n")
    stopped = strict_json(here / "run" / "run.json")
    assert stopped["status"] == "interrupted"
    assert 0 < stopped["at_s"] < 24 * 3600
    assert main(["run", "--resume", "run", "--quiet"]) == 0
    resumed = strict_json(here / "run" / "run.json")
    assert (resumed["status"], resumed["resumed_from"]) == ("done", stopped["at_s"])
    assert contents(here / "run") == whole


@posix
@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_checkpoint_to_the_same_end(
    started: Callable[[Path], subprocess.Popen[str]], whole: dict[str, Any], here: Path
) -> None:
    process = started(here / "run")
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert strict_json(here / "run" / "run.json")["status"] == "running"
    assert main(["run", "--resume", "run", "--quiet"]) == 0
    assert contents(here / "run") == whole


@posix
def test_an_interruption_before_the_run_begins_writes_nothing(here: Path) -> None:
    code = "import os, signal, sys; from tme_sim import runner, cli\n"
    code += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # what runs in the background may ignore it
    code += "runner.build = lambda *a: os.kill(os.getpid(), signal.SIGINT)\nsys.exit(cli.main(['run', 'quick']))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in process.stderr
    assert list(here.iterdir()) == []


@pytest.mark.slow
def test_more_threads_than_cores_are_accepted_and_change_nothing(done: Path, here: Path) -> None:
    threads = str((os.cpu_count() or 1) + 3)
    assert run("run", *SMALL, "--threads", threads, "--out", "run").returncode == 0
    assert strict_json(here / "run" / "run.json")["threads"] == int(threads)
    assert contents(here / "run") == contents(done)


def test_help_and_version_answer_without_the_heavy_libraries() -> None:
    code = "import sys; from tme_sim.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {name.split(".")[0] for name in told.splitlines()[-1].split()}
    assert loaded & {"hydra", "numba", "pandas", "numpy", "scipy", "zarr", "vtk", "pyvista", "mesa", "rich"} == set()
    assert "tme-sim run quick" in told
    assert run("--version").stdout == f"tme-sim {tme_sim.__version__}\n"


@pytest.mark.slow
def test_a_pipe_that_closes_early_is_no_error(here: Path) -> None:
    process = subprocess.Popen(command("explain", "nanoparticle"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    told = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), told) == (0, "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_what_is_documented_needs_no_quotes_in_bash() -> None:
    words = [
        *(
            "nanoparticle.hydrodynamic_diameter=30nm",
            "protocol.dose=5mg/kg",
            "protocol.times=0h,6h",
            "tissue.vessels=mask.ome.tif",
        ),
        *("processes.gaps.enabled=false", "nanoparticle.diffusivity=0.5um^2/s", "seed=1,2,3", "cells.macrophage_fraction=30%"),
        *("nanoparticle.release.plasma=0.02/h", "tissue.vessel_surface=12mm^2/mm^3", "body.plasma_volume=1mL"),
    ]
    told = subprocess.run(["bash", "-c", f"printf '%s\\n' {' '.join(words)}"], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == words
    assert main(["explain", "seed", *[word for word in words if not word.startswith(("tissue.vessels", "seed"))]]) == 0


def test_a_conf_folder_in_the_working_directory_comes_first(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = here / "conf" / "nanoparticle" / "mine.yaml"
    card.parent.mkdir(parents=True)
    card.write_text("# My own particle.\ndefaults: [micelle_65nm]\nhydrodynamic_diameter: 30 nm\n")
    assert main(["explain", "nanoparticle.hydrodynamic_diameter", "nanoparticle=mine"]) == 0
    assert "nanoparticle.hydrodynamic_diameter = 30 nm" in capsys.readouterr().out
    assert main(["list", "nanoparticles"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ["mine", "My", "own", "particle."] in [line.split() for line in lines]
    assert main(["run", *SMALL, "nanoparticle=mine", "--out", "run", "--quiet"]) == 0
    assert RunFolder("run").config["nanoparticle"]["hydrodynamic_diameter"] == "30 nm"


def test_an_experiment_in_the_working_directory_is_found(here: Path) -> None:
    own = here / "experiments" / "mine" / "experiment.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("# @package _global_\ndefaults:\n  - override /drug: none\nname: mine\nlattice: {size: 120 um}\n")
    assert main(["run", "mine", *SMALL[2:], "--quiet"]) == 0
    assert [folder.name for folder in (here / "runs").iterdir()] == ["mine"]


def test_an_installed_package_finds_its_configuration(here: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Laid out as the wheel is: conf and experiments inside the package."""
    source = Path(tme_sim.__file__).parent
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(source, site / "tme_sim", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("conf", "experiments"):
        inside = source / name
        shutil.copytree(inside if inside.is_dir() else source.parents[1] / name, site / "tme_sim" / name, dirs_exist_ok=True)
    code = "import sys, tme_sim.config.load as l; print(*l.conf_dirs(), *l.experiment_dirs())"
    code += "\nfrom tme_sim.cli import main; sys.exit(main(['explain', 'name', 'quick']))"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=ENVIRONMENT | {"PYTHONPATH": str(site)}
    )
    assert (told.returncode, told.stderr) == (0, "")
    where, what = told.stdout.splitlines()[:2]
    assert where == f"{site / 'tme_sim' / 'conf'} {site / 'tme_sim' / 'experiments'}"
    assert what == "name = quick"


def test_the_doctor_tells_what_this_runs_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    for word in (
        f"tme-sim {tme_sim.__version__}",
        "numba",
        "cores",
        "GB of memory",
        "kernels compile and run",
        "configuration from",
    ):
        assert word in told


def test_explain_tells_everything_of_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "processes.gaps.area_fraction", "quick", "processes.gaps.area_fraction=0.001"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("processes.gaps.area_fraction = 0.001\n")
    for word in ("meaning", "unit", "range    at least 0 and at most 0.2", "default", "set by the user", "read by  gaps"):
        assert word in told


def test_explain_tells_what_a_cited_row_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "nanoparticle.transcytosis_permeability", "quick"]) == 0
    assert "\n  X21      permeability albumin; liposome" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["experiments", "nanoparticles", "tissues", "processes", "drugs", "protocols"])
def test_every_list_has_lines_with_a_meaning(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", kind]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(len(line.split()) > 2 for line in lines)
