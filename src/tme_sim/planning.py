"""`tme-sim plan`: what a run would cost, measured on its own lattice rather than guessed.

State(0) is built, filled with as many carriers as are expected in the middle of the run, and a few steps of every process are
timed on it. The peak memory is that of this process after doing so. Only the report is an estimate, for drawing takes as long as
planning should.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from tme_sim.config.build import Built, build
from tme_sim.config.load import Loaded
from tme_sim.config.schema import dump
from tme_sim.config.settings import Config
from tme_sim.files.run_store import RunStore
from tme_sim.numerics.threads import set_threads
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.provenance import peak_memory_mb
from tme_sim.recording import RunRecorder, series_rows
from tme_sim.simulation import ticks
from tme_sim.state.state import State
from tme_sim.state.variables import FORMS, ROUTES

BUDGET_S = 1.5
"""Wall time spent on timing one process."""
LOADING_S = 1.0
"""A first call that takes longer than this compiles kernels, which a run after it will find ready."""
REPORT_S, REPORT_MB = 7.0, 650.0
"""What drawing the report takes: 4-9 s on two cores, and the graphics library in memory; hardly a matter of the lattice."""


@dataclass(frozen=True)
class Plan:
    """The costs of a run: seconds of wall time by what takes them, megabytes, files."""

    loaded: Loaded
    built: Built
    steps: int
    parts_s: dict[str, float]
    memory_mb: float
    disk_mb: float
    files: int

    @property
    def wall_s(self) -> float:
        """All of it, from the command to its end where `parts_s` holds the start of Python."""
        return sum(self.parts_s.values())

    def text(self) -> str:
        """What the command prints."""
        lattice, built = self.built.state.lattice, self.built
        cells = {kind: len(p) for kind, p in built.state.populations.items()}
        figures = [f"  {name}: {value:.4g}" for name, value in built.geometry.morphometry.items()]
        return "\n".join(
            [
                yaml.safe_dump(dump(self.loaded.config), sort_keys=False, allow_unicode=True).rstrip(),
                "",
                f"dose: {built.dose_words}",
                f"number: {built.state.number} ({built.number_why})",
                f"lattice: {' x '.join(map(str, lattice.sites))} sites (z, y, x), {lattice.n_voxels} voxels",
                f"tumour: {built.tumor_mass_g:.3g} g = {' + '.join(f'{p.copies} x {p.name}' for p in lattice.patches)}",
                f"agents: {', '.join(f'{n} {kind}' for kind, n in cells.items())}",
                "tissue:",
                *figures,
                f"steps: {self.steps} of {self.loaded.config.step_s:g} s",
                f"time: about {self.wall_s:.3g} s from the command to its end, kernels compiled:",
                *[f"  {name}: {seconds:.2g} s" for name, seconds in self.parts_s.items()],
                f"memory: about {self.memory_mb:.0f} MB at most{', while the report is drawn' * self.loaded.config.report}",
                f"disk: about {self.disk_mb:.3g} MB in {self.files} files",
            ]
        )


def plan(loaded: Loaded, *, data: Path | None = None, threads: int | None = None, start_s: float = 0.0) -> Plan:
    """Build, fill, time; `start_s` is what it took to get here. Raises what a run would raise; writes a temporary folder only."""
    config = loaded.config
    set_threads(threads or os.cpu_count() or 1)
    started = time.monotonic()
    built = build(config, data, loaded.user_set)
    parts = {"start": start_s, "tissue": time.monotonic() - started, "kernels": 0.0}
    steps = ticks(config.protocol.duration_s, config.step_s, "protocol.duration")
    fill(built, config)
    for name, process in built.processes.items():
        interval_s = process.interval_s or config.step_s
        calls = -(-steps // ticks(interval_s, config.step_s, f"processes.{name}.interval"))
        first_s, each_s = seconds_per_call(name, process, built.state, interval_s, config)
        parts["kernels"] += min(first_s - each_s, LOADING_S)
        parts[name] = calls * each_s
    parts["records"], disk_mb, files = recording_cost(built.state, config)
    if config.report:
        parts["report"] = REPORT_S
    return Plan(loaded, built, steps, parts, peak_memory_mb() + REPORT_MB * config.report, disk_mb, files)


def fill(built: Built, config: Config) -> None:
    """Put carriers where they are expected halfway: two thirds of the final occupancy in each entry route that the run has."""
    state = built.state
    plasma = state.body.pools.get("plasma")
    if plasma is None:
        return
    plasma[FORMS.index("loaded")] = built.dose * 0.6
    plasma[FORMS.index("released")] = built.dose * 0.1
    routes = [route for route in ("gap", "transcytosis") if {"gap": "gaps"}.get(route, route) in built.processes]
    generator = np.random.default_rng(0)
    inside = state.fields["inside"] > 0
    for route in routes:
        for form, share in (("loaded", 0.3), ("released", 0.05)):
            mean = built.occupancy / len(routes) * share * inside
            amounts = generator.poisson(mean) if state.number == "stochastic" else mean
            state.fields["nanoparticle"][ROUTES.index(route), FORMS.index(form)] = amounts


def seconds_per_call(name: str, process: Process, state: State, interval_s: float, config: Config) -> tuple[float, float]:
    """Wall time of the first call, which loads or compiles kernels, and the median of those after it."""
    times = []
    spent = 0.0
    for call in range(51):
        view = StateView(state, process.reads, process.writes, call * config.step_s)
        started = time.monotonic()
        process.step(view, interval_s, Streams(config.seed, name, call))
        times.append(time.monotonic() - started)
        spent += times[-1] if call else 0.0
        if call >= 3 and spent > BUDGET_S:
            break
    return times[0], float(np.median(times[1:]))


def recording_cost(state: State, config: Config) -> tuple[float, float, int]:
    """Seconds, megabytes and files of all records, from one record made into a temporary folder."""
    records = 1 + ticks(config.protocol.duration_s, config.step_s, "protocol.duration") // ticks(
        config.record.interval_s, config.step_s, "record.interval"
    )
    if config.record.level != "full":
        started = time.monotonic()
        series_rows(state, 0.0)
        return records * (time.monotonic() - started), 0.1, 5
    with tempfile.TemporaryDirectory() as folder:
        recorder = RunRecorder(RunStore(Path(folder)), 1, "full", audited=False)
        recorder.record(state, 0.0)
        before_mb, before_files = _size(Path(folder))
        state.tick = 1
        started = time.monotonic()
        recorder.record(state, 60.0)
        seconds = time.monotonic() - started
        state.tick = 0
        mb, files = _size(Path(folder))
    return (
        records * seconds,
        before_mb + (records - 1) * (mb - before_mb),
        before_files + (records - 1) * (files - before_files) + 6,
    )


def _size(folder: Path) -> tuple[float, int]:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return sum(sizes) / 1e6, len(sizes)
