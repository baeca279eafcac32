"""How much light carriers and drug give at each point: E = Σ n ε Φ_F, quenched on the carrier and changed by pH."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tme_sim.imaging.anatomy import Anatomy
from tme_sim.imaging.frame import Frame
from tme_sim.imaging.placement import Placed, spread
from tme_sim.state.fluorescence import Fluorescence

Floats = NDArray[np.float64]

REFERENCE_PER_M_CM = 1e5
"""ε Φ_F of one unit of light; a dye such as this with Φ_F = 1."""
MOLECULES_PER_AMOL = 6.02214076e5
PH = {"blood": 7.4, "endothelium": 5.5, "extracellular": 7.2, "macrophages": 5.0, "phagocytes": 5.0, "tumor_cells": 5.0}
"""pH around a carrier: of endosomes and lysosomes in cells; outside cells where the run has no field of it (assumed)."""
CYTOSOL_PH = 7.2
"""pH around drug in cells (assumed)."""
PLACE = {"blood": "blood", "endothelium": "tissue", "extracellular": "tissue"}
"""Compartment → where the run follows its label; the others are `cells`."""


@dataclass
class Glow:
    """What an instrument sees: light at each point (z, y, x), and how much of it comes from which compartment."""

    light: NDArray[np.float32]
    share: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, compartment: str, light: NDArray[np.float32]) -> None:
        """More light (z, y, x) from a compartment."""
        self.light += light
        self.share[compartment] += float(light.sum(dtype=np.float64))

    def add_points(self, compartment: str, point: NDArray[np.int64], light: Floats) -> None:
        """More light from a compartment at these flat indices."""
        np.add.at(self.light.reshape(-1), point, light.astype(np.float32))
        self.share[compartment] += float(light.sum())


def glow_of_carriers(frame: Frame, anatomy: Anatomy, placed: Sequence[Placed], dye: Fluorescence, diameter_um: float) -> Glow:
    """Light of what is still on carriers, and in blood of the dye that has come off them, which nothing quenches."""
    glow = Glow(np.zeros(anatomy.box.shape, np.float32))
    for here in placed:
        dyes = dye.dyes * label_on(frame, here.compartment)
        free = here.form == "released" and dye.dequenched_by_release
        each = dyes * dye.brightness / REFERENCE_PER_M_CM * (1.0 if free else dye.unquenched(dyes, diameter_um))
        glow.add_points(here.compartment, here.point, here.number * each * _switched(frame, anatomy, here, dye))
    loose = frame.label_free.get("blood", 0.0) * dye.dyes / (frame.body.blood_volume_um3 or frame.body.plasma_volume_um3)
    if loose > 0:
        volume = anatomy.box.voxels(frame.fields["lumen_fraction"]) * anatomy.box.lattice.voxel_um3
        each = dye.brightness / REFERENCE_PER_M_CM * float(dye.at_pH(PH["blood"]))
        glow.add("blood", spread(anatomy.box, loose * each * volume, anatomy.lumen))
    return glow


def label_on(frame: Frame, compartment: str) -> float:
    """Labels on a carrier there over those it had when injected; 1 where the run did not follow them."""
    return frame.label_on.get(PLACE.get(compartment, "cells"), 1.0)


def glow_of_drug(
    frame: Frame,
    anatomy: Anatomy,
    placed: Sequence[Placed],
    dye: Fluorescence,
    loaded_amol: float | None,
    diameter_um: float,
) -> Glow:
    """Light of released drug outside cells and in them, and of what carriers still hold, quenched by its own concentration there.

    loaded_amol: drug in one loaded carrier; None where the run does not know.
    """
    glow, fields, box = Glow(np.zeros(anatomy.box.shape, np.float32)), frame.fields, anatomy.box
    unit = MOLECULES_PER_AMOL * dye.brightness / REFERENCE_PER_M_CM
    if "drug_mM" in fields:
        extracellular = (1 - fields["lumen_fraction"] - fields["cell_fraction"]) * box.lattice.voxel_um3
        outside = fields["drug_mM"] * extracellular + fields["drug_bound_amol"]  # 1 mM um³ = 1 amol
        seen = dye.at_pH(fields["pH"] if "pH" in fields else PH["extracellular"])
        glow.add("extracellular", spread(box, box.voxels(outside * seen * unit), anatomy.outside))
        inside = fields["drug_in_cells_amol"] * (unit * dye.at_pH(CYTOSOL_PH))
        glow.add("tumor_cells", spread(box, box.voxels(inside), anatomy.cell >= 0))
    if loaded_amol:
        each = loaded_amol * unit * dye.unquenched(loaded_amol * MOLECULES_PER_AMOL, diameter_um)
        for here in placed:
            if here.form == "loaded":
                glow.add_points(here.compartment, here.point, here.number * each * _switched(frame, anatomy, here, dye))
    return glow


def _switched(frame: Frame, anatomy: Anatomy, here: Placed, dye: Fluorescence) -> Floats:
    """Share of the light that pH leaves a dye on carriers, for all of them or for each."""
    if dye.core_pH is not None:
        return dye.at_pH(dye.core_pH)
    if dye.switch is not None and here.compartment == "extracellular" and "pH" in frame.fields:
        around = anatomy.box.on_points(anatomy.box.voxels(frame.fields["pH"]))
        return dye.at_pH(around.reshape(-1)[here.point])
    return dye.at_pH(PH[here.compartment])
