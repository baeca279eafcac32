"""Studies: arms × replicates → runs → quantities → verdict.

A study is a folder under experiments/: `experiment.yaml` (the base run), `study.yaml` (arms: name → overrides; replicates),
`targets.csv` (published figures with their roles), and `analyse.py` where a quantity is more than one arm's summary value: its
`quantities(arms)` gets a table of runs for each arm, with their folders and summaries; `null_model(values)` and
`figure(values, path)`, which draws an SVG, are optional.
Replicate k of every arm has the same seed, so arms can be compared pairwise. Jobs are those of a sweep: finished ones are not
run again, so a study that was stopped goes on.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from tme_sim.analysis.targets import Row, Target, read_targets, verdict
from tme_sim.config.load import Loaded, Request, experiment_dirs, load, study_file
from tme_sim.config.schema import dump
from tme_sim.files.run_folder import RunFolder
from tme_sim.files.run_store import RunStore
from tme_sim.state.errors import InputError, InputErrors
from tme_sim.sweeping import Job, job_of, one_number_mode, quiet, read_status, replicates, run_jobs

Quantities = dict[str, list[float]]


@dataclass(frozen=True)
class Study:
    """A study as written: its folder, the arms' overrides as words of the command line, and its targets."""

    name: str
    folder: Path
    arms: dict[str, tuple[str, ...]]
    replicates: int
    variant: str
    targets: list[Target]
    analyse: ModuleType | None


@dataclass(frozen=True)
class Judged:
    """Where a study's results are, its rows, and how many of its runs failed."""

    folder: Path
    rows: list[Row]
    failed: int


def read_study(name: str, variant: str = "full") -> Study:
    """A study by its experiment's name, or a study.yaml by path (then only summary values, no code). Raises InputError(s)."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else _find(name)
    content = study_file(path)
    unknown = set(content) - {"arms", "replicates", "kind", "small", "sources"}
    if unknown:
        raise InputError(f"{path.name}", ", ".join(sorted(unknown)), "is not a key here; one of arms, replicates, kind, small")
    if content.get("kind", "arms") != "arms":
        raise InputError(f"{path.name} kind", content["kind"], "this version runs arms; calibration and cohorts come later")
    if variant == "small":
        content |= content.get("small") or {}
    arms, replicates = content.get("arms"), content.get("replicates")
    if not isinstance(arms, dict) or not arms:
        raise InputError(f"{path.name} arms", arms, "must name at least one arm: name, then its overrides")
    if not isinstance(replicates, int) or isinstance(replicates, bool) or replicates < 1:
        raise InputError(f"{path.name} replicates", replicates, "must be a whole number, 1 or more")
    words = {str(arm): tuple(f"{key}={value}" for key, value in (overrides or {}).items()) for arm, overrides in arms.items()}
    targets = path.with_name("targets.csv")
    analyse = path.with_name("analyse.py")
    trusted = any(path.parent.parent == folder for folder in experiment_dirs())
    if analyse.exists() and not trusted:
        raise InputError("study", path, "has code beside it (analyse.py), which is run only for experiments in ./experiments")
    return Study(
        path.parent.name,
        path.parent,
        words,
        replicates,
        variant,
        read_targets(targets) if targets.exists() else [],
        _module(analyse) if analyse.exists() else None,
    )


def make_jobs(study: Study, data: Path | None = None) -> dict[tuple[str, int], Job]:
    """(arm, replicate) → job, all validated; what is wrong in any arm is listed together. One number mode throughout."""
    errors: list[InputError] = []
    made: dict[tuple[str, int], Loaded] = {}
    for arm, words in study.arms.items():
        try:
            loaded = load(Request(study.folder / "experiment.yaml", (f"variant={study.variant}", *words, *quiet(words))))
        except InputErrors as found:
            errors += [InputError(f"arm {arm}: {error.field}", error.value, error.allowed) for error in found.errors]
            continue
        loaded = replace(loaded, user_set=tuple(word.partition("=")[0] for word in words))
        loaded = replace(loaded, config=replace(loaded.config, replicates=study.replicates))
        made |= {(arm, k): one for k, one in enumerate(replicates(loaded))}
    if errors:
        raise InputErrors(errors)
    number = one_number_mode(list(made.values()), data)
    jobs = {}
    for (arm, k), loaded in made.items():
        config = replace(loaded.config, number=number) if loaded.config.number == "auto" else loaded.config
        jobs[arm, k] = job_of(replace(loaded, config=config), {"arm": arm, "replicate": str(k)}, data)
    return jobs


def run_study(
    study: Study,
    *,
    out: Path | None = None,
    data: Path | None = None,
    workers: int = 1,
    threads: int | None = None,
    retry: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Judged:
    """Run what is left to run, then judge. Writes `runs.parquet` and `verdict.json` into the study's folder."""
    jobs = make_jobs(study, data)
    folder = out or Path("studies") / f"{study.name}-{study.variant}"
    run_jobs(list(jobs.values()), folder, data=data, workers=workers, threads=threads, retry=retry, say=say)
    table = collect(jobs, folder)
    failed = table[table["status"] != "done"]
    if len(failed):
        say(f"{len(failed)} of {len(table)} runs failed and are left out: {', '.join(failed['job'])}")
    values = quantities(study, table[table["status"] == "done"])
    null = study.analyse.null_model(values) if study.analyse and hasattr(study.analyse, "null_model") else {}
    rows = verdict(study.name, study.targets, values, null)
    store = RunStore(folder)
    store.write_table("runs.parquet", table)
    store.write_json("quantities.json", {name: [v if isfinite(v) else None for v in found] for name, found in values.items()})
    store.write_json("verdict.json", {"format": 1, "variant": study.variant, "rows": [row.as_dict() for row in rows]})
    if study.analyse and hasattr(study.analyse, "figure"):
        study.analyse.figure(values, folder / "figure.svg")
    return Judged(folder, rows, len(failed))


def collect(jobs: Mapping[tuple[str, int], Job], folder: Path) -> pd.DataFrame:
    """A row a run: arm, replicate, job, status and its summary."""
    rows = []
    for (arm, k), job in jobs.items():
        status = read_status(folder / job.hash)
        summary = RunStore(folder / job.hash).read_json("summary.json") if status == "done" else {}
        place = {"job": job.hash, "folder": str(folder / job.hash)}
        rows.append({"arm": arm, "replicate": k, **place, "status": status, **summary})
    return pd.DataFrame(rows)


def quantities(study: Study, table: pd.DataFrame) -> Quantities:
    """Quantity → one value a replicate: every arm's summary values as `arm.measure`, and what analyse.py makes of them."""
    arms = {str(arm): rows.set_index("replicate").sort_index() for arm, rows in table.groupby("arm", sort=False)}
    values: Quantities = {}
    for arm, rows in arms.items():
        for measure in rows.select_dtypes("number").columns.difference(["seed"]):
            values[f"{arm}.{measure}"] = [float(value) for value in rows[measure].dropna()]
    if study.analyse:
        made: Mapping[str, Sequence[float]] = study.analyse.quantities(arms)
        values |= {name: [float(value) for value in found] for name, found in made.items()}
    return values


def judge_run(run: RunFolder, experiment: str) -> list[Row]:
    """One run against the targets of an experiment, those of the arm whose settings it has; n is 1."""
    paths = [folder / experiment / "study.yaml" for folder in experiment_dirs()]
    found = next((path for path in paths if path.with_name("targets.csv").exists()), None)
    if found is None:
        raise InputError("compare", experiment, "this experiment has no targets.csv to compare with")
    study = read_study(experiment)
    mine = flat(run.config)
    values: Quantities = {}
    for arm, words in study.arms.items():
        keys = [word.partition("=")[0] for word in words if not word.startswith("number=")]
        wanted = flat(dump(load(Request(study.folder / "experiment.yaml", words)).config))
        if all(mine.get(key) == wanted.get(key) for key in keys):
            values |= {f"{arm}.{key}": [float(v)] for key, v in run.summary.items() if isinstance(v, int | float)}
    return verdict(experiment, study.targets, values, {})


def flat(config: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """A nested configuration by its dotted keys."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= flat(value, f"{where}{key}.") if isinstance(value, Mapping) else {f"{where}{key}": value}
    return found


def _find(name: str) -> Path:
    found = [folder / name / "study.yaml" for folder in experiment_dirs() if (folder / name / "study.yaml").exists()]
    if not found:
        known = sorted({path.parent.name for folder in experiment_dirs() for path in folder.glob("*/study.yaml")})
        raise InputError("study", name, f"is not known; one of {', '.join(known) or 'none yet'}, or a study.yaml")
    return found[0]


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tme_sim_study_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
