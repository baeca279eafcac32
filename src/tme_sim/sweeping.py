"""Sweeps: override lists → validated configurations → one folder per job, named by its hash → one table.

Every combination is validated before the first job starts. A finished job is skipped, so the same command goes on where it
was stopped.
"""

from __future__ import annotations

import html
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from tme_sim.config.build import build
from tme_sim.config.context import dose_in_particles
from tme_sim.config.load import Loaded, Request, load, validated
from tme_sim.config.overrides import expand
from tme_sim.config.schema import dump
from tme_sim.files.run_store import RunStore
from tme_sim.runner import config_hash, execute, input_digests
from tme_sim.state.errors import InputError, InputErrors, ModelError
from tme_sim.state.state import NumberMode

TABLE_EVERY_S = 30.0
"""The table is made from all jobs' files, so not after each of thousands."""

PAGE = """<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<style>body {{font: 14px sans-serif}} table {{border-collapse: collapse}}
td, th {{padding: .2em .6em; border: 1px solid #ccc; text-align: right}}</style>
<title>{title}</title><h1>{title}</h1>{table}</html>
"""


@dataclass(frozen=True)
class Job:
    """One run of a sweep: what differs from the others, and its configuration as plain data (it goes to another process)."""

    overrides: dict[str, str]
    hash: str
    config: dict[str, Any]
    user_set: tuple[str, ...]


def sweep(
    asked: Request,
    *,
    out: Path | None = None,
    data: Path | None = None,
    workers: int = 1,
    threads: int | None = None,
    retry: bool = False,
    say: Callable[[str], None] = lambda line: None,
    opened: Callable[[Path], None] = lambda folder: None,
) -> int:
    """Run all jobs; 0, or 1 if some failed. Raises InputErrors before anything is written; `opened` is told the folder."""
    jobs = make_jobs(asked, data)
    name = jobs[0].config["name"]
    folder = out or Path("sweeps") / name / time.strftime("%Y%m%d-%H%M%S")
    _open(folder)
    opened(folder)
    try:
        run_jobs(jobs, folder, data=data, workers=workers, threads=threads, retry=retry, say=say)
    except KeyboardInterrupt:
        say(f"interrupted; the same command with --out {folder} goes on")
        raise
    finally:
        table = write_table(jobs, folder)
    say(f"table: {folder / 'sweep.parquet'} and sweep.html")
    return int((table["status"] == "failed").any())


def _open(folder: Path) -> None:
    """Make the sweep's folder; one that holds a single run is refused."""
    if (folder / "run.json").exists():
        raise InputError("--out", folder, "holds a single run; a sweep needs a folder of its own")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("--out", folder, f"must be a folder that can be made; {error.strerror}") from None


def run_jobs(
    jobs: list[Job],
    folder: Path,
    *,
    data: Path | None = None,
    workers: int = 1,
    threads: int | None = None,
    retry: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Run the jobs that are not finished yet, each in `folder/<hash>`; failed ones again only with `retry`."""
    folder.mkdir(parents=True, exist_ok=True)
    waiting = [job for job in jobs if read_status(folder / job.hash) not in (("done",) if retry else ("done", "failed"))]
    say(f"{len(jobs)} jobs in {folder}, {len(jobs) - len(waiting)} of them finished before")
    written = time.monotonic()
    threads = threads or max(1, (os.cpu_count() or 1) // workers)
    for done, (job, status) in enumerate(_results(waiting, folder, data, workers, threads), 1):
        say(f"{done}/{len(waiting)} {status} {' '.join(f'{k}={v}' for k, v in job.overrides.items())} ({job.hash})")
        if time.monotonic() - written > TABLE_EVERY_S:
            write_table(jobs, folder)
            written = time.monotonic()


def make_jobs(asked: Request, data: Path | None = None) -> list[Job]:
    """The jobs of a sweep, each validated; what is wrong in any of them is listed together."""
    errors: list[InputError] = []
    made: list[tuple[Loaded, dict[str, str]]] = []
    for overrides in expand(list(asked.overrides)):
        quiet = [] if any(word.startswith("record.level=") for word in overrides) else ["record.level=summary"]
        try:
            loaded = load(replace(asked, overrides=(*overrides, *quiet)))
        except InputErrors as found:
            errors += [error for error in found.errors if str(error) not in map(str, errors)]
            continue
        made += _replicates(replace(loaded, user_set=loaded.user_set[: len(overrides)]), overrides)
    if errors:
        raise InputErrors(errors)
    number = one_number_mode([loaded for loaded, _ in made], data)
    jobs: dict[str, Job] = {}
    for loaded, words in made:
        config = replace(loaded.config, number=number) if loaded.config.number == "auto" else loaded.config
        job = job_of(replace(loaded, config=config), words, data)
        jobs.setdefault(job.hash, job)
    return list(jobs.values())


def job_of(loaded: Loaded, overrides: dict[str, str], data: Path | None = None) -> Job:
    """A validated configuration as a job; `overrides` are what tells it from the others. Other input files are another job."""
    return Job(
        overrides,
        config_hash(loaded.config, input_digests(loaded.config, data)),
        dump(loaded.config) | {"sources": loaded.sources},
        loaded.user_set,
    )


def one_number_mode(runs: list[Loaded], data: Path | None) -> NumberMode:
    """A sweep uses one number mode throughout: `auto` is what the run with the largest dose would take."""
    free = [loaded for loaded in runs if loaded.config.number == "auto"]
    if not free:
        return "continuum"
    largest = max(free, key=lambda loaded: dose_in_particles(loaded.config, set()))
    return build(largest.config, data, largest.user_set).state.number


def _replicates(loaded: Loaded, overrides: list[str]) -> Iterator[tuple[Loaded, dict[str, str]]]:
    several = loaded.config.replicates > 1
    for number in range(loaded.config.replicates):
        config = replace(loaded.config, seed=loaded.config.seed + number, replicates=1, report=False)
        words = dict(word.lstrip("+").split("=", 1) for word in overrides)
        yield replace(loaded, config=config), words | ({"seed": str(config.seed)} if several else {})


def run_job(job: Job, folder: Path, data: Path | None, threads: int) -> tuple[Job, str]:
    """One job in its folder; a failure is kept there, not raised."""
    target = folder / job.hash
    try:
        if read_status(target) is not None:
            _clear(target)
        loaded = validated(job.config)
        outcome = execute(loaded.config, target, data=data, threads=threads, user_set=job.user_set, sources=loaded.sources)
        return job, outcome.status
    except (InputError, InputErrors, ModelError, OSError, MemoryError) as error:
        target.mkdir(parents=True, exist_ok=True)
        RunStore(target).write_json("run.json", {"format": 1, "status": "failed", "hash": job.hash, "error": str(error)})
        return job, "failed"


def _results(jobs: list[Job], folder: Path, data: Path | None, workers: int, threads: int) -> Iterator[tuple[Job, str]]:
    if workers == 1:
        for job in jobs:
            result = run_job(job, folder, data, threads)
            yield result
            if result[1] == "interrupted":
                raise KeyboardInterrupt
        return
    from joblib.externals.loky import get_reusable_executor

    pool = get_reusable_executor(max_workers=workers, timeout=60)
    try:
        for future in as_completed([pool.submit(run_job, job, folder, data, threads) for job in jobs]):
            yield future.result()
    except BrokenExecutor:
        told = "a worker was killed, perhaps for want of memory; the same command with --out FOLDER goes on, with fewer --workers"
        raise ModelError(f"sweep: {told}") from None
    except KeyboardInterrupt:
        pool.shutdown(wait=True, kill_workers=True)
        raise


def write_table(jobs: list[Job], folder: Path) -> pd.DataFrame:
    """`sweep.parquet` and `sweep.html`: a row a job with overrides, status and summary, made from the jobs' own files."""
    rows = []
    for job in jobs:
        store = RunStore(folder / job.hash)
        status = read_status(store.folder) or "waiting"
        summary: Mapping[str, Any] = store.read_json("summary.json") if status == "done" else {}
        error = store.read_json("run.json").get("error") if status == "failed" else None
        mode = {"number": job.config["number"], "seed": job.config["seed"]}
        rows.append({"job": job.hash, **job.overrides, **mode, "status": status, "error": error, **summary})
    table = pd.DataFrame(rows)
    store = RunStore(folder)
    store.write_table("sweep.parquet", table)
    shown = table.to_html(index=False, float_format=lambda x: f"{x:.4g}", na_rep="", escape=True)
    title = html.escape(f"{jobs[0].config['name']}: {len(jobs)} jobs")
    store.write_text("sweep.html", PAGE.format(title=title, table=shown))
    return table


def read_status(folder: Path) -> str | None:
    """Status of a job by its folder; None where it has not begun."""
    try:
        return str(RunStore(folder).read_json("run.json")["status"])
    except (OSError, ValueError, KeyError):
        return None


def _clear(folder: Path) -> None:
    """Make room for a job that failed or was killed; only a job's own folder, which holds its run.json, is removed."""
    import shutil

    shutil.rmtree(folder)
