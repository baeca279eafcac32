"""Tumours rich in macrophages over poor ones, with and without an effect on the wall; and the share of macrin in macrophages."""

from __future__ import annotations

import numpy as np

from tme_sim.files.run_folder import RunFolder

BETAS = {"sink": 0.0, "beta_0p03": 0.03, "beta_0p1": 0.1, "beta_0p3": 0.3, "beta_1": 1.0, "beta_3": 3.0, "beta_10": 10.0}
SHARES = {"poor": 2, "tam5": 5, "tam10": 10, "tam20": 20, "tam30": 30, "rich": 40}
PUBLISHED = (5, 12)
COLOURS = {"sink": "#999999", "beta_1": "#0072b2"}


def quantities(arms):
    """Arm name and quantity -> one value per replicate."""
    held = {arm: runs["tumor_percent_id_per_g_without_blood"].to_numpy() for arm, runs in arms.items()}
    found = {f"{arm}.percent_id_per_g": values for arm, values in held.items()}
    for name in (*BETAS, "alike"):
        found[f"{name}.rich_over_poor"] = held[f"rich_{name}"] / held[f"poor_{name}"]
    for arm in ("rich_sink", "no_kupffer"):
        shares = np.array([in_macrophages(RunFolder(folder)) for folder in arms[arm]["folder"]])
        found[f"{arm}.macrophages_percent"], found[f"{arm}.macrophages_percent_of_all_held"] = shares.T
    return found | {f"beta_for_{ratio}": beta_for(ratio, found) for ratio in (5, 8)}


def in_macrophages(run):
    """Per cent of what is in cells that is in Kupffer cells, spleen or macrophages; then with `elsewhere` as other cells."""
    last = run.series[(run.series["time_s"] == run.series["time_s"].max()) & (run.series["quantity"] == "amount")]
    body = last[last["patch"] == "body"].groupby("compartment")["value"].sum()
    pools = body.reindex(["kupffer", "spleen", "liver_endothelium", "elsewhere"], fill_value=0.0)  # of nothing there is no row
    summary = run.summary
    tumor = summary["injected"] * summary["tumor_percent_id"] / 100 * summary["intracellular_fraction"]
    macrophages = pools["kupffer"] + pools["spleen"] + tumor * summary["intracellular_fraction_in_phagocytes"]
    others = pools["liver_endothelium"] + tumor * (1 - summary["intracellular_fraction_in_phagocytes"])
    return [100 * macrophages / (macrophages + others + more) for more in (0.0, pools["elsewhere"])]


def beta_for(ratio, found):
    """The least beta at which rich over poor is this, straight in log beta between those run; empty where none reaches it."""
    betas, ratios = list(BETAS.values())[1:], np.mean([found[f"{name}.rich_over_poor"] for name in list(BETAS)[1:]], axis=1)
    rising = slice(0, int(np.argmax(ratios)) + 1)
    if not ratios.min() <= ratio <= ratios.max():
        return []
    return [float(np.exp(np.interp(ratio, ratios[rising], np.log(betas[rising]))))]


def figure(values, path):
    """Left: rich over poor against beta. Middle: uptake against the share of macrophages. Right: share in macrophages."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    page = Figure(figsize=(10.5, 3.6), layout="constrained")
    left, middle, right = page.subplots(1, 3, width_ratios=[1.2, 1.1, 0.8])
    draw_ratio(left, values)
    for name, colour in COLOURS.items():
        found = [values[f"{arm}_{name}.percent_id_per_g"] for arm in SHARES]
        words = "a sink alone (β = 0)" if name == "sink" else "β = 1"
        bars = {"marker": "o", "color": colour, "capsize": 3, "label": words}
        middle.errorbar(list(SHARES.values()), [np.mean(f) for f in found], [np.std(f) for f in found], **bars)
    middle.set(xlabel="macrophages, of the cells (%)", ylabel="tumour, %ID/g without blood", ylim=(0, None))
    middle.legend(frameon=False, fontsize=8)
    keys = {
        "of what is\nin known cells": "macrophages_percent",
        "with “elsewhere”\nas other cells": "macrophages_percent_of_all_held",
    }
    right.bar(list(keys), [np.mean(values[f"rich_sink.{key}"]) for key in keys.values()], color="#009e73", width=0.5)
    right.axhline(85, color="#d55e00", lw=1)
    right.set(ylabel="in macrophages, whole body (%)", ylim=(0, 100), title="S49: at least 85 %")
    right.tick_params(axis="x", labelsize=8)
    FigureCanvasSVG(page).print_svg(str(path), metadata={"Date": None})


def draw_ratio(axes, values):
    axes.axhspan(*PUBLISHED, color="#d55e00", alpha=0.15, lw=0, label="published, about 8 (S50)")
    beta, found = list(BETAS.values())[1:], [values[f"{name}.rich_over_poor"] for name in list(BETAS)[1:]]
    mean, sd = [np.mean(f) for f in found], [np.std(f) for f in found]
    axes.errorbar(beta, mean, sd, fmt="o-", color="#0072b2", capsize=3, label="with β per macrophage at the wall")
    for name, style, words in (("sink", "--", "β = 0: a sink alone"), ("alike", ":", "taking up like tumour cells")):
        axes.axhline(np.mean(values[f"{name}.rich_over_poor"]), color="#555555", ls=style, lw=1.2, label=words)
    axes.set(xscale="log", yscale="log", xlabel="β", ylabel="tumours with 40 % over 2 % macrophages", ylim=(0.8, 60))
    axes.legend(frameon=False, fontsize=8)
