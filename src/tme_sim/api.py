"""The Python interface: run, plan, sweep, list, open_run (interface.md). Nothing here does more than the command line does."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tme_sim.config.load import Request, load
from tme_sim.config.units import parse_quantity
from tme_sim.files.image import Image
from tme_sim.files.run_folder import RunFolder, find_run
from tme_sim.planning import Plan
from tme_sim.planning import plan as make_plan
from tme_sim.runner import execute, new_folder
from tme_sim.state.errors import InputError

Overrides = Mapping[str, Any]
SHOWN = (
    "tumor_percent_id_per_g",
    "tumor_percent_id_per_g_without_blood",
    "extracellular_fraction",
    "intracellular_fraction_in_phagocytes",
    "route_fraction_gap",
    "route_fraction_transcytosis",
    "released_fraction",
    "plasma_half_life_h",
    "ledger_residual",
)


class Run(RunFolder):
    """A run: its tables and arrays (see RunFolder), and what can be made of them."""

    def agents(self, kind: str, time: str | float | None = "last") -> pd.DataFrame:
        """One row per agent of a population at a time ("24 h", seconds, or "last")."""
        return super().agents(kind, seconds(time))

    def show(self, time: str | float | None = "last", **options: Any) -> Any:
        """The run's scene in a window or a notebook."""
        from tme_sim.views.scene import show

        return show(self, time_s=seconds(time), **options)

    def screenshot(self, path: str | Path, time: str | float | None = "last", **options: Any) -> Path:
        """The run's scene as a picture."""
        from tme_sim.views.scene import screenshot

        screenshot(self, Path(path), time_s=seconds(time), **options)
        return Path(path)

    def image(self, readout: str, time: str | float | None = "last", overrides: Overrides | None = None) -> Image:
        """What an instrument shows of the run at a recorded time, its chief image; overrides are of its settings: {key: value}.

        Nothing is written; `images` gives all that the instrument makes, `image.save(path)` stores one.
        """
        return self.images(readout, time, overrides)[0]

    def images(self, readout: str, time: str | float | None = "last", overrides: Overrides | None = None) -> Sequence[Image]:
        """All images that an instrument makes of the run at a recorded time, such as an MRI scan and its maps."""
        from tme_sim.acquiring import acquire, with_readouts

        words = [f"readouts.{readout}.{key}={_word(value)}" for key, value in (overrides or {}).items()]
        config = with_readouts(self, [readout], words).config
        return acquire(self, config, [seconds(time)])[0][readout]

    def report(self) -> Path:
        """Write `report.html` anew."""
        from tme_sim.runner import report_on

        return report_on(self.folder, print) or self.folder

    def _repr_html_(self) -> str:
        rows = [(key, self.summary.get(key)) for key in SHOWN if self.summary.get(key) is not None]
        body = "".join(f"<tr><td>{key}</td><td style='text-align:right'>{value:.4g}</td></tr>" for key, value in rows)
        name, status = html.escape(str(self.info.get("name"))), html.escape(str(self.info.get("status")))
        return f"<b>{name}</b> ({status}) in <code>{html.escape(str(self.folder))}</code><table>{body}</table>"


def run(
    experiment: str | Path | None = None,
    overrides: Overrides | None = None,
    *,
    seed: int | None = None,
    out: str | Path | None = None,
    data: str | Path | None = None,
    threads: int | None = None,
) -> Run:
    """Simulate and return the run. Overrides are {key: value}, values as on the command line; raises InputErrors, ModelError."""
    loaded = load(request(experiment, overrides, seed))
    folder = Path(out) if out else new_folder(loaded.config, Path("runs"))
    outcome = execute(loaded.config, folder, data=_path(data), threads=threads, user_set=loaded.user_set, sources=loaded.sources)
    if outcome.status == "interrupted":
        raise KeyboardInterrupt(f"to go on: tme-sim run --resume {outcome.folder}")
    return Run(outcome.folder)


def plan(
    experiment: str | Path | None = None,
    overrides: Overrides | None = None,
    *,
    seed: int | None = None,
    out: str | Path | None = None,
    data: str | Path | None = None,
    threads: int | None = None,
) -> Plan:
    """What `run` with the same arguments would cost; nothing is run (`out` is accepted and not used)."""
    return make_plan(load(request(experiment, overrides, seed)), data=_path(data), threads=threads)


def sweep(
    experiment: str | Path | None,
    values: Mapping[str, Sequence[Any]],
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    workers: int = 1,
) -> pd.DataFrame:
    """Run every combination of {key: [values]} and return the table, a row a job. Finished jobs of `out` are not run again."""
    from tme_sim.sweeping import sweep as start

    words = tuple(f"{key}={','.join(_word(value) for value in choices)}" for key, choices in values.items())
    asked = Request(_experiment(experiment), words)
    folder = Path(out) if out else None
    made: list[Path] = []
    start(asked, out=folder, data=_path(data), workers=workers, opened=made.append)
    return pd.read_parquet(made[0] / "sweep.parquet")


def names(kind: str) -> list[str]:
    """Names of what there is: runs, experiments, nanoparticles, tissues, processes, readouts, drugs or protocols."""
    from tme_sim.commands.catalogue import listed

    return [name for name, _ in listed(kind)]


def open_run(run: str | Path = "last") -> Run:
    """A run by its folder, `last`, or the start of its hash."""
    return Run(find_run(run))


def seconds(time: str | float | None) -> float | None:
    """A time as users write it: "24 h", seconds as a number; None for the last."""
    if time is None or time == "last":
        return None
    if isinstance(time, str):
        return parse_quantity(time, "s", "time")
    if isinstance(time, bool) or not time >= 0:
        raise InputError("time", time, 'must be a quantity such as "24 h", a number of seconds, or "last"')
    return float(time)


def request(experiment: str | Path | None, overrides: Overrides | None, seed: int | None) -> Request:
    """The arguments of `run` as the command line would have them."""
    words = [f"{key}={_word(value)}" for key, value in (overrides or {}).items()]
    return Request(_experiment(experiment), (*words, *([f"seed={seed}"] if seed is not None else [])))


def _experiment(experiment: str | Path | None) -> str | Path | None:
    is_file = isinstance(experiment, str) and experiment.endswith((".yaml", ".yml"))
    return Path(str(experiment)) if is_file else experiment


def _word(value: Any) -> str:
    """A Python value as the command line writes it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(_word(entry) for entry in value)}]"
    return str(value)


def _path(folder: str | Path | None) -> Path | None:
    return None if folder is None else Path(folder)
