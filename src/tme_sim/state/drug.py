"""Where the released drug is, and the proof that none is lost; as `ledger` for carriers, in amol.

On one instance of a patch: released there = waiting + free + bound + in cells + washed out. In the body, with what the patches'
copies wash out: released there + washed out = waiting + in the compartments + cleared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tme_sim.state.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tme_sim.state.state import State

Floats = NDArray[np.float64]

RELATIVE_TOLERANCE = 1e-10


def extracellular(fields: Mapping[str, Floats]) -> Floats:
    """(z, y, x) share of the voxel outside cells and blood, where a small molecule is dissolved."""
    return np.asarray(1 - fields["lumen_fraction"] - fields["cell_fraction"])


def drug_on_lattice(state: State) -> dict[str, Floats]:
    """Compartment → (patches,) amol on one instance of each patch."""
    fields, lattice = state.fields, state.lattice
    amounts = {
        "waiting": fields["drug_source_amol"] + fields["drug_source_in_cells_amol"],
        "free": fields["drug_mM"] * extracellular(fields) * lattice.voxel_um3,
        "bound": fields["drug_bound_amol"],
        "in_cells": fields["drug_in_cells_amol"],
    }
    return {name: np.array([amount[planes].sum() for planes in lattice.planes]) for name, amount in amounts.items()}


def drug_terms(state: State) -> dict[str, float]:
    """Terms that add up to `released`, in the whole body: those of the lattice weighted by copies."""
    drug, copies = state.drug, state.lattice.copies
    terms = {name: float(copies @ amount) for name, amount in drug_on_lattice(state).items()}
    terms["waiting"] += float(drug["waiting_amol"].sum())
    return {
        "released": float(copies @ drug["released_amol"][:-1] + drug["released_amol"][-1]),
        **terms,
        "plasma": float(drug["body_amol"][0]),
        "elsewhere": float(drug["body_amol"][1:].sum()),
        "cleared": float(drug["cleared_amol"].sum()),
    }


def audit_drug(state: State) -> float:
    """Balance every patch and the body; the largest residual over what passed there. Raises ModelError naming the place."""
    drug, lattice = state.drug, state.lattice
    held, out = drug_on_lattice(state), drug["washed_out_amol"]
    places = {
        f"patch {patch.name}": (drug["released_amol"][i], [*(amount[i] for amount in held.values()), out[i]])
        for i, patch in enumerate(lattice.patches)
    }
    in_body = [*drug["waiting_amol"], *drug["body_amol"], *drug["cleared_amol"], *(-lattice.copies * out)]
    places["the body"] = (drug["released_amol"][-1], in_body)
    residual = 0.0
    for place, (released, terms) in places.items():
        difference, passed = sum(terms) - released, released + sum(map(abs, terms))
        if not abs(difference) <= RELATIVE_TOLERANCE * passed:
            told = f"{sum(terms):g} amol found, {released:g} expected ({difference:+.3g})"
            raise ModelError(f"ledger: drug in {place} does not balance at tick {state.tick}: {told}")
        residual = max(residual, float(abs(difference) / passed) if passed else 0.0)
    return residual
