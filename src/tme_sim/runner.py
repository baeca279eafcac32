"""One run from a validated configuration to a finished folder: the only place that writes `run.json`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

import tme_sim
from tme_sim.analysis.measures import summarise, where_by_route
from tme_sim.config.build import Built, build
from tme_sim.config.schema import dump
from tme_sim.config.settings import Config
from tme_sim.files.run_folder import RunFolder
from tme_sim.files.run_store import RunStore
from tme_sim.numerics.threads import set_threads
from tme_sim.provenance import config_hash, facts_of, peak_memory_mb
from tme_sim.recording import Checkpointer, RunRecorder
from tme_sim.simulation import Recorder, Simulation, ticks
from tme_sim.state.errors import InputError, InputErrors, ModelError
from tme_sim.state.state import State, flatten, restore
from tme_sim.state.substance import drug_per_particle_g

EXPECTED = (InputError, InputErrors, ModelError, OSError, MemoryError)
"""Failures that say themselves what was wrong."""


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
    running = Running(config, built, RunStore.open(folder) if resume else RunStore.create(folder), started, show)
    facts = facts_of(config, built, used, data)
    if resume:
        running.resume(facts, say)
    else:
        running.begin(facts, sources or {})
    for line in running.about:
        say(line)
    with running.failures_told(), _stop_between_steps() as stop:
        if not running.simulation.run(config.protocol.duration_s, stop):
            running.interrupt()
            return Outcome(folder, "interrupted", built=built)
        summary = running.finish()
    if built.readouts:
        look(folder, config, data, say)
    if config.report:
        report_on(folder, say)
        summary |= {"wall_s": running.wall_s, "peak_memory_mb": peak_memory_mb()}
        running.store.write_json("summary.json", summary)
    return Outcome(folder, "done", summary, where_by_route(built.state), built)


class Running:
    """A run under way: its parts, and what its folder says of it at any time."""

    def __init__(
        self, config: Config, built: Built, store: RunStore, started: float, show: Callable[[float, float], None]
    ) -> None:
        self.config, self.built, self.store, self._started = config, built, store, started
        step_s, last = config.step_s, ticks(config.protocol.duration_s, config.step_s, "protocol.duration")
        self.recorder = RunRecorder(store, ticks(config.record.interval_s, step_s, "record.interval"), config.record.level)
        self.checkpointer = Checkpointer(store, self.recorder, config.checkpoint.wall_interval_s)
        recorders: list[Recorder] = [self.recorder, self.checkpointer, Watcher(max(1, last // 100), last, show)]
        self.simulation = Simulation(built.state, built.processes, recorders, step_s, config.seed)
        self._facts: dict[str, Any] = {}
        self._before_s = 0.0

    @property
    def wall_s(self) -> float:
        """Wall time so far, with that before an interruption."""
        return self._before_s + time.monotonic() - self._started

    def begin(self, facts: dict[str, Any], sources: dict[str, Any]) -> None:
        """Write down what is run."""
        self._facts = facts
        content = dump(self.config) | {"sources": sources}
        self.store.write_text("config.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
        self._start()

    def resume(self, facts: dict[str, Any], say: Callable[[str], None]) -> None:
        """Take up the state and the tables where the last checkpoint has them."""
        earlier, state = self.store.read_json("run.json"), self.built.state
        _check_same(earlier, facts, say)
        arrays, content = self.store.load_checkpoint()
        _check_shapes(arrays, state)
        restore(state, arrays, content["tick"])
        self.recorder.reload(content["time_s"], content["residual"])
        self._facts = facts | {"resumed_from": content["time_s"]}
        self._before_s = float(earlier.get("wall_s", 0.0))
        self._start()

    def _start(self) -> None:
        self.mark("running")
        for line in self.about:
            self.store.append_line("log.txt", line)

    @property
    def about(self) -> tuple[str, str]:
        """What was decided for the user."""
        return f"dose: {self.built.dose_words}", f"number: {self.built.state.number} ({self.built.number_why})"

    def mark(self, status: str, **more: Any) -> None:
        """Say in `run.json` and in the log how it stands."""
        self.store.write_json("run.json", {**self._facts, "status": status, "wall_s": self.wall_s, **more})
        hours, all_hours = self.simulation.time_s / 3600, self.config.protocol.duration_s / 3600
        told = f"{status} at {hours:g} h of {all_hours:g} h {more.get('error', '')}".rstrip()
        self.store.append_line("log.txt", f"{datetime.now().astimezone().isoformat(timespec='seconds')} {told}")

    def interrupt(self) -> None:
        """Leave a checkpoint to go on from."""
        self.checkpointer.save(self.built.state, self.simulation.time_s)
        self.mark("interrupted", at_s=self.simulation.time_s)

    def finish(self) -> dict[str, Any]:
        """Write the last records and the summary, and return it."""
        if self.built.state.tick % self.recorder.every:  # the end is recorded, whatever the interval
            self.recorder.record(self.built.state, self.simulation.time_s)
        self.recorder.flush()
        summary = summary_of(self.config, self.built, self.recorder, self.wall_s)
        self.store.write_json("summary.json", summary)
        self.mark("done")
        return summary

    @contextmanager
    def failures_told(self) -> Iterator[None]:
        """A failure is one line in the log and in `run.json`; the last checkpoint stays as it is."""
        try:
            yield
        except Exception as error:
            told = str(error) if isinstance(error, EXPECTED) else f"{type(error).__name__}: {error}"
            with suppress(OSError):  # on a full disk it stays "running", as after a kill; what was recorded is there
                self.mark("failed", error=told, at_s=self.simulation.time_s)
            if isinstance(error, EXPECTED):
                raise
            hours = self.simulation.time_s / 3600
            raise ModelError(f"at {hours:g} h: {told} (a fault of ours; --debug shows where)") from error


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


def look(folder: Path, config: Config, data: Path | None, say: Callable[[str], None]) -> None:
    """Let the run's instruments see it; one that cannot leaves the run none the worse, and a line says why."""
    from tme_sim.acquiring import acquire, store

    run = RunFolder(folder)
    images, refused = acquire(run, config, data=data, keep_going=True)
    for name, why in refused.items():
        say(f"no image by {name}: {why}")
    say(f"images: {store(run, images, refused, ['nifti'])[-1]}")


def report_on(folder: Path, say: Callable[[str], None]) -> Path | None:
    """Write the run's report; where that cannot be done the run is none the worse for it, and a line says why."""
    from tme_sim.config.explain import all_rows
    from tme_sim.config.load import conf_dirs, reopen
    from tme_sim.files.literature import published
    from tme_sim.views.report import write_report

    try:
        meanings = {row.key: row.meaning for row in all_rows(reopen(folder))}
        return write_report(RunFolder(folder), meanings, published(conf_dirs()))
    except (InputError, OSError) as error:
        say(f"no report: {error}")
        return None


def summary_of(config: Config, built: Built, recorder: RunRecorder, wall_s: float) -> dict[str, Any]:
    """The flat summary of interface.md."""
    drug_g = drug_per_particle_g(config.nanoparticle) if config.drug else 0.0
    measures = summarise(built.state, built.tumor_mass_g, recorder.series, drug_g)
    return {
        "number": built.state.number,
        **measures,
        **built.geometry.morphometry,
        **{f"{name}_{what}": told for name, process in built.processes.items() for what, told in process.report().items()},
        "duration_h": config.protocol.duration_s / 3600,
        "ledger_residual": recorder.residual,
        "wall_s": wall_s,
        "peak_memory_mb": peak_memory_mb(),
        "seed": config.seed,
        "version": tme_sim.__version__,
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
