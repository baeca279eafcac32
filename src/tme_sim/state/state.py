"""The state of a run: plain arrays, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tme_sim.state.body import Body
from tme_sim.state.lattice import Lattice
from tme_sim.state.ledger import Ledger
from tme_sim.state.population import Population
from tme_sim.state.variables import FORMS, ROUTES
from tme_sim.state.vessels import Vessels

NumberMode = Literal["stochastic", "continuum"]


@dataclass
class State:
    """Everything that exists at one tick. Field axes end in (z, y, x) voxels; carriers have (route, form) before them.

    drug: where the released drug is beside its fields, by name; empty unless the run follows it. drug_name: that of its card.
    """

    lattice: Lattice
    number: NumberMode
    body: Body
    ledger: Ledger
    fields: dict[str, NDArray[Any]] = field(default_factory=dict)
    populations: dict[str, Population] = field(default_factory=dict)
    vessels: Vessels | None = None
    drug: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    drug_name: str = "drug"
    tick: int = 0

    @property
    def field_dtype(self) -> type:
        """Type of carriers on voxels: int32 counts, or float64 amounts."""
        return np.int32 if self.number == "stochastic" else np.float64

    @property
    def total_dtype(self) -> type:
        """Type of carriers in agents, wall and body: int64 counts, or float64 amounts."""
        return np.int64 if self.number == "stochastic" else np.float64

    def empty_field(self) -> NDArray[Any]:
        """A carrier field (route, form, z, y, x) of zeros."""
        return np.zeros((len(ROUTES), len(FORMS), *self.lattice.voxels), self.field_dtype)

    def empty_cargo(self, agents: int) -> NDArray[Any]:
        """A cargo column (agent, route, form) of zeros."""
        return np.zeros((agents, len(ROUTES), len(FORMS)), self.total_dtype)

    def no_cells(self) -> Population:
        """A population without members, with the columns of cells that carry."""
        empty = {column: self.empty_cargo(0) for column in ("cargo", "lysosome")}
        return Population({"site": np.zeros(0, np.int64), **empty})


def flatten(state: State) -> dict[str, NDArray[Any]]:
    """Every array of the state by its dotted name; what a checkpoint stores and a contract test hashes."""
    arrays = {f"fields.{name}": data for name, data in state.fields.items()}
    arrays |= {f"body.{name}": pool for name, pool in state.body.pools.items()}
    arrays |= {f"traits.{name}": data for name, data in state.body.traits.items()}
    arrays |= {f"ledger.{name}": data for name, data in state.ledger.arrays.items()}
    arrays |= {f"drug.{name}": data for name, data in state.drug.items()}
    if state.vessels is not None:
        arrays |= {f"vessels.{name}": data for name, data in state.vessels.arrays.items()}
    for kind, population in state.populations.items():
        arrays |= {f"populations.{kind}.{name}": column for name, column in population.items()}
        arrays[f"populations.{kind}.next_id"] = np.array(population.next_id)
    return arrays


def restore(state: State, arrays: dict[str, NDArray[Any]], tick: int) -> None:
    """Put arrays from `flatten` back in place; lattice, vessel graph and wall stay as they were built."""
    state.tick = tick
    columns: dict[str, dict[str, NDArray[Any]]] = {kind: {} for kind in state.populations}
    for name, data in arrays.items():
        home, key = name.split(".", 1)
        if home == "fields":
            state.fields[key] = data
        elif home == "body":
            state.body.pools[key] = data
        elif home == "traits":
            state.body.traits[key] = data
        elif home == "drug":
            state.drug[key] = data
        elif home == "ledger":
            setattr(state.ledger, key, data)
        elif home == "vessels" and state.vessels is not None:
            state.vessels.arrays[key] = data
        elif home == "populations":
            kind, column = key.split(".", 1)
            columns[kind][column] = data
    for kind, held in columns.items():
        next_id = int(held.pop("next_id"))
        state.populations[kind] = Population(held, held["id"], next_id)  # its place among the columns is that of the tables
