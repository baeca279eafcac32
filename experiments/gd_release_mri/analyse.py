"""Gadolinium by pool and compartment in a heated tumour, and the relaxation rate that follows from it in closed form."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tme_sim.api import Run
from tme_sim.config.units import parse_quantity
from tme_sim.files.run_folder import RunFolder

R1_IN, R1_OUT = (0.9, 0.3, 1.5), (4.0, 3.5, 4.5)
"""Relaxivity of the chelate in liposomes and outside, per mM and second: middle and ends (S121)."""
READOUT, SNR = "mri_t1", 500.0
SCANS_MIN = (6, 12, 18, 24, 27, 30, 31, 32, 33, 34, 35, 36, 39, 42, 45, 54, 66, 78, 90, 93, 96, 105, 120)
MAPS_MIN = (30, 33, 36, 45)
PULSE_S, BEFORE_S, AFTER_S = 180.0, 1800.0, 1980.0
AVOGADRO_PER_AMOL = 6.02214076e5
LIPIDS_GD = 0.055 * 6.7e7 / 157.25  # atoms on a liposome of the card liposome_gd_thermo
COLD = {"no_leak": "retained", "retained": "retained"}
"""The arm that says what is there without heat, where that is not `unheated`."""
OUTSIDE, CELLS = ("interstitium", "bound", "endothelium"), ("tumor_cells", "macrophages")
POOLS = {
    "intact_blood": "in liposomes, blood",
    "intact_outside": "in liposomes, outside cells",
    "intact_cells": "in liposomes, cells",
    "released_blood": "released, blood",
    "released_outside": "released, outside cells",
    "released_cells": "released, cells",
}
COLOURS = ("#bfbfbf", "#8c8c8c", "#4d4d4d", "#56b4e9", "#0072b2", "#e69f00")
CURVES = {
    "heated": ("#d55e00", "-", "heated"),
    "intravascular": ("#0072b2", "--", "intravascular release only"),
    "interstitial": ("#009e73", "-.", "interstitial release only"),
    "unheated": ("#555555", "-", "not heated"),
    "retained": ("#999999", ":", "held back for good"),
}


def quantities(arms):
    """Arm name and quantity -> one value per replicate; and the mean pools over time, as `arm.pool.NAME`, in uM."""
    runs = {arm: [RunFolder(folder) for folder in table["folder"]] for arm, table in arms.items()}
    pools = {arm: [pools_mM(run) for run in found] for arm, found in runs.items()}
    found = {"full_release.r1_ratio": np.array([R1_OUT[0] / R1_IN[0]])}
    for arm, tables in pools.items():
        found |= {f"{arm}.{name}": values for name, values in at_pulse(tables).items()}
        mean = sum(tables) / len(tables)
        found |= {f"{arm}.pool_uM.{name}": 1000 * mean[name].to_numpy() for name in POOLS}
        found |= {f"{arm}.time_min": mean.index.to_numpy() / 60}
        if "reporter" in mean:
            found |= {f"{arm}.reporter_uM": 1000 * mean["reporter"].to_numpy()}
    for arm in [name for name in pools if not name.startswith("lipid")]:
        cold = COLD.get(arm, "unheated")
        found[f"{arm}.over_unheated"] = found[f"{arm}.dR1_end"] / found[f"{cold}.dR1_end"]
        if arm in CURVES:
            halves = [half_min(hot, base) for hot, base in zip(pools[arm], pools[cold], strict=True)]
            found[f"{arm}.excess_half_min"] = [half for half in halves if np.isfinite(half)]
        parts = [released_in(run) for run in runs[arm]]
        found[f"{arm}.released_in_vessels_percent"] = [part for part in parts if np.isfinite(part)]
    for arm in ("heated", "unheated"):
        found |= {f"{arm}.image.{name}": values for name, values in scans(arms[arm]["folder"].iloc[0]).items()}
    found |= maps(arms["heated"]["folder"].iloc[0])
    found["lipid.heated_over_unheated"] = found["lipid_heated.gd_uM_end"] / found["lipid_unheated.gd_uM_end"]
    return found


def pools_mM(run):
    """Time (s) -> gadolinium of each pool per volume of the tumour, in mM (amol per um3)."""
    drug, per_particle = run.config["drug"], LIPIDS_GD / AVOGADRO_PER_AMOL
    series = run.series[run.series["quantity"] == "amount"]
    carriers = series[series["substance"] == "nanoparticle"]
    if drug is not None:
        released = series[series["substance"] == drug["name"]].pivot_table("value", "time_s", "compartment", "sum")
        per_particle = run.config["nanoparticle"]["drug_fraction"] * g_per_mol(run.config["nanoparticle"]) / g_per_mol(drug)
        per_particle /= AVOGADRO_PER_AMOL
        carriers = carriers[carriers["form"] == "loaded"]
    held = carriers.pivot_table("value", "time_s", "compartment", "sum").reindex(columns=["plasma", *OUTSIDE, *CELLS]).fillna(0.0)
    volume_um3 = float((run.fields["inside"] > 0).sum()) * run.fields.attrs["spacing_um"] ** 3
    plasma_um3 = parse_quantity(run.config["body"]["plasma_volume"], "um^3", "body.plasma_volume")
    lumens, slowest = lumens_um3(run), parse_quantity(run.config["processes"]["perfusion"]["stagnant_below"], "um/s", "velocity")
    blood = [in_blood(run.flow(time_s), lumens, slowest) for time_s in held.index]
    blood = pd.DataFrame(blood, held.index, ["plasma", "drug"]) / volume_um3
    found = pd.DataFrame(0.0, held.index, list(POOLS))
    found["intact_blood"] = per_particle * held["plasma"] / plasma_um3 * blood["plasma"]
    found["intact_outside"] = per_particle * held[list(OUTSIDE)].sum(axis=1) / volume_um3
    found["intact_cells"] = per_particle * held[list(CELLS)].sum(axis=1) / volume_um3
    if drug is not None:
        found["released_blood"] = blood["drug"]
        found["released_outside"] = (released["interstitium"] + released["bound"]) / volume_um3
        found["released_cells"] = released["cells"] / volume_um3
        stays = run.fields["reporter"] + run.fields["reporter_in_cells"]
        found["reporter"] = stays.sum(("z", "y", "x")).to_numpy() / AVOGADRO_PER_AMOL / volume_um3
    return found


def g_per_mol(card):
    return parse_quantity(card["molar_mass"], "g/mol", "molar_mass")


def lumens_um3(run):
    """Volume of each vessel segment."""
    ends = run.vessels[["z0_um", "y0_um", "x0_um", "z1_um", "y1_um", "x1_um"]].to_numpy()
    return np.pi * run.vessels["radius_um"].to_numpy() ** 2 * np.linalg.norm(ends[:, 3:] - ends[:, :3], axis=1)


def in_blood(flow, lumens, slowest_um_per_s):
    """Plasma that moves in the lattice's vessels (um3), and the chelate in it (amol); what stands is in balance with nothing."""
    plasma = (lumens * (1 - flow["hematocrit"]))[flow["velocity_um_per_s"].abs() >= slowest_um_per_s]
    return float(plasma.sum()), float((plasma * flow["drug_mM"]).sum()) if "drug_mM" in flow else 0.0


def intact(pools):
    return pools[[name for name in POOLS if name.startswith("intact")]].sum(axis=1)


def released(pools):
    return pools[[name for name in POOLS if name.startswith("released")]].sum(axis=1)


def dR1(pools, case=0):
    """Sum of r1 times concentration, per second. case: 0 the middle of S121, 1 the lower and 2 the upper ends."""
    return R1_IN[case] * intact(pools) + R1_OUT[case] * released(pools)


def at_pulse(tables):
    """What the first pulse does, one value per replicate."""
    found = {}
    for name, time_s in (("before", BEFORE_S), ("end", AFTER_S)):
        now = [table.loc[[time_s]] for table in tables]
        gd, out = (np.array([float(f(table).iloc[0]) for table in now]) for f in (lambda t: intact(t) + released(t), released))
        found |= {f"gd_uM_{name}": 1000 * gd, f"released_percent_{name}": 100 * out / gd}
        found |= {f"dR1_{name}": np.array([float(dR1(table).iloc[0]) for table in now])}
        for case, word in ((1, "low"), (2, "high")):
            found[f"dR1_{name}_{word}"] = np.array([float(dR1(table, case).iloc[0]) for table in now])
        for pool in [pool for pool in POOLS if pool.startswith("released")]:
            part = np.array([float(table[pool].iloc[0]) for table in now])
            found[f"{pool}_percent_{name}"] = 100 * np.divide(part, out, out=np.zeros_like(part), where=out > 0)
    found["r1_ratio"] = found["dR1_end"] / found["gd_uM_end"] / (found["dR1_before"] / found["gd_uM_before"])
    return found


def half_min(hot, cold):
    """Minutes after the first pulse until half of what it added to the relaxation rate is gone; NaN where it added nothing."""
    excess = (dR1(hot) - dR1(cold)).loc[AFTER_S:]
    if excess.iloc[0] < 0.02 * dR1(cold).loc[AFTER_S]:
        return np.nan
    below = np.flatnonzero(excess.to_numpy() < excess.iloc[0] / 2)
    if len(below) == 0:
        return np.nan
    last = below[0]
    x, y = excess.index[last - 1 : last + 1].to_numpy(), excess.iloc[last - 1 : last + 1].to_numpy()
    return float(np.interp(-excess.iloc[0] / 2, -y, x) - AFTER_S) / 60


def released_in(run):
    """Of all that carriers released in the tumour, the share in its heated vessels, by the reporter; NaN without any."""
    places = ("heated_vessels", "interstitium", "cells")
    vessels, *tissue = (run.summary.get(f"reporter_released_in_{place}", 0.0) for place in places)
    return 100 * vessels / (vessels + sum(tissue)) if vessels + sum(tissue) > 0 else np.nan


def settings(run, parts):
    """The block in this many voxels along each axis, with the noise of the larger ones that they stand for."""
    edge_um = run.fields["inside"].sizes["z"] // parts * run.fields.attrs["spacing_um"]
    return {"voxel": [f"{edge_um:g} um"] * 3, "snr_per_mm3": SNR / (edge_um / 1000) ** 3}


def scans(folder):
    """Minutes, and the change of R1 that a reader has of the whole tumour, with noise and as it is without noise and blur."""
    run = Run(folder)
    times = [minutes for minutes in SCANS_MIN if 60.0 * minutes in run.times_s]
    told = [run.image(READOUT, 60.0 * minutes, settings(run, 3)).quantities for minutes in times]
    of = [{q.quantity: q.value for q in quantities} for quantities in told]
    return {"time_min": times, "dR1": [q["dR1"] for q in of], "dR1_true": [q["dR1_true"] for q in of]}


def maps(folder):
    """The middle plane of the change of R1 around the first pulse, ten voxels or fewer along an edge, as flat lists."""
    run, found = Run(folder), {}
    parts = min(10, run.fields["inside"].sizes["z"])
    for minutes in [m for m in MAPS_MIN if 60.0 * m in run.times_s]:
        change = next(i for i in run.images(READOUT, 60.0 * minutes, settings(run, parts)) if i.name == "mri_t1_change")
        found[f"map.{minutes}"] = change.data[change.data.shape[0] // 2].ravel()
    return found


def figure(values, path):
    """Relaxation over time by what may release; pools around the first pulse; and relaxation over that of the unheated."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    page = Figure(figsize=(11, 9), layout="constrained")
    plots, pictures = page.subfigures(2, 1, height_ratios=[3, 1])
    (upper, lower), (pools, bars) = plots.subplots(2, 2)
    for axes, names, title in (
        (upper, CURVES, "what may release"),
        (lower, ("heated", "unheated"), "the chelate moves, or stays as a reporter"),
    ):
        draw_curves(axes, values, names, title)
    draw_reporter(lower, values)
    draw_scans(lower, values)
    draw_maps(pictures, values)
    draw_pools(pools, values)
    draw_ratios(bars, values)
    FigureCanvasSVG(page).print_svg(str(path), metadata={"Date": None})


def total(values, arm, case=0):
    uM = {name: np.asarray(values[f"{arm}.pool_uM.{name}"]) for name in POOLS}
    return sum((R1_IN if name.startswith("intact") else R1_OUT)[case] * found for name, found in uM.items()) / 1000


def draw_curves(axes, values, names, title):
    for arm in names:
        colour, style, words = CURVES[arm]
        time = np.asarray(values[f"{arm}.time_min"])
        axes.plot(time, total(values, arm), color=colour, ls=style, lw=1.6, label=words)
        if arm in ("heated", "unheated"):
            ends = "r1 over its range (S121, recalled)" if arm == "heated" else None
            axes.fill_between(time, total(values, arm, 1), total(values, arm, 2), color=colour, alpha=0.15, lw=0, label=ends)
    for start in (30, 90):
        if start < time[-1]:
            axes.axvspan(start, start + 3, color="#cc79a7", alpha=0.2, lw=0, label="42 °C" if start == 30 else None)
    highest = 1.6 * max(total(values, "heated", 2))
    axes.set(xlabel="minutes after injection", ylabel="ΔR1 of the tumour (1/s)", ylim=(0, highest), title=title)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper center")


def draw_reporter(axes, values):
    time = np.asarray(values["heated.time_min"])
    blood = sum(np.asarray(values[f"heated.pool_uM.{name}"]) * R1_IN[0] for name in POOLS if name.startswith("intact"))
    stays = (blood + R1_OUT[0] * np.asarray(values["heated.reporter_uM"])) / 1000
    axes.plot(
        time, stays, color="#009e73", ls="--", lw=1.6, label="heated, as a reporter that stays\nwhere it left liposomes in tissue"
    )
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper center")


def draw_scans(axes, values):
    """What the scanner gives, and the same without noise and blur."""
    for arm in ("heated", "unheated"):
        colour, _, words = CURVES[arm]
        time = values[f"{arm}.image.time_min"]
        axes.plot(time, values[f"{arm}.image.dR1"], "o", color=colour, mfc="none", markersize=4, label=f"{words}, by mri_t1")
        axes.plot(time, values[f"{arm}.image.dR1_true"], ":", color=colour, lw=1.2, label="without noise and blur")
    axes.set_ylim(0, 1.25 * axes.get_ylim()[1])
    axes.legend(frameon=False, fontsize=7, ncols=2, loc="upper center")


def draw_maps(page, values):
    """Change of R1 around the first pulse."""
    found = {name.removeprefix("map."): np.asarray(flat) for name, flat in values.items() if name.startswith("map.")}
    planes = page.subplots(1, len(found), squeeze=False)[0]
    for axes, (minutes, flat) in zip(planes, found.items(), strict=True):
        edge = round(len(flat) ** 0.5)
        drawn = axes.imshow(flat.reshape(edge, edge), vmin=0, vmax=0.6, cmap="viridis", origin="lower")
        axes.set(xticks=[], yticks=[], title=f"heated, {minutes} min")
    page.colorbar(drawn, ax=list(planes), label="ΔR1 by mri_t1 (1/s)")


def draw_pools(axes, values):
    time = np.asarray(values["heated.time_min"])
    around = (time >= 25) & (time <= 45)
    stack = [np.asarray(values[f"heated.pool_uM.{name}"])[around] for name in POOLS]
    axes.stackplot(time[around], stack, labels=list(POOLS.values()), colors=COLOURS)
    axes.set(
        xlabel="minutes after injection",
        ylabel="gadolinium in the tumour (µM)",
        title="heated: where the gadolinium is",
        xticks=range(25, 46, 5),
    )
    axes.set_ylim(0, 1.55 * max(sum(stack)))
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles, labels, frameon=False, fontsize=8, ncols=2, loc="upper right")


def draw_ratios(axes, values):
    words = {
        "heated": "heated",
        "intravascular": "intravascular\nonly",
        "interstitial": "interstitial\nonly",
        "no_leak": "heated,\nno leak",
        "retained": "held back",
    }
    axes.axhspan(2.5, 8, color="#d55e00", alpha=0.12, lw=0, label="in a tube, full release (S121, recalled)")
    keys = {"over_unheated": ("#0072b2", "ΔR1 over unheated"), "r1_ratio": ("#e69f00", "per gadolinium, end over start of pulse")}
    for n, (key, (colour, label)) in enumerate(keys.items()):
        for x, arm in enumerate(words):
            points, at = values[f"{arm}.{key}"], x + (n - 0.5) * 0.36
            axes.bar(at, np.mean(points), 0.34, color=colour, label=None if x else label)
            axes.plot(np.full(len(points), at), points, "D", color="#222222", markersize=3)
    axes.axhline(1, color="#555555", lw=1)
    axes.set_xticks(range(len(words)), list(words.values()), fontsize=8)
    axes.set(ylabel="ratio at the end of the first pulse", ylim=(0, 9.5), title="what heat makes of it")
    axes.legend(frameon=False, fontsize=8, loc="upper right")
