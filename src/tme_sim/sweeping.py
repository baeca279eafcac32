"""Sweeps: override lists → validated configurations → one folder per job, named by its hash → one table.

Every combination is validated before the first job starts. A finished job is skipped, so the same command goes on where it
was stopped.
"""

from __future__ import annotations

import html
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

import tme_sim
from tme_sim.config.build import build
from tme_sim.config.dosing import dosing
from tme_sim.config.load import Loaded, Request, load, load_extensions, validated
from tme_sim.config.overrides import expand
from tme_sim.config.schema import dump
from tme_sim.files.run_store import RunStore
from tme_sim.provenance import config_hash, input_digests
from tme_sim.runner import execute
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
    extensions: tuple[str, ...] = ()


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
    ended = ("done",) if retry else ("done", "failed")
    waiting = [job for job in jobs if read_status(folder / job.hash) not in ended or _is_of_other_version(folder / job.hash)]
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
    seeds = {
        word.partition("=")[2] for overrides in expand(list(asked.overrides)) for word in overrides if word.startswith("seed=")
    }
    for overrides in expand(list(asked.overrides)):
        try:
            loaded = load(replace(asked, overrides=(*overrides, *quiet(overrides))))
        except InputErrors as found:
            errors += [error for error in found.errors if str(error) not in map(str, errors)]
            continue
        words = dict(word.lstrip("+").split("=", 1) for word in overrides)
        several = loaded.config.replicates > 1
        ones = replicates(replace(loaded, user_set=loaded.user_set[: len(overrides)]))
        made += [(one, words | ({"seed": str(one.config.seed)} if several else {})) for one in ones]
    if len(seeds) > 1 and any("replicates" in words for _, words in made):
        errors.append(
            InputError("replicates", None, "take the seeds from `seed` on; sweep over seed or set replicates, not both")
        )
    if errors:
        raise InputErrors(errors)
    number = one_number_mode([loaded for loaded, _ in made], data)
    jobs: dict[str, Job] = {}
    for loaded, words in made:
        config = replace(loaded.config, number=number) if loaded.config.number == "auto" else loaded.config
        job = job_of(replace(loaded, config=config), words, data, asked.extensions)
        jobs.setdefault(job.hash, job)
    return list(jobs.values())


def job_of(loaded: Loaded, overrides: dict[str, str], data: Path | None = None, extensions: tuple[str, ...] = ()) -> Job:
    """A validated configuration as a job. Other input files make it another job."""
    marks = input_digests(loaded.config, data)
    content = dump(loaded.config) | {"sources": loaded.sources}
    return Job(overrides, config_hash(loaded.config, marks), content, loaded.user_set, extensions)


def one_number_mode(runs: list[Loaded], data: Path | None) -> NumberMode:
    """A sweep uses one number mode throughout: `auto` is what the run that takes in most would take."""
    free = [loaded for loaded in runs if loaded.config.number == "auto"]
    if not free:
        return "continuum"

    def intake(loaded: Loaded) -> float:
        protocol = loaded.config.protocol
        return dosing(loaded.config, set()).particles * len(protocol.times_s) * protocol.duration_s

    largest = max(free, key=intake)
    return build(largest.config, data, largest.user_set).state.number


def replicates(loaded: Loaded) -> Iterator[Loaded]:
    """The configuration once per replicate, with seeds one after the other."""
    for number in range(loaded.config.replicates):
        yield replace(loaded, config=replace(loaded.config, seed=loaded.config.seed + number, replicates=1))


def quiet(overrides: Iterable[str]) -> list[str]:
    """What a sweep sets where the user does not: only the summary is kept, no report is written."""
    keys = {word.lstrip("+").partition("=")[0] for word in overrides}
    return [word for word in ("record.level=summary", "report=false") if word.partition("=")[0] not in keys]


def run_job(job: Job, folder: Path, data: Path | None, threads: int) -> tuple[Job, str]:
    """One job in its folder; a failure is kept there, not raised."""
    target = folder / job.hash
    resume = read_status(target) in ("running", "interrupted") and (target / "checkpoint" / "checkpoint.json").exists()
    try:
        if read_status(target) is not None and not resume:
            _clear(target)
        load_extensions(job.extensions)
        loaded = validated(job.config)
        outcome = execute(
            loaded.config, target, data=data, threads=threads, user_set=job.user_set, sources=loaded.sources, resume=resume
        )
        return job, outcome.status
    except (InputError, InputErrors, ModelError, OSError, MemoryError) as error:
        target.mkdir(parents=True, exist_ok=True)
        RunStore(target).write_json("run.json", {"format": 1, "status": "failed", "hash": job.hash, "error": str(error)})
        return job, "failed"


def _run_job_at(place: Path, job: Job, folder: Path, data: Path | None, threads: int) -> tuple[Job, str]:
    """In a worker, which outlives a sweep and may have begun in another working directory."""
    os.chdir(place)
    return run_job(job, folder, data, threads)


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
        for future in as_completed([pool.submit(_run_job_at, Path.cwd(), job, folder, data, threads) for job in jobs]):
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
    shown = _as_html(table)
    if (means := over_replicates(table, [key for key in jobs[0].overrides if key != "seed"])) is not None:
        store.write_table("replicates.parquet", means)
        shown = f"<h2>Mean and standard deviation over replicates</h2>{_as_html(means)}<h2>Runs</h2>{shown}"
    title = html.escape(f"{jobs[0].config['name']}: {len(jobs)} jobs")
    store.write_text("sweep.html", PAGE.format(title=title, table=shown))
    return table


def over_replicates(table: pd.DataFrame, varied: list[str]) -> pd.DataFrame | None:
    """Runs that differ in their seed only as one row: n, and mean and sd of every measure; None where there are none."""
    done = table[table["status"] == "done"]
    if len(done) == 0 or done["seed"].nunique() < 2:
        return None
    measures = [name for name in done.select_dtypes("number") if name not in (*varied, "seed", "wall_s", "peak_memory_mb")]
    groups = done.assign(all="all").groupby(varied or ["all"], sort=False)
    found = groups[measures].agg(["mean", "std"])
    found.columns = pd.Index([" ".join(names) for names in found.columns])
    found.insert(0, "n", groups.size())
    return found.reset_index()


def _as_html(table: pd.DataFrame) -> str:
    return table.to_html(index=False, float_format=lambda x: f"{x:.4g}", na_rep="", escape=True)


def read_status(folder: Path) -> str | None:
    """Status of a job by its folder; None where it has not begun."""
    try:
        return str(RunStore(folder).read_json("run.json")["status"])
    except (OSError, ValueError, KeyError):
        return None


def _is_of_other_version(folder: Path) -> bool:
    """Whether a finished job was run by another version of the program, whose numbers may differ."""
    versions = RunStore(folder).read_json("run.json").get("versions")
    return versions is not None and versions.get("tme_sim") != tme_sim.__version__


def _clear(folder: Path) -> None:
    """Make room for a job that failed or was killed; only a job's own folder, which holds its run.json, is removed."""
    import shutil

    shutil.rmtree(folder)
