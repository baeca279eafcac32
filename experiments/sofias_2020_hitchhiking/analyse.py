"""The phagocytes' share of what came in and of what is there, and what they bring per gram and day."""

from __future__ import annotations

import numpy as np

DOSES = ("1e10", "1e11", "1e12", "1e13")
ALONE = {"few_arrests": "arrests ÷ 3", "many_arrests": "arrests × 3", "little_uptake": "uptake ÷ 3", "much_uptake": "uptake × 3"}
HYPOTHESIS_PERCENT = (10, 60)


def quantities(arms):
    """Arm name and quantity -> one value per replicate."""
    found = {}
    for name, runs in arms.items():
        entries, load = (
            runs[key].astype(float).fillna(0.0) for key in ("phagocyte_entries_per_g_per_day", "phagocyte_mean_load")
        )
        found[f"{name}.held_share_percent"] = 100 * runs["route_held_fraction_phagocyte"]
        found[f"{name}.entered_share_percent"] = 100 * runs["route_fraction_phagocyte"]
        found[f"{name}.carried_percent_id_per_g_per_day"] = 100 * entries * load / runs["injected"]
    return found


def figure(values, path):
    """Left: share of what is in the tumour after a day, against dose. Right: at 1e11, one assumption changed at a time."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(9.2, 3.8), layout="constrained")
    left, right = canvas.subplots(1, 2, width_ratios=[1.3, 1])
    draw_doses(left, values)
    draw_alone(right, values)
    FigureCanvasSVG(canvas).print_svg(str(path), metadata={"Date": None})


def draw_doses(axes, values):
    dose = [float(d) for d in DOSES]
    mean = {arm: [np.mean(values[f"{arm}_{d}.held_share_percent"]) for d in DOSES] for arm in ("least", "most")}
    axes.axhspan(*HYPOTHESIS_PERCENT, color="#eeeeee", label="hypothesis (no published figure)")
    axes.fill_between(
        dose, mean["least"], mean["most"], color="#009e73", alpha=0.25, lw=0, label="targeted, uptake and arrests ÷ and × 3"
    )
    for arm, colour in (("targeted", "#009e73"), ("untargeted", "#56b4e9")):
        found = [values[f"{arm}_{d}.held_share_percent"] for d in DOSES]
        axes.errorbar(dose, [np.mean(f) for f in found], [np.std(f) for f in found], fmt="o-", color=colour, capsize=3, label=arm)
    axes.set(xscale="log", yscale="log", ylim=(0.01, 100), xlabel="dose (particles)")
    axes.set_ylabel("came with phagocytes (% of what is there)")
    axes.legend(frameon=False, fontsize=8, loc="lower left")


def draw_alone(axes, values):
    """What is carried in: entries per gram and day, times load."""
    rows = {"as assumed": "targeted_1e11", **{words: arm for arm, words in ALONE.items()}, "untargeted": "untargeted_1e11"}
    key = "carried_percent_id_per_g_per_day"
    found = [values[f"{arm}.{key}"] for arm in rows.values()]
    axes.barh(list(rows), [np.mean(f) for f in found], xerr=[np.std(f) for f in found], color="#009e73", alpha=0.7)
    axes.invert_yaxis()
    axes.set_xlabel("entries × load at 10¹¹ (%ID per g and day)")
