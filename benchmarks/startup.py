"""What a user waits for: the reference run, and the first seconds of any run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rows import Row, Rows, Sizes, child

SITES_16 = ("lattice.size=240 um", "protocol.duration=10 min", "record.interval=10 min", "report=false")


def reference(sizes: Sizes) -> Rows:
    """Continuum and stochastic, refinement 1 and 2; and the largest memory of them."""
    peak: dict[str, Any] = {}
    for number in ("continuum", "stochastic"):
        for refinement in (1, 2):
            name = f"reference_{number}_r{refinement}_s"
            if refinement not in sizes.refinements:
                yield Row(name, None, "s", "not run at this size")
                continue
            try:
                budget_s = sizes.reference_budget_s
                asked = (number, refinement, sizes.reference_sites, budget_s)
                found = child("reference.py", *asked, timeout_s=120 + 6 * budget_s)
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                yield Row(name, None, "s", f"{type(error).__name__}: {error}")
                continue
            yield _row(name, found, sizes)
            peak[name] = found
    if not peak:
        yield Row("reference_peak_memory_mb", None, "MB", "no reference run was made")
        return
    most = max(float(found["peak_memory_mb"]) for found in peak.values())
    told = ", ".join(f"{name[10:-2]} {found['peak_memory_mb']:.0f}" for name, found in peak.items())
    yield Row("reference_peak_memory_mb", most, "MB", None, f"largest resident memory: {told}")


def _row(name: str, found: dict[str, Any], sizes: Sizes) -> Row:
    """Scaled to a cubic millimetre where fewer sites were run."""
    scale = (FULL_SITES / sizes.reference_sites) ** 3
    part = f"from {found['simulated_h']:.3g} h in the middle" if found["extrapolated"] else "the whole run with its folder"
    box = "" if scale == 1 else f", scaled by voxels from {sizes.reference_sites}³ sites to {FULL_SITES}³"
    dearest = sorted(found["per_process_s"].items(), key=lambda item: -item[1])[:6]
    shares = ", ".join(f"{process} {scale * seconds:.3g} s" for process, seconds in dearest)
    note = (
        f"{part}{box}; {found['voxels']} voxels, {found['cells']} cells, {found['mean_per_voxel']:.3g} particles per voxel "
        f"at the end; {shares}; without {_missing(found)}; the ledger to {found['error']:.1g}; error: of an amount in the tissue "
        "after 8 h on 10³ sites, against steps a tenth as long"
    )
    extrapolated = bool(found["extrapolated"]) or scale != 1
    return Row(name, scale * found["wall_s"], "s", found["step_error"], note, extrapolated=extrapolated)


FULL_SITES = 64


def _missing(found: dict[str, Any]) -> str:
    return ", ".join(name for name in ("phagocytes", "drug") if name not in found["processes"]) or "nothing"


def startup(sizes: Sizes) -> Rows:
    """A run of ten steps on 16³ sites from the shell, with compiled kernels and with an empty cache."""
    if not sizes.startup:
        for name in ("startup_warm_s", "startup_first_s"):
            yield Row(name, None, "s", "not run at this size")
        return
    with tempfile.TemporaryDirectory() as folder:
        _seconds(Path(folder) / "cache", 0)
        warm = [_seconds(Path(folder) / "cache", i) for i in range(1, sizes.startup + 1)]
    warm.sort()
    note = "`tme-sim run` of ten steps on 16³ sites, no report, the shell's wait"
    yield Row("startup_warm_s", warm[0], "s", None, f"{note}; kernels from the cache", warm[0], warm[len(warm) // 2], "s")
    with tempfile.TemporaryDirectory() as folder:
        yield Row("startup_first_s", _seconds(Path(folder) / "cache", 0), "s", None, f"{note}; cache empty, all kernels compiled")


def _seconds(cache: Path, number: int) -> float:
    words = [sys.executable, "-m", "tme_sim.cli", "run", *SITES_16, "--out", str(cache.parent / f"run{number}"), "--quiet"]
    started = time.perf_counter()
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPYCACHEPREFIX": str(cache / "python")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else all of Python's source is compiled at every start
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["tme-sim failed"])[-1])
    return time.perf_counter() - started
