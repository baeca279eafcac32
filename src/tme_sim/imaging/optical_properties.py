"""How tissue absorbs and scatters red and infrared light, by what it is made of; all coefficients in 1/µm."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import numpy as np

from tme_sim.state.errors import InputError

PER_CM = 1e-4
"""1/cm in 1/µm."""
HEMOGLOBIN_MM = 2.33
"""Tetramers in whole blood, 150 g/L."""

HEMOGLOBIN = np.array([
    [600, 3200, 14677], [610, 1506, 9444], [620, 942, 6510], [630, 610, 5149], [640, 442, 4345], [650, 368, 3750],
    [660, 320, 3227], [670, 294, 2795], [680, 278, 2408], [690, 276, 2052], [700, 290, 1794], [710, 314, 1540],
    [720, 348, 1326], [730, 390, 1102], [740, 446, 1116], [750, 518, 1405], [756, 562, 1560], [760, 586, 1549],
    [770, 650, 1312], [780, 710, 1075], [790, 756, 891], [800, 816, 762], [820, 916, 694], [840, 1022, 692],
    [860, 1092, 694], [880, 1154, 726], [900, 1198, 762], [920, 1224, 777], [940, 1214, 693], [960, 1186, 526],
    [980, 1128, 360], [1000, 1024, 207], [1200, 0, 0], [1710, 0, 0],
])  # fmt: skip
"""Wavelength in nm, molar extinction of oxy- and deoxyhaemoglobin in 1/(M cm): Gratzer and Kollias as compiled by S. Prahl
(omlc.org/spectra/hemoglobin). That it falls to nothing between 1000 and 1200 nm is assumed; there blood absorbs as its water does
(Bosschaart et al. 2014, doi:10.1007/s10103-013-1446-7)."""

WATER = np.array([
    [600, 0.00202], [625, 0.00296], [650, 0.00324], [675, 0.00406], [700, 0.00601], [719, 0.01274], [740, 0.02477],
    [760, 0.02611], [780, 0.02271], [800, 0.01964], [820, 0.02483], [840, 0.03681], [859, 0.04898], [879, 0.05794],
    [900, 0.06792], [920, 0.1134], [940, 0.2901], [959, 0.4398], [971, 0.4535], [980, 0.4385], [1000, 0.3770], [1021, 0.2895],
    [1040, 0.2042], [1059, 0.1541], [1069, 0.1480], [1089, 0.1730], [1109, 0.2309], [1130, 0.4303], [1151, 1.016],
    [1169, 1.204], [1199, 1.257], [1230, 1.185], [1259, 1.077], [1279, 1.119], [1300, 1.353], [1321, 1.819], [1340, 2.672],
    [1361, 4.160], [1380, 7.105], [1400, 13.73], [1409, 22.65], [1419, 28.31], [1439, 31.69], [1459, 31.04], [1479, 25.64],
    [1500, 18.83], [1521, 14.38], [1549, 10.94], [1570, 9.125], [1600, 7.341], [1648, 5.788], [1671, 5.568], [1710, 5.916],
])  # fmt: skip
"""Wavelength in nm, absorption of water in 1/cm (Segelstein 1981, hdl:10355/11599)."""
RANGE_NM = (600, 1700)
"""Where both tables hold."""


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """scattering_per_cm: μ_s′ at 500 nm; power: by which it falls with wavelength; water: share of its volume, as of all tissue.

    Means over measured tissues of each kind, of Jacques 2013 (doi:10.1088/0031-9155/58/11/R37), table 2.
    """

    scattering_per_cm: float = 18.9
    power: float = 1.286
    water: float = 0.7

    def scattering_per_um(self, wavelength_um: float) -> float:
        """μ_s′ = a (λ/500 nm)^(−b); above 1.1 µm an extrapolation."""
        return float(self.scattering_per_cm * PER_CM * (wavelength_um / 0.5) ** -self.power)

    def absorption_per_um(self, wavelength_um: float, blood: float, saturation: float) -> float:
        """μ_a of the blood and the water in it; blood: share of the volume, saturation: of its haemoglobin with oxygen."""
        return blood * blood_per_um(wavelength_um, saturation) + self.water * water_per_um(wavelength_um)


SOFT = Tissue()
TISSUES = {
    "bone": Tissue(scattering_per_cm=22.9, power=0.716, water=0.3),
    "brain": Tissue(scattering_per_cm=24.2, power=1.611, water=0.75),
}
"""Region → what it is; all others are soft tissue. Water is assumed."""
SKIN = Tissue(scattering_per_cm=46.0, power=1.421, water=0.65)
SKIN_BLOOD = 0.02
"""Blood in skin (assumed)."""


def check_wavelength(field: str, wavelength_um: float) -> None:
    """Raise InputError where the tables say nothing of this light."""
    low, high = RANGE_NM
    if not low <= wavelength_um * 1e3 <= high:
        told = f"must be within {low}-{high} nm, where the absorption of blood and water is tabulated"
        raise InputError(field, f"{wavelength_um * 1e3:g} nm", told)


def blood_per_um(wavelength_um: float, saturation: float) -> float:
    """Absorption of the haemoglobin in whole blood, ln 10 · c (S ε_oxy + (1 − S) ε_deoxy)."""
    nm, oxy, deoxy = HEMOGLOBIN.T
    molar = np.interp(wavelength_um * 1e3, nm, saturation * oxy + (1 - saturation) * deoxy)
    return float(log(10) * molar * HEMOGLOBIN_MM * 1e-3 * PER_CM)


def water_per_um(wavelength_um: float) -> float:
    """Absorption of water, whose logarithm is interpolated."""
    nm, per_cm = WATER.T
    return exp(float(np.interp(wavelength_um * 1e3, nm, np.log(per_cm)))) * PER_CM


def boundary_factor(refractive_index: float) -> float:
    """A of the boundary, (1 + R₂)/(1 − R₁) of Fresnel's reflection into tissue, which begins in air; 1 ≤ n ≤ 1.6.

    Cubic of Prahl 1988 (Light transport in tissue, eq. B51), within 0.03 of the integrals.
    """
    n = refractive_index
    return 1.68960 + n * (-4.90466 + n * (4.33904 - 0.13755 * n))
