"""Each arm's uptake over what would have come in if nothing went back: P S/V C0 (1 - exp(-kt))/k (literature row P16)."""

from __future__ import annotations

import numpy as np

PERMEABILITY_UM_PER_S = 1.3e-4  # X21, a liposome; the card's total permeability was set from it
PLASMA_ML = 1.0


def quantities(arms):
    """Arm name and quantity -> one value per replicate. %ID/g = %ID/mL of plasma x mL cleared per g of tissue."""
    found = {}
    for name, runs in arms.items():
        k_per_h = np.log(2) / runs["plasma_half_life_h"]
        exposure_h = (1 - np.exp(-k_per_h * runs["duration_h"])) / k_per_h
        cleared_per_h = PERMEABILITY_UM_PER_S * runs["vessel_surface_mm2_per_mm3"] * 1e-3 * 3600
        bound = 100 / PLASMA_ML * cleared_per_h * exposure_h
        found[f"{name}.uptake_over_unidirectional_bound"] = runs["tumor_percent_id_per_g_without_blood"] / bound
    return found
