"""`tme-sim list`, `explain` and `doctor`: what there is."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tme_sim.commands.run import request_of
from tme_sim.config.load import conf_dirs, experiment_dirs, load
from tme_sim.provenance import LIBRARIES
from tme_sim.state.errors import InputError

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


def show_list(options: argparse.Namespace) -> int:
    """One line per thing, with its first comment line or status."""
    rows = listed(options.kind)
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        print(f"{name:<{width}}  {text}".rstrip())
    if not rows:
        print(f"no {options.kind} yet", file=sys.stderr)
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
    return [(name, _first_line(group, name) or _first_comment(conf_dirs(), f"{group}/{name}.yaml")) for name in names]


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
    """What the module of a process says of itself; empty for what is configuration only, as presets of instruments are."""
    from tme_sim.config.registry import KINDS

    place = KINDS["process"].get(name) if group == "processes" else None
    doc = importlib.import_module(place.split(":")[0]).__doc__ if place else None
    return re.sub(r" \((model )?sections? [^)]*\)", "", (doc or "").strip().split("\n", maxsplit=1)[0])


def explain(options: argparse.Namespace) -> int:
    """One key of the configuration as composed."""
    from tme_sim.config.explain import explain as make

    asked = request_of(options)
    group, *below = options.key.split(".")
    if group == "readouts" and below and not any(word.startswith("readouts=") for word in asked.overrides):
        asked = replace(asked, overrides=(f"readouts={below[0]}", *asked.overrides))  # instruments are there to be asked about
    print(make(options.key, load(asked)))
    return 0


def doctor(options: argparse.Namespace) -> int:
    """What this installation runs on; says what is missing."""
    import os
    import platform
    import shutil
    from importlib.metadata import version

    import psutil

    import tme_sim

    print(f"tme-sim {tme_sim.__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    for name in (*LIBRARIES, "pyvista", "xarray", "pandas", "pyarrow"):
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
