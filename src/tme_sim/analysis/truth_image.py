"""The carriers themselves as an image: what there is, seen by no instrument."""

from __future__ import annotations

import numpy as np

from tme_sim.analysis.image_comparison import TRUTH
from tme_sim.analysis.profiles import holds_vessel
from tme_sim.files.image import Image
from tme_sim.imaging.frame import Frame

UM3_PER_ML = 1e12


def truth_image(frame: Frame, *, flushed: bool = False) -> Image:
    """Carriers per mL of every voxel of the lattice, blood's included unless it is flushed; layers `inside` and `vessels`."""
    parts = [amount for place, amount in frame.carriers.items() if not (flushed and place == "blood")]
    held = np.sum(parts, axis=(0, 1))
    lattice, fields = frame.lattice, frame.fields
    layers = {
        "inside": fields["inside"] > 0,
        "vessels": holds_vessel(fields["lumen_fraction"], fields["wall_surface_um2"]),
    }
    edge_um = lattice.voxel_um
    return Image(
        name="carriers",
        data=np.asarray(held * UM3_PER_ML / lattice.voxel_um3, float),
        voxel_um=(edge_um, edge_um, edge_um),
        origin_um=(edge_um / 2, edge_um / 2, edge_um / 2),
        unit="1/mL",
        time_s=frame.time_s,
        modality=TRUTH,
        layers=layers,
    )
