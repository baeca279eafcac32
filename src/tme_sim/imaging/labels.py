"""Labels at one time: how many sit where, on particles and off them, decay-corrected, in those of one particle when injected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tme_sim.imaging.frame import COMPARTMENTS, Frame
from tme_sim.state.variables import FORMS

Floats = NDArray[np.float64]
Worth = Callable[[str, str, float], float]
"""Compartment or organ, form (or DETACHED), labels still on each → what one there counts for."""

INTACT, DETACHED = "intact", "detached"
PLACE_OF = {"blood": "blood", "endothelium": "tissue", "extracellular": "tissue"}
"""Compartment of the tumour → the place of `labels` that it belongs to; all others are `cells`."""

ORGAN_OF_FATE = {"blood": "blood", "kidney": "kidneys", "urine": "bladder", "bile": "gut"}
"""Fate of a detached label → where an instrument sees it; all others (bone, liver, thyroid) are organs by that name."""


@dataclass(frozen=True)
class Pools:
    """tumor: (compartment, state) → (z, y, x) labels on one instance of the lattice; body: (organ, state) → labels outside it.

    Blood is in both: the body's is all of the body's blood, the tumour's is that in its vessels, `shared` (z, y, x) of which is
    the body's; the rest is in phagocytes on the walls.
    """

    tumor: Mapping[tuple[str, str], Floats]
    body: Mapping[tuple[str, str], float]
    shared: Floats

    @property
    def on_lattice(self) -> Floats:
        """(z, y, x) all labels on one instance of the lattice."""
        return np.asarray(sum(self.tumor.values(), np.zeros_like(self.shared)))

    def by_organ(self) -> dict[str, float]:
        """Labels by organ, on particles and off them."""
        found: dict[str, float] = {}
        for (organ, _), labels in self.body.items():
            found[organ] = found.get(organ, 0.0) + labels
        return found


def _label(where: str, form: str, labels: float) -> float:
    """Any label counts as one."""
    return labels


def pools(frame: Frame, worth: Worth = _label) -> Pools:
    """Labels of a frame, or what else its carriers count for. Without the process `labels` all are on their particles.

    Where the run followed them, all carriers of a place hold that place's mean. What has come off is in blood, here as in the
    rest of the body, or where its fate took it. As in all numbers of a run, what tissue holds on the lattice is the tumour's, and
    of blood what is inside it.
    """
    on, none = frame.label_on, np.zeros(len(FORMS))
    blood_um3 = frame.body.blood_volume_um3 or frame.body.plasma_volume_um3
    lumen_um3 = frame.fields["lumen_fraction"] * frame.lattice.voxel_um3

    def each(where: str, place: str) -> Floats:
        return np.array([worth(where, form, on.get(place, 1.0)) for form in FORMS])

    in_vessels = lumen_um3 * (frame.organs.get("blood", none) / blood_um3)[:, None, None, None]
    on_wall = np.maximum(frame.carriers["blood"] - in_vessels, 0.0)
    tumor = {
        (name, INTACT): np.tensordot(each(name, PLACE_OF.get(name, "cells")), frame.carriers[name], 1)
        for name in COMPARTMENTS
        if name != "blood"
    }
    inside = frame.fields["inside"] > 0
    blood = np.tensordot(each("blood", "blood"), in_vessels, 1) * inside
    free = lumen_um3 * inside * (frame.label_free.get("blood", 0.0) * worth("blood", DETACHED, 1.0) / blood_um3)
    tumor |= {("blood", INTACT): blood + np.tensordot(each("blood", "wall_bound"), on_wall, 1), ("blood", DETACHED): free}
    body = {(organ, INTACT): float(amount @ each(organ, organ)) for organ, amount in frame.organs.items()}
    for fate, labels in frame.label_free.items():
        key = (ORGAN_OF_FATE.get(fate, fate), DETACHED)
        body[key] = body.get(key, 0.0) + labels * worth(key[0], DETACHED, 1.0)
    return Pools(tumor, body, blood + free)
