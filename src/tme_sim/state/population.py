"""A population of agents as a struct of arrays with stable ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[Any]


class Population(Mapping[str, Column]):
    """Columns of equal length, one row per agent; `population["cargo"]` is an array whose first axis is the agents.

    `id` is a column of its own: ids are never used again, so a draw keyed by id does not depend on the rows' order.
    """

    def __init__(self, columns: Mapping[str, Column], ids: NDArray[np.int64] | None = None, next_id: int | None = None) -> None:
        self.columns = dict(columns)
        lengths = {len(column) for column in self.columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"columns of different lengths: { {k: len(v) for k, v in self.columns.items()} }")
        n = lengths.pop() if lengths else 0
        self.columns["id"] = np.arange(n, dtype=np.int64) if ids is None else ids
        self.next_id = n if next_id is None else next_id

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns["id"])

    def add(self, columns: Mapping[str, Column]) -> NDArray[np.int64]:
        """Append agents; every column but `id` must be given. Returns the new ids."""
        missing = set(self.columns) - {"id"} ^ set(columns)
        if missing:
            raise ValueError(f"columns given and columns held differ in {sorted(missing)}")
        n = len(next(iter(columns.values()))) if columns else 0
        ids = np.arange(self.next_id, self.next_id + n, dtype=np.int64)
        for name, column in {**columns, "id": ids}.items():
            self.columns[name] = np.concatenate([self.columns[name], column]).astype(self.columns[name].dtype, copy=False)
        self.next_id += n
        return ids

    def remove(self, rows: NDArray[np.bool_]) -> None:
        """Remove the agents marked True."""
        self.columns = {name: column[~rows] for name, column in self.columns.items()}

    def sort_by(self, name: str) -> None:
        """Put the rows in increasing order of a column (site order keeps neighbours close in memory); ids travel along."""
        order = np.argsort(self.columns[name], kind="stable")
        self.columns = {key: np.ascontiguousarray(column[order]) for key, column in self.columns.items()}
