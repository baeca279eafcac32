"""Labels at one time: how many sit where, on particles and off them, decay-corrected, in those of one particle when injected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tme_sim.imaging.frame import COMPARTMENTS, Frame

Floats = NDArray[np.float64]

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


def pools(frame: Frame) -> Pools:
    """Labels of a frame. Without the process `labels` all are on their particles.

    Where the run followed them, all carriers of a place hold that place's mean. What has come off is in blood, here as in the
    rest of the body, or where its fate took it. As in all numbers of a run, what tissue holds on the lattice is the tumour's, and
    of blood what is inside it.
    """
    on = frame.label_on
    blood_um3 = frame.body.blood_volume_um3 or frame.body.plasma_volume_um3
    lumen_um3 = frame.fields["lumen_fraction"] * frame.lattice.voxel_um3
    in_vessels = lumen_um3 * float(frame.organs["blood"].sum()) / blood_um3 if "blood" in frame.organs else 0.0 * lumen_um3
    on_wall = np.maximum(frame.carriers["blood"].sum(axis=0) - in_vessels, 0.0)
    tumor = {
        (name, INTACT): frame.carriers[name].sum(axis=0) * on.get(PLACE_OF.get(name, "cells"), 1.0)
        for name in COMPARTMENTS
        if name != "blood"
    }
    inside = frame.fields["inside"] > 0
    blood = in_vessels * inside * on.get("blood", 1.0)
    free = lumen_um3 * inside * frame.label_free.get("blood", 0.0) / blood_um3
    tumor |= {("blood", INTACT): blood + on_wall * on.get("wall_bound", 1.0), ("blood", DETACHED): free}
    body = {(organ, INTACT): float(amount.sum()) * on.get(organ, 1.0) for organ, amount in frame.organs.items()}
    for fate, labels in frame.label_free.items():
        key = (ORGAN_OF_FATE.get(fate, fate), DETACHED)
        body[key] = body.get(key, 0.0) + labels
    return Pools(tumor, body, blood + free)
