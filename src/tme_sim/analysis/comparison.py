"""Two runs side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tme_sim.files.run_folder import RunFolder

NOT_COMPARED = ("seed", "version", "number", "wall_s", "peak_memory_mb")


def compare_runs(first: RunFolder, second: RunFolder) -> pd.DataFrame:
    """Summary numbers of both, their difference and ratio: columns measure, first, second, difference, ratio."""
    rows = []
    for measure, value in first.summary.items():
        other = second.summary.get(measure)
        if measure in NOT_COMPARED or not isinstance(value, int | float) or not isinstance(other, int | float):
            continue
        ratio = other / value if value else None
        rows.append({"measure": measure, "first": value, "second": other, "difference": other - value, "ratio": ratio})
    return pd.DataFrame(rows, columns=["measure", "first", "second", "difference", "ratio"])


def config_differences(first: Mapping[str, Any], second: Mapping[str, Any], where: str = "") -> list[tuple[str, Any, Any]]:
    """Keys on which two configurations differ, with both values; sources are left out."""
    found = []
    for key in sorted({*first, *second} - ({"sources"} if not where else set())):
        a, b = first.get(key), second.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += config_differences(a, b, f"{where}{key}.")
        elif a != b:
            found.append((f"{where}{key}", a, b))
    return found
