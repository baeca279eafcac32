"""The published numbers behind `row:` citations and the ids of targets.csv: conf/literature.csv."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from tme_sim.state.errors import InputError


@dataclass(frozen=True)
class Published:
    """One row: what was measured, where it was read, and with what certainty (`status`)."""

    id: str
    quantity: str
    value: str
    unit: str
    context: str
    source: str
    status: str
    use: str

    def __str__(self) -> str:
        unit = "" if self.unit == "-" else f" {self.unit}"
        return f"{self.quantity}: {self.value}{unit} ({'; '.join(filter(None, (self.context, self.source, self.status)))})"


def published(folders: Sequence[Path]) -> dict[str, Published]:
    """Every row by its id, from `literature.csv` in these folders; an earlier one may add rows and replace those of a later.

    Raises InputError for a row that has not all columns.
    """
    rows: dict[str, Published] = {}
    names = [f.name for f in fields(Published)]
    for folder in reversed(folders):
        path = folder / "literature.csv"
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(line for line in file if not line.startswith("#")):
                    if any(row.get(name) is None for name in names):
                        raise InputError(str(path), row.get("id"), f"every row must have the columns {', '.join(names)}")
                    rows[row["id"]] = Published(**{name: row[name] for name in names})
    return rows


def cited(texts: Iterable[str], rows: Mapping[str, Published]) -> list[Published]:
    """The rows whose ids stand in these texts, in their order."""
    ids = (found for text in texts for found in re.findall(r"\b[A-Z]\d{2,3}\b", text))
    return [rows[id] for id in dict.fromkeys(ids) if id in rows]
