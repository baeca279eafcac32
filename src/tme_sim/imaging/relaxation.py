"""Water and what metal does to it: relaxation rates of blood, extracellular space and cells, and exchange between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray

from tme_sim.imaging.frame import Frame
from tme_sim.state.contrast import ContrastAgent
from tme_sim.state.errors import InputError
from tme_sim.state.parameters import parameter
from tme_sim.state.substance import AVOGADRO_PER_MOL
from tme_sim.state.variables import FORMS

Floats = NDArray[np.float64]

POOLS = ("blood", "extracellular", "cells")
IN_CELLS = ("endothelium", "macrophages", "phagocytes", "tumor_cells")
GYROMAGNETIC_PER_S_T = 2.6752218744e8
STATIC_DEPHASING = 2 * pi / (3 * sqrt(3))
THIN = 0.01  # share of a voxel that vesicles in its endothelium are given where it has no cell


@dataclass(frozen=True, kw_only=True)
class Water:
    """Water of the tissue without an agent, at the scanner's field, and how it moves."""

    tissue_r1_per_s: float = parameter("longitudinal rate of tissue", above=0, at_most=100)
    tissue_r2_per_s: float = parameter("transverse rate of tissue", above=0, at_most=1000)
    blood_r1_per_s: float = parameter("longitudinal rate of blood", above=0, at_most=100)
    blood_r2_per_s: float = parameter("transverse rate of blood", above=0, at_most=1000)
    blood_susceptibility_ppm: float = parameter("susceptibility of blood over tissue's, by its deoxyhaemoglobin", at_most=10)
    macrophage_iron_mM: float = parameter("the body's own iron in macrophages, as ferritin", at_least=0, at_most=100)
    blood_residence_s: float | None = parameter(
        "how long water stays in blood; 0: exchange is fast, null: slow", default=None, at_least=0
    )
    cell_residence_s: float | None = parameter(
        "how long water stays in a cell; 0: exchange is fast, null: slow", default=None, at_least=0
    )
    diffusivity_um2_per_s: float = parameter("diffusivity of water in tissue", at_least=0, at_most=3500)
    vesicle_radius_um: float = parameter("radius of the vesicles in which cells hold particles", above=0, at_most=5)
    vesicle_share: float = parameter("share of a cell's volume that these vesicles take", above=0, at_most=1)

    def __post_init__(self) -> None:
        if self.blood_residence_s and self.cell_residence_s:
            told = "only blood or cells may exchange at a finite rate; make one of them 0 or null"
            raise InputError("cell_residence_s", f"{self.cell_residence_s:g} s", told)


@dataclass(frozen=True)
class Metal:
    """Where the metal is: (pool, z, y, x) mM of the whole voxel, in particles and released from them."""

    intact_mM: Floats
    released_mM: Floats

    @property
    def total_mM(self) -> Floats:
        """(z, y, x) of all pools."""
        return np.asarray((self.intact_mM + self.released_mM).sum(axis=0))

    def part(self, planes: slice) -> Metal:
        """That of some planes along z."""
        return Metal(self.intact_mM[:, planes], self.released_mM[:, planes])

    def none(self) -> Metal:
        """The same tissue before the agent came."""
        return Metal(np.zeros_like(self.intact_mM), np.zeros_like(self.released_mM))


@dataclass(frozen=True)
class Pools:
    """Water of each voxel by pool: (pool, z, y, x) shares that add up to 1, and rates; r2 as the sequence sees it."""

    share: Floats
    r1_per_s: Floats
    r2_per_s: Floats


def metal_of(frame: Frame, agent: ContrastAgent) -> Metal:
    """The metal of a frame. Raises InputError where the run did not follow what the card says the metal leaves as."""
    carriers = {
        "blood": frame.carriers["blood"],
        "extracellular": frame.carriers["extracellular"],
        "cells": np.sum([frame.carriers[name] for name in IN_CELLS], axis=0),
    }
    per_um3 = agent.metal_amol / frame.lattice.voxel_um3
    loaded, emptied = (np.stack([carriers[pool][FORMS.index(form)] for pool in POOLS]) * per_um3 for form in FORMS)
    return Metal(loaded, emptied if agent.contrast.leaves_as == "particle" else _payload(frame, agent))


def _payload(frame: Frame, agent: ContrastAgent) -> Floats:
    """(pool, z, y, x) mM of released metal that travels apart from its particle, one atom a molecule; none of it in blood."""
    fields, leaves_as = frame.fields, agent.contrast.leaves_as
    if {"reporter": "reporter", "drug": "drug_mM"}[leaves_as] not in fields:
        told = f"the metal leaves as {leaves_as}, which this run did not follow"
        raise InputError("nanoparticle.contrast.leaves_as", leaves_as, told)
    if leaves_as == "reporter":
        outside, inside = (fields[name] * (1e18 / AVOGADRO_PER_MOL) for name in ("reporter", "reporter_in_cells"))
    else:
        space = 1 - fields["lumen_fraction"] - fields["cell_fraction"]
        bound, waiting, waiting_inside = (fields.get(f"drug_{name}_amol", 0.0) for name in ("bound", "source", "source_in_cells"))
        outside = fields["drug_mM"] * space * frame.lattice.voxel_um3 + bound + waiting
        inside = fields["drug_in_cells_amol"] + waiting_inside
    return np.stack([np.zeros(frame.lattice.voxels), outside, inside]) / frame.lattice.voxel_um3


def shares(frame: Frame) -> Floats:
    """(pool, z, y, x) share of each voxel's water: by volume. Raises InputError where a run has not recorded its cells'."""
    if "cell_fraction" not in frame.fields:
        raise InputError("cell_fraction", None, "was not recorded by this run; run it again with this version")
    blood = np.clip(np.asarray(frame.fields["lumen_fraction"], np.float64), 0.0, 1.0)
    cells = np.clip(np.asarray(frame.fields["cell_fraction"], np.float64), 0.0, 1.0 - blood)
    held = np.sum([frame.carriers[name].sum(axis=0) for name in IN_CELLS], axis=0) > 0
    cells = np.where(held, np.maximum(cells, np.minimum(THIN, 1.0 - blood)), cells)
    return np.stack([blood, 1.0 - blood - cells, cells])


def pools_of(
    share: Floats, metal: Metal, agent: ContrastAgent, water: Water, field_T: float, refocused_s: float | None = None
) -> Pools:
    """Rates of each pool: its own, r·c for what is dispersed, quenched in cells, and there what vesicles do.

    refocused_s: of spin echoes, half the time between refocusing pulses; of gradient echoes None, and r2 is R2*.
    """
    intact, released = agent.relaxivity(field_T), agent.relaxivity(field_T, released=True)
    own, cells = np.maximum(share, 1e-6), POOLS.index("cells")

    def rates(blood: float, tissue: float, of_intact: float, of_released: float, left_in_cells: float) -> Floats:
        dispersed = (of_intact * metal.intact_mM + of_released * metal.released_mM) / own
        dispersed[cells] *= left_in_cells
        return np.asarray(np.array([blood, tissue, tissue])[:, None, None, None] + dispersed)

    by_kind = [row.r2_per_mM_s if refocused_s is not None else row.r2_star for row in (intact, released)]
    contrast = agent.contrast
    r1 = rates(water.blood_r1_per_s, water.tissue_r1_per_s, intact.r1_per_mM_s, released.r1_per_mM_s, contrast.r1_share_in_cells)
    r2 = rates(water.blood_r2_per_s, water.tissue_r2_per_s, by_kind[0], by_kind[1], contrast.r2_share_in_cells)
    held_mM = metal.intact_mM[cells] + metal.released_mM[cells] * (contrast.leaves_as == "particle")
    chi = held_mM / own[cells] * agent.susceptibility_per_mM(field_T)
    r2[cells] += vesicle_rate(chi, water, field_T, refocused_s)
    return Pools(share, r1, r2)


def vesicle_rate(susceptibility: Floats, water: Water, field_T: float, refocused_s: float | None = None) -> Floats:
    """R2* or R2 of water in a cell whose vesicles, of volume share f and radius r, give it this mean susceptibility.

    f δω = γ B0 χ/3 whatever the vesicles are. Motional averaging is 16/45 f τ δω² with τ = r²/D, at most static dephasing
    2π/(3√3) f δω (Yablonskiy & Haacke 1994, doi:10.1002/mrm.1910320610); spin echoes see no more than partial refocusing leaves,
    1.8 f x^(1/3) (1.52 + f x)^(5/3)/τ with x = √(4/5) δω·refocused_s (Gillis 2002, doi:10.1002/mrm.10059).
    The field around the cell is not in it: that is the lattice's.
    """
    f, tau = water.vesicle_share, water.vesicle_radius_um**2 / max(water.diffusivity_um2_per_s, 1e-9)
    spread = GYROMAGNETIC_PER_S_T * field_T * np.abs(susceptibility) / 3 / f
    still = np.minimum(16 / 45 * f * tau * spread**2, STATIC_DEPHASING * f * spread)
    if refocused_s is None:
        return np.asarray(still)
    x = sqrt(4 / 5) * spread * refocused_s
    return np.minimum(still, 1.8 * f * np.cbrt(x) * (1.52 + f * x) ** (5 / 3) / tau)


def magnetisation(pools: Pools, water: Water, steady: Callable[[Floats], Floats]) -> Floats:
    """(pool, z, y, x) longitudinal magnetisation over that at rest; steady: R1 → magnetisation of water with one rate.

    Exchange is slow, fast (pools with one mean rate), or at a finite rate between two sites, where `steady` is taken of the
    Bloch–McConnell matrix: f(L) m0 = [f(λ₊)(L − λ₋) − f(λ₋)(L − λ₊)] m0/(λ₊ − λ₋).
    """
    share, rate = pools.share, pools.r1_per_s.copy()
    merged = _fast(water)
    rate[merged] = _mean(rate, share, merged)
    size = share * steady(rate)
    finite = {0: water.blood_residence_s, 2: water.cell_residence_s}
    for site, residence_s in finite.items():
        if residence_s:
            rest = merged if len(merged) > 1 else [1]
            p = np.stack([share[site], share[rest].sum(axis=0)])
            both = _two_sites(p, rate[[site, 1]], 1 / residence_s, steady)
            size[site] = both[0]
            size[rest] = both[1] * share[rest] / np.maximum(p[1], 1e-12)
    return np.asarray(size)


def _fast(water: Water) -> list[int]:
    """The pools that share one rate with extracellular water."""
    return [1] + [i for i, s in ((0, water.blood_residence_s), (2, water.cell_residence_s)) if s == 0]


def _mean(rate: Floats, share: Floats, pools: list[int]) -> Floats:
    return np.asarray((rate[pools] * share[pools]).sum(axis=0) / np.maximum(share[pools].sum(axis=0), 1e-12))


def transverse(pools: Pools, water: Water) -> Floats:
    """(pool, z, y, x) rates as signals decay with: one of pools in fast exchange; others are apart, echoes being short."""
    rate, merged = pools.r2_per_s.copy(), _fast(water)
    rate[merged] = _mean(rate, pools.share, merged)
    return rate


def _two_sites(share: Floats, rate: Floats, leave_per_s: float, steady: Callable[[Floats], Floats]) -> Floats:
    """(2, z, y, x) f(L) m0 for site 0 that water leaves at this rate, and site 1 at what balance asks for."""
    p = np.maximum(share, 1e-12)
    back = leave_per_s * p[0] / p[1]
    a, d = rate[0] + leave_per_s, rate[1] + back
    middle, apart = (a + d) / 2, np.sqrt(((a - d) / 2) ** 2 + leave_per_s * back)
    apart = np.maximum(apart, 1e-9 * middle)
    high, low = steady(middle + apart), steady(middle - apart)
    lm0 = rate * p  # L m0: what relaxation brings, exchange being in balance
    return np.asarray(((high - low) * lm0 + (low * (middle + apart) - high * (middle - apart)) * p) / (2 * apart))
