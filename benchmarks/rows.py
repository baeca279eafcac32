"""What a benchmark hands back, and how things are timed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numba

from tme_sim.numerics.threads import set_threads

HERE = Path(__file__).resolve().parent


@dataclass
class Row:
    """One figure. error: how wrong the timed computation is, as `note` says; in a row that failed, why it did.

    minimum and median, in `time_unit`, are of the timed call whose minimum made `value`.
    """

    name: str
    value: float | None
    unit: str
    error: float | str | None
    note: str = ""
    minimum: float | None = None
    median: float | None = None
    time_unit: str = "ms"
    extrapolated: bool = False

    def as_json(self) -> dict[str, Any]:
        """What is not there is left out, but for the four that every row has."""
        required = ("name", "value", "unit", "error")
        return {key: _rounded(value) for key, value in asdict(self).items() if key in required or value not in (None, "", False)}


class Timing(NamedTuple):
    """Wall seconds of one call."""

    minimum: float
    median: float

    def row(self, name: str, value: float, unit: str, error: float | None, note: str, extrapolated: bool = False) -> Row:
        """A row that rests on this time."""
        return Row(name, value, unit, error, note, 1e3 * self.minimum, 1e3 * self.median, extrapolated=extrapolated)

    def __str__(self) -> str:
        return f"{1e3 * self.minimum:.3g} ms (median {1e3 * self.median:.3g})"


@dataclass(frozen=True)
class Sizes:
    """How large and how long. `reference_budget_s` is what a reference run may take; a part stands for one that takes longer."""

    name: str
    step: int
    threads: int
    peers: int
    fipy: int
    steady: int
    agents: int
    mesa_agents: int
    hops: int
    scaling: tuple[int, ...]
    day: int
    repeats: int
    seconds: float
    triad: int
    reference_sites: int
    refinements: tuple[int, ...]
    reference_budget_s: float
    startup: int
    slow_peers: bool


FULL = Sizes(
    "full", 128, 64, 100, 40, 100, 1_000_000, 100_000, 100, (48, 64, 96, 128, 160, 192), 64,
    15, 2.0, 2**25, 64, (1, 2), 60.0, 3, True,
)  # fmt: skip
QUICK = Sizes(
    "quick", 128, 64, 48, 20, 64, 200_000, 20_000, 48, (32, 48, 64, 96), 48,
    7, 0.5, 2**23, 32, (1, 2), 8.0, 1, True,
)  # fmt: skip
TINY = Sizes(
    "tiny", 12, 12, 8, 6, 8, 500, 200, 8, (8, 10, 12), 10,
    2, 0.0, 2**14, 8, (), 0.0, 0, False,
)  # fmt: skip


def timed(action: Callable[[], Any], sizes: Sizes, inner: int = 1) -> Timing:
    """Time of an action that consists of `inner` equal parts, per part, after a first call that is not counted.

    Up to `sizes.repeats` calls, and no fewer than two, as long as they fit into `sizes.seconds`.
    """
    action()
    times: list[float] = []
    while len(times) < 2 or (len(times) < sizes.repeats and sum(times) < sizes.seconds):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    times.sort()
    return Timing(times[0] / inner, times[len(times) // 2] / inner)


def thread_counts() -> list[int]:
    """1, 2, 4, … and all that there are."""
    most = int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    return [n for n in (1, 2, 4, 8, 16, 32, 64, 128) if n < most] + [most]


def on_threads(n: int) -> None:
    """Our kernels, and those of this folder, on n threads."""
    set_threads(n)
    numba.set_num_threads(min(n, int(numba.config.NUMBA_NUM_THREADS)))  # type: ignore[attr-defined]


def child(script: str, *arguments: object, timeout_s: float = 300.0, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Run a script of this folder by itself, for a fresh memory, and read the last line that it prints as JSON."""
    words = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=timeout_s, env={**os.environ, **(environment or {})}, check=False
    )
    if done.returncode:
        told = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RuntimeError(told[-1])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


Rows = Iterator[Row]
