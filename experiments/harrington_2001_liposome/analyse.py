"""Uptake per kg as a gamma camera sees it, blood included; how it falls with volume; and the figure."""

from __future__ import annotations

import numpy as np

PUBLISHED = {"head_and_neck": (33.0, 15.8), "lung": (18.3, 5.7), "breast": (5.3, 2.6)}  # %ID/kg at 72 h, mean and SD
HALF_LIFE_H = 76.1
COLOURS = {"simulated": "#0072b2", "removed": "#999999", "published": "#d55e00"}


def quantities(arms):
    """Arm name and quantity -> one value per replicate."""
    found = {f"{arm}.percent_id_per_kg": 1000 * runs["tumor_percent_id_per_g"] for arm, runs in arms.items()}
    first, last = (found[f"{arm}.percent_id_per_kg"] for arm in ("head_and_neck", "breast"))
    return found | {"head_and_neck.over_breast": first / last}


def null_model(values):
    """Any half-life between a SPIO's and a micelle's in man (S14, S75); any lesion of S55."""
    half_lives, lesions = np.geomspace(2, 158, 1000), np.geomspace(0.52, 18.5, 1000)
    return {"head_and_neck.plasma_half_life_h": list(half_lives), "head_and_neck.percent_id_per_kg": list(lesions)}


def figure(values, path):
    """Half-life and uptake: what was published, what is simulated, and what is left without the mechanism."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    page = Figure(figsize=(6.8, 3.2), layout="constrained")
    left, right = page.subplots(1, 2, width_ratios=(2, 5))
    left.axhspan(60, 95, color=COLOURS["published"], alpha=0.15, linewidth=0)
    left.axhline(HALF_LIFE_H, color=COLOURS["published"], linewidth=1)
    for x, (arm, kind) in enumerate({"head_and_neck": "simulated", "mouse_rates": "removed"}.items()):
        draw(left, x, values[f"{arm}.plasma_half_life_h"], kind)
    left.set(xlim=(-0.6, 1.6), ylim=(0, None), ylabel="half-life in plasma (h)", title="S58: how long in blood")
    left.set_xticks([0, 1], ["scaled\nto man", "mouse's\nrates"])
    for x, (mean, sd) in enumerate(PUBLISHED.values()):
        right.errorbar(x - 0.15, mean, sd, color=COLOURS["published"], marker="o", label=None if x else "published, mean ± SD")
    for x, arm in enumerate(PUBLISHED):
        draw(right, x + 0.15, values[f"{arm}.percent_id_per_kg"], "simulated", None if x else "simulated, each replicate")
    draw(right, 3, values["no_transcytosis.percent_id_per_kg"], "removed", "simulated, mechanism removed")
    right.set(xlim=(-0.5, 3.5), yscale="log", ylabel="%ID/kg in the tumour at 72 h", title="S59: how much in the tumour")
    right.set_xticks(range(4), ["head and neck", "lung", "breast", "head and neck,\nno transcytosis"])
    right.legend(frameon=False, fontsize=7)
    for axes in (left, right):
        axes.tick_params(labelsize=7)
        axes.yaxis.label.set_size(8)
        axes.title.set_size(9)
    FigureCanvasSVG(page).print_svg(str(path), metadata={"Date": None})


def draw(axes, x, points, kind, label=None):
    axes.plot(np.full(len(points), x), points, "D", color=COLOURS[kind], markersize=4, alpha=0.7, label=label)
