"""One run from a validated configuration to a finished folder: the only place that writes `run.json`."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

import tme_sim
from tme_sim.analysis.measures import summarise, where_by_route
from tme_sim.config.build import Built, build
from tme_sim.config.schema import dump
from tme_sim.config.settings import NOT_HASHED, Config
from tme_sim.files.run_folder import RunFolder
from tme_sim.files.run_store import FORMAT, RunStore
from tme_sim.numerics.threads import set_threads
from tme_sim.recording import Checkpointer, RunRecorder
from tme_sim.simulation import Simulation, ticks
from tme_sim.state.errors import InputError, InputErrors, ModelError
from tme_sim.state.state import State, flatten, restore
from tme_sim.state.substance import particle_mass_g

EXPECTED = (InputError, InputErrors, ModelError, OSError, MemoryError)
"""Failures that say themselves what was wrong."""

LIBRARIES = ("numpy", "scipy", "numba", "zarr", "hydra-core", "pydantic", "mesa")


@dataclass
class Watcher:
    """Shows progress: `show(fraction, time_s)` at every hundredth of the run."""

    every: int
    last: int
    show: Callable[[float, float], None]

    def record(self, state: State, time_s: float) -> None:
        """Report how far the run has come."""
        self.show(state.tick / self.last, time_s)


@dataclass
class Outcome:
    """What a run gives back: its folder, its status, the summary and the closing table."""

    folder: Path
    status: str
    summary: dict[str, Any] = field(default_factory=dict)
    where: list[dict[str, Any]] = field(default_factory=list)
    built: Built | None = None


def config_hash(config: Config, inputs: Mapping[str, str] | None = None) -> str:
    """Hash of what decides the science: equal for equal quantities however they were spelt; `inputs` are the files' digests."""
    content = {key: value for key, value in dump(config).items() if key not in NOT_HASHED} | dict(inputs or {})
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=8).hexdigest()


def input_digests(config: Config, data: Path | None) -> dict[str, str]:
    """Key → digest of the file that it names, for the files that a run reads; a missing one is told when the run is built."""
    named = {f"tissue.{key}": config.tissue.values[key] for key in getattr(config.tissue.cls, "files", ())}
    named["nanoparticle.clearance.curve"] = config.nanoparticle.clearance.curve
    found = {}
    for key, name in named.items():
        places = [folder / name for folder in (Path(), data) if name and folder is not None]
        if file := next((place for place in places if place.is_file()), None):
            with file.open("rb") as content:
                found[key] = hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
    return found


def new_folder(config: Config, base: Path) -> Path:
    """`runs/<name>/<date>-<time>-<hash>`, with a number behind it if two start in one second."""
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    folder = base / config.name / f"{stamp}-{config_hash(config)[:8]}"
    number = 1
    while folder.exists():
        number += 1
        folder = folder.with_name(f"{stamp}-{config_hash(config)[:8]}-{number}")
    return folder


def execute(
    config: Config,
    folder: Path,
    *,
    data: Path | None = None,
    threads: int | None = None,
    user_set: tuple[str, ...] = (),
    sources: dict[str, Any] | None = None,
    resume: bool = False,
    show: Callable[[float, float], None] = lambda fraction, time_s: None,
    say: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Run, or resume a run in its folder. Raises InputError(s) before anything is written, ModelError when the model fails."""
    started = time.monotonic()
    used = set_threads(threads or os.cpu_count() or 1)
    built = build(config, data, user_set)
    store = RunStore.open(folder) if resume else RunStore.create(folder)
    earlier = store.read_json("run.json") if resume else {}
    facts = _facts(config, built, used, data)
    if resume:
        _check_same(earlier, facts, say)
    recorder = RunRecorder(store, ticks(config.record.interval_s, config.step_s, "record.interval"), config.record.level)
    checkpointer = Checkpointer(store, recorder, config.checkpoint.wall_interval_s)
    last = ticks(config.protocol.duration_s, config.step_s, "protocol.duration")
    watcher = Watcher(max(1, last // 100), last, show)
    simulation = Simulation(built.state, built.processes, [recorder, checkpointer, watcher], config.step_s, config.seed)
    if resume:
        arrays, content = store.load_checkpoint()
        _check_shapes(arrays, built.state)
        restore(built.state, arrays, content["tick"])
        recorder.reload(content["time_s"], content["residual"])
        facts["resumed_from"] = content["time_s"]
    else:
        store.write_text(
            "config.yaml", yaml.safe_dump(dump(config) | {"sources": sources or {}}, sort_keys=False, allow_unicode=True)
        )
    before_s = float(earlier.get("wall_s", 0.0))

    def mark(status: str, **more: Any) -> None:
        store.write_json("run.json", {**facts, "status": status, "wall_s": before_s + time.monotonic() - started, **more})
        told = f"{status} at {simulation.time_s / 3600:g} h of {config.protocol.duration_s / 3600:g} h {more.get('error', '')}"
        store.append_line("log.txt", f"{datetime.now().astimezone().isoformat(timespec='seconds')} {told}".rstrip())

    mark("running")
    for line in (f"dose: {built.dose_words}", f"number: {built.state.number} ({built.number_why})"):
        say(line)
        store.append_line("log.txt", line)
    try:
        with _stop_between_steps() as stop:
            finished = simulation.run(config.protocol.duration_s, stop)
        if not finished:
            checkpointer.save(built.state, simulation.time_s)
            mark("interrupted", at_s=simulation.time_s)
            return Outcome(folder, "interrupted", built=built)
        if built.state.tick % recorder.every:  # the end is recorded, whatever the interval
            recorder.record(built.state, simulation.time_s)
        recorder.flush()
        summary = summary_of(config, built, recorder, before_s + time.monotonic() - started)
        store.write_json("summary.json", summary)
        mark("done")
    except Exception as error:
        told = str(error) if isinstance(error, EXPECTED) else f"{type(error).__name__}: {error}"
        with suppress(OSError):  # on a full disk it stays "running", as after a kill; what was recorded is there
            mark("failed", error=told, at_s=simulation.time_s)
        if isinstance(error, EXPECTED):
            raise
        raise ModelError(f"at {simulation.time_s / 3600:g} h: {told} (a fault of ours; --debug shows where)") from error
    if config.report:
        report_on(folder, say)
        summary |= {"wall_s": before_s + time.monotonic() - started, "peak_memory_mb": peak_memory_mb()}
        store.write_json("summary.json", summary)
    return Outcome(folder, "done", summary, where_by_route(built.state), built)


def _check_same(earlier: Mapping[str, Any], facts: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """A run goes on with the input files it began with; another version of the program is told."""
    began = earlier.get("inputs", {})
    for key in sorted({*began, *facts["inputs"]}):
        if began.get(key) != facts["inputs"].get(key):
            raise InputError("--resume", key, "names a file that is not what it was when the run began; start it again")
    for key in ("commit", "versions"):
        if earlier.get(key) != facts[key]:
            say(f"note: {key} differ from those that the run began with")


def _check_shapes(arrays: Mapping[str, Any], state: State) -> None:
    for name, data in flatten(state).items():
        if name not in arrays or (not name.startswith("populations.") and arrays[name].shape != data.shape):
            raise InputError("--resume", name, "is not in the checkpoint as this version has it; start the run again")


def report_on(folder: Path, say: Callable[[str], None]) -> Path | None:
    """Write the run's report; where that cannot be done the run is none the worse for it, and a line says why."""
    from tme_sim.config.explain import all_rows
    from tme_sim.config.load import reopen
    from tme_sim.views.report import write_report

    try:
        return write_report(RunFolder(folder), {row.key: row.meaning for row in all_rows(reopen(folder))})
    except (InputError, OSError) as error:
        say(f"no report: {error}")
        return None


def summary_of(config: Config, built: Built, recorder: RunRecorder, wall_s: float) -> dict[str, Any]:
    """The flat summary of interface.md."""
    drug_g = particle_mass_g(config.nanoparticle) * config.nanoparticle.drug_fraction if config.drug else 0.0
    measures = summarise(built.state, built.tumor_mass_g, recorder.series, drug_g)
    return {
        "number": built.state.number,
        **measures,
        **built.geometry.morphometry,
        "duration_h": config.protocol.duration_s / 3600,
        "ledger_residual": recorder.residual,
        "wall_s": wall_s,
        "peak_memory_mb": peak_memory_mb(),
        "seed": config.seed,
        "version": tme_sim.__version__,
    }


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1024**2
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


def _commit() -> str | None:
    """The commit that runs, with a + where files differ from it; None where the package is installed without its repository."""
    place = ["git", "-C", str(Path(__file__).parents[2])]
    try:
        head = subprocess.run(
            [*place, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
        ours = subprocess.run([*place, "ls-files", "--error-unmatch", __file__], capture_output=True, check=False, timeout=10)
        changed = subprocess.run([*place, "diff", "--quiet", "HEAD"], capture_output=True, check=False, timeout=10).returncode
    except (OSError, subprocess.SubprocessError):
        return None
    return head + "+" * bool(changed) if ours.returncode == 0 else None


def _facts(config: Config, built: Built, threads: int, data: Path | None) -> dict[str, Any]:
    patches = [asdict(patch) for patch in built.state.lattice.patches]
    return {
        "format": FORMAT,
        "name": config.name,
        "hash": config_hash(config),
        "seed": config.seed,
        "number": built.state.number,
        "number_why": built.number_why,
        "dose_particles": built.dose,
        "tumor_mass_g": built.tumor_mass_g,
        "patches": patches,
        "sites": built.state.lattice.sites,
        "voxel_um": built.state.lattice.voxel_um,
        "morphometry": built.geometry.morphometry,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "resumed_from": None,
        "commit": _commit(),
        "threads": threads,
        "data": str(data.resolve()) if data else None,
        "inputs": input_digests(config, data),
        "versions": {"tme_sim": tme_sim.__version__, "python": platform.python_version()}
        | {name: version(name) for name in LIBRARIES},
        "machine": f"{platform.system()} {platform.machine()}",
    }


@contextmanager
def _stop_between_steps() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM ask for an end after the present step, so that the state is whole; a second Ctrl-C ends at once."""
    asked: list[int] = []

    def ask(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: signals stay as they are
        yield lambda: False
        return
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
