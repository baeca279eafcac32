"""What the commands print."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tme_sim import runner
from tme_sim.config.load import Loaded, Request, conf_dirs, experiment_dirs, load, reopen
from tme_sim.config.units import parse_quantity
from tme_sim.files.run_folder import RunFolder, find_run
from tme_sim.files.run_store import RunStore
from tme_sim.state.errors import InputError
from tme_sim.state.variables import ROUTES

LISTS = {
    "runs": "",
    "experiments": "",
    "nanoparticles": "nanoparticle",
    "tissues": "tissue",
    "processes": "processes",
    "readouts": "readouts",
    "drugs": "drug",
    "protocols": "protocol",
}
"""What can be listed → the group of the configuration that holds it."""

LINES_EVERY_S = 10.0
"""Without a terminal, progress is a plain line at most this often."""


def run(options: argparse.Namespace, request: Request | None) -> int:
    """One run, new or resumed; ends with the table of where the particles are."""
    data = options.data
    if request is None:
        folder = find_run(options.resume)
        earlier = RunStore.open(folder).read_json("run.json")
        loaded = reopen(folder)
        if earlier["status"] == "done":
            raise InputError("--resume", folder, "this run is done; nothing is left to resume")
        data = data or (Path(earlier["data"]) if earlier.get("data") else None)
    else:
        loaded = load(request)
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
            resume=request is None,
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
    table = Table(title="Where the particles are (whole tumour, whole body)", title_justify="left")
    table.add_column("compartment")
    shown = [route for route in ROUTES if any((row.get(route) or 0) > 0 for row in outcome.where)] or list(ROUTES[1:3])
    for column in (*[f"by {route}" for route in shown], "total", "% of dose"):
        table.add_column(column, justify="right")
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


def plan(options: argparse.Namespace, request: Request) -> int:
    """What a run would be; nothing is run and nothing written."""
    import psutil

    from tme_sim.planning import plan as make_plan

    loaded = load(request)
    _refuse_unsupported(loaded)
    start_s = time.time() - psutil.Process().create_time()
    print(make_plan(loaded, data=options.data, threads=options.threads, start_s=start_s).text())
    return 0


def sweep(start: Callable[..., int], options: argparse.Namespace, request: Request) -> int:
    """Many runs; exit code 1 if any job failed."""
    return start(
        request,
        out=options.out,
        data=options.data,
        workers=options.workers or 1,
        threads=options.threads,
        retry=options.retry,
        say=(lambda line: None) if options.quiet else print,
    )


def show_list(kind: str) -> int:
    """One line per thing, with its first comment line or status."""
    rows = listed(kind)
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        print(f"{name:<{width}}  {text}".rstrip())
    if not rows:
        print(f"no {kind} yet", file=sys.stderr)
    return 0


def listed(kind: str) -> list[tuple[str, str]]:
    """Name and a line of text of everything of a kind. Raises InputError for an unknown kind."""
    from tme_sim.config.compose import available, experiments

    if kind not in LISTS:
        raise InputError("list", kind, f"must be one of {', '.join(LISTS)}")
    if kind == "runs":
        return [(str(row["folder"]), f"{row['status']:<11} seed {row['seed']}") for row in list_runs(Path("runs"))]
    if kind == "experiments":
        return [(name, _first_comment(experiment_dirs(), f"{name}/experiment.yaml")) for name in experiments(experiment_dirs())]
    group = LISTS[kind]
    names = available(conf_dirs(), group)
    return [(name, _first_comment(conf_dirs(), f"{group}/{name}.yaml") or _first_line(group, name)) for name in names]


def list_runs(base: Path) -> list[dict[str, Any]]:
    """Runs under a folder, oldest first; a folder that cannot be read is passed over."""
    import json

    found = []
    for file in sorted(base.glob("*/*/run.json")):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            found.append({"folder": file.parent, "status": content["status"], "seed": content["seed"]})
        except (OSError, ValueError, KeyError):
            continue
    return found


def _first_comment(folders: list[Path], name: str) -> str:
    for folder in folders:
        if (folder / name).is_file():
            lines = (folder / name).read_text(encoding="utf-8").splitlines()
            return next((line.lstrip("# ") for line in lines if line.startswith("#") and "@package" not in line), "")
    return ""


def _first_line(group: str, name: str) -> str:
    """What the class behind a kind says of itself."""
    from tme_sim.config.registry import KINDS, resolve

    kind_of = {"processes": "process", "readouts": "readout"}.get(group, group)
    doc = resolve(kind_of, name).__doc__ if name in KINDS.get(kind_of, {}) else None
    return (doc or "").strip().split("\n", maxsplit=1)[0]


def study(options: argparse.Namespace) -> int:
    """Arms × replicates → verdict; exit code 1 if a run failed."""
    from tme_sim.analysis.targets import as_markdown
    from tme_sim.study import read_study, run_study

    names = [word for word in options.what if "=" not in word]
    settings = dict(word.split("=", 1) for word in options.what if "=" in word)
    if len(names) != 1 or set(settings) - {"variant"}:
        raise InputError("study", " ".join(options.what), "takes one NAME or study.yaml, and variant=small or full")
    chosen = read_study(names[0], settings.get("variant", "full"))
    done = run_study(
        chosen,
        out=options.out,
        data=options.data,
        workers=options.workers,
        threads=options.threads,
        retry=options.retry,
        say=(lambda line: None) if options.quiet else print,
    )
    print(as_markdown([row.as_dict() for row in done.rows]) if done.rows else "this study has no targets; see quantities.json")
    print(f"verdict: {done.folder / 'verdict.json'}")
    return int(done.failed > 0)


def compare(options: argparse.Namespace) -> int:
    """A run beside another run, or against the targets of an experiment."""
    import json

    from tme_sim.analysis.comparison import compare_runs, config_differences
    from tme_sim.analysis.targets import as_markdown
    from tme_sim.config.compose import experiments
    from tme_sim.study import judge_run

    first = RunFolder(find_run(options.run))
    if options.other in experiments(experiment_dirs()):
        rows = [row.as_dict() for row in judge_run(first.summary, options.other)]
        print(json.dumps({"rows": rows}, indent=1) if options.json else as_markdown(rows))
        return 0
    second = RunFolder(find_run(options.other))
    table, differences = compare_runs(first, second), config_differences(first.config, second.config)
    if options.json:
        content = {"measures": json.loads(table.to_json(orient="records")), "configuration": [list(d) for d in differences]}
        print(json.dumps(content, indent=1, default=str))
        return 0
    for key, a, b in differences:
        print(f"{key}: {a} | {b}")
    print(table.to_string(index=False, float_format=lambda x: f"{x:.4g}"))
    return 0


def view(options: argparse.Namespace) -> int:
    """The scene of a run, in a window or as a picture."""
    from tme_sim.views import scene

    run_folder = RunFolder(find_run(options.run))
    chosen = {
        "time_s": None if options.time in (None, "last") else parse_quantity(options.time, "s", "--time"),
        "layers": options.layers.split(",") if options.layers else None,
        "slice_": options.slice,
    }
    if options.screenshot is None:
        scene.show(run_folder, **chosen)
        return 0
    scene.screenshot(run_folder, options.screenshot, **chosen)
    print(options.screenshot)
    return 0


def export(options: argparse.Namespace) -> int:
    """A run's tables as CSV."""
    run_folder = RunFolder(find_run(options.run))
    options.csv.mkdir(parents=True, exist_ok=True)
    for table in [*sorted(run_folder.folder.glob("*.parquet")), *sorted(run_folder.folder.glob("agents/*/*.parquet"))]:
        target = options.csv / table.relative_to(run_folder.folder).with_suffix(".csv")
        target.parent.mkdir(parents=True, exist_ok=True)
        pd.read_parquet(table).to_csv(target, index=False)
    pd.DataFrame(run_folder.summary.items(), columns=["measure", "value"]).to_csv(options.csv / "summary.csv", index=False)
    print(options.csv)
    return 0


def explain(key: str, request: Request) -> int:
    """One key of the configuration as composed."""
    from tme_sim.config.explain import explain as make

    print(make(key, load(request)))
    return 0


def doctor() -> int:
    """What this installation runs on; says what is missing."""
    import os
    import platform
    import shutil
    from importlib.metadata import version

    import psutil

    import tme_sim

    print(f"tme-sim {tme_sim.__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    for name in (*runner.LIBRARIES, "pyvista", "xarray", "pandas", "pyarrow"):
        print(f"  {name} {version(name)}")
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    print(f"  {os.cpu_count()} cores, {psutil.virtual_memory().available / 1e9:.1f} GB of memory and {free:.1f} GB of disk free")
    started = time.monotonic()
    from tme_sim.numerics.share import share

    share([10], 0.5, (1, 2))
    print(f"  kernels compile and run ({time.monotonic() - started:.1f} s)")
    for folder in (*conf_dirs(), *experiment_dirs()):
        print(f"  configuration from {folder}")
    return 0
