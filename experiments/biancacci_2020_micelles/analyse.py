"""Organs over time and against dose, and who holds what is in the tumour: outside cells, macrophages, other cells."""

from __future__ import annotations

import numpy as np

from tme_sim.analysis.profiles import amounts
from tme_sim.files.run_folder import RunFolder

DOSES = ("1e12", "1e13", "1e14", "1e15")
JUDGED = "card_1e13"
ORGANS = {"tumor": "#d55e00", "liver": "#0072b2", "spleen": "#009e73"}
POOLS = {"liver": ("kupffer", "liver_endothelium"), "spleen": ("spleen",), "plasma": ("plasma",)}
IN_TUMOR = ("interstitium", "bound", "endothelium", "macrophages", "neutrophils", "monocytes", "tumor_cells")
HELD = {"extracellular": "#56b4e9", "macrophages": "#d55e00", "other_cells": "#999999"}
CLEARANCE = {"card": ("#000000", "card"), "fluid_low": ("#e69f00", "0.01 µm³/s"), "fluid_high": ("#cc79a7", "0.03 µm³/s")}
PUBLISHED = {"tumor": (18.6, 13, 25), "liver": (9.1, 6, 13), "spleen": (8.9, 6, 13)}  # %ID/g at 48 h, and the bands of S87, S88


def quantities(arms):
    """Arm name and quantity -> one value per replicate."""
    found = {}
    for arm, runs in arms.items():
        inside = runs["intracellular_fraction_in_phagocytes"].astype(float).fillna(0.0)
        found[f"{arm}.extracellular_percent"] = 100 * runs["extracellular_fraction"]
        found[f"{arm}.intracellular_percent"] = 100 * runs["intracellular_fraction"]
        found[f"{arm}.phagocytes_of_intracellular_percent"] = 100 * inside
        found[f"{arm}.macrophages_percent"] = 100 * inside * runs["intracellular_fraction"]
        outside = runs["extracellular_fraction"] + inside * runs["intracellular_fraction"]
        found[f"{arm}.other_cells_percent"] = 100 * (1 - outside)
        for organ in ("liver", "spleen"):
            level = runs[f"{organ}_percent_id_per_g"]
            found[f"{arm}.tumor_over_{organ}"] = (runs["tumor_percent_id_per_g"] / level)[level > 0]
    return found | courses([RunFolder(folder) for folder in arms[JUDGED]["folder"]])


def courses(runs):
    """Organ and hour -> %ID/g in each replicate; the tumour without its blood, plasma in %ID."""
    found = {}
    for run in runs:
        body = run.config["body"]
        mass_g = {"liver": grams(body["liver_mass"]), "spleen": grams(body["spleen_mass"]), "tumor": run.info["tumor_mass_g"]}
        table = amounts(run)
        for organ, places in (POOLS | {"tumor": IN_TUMOR}).items():
            total = table[table["compartment"].isin(places)].groupby("time_s")["percent_id"].sum()
            for time_s, percent in total.items():
                found.setdefault(f"course.{organ}.{time_s / 3600:g}", []).append(percent / mass_g.get(organ, 1.0))
    return found


def grams(text):
    """A recorded mass (`1.375 g`, `500 mg`) in g."""
    number, unit = text.split()
    return float(number) * {"g": 1.0, "mg": 1e-3, "kg": 1e3}[unit]


def null_model(values):
    """Any published nanoparticle in 0.5 g of tumour (P01); any share of the dose in liver (1.375 g) or spleen (0.1 g); any share."""
    random = np.random.default_rng(1)
    tumor = 2 * 0.7 * np.exp(np.sqrt(2 * np.log(1.48 / 0.7)) * random.normal(size=10_000))
    level = {"tumor": tumor, "liver": random.uniform(0, 100 / 1.375, 10_000), "spleen": random.uniform(0, 100 / 0.1, 10_000)}
    chance = {f"{organ}_percent_id_per_g": list(found) for organ, found in level.items()}
    chance |= {f"tumor_over_{organ}": list(tumor / level[organ]) for organ in ("liver", "spleen")}
    shares = ("extracellular_percent", "intracellular_percent", "phagocytes_of_intracellular_percent")
    chance |= {name: list(np.linspace(0, 100, 101)) for name in shares}
    return {key: chance[key.split(".")[1]] for key in values if key.split(".")[1] in chance}


def figure(values, path):
    """Organs over time and against dose; below, who holds what is in the tumour, and what is outside cells by clearance."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(9.2, 6.8), layout="constrained")
    (over_time, against_dose), (holders, outside) = canvas.subplots(2, 2)
    draw_courses(over_time, values)
    draw_doses(against_dose, values, {f"card|{organ}_percent_id_per_g": (colour, organ) for organ, colour in ORGANS.items()})
    against_dose.set(yscale="log", ylabel="%ID/g at 48 h", title="Organs against dose")
    draw_doses(holders, values, {f"card|{key}_percent": (colour, key.replace("_", " ")) for key, colour in HELD.items()})
    holders.set(ylim=(0, 100), ylabel="of what the tumour holds (%)", title="Who holds it (card)")
    outside.axhspan(56, 76, color="#dddddd", zorder=0, label="S90 (the card was fitted to it)")
    draw_doses(outside, values, {f"{arm}|extracellular_percent": look for arm, look in CLEARANCE.items()})
    for arm, marker in (("recycled_low", "^"), ("recycled_high", "v")):
        colour, label = CLEARANCE[arm.replace("recycled", "fluid")]
        point = float(np.mean(values[f"{arm}.extracellular_percent"]))
        outside.plot([1e13], [point], marker, color=colour, label=f"{label}, ten in eleven come back", linestyle="none")
    outside.set(ylim=(0, 100), ylabel="outside cells (%)", title="Outside cells, by clearance per cell")
    for axes in (over_time, against_dose, holders, outside):
        axes.legend(frameon=False, fontsize=7)
    FigureCanvasSVG(canvas).print_svg(str(path), metadata={"Date": None})


def draw_courses(axes, values):
    """Bands from the least to the greatest replicate; published levels at 48 h with their bands."""
    for organ, colour in ORGANS.items():
        hours, low, middle, high = np.array(course(values, organ)).T
        axes.plot(hours, middle, color=colour, label=f"{organ}, simulated")
        axes.fill_between(hours, low, high, color=colour, alpha=0.25, linewidth=0)
    for shift, (organ, (level, low, high)) in enumerate(PUBLISHED.items()):
        ends = [[level - low], [high - level]]
        axes.errorbar([48 + shift], [level], ends, fmt="o", mfc="white", color=ORGANS[organ], label=f"{organ}, published")
    axes.set(yscale="log", ylim=(0.05, 300), xlabel="hours", ylabel="%ID/g", title="Organs over time, 10¹³ particles")


def course(values, organ):
    """Rows of hour, least, mean and greatest, without the start."""
    at = {float(key.split(".", 2)[2]): found for key, found in values.items() if key.startswith(f"course.{organ}.")}
    return [(hour, min(at[hour]), float(np.mean(at[hour])), max(at[hour])) for hour in sorted(at) if hour > 0]


def draw_doses(axes, values, lines):
    """One line for each `arm|quantity` against the dose."""
    dose = [float(d) for d in DOSES]
    for name, (colour, label) in lines.items():
        arm, quantity = name.split("|")
        found = [values[f"{arm}_{d}.{quantity}"] for d in DOSES]
        axes.errorbar(
            dose, [np.mean(f) for f in found], [np.std(f) for f in found], fmt="o-", color=colour, label=label, capsize=2
        )
    axes.set(xscale="log", xlabel="dose (particles)")
