"""A run's carriers by organ over time, as a biodistribution study reports them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tme_sim.analysis.profiles import carriers, copies, injected
from tme_sim.files.run_folder import RunFolder
from tme_sim.state.body import Body
from tme_sim.state.errors import InputError
from tme_sim.state.ledger import GONE

Floats = NDArray[np.float64]
Curve = Callable[[Floats], Floats]

POOLS = {
    "plasma": ("plasma",),
    "blood": ("plasma", "blood_neutrophils", "blood_monocytes"),
    "liver": ("kupffer", "liver_endothelium"),
    "spleen": ("spleen",),
}
UM3_PER_ML = 1e12


def percent_by_pool(run: RunFolder, loaded_only: bool = False) -> pd.DataFrame:
    """time_s × compartment of the body, and `tumor`, in % of the injected dose; what is gone is left out.

    loaded_only: of the carriers that still hold their drug. The tumour's vessel wall and tissue count, its blood does not.
    """
    series = carriers(run.series)
    kept = series[(series["quantity"] == "amount") & ~series["compartment"].isin(GONE) & (series["compartment"] != "wall_bound")]
    if loaded_only:
        kept = kept[kept["form"] == "loaded"]
    amount = kept["value"] * kept["patch"].map(copies(run))
    place = kept["compartment"].where(kept["patch"] == "body", "tumor")
    wide = amount.groupby([kept["time_s"], place]).sum().unstack().fillna(0.0)
    return 100 * wide / max(injected(run), 1e-300)


def organ_curves(run: RunFolder, body: Body, *, loaded_only: bool = False, flushed: bool = False) -> dict[str, Curve]:
    """Organ → value at given hours, between records linear: %ID/g of liver, spleen, tumor, %ID/mL of blood and plasma.

    `%ID organ` is the same of the whole organ. flushed: the tumour without the blood in its vessels, whose volume is taken from
    the summary and constant. The liver's and the spleen's own blood is not modelled and not counted.
    """
    table = percent_by_pool(run, loaded_only)
    begin_h, _ = span_h(run)
    table = table[table.index >= 3600 * begin_h]
    if len(table) < 2:
        raise InputError("record.interval", None, "kept fewer than two times after the injection; there is no curve to compare")
    hours = table.index.to_numpy(float) / 3600
    plasma_mL = body.plasma_volume_um3 / UM3_PER_ML
    blood_mL = (body.blood_volume_um3 or body.plasma_volume_um3) / UM3_PER_ML
    percent = {organ: _sum(table, pools) for organ, pools in POOLS.items() if pools[0] in table}
    if "tumor" in table:
        in_vessels = 0.0 if flushed else _blood_in_tumor_mL(run, blood_mL)
        percent["tumor"] = table["tumor"].to_numpy(float) + in_vessels * _sum(table, POOLS["plasma"]) / blood_mL
    size: dict[str, Floats | float] = {
        "plasma": plasma_mL,
        "blood": blood_mL,
        "tumor": _tumor_mass_g(run, hours),
        **body.organ_mass_g,
    }
    per = {organ: np.asarray(values / size[organ], float) for organ, values in percent.items()}
    whole = {f"%ID {organ}": values for organ, values in percent.items()}
    return {name: _between(hours, values) for name, values in (per | whole).items()}


def span_h(run: RunFolder) -> tuple[float, float]:
    """First recorded hour that has carriers (a bolus at 0 comes after the record at 0), and the last."""
    terms = carriers(run.ledger)
    given = terms.loc[(terms["term"] == "injected") & (terms["amount"] > 0), "time_s"]
    return float(given.min()) / 3600, run.times_s[-1] / 3600


def _between(hours: Floats, values: Floats) -> Curve:
    return lambda at: np.asarray(np.interp(at, hours, values), float)


def _sum(table: pd.DataFrame, pools: tuple[str, ...]) -> Floats:
    return np.asarray(table[[pool for pool in pools if pool in table]].sum(axis=1), float)


def _blood_in_tumor_mL(run: RunFolder, blood_mL: float) -> float:
    """Moving blood in the tumour: what the summary's %ID/g with blood has over that without, by the blood's concentration."""
    names = ("tumor_percent_id_per_g", "tumor_percent_id_per_g_without_blood", "tumor_mass_g", "plasma_percent_id")
    with_blood, without, mass_g, plasma = (float(run.summary.get(name) or 0.0) for name in names)
    return (with_blood - without) * mass_g / (plasma / blood_mL) if plasma else 0.0


def _tumor_mass_g(run: RunFolder, hours: Floats) -> Floats:
    """(times,) of a growing tumour exponential between start and end, as the model has it."""
    start = float(run.info["tumor_mass_g"])
    growth = float(run.summary.get("tumor_mass_g") or start) / start
    return np.asarray(start * growth ** (hours / max(hours[-1], 1e-9)), float)
