"""What the interstitial fluid carries out of the tumour, and what comes in with it from tissue further inside (model 1.4, 9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.random import Key
from tme_sim.numerics.share import share, split
from tme_sim.state.lattice import Lattice

Reals = NDArray[np.float64]
FIELDS = ("tumor_outflow_per_s", "tumor_inflow_per_s")
"""Fluid that leaves and that enters the tumour's tissue, per tissue volume, in each voxel (z, y, x)."""


@dataclass(frozen=True, eq=False)
class Outflow:
    """Where fluid passes a patch's bounds: flat voxels, the rate at which a carrier there leaves, the fluid that comes in.

    Assumed: what flows in holds, per volume, what flows out, since the tissue further inside is like the patch. So of what leaves
    the share inflow/outflow comes back in, spread over the inlets by their fluid, and what is washed out is what the fluid
    leaking from the patch's own vessels displaces. No carrier diffuses over a bound.
    """

    outlets: NDArray[np.int64]
    rate_per_s: Reals
    inlets: NDArray[np.int64]
    inflow: Reals
    returning: float

    def carry_out(self, amount: NDArray[Any], dt_s: float, key: Key) -> Any:
        """Takes what leaves `amount` (z, y, x) in a part of a step, share rate·dt of each outlet; returns the total."""
        flat = amount.reshape(-1)
        gone = share(flat[self.outlets], np.minimum(self.rate_per_s * dt_s, 1.0), key, self.outlets)
        flat[self.outlets] -= gone
        return gone.sum(dtype=np.int64 if gone.dtype.kind == "i" else np.float64)

    def bring_in(self, amount: NDArray[Any], left: Any, key: Key) -> Any:
        """Puts what comes back of the total `left` into the inlets of `amount`; returns what is washed out."""
        if self.returning == 0 or left == 0:
            return left
        entity = self.inlets[0]
        back = share(left, self.returning, key, entity)
        amount.reshape(-1)[self.inlets] += split(back, self.inflow, (key[0], key[1] ^ 1), entity).astype(amount.dtype, copy=False)
        return left - back


def outflows(lattice: Lattice, accessible: Reals, fluid_per_s: Sequence[Reals], retardation: float) -> list[Outflow]:
    """One per patch. accessible: φ (z, y, x); fluid_per_s: the two fields `FIELDS`; retardation: f_r, carriers leave at f_r v/φ."""
    found = []
    phi, (out, into) = accessible.ravel(), (field.ravel() for field in fluid_per_s)
    per_plane = lattice.voxels[1] * lattice.voxels[2]
    for planes in lattice.planes:
        here = slice(planes.start * per_plane, planes.stop * per_plane)
        outlets, inlets = (planes.start * per_plane + np.nonzero((flow[here] > 0) & (phi[here] > 0))[0] for flow in (out, into))
        leaving, entering = out[outlets].sum(), into[inlets].sum()
        rate = retardation * out[outlets] / phi[outlets]
        found.append(Outflow(outlets, rate, inlets, into[inlets], min(1.0, entering / leaving) if leaving > 0 else 0.0))
    return found
