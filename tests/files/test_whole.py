from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tme_sim.files.whole import plain, whole, write_json


def write(path: Path, text: str, *, fail: bool = False) -> None:
    with whole(path) as part:
        if path.suffix == ".zarr":
            part.mkdir()
            (part / "a").write_text(text)
        else:
            part.write_text(text)
        if fail:
            raise OSError(28, "No space left on device")


@pytest.mark.parametrize("name", ["a.txt", "a.zarr"])
def test_what_was_there_stays_until_the_new_one_is_whole(name: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / name
    inside = path / "a" if name.endswith("zarr") else path
    write(path, "first")
    with pytest.raises(OSError, match="space"):
        write(path, "second", fail=True)
    assert inside.read_text() == "first"
    write(path, "third")
    assert inside.read_text() == "third"
    assert [each.name for each in path.parent.iterdir()] == [name]


def test_a_first_file_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="space"):
        write(tmp_path / "a", "first", fail=True)
    assert not list(tmp_path.iterdir())


def test_json_takes_what_instruments_say(tmp_path: Path) -> None:
    said = {"a": np.float32(0.5), "b": np.arange(2), "c": (1, True, None), "d": float("nan"), 5: Path("x"), "e": "µ"}
    path = write_json(tmp_path / "a.json", said)
    assert json.loads(path.read_text("utf-8")) == {"a": 0.5, "b": [0, 1], "c": [1, True, None], "d": None, "5": "x", "e": "µ"}
    assert plain(np.bool_(True)) is True
