"""What there was at one recorded time of a run: all that an instrument may see, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tme_sim.files.run_folder import RunFolder
from tme_sim.state.body import Body
from tme_sim.state.lattice import Lattice, Patch
from tme_sim.state.variables import FORMS, PHAGOCYTES, ROUTES

Floats = NDArray[np.float64]

COMPARTMENTS = ("blood", "endothelium", "extracellular", "macrophages", "phagocytes", "tumor_cells")
"""Where carriers are in the tumour; `phagocytes` are neutrophils and monocytes that have come into the tissue."""

IN_TISSUE = COMPARTMENTS[1:]
"""All of these but blood."""

ORGAN_OF = {
    "plasma": "blood",
    "kupffer": "liver",
    "liver_endothelium": "liver",
    "spleen": "spleen",
    "urine": "bladder",
} | {f"blood_{kind}": "blood" for kind in PHAGOCYTES}
"""Pool of the body → the organ that an instrument sees it in; all others are `elsewhere`."""

COMPARTMENT_OF = {"macrophages": "macrophages", "tumor_cells": "tumor_cells"} | dict.fromkeys(PHAGOCYTES, "phagocytes")


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One recorded time. Amounts are carriers; those of the lattice on one instance of it, those of the body in the whole body.

    carriers: compartment → (form, z, y, x), all routes; held: kind of cell → (agents, form), in the order of `agents`;
    agents: kind → its table, `site` the flat index of its site; fields: (z, y, x) by name, lumen_fraction among them.
    degraded: carriers of the whole body that cells of the tumour have broken down, which are nowhere any more.
    organs: organ → (form,) outside the tumour; tumor_carriers: (form,) in the whole tumour's tissue, without its blood.
    label_on: pool of the body, organ or place in the tumour → label still on particles there over what they had when injected;
    label_free: fate → label that came off, in labels of one particle when injected. Both decay-corrected; empty where the run did
    not follow labels, all on particles then.
    """

    time_s: float
    seed: int
    lattice: Lattice
    carriers: Mapping[str, Floats]
    held: Mapping[str, Floats]
    agents: Mapping[str, pd.DataFrame]
    fields: Mapping[str, NDArray[Any]]
    organs: Mapping[str, Floats]
    tumor_carriers: Floats
    label_on: Mapping[str, float]
    label_free: Mapping[str, float]
    body: Body
    tumor_mass_g: float
    injected: float
    degraded: float = 0.0
    vessels: pd.DataFrame | None = None
    flow: pd.DataFrame | None = None

    @classmethod
    def of(cls, run: RunFolder, body: Body, time_s: float | None = None, doubling_time_s: float | None = None) -> Frame:
        """The frame of a run at a recorded time (default: the last). Raises InputError where it was not recorded.

        doubling_time_s: in which the tumour of a run that grows doubles its mass.
        """
        at = run.frame(time_s)
        recorded = {name: data.isel(time=at) if "time" in data.dims else data for name, data in run.fields.data_vars.items()}
        time_s = float(run.fields["time"][at])
        fields = {str(name): np.asarray(data) for name, data in recorded.items()}
        lattice = _lattice(run.info, fields["lumen_fraction"].shape)
        kinds = [kind for kind in (*COMPARTMENT_OF, "arrested", "t_cells", "kupffer_cells", "gaps") if _has(run, kind)]
        agents = {kind: run.agents(kind, time_s) for kind in kinds}
        held = {kind: _held(table) for kind, table in agents.items() if kind in COMPARTMENT_OF}
        series, ledger = (table[table["time_s"] == time_s] for table in (run.series, run.ledger))
        pools = _pools(series)
        organs, blood = _organs(pools), _blood_per_um3(pools, body)
        terms = ledger.query("substance == 'nanoparticle'").set_index("term")["amount"]
        carriers = _carriers(lattice, fields, agents, held, blood)
        return cls(
            time_s=time_s,
            seed=int(run.info["seed"]),
            lattice=lattice,
            carriers=carriers,
            held=held,
            agents=agents,
            fields=fields,
            organs=organs,
            tumor_carriers=lattice.over_copies(sum((carriers[place] for place in IN_TISSUE), np.zeros_like(carriers["blood"]))),
            **_label(series, ledger),
            body=body,
            tumor_mass_g=float(run.info["tumor_mass_g"]) * (2 ** (time_s / doubling_time_s) if doubling_time_s else 1.0),
            injected=float(terms["injected"]),
            degraded=float(terms["degraded"]),
            vessels=run.vessels,
            flow=run.flow(time_s) if (run.folder / "flow").exists() else None,
        )


def _lattice(info: Mapping[str, Any], voxels: tuple[int, ...]) -> Lattice:
    z, y, x = info["sites"]
    refinement = voxels[0] // z
    patches = tuple(Patch(**patch) for patch in info["patches"])
    return Lattice((z, y, x), float(info["voxel_um"]) * refinement, refinement, patches)


def _has(run: RunFolder, kind: str) -> bool:
    return (run.folder / "agents" / kind).is_dir()


def _held(table: pd.DataFrame) -> Floats:
    """(agents, form) carriers in each cell, of all routes, in endosomes and lysosomes."""
    by_form = [
        sum(
            (table[f"{where}_{route}_{form}"].to_numpy(np.float64) for where in ("cargo", "lysosome") for route in ROUTES),
            np.zeros(len(table)),
        )
        for form in FORMS
    ]
    return np.stack(by_form, axis=1)


def _pools(series: pd.DataFrame) -> dict[str, Floats]:
    """Pool of the body → (form,) carriers."""
    rows = series[(series["substance"] == "nanoparticle") & (series["patch"] == "body")]
    wide = rows.pivot(index="compartment", columns="form", values="value")[list(FORMS)]
    return {str(name): row.to_numpy(np.float64) for name, row in wide.iterrows()}


def _organs(pools: Mapping[str, Floats]) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    for pool, amount in pools.items():
        organ = ORGAN_OF.get(pool, "elsewhere")
        found[organ] = found.get(organ, np.zeros(len(FORMS))) + amount
    return found


def _blood_per_um3(pools: Mapping[str, Floats], body: Body) -> Floats:
    """(form,) carriers per volume of whole blood, those in its phagocytes included."""
    in_blood = sum((pools[pool] for pool in pools if ORGAN_OF.get(pool) == "blood"), np.zeros(len(FORMS)))
    return in_blood / (body.blood_volume_um3 or body.plasma_volume_um3)


def _carriers(
    lattice: Lattice,
    fields: Mapping[str, NDArray[Any]],
    agents: Mapping[str, pd.DataFrame],
    held: Mapping[str, Floats],
    blood_per_um3: Floats,
) -> dict[str, Floats]:
    """Compartment → (form, z, y, x) carriers in each voxel; phagocytes that hold to the wall are blood's."""
    shape = (len(FORMS), *lattice.voxels)
    found = {name: np.zeros(shape) for name in COMPARTMENTS}
    found["blood"] += blood_per_um3[:, None, None, None] * fields["lumen_fraction"] * lattice.voxel_um3
    for name, compartment in (("nanoparticle", "extracellular"), ("bound", "extracellular"), ("endothelium", "endothelium")):
        if name in fields:
            found[compartment] += fields[name].sum(axis=0, dtype=np.float64)
    for f, form in enumerate(FORMS):
        if "arrested" in agents:
            cells = agents["arrested"]
            load = np.bincount(cells["voxel"].to_numpy(np.int64), cells[f"load_{form}"].to_numpy(np.float64), lattice.n_voxels)
            found["blood"][f] += load.reshape(lattice.voxels)
        for kind, compartment in COMPARTMENT_OF.items():
            if kind in held:
                site = agents[kind]["site"].to_numpy(np.int64)
                found[compartment][f] += lattice.evenly(np.bincount(site, held[kind][:, f], lattice.n_sites).astype(np.float64))
    return found


def _label(series: pd.DataFrame, ledger: pd.DataFrame) -> dict[str, dict[str, float]]:
    """label_on and label_free of a frame; endosomes and lysosomes are one place, `cells`, and an organ is all of its pools."""
    rows = series.query("substance == 'label'").replace({"compartment": {"lysosomes": "cells"}})
    in_body = rows[~rows["compartment"].isin(("tissue", "cells", "wall_bound", "washed_out"))]
    by_organ = in_body.assign(compartment=[ORGAN_OF.get(pool, "elsewhere") for pool in in_body["compartment"]])
    tables = [t.pivot_table("value", "compartment", "quantity", "sum") for t in (rows, by_organ) if len(t)]
    seen = pd.concat(tables) if tables else pd.DataFrame(columns=["labels", "carriers"])
    seen = seen[seen["carriers"] > 0]
    terms = ledger.query("substance == 'label'").set_index("term")["amount"]
    free = {str(name).removeprefix("free_"): float(amount) for name, amount in terms.items() if str(name).startswith("free_")}
    on = seen["labels"] / seen["carriers"]
    return {"label_on": {str(place): float(share) for place, share in on.items()}, "label_free": free}
