"""The label of a nanoparticle: what instruments see, on the particle and off it."""

from __future__ import annotations

from dataclasses import dataclass

from tme_sim.state.errors import InputError
from tme_sim.state.fluorescence import Fluorescence
from tme_sim.state.parameters import parameter


@dataclass(frozen=True, kw_only=True)
class Detachment:
    """First-order loss of the label from the particle, by where the particle is."""

    plasma_per_s: float = parameter("rate in blood", default=0.0, at_least=0)
    organ_per_s: float = parameter("rate in Kupffer cells and the body's other sinks", default=0.0, at_least=0)
    tissue_per_s: float = parameter("rate in the tumour outside cells", default=0.0, at_least=0)
    cell_per_s: float = parameter("rate in endosomes", default=0.0, at_least=0)
    lysosome_per_s: float = parameter("rate in lysosomes", default=0.0, at_least=0)


@dataclass(frozen=True, kw_only=True)
class Label:
    """What makes the particle visible, and what the body does with it once it has come off."""

    name: str = parameter("isotope or dye, such as 89Zr, 64Cu, Cy7")
    half_life_s: float | None = parameter("physical half-life of the isotope; null: does not decay", default=None, above=0)
    activity_Bq: float = parameter("mean activity of one particle when injected", default=0.0, at_least=0, at_most=1e6)
    fluorescence: Fluorescence | None = parameter("what makes it glow, for optics; null: it does not", default=None)
    detachment: Detachment = parameter("loss of the label from the particle")
    fates_per_s: dict[str, float] = parameter(
        "rates at which detached label leaves blood, by where it goes: bone, liver, thyroid, kidney, urine, bile", default=dict
    )

    def __post_init__(self) -> None:
        if self.activity_Bq > 0 and self.half_life_s is None:
            raise InputError("half_life_s", None, "an active label needs its isotope's half-life")
