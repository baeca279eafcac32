"""Numbers of the released drug for a run's summary: where it is in percent of what was injected, and the tumour's exposure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tme_sim.state.drug import drug_on_lattice, drug_terms
from tme_sim.state.ledger import still_loaded
from tme_sim.state.state import State

UM_PER_MM = 1e3
Number = float | int | None


def drug_measures(state: State, series: Iterable[Mapping[str, Any]]) -> dict[str, Number]:
    """Of the last state and the series until then; empty where the run does not follow the drug.

    Percentages are of all that was injected in carriers; tumour and cells are those of all patches' copies. Exposure is the area
    under the mean concentration of released drug in the tumour's volume, by trapezoids between the recorded times.
    """
    if not state.drug:
        return {}
    terms = drug_terms(state, still_loaded(state))
    injected = terms.pop("injected")
    terms["tumor"] = sum(terms[name] for name in drug_on_lattice(state))
    kept = ("tumor", "cells", "encapsulated", "plasma", "eliminated")
    percent: dict[str, Number] = {
        f"drug_{name}_percent_injected": 100 * terms[name] / injected if injected > 0 else None for name in kept
    }
    return percent | {"drug_tumor_auc_uM_h": tumor_auc_uM_h(state, series)}


def tumor_auc_uM_h(state: State, series: Iterable[Mapping[str, Any]]) -> Number:
    """∫ (free, bound and in cells)/(tumour volume) dt; null with fewer than two recorded times."""
    lattice = state.lattice
    copies = {patch.name: float(patch.copies) for patch in lattice.patches}
    amol: dict[float, float] = {}
    for row in series:
        if row["substance"] == state.drug_name and row["patch"] in copies:
            amol[row["time_s"]] = amol.get(row["time_s"], 0.0) + copies[row["patch"]] * row["value"]
    if len(amol) < 2:
        return None
    time_s, held = np.array(list(amol)), np.array(list(amol.values()))
    inside = state.fields["inside"] > 0
    voxels = sum(float(inside[p].sum()) * int(c) for p, c in zip(lattice.planes, lattice.copies, strict=True))
    area = float(np.sum(np.diff(time_s) * (held[1:] + held[:-1]) / 2))
    return area / (voxels * lattice.voxel_um3) * UM_PER_MM / 3600
