"""What a mechanism is: it declares what it reads and writes, and changes the state by one step.

A process sees the state through `StateView`: names that it did not declare are absent, and what it only reads cannot be
written. Randomness comes from `Streams`, keyed by the process's name, the purpose and the tick, never by its position.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.random import Key, stream_key
from tme_sim.state.lattice import Lattice
from tme_sim.state.ledger import Ledger
from tme_sim.state.parameters import parameter
from tme_sim.state.population import Population
from tme_sim.state.state import State


@dataclass(frozen=True)
class Streams:
    """Keys of one process at one tick."""

    seed: int
    process: str
    tick: int

    def key(self, *purpose: str | int) -> Key:
        """Key of the draws made for this purpose; the same after a restart and for any number of threads."""
        return stream_key(self.seed, self.process, *purpose, self.tick)


class Guard(Mapping[str, Any]):
    """A mapping of arrays that shows the declared names only; arrays that are only read are read-only views."""

    def __init__(self, source: Mapping[str, Any], prefix: str, reads: frozenset[str], writes: frozenset[str]) -> None:
        self._source, self._prefix, self._reads, self._writes = source, prefix, reads, writes

    def _declared(self, name: str) -> str:
        full = f"{self._prefix}.{name}"
        if full not in self._writes and full not in self._reads:
            raise KeyError(f"{full} is not declared by this process")
        return full

    def __getitem__(self, name: str) -> NDArray[Any]:
        full = self._declared(name)
        array: NDArray[Any] = self._source[name]
        if full in self._writes:
            return array
        view = array.view()
        view.flags.writeable = False
        return view

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._source if f"{self._prefix}.{name}" in self._reads | self._writes)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class StateView:
    """The state as one process may see it."""

    def __init__(self, state: State, reads: frozenset[str], writes: frozenset[str], time_s: float) -> None:
        self._state, self._writes = state, writes
        self.time_s = time_s
        self.lattice: Lattice = state.lattice
        self.ledger: Ledger = state.ledger
        self.tick: int = state.tick
        self.plasma_volume_um3: float = state.body.plasma_volume_um3
        self.fields = Guard(state.fields, "fields", reads, writes)
        self.body = Guard(state.body.pools, "body", reads, writes)
        self.traits = Guard(state.body.traits, "traits", reads, writes)
        self.drug = Guard(state.drug, "drug", reads, writes)
        walls = {"voxel": state.vessels.voxel, "surface_um2": state.vessels.surface_um2} if state.vessels else {}
        columns = {**walls, **state.vessels.arrays} if state.vessels else {}
        self.vessels = Guard(columns, "vessels", reads | {"vessels.voxel", "vessels.surface_um2"}, writes)
        self.populations = {
            kind: Guard(population, f"populations.{kind}", reads | {f"populations.{kind}.id"}, writes)
            for kind, population in state.populations.items()
            if any(name.startswith(f"populations.{kind}.") for name in reads | writes)
        }

    def population(self, kind: str) -> Population:
        """The population itself, to add or remove agents; declared by writing `populations.<kind>`."""
        if f"populations.{kind}" not in self._writes:
            raise KeyError(f"populations.{kind} is not declared by this process")
        return self._state.populations[kind]


@dataclass(kw_only=True, eq=False)
class Process(ABC):
    """One mechanism. Subclasses are dataclasses of parameters (`parameter`, `given`) with `reads` and `writes` as dotted names.

    Nothing may be kept that cannot be recomputed bit for bit from the state.
    """

    interval_s: float | None = parameter("time between two applications; null: every step", default=None, above=0)

    @property
    @abstractmethod
    def reads(self) -> frozenset[str]:
        """Dotted names of what the process reads and does not write."""

    @property
    @abstractmethod
    def writes(self) -> frozenset[str]:
        """Dotted names of what the process changes."""

    def entry_um3_per_s(self, state: State) -> float:
        """Volume of plasma cleared into one instance of the lattice per second, before anything comes back; 0 for most."""
        return 0.0

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """Create the variables that this process owns in State(0); `random(purpose)` gives seeded generators for it."""

    @abstractmethod
    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        """Advance the mechanism by dt_s."""

    def report(self) -> dict[str, Any]:
        """What the run's summary should tell of how it was computed; nothing for most."""
        return {}
