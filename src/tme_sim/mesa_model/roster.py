"""Who is in a state, by keys that stay: from a key to a row, a column, a checked write. Knows nothing of Mesa."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.processes.base import Process
from tme_sim.state.population import Column, Population
from tme_sim.state.state import State

Keys = NDArray[np.int64]
"""(agents,) number of the population << ID_BITS | id."""

Rows = NDArray[np.int64] | slice

ID_BITS = 48
ID_MASK = (1 << ID_BITS) - 1
NOBODY: Keys = np.empty(0, np.int64)
DERIVED = ("id", "pos")
"""Attributes that every agent has and nobody can write."""


class RemovedAgentError(ReferenceError):
    """An agent is asked for, or written to, after it has left the model."""


class Roster:
    """The agents of a state. What it keeps is dropped once a population's rows change: its id column is then a new array."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._tables: dict[str, tuple[Column, NDArray[np.int64]]] = {}
        self._lists: dict[tuple[str, ...], tuple[tuple[Column, ...], Keys]] = {}
        self._touched: set[str] = set()

    # -- agents

    @property
    def populations(self) -> tuple[str, ...]:
        """Names, in the order of their numbers in keys; a new population comes last, so the numbers stay."""
        return tuple(self.state.populations)

    def ids(self, populations: Iterable[str] | None = None) -> tuple[Column, ...]:
        """The id columns of some populations, or of all."""
        return tuple(self.state.populations[name]["id"] for name in (self.populations if populations is None else populations))

    def keys(self, populations: tuple[str, ...]) -> Keys:
        """Keys of all agents of some populations, in the order of their rows; read-only."""
        ids = self.ids(populations)
        seen, keys = self._lists.get(populations, ((), NOBODY))
        if not same(seen, ids):
            keys = np.concatenate([NOBODY, *(self.key(name, column) for name, column in zip(populations, ids, strict=True))])
            keys.flags.writeable = False
            self._lists[populations] = ids, keys
        return keys

    def key(self, population: str, ids: Any) -> Any:
        """Key or keys of an id or ids."""
        return self.populations.index(population) << ID_BITS | ids

    def rows(self, population: str, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of these ids, -1 for those that are gone; from a table of all ids ever given."""
        held = self.state.populations[population]
        seen, table = self._tables.get(population, (None, NOBODY))
        if seen is not held["id"]:
            table = np.full(held.next_id, -1, np.int64)
            table[held["id"]] = np.arange(len(held))
            self._tables[population] = held["id"], table
        return table[ids]

    def row(self, population: str, agent_id: int) -> int:
        """Row of one agent; raises RemovedAgentError if it has none."""
        row = int(self.rows(population, np.array([agent_id]))[0])
        if row < 0:
            raise RemovedAgentError(f"{population} {agent_id} has left the model; its row may belong to another agent by now")
        return row

    def parts(self, keys: Keys) -> Iterator[tuple[str, Rows, NDArray[np.int64]]]:
        """By population: its name, the places in `keys` that are its agents', their rows (-1: gone)."""
        numbers = keys >> ID_BITS
        for number, members in enumerate(np.bincount(numbers)):
            if members:
                name = self.populations[number]
                where: Rows = slice(None) if members == len(keys) else np.flatnonzero(numbers == number)
                yield name, where, self.rows(name, keys[where] & ID_MASK)

    def alive(self, keys: Keys) -> Keys:
        """Those of the keys whose agents are still there."""
        there = np.empty(len(keys), bool)
        for _, where, rows in self.parts(keys):
            there[where] = rows >= 0
        return keys if there.all() else keys[there]

    def add(self, population: str, n: int, columns: Mapping[str, Any]) -> Keys:
        """Add n agents; columns not given are zero. Returns their keys."""
        held = self.state.populations[population]
        new = {name: np.zeros((n, *column.shape[1:]), column.dtype) for name, column in held.items() if name != "id"}
        for name, value in columns.items():
            self._check(population, name, value)
            new[name][...] = value
        ids = held.add(new)
        self._touched.add(f"populations.{population}")
        return np.asarray(self.key(population, ids))

    def remove(self, population: str, rows: Rows) -> None:
        """Remove agents."""
        held = self.state.populations[population]
        leaving = np.zeros(len(held), bool)
        leaving[rows] = True
        held.remove(leaving)
        self._touched.add(f"populations.{population}")

    # -- columns

    def column(self, population: str, name: str, rows: Rows) -> Column:
        """Rows of a column, or `pos` in um from `site` or `voxel`. Raises AttributeError if there is none."""
        held = self.state.populations[population]
        if name in held:
            return held[name][rows]
        lattice = self.state.lattice
        for place, shape, edge_um in (("site", lattice.sites, lattice.site_um), ("voxel", lattice.voxels, lattice.voxel_um)):
            if name == "pos" and place in held:
                return (np.stack(np.unravel_index(held[place][rows], shape), axis=1) + 0.5) * edge_um
        raise AttributeError(f"{population} have no {name}; they have {', '.join(held)}")

    def write(self, population: str, name: str, rows: Rows | int, value: Any) -> None:
        """Write rows of a column. Raises AttributeError, TypeError or ValueError for what it cannot hold."""
        self._check(population, name, value)
        self.state.populations[population][name][rows] = value
        self._touched.add(f"populations.{population}.{name}")

    def add_column(self, population: str, name: str, like: Any) -> None:
        """A new column of zeros, of the type and shape of one value."""
        value = np.asarray(like)
        if name in DERIVED or not name.isidentifier() or name.startswith("_") or value.dtype.kind not in "biuf":
            raise AttributeError(f"{population}.{name} cannot become a column: names are plain, values numbers or arrays of them")
        held = self.state.populations[population]
        held.columns[name] = np.zeros((len(held), *value.shape), value.dtype)

    def _check(self, population: str, name: str, value: Any) -> None:
        """A float never becomes an integer unseen, and an agent never leaves the lattice."""
        held: Population = self.state.populations[population]
        if name in DERIVED:
            raise AttributeError(f"{population}.{name} cannot be set; an agent moves with its site or voxel, and keeps its id")
        if name not in held:
            raise AttributeError(f"{population} have no {name}; they have {', '.join(held)} (agents.set makes a column)")
        given = np.asarray(value)
        if not np.can_cast(given.dtype, held[name].dtype, "same_kind"):
            raise TypeError(f"{population}.{name} holds {held[name].dtype}, and {value!r} is {given.dtype}")
        if name in ("site", "voxel"):
            places = self.state.lattice.n_sites if name == "site" else self.state.lattice.n_voxels
            if not np.all((given >= 0) & (given < places)):
                raise ValueError(f"{population}.{name} must be from 0 to {places - 1}, and is {value!r}")

    # -- processes

    def renew(self, processes: Iterable[Process]) -> None:
        """Let processes compute anew what they keep of columns that were written here (such as the conductances of gaps)."""
        for process in processes:
            declared = process.reads | process.writes
            if any(name == path or name.startswith(path + ".") for path in self._touched for name in declared):
                for kept in fields(process):
                    if not kept.init and kept.default is not MISSING:
                        setattr(process, kept.name, kept.default)
        self._touched.clear()


def same(before: Sequence[Column], now: Sequence[Column]) -> bool:
    """Whether these are the same arrays, not only equal ones."""
    return len(before) == len(now) and all(a is b for a, b in zip(before, now, strict=True))


def as_python(values: Column) -> list[Any]:
    """A list of Python numbers, or of read-only copies of rows."""
    if values.ndim == 1:
        numbers: list[Any] = values.tolist()
        return numbers
    copies = values.copy()
    copies.flags.writeable = False
    return list(copies)
