"""How a carrier gives up its payload: passive rates by place and age, and what sets it off (model section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import log

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from tme_sim.state.errors import InputError
from tme_sim.state.parameters import parameter

Reals = NDArray[np.float64]

BODY_C = 37.0


@dataclass(frozen=True, kw_only=True)
class Window:
    """A stretch of the age of a dose with a rate of its own."""

    until_s: float = parameter("age of the dose at which this rate ends", above=0)
    rate_per_s: float = parameter("release rate in blood until then", at_least=0)


@dataclass(frozen=True, kw_only=True)
class AcidTrigger:
    """Adds maximum · θ(pH), θ = 1/(1 + 10^(hill (pH − midpoint))): of 10 to 90 % within log10(81)/hill of a pH."""

    maximum_per_s: float = parameter("rate in acid", above=0)
    midpoint_pH: float = parameter("pH of half of it", above=0, below=14)
    hill: float = parameter("Hill coefficient of protonation", above=0, at_most=200)
    latched: bool = parameter("whether what was set off stays so; else it goes back at maximum · (1 − θ)", default=True)

    def share(self, pH: ArrayLike) -> Reals:
        """θ, the share that is switched on in balance with this pH."""
        return np.asarray(expit(log(10) * self.hill * (self.midpoint_pH - np.asarray(pH, np.float64))))


@dataclass(frozen=True, kw_only=True)
class HeatTrigger:
    """Adds maximum · [s(T) − s(37 °C)]₊, s = 1/(1 + exp(−(T − midpoint)/width)): the passive rates are those at 37 °C."""

    maximum_per_s: float = parameter("rate in the heat", above=0)
    midpoint_C: float = parameter("temperature of half of it", above=37, at_most=100)
    width_K: float = parameter("kelvins over which it rises e-fold below the midpoint", above=0, at_most=20)

    def rate_per_s(self, temperature_C: ArrayLike) -> Reals:
        """What it adds at this temperature."""
        at = np.asarray(temperature_C, np.float64)
        rise = expit((at - self.midpoint_C) / self.width_K) - expit((BODY_C - self.midpoint_C) / self.width_K)
        return np.asarray(self.maximum_per_s * np.maximum(rise, 0.0))


@dataclass(frozen=True, kw_only=True)
class Reporter:
    """A dye or chelate that comes out with the payload."""

    name: str = parameter("the reporter, such as a dye or a chelate of gadolinium")
    per_particle: float = parameter("molecules of it in a loaded particle", above=0)


@dataclass(frozen=True, kw_only=True)
class InCells:
    """Rates in one kind of cell, such as the slow depot that macrophages are."""

    cell_per_s: float = parameter("release rate in its endosomes", at_least=0)
    lysosome_per_s: float = parameter("release rate in its lysosomes", at_least=0)


@dataclass(frozen=True, kw_only=True)
class Release:
    """First-order release, all at once per particle: passive by where the particle is, and what acid, heat and enzyme add."""

    plasma_per_s: float = parameter("release rate in blood, after the windows of `plasma_before`", at_least=0)
    plasma_before: tuple[Window, ...] = parameter("rates in blood while a dose is younger, in order", default=())
    tissue_per_s: float = parameter("release rate in the interstitium", at_least=0)
    cell_per_s: float = parameter("release rate in endosomes and in endothelial transit", at_least=0)
    lysosome_per_s: float = parameter("release rate in lysosomes", at_least=0)
    by_kind: dict[str, InCells] = parameter("rates in a kind of cell, in place of cell and lysosome", default=dict)
    acid: AcidTrigger | None = parameter("release in acid; null: none", default=None)
    heat: HeatTrigger | None = parameter("release in the heat; null: none", default=None)
    enzyme_per_s: float = parameter("rate that an enzyme adds outside cells, at its level 1", default=0.0, at_least=0)
    reporter: Reporter | None = parameter("what comes out with the payload and is seen; null: nothing", default=None)

    def __post_init__(self) -> None:
        ends = [window.until_s for window in self.plasma_before]
        if any(later <= earlier for earlier, later in pairwise(ends)):
            raise InputError("plasma_before", None, "each window must end later than the one before it")

    def in_cells(self, kind: str) -> InCells:
        """The passive rates in cells of this kind."""
        return self.by_kind.get(kind) or InCells(cell_per_s=self.cell_per_s, lysosome_per_s=self.lysosome_per_s)

    def passive_in_blood(self, age_s: Reals) -> Reals:
        """∫ k dt in blood from the dose to each age, 0 before it: the share exp(−∫ k dt) is still loaded."""
        ends = np.array([0.0, *(window.until_s for window in self.plasma_before), np.inf])
        rates = np.array([*(window.rate_per_s for window in self.plasma_before), self.plasma_per_s])
        passed = np.clip(np.asarray(age_s)[..., None] - ends[:-1], 0.0, np.diff(ends))
        return np.asarray(passed @ rates)
