"""Release: a carrier gives up its whole payload with a first-order probability, wherever it is (model section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.random import Key
from tme_sim.numerics.share import share
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state import substance
from tme_sim.state.parameters import given
from tme_sim.state.variables import FORMS

LOADED, RELEASED = FORMS.index("loaded"), FORMS.index("released")


@dataclass(kw_only=True, eq=False)
class Release(Process):
    """Loaded → released at the rate of the place: blood and organs, interstitium and matrix, endosome, lysosome."""

    release: substance.Release = given("nanoparticle.release")
    kinds: tuple[str, ...] = given("cell_kinds")
    pools: tuple[str, ...] = given("carrier_pools")

    @property
    def reads(self) -> frozenset[str]:
        return frozenset()

    @property
    def writes(self) -> frozenset[str]:
        columns = {f"populations.{kind}.{column}" for kind in self.kinds for column in ("cargo", "lysosome")}
        return frozenset(set(self.pools) | columns)

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        rates = self.release
        for pool in self.pools:
            home, name = pool.split(".", 1)
            key = streams.key(pool)
            if home == "body":
                _release(state.body[name], 0, rates.plasma_per_s * dt_s, key)
            elif home == "vessels":
                _release(state.vessels[name], 1, rates.cell_per_s * dt_s, key)
            else:
                _release(state.fields[name], 1, rates.tissue_per_s * dt_s, key)
        for kind in self.kinds:
            population = state.populations[kind]
            for column, rate in (("cargo", rates.cell_per_s), ("lysosome", rates.lysosome_per_s)):
                _release(population[column], 2, rate * dt_s, streams.key(kind, column), population["id"][:, None])


def _release(amount: NDArray[Any], form_axis: int, rate_dt: float, key: Key, ids: NDArray[np.int64] | None = None) -> None:
    if rate_dt == 0:
        return
    forms = np.moveaxis(amount, form_axis, 0)
    loaded = forms[LOADED]
    entity = None if ids is None else ids * loaded.shape[1] + np.arange(loaded.shape[1])
    released = share(loaded, -np.expm1(-rate_dt), key, entity)
    forms[LOADED] -= released
    forms[RELEASED] += released
