"""Interstitial transport: free particles move between voxels (model section 4)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.hops import hop
from tme_sim.numerics.transport import face_rates, step_continuum, substeps
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.parameters import given


@dataclass(kw_only=True, eq=False)
class Transport(Process):
    """∂C/∂t = ∇·(φ D ∇(C/φ)) from one set of face rates: an explicit step for amounts, exact multinomial hops for counts."""

    diffusivity_um2_per_s: float = given("tissue_diffusivity")
    _rates: NDArray[np.float64] | None = field(default=None, init=False, repr=False)

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({"fields.accessible_fraction"})

    @property
    def writes(self) -> frozenset[str]:
        return frozenset({"fields.nanoparticle"})

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if self._rates is None:
            capacity, lattice = state.fields["accessible_fraction"], state.lattice
            self._rates = face_rates(self.diffusivity_um2_per_s, capacity, lattice.voxel_um, blocked_z=lattice.blocked_z)
        amounts = state.fields["nanoparticle"]
        n = substeps(self._rates, dt_s)
        for route, form in np.ndindex(*amounts.shape[:2]):
            amount = amounts[route, form]
            if not amount.any():
                continue
            if amount.dtype.kind == "f":
                step_continuum(amount, self._rates, dt_s / n, steps=n)
                continue
            for part in range(n):
                hop(amount, self._rates, dt_s / n, streams.key("hop", route, form, part))
