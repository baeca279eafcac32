"""Published figures that a simulation is held against, and the verdict."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from tme_sim.state.errors import InputError

ROLES = ("calibration", "validation", "consistency", "context")
"""Calibration rows may be fitted to, validation rows never; consistency rows follow from others; context rows are shown."""

COUNTED = ("found", "found-2nd", "seed", "derived")
"""Statuses of a row whose verdict counts; rows from memory (`recall`) are shown, uncounted."""

COLUMNS = ("id", "quantity", "role", "status", "low", "high", "unit", "error_percent")
"""Every targets.csv has these, and may have `without`."""


@dataclass(frozen=True)
class Target:
    """One published figure: the row's id, the simulated quantity it is held against, and the band (reported ± 2 SD).

    error_percent: the measurement's own error, by which the band is widened on both sides.
    without: the same quantity where the mechanism that is to explain the figure is removed; that one must miss the band.
    """

    id: str
    quantity: str
    role: str
    low: float
    high: float
    unit: str
    error_percent: float = 0.0
    status: str = "found"
    without: str | None = None

    @property
    def band(self) -> tuple[float, float]:
        """Lower and upper bound, the measurement's own error included."""
        wider = self.error_percent / 100
        return self.low - abs(self.low) * wider, self.high + abs(self.high) * wider


@dataclass(frozen=True)
class Row:
    """One line of a verdict; low and high as reported. z: distance from the band's centre; a band is ± 2 sd.

    without, without_simulated: the quantity with its mechanism removed, and its mean; None where the row names none.
    """

    experiment: str
    id: str
    quantity: str
    role: str
    low: float
    high: float
    unit: str
    simulated: float | None
    sd: float | None
    n: int
    z: float | None
    null: float | None
    met: bool | None
    without: str | None = None
    without_simulated: float | None = None
    without_met: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def read_targets(path: Path) -> list[Target]:
    """The targets of an experiment. Raises InputError that names the line."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    targets = []
    for number, row in enumerate(rows, 2):
        where = f"{path.name} line {number}"
        if set(row) - {"without"} != set(COLUMNS):
            allowed = f"must have the columns {', '.join(COLUMNS)}, and may have without"
            raise InputError(where, ", ".join(str(k) for k in row), allowed)
        if row["status"] not in (*COUNTED, "recall"):
            raise InputError(where, row["status"], f"status must be one of {', '.join(COUNTED)}, recall")
        if row["role"] not in ROLES:
            raise InputError(where, row["role"], f"role must be one of {', '.join(ROLES)}")
        try:
            low, high, error = float(row["low"]), float(row["high"]), float(row["error_percent"] or 0)
        except (TypeError, ValueError):
            raise InputError(where, f"{row['low']}, {row['high']}", "low, high and error_percent must be numbers") from None
        if not (isfinite(low) and isfinite(high) and low <= high and 0 <= error < 100):
            raise InputError(where, f"{low}, {high}, {error}", "low must not be above high, and error_percent lie in 0-100")
        without = row.get("without") or None
        targets.append(Target(row["id"], row["quantity"], row["role"], low, high, row["unit"], error, row["status"], without))
    return targets


def judge(experiment: str, target: Target, simulated: Sequence[float] | None, null: Sequence[float] | None = None) -> Row:
    """Hold the replicates' values of a quantity against its target; `null`: values of the null model, scored by hit rate."""
    low, high = target.band
    values = np.asarray([] if simulated is None else simulated, float)
    values = values[np.isfinite(values)]
    chance = None if null is None else float(np.mean([low <= value <= high for value in null]))
    fixed = (experiment, target.id, target.quantity, target.role, target.low, target.high, target.unit)
    if len(values) == 0:
        return Row(*fixed, None, None, 0, None, chance, None)
    mean, sd = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None
    spread = sqrt(((high - low) / 4) ** 2 + (sd or 0.0) ** 2 / len(values))
    z = (mean - (low + high) / 2) / spread if spread > 0 else None
    counts = target.role != "context" and target.status in COUNTED
    met = low <= mean <= high if counts else None
    return Row(*fixed, mean, sd, len(values), z, chance, met)


def verdict(
    experiment: str, targets: Sequence[Target], simulated: Mapping[str, Sequence[float]], null: Mapping[str, Sequence[float]]
) -> list[Row]:
    """All rows of an experiment, in the targets' order; a quantity that nothing gives counts as not simulated, never as met."""
    rows = []
    for target in targets:
        row = judge(experiment, target, simulated.get(target.quantity), null.get(target.quantity))
        if target.without:
            removed = judge(experiment, target, simulated.get(target.without))
            row = replace(row, without=target.without, without_simulated=removed.simulated, without_met=removed.met)
        rows.append(row)
    return rows


def as_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The generated table: finding, published band, simulated ± sd, z, null model, verdict."""
    head = ["experiment", "finding", "role", "published", "simulated ± sd (n)", "z", "null model hits", "verdict"]
    head.append("without its mechanism")
    lines = [_line(head), _line(["---"] * len(head))]
    return "\n".join(lines + [_line(_cells(row)) for row in rows]) + "\n"


def _cells(row: Mapping[str, Any]) -> list[str]:
    simulated = "–"
    if row["simulated"] is not None:
        sd = f" ± {row['sd']:.2g}" if row["sd"] is not None else ""
        simulated = f"{row['simulated']:.3g}{sd} ({row['n']})"
    outcome = {True: "met", False: "**missed**", None: "shown" if row["simulated"] is not None else "**not simulated**"}
    return [
        row["experiment"],
        f"{row['id']}: {row['quantity']}",
        row["role"],
        f"{row['low']:.4g} to {row['high']:.4g} {row['unit']}",
        simulated,
        "–" if row["z"] is None else f"{row['z']:+.1f}",
        "–" if row["null"] is None else f"{row['null']:.0%}",
        outcome[row["met"]],
        _without(row),
    ]


def _without(row: Mapping[str, Any]) -> str:
    """What became of the figure when its mechanism was removed."""
    if not row.get("without"):
        return "–"
    value = row["without_simulated"]
    if value is None:
        return "**not simulated**"
    return f"{value:.3g}: " + {True: "**still met**", False: "missed, as it must", None: "shown"}[row["without_met"]]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
