"""A run that was stopped, killed or cut off anywhere ends as the one that was not, bit for bit."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
import zarr

from tme_sim.analysis.measures import summarise
from tme_sim.config.build import build
from tme_sim.files.run_store import RunStore
from tme_sim.recording import Checkpointer, RunRecorder
from tme_sim.simulation import Simulation
from tme_sim.state.errors import InputError
from tme_sim.state.state import restore

NUMBERS = ("stochastic", "continuum")
NEVER_S = 1e9


class Killed(BaseException):
    """What a kill is to the code: the end, wherever it stands."""


def start(config, folder, resume=False, level="full"):
    """A run as the runner puts it together, without its JSON files."""
    built = build(config)
    store = RunStore(folder) if resume else RunStore.create(folder)
    recorder = RunRecorder(store, 2, level)
    checkpointer = Checkpointer(store, recorder, NEVER_S)
    simulation = Simulation(built.state, built.processes, [recorder, checkpointer], config.step_s, config.seed)
    if resume:
        arrays, content = store.load_checkpoint()
        restore(built.state, arrays, content["tick"])
        recorder.reload(content["time_s"], content["residual"])
    return simulation, recorder, checkpointer


@pytest.fixture(scope="module", params=NUMBERS)
def config(request, configure):
    words = [f"processes.{name}.interval=120s" for name in ("uptake", "binding", "release", "phagocytes", "migration")]
    words += ["processes.phagocytes.neutrophils.arrest=5um/s", "processes.phagocytes.neutrophils.crossing=20/h"]
    words += ["processes.migration.neutrophils.death=5/h"]
    return configure(f"number={request.param}", "protocol.dose=1e13particles", "step=60s", *words)


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory, digests):
    """Ten steps without a break: what the state and the folder hold then."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    simulation, recorder, _ = start(config, folder)
    simulation.run(600)
    recorder.flush()
    return digests(simulation.state), contents(folder), recorder.residual


def contents(folder):
    """All that the folder holds of the run's course: tables, agents, and every array of the field store."""
    found = {
        str(path.relative_to(folder)): pd.read_parquet(path)
        for path in folder.rglob("*.parquet")
        if path.relative_to(folder).parts[0] != "checkpoint"
    }
    for name, array in zarr.open_group(folder / "fields.zarr", mode="r").arrays():
        found[f"fields/{name}"] = array[...]
    return found


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, content in expected.items():
        if isinstance(content, pd.DataFrame):
            pd.testing.assert_frame_equal(found[name], content, check_exact=True)
        else:
            np.testing.assert_array_equal(found[name], content, err_msg=name)
            assert found[name].dtype == content.dtype


def test_the_run_that_is_compared_has_something_in_it(whole):
    _, expected, _ = whole
    assert len(expected["fields/time"]) == 6
    assert expected["fields/nanoparticle"][-1].any()
    assert {"series.parquet", "ledger.parquet", "agents/macrophages/000000600.parquet"} <= set(expected)
    assert expected["agents/macrophages/000000600.parquet"].filter(like="cargo").to_numpy().any()
    number = [len(expected[f"agents/neutrophils/{time_s:09d}.parquet"]) for time_s in (0, 240, 480, 600)]
    assert number == sorted(set(number)), "agents come during the run"
    last = expected["agents/neutrophils/000000600.parquet"]
    assert last["id"].max() >= len(last), "and some have gone"


@pytest.mark.parametrize("at", [1, 5, 9])
def test_ten_steps_are_some_a_checkpoint_and_the_rest(config, whole, digests, tmp_path, at):
    simulation, _, checkpointer = start(config, tmp_path / "run")
    simulation.run(at * 60)
    checkpointer.save(simulation.state, simulation.time_s)
    resumed, recorder, _ = start(config, tmp_path / "run", resume=True)
    assert resumed.state.tick == at
    resumed.run(600)
    recorder.flush()
    assert digests(resumed.state) == whole[0]
    assert_same(contents(tmp_path / "run"), whole[1])
    assert recorder.residual == whole[2]


def test_an_interruption_before_the_first_step_takes_the_start_down_once(config, whole, tmp_path):
    simulation, _, checkpointer = start(config, tmp_path / "run")
    assert not simulation.run(600, stop=lambda: True)
    checkpointer.save(simulation.state, simulation.time_s)
    resumed, recorder, _ = start(config, tmp_path / "run", resume=True)
    resumed.run(600)
    recorder.flush()
    assert_same(contents(tmp_path / "run"), whole[1])


@pytest.mark.parametrize("moment", ["between steps", "within a frame", "after the tables"])
def test_a_killed_run_resumes_from_its_checkpoint_to_the_same_end(config, whole, digests, tmp_path, monkeypatch, moment):
    """Frames, agents and tables beyond the checkpoint are there when it dies, one of them half written."""
    simulation, recorder, checkpointer = start(config, tmp_path / "run")
    simulation.run(240)
    checkpointer.save(simulation.state, simulation.time_s)
    simulation.run(480)
    with monkeypatch.context() as patch:
        if moment == "within a frame":
            patch.setattr(zarr.Array, "resize", kill_on(zarr.Array.resize, 2))
            with pytest.raises(Killed):
                simulation.run(600)
        elif moment == "after the tables":
            patch.setattr(RunStore, "save_checkpoint", kill_on(RunStore.save_checkpoint, 1))
            with pytest.raises(Killed):
                checkpointer.save(simulation.state, simulation.time_s)
    resumed, recorder, _ = start(config, tmp_path / "run", resume=True)
    assert resumed.state.tick == 4
    resumed.run(600)
    recorder.flush()
    assert digests(resumed.state) == whole[0]
    assert_same(contents(tmp_path / "run"), whole[1])


def kill_on(function, call):
    """The function, until it is called for the given time."""
    calls = []

    def wrapped(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return function(*args, **kwargs)

    return wrapped


@pytest.mark.parametrize("moment", ["while the arrays are written", "before the first rename", "between the two renames"])
def test_a_checkpoint_cut_off_leaves_the_old_one_usable(config, whole, digests, tmp_path, monkeypatch, moment):
    simulation, _, checkpointer = start(config, tmp_path / "run")
    simulation.run(240)
    checkpointer.save(simulation.state, simulation.time_s)
    simulation.run(420)
    real = os.replace
    renamed = []

    def replace(source, target):
        if str(source).endswith((".part", "checkpoint")) and "parquet" not in str(source):
            renamed.append(source)
            if len(renamed) == (2 if moment == "between the two renames" else 1):
                raise Killed
        real(source, target)

    def savez(file, *args, **arrays):
        file.write(b"PK half an archive")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(*((np, "savez", savez) if moment == "while the arrays are written" else (os, "replace", replace)))
        with pytest.raises(Killed):
            checkpointer.save(simulation.state, simulation.time_s)
    resumed, recorder, again = start(config, tmp_path / "run", resume=True)
    assert resumed.state.tick == 4
    resumed.run(480)
    again.save(resumed.state, resumed.time_s)
    assert RunStore(tmp_path / "run").load_checkpoint()[1]["tick"] == 8
    resumed.run(600)
    recorder.flush()
    assert digests(resumed.state) == whole[0]
    assert_same(contents(tmp_path / "run"), whole[1])


def test_a_run_that_keeps_only_its_summary_resumes_with_its_series(config, tmp_path):
    summaries = []
    for stop_s in (None, 300):
        simulation, recorder, checkpointer = start(config, folder := tmp_path / str(stop_s), level="summary")
        if stop_s:
            simulation.run(stop_s)
            checkpointer.save(simulation.state, simulation.time_s)
            simulation, recorder, _ = start(config, folder, resume=True, level="summary")
        simulation.run(600)
        recorder.flush()
        summaries.append(summarise(simulation.state, 0.2, recorder.series, 1e-17))
        assert not list(folder.glob("*.parquet"))
    assert summaries[0]["plasma_half_life_h"] is not None
    assert summaries[0] == summaries[1]


def test_a_run_without_a_checkpoint_says_so(tmp_path):
    with pytest.raises(InputError, match="this run has no checkpoint; start it again"):
        RunStore.create(tmp_path / "run").load_checkpoint()
