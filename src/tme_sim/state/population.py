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
        """Append agents and return their ids; a column that is not given is zero for them.

        Raises ValueError for no column at all, one that the population does not hold, and columns of different lengths.
        """
        unknown = set(columns) - set(self.columns) | {"id"} & set(columns)
        if unknown or not columns:
            raise ValueError(f"columns {sorted(unknown)}: give some of {sorted(set(self.columns) - {'id'})}")
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"columns of different lengths: { {k: len(v) for k, v in columns.items()} }")
        n = lengths.pop()
        ids = np.arange(self.next_id, self.next_id + n, dtype=np.int64)
        if n:
            given = {**columns, "id": ids}
            self.columns = {name: _extended(held, given.get(name), n) for name, held in self.columns.items()}
            self.next_id += n
        return ids

    def remove(self, rows: NDArray[np.bool_]) -> None:
        """Remove the agents marked True."""
        if rows.any():
            self.columns = {name: column[~rows] for name, column in self.columns.items()}

    def sort_by(self, name: str) -> None:
        """Put the rows in increasing order of a column (site order keeps neighbours close in memory); ids travel along."""
        order = np.argsort(self.columns[name], kind="stable")
        self.columns = {key: np.ascontiguousarray(column[order]) for key, column in self.columns.items()}


def _extended(held: Column, more: Column | None, n: int) -> Column:
    """A column with n rows more, of its own type; zeros where nothing is given."""
    out = np.zeros((len(held) + n, *held.shape[1:]), held.dtype)
    out[: len(held)] = held
    if more is not None:
        out[len(held) :] = more
    return out
