"""`tme-sim run` (one run, a resumed one, a sweep) and `tme-sim plan`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tme_sim import runner
from tme_sim.config.load import Loaded, Request, load, load_extensions, reopen, request
from tme_sim.files.run_folder import find_run
from tme_sim.files.run_store import RunStore
from tme_sim.state.errors import InputError, InputErrors
from tme_sim.state.variables import ROUTES

LINES_EVERY_S = 10.0
"""Without a terminal, progress is a plain line at most this often."""


def run(options: argparse.Namespace) -> int:
    """One run, new or resumed, ending with the table of where the particles are; with -m a sweep."""
    _refuse_together(options)
    if options.multirun:
        return _sweep(options)
    data = options.data
    if options.resume is not None:
        load_extensions(options.extension)
        folder = find_run(options.resume)
        earlier = RunStore.open(folder).read_json("run.json")
        loaded = reopen(folder)
        if earlier["status"] == "done":
            raise InputError("--resume", folder, "this run is done; nothing is left to resume")
        data = data or (Path(earlier["data"]) if earlier.get("data") else None)
    else:
        loaded = load(request_of(options))
        _refuse_unsupported(loaded)
        folder = options.out or runner.new_folder(loaded.config, Path("runs"))
    console = Console(stderr=True, quiet=options.quiet, markup=False, emoji=False)
    with _progress(console, loaded.config.name) as show:
        outcome = runner.execute(
            loaded.config,
            folder,
            data=data,
            threads=options.threads,
            user_set=loaded.user_set,
            sources=loaded.sources,
            resume=options.resume is not None,
            show=show,
            say=lambda line: console.print(line, highlight=False, soft_wrap=True),
        )
    if outcome.status == "interrupted":
        print(f"interrupted; what was recorded is kept. To go on: tme-sim run --resume {folder}", file=sys.stderr)
        return 130
    if not options.quiet:
        _closing(outcome)
    else:
        print(folder)
    return 0


def _refuse_unsupported(loaded: Loaded) -> None:
    if loaded.config.replicates > 1:
        raise InputError("replicates", loaded.config.replicates, "is for sweeps; add -m, or leave it at 1")


def _closing(outcome: runner.Outcome) -> None:
    """Where the particles are, by route, and what to do next."""
    console = Console(highlight=False, markup=False, emoji=False)
    told = "Where the particles are (whole tumour, whole body)"
    table = Table(title=told, title_justify="left", box=box.SIMPLE_HEAD, padding=0)  # all routes within 80 columns
    table.add_column("compartment", no_wrap=True)
    shown = [route for route in ROUTES if any((row.get(route) or 0) > 0 for row in outcome.where)] or list(ROUTES[1:3])
    for column in (*[f"by {route}" for route in shown], "total", "% of dose"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in outcome.where:
        total = row.get("total", sum(row[route] or 0 for route in ROUTES))
        percent = row["percent_id"]
        table.add_row(
            row["where"],
            *["" if row[route] is None else f"{row[route]:.4g}" for route in shown],
            f"{total:.4g}",
            "" if percent is None else f"{percent:.3g}",
        )
    console.print(table)
    s = outcome.summary
    console.print(f"ledger residual {s['ledger_residual']:g}, {s['wall_s']:.1f} s, {s['peak_memory_mb']:.0f} MB")
    console.print(f"\nThe run is in {outcome.folder}", soft_wrap=True)
    if (outcome.folder / "report.html").exists():
        console.print(f"Report: {outcome.folder / 'report.html'}", soft_wrap=True)
    console.print(
        f"Next:\n  tme-sim view {outcome.folder} --screenshot scene.png\n  tme-sim run --from {outcome.folder} seed=2\n"
        "  tme-sim explain nanoparticle.hydrodynamic_diameter"
    )


class _progress:
    """A bar with the time left on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console, name: str) -> None:
        self._console, self._name, self._last = console, name, time.monotonic()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console, transient=True) if console.is_terminal and not console.quiet else None

    def __enter__(self) -> Callable[[float, float], None]:
        bar = self._bar
        if bar is None:
            return self._line
        bar.start()
        task = bar.add_task(f"{self._name}: preparing (kernels are compiled once)", total=1.0)
        return lambda fraction, time_s: bar.update(task, completed=fraction, description=f"{self._name}: {time_s / 3600:.1f} h")

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _line(self, fraction: float, time_s: float) -> None:
        if time.monotonic() - self._last >= LINES_EVERY_S or fraction in (0.0, 1.0):
            self._last = time.monotonic()
            self._console.print(f"{self._name}: {time_s / 3600:.2f} h, {fraction:.0%}", highlight=False)


def plan(options: argparse.Namespace) -> int:
    """What a run would be; nothing is run and nothing written."""
    import psutil

    from tme_sim.planning import plan as make_plan

    if options.multirun:
        return _plan_sweep(options)
    loaded = load(request_of(options))
    _refuse_unsupported(loaded)
    start_s = time.time() - psutil.Process().create_time()
    print(make_plan(loaded, data=options.data, threads=options.threads, start_s=start_s).text())
    return 0


def _plan_sweep(options: argparse.Namespace) -> int:
    """The whole of a sweep from its largest run."""
    from tme_sim.config.load import validated
    from tme_sim.planning import plan as make_plan
    from tme_sim.sweeping import make_jobs

    jobs, workers = make_jobs(request_of(options), options.data), options.workers or 1
    runs = [validated(job.config) for job in jobs]
    largest = max(
        runs, key=lambda run: (run.config.lattice.size_um, run.config.lattice.refinement, run.config.protocol.duration_s)
    )
    planned = make_plan(largest, data=options.data, threads=options.threads)
    print(f"{len(jobs)} jobs, {workers} at a time; the largest of them:\n{planned.text()}\n")
    hours = len(jobs) * planned.wall_s / workers / 3600
    print(f"sweep: at most about {hours:.3g} h and {workers * planned.memory_mb:.0f} MB, if all were like the largest")
    return 0


def _sweep(options: argparse.Namespace) -> int:
    from tme_sim.sweeping import sweep

    return sweep(
        request_of(options),
        out=options.out,
        data=options.data,
        workers=options.workers or 1,
        threads=options.threads,
        retry=options.retry,
        say=(lambda line: None) if options.quiet else print,
    )


def request_of(options: argparse.Namespace) -> Request:
    """The experiment and overrides among the words. Raises InputErrors for a key that is set twice."""
    words = options.what
    keys = [word.partition("=")[0].lstrip("+") for word in words if "=" in word]
    if twice := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
        raise InputErrors([InputError(key, None, "is set more than once; which of its values is meant?") for key in twice])
    return request(words, from_run=options.from_run, extensions=options.extension)


def _refuse_together(options: argparse.Namespace) -> None:
    """Flags and words that would be passed over in silence beside others."""
    if options.resume is not None:
        beside = {"-m": options.multirun, "--out": options.out, "--from": options.from_run}
        given = [*options.what, *[flag for flag, value in beside.items() if value]]
        if given:
            told = "goes on with the run as it was; give no experiment, overrides, --out, --from or -m beside it"
            raise InputError("--resume", " ".join([options.resume, *given]), told)
    if not options.multirun:
        for flag, value in {"--workers": options.workers, "--retry": options.retry}.items():
            if value:
                raise InputError(flag, None if value is True else value, "is for sweeps; add -m")
