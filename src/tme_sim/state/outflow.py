"""What the interstitial fluid carries out of the tumour, and what comes in with it from tissue further inside (model 1.4, 9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.random import Key
from tme_sim.numerics.share import share, split
from tme_sim.numerics.sweep import Sink
from tme_sim.numerics.transport import FaceRates, step_open
from tme_sim.state.lattice import Lattice

Reals = NDArray[np.float64]
FIELDS = ("tumor_outflow_per_s", "tumor_inflow_per_s")
"""Fluid that leaves and that enters the tumour's tissue, per tissue volume, in each voxel (z, y, x)."""
LATE = 1e-3


@dataclass(frozen=True, eq=False)
class Outflow:
    """Where fluid passes the tumour's bounds: flat voxels, the rate at which a carrier there leaves, the fluid that comes in.

    Assumed: what flows in holds, per volume, what flows out of the same patch, since the tissue further inside is like it. So of
    what leaves a patch the share inflow/outflow comes back in, spread over its inlets by their fluid, and what is washed out is
    what the fluid leaking from the patch's own vessels displaces. No carrier diffuses over a bound.

    outlets, rate_per_s, patch: (outlets,); inlets: (inlets,); inflow: (patches, inlets) shares; returning: (patches,).
    """

    outlets: NDArray[np.int64]
    rate_per_s: Reals
    patch: NDArray[np.int64]
    inlets: NDArray[np.int64]
    inflow: Reals
    returning: Reals

    @classmethod
    def of(cls, lattice: Lattice, accessible: Reals, fluid_per_s: Sequence[Reals], retardation: float) -> Outflow:
        """accessible: φ (z, y, x); fluid_per_s: the fields `FIELDS`; retardation: f_r, carriers leave a voxel at f_r v/φ."""
        phi, (out, into) = accessible.ravel(), (field.ravel() for field in fluid_per_s)
        outlets, inlets = (np.nonzero((flow > 0) & (phi > 0))[0] for flow in (out, into))
        patch, patches = lattice.patch_of_voxel(outlets), np.arange(len(lattice.patches))
        inflow = np.where(lattice.patch_of_voxel(inlets) == patches[:, None], into[inlets], 0.0)
        leaving, entering = np.bincount(patch, out[outlets], len(patches)), inflow.sum(axis=1)
        returning = np.divide(entering, leaving, out=np.zeros(len(patches)), where=leaving > 0)
        rate = retardation * out[outlets] / phi[outlets]
        return cls(outlets, rate, patch, inlets, inflow / np.maximum(entering, 1e-300)[:, None], np.minimum(returning, 1.0))

    def share_in(self, dt_s: float) -> Reals:
        """Of what is in each outlet, the share that leaves in a part of a step."""
        return np.minimum(self.rate_per_s * dt_s, 1.0)

    def carry_out(self, amount: NDArray[Any], dt_s: float, key: Key) -> NDArray[Any]:
        """Takes what leaves `amount` (z, y, x) in a part of a step, rate·dt of each outlet; returns (patches,) totals."""
        flat = amount.reshape(-1)
        gone = share(flat[self.outlets], self.share_in(dt_s), key, self.outlets)
        flat[self.outlets] -= gone
        return self._by_patch(gone)

    def carry(self, amount: NDArray[Any], rates: FaceRates, part_s: float, parts: int) -> Reals:
        """The mean over so many parts: some leave, the rest moves, some come back; returns (patches,) what is washed out.

        What left in a part comes back after it. Parts share a pass over memory, and what left in them comes back at its end, as
        long as that is at most the share `LATE` of what any outlet holds.
        """
        sink, flat = Sink(self.outlets, self.share_in(part_s)), amount.reshape(-1)
        most = float((sink.share * self.returning[self.patch]).max(initial=0.0))
        at_once, washed_out = max(1, int(min(parts, LATE / max(most, 1e-300)))), np.zeros(len(self.returning))
        for done in range(0, parts, at_once):
            left = self._by_patch(step_open(amount, rates, part_s, min(at_once, parts - done), sink))
            flat[self.inlets] += left * self.returning @ self.inflow
            washed_out += left * (1 - self.returning)
        return washed_out

    def _by_patch(self, gone: NDArray[Any]) -> NDArray[Any]:
        """Totals (patches,) of what left through each outlet."""
        total = np.bincount(self.patch, gone, len(self.returning))
        return total.astype(np.int64) if gone.dtype.kind == "i" else total

    def bring_in(self, amount: NDArray[Any], left: NDArray[Any], key: Key) -> NDArray[Any]:
        """Puts what comes back of the totals `left` into the inlets of `amount`; returns (patches,) what is washed out."""
        back = share(left, self.returning, key)
        if back.any():
            spread = split(back, self.inflow, (key[0], key[1] ^ 1)).sum(axis=0)
            amount.reshape(-1)[self.inlets] += spread.astype(amount.dtype, copy=False)
        return np.asarray(left - back)
