"""Where a reporter was released: a dye or chelate that comes out with the payload; it stays there. In molecules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tme_sim.state.lattice import Lattice
    from tme_sim.state.state import State

Floats = NDArray[np.float64]

IN_BODY = ("plasma", "heated_vessels", "organs")
"""Outside the lattice: released in plasma at large, in heated vessels of the tumour, and in the body's organs."""


def put_on_voxels(fields: Mapping[str, Floats], number: Floats) -> None:
    """`number` (z, y, x) is released outside cells."""
    fields["reporter"][...] += number


def put_in_cells(lattice: Lattice, fields: Mapping[str, Floats], site: NDArray[np.int64], number: Floats) -> None:
    """`number` (cells,) is released in cells on `site`: evenly over the voxels of each."""
    fields["reporter_in_cells"][...] += lattice.evenly(np.asarray(np.bincount(site, number, lattice.n_sites), np.float64))


def put_in_body(traits: Mapping[str, Floats], pool: str, number: Floats) -> None:
    """number: (2,) released in this pool of the body at large, and in heated vessels."""
    traits["reporter_in_body"][IN_BODY.index("plasma" if pool == "plasma" else "organs")] += number[0]
    traits["reporter_in_body"][IN_BODY.index("heated_vessels")] += number[1]


def reporter_released(state: State) -> dict[str, float]:
    """Place → molecules released there so far in the whole body, those of the lattice by their copies; empty without one."""
    if "reporter" not in state.fields:
        return {}
    found = dict(zip(IN_BODY, state.body.traits["reporter_in_body"].tolist(), strict=True))
    for place, name in (("interstitium", "reporter"), ("cells", "reporter_in_cells")):
        by_patch = [state.fields[name][planes].sum() for planes in state.lattice.planes]
        found[place] = float(state.lattice.copies @ np.array(by_patch))
    return found
