"""How the body takes particles out of plasma: a card's clearance, and what follows from size (model section 2)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import log, sqrt
from statistics import NormalDist
from typing import Literal

from tme_sim.state.parameters import parameter

RENAL_CUT_OFF_UM = (0.0055, 0.008)
"""Diameters up to which the kidney's filter lets everything pass, and from which nothing (literature rows P18, S36)."""

SIZE_CLASSES = 16
"""Classes of equal number that a log-normal distribution of sizes is divided into."""


@dataclass(frozen=True, kw_only=True)
class Clearance:
    """How the body takes the particle out of plasma: compartments, a bi-exponential, or a measured curve."""

    model: Literal["compartments", "biexponential", "curve"] = parameter("which description of plasma is used")
    kupffer: Literal["rate", "capacity"] = parameter(
        "what saturates: the rate of uptake, or the room that Kupffer cells have", default="rate"
    )
    kupffer_maximum_per_s: float = parameter("largest uptake rate of one Kupffer cell, in particles", default=0.0, at_least=0)
    kupffer_half_saturation_per_um3: float = parameter("plasma concentration at half of that rate", default=1.0, above=0)
    kupffer_capacity: float | None = parameter(
        "particles that fill one Kupffer cell; read where its room is what saturates", default=None, above=0
    )
    sinks_per_s: dict[str, float] = parameter("rate constants of parallel, non-saturable sinks by name", default=dict)
    size_exponent: float = parameter(
        "n of the size classes: Kupffer cells and sinks take (d/mean d)^n times the mean rate",
        default=0.0,
        at_least=-6,
        at_most=6,
    )
    renal_sieving: float = parameter(
        "concentration in the kidney's filtrate over that in plasma, for a size far below the cut-off",
        default=1.0,
        at_least=0,
        at_most=1,
    )
    opsonised_affinity: float = parameter(
        "affinity for Kupffer cells (1/half-saturation) once opsonised, relative to at first", default=1.0, above=0, at_most=1e3
    )
    opsonisation_time_s: float = parameter("time constant of that rise, from the first dose on", default=1800.0, above=0)
    repeat_acceleration: float = parameter(
        "factor on Kupffer uptake that a dose leaves behind (accelerated blood clearance)", default=1.0, at_least=1, at_most=1e3
    )
    repeat_delay_s: float = parameter("time from a dose until then", default=345600.0, above=0)
    fast_fraction: float = parameter("bi-exponential: share of the dose in the fast phase", default=0.0, at_least=0, at_most=1)
    fast_half_life_s: float | None = parameter("bi-exponential: half-life of the fast phase", default=None, above=0)
    slow_half_life_s: float | None = parameter("bi-exponential: half-life of the slow phase", default=None, above=0)
    curve: str | None = parameter("CSV with columns time_h and percent_id: a measured plasma curve", default=None)


def size_classes_um(mean_um: float, polydispersity_index: float) -> tuple[float, ...]:
    """Mean diameters of equally many particles each, of a log-normal distribution; one class where all are alike.

    With σ² = ln(1 + PDI), class k of n lies between the quantiles z_k and z_(k+1), and its mean is
    n · mean · [Φ(z_(k+1) − σ) − Φ(z_k − σ)]: the classes' mean is the distribution's.
    """
    if polydispersity_index == 0:
        return (mean_um,)
    sigma, standard = sqrt(log(1 + polydispersity_index)), NormalDist()
    edges = [standard.cdf(standard.inv_cdf(k / SIZE_CLASSES) - sigma) for k in range(1, SIZE_CLASSES)]
    below = [0.0, *edges, 1.0]
    return tuple(SIZE_CLASSES * mean_um * (high - low) for low, high in pairwise(below))


def renal_passage(diameter_um: float) -> float:
    """Share that the kidney's filter lets pass: 1 up to the lower cut-off, 0 from the upper, straight between."""
    lower, upper = RENAL_CUT_OFF_UM
    return min(max((upper - diameter_um) / (upper - lower), 0.0), 1.0)
