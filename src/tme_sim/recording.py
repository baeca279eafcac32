"""What a run takes down: series, frames, agents, the ledger, and checkpoints. Recorders read the state and never write it."""

from __future__ import annotations

import time as clock
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tme_sim.files.run_store import RunStore
from tme_sim.state.cells import is_alive
from tme_sim.state.drug import drug_in_body, drug_on_lattice, drug_terms
from tme_sim.state.ledger import GONE, audit, lattice_amounts, still_loaded, wall_bound, whole_body
from tme_sim.state.population import Population
from tme_sim.state.state import State, flatten
from tme_sim.state.variables import FORMS, ROUTES, VARIABLES
from tme_sim.state.vessels import VesselGraph

LEVELS = ("summary", "series", "full")
STATIC_FIELDS = ("lumen_fraction", "cell_fraction", "accessible_fraction", "inside", "wall_surface_um2")
SPACE_FIELDS = ("cell_fraction", "accessible_fraction")
MOVING = {"phase", "polarisation"}
"""Columns of cells that divide, die or walk: the fields above then change with them."""
SUBSTANCE = "nanoparticle"


@dataclass
class RunRecorder:
    """Series and ledger at every interval; at level `full` also a frame of all fields and agents."""

    store: RunStore
    every: int
    level: str
    series: list[dict[str, Any]] = field(default_factory=list)
    ledger: list[dict[str, Any]] = field(default_factory=list)
    residual: float = 0.0
    audited: bool = True

    def record(self, state: State, time_s: float) -> None:
        """Audit the ledger, then take down one time."""
        if self.audited:
            self.residual = max(self.residual, audit(state))
        if self.series and self.series[-1]["time_s"] == time_s:
            return  # a run that was interrupted before its first step has taken down its start already
        self.series += series_rows(state, time_s)
        self.ledger += [
            {"time_s": time_s, "substance": substance, "term": term, "amount": float(amount)}
            for substance, terms in ledger_terms(state).items()
            for term, amount in terms.items()
        ]
        if self.level != "full":
            return
        attributes = field_attributes()
        if state.tick == 0:
            static = {name: state.fields[name] for name in static_names(state)}
            self.store.static_fields(static, attributes, state.lattice.voxel_um)
            if state.vessels is not None and state.vessels.graph is not None:
                self.store.write_table("vessels.parquet", segment_table(state.vessels.graph))
        for kind, population in state.populations.items():
            self.store.write_table(f"agents/{kind}/{round(time_s):09d}.parquet", agent_table(population))
        if (flow := flow_table(state)) is not None:
            self.store.write_table(f"flow/{round(time_s):09d}.parquet", flow)
        still = static_names(state)
        frame = {name: data for name, data in state.fields.items() if name not in still}
        if state.vessels is not None and "endothelium" in state.vessels.arrays:
            frame["endothelium"] = endothelium_field(state)
        if "phase" in state.populations.get("tumor_cells", {}):
            frame["dead_fraction"] = dead_field(state)
        self.store.append_frame(time_s, frame, attributes)

    def flush(self, at_end: bool = True) -> None:
        """Write the tables recorded so far; at level `summary` they are there for a restart only, and go at the end."""
        for name, rows in (("series.parquet", self.series), ("ledger.parquet", self.ledger)):
            if self.level == "summary" and at_end:
                (self.store.folder / name).unlink(missing_ok=True)
            else:
                self.store.write_table(name, pd.DataFrame(rows))

    def reload(self, until_s: float, residual: float = 0.0) -> None:
        """Take up the tables and frames of an interrupted run, up to the time of its checkpoint, and its residual so far."""
        self.residual = residual
        series, ledger = self.store.read_table("series.parquet"), self.store.read_table("ledger.parquet")
        self.series += rows_until(series, until_s)
        self.ledger += rows_until(ledger, until_s)
        if self.level == "full":
            self.store.truncate_frames(until_s)


@dataclass
class Checkpointer:
    """Saves the whole state every `wall_interval_s` of wall time."""

    store: RunStore
    recorder: RunRecorder
    wall_interval_s: float
    every: int = 1
    _last: float = field(default_factory=clock.monotonic)

    def record(self, state: State, time_s: float) -> None:
        """Save if it is time."""
        if clock.monotonic() - self._last >= self.wall_interval_s:
            self.save(state, time_s)

    def save(self, state: State, time_s: float) -> None:
        """Save now; the tables first, so that a checkpoint never knows of more than they do."""
        audit(state)
        self.recorder.flush(at_end=False)
        content = {"tick": state.tick, "time_s": time_s, "residual": self.recorder.residual}
        self.store.save_checkpoint(flatten(state), content)
        self._last = clock.monotonic()


def series_rows(state: State, time_s: float) -> list[dict[str, Any]]:
    """Tidy rows of one time: amounts by patch, compartment, route and form, per patch instance; body pools have no patch.

    Carriers in counts; where they are followed the released drug, by the name of its card, in amol, and as `label` those on the
    carriers of each place beside these carriers.
    """
    rows: list[dict[str, Any]] = []

    def add(
        patch: str, compartment: str, route: str, form: str, quantity: str, value: float, of: str = SUBSTANCE, unit: str = "count"
    ) -> None:
        rows.append(
            {
                "time_s": time_s,
                "substance": of,
                "patch": patch,
                "compartment": compartment,
                "route": route,
                "form": form,
                "quantity": quantity,
                "value": float(value),
                "unit": unit,
            }
        )

    for name, pool in state.body.pools.items():
        for form, value in zip(FORMS, pool.tolist(), strict=True):
            add("body", name, "all", form, "amount", value)
    tallies = {name: getattr(state.ledger, name) for name in ("entered", "returned", *GONE)}
    for compartment, amounts in lattice_amounts(state).items():
        _add_lattice(add, state, compartment, "amount", amounts)
    for quantity, amounts in tallies.items():
        _add_lattice(add, state, "tissue", quantity, amounts)
    if "arrested" in state.populations:
        _add_wall_bound(add, state)
    if state.drug:
        _add_drug(add, state)
    _add_labels(add, state)
    return rows


def _add_wall_bound(add: Any, state: State) -> None:
    for patch, by_form in zip(state.lattice.patches, wall_bound(state).tolist(), strict=True):
        for form, value in zip(FORMS, by_form, strict=True):
            add(patch.name, "wall_bound", "all", form, "amount", value)


def _add_labels(add: Any, state: State) -> None:
    """Labels on carriers and these carriers, both at the last step of the labels, which may be earlier than the record."""
    on = {name.removeprefix("label_on_"): trait for name, trait in state.body.traits.items() if name.startswith("label_on_")}
    for place, labels in on.items():
        add("body", place, "all", "all", "labels", labels.item(), "label")
        add("body", place, "all", "all", "carriers", state.body.traits[f"carriers_seen_{place}"].item(), "label")


def _add_drug(add: Any, state: State) -> None:
    for compartment, amounts in drug_on_lattice(state).items():
        for patch, amol in zip(state.lattice.patches, amounts.tolist(), strict=True):
            add(patch.name, compartment, "all", "released", "amount", amol, state.drug_name, "amol")
    for compartment, amol in drug_in_body(state).items():
        add("body", compartment, "all", "released", "amount", amol, state.drug_name, "amol")


def _add_lattice(add: Any, state: State, compartment: str, quantity: str, amounts: NDArray[Any]) -> None:
    for p, patch in enumerate(state.lattice.patches):
        for r, route in enumerate(ROUTES):
            for f, form in enumerate(FORMS):
                add(patch.name, compartment, route, form, quantity, amounts[p, r, f].item())


def ledger_terms(state: State) -> dict[str, dict[str, float | int]]:
    """Substance → its terms: what was injected, and the places that add up to it."""
    found: dict[str, dict[str, float | int]] = {SUBSTANCE: {"injected": sum(state.ledger.injected.tolist()), **whole_body(state)}}
    if state.drug:
        found[state.drug_name] = dict(drug_terms(state, still_loaded(state)))
    return found | ({"label": labels} if (labels := label_terms(state)) else {})


def label_terms(state: State) -> dict[str, float | int]:
    """Labels injected, on particles by place, and off them by fate; those of one particle count 1. Empty without labels."""
    found = {
        name.removeprefix("label_"): float(trait[0]) for name, trait in state.body.traits.items() if name.startswith("label_")
    }
    return {"injected": float(state.body.traits["injected_seen"][0]), **found} if found else {}


def rows_until(table: pd.DataFrame, until_s: float) -> list[dict[str, Any]]:
    """Rows of a table up to a time, as they were before they were written."""
    kept = table[table["time_s"] <= until_s].to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in kept]


def agent_table(population: Population) -> pd.DataFrame:
    """One row per agent; carrier columns become one column per (route and) form: `cargo_gap_loaded`, `load_loaded`."""
    columns: dict[str, NDArray[Any]] = {}
    for name, data in population.items():
        if data.ndim == 1:
            columns[name] = data
        elif data.ndim == 2:
            columns |= {f"{name}_{f}": data[:, j] for j, f in enumerate(FORMS)}
        else:
            columns |= {f"{name}_{r}_{f}": data[:, i, j] for i, r in enumerate(ROUTES) for j, f in enumerate(FORMS)}
    return pd.DataFrame(columns)


def segment_table(graph: VesselGraph) -> pd.DataFrame:
    """One row per segment: its two ends, nodes and radius."""
    ends = graph.nodes_um[graph.segments].reshape(-1, 6)
    columns: dict[str, NDArray[Any]] = {f"{axis}{end}_um": ends[:, 3 * end + i] for end in (0, 1) for i, axis in enumerate("zyx")}
    return pd.DataFrame(columns | {"node0": graph.segments[:, 0], "node1": graph.segments[:, 1], "radius_um": graph.radius_um})


def flow_table(state: State) -> pd.DataFrame | None:
    """One row per vessel segment, in the order of `vessels.parquet`: blood flow and what it carries now; None without flow."""
    if state.vessels is None or "segment_flow_um3_per_s" not in state.vessels.arrays:
        return None
    prefix = "segment_"
    columns = {name.removeprefix(prefix): data for name, data in state.vessels.arrays.items() if name.startswith(prefix)}
    return pd.DataFrame(columns)


def static_names(state: State) -> list[str]:
    """Fields that are the same at any time."""
    moving = SPACE_FIELDS if any(MOVING & set(population) for population in state.populations.values()) else ()
    return [name for name in STATIC_FIELDS if name in state.fields and name not in moving]


def endothelium_field(state: State) -> NDArray[Any]:
    """Carriers in transit as a field (route, form, z, y, x), all stages together."""
    assert state.vessels is not None
    stages = state.vessels.arrays["endothelium"]
    out = np.zeros((len(ROUTES), len(FORMS), state.lattice.n_voxels), stages.dtype)
    out[ROUTES.index("transcytosis")][:, state.vessels.voxel] = stages.sum(axis=0)
    return out.reshape(len(ROUTES), len(FORMS), *state.lattice.voxels)


def dead_field(state: State) -> NDArray[np.float32]:
    """(z, y, x) share of the tumour cells on each site that are dead; 0 where there are none."""
    cells, lattice = state.populations["tumor_cells"], state.lattice
    everyone = np.bincount(cells["site"], minlength=lattice.n_sites)
    dead = np.bincount(cells["site"], ~is_alive(cells), lattice.n_sites)
    return lattice.on_voxels(np.divide(dead, everyone, out=np.zeros(lattice.n_sites), where=everyone > 0)).astype(np.float32)


def field_attributes() -> dict[str, dict[str, str]]:
    """Unit and meaning of each recorded field."""
    found = {}
    for dotted, (unit, meaning) in VARIABLES.items():
        home, name = dotted.split(".", 1)
        if home in ("fields", "vessels"):
            found[name] = {"units": unit, "long_name": meaning}
    return found
