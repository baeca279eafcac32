"""Every speed that this project claims, measured in one run, with the error of what was timed.

Run: uv run --group bench python benchmarks/run.py [--json] [--quick] [--write] [--only WORD …]
--write puts the figures into benchmarks/results.json and docs/performance.md with its plot.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import agents
import cells
import counts
import instruments
import numba
import numpy as np
import page
import scaling
import solves
import startup
import steps
from rows import FULL, QUICK, TINY, Row, Rows, Sizes, on_threads, thread_counts

import tme_sim

RESULTS = Path(__file__).resolve().parent / "results.json"
QUIET_BELOW = 0.5
"""Load average at the start up to which the machine counts as idle."""

Section = tuple[tuple[str, ...], Callable[[Sizes], Rows]]


def sections(points: dict[str, scaling.Points]) -> list[Section]:
    """The rows that each part promises, in the order in which they are measured."""
    triads = tuple(f"triad_{n}_GB_per_s" for n in thread_counts())
    runs = tuple(f"reference_{number}_r{r}_s" for number in ("continuum", "stochastic") for r in (1, 2))
    return [
        (triads, steps.triads),
        (("explicit_over_triad_128", "threads_2_over_1_64"), steps.explicit),
        (("over_numpy", "over_scipy_csr"), steps.against_arrays),
        (("over_pypde_variable",), steps.against_pypde),
        (("over_fipy",), steps.against_fipy),
        (("rhs_evaluations_over_euler",), steps.long_steps),
        (("pcg_iterations", "pcg_over_scipy_cg", "pcg_over_pyamg"), solves.steady),
        (("agents_over_mesa",), agents.against_mesa),
        (("uptake_1e6_ms",), agents.uptake),
        (tuple(f"cells_{name}_1e6_ms" for name in cells.TIMED), cells.cells),
        (("pet_mouse_frame_s", "mri_multi_echo_128_s", "gallery_s"), instruments.instruments),
        (tuple(f"hop_occupancy_{n}_ms" for n in counts.OCCUPANCIES), counts.hops),
        (tuple(f"exponent_{what}" for what in ("voxels", "agents", "particles")), partial(scaling.scaling, points=points)),
        (("startup_warm_s", "startup_first_s"), startup.startup),
        ((*runs, "reference_peak_memory_mb"), startup.reference),
    ]


def measured(sizes: Sizes, only: tuple[str, ...] = (), say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """The machine, the rows, and the points of the plot. A part that fails leaves rows that say why."""
    points: dict[str, scaling.Points] = {}
    about, rows = machine(sizes), []
    started = time.perf_counter()
    for names, measure in sections(points):
        if only and not any(word in name for word in only for name in names):
            continue
        found: list[Row] = []
        try:
            for row in measure(sizes):
                found.append(row)
                say(f"{time.perf_counter() - started:5.0f} s  {row.name} {_short(row)}")
        except Exception as error:  # noqa: BLE001 - one that fails must not take the others with it
            why = f"{type(error).__name__}: {error}"
            lost = [Row(name, None, "", why) for name in names if name not in {row.name for row in found}]
            for row in lost:
                say(f"{time.perf_counter() - started:5.0f} s  {row.name} {why}")
            found += lost
        rows += found
    about["took_s"] = round(time.perf_counter() - started)
    return {"machine": about, "rows": [row.as_json() for row in rows], "points": points}


def _short(row: Row) -> str:
    return str(row.error) if row.value is None else f"{row.value:.4g} {row.unit}"


def machine(sizes: Sizes) -> dict[str, Any]:
    """On what, with what, and whether anything else was running."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": thread_counts(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numba": numba.__version__,
        "numpy": np.__version__,
        "tme_sim": tme_sim.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "size": sizes.name,
        "load_before": load and round(load, 2),
        "idle": load is not None and load < QUIET_BELOW,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else on standard output")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="smaller problems; the reference run is extrapolated and says so")
    size.add_argument("--tiny", action="store_true", help="whether it works at all; the figures mean nothing")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results.json, docs/performance.md and .svg")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="only parts with a row whose name holds a word")
    asked = parser.parse_args()
    sizes = QUICK if asked.quick else TINY if asked.tiny else FULL
    found = measured(sizes, tuple(asked.only), lambda line: print(line, file=sys.stderr, flush=True))
    if asked.json:
        print(json.dumps(found, indent=1))
    else:
        print(page.table(found))
    if asked.write:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        page.write(found)
    on_threads(thread_counts()[-1])


if __name__ == "__main__":
    main()
