"""A fluorophore as a card tells it: what it absorbs, what it gives back, and what dims it."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.state.errors import InputError
from tme_sim.state.parameters import parameter

PER_UM3_PER_MM = 6.02214076e5
"""Molecules in a µm³ at 1 mM."""


@dataclass(frozen=True, kw_only=True)
class PHSwitch:
    """Fluorescence that follows pH at once and both ways; a switch that latches is the particle's release by acid instead."""

    midpoint_pH: float = parameter("pH at which half of the switch is thrown", above=0, at_most=14)
    hill: float = parameter("steepness", default=1.0, above=0, at_most=100)
    dark_share: float = parameter("share of the brightness left on the dark side", default=0.0, at_least=0, at_most=1)
    bright: Literal["acid", "base"] = parameter("the side on which it is bright")

    def share(self, pH: ArrayLike) -> NDArray[np.float64]:
        """Brightness over its largest, d + (1 − d)/(1 + 10^(±n (pH − pH½)))."""
        sign = 1.0 if self.bright == "acid" else -1.0
        thrown = 1 / (1 + 10 ** np.clip(sign * self.hill * (np.asarray(pH, np.float64) - self.midpoint_pH), -300, 300))
        return np.asarray(self.dark_share + (1 - self.dark_share) * thrown)


@dataclass(frozen=True, kw_only=True)
class Fluorescence:
    """A dye: E = Σ c ε Φ_F I, the yield Φ_F quenched by its neighbours on a particle and by pH."""

    dyes: float = parameter("molecules on a particle when injected; of a drug 1", default=1.0, above=0, at_most=1e7)
    extinction_per_M_cm: float = parameter("molar extinction at the excitation's wavelength", above=0, at_most=1e9)
    quantum_yield: float = parameter("photons emitted per photon absorbed where nothing quenches", above=0, at_most=1)
    excitation_um: float = parameter("wavelength of excitation", at_least=0.2, at_most=2)
    emission_um: float = parameter("wavelength of emission", at_least=0.2, at_most=2)
    quench_mM: float | None = parameter(
        "concentration within the particle that takes half of the emission; null: it does not quench itself",
        default=None,
        above=0,
    )
    dequenched_by_release: bool = parameter("whether a released carrier has come apart and its dye shines fully", default=False)
    switch: PHSwitch | None = parameter("change with pH, reversible; null: none", default=None)
    core_pH: float | None = parameter(
        "pH that it meets within a carrier; null: what is around the carrier", default=None, above=0, at_most=14
    )

    def __post_init__(self) -> None:
        if self.emission_um <= self.excitation_um:
            raise InputError(
                "emission_um", f"{self.emission_um:g} um", f"must be longer than the excitation, {self.excitation_um:g} um"
            )

    @property
    def brightness(self) -> float:
        """ε Φ_F of one molecule at its best, in 1/(M cm)."""
        return self.extinction_per_M_cm * self.quantum_yield

    def unquenched(self, dyes: float, diameter_um: float) -> float:
        """Share of the emission that is left with `dyes` in a sphere: 1/(1 + c/c_q) (Stern and Volmer 1919, by concentration)."""
        if self.quench_mM is None:
            return 1.0
        return 1 / (1 + dyes / (pi * diameter_um**3 / 6 * PER_UM3_PER_MM) / self.quench_mM)

    def at_pH(self, pH: ArrayLike) -> NDArray[np.float64]:
        """Share of the emission at this pH; 1 without a switch."""
        return np.ones(np.shape(pH)) if self.switch is None else self.switch.share(pH)
