"""Unidirectional permeability of the wall, route by route: what came in over surface and exposure, before anything goes back."""

from __future__ import annotations

import numpy as np

from tme_sim.analysis.plausibility import internal, plasma_auc_s_per_um3
from tme_sim.analysis.profiles import carriers, copies
from tme_sim.files.run_folder import RunFolder


def permeabilities_um_per_s(run: RunFolder) -> dict[str, float]:
    """Route → P = entries/(S ∫C_p dt) over the whole run; of transcytosis only what is not recycled counts as entered.

    What a tracer's uptake shows before back-flux sets in. Needs record.level series.
    """
    series = carriers(run.series)
    last = series[(series["time_s"] == series["time_s"].max()) & (series["quantity"] == "entered")]
    entered = (last["value"] * last["patch"].map(copies(run))).groupby(last["route"], sort=False).sum()
    volume_um3 = run.info["tumor_mass_g"] / internal(run.config["tissue"]["density"]) * 1e12
    surface_um2 = 1e-3 * run.info["morphometry"]["vessel_surface_mm2_per_mm3"] * volume_um3
    exposure = surface_um2 * plasma_auc_s_per_um3(run)
    recycled = [p["recycled_fraction"] for p in run.config["processes"].values() if p["kind"] == "transcytosis"]
    kept = {"transcytosis": 1 - float(np.mean(recycled)) if recycled else 1.0}
    return {str(route): float(value) * kept.get(str(route), 1.0) / exposure for route, value in entered.items()}
