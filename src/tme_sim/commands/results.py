"""`tme-sim study`, `compare`, `view` and `export`: what is made of runs."""

from __future__ import annotations

import argparse

import pandas as pd

from tme_sim.config.load import experiment_dirs
from tme_sim.config.units import parse_quantity
from tme_sim.files.run_folder import RunFolder, find_run
from tme_sim.state.errors import InputError


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
    """A run beside another run, against the targets of an experiment, or beside measured data."""
    import json

    from tme_sim.analysis.comparison import compare_runs, config_differences
    from tme_sim.analysis.targets import as_markdown
    from tme_sim.commands.comparing import compare_dataset, find_card
    from tme_sim.config.compose import experiments
    from tme_sim.study import judge_run

    first = RunFolder(find_run(options.run))
    if found := find_card(options.other, options.data):
        return compare_dataset(first, *found, as_json=options.json)
    if options.other in experiments(experiment_dirs()):
        rows = [row.as_dict() for row in judge_run(first, options.other)]
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
