"""The run folder on disk: frames are committed by their time, small files whole or not at all, checkpoints never half."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr
from numpy.typing import NDArray

from tme_sim.files.run_store import FORMAT, STATUSES, RunStore
from tme_sim.state.errors import InputError

SHAPE = (4, 2, 3, 4, 5)  # route, form, z, y, x


def frame(value: int) -> dict[str, NDArray[Any]]:
    return {"nanoparticle": np.full(SHAPE, value, np.int32), "oxygen": np.full(SHAPE[2:], value / 2)}


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    made = RunStore.create(tmp_path / "run")
    made.static_fields({"inside": np.ones(SHAPE[2:])}, {"inside": {"units": "1", "long_name": "tumour"}}, 15.0)
    return made


def held(store: RunStore, name: str) -> NDArray[Any]:
    array = zarr.open_group(store.folder / "fields.zarr", mode="r")[name]
    assert isinstance(array, zarr.Array)
    return np.asarray(array[...])


@pytest.mark.parametrize("content", ["run.json", "notes.txt", "data/x.csv"])
def test_a_folder_that_holds_anything_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run" / content).parent.mkdir(parents=True)
    (tmp_path / "run" / content).write_text("x")
    with pytest.raises(InputError, match="must be a new or empty folder"):
        RunStore.create(tmp_path / "run")
    assert (tmp_path / "run" / content).read_text() == "x"


def test_an_empty_or_new_folder_is_taken(tmp_path: Path) -> None:
    assert RunStore.create(tmp_path).folder == tmp_path
    assert RunStore.create(tmp_path / "deep" / "down").folder.is_dir()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"must be a new or empty folder"):
        RunStore.create(tmp_path / "file")
    with pytest.raises(InputError, match=r"must be a folder that can be made"):
        RunStore.create(tmp_path / "file" / "run")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', '{"status": "done"}', "\x00"])
def test_what_is_no_run_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match="must be a run folder"):
        RunStore.open(tmp_path)


def test_a_damaged_table_is_told(store: RunStore) -> None:
    store.write_text("series.parquet", "cut off")
    with pytest.raises(InputError, match=r"series\.parquet .*: cannot be read, it is damaged"):
        store.read_table("series.parquet")


def test_every_older_format_opens_and_a_newer_one_does_not(tmp_path: Path) -> None:
    for version in range(1, FORMAT + 1):
        (tmp_path / "run.json").write_text(json.dumps({"format": version, "status": "done"}))
        assert RunStore.open(tmp_path).folder == tmp_path
    for version in (FORMAT + 1, "1"):
        (tmp_path / "run.json").write_text(json.dumps({"format": version, "status": "done"}))
        with pytest.raises(InputError, match=rf"has format {version}; this version reads up to {FORMAT}"):
            RunStore.open(tmp_path)
    assert "running" in STATUSES


def test_frames_come_back_as_they_went_in(store: RunStore) -> None:
    for n in range(3):
        store.append_frame(60.0 * n, frame(n), {"oxygen": {"units": "mmHg"}})
    assert store.frame_times_s().tolist() == [0.0, 60.0, 120.0]
    particles, oxygen = held(store, "nanoparticle"), held(store, "oxygen")
    assert (particles.shape, particles.dtype) == ((3, *SHAPE), np.int32)
    assert [particles[n].max() for n in range(3)] == [particles[n].min() for n in range(3)] == [0, 1, 2]
    assert oxygen[2, 0, 0, 0] == 1.0
    assert held(store, "inside").tolist() == np.ones(SHAPE[2:]).tolist()


def test_the_field_store_is_what_its_format_says(store: RunStore) -> None:
    store.append_frame(0.0, frame(1), {"oxygen": {"units": "mmHg"}})
    folder = store.folder / "fields.zarr"
    group = json.loads((folder / "zarr.json").read_text("utf-8"))
    assert group["zarr_format"] == 3
    assert group["attributes"]["format"] == FORMAT
    assert group["attributes"]["spacing_um"] == 15.0
    assert "consolidated_metadata" not in group
    particles = json.loads((folder / "nanoparticle" / "zarr.json").read_text("utf-8"))
    assert particles["dimension_names"] == ["time", "route", "form", "z", "y", "x"]
    assert particles["chunk_grid"]["configuration"]["chunk_shape"] == [1, *SHAPE]  # a shard, one file, per frame
    (sharding,) = particles["codecs"]
    assert sharding["configuration"]["chunk_shape"] == [1, 1, 1, *SHAPE[2:]]
    (blosc,) = [codec for codec in sharding["configuration"]["codecs"] if codec["name"] == "blosc"]
    assert (blosc["configuration"]["cname"], blosc["configuration"]["clevel"]) == ("zstd", 1)
    assert blosc["configuration"]["shuffle"] == "bitshuffle"
    assert json.loads((folder / "oxygen" / "zarr.json").read_text("utf-8"))["attributes"] == {"units": "mmHg"}
    assert len([path for path in (folder / "nanoparticle").rglob("*") if path.is_file()]) == 2


@pytest.mark.parametrize("moment", ["before the fields", "between the fields", "before the time"])
def test_a_frame_that_was_cut_off_was_never_there(store: RunStore, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    store.append_frame(0.0, frame(0), {})
    store.append_frame(60.0, frame(1), {})
    resize = zarr.Array.resize
    stops = {"before the fields": "nanoparticle", "between the fields": "oxygen", "before the time": "time"}

    def stop(self: Any, shape: Any) -> None:
        if self.basename == stops[moment]:
            raise KeyboardInterrupt
        resize(self, shape)

    with monkeypatch.context() as cut:
        cut.setattr(zarr.Array, "resize", stop)
        with pytest.raises(KeyboardInterrupt):
            store.append_frame(120.0, frame(2), {})
    assert store.frame_times_s().tolist() == [0.0, 60.0]
    store.truncate_frames(60.0)
    assert len(held(store, "nanoparticle")) == len(held(store, "oxygen")) == 2
    store.append_frame(120.0, frame(3), {})
    assert store.frame_times_s().tolist() == [0.0, 60.0, 120.0]
    assert [int(field[2].max()) for field in (held(store, "nanoparticle"), held(store, "oxygen") * 2)] == [3, 3]


@pytest.mark.parametrize(("after_s", "kept"), [(-1.0, 0), (0.0, 1), (90.0, 2), (120.0, 3), (1e9, 3)])
def test_frames_later_than_a_time_are_forgotten(store: RunStore, after_s: float, kept: int) -> None:
    for n in range(3):
        store.append_frame(60.0 * n, frame(n), {})
    store.truncate_frames(after_s)
    assert len(store.frame_times_s()) == len(held(store, "nanoparticle")) == kept
    assert held(store, "inside").shape == SHAPE[2:]


def test_small_files_are_written_whole_or_not_at_all(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_json("summary.json", {"a": 1})
    store.write_table("series.parquet", pd.DataFrame({"a": [1]}))

    def fail(self: Any, target: Any) -> None:
        raise OSError("cut off")

    with monkeypatch.context() as cut:
        cut.setattr(Path, "replace", fail)
        for write in (
            lambda: store.write_json("summary.json", {"a": 2}),
            lambda: store.write_table("series.parquet", pd.DataFrame({"a": [2]})),
        ):
            with pytest.raises(OSError, match="cut off"):
                write()
    assert store.read_json("summary.json") == {"a": 1}
    assert store.read_table("series.parquet")["a"].tolist() == [1]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_holds_no_value_that_json_does_not_have(store: RunStore, value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write_json("summary.json", {"a": [value]})
    assert not (store.folder / "summary.json").exists()


def test_lines_are_added_to_the_log(store: RunStore) -> None:
    store.append_line("log.txt", "first")
    store.append_line("log.txt", "µ second")
    assert (store.folder / "log.txt").read_text("utf-8") == "first\nµ second\n"


def test_a_checkpoint_comes_back_and_the_last_one_counts(store: RunStore) -> None:
    for tick in (1, 2):
        store.save_checkpoint({"fields.a": np.arange(3) * tick, "body.plasma": np.array([2**62, 1])}, {"tick": tick})
    arrays, content = store.load_checkpoint()
    assert content == {"format": FORMAT, "tick": 2}
    assert arrays["fields.a"].tolist() == [0, 2, 4]
    assert arrays["body.plasma"].tolist() == [2**62, 1]
    assert sorted(path.name for path in store.folder.glob("checkpoint*")) == ["checkpoint"]


def test_a_checkpoint_with_a_pickle_in_it_is_not_opened(store: RunStore) -> None:
    store.save_checkpoint({"a": np.arange(2)}, {"tick": 1})
    np.savez(store.folder / "checkpoint" / "state.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        store.load_checkpoint()


def test_between_two_checkpoints_there_is_always_one(store: RunStore) -> None:
    """Killed after the old one was moved aside, before the new one took its place."""
    store.save_checkpoint({"a": np.arange(2)}, {"tick": 1})
    (store.folder / "checkpoint").rename(store.folder / "checkpoint.old")
    shutil.copytree(store.folder / "checkpoint.old", store.folder / "checkpoint.part")
    assert store.load_checkpoint()[1]["tick"] == 1
    store.save_checkpoint({"a": np.arange(2)}, {"tick": 2})
    assert store.load_checkpoint()[1]["tick"] == 2


def test_a_run_without_a_checkpoint_says_so(store: RunStore) -> None:
    with pytest.raises(InputError, match="this run has no checkpoint; start it again"):
        store.load_checkpoint()
