"""Studies: arms × replicates → runs → quantities → verdict.

A study is a folder under experiments/: `experiment.yaml` (the base run), `study.yaml` (arms: name → overrides; replicates),
`targets.csv` (published figures with their roles), and `analyse.py` where a quantity is more than one arm's summary value.
Replicate k of every arm has the same seed, so arms can be compared pairwise. Jobs are those of a sweep: finished ones are not
run again, so a study that was stopped goes on.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from tme_sim.analysis.targets import Row, Target, read_targets, verdict
from tme_sim.config.load import Request, experiment_dirs, load, study_file
from tme_sim.files.run_store import RunStore
from tme_sim.state.errors import InputError, InputErrors
from tme_sim.sweeping import Job, job_of, read_status, run_jobs

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


def make_jobs(study: Study) -> dict[tuple[str, int], Job]:
    """(arm, replicate) → job, all validated; what is wrong in any arm is listed together."""
    errors: list[InputError] = []
    jobs: dict[tuple[str, int], Job] = {}
    base = study.folder / "experiment.yaml"
    for arm, words in study.arms.items():
        has = {word.split("=", 1)[0] for word in words}
        quiet = () if "record.level" in has else ("record.level=summary",)
        try:
            loaded = load(Request(base, (f"variant={study.variant}", *words, *quiet)))
        except InputErrors as found:
            errors += [InputError(f"arm {arm}: {error.field}", error.value, error.allowed) for error in found.errors]
            continue
        loaded = replace(loaded, user_set=tuple(sorted(has)))
        for k in range(study.replicates):
            config = replace(loaded.config, seed=loaded.config.seed + k, replicates=1, report=False)
            jobs[arm, k] = job_of(replace(loaded, config=config), {"arm": arm, "replicate": str(k)})
    if errors:
        raise InputErrors(errors)
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
    jobs = make_jobs(study)
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
    store.write_json("quantities.json", values)
    store.write_json("verdict.json", {"format": 1, "variant": study.variant, "rows": [row.as_dict() for row in rows]})
    return Judged(folder, rows, len(failed))


def collect(jobs: Mapping[tuple[str, int], Job], folder: Path) -> pd.DataFrame:
    """A row a run: arm, replicate, job, status and its summary."""
    rows = []
    for (arm, k), job in jobs.items():
        status = read_status(folder / job.hash)
        summary = RunStore(folder / job.hash).read_json("summary.json") if status == "done" else {}
        rows.append({"arm": arm, "replicate": k, "job": job.hash, "status": status, **summary})
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


def judge_run(summary: Mapping[str, Any], experiment: str) -> list[Row]:
    """One run's summary against the targets of an experiment; a target of `arm.measure` is held against the run's measure."""
    paths = [folder / experiment / "targets.csv" for folder in experiment_dirs()]
    found = next((path for path in paths if path.exists()), None)
    if found is None:
        raise InputError("compare", experiment, "this experiment has no targets.csv to compare with")
    values: Quantities = {}
    targets = read_targets(found)
    for target in targets:
        value = summary.get(target.quantity.rpartition(".")[2])
        if isinstance(value, int | float):
            values[target.quantity] = [float(value)]
    return verdict(experiment, targets, values, {})


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


def read_verdict(folder: Path) -> list[dict[str, Any]]:
    """The rows of a study's verdict."""
    rows: list[dict[str, Any]] = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))["rows"]
    return rows
