"""The run folder: fields as zarr, small tables as parquet, the rest as JSON; written so that a kill loses no committed frame.

A frame's fields are written first and `time` is extended last: the length of `time` is the commit mark, readers trim to it.
Everything small goes to a temporary name and is renamed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from tme_sim.state.errors import InputError

FORMAT = 1
STATUSES = ("running", "done", "failed", "interrupted")
DIMENSIONS = {5: ("route", "form", "z", "y", "x"), 4: ("axis", "z", "y", "x"), 3: ("z", "y", "x")}


class RunStore:
    """One run's folder. Raises InputError where the folder holds another run or is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, folder: Path) -> RunStore:
        """A new run in an empty or new folder."""
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError("--out", folder, "must be a new or empty folder; this one holds something already")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError("--out", folder, f"must be a folder that can be made; {error.strerror}") from None
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> RunStore:
        """An existing run of a format that this version reads."""
        store = cls(folder)
        try:
            content = store.read_json("run.json")
            found, _ = content["format"], content["status"]
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError("run", folder, "must be a run folder, one that holds run.json") from None
        if not isinstance(found, int) or found > FORMAT:
            raise InputError("run", folder, f"has format {found}; this version reads up to {FORMAT}")
        return store

    def write_text(self, name: str, text: str) -> None:
        """Write a small file whole or not at all."""
        target = self.folder / name
        part = target.with_name(target.name + ".part")
        part.write_text(text, encoding="utf-8")
        part.replace(target)

    def append_line(self, name: str, line: str) -> None:
        """Add a line to a text file, such as the log."""
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write JSON whole or not at all; NaN is refused by raising ValueError."""
        self.write_text(name, json.dumps(content, indent=1, allow_nan=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON file of the folder."""
        content: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        return content

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a parquet table whole or not at all."""
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        table.to_parquet(part, index=False, compression="zstd", use_dictionary=False)  # of reals a dictionary is the dearer part
        part.replace(target)

    def read_table(self, name: str) -> pd.DataFrame:
        """Read a parquet table of the folder. Raises InputError where it is damaged."""
        try:
            return pd.read_parquet(self.folder / name)
        except ValueError as error:  # pyarrow's ArrowInvalid is one
            raise InputError(name, self.folder, f"cannot be read, it is damaged ({error})") from None

    def static_fields(
        self, fields: Mapping[str, NDArray[Any]], attributes: Mapping[str, Mapping[str, str]], spacing_um: float
    ) -> None:
        """Start the field store with what does not change in time."""
        root = zarr.open_group(self.folder / "fields.zarr", mode="w", zarr_format=3)
        root.attrs.update({"format": FORMAT, "spacing_um": spacing_um, "axes": "z, y, x from the lattice's corner"})
        root.create_array("time", shape=(0,), chunks=(1024,), dtype="f8", dimension_names=("time",)).attrs["units"] = "s"
        for name, data in fields.items():
            array = root.create_array(
                name, shape=data.shape, chunks=data.shape, dtype=data.dtype, dimension_names=DIMENSIONS[data.ndim]
            )
            array[...] = data
            array.attrs.update(attributes.get(name, {}))

    def append_frame(
        self, time_s: float, fields: Mapping[str, NDArray[Any]], attributes: Mapping[str, Mapping[str, str]]
    ) -> None:
        """Write one frame of changing fields, then commit it by extending `time`."""
        root = zarr.open_group(self.folder / "fields.zarr", mode="r+")
        time = _array(root, "time")
        frame = time.shape[0]
        for name, data in fields.items():
            if name not in root:
                chunk = (1,) * (data.ndim - 3) + data.shape[-3:]
                created = root.create_array(
                    name,
                    shape=(0, *data.shape),
                    chunks=(1, *chunk),
                    shards=(1, *data.shape),
                    dtype=data.dtype,
                    compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
                    dimension_names=("time", *DIMENSIONS[data.ndim]),
                )
                created.attrs.update(attributes.get(name, {}))
            array = _array(root, name)
            array.resize((frame + 1, *data.shape))
            array[frame] = data
        time.resize((frame + 1,))
        time[frame] = time_s

    def frame_times_s(self) -> NDArray[np.float64]:
        """Times of the committed frames."""
        return np.asarray(_array(zarr.open_group(self.folder / "fields.zarr", mode="r"), "time")[...])

    def truncate_frames(self, after_s: float) -> None:
        """Forget the frames later than a time (a resumed run writes them again)."""
        root = zarr.open_group(self.folder / "fields.zarr", mode="r+")
        time = _array(root, "time")
        keep = int(np.sum(np.asarray(time[...]) <= after_s))
        time.resize((keep,))
        for name, array in root.arrays():
            names: Any = array.metadata.to_dict()["dimension_names"]
            if name != "time" and names[0] == "time":
                array.resize((min(keep, array.shape[0]), *array.shape[1:]))

    def save_checkpoint(self, arrays: Mapping[str, NDArray[Any]], content: Mapping[str, Any]) -> None:
        """Replace the checkpoint atomically: the old one stays until the new one is whole."""
        new, old, target = (self.folder / name for name in ("checkpoint.part", "checkpoint.old", "checkpoint"))
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        with (new / "state.npz").open("wb") as file:
            np.savez(file, **dict[str, Any](arrays))
            file.flush()
            os.fsync(file.fileno())
        (new / "checkpoint.json").write_text(json.dumps({"format": FORMAT, **content}), encoding="utf-8")
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
            target.replace(old)
        new.replace(target)
        shutil.rmtree(old, ignore_errors=True)

    def load_checkpoint(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays and content of the checkpoint; InputError where there is none."""
        for name in ("checkpoint", "checkpoint.old"):
            folder = self.folder / name
            if (folder / "checkpoint.json").exists():
                with np.load(folder / "state.npz", allow_pickle=False) as stored:
                    arrays = {key: stored[key] for key in stored.files}
                return arrays, json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
        raise InputError("--resume", self.folder, "this run has no checkpoint; start it again")


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    found = group[name]
    assert isinstance(found, zarr.Array)
    return found
