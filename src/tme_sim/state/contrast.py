"""What MRI sees of a nanoparticle: relaxivities of its metal, and the susceptibility that it gives to water around it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import exp, log, pi, tanh
from typing import Literal

import numpy as np

from tme_sim.state.errors import InputError
from tme_sim.state.parameters import parameter

MU0 = 4e-7 * pi  # T m/A
BOHR_MAGNETON_J_PER_T = 9.2740100783e-24
AVOGADRO_PER_MOL = 6.02214076e23
THERMAL_J = 1.380649e-23 * 310.15

GRAMS_PER_MOL = {"iron": 55.845, "gadolinium": 157.25}
SYMBOLS = {"iron": "Fe", "gadolinium": "Gd"}
IRON_IN_MAGNETITE_KG_PER_M3 = 5170 * 0.7236
SQUARED_MOMENT_OF_GADOLINIUM = 63.0
"""In Bohr magnetons squared, g² S(S + 1) of spin 7/2."""
SQUARED_MOMENT_OF_FERRITIN_IRON = 3.78**2
"""In Bohr magnetons squared, per iron atom of ferritin and haemosiderin (Schenck 1996, doi:10.1118/1.597854)."""


@dataclass(frozen=True, kw_only=True)
class Relaxivity:
    """What 1 mM of the metal adds to the relaxation rates of water at one field."""

    field_T: float = parameter("field at which it was measured", above=0, at_most=25)
    r1_per_mM_s: float = parameter("longitudinal relaxivity", at_least=0, at_most=1000)
    r2_per_mM_s: float = parameter("transverse relaxivity, spin echo", at_least=0, at_most=5000)
    r2_star_per_mM_s: float | None = parameter(
        "transverse relaxivity of dispersed particles, gradient echo; null: r2", default=None, at_least=0, at_most=5000
    )

    @property
    def r2_star(self) -> float:
        """Of gradient echoes, per mM and s."""
        return self.r2_per_mM_s if self.r2_star_per_mM_s is None else self.r2_star_per_mM_s


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Relaxivities per metal atom at body temperature, intact and released, and how cells change them."""

    metal: Literal["iron", "gadolinium"] = parameter("iron of a magnetic core, or gadolinium ions")
    atoms: float | None = parameter("atoms of it in a particle; null: by its mass fraction on the card", default=None, above=0)
    magnetisation_A_per_m: float | None = parameter(
        "saturation magnetisation of the iron oxide; iron needs it", default=None, above=0, at_most=2e6
    )
    core_diameter_um: float | None = parameter(
        "diameter of one magnetic core; null: core_diameter of the card", default=None, above=0, at_most=1
    )
    intact: tuple[Relaxivity, ...] = parameter("of the metal in the particle, at one field or more, weakest first")
    released: tuple[Relaxivity, ...] = parameter("of the metal once released; none: as intact", default=())
    leaves_as: Literal["particle", "reporter", "drug"] = parameter(
        "where the metal is after release: on the particle, in the released reporter, or in the released drug", default="particle"
    )
    r1_share_in_cells: float = parameter("share of r1 that is left in vesicles of cells", at_least=0, at_most=10)
    r2_share_in_cells: float = parameter(
        "share of r2 that is left there; what the vesicles' own fields do is added to it", at_least=0, at_most=10
    )

    def __post_init__(self) -> None:
        if not self.intact:
            raise InputError("intact", None, "needs relaxivities at one field at least")
        for rows in (self.intact, self.released):
            if any(later.field_T <= earlier.field_T for earlier, later in pairwise(rows)):
                raise InputError("intact", None, "each field must be stronger than the one before it")
        if self.metal == "iron" and self.magnetisation_A_per_m is None:
            raise InputError("magnetisation_A_per_m", None, "is missing; iron is seen by it")


@dataclass(frozen=True)
class ContrastAgent:
    """What an instrument needs of a card: metal_amol in one particle, and the diameter of its magnetic core."""

    contrast: Contrast
    metal_amol: float
    core_diameter_um: float | None

    def relaxivity(self, field_T: float, released: bool = False) -> Relaxivity:
        """Relaxivities at a field, by straight lines in the logarithms. Raises InputError outside the card's fields."""
        rows = (self.contrast.released if released else ()) or self.contrast.intact
        fields = [row.field_T for row in rows]
        if not fields[0] <= field_T <= fields[-1]:
            told = f"the card has relaxivities from {fields[0]:g} to {fields[-1]:g} T"
            raise InputError("field", f"{field_T:g} T", told)

        def at(values: list[float]) -> float:
            smallest = 1e-12
            return exp(float(np.interp(log(field_T), np.log(fields), np.log(np.maximum(values, smallest)))))

        r1, r2 = at([row.r1_per_mM_s for row in rows]), at([row.r2_per_mM_s for row in rows])
        return Relaxivity(field_T=field_T, r1_per_mM_s=r1, r2_per_mM_s=r2, r2_star_per_mM_s=at([row.r2_star for row in rows]))

    def susceptibility_per_mM(self, field_T: float) -> float:
        """Volume susceptibility (SI) of 1 mM: of ions by Curie's law, of cores μ0 M_s L(ξ)/B0 with ξ = M_s π d³ B0/(6 k T)."""
        if self.contrast.metal == "gadolinium":
            return curie_per_mM(SQUARED_MOMENT_OF_GADOLINIUM)
        if self.core_diameter_um is None or self.contrast.magnetisation_A_per_m is None:
            raise InputError("nanoparticle.core_diameter", None, "is needed: it decides how far the field aligns the core")
        moment = self.contrast.magnetisation_A_per_m * pi * (self.core_diameter_um * 1e-6) ** 3 / 6
        volume_share_per_mM = GRAMS_PER_MOL["iron"] * 1e-3 / IRON_IN_MAGNETITE_KG_PER_M3
        aligned = langevin(moment * field_T / THERMAL_J)
        return MU0 * self.contrast.magnetisation_A_per_m * volume_share_per_mM * aligned / field_T


def langevin(x: float) -> float:
    """L(x) = coth x − 1/x, and x/3 near 0."""
    return x / 3 if abs(x) < 1e-4 else 1 / tanh(x) - 1 / x


def curie_per_mM(squared_moment: float) -> float:
    """Susceptibility of 1 mM of ions at 37 °C, μ0 N_A μ² μ_B²/(3 k T); squared_moment: μ² in Bohr magnetons squared."""
    return MU0 * AVOGADRO_PER_MOL * squared_moment * BOHR_MAGNETON_J_PER_T**2 / (3 * THERMAL_J)
