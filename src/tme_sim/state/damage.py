"""How harm to tumour cells adds up, whatever does it: hazards of drug, radiation and heat, and who survives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.random import stream_key, uniforms
from tme_sim.state.cells import give_phases, is_alive
from tme_sim.state.parameters import parameter
from tme_sim.state.population import Population
from tme_sim.state.variables import PHASES

APOPTOTIC = PHASES.index("apoptotic")
INHERITED = ("drug_exposure_mM_s",)
"""Columns that a daughter has from her mother. Not `damage`: the mother lived with hers, so the daughter's chances are anew."""


@dataclass(frozen=True, kw_only=True)
class DrugEffect:
    """What an assay of cells in medium tells of a drug: the concentration that leaves half of them, and how steep it is."""

    half_mM: float = parameter("free concentration at which half of the cells survive, IC50", above=0)
    exposure_s: float = parameter("how long the cells of that assay were exposed", above=0)
    hill: float = parameter("exponent of the Hill curve", default=1.0, above=0, at_most=20)


def give_damage(cells: Population) -> None:
    """The columns `damage` and `phase`, if they are not there: unharmed and cycling."""
    give_phases(cells)
    cells.columns.setdefault("damage", np.zeros(len(cells)))


def harm(cells: Mapping[str, NDArray[Any]], hazard: NDArray[np.float64], seed: int) -> None:
    """Add hazards (cells,) to the `damage` of live cells, in place; who has more than it can bear turns apoptotic.

    What a cell can bear is drawn once, from its id, of an exponential distribution with mean 1: under a damage H the share that
    survives is exp(−H) in the mean, whatever the steps and processes it came in, and more damage kills the same cells and others.
    """
    if not hazard.any():
        return
    alive = is_alive(cells)
    cells["damage"][...] += np.where(alive, hazard, 0.0)
    bears = -np.log(uniforms(stream_key(seed, "what a cell can bear"), cells["id"]))
    cells["phase"][alive & (cells["damage"] >= bears)] = APOPTOTIC
