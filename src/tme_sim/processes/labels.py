"""Labels: what is still on the particles, place by place, and where the body takes what has come off (model section 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.label import Label
from tme_sim.state.parameters import given
from tme_sim.state.state import State
from tme_sim.state.variables import PHAGOCYTES, ROUTES

TUMOR = ("tissue", "cells", "lysosomes")
"""Where in the tumour a label may be, in the order that particles pass: outside cells, in endosomes, in lysosomes."""
BORNE = ("blood_phagocytes", "wall_bound", "spent_phagocytes")
"""Where it is with a phagocyte of the blood: in one that circulates, in one on a vessel wall, in what worn-out ones left."""
PHAGOCYTE = slice(ROUTES.index("phagocyte"), ROUTES.index("phagocyte") + 1)

Amounts = dict[str, float]


@dataclass(kw_only=True, eq=False)
class Labels(Process):
    """Mean-field labels, in those of one particle when injected and decay-corrected: dA_p/dt = inflow − outflow − k_p A_p.

    Labels go with the particles' net flow from place to place: plasma → each organ; plasma → tissue → endosomes → lysosomes →
    degraded, or out of the tissue with fluid; plasma → phagocytes of the blood → worn out, or on vessel walls → endosomes. In
    phagocytes on this side of the wall label comes off as in organs. Every particle of a place carries as much as the next, which
    is exact where none come back. What has come off, and the label of degraded particles, is in blood at once and leaves it by
    dB/dt = −Σ k_fate B. On particles and off them the labels add up to those injected. Physical decay: a factor 2^(−t/half-life)
    on all of it.
    """

    label: Label = given("label")
    pools: tuple[str, ...] = given("carrier_pools")
    kinds: tuple[str, ...] = given("carrying_kinds")

    @property
    def reads(self) -> frozenset[str]:
        columns = {f"populations.{kind}.{column}" for kind in self.kinds for column in ("site", "cargo", "lysosome")}
        arrested = {f"populations.arrested.{column}" for column in ("voxel", "load")} if self._with_phagocytes else set()
        return frozenset({*self.pools} | columns | arrested)

    @property
    def writes(self) -> frozenset[str]:
        return frozenset(f"traits.{name}" for name in self._names)

    @property
    def _with_phagocytes(self) -> bool:
        return "body.spent_phagocytes" in self.pools

    @property
    def _organs(self) -> list[str]:
        """Pools of the body that exchange with plasma alone."""
        others = {"body.plasma", "body.spent_phagocytes", *(f"body.blood_{kind}" for kind in PHAGOCYTES)}
        return [pool.removeprefix("body.") for pool in self.pools if pool.startswith("body.") and pool not in others]

    @property
    def _places(self) -> list[str]:
        return ["plasma", *self._organs, *(BORNE if self._with_phagocytes else ()), *TUMOR, "washed_out"]

    @property
    def _seen(self) -> list[str]:
        """Tallies that only grow: by what they grew is what flowed."""
        return ["injected", "degraded", *(["crossed"] if self._with_phagocytes else [])]

    @property
    def _names(self) -> list[str]:
        here = [f"{what}_{place}" for place in self._places for what in ("label_on", "carriers_seen")]
        return [
            *here,
            *(f"label_free_{fate}" for fate in ("blood", *self.label.fates_per_s)),
            *(f"{what}_seen" for what in self._seen),
        ]

    def prepare(self, state: State, random: Callable[[str], np.random.Generator]) -> None:
        """No label anywhere."""
        state.body.traits |= {name: np.zeros(1) for name in self._names}

    def step(self, state: StateView, dt_s: float, streams: Streams) -> None:
        if dt_s == 0:
            return
        now, seen = self._carriers(state), {place: float(state.traits[f"carriers_seen_{place}"][0]) for place in self._places}
        on = {place: float(state.traits[f"label_on_{place}"][0]) for place in self._places}
        tallies = self._tallies(state)
        grown = {what: tally - float(state.traits[f"{what}_seen"][0]) for what, tally in tallies.items()}
        on["plasma"] += grown["injected"]
        seen["plasma"] += grown["injected"]
        if self._with_phagocytes:
            _carry(on, seen, now, grown["crossed"])
        free = self._flow(on, seen, now, grown["degraded"])
        free += self._detach(on, dt_s)
        self._distribute(state, free, dt_s)
        for place in self._places:
            state.traits[f"label_on_{place}"][0], state.traits[f"carriers_seen_{place}"][0] = on[place], now[place]
        for what, tally in tallies.items():
            state.traits[f"{what}_seen"][0] = tally

    def _tallies(self, state: StateView) -> Amounts:
        found = {"injected": float(sum(state.ledger.injected.tolist())), "degraded": _tally(state, "degraded")}
        if self._with_phagocytes:
            found["crossed"] = _tally(state, "entered", PHAGOCYTE)
        return found

    def _flow(self, on: Amounts, held: Amounts, now: Amounts, broken: float) -> float:
        """Move labels with the net flows since the last step, from `held` to `now`; returns those of degraded particles."""
        to_lysosomes = now["lysosomes"] - held["lysosomes"] + broken
        to_cells = now["cells"] - held["cells"] + to_lysosomes
        out = now["washed_out"] - held["washed_out"]
        to_tissue = now["tissue"] - held["tissue"] + to_cells + out
        for organ in self._organs:
            _move(on, held, "plasma", organ, now[organ] - held[organ])
        _move(on, held, "plasma", "tissue", to_tissue)
        _move(on, held, "tissue", "washed_out", out)
        _move(on, held, "tissue", "cells", to_cells)
        _move(on, held, "cells", "lysosomes", to_lysosomes)
        on["degraded"] = held["degraded"] = 0.0
        _move(on, held, "lysosomes", "degraded", broken)
        return on.pop("degraded")

    def _detach(self, on: Amounts, dt_s: float) -> float:
        """What comes off in this step, by the rate of the place."""
        rates = self.label.detachment
        own = {"plasma": rates.plasma_per_s, "tissue": rates.tissue_per_s, "cells": rates.cell_per_s, "washed_out": 0.0}
        own["lysosomes"] = rates.lysosome_per_s
        came_off = 0.0
        for place in self._places:
            lost = on[place] * -np.expm1(-own.get(place, rates.organ_per_s) * dt_s)
            on[place] -= lost
            came_off += lost
        return came_off

    def _distribute(self, state: StateView, came_off: float, dt_s: float) -> None:
        """Free label in blood, parallel first-order fates."""
        fates = self.label.fates_per_s
        blood, total = state.traits["label_free_blood"], sum(fates.values())
        blood += came_off
        left = blood * -np.expm1(-total * dt_s)
        for fate, rate in fates.items():
            state.traits[f"label_free_{fate}"][...] += left * (rate / total if total > 0 else 0.0)
        blood -= left

    def _carriers(self, state: StateView) -> Amounts:
        """Carriers of the whole body by place; the tumour's weighted by their patches' copies."""
        now = {place: float(state.body[place].sum()) for place in ("plasma", *self._organs)} | dict.fromkeys(TUMOR, 0.0)
        if self._with_phagocytes:
            in_blood = sum(float(state.body[f"blood_{kind}"].sum()) for kind in PHAGOCYTES)
            now |= dict(zip(BORNE, (in_blood, 0.0, float(state.body["spent_phagocytes"].sum())), strict=True))
        lattice = state.lattice
        for patch, planes in enumerate(lattice.planes):
            copies = int(lattice.copies[patch])
            for pool in self.pools:
                home, name = pool.split(".", 1)
                if home == "fields":
                    now["tissue"] += copies * float(state.fields[name][:, :, planes].sum(dtype=np.float64))
                elif home == "vessels":
                    here = lattice.patch_of_voxel(state.vessels["voxel"]) == patch
                    now["tissue"] += copies * float(state.vessels[name][..., here].sum(dtype=np.float64))
            if self._with_phagocytes:
                cells = state.populations["arrested"]
                here = lattice.patch_of_voxel(cells["voxel"]) == patch
                now["wall_bound"] += copies * float(cells["load"][here].sum(dtype=np.float64))
            for kind in self.kinds:
                agents = state.populations[kind]
                here = lattice.patch_of_site(agents["site"]) == patch
                now["cells"] += copies * float(agents["cargo"][here].sum(dtype=np.float64))
                now["lysosomes"] += copies * float(agents["lysosome"][here].sum(dtype=np.float64))
        return now | {"washed_out": _tally(state, "washed_out")}


def _tally(state: StateView, name: str, routes: slice = slice(None)) -> float:
    """A tally of the ledger, whole-body."""
    per_patch = getattr(state.ledger, name)[:, routes].sum(axis=(1, 2), dtype=np.float64)
    return float(per_patch @ state.lattice.copies)


def _carry(on: Amounts, held: Amounts, now: Amounts, crossed: float) -> None:
    """Move labels with phagocytes of the blood, of which `crossed` particles came through the wall."""
    blood, wall, spent = BORNE
    to_wall, worn_out = now[wall] - held[wall] + crossed, now[spent] - held[spent]
    _move(on, held, "plasma", blood, now[blood] - held[blood] + to_wall + worn_out)
    _move(on, held, blood, spent, worn_out)
    _move(on, held, blood, wall, to_wall)
    _move(on, held, wall, "cells", crossed)


def _move(on: Amounts, held: Amounts, source: str, target: str, flow: float) -> None:
    """`flow` particles go from source to target, back if it is negative, each with the mean label of where it came from."""
    if flow < 0:
        source, target, flow = target, source, -flow
    share = min(flow / held[source], 1.0) if held[source] > 0 else 0.0
    label = share * on[source]
    on[source] -= label
    on[target] += label
    held[source] -= flow
    held[target] += flow
