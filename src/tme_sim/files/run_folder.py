"""Reading a run: its fields, series, agents, vessels and numbers, as they were recorded."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import yaml

from tme_sim.files.run_store import RunStore
from tme_sim.state.errors import InputError
from tme_sim.state.variables import FORMS, ROUTES

if TYPE_CHECKING:
    import xarray


class RunFolder:
    """A finished or interrupted run on disk. Tables and arrays are read when they are asked for.

    Raises InputError where the folder is no run, and where something asked for was not recorded (`record.level`).
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._store = RunStore.open(self.folder)

    @cached_property
    def info(self) -> dict[str, Any]:
        """`run.json`: status, seed, versions, and what the run was started with."""
        return self._store.read_json("run.json")

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The flat summary; empty while the run is not done."""
        return self._store.read_json("summary.json") if (self.folder / "summary.json").exists() else {}

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration, quantities as text; `sources` says where each number comes from."""
        content: dict[str, Any] = yaml.safe_load((self.folder / "config.yaml").read_text(encoding="utf-8"))
        return content

    @property
    def series(self) -> pd.DataFrame:
        """Tidy series: time_s, substance, patch, compartment, route, form, quantity, value, unit."""
        return self._table("series.parquet", "series")

    @property
    def ledger(self) -> pd.DataFrame:
        """Whole-body terms over time: time_s, substance, term, amount."""
        return self._table("ledger.parquet", "series")

    @property
    def vessels(self) -> pd.DataFrame | None:
        """Vessel segments (z0_um … x1_um, radius_um), or None where the tissue has no graph."""
        return self._store.read_table("vessels.parquet") if (self.folder / "vessels.parquet").exists() else None

    @cached_property
    def fields(self) -> xarray.Dataset:
        """Fields with dims (time, route, form, z, y, x); coordinates in seconds, names and µm; units in attrs. Read lazily."""
        import xarray

        if not (self.folder / "fields.zarr").exists():
            raise InputError("record.level", self.config["record"]["level"], "kept no fields; run again with record.level=full")
        data = xarray.open_zarr(self.folder / "fields.zarr", consolidated=False, chunks=None, mask_and_scale=False)
        frames = len(self._store.frame_times_s())
        data = data.isel(time=slice(0, frames))
        spacing = float(data.attrs["spacing_um"])
        centres = {axis: (axis, (np.arange(data.sizes[axis]) + 0.5) * spacing, {"units": "um"}) for axis in ("z", "y", "x")}
        found: xarray.Dataset = data.assign_coords({"route": list(ROUTES), "form": list(FORMS), **centres})
        return found

    @property
    def times_s(self) -> list[float]:
        """Recorded times."""
        return sorted(float(t) for t in self.series["time_s"].unique())

    @property
    def frame_times_s(self) -> list[float]:
        """Times whose fields and agents were recorded; none below record.level=full."""
        return self._store.frame_times_s().tolist() if (self.folder / "fields.zarr").exists() else []

    def agents(self, kind: str, time_s: float | None = None) -> pd.DataFrame:
        """One row per agent of a population at a recorded time (default: the last)."""
        folder = self.folder / "agents" / kind
        kinds = sorted(path.name for path in (self.folder / "agents").glob("*"))
        if kind not in kinds:
            raise InputError("agents", kind, f"this run recorded {', '.join(kinds) or 'no agents (record.level=full does)'}")
        times = sorted(int(path.stem) for path in folder.glob("*.parquet"))
        wanted = times[-1] if time_s is None else round(time_s)
        if wanted not in times:
            raise InputError(
                "time", f"{time_s:g} s", f"was not recorded; recorded are {', '.join(f'{t / 3600:g} h' for t in times)}"
            )
        return pd.read_parquet(folder / f"{wanted:09d}.parquet")

    def flow(self, time_s: float | None = None) -> pd.DataFrame | None:
        """One row per vessel segment, in the order of `vessels`, at a recorded time (default: the last); None without flow.

        Blood flow from the first node to the second (um3/s), velocity (um/s), hematocrit, whether it is open, drug in blood (mM).
        """
        found = {int(path.stem): path for path in (self.folder / "flow").glob("*.parquet")}
        if not found:
            return None
        wanted = max(found) if time_s is None else round(time_s)
        if wanted not in found:
            raise _not_recorded(float(wanted), sorted(found))
        return pd.read_parquet(found[wanted])

    def frame(self, time_s: float | None = None) -> int:
        """Index of a recorded frame (default: the last)."""
        times = self.fields["time"].to_numpy()
        if len(times) == 0:
            raise InputError("time", None, "was not recorded yet; go on with the run by --resume")
        if time_s is None:
            return len(times) - 1
        found = np.flatnonzero(np.abs(times - time_s) < 0.5)
        if len(found) == 0:
            raise _not_recorded(time_s, times.tolist())
        return int(found[0])

    def _table(self, name: str, level: str) -> pd.DataFrame:
        if not (self.folder / name).exists():
            raise InputError(
                "record.level", self.config["record"]["level"], f"kept no {name}; run again with record.level={level}"
            )
        return self._store.read_table(name)

    def __repr__(self) -> str:
        return f"<run {self.info.get('name')} {self.info.get('status')} in {self.folder}>"


def _not_recorded(time_s: float, times: list[Any]) -> InputError:
    recorded = ", ".join(f"{time / 3600:g} h" for time in times)
    return InputError("time", f"{time_s / 3600:g} h", f"was not recorded; recorded are {recorded}")


def find_run(name: str | Path, base: Path = Path("runs")) -> Path:
    """A run by path, `last`, or a unique prefix of its hash."""
    path = Path(name)
    if (path / "run.json").exists():
        return path
    found = sorted(base.glob("*/*/run.json"), key=lambda file: file.stat().st_mtime)
    if str(name) == "last" and found:
        return found[-1].parent
    matches = [file.parent for file in found if str(name) and _hash_of(file).startswith(str(name))]
    if len(matches) == 1:
        return matches[0]
    why = f"{len(matches)} runs have this hash; give the folder" if matches else "no such run"
    raise InputError("run", name, f"{why}; a run folder, `last`, or the start of a run's hash under {base}")


def _hash_of(file: Path) -> str:
    """Hash in a run.json; none where the file cannot be read, so that one broken run does not hide the others."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(content.get("hash", "")) if isinstance(content, dict) else ""
