"""Where the released drug is, and the proof that none is lost; as `ledger` for carriers, in amol.

On one instance of a patch: released there = interstitium + bound + cells + washed out. In the body, with what the patches' copies
wash out: released there + washed out = plasma + peripheral + eliminated. All that was injected in carriers = encapsulated +
released: what a degraded carrier still held is released in its cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tme_sim.state.errors import ModelError
from tme_sim.state.variables import FORMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tme_sim.state.lattice import Lattice
    from tme_sim.state.state import State

Floats = NDArray[np.float64]

RELATIVE_TOLERANCE = 1e-10


def extracellular(fields: Mapping[str, Floats]) -> Floats:
    """(z, y, x) share of the voxel outside cells and blood, where a small molecule is dissolved."""
    return np.asarray(1 - fields["lumen_fraction"] - fields["cell_fraction"])


def drug_on_lattice(state: State) -> dict[str, Floats]:
    """Compartment → (patches,) amol on one instance of each patch, with what was released since the drug's last step."""
    fields, lattice = state.fields, state.lattice
    amounts = {
        "interstitium": fields["drug_mM"] * extracellular(fields) * lattice.voxel_um3 + fields["drug_source_amol"],
        "bound": fields["drug_bound_amol"],
        "cells": fields["drug_in_cells_amol"] + fields["drug_source_in_cells_amol"],
    }
    return {name: np.array([amount[planes].sum() for planes in lattice.planes]) for name, amount in amounts.items()}


def drug_in_body(state: State) -> dict[str, float]:
    """Compartment → amol in the whole body outside the lattice; `eliminated` has left it."""
    body = state.drug["body_amol"]
    plasma = float(body[0] + state.drug["waiting_amol"].sum())
    return {"plasma": plasma, "peripheral": float(body[1:].sum()), "eliminated": float(state.drug["cleared_amol"].sum())}


def drug_terms(state: State, loaded: float) -> dict[str, float]:
    """`injected`, and the terms that add up to it, in the whole body: those of the lattice weighted by copies.

    loaded: carriers that still hold their drug, wherever they are.
    """
    per_particle = float(state.drug["per_particle_amol"].item())
    tissue = {name: float(state.lattice.copies @ amount) for name, amount in drug_on_lattice(state).items()}
    injected = per_particle * float(state.ledger.injected[FORMS.index("loaded")])
    return {"injected": injected, "encapsulated": per_particle * loaded, **tissue, **drug_in_body(state)}


def drug_released(state: State) -> float:
    """All that has been released so far in the whole body, in amol."""
    released = state.drug["released_amol"]
    return float(state.lattice.copies @ released[:-1] + released[-1])


def release_on_voxels(lattice: Lattice, fields: Mapping[str, Floats], drug: Mapping[str, Floats], amol: Floats) -> None:
    """`amol` (z, y, x) is released outside cells."""
    fields["drug_source_amol"][...] += amol
    _tally(drug, lattice.planes, amol)


def release_in_cells(
    lattice: Lattice, fields: Mapping[str, Floats], drug: Mapping[str, Floats], site: NDArray[np.int64], amol: Floats
) -> None:
    """`amol` (cells,) is released in cells on `site`: evenly over the voxels of each."""
    by_site = np.asarray(np.bincount(site, amol, lattice.n_sites), np.float64).reshape(lattice.sites)
    fields["drug_source_in_cells_amol"][...] += lattice.evenly(by_site)
    _tally(drug, [slice(p.first_plane, p.first_plane + p.planes) for p in lattice.patches], by_site)


def _tally(drug: Mapping[str, Floats], planes: list[slice], amol: Floats) -> None:
    for patch, at in enumerate(planes):
        drug["released_amol"][patch] += amol[at].sum()


def audit_drug(state: State, loaded: float) -> float:
    """Balance every patch, the body and both with the carriers; the largest residual over what passed there.

    loaded: as in `drug_terms`. Raises ModelError naming the place.
    """
    drug, lattice = state.drug, state.lattice
    held, out = drug_on_lattice(state), drug["washed_out_amol"]
    places = {
        f"patch {patch.name}": (drug["released_amol"][i], [*(amount[i] for amount in held.values()), out[i]])
        for i, patch in enumerate(lattice.patches)
    }
    in_body = [*drug_in_body(state).values(), *(-lattice.copies * out)]
    places["the body"] = (drug["released_amol"][-1], in_body)
    if drug["per_particle_amol"].item() > 0:
        terms = drug_terms(state, loaded)
        places["carriers"] = (terms["injected"], [terms["encapsulated"], drug_released(state)])
    residual = 0.0
    for place, (released, parts) in places.items():
        difference, passed = sum(parts) - released, released + sum(map(abs, parts))
        if not abs(difference) <= RELATIVE_TOLERANCE * passed:
            told = f"{sum(parts):g} amol found, {released:g} expected ({difference:+.3g})"
            raise ModelError(f"ledger: drug in {place} does not balance at tick {state.tick}: {told}")
        residual = max(residual, float(abs(difference) / passed) if passed else 0.0)
    return residual
