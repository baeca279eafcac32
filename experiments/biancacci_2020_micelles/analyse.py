"""Organs over time and against dose, and who holds what is in the tumour: outside cells, phagocytes, other cells and the wall."""

from __future__ import annotations

import numpy as np

from tme_sim.analysis.profiles import amounts
from tme_sim.files.run_folder import RunFolder

DOSES = ("1e12", "1e13", "1e14", "3e14", "1e15")
JUDGED = "card_1e13"
S90_PERCENT = 66
ORGANS = {"tumor": "#d55e00", "liver": "#0072b2", "spleen": "#009e73"}
LABEL = {"tumor": "tumour", "liver": "liver", "spleen": "spleen"}
POOLS = {"liver": ("kupffer", "liver_endothelium"), "spleen": ("spleen",), "plasma": ("plasma",)}
IN_TUMOR = ("interstitium", "bound", "endothelium", "macrophages", "neutrophils", "monocytes", "tumor_cells")
HELD = {"extracellular": "#56b4e9", "phagocytes": "#d55e00", "other_cells": "#999999"}
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
        found[f"{arm}.phagocytes_percent"] = 100 * inside * runs["intracellular_fraction"]
        outside = runs["extracellular_fraction"] + inside * runs["intracellular_fraction"]
        found[f"{arm}.other_cells_percent"] = 100 * (1 - outside)
        for organ in ("liver", "spleen"):
            level = runs[f"{organ}_percent_id_per_g"]
            found[f"{arm}.tumor_over_{organ}"] = (runs["tumor_percent_id_per_g"] / level)[level > 0]
    for kind in ("fluid_low", "fluid_high"):
        outside = np.array([found[f"{kind}_{dose}.extracellular_percent"] for dose in DOSES])
        found[f"{kind}.particles_for_s90"] = [particles_for_s90(column) for column in outside.T]
    swept = [folder for dose in DOSES for folder in arms[f"card_{dose}"]["folder"]]
    return found | courses(arms[JUDGED]["folder"], "course") | courses(swept, "sweep")


def particles_for_s90(outside):
    """The dose from which 66 % are outside cells, straight in the logarithm between doses; else not a number."""
    above = np.flatnonzero(np.asarray(outside) >= S90_PERCENT)
    if len(above) == 0 or above[0] == 0:
        return float("nan")
    at = [above[0] - 1, above[0]]
    return float(10 ** np.interp(S90_PERCENT, outside[at], np.log10([float(DOSES[i]) for i in at])))


def courses(folders, name):
    """Organ and hour -> %ID/g in each run; the tumour without its blood, plasma in %ID."""
    found = {}
    runs = [RunFolder(folder) for folder in folders]
    for run in runs:
        body = run.config["body"]
        mass_g = {"liver": grams(body["liver_mass"]), "spleen": grams(body["spleen_mass"]), "tumor": run.info["tumor_mass_g"]}
        table = amounts(run)
        for organ, places in (POOLS | {"tumor": IN_TUMOR}).items():
            total = table[table["compartment"].isin(places)].groupby("time_s")["percent_id"].sum()
            for time_s, percent in total.items():
                found.setdefault(f"{name}.{organ}.{time_s / 3600:g}", []).append(percent / mass_g.get(organ, 1.0))
    return found


def grams(text):
    """A recorded mass (`1.375 g`, `500 mg`) in g."""
    number, unit = text.split()
    return float(number) * {"g": 1.0, "mg": 1e-3, "kg": 1e3}[unit]


def null_model(values):
    """Any published nanoparticle in 0.5 g of tumour (P01); any share of the dose in 1.375 g of liver or 0.1 g of spleen."""
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
    draw_doses(
        against_dose, values, {f"card|{organ}_percent_id_per_g": (colour, LABEL[organ]) for organ, colour in ORGANS.items()}
    )
    for organ, (level, _, _) in PUBLISHED.items():
        against_dose.axhline(level, color=ORGANS[organ], linestyle="--", linewidth=1)
    against_dose.set(yscale="log", ylabel="%ID/g at 48 h", ylim=(4, 150), title="Organs against dose; dashed: published")
    draw_doses(holders, values, {f"card|{key}_percent": (colour, key.replace("_", " ")) for key, colour in HELD.items()})
    holders.set(ylim=(0, 100), ylabel="of what the tumour holds (%)", title="Who holds it (card)")
    outside.axhspan(56, 76, color="#dddddd", zorder=0, label="S90 (the card was fitted to it)")
    draw_doses(outside, values, {f"{arm}|extracellular_percent": look for arm, look in CLEARANCE.items()})
    for arm, marker in (("recycled_low", "^"), ("recycled_high", "v")):
        colour, label = CLEARANCE[arm.replace("recycled", "fluid")]
        point = float(np.mean(values[f"{arm}.extracellular_percent"]))
        outside.plot([1e13], [point], marker, color=colour, label=f"{label}, ten in eleven come back", linestyle="none")
    outside.set(ylim=(0, 135), yticks=range(0, 101, 20), ylabel="outside cells (%)", title="Outside cells, by clearance per cell")
    for axes in (over_time, holders):
        axes.legend(frameon=False, fontsize=7)
    against_dose.legend(frameon=False, fontsize=7, loc="upper right", bbox_to_anchor=(1, 0.85))
    outside.legend(frameon=False, fontsize=7, loc="upper left", ncols=2)
    FigureCanvasSVG(canvas).print_svg(str(path), metadata={"Date": None})


def draw_courses(axes, values):
    """A line at the judged dose; bands over all replicates of all doses; published levels at 48 h with their bands."""
    for organ, colour in ORGANS.items():
        hours, _, middle, _ = course(values, organ, "course")
        axes.plot(hours, middle, color=colour, label=f"{LABEL[organ]}, 10¹³ particles")
        hours, low, _, high = course(values, organ, "sweep")
        axes.fill_between(hours, low, high, color=colour, alpha=0.2, linewidth=0)
    for shift, (organ, (level, low, high)) in enumerate(PUBLISHED.items()):
        ends = [[level - low], [high - level]]
        axes.errorbar(
            [48 + 1.2 * shift], [level], ends, fmt="o", mfc="white", color=ORGANS[organ], label=f"{LABEL[organ]}, published"
        )
    axes.set(yscale="log", ylim=(0.05, 300), xlabel="hours", ylabel="%ID/g", title="Organs over time; bands: 10¹² to 10¹⁵")


def course(values, organ, name):
    """Hours after the start, and the least, mean and greatest value at each."""
    at = {float(key.split(".", 2)[2]): found for key, found in values.items() if key.startswith(f"{name}.{organ}.")}
    return np.array([(hour, min(at[hour]), np.mean(at[hour]), max(at[hour])) for hour in sorted(at) if hour > 0]).T


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
