"""Organs over time and against dose, who holds what is in the tumour; and what a stained section and a tomogram tell of that."""

from __future__ import annotations

import numpy as np

from tme_sim.analysis.profiles import amounts
from tme_sim.api import Run
from tme_sim.config.units import parse_quantity
from tme_sim.files.run_folder import RunFolder
from tme_sim.imaging.histology import shares
from tme_sim.imaging.segmentation import VESSELS

DOSES = ("1e12", "1e13", "1e14", "3e14", "1e15")
JUDGED = "card_1e13"
S90_PERCENT = 66
ORGANS = {"tumor": "#d55e00", "liver": "#0072b2", "spleen": "#009e73"}
LABEL = {"tumor": "tumour", "liver": "liver", "spleen": "spleen"}
POOLS = {"liver": ("kupffer", "liver_endothelium"), "spleen": ("spleen",), "plasma": ("plasma",)}
IN_TUMOR = ("interstitium", "bound", "endothelium", "macrophages", "neutrophils", "monocytes", "tumor_cells")
HELD = {"extracellular": "#56b4e9", "phagocytes": "#d55e00", "other_cells": "#999999"}
CLEARANCE = {"card": ("#000000", "card"), "fluid_low": ("#e69f00", "0.01 µm³/s"), "fluid_high": ("#cc79a7", "0.03 µm³/s")}
SEEN = ("fluid_high_1e13", "fluid_low_1e13", "recycled_high", JUDGED, "alike", "recycled_low", "no_uptake")
THICKNESS_UM = (1, 2, 5, 8, 10)
EXPANSIONS_UM = {0: "_expanded_0um", 2: "_expanded_2um", 4: "", 6: "_expanded_6um", 8: "_expanded_8um"}
PICTURE_UM = 90
ABSORPTION = {0.8: ("v", "absorption × 0.8"), 1.0: ("s", "× 1"), 1.2: ("^", "× 1.2")}
STAINS = {"vessels": (0.1, 1.0, 0.2), "nuclei": (0.2, 0.35, 1.0), "macrophages": (1.0, 0.2, 0.9)}
TITLES = ("CD31 green, DAPI blue, F4/80 magenta", "the micelle's dye", "as the operator divides it")
REGION_NAMES = ("outside cells", "F4/80 positive", "other cells", "CD31 positive")
REGION_RGB = ((0, 0, 0), (0.34, 0.71, 0.91), (0.84, 0.37, 0.0), (0.6, 0.6, 0.6), (0.0, 0.62, 0.45))
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
    return found | courses(arms[JUDGED]["folder"], "course") | courses(swept, "sweep") | sections(arms) | tomograms(arms)


def sections(arms):
    """What the operator of a stained section reports, and the truth; of the judged arm the whole section, else a quarter."""
    found = {}
    for arm in SEEN:
        images = [section(folder, whole=arm == JUDGED) for folder in arms[arm]["folder"]]
        read = [told(image) for image in images]
        found |= {f"{arm}.histology.{name}": [one[name] for one in read] for name in read[0]}
        if arm == JUDGED:
            found[f"{arm}.histology.fields_percent"] = [share for image in images for share in quarters(image)]
            found |= picture(images[0])
    for thick in THICKNESS_UM:
        thin = told(section(arms[JUDGED]["folder"].iloc[0], thickness=f"{thick} um"))
        found |= {f"{JUDGED}.histology.{k}_{thick}um_thick": [v] for k, v in thin.items() if k.startswith("extracellular")}
    return found | lines(found)


def section(folder, whole=False, **settings):
    """A section through the middle, as wide as the lattice or half as wide."""
    run = Run(folder)
    edge = run.fields.sizes["y"] * run.fields.attrs["spacing_um"]
    return run.image("histology", overrides={"size": f"{edge if whole else edge / 2:g} um", **settings})


def told(image):
    """Quantity -> value, of those outside CD31; truths end in `_true`, that of the whole tumour in `_true_of_tumor`."""
    found = {q.quantity + "_of_tumor" * (q.region == "tumor"): q.value for q in image.quantities}
    for kind in ("", "_true", "_true_of_tumor"):
        inside = found[f"macrophages_percent{kind}"] + found[f"other_cells_percent{kind}"]
        found[f"intracellular_percent{kind}"] = inside
        if inside > 0:
            found[f"phagocytes_of_intracellular_percent{kind}"] = 100 * found[f"macrophages_percent{kind}"] / inside
    return found


def quarters(image):
    """The share outside cells of each quarter of a section, as of four fields; light above that of a slide without the dye."""
    settings, counts = image.acquisition, image.data[image.channels.index("particles"), 0].astype(float)
    light = (counts - settings["offset"]) / settings["gain"] - settings["background_electrons"]
    halves = [np.array_split(np.arange(n), 2) for n in light.shape]
    fields = [np.ix_(y, x) for y in halves[0] for x in halves[1]]
    return [shares(light[at], image.regions[0][at])["extracellular_percent"] for at in fields]


def picture(image):
    """Where a section has most vessels, as flat lists: each channel, its brightest at 1, and the regions that it is read by."""
    n, vessels = round(PICTURE_UM / image.voxel_um[1]), image.regions[0] == VESSELS
    tiles = [np.s_[y : y + n, x : x + n] for y in range(0, len(vessels) - n + 1, n) for x in range(0, len(vessels) - n + 1, n)]
    at = max(tiles, key=lambda tile: vessels[tile].sum())
    found = {"picture.regions": image.regions[0][at].ravel(), "picture.pixel_um": [image.voxel_um[1]]}
    for name, counts in zip(image.channels, image.data[:, 0], strict=True):
        dark, bright = np.percentile(counts[~vessels] if name == "particles" else counts, (5, 99.5))
        found[f"picture.{name}"] = np.round(np.clip((counts[at] - dark) / (bright - dark), 0, 1), 2).ravel()
    return found


def tomograms(arms):
    """What µCT-FMT reports of the organs beside the truth, blood included; of the first replicate by the absorption assumed."""
    runs = [*map(Run, arms[JUDGED]["folder"])]
    read = {"fmt": [levels(run.image("fmt")) for run in runs]}
    read |= {f"fmt_{ratio:g}": [levels(runs[0].image("fmt", overrides={"absorption_ratio": ratio}))] for ratio in ABSORPTION}
    return {f"{JUDGED}.{name}.{key}": [one[key] for one in found] for name, found in read.items() for key in found[0]}


def levels(image):
    """Quantity -> value of the organs: `ORGAN_percent_id_per_g`, that with `true_` before it, and `ORGAN_error_percent`."""
    at = {(q.region, q.quantity): q.value for q in image.quantities}
    ends = {"": "", "true_": "_true"}
    found = {f"{true}{o}_percent_id_per_g": at[o, f"percent_id_per_g{end}"] for true, end in ends.items() for o in ORGANS}
    found |= {f"tumor_over_{o}": at["tumor", "percent_id_per_g"] / at[o, "percent_id_per_g"] for o in ("liver", "spleen")}
    return found | {f"{organ}_error_percent": at[organ, "error"] for organ in ORGANS}


def lines(found):
    """Reported against true over the arms, straight, by how far a cell reaches; and the true share that is reported as 66 %."""
    made = {}
    for um, name in EXPANSIONS_UM.items():
        slope, start = np.polyfit(of_all(found, "_true"), of_all(found, name), 1)
        made[f"line_{um}um.at_none_percent"], made[f"line_{um}um.at_all_percent"] = [start], [start + 100 * slope]
        made[f"line_{um}um.true_for_s90_percent"] = [(S90_PERCENT - start) / slope]
    return made


def of_all(values, kind):
    return np.concatenate([values[f"{arm}.histology.extracellular_percent{kind}"] for arm in SEEN])


def particles_for_s90(outside):
    """The dose from which 66 % are outside cells, straight in the logarithm between doses; else not a number."""
    above = np.flatnonzero(outside >= S90_PERCENT)
    if len(above) == 0 or above[0] == 0:
        return np.nan
    at = [above[0] - 1, above[0]]
    return float(10 ** np.interp(S90_PERCENT, outside[at], np.log10([float(DOSES[i]) for i in at])))


def courses(folders, name):
    """Organ and hour -> %ID/g in each run; the tumour without its blood, plasma in %ID."""
    found = {}
    for run in map(RunFolder, folders):
        mass_g = {organ: parse_quantity(run.config["body"][f"{organ}_mass"], "g", "mass") for organ in ("liver", "spleen")}
        mass_g, table = mass_g | {"tumor": run.info["tumor_mass_g"]}, amounts(run)
        for organ, places in (POOLS | {"tumor": IN_TUMOR}).items():
            total = table[table["compartment"].isin(places)].groupby("time_s")["percent_id"].sum()
            for time_s, percent in total.items():
                found.setdefault(f"{name}.{organ}.{time_s / 3600:g}", []).append(percent / mass_g.get(organ, 1.0))
    return found


def null_model(values):
    """Any published nanoparticle in 0.5 g of tumour (P01); any share of the dose in 1.375 g of liver or 0.1 g of spleen."""
    random = np.random.default_rng(1)
    tumor = 2 * 0.7 * np.exp(np.sqrt(2 * np.log(1.48 / 0.7)) * random.normal(size=10_000))
    level = {"tumor": tumor, "liver": random.uniform(0, 100 / 1.375, 10_000), "spleen": random.uniform(0, 100 / 0.1, 10_000)}
    chance = {f"{organ}_percent_id_per_g": list(found) for organ, found in level.items()}
    chance |= {f"tumor_over_{organ}": list(tumor / level[organ]) for organ in ("liver", "spleen")}
    held = ("extracellular_percent", "intracellular_percent", "phagocytes_of_intracellular_percent")
    chance |= {name: list(np.linspace(0, 100, 101)) for name in held}
    return {key: chance[key.split(".")[1]] for key in values if key.split(".")[1] in chance}


def figure(values, path):
    """Organs over time and against dose, who holds what is in the tumour, what is outside cells; what instruments tell of it."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(9.6, 13.2), layout="constrained")
    upper, pictures, lower = canvas.subfigures(3, 1, height_ratios=(6.8, 3.2, 3.6))
    (over_time, against_dose), (holders, outside) = upper.subplots(2, 2)
    draw_pictures(pictures, values)
    for draw, axes in zip((draw_reported, draw_choices, draw_tomograms), lower.subplots(1, 3), strict=True):
        draw(axes, values)
    draw_courses(over_time, values)
    looks = {f"card|{organ}_percent_id_per_g": (colour, LABEL[organ]) for organ, colour in ORGANS.items()}
    draw_doses(against_dose, values, looks)
    for organ, (level, _, _) in PUBLISHED.items():
        against_dose.axhline(level, color=ORGANS[organ], linestyle="--", linewidth=1)
    against_dose.set(yscale="log", ylabel="%ID/g at 48 h", ylim=(4, 150), title="Organs against dose; dashed: published")
    draw_doses(holders, values, {f"card|{key}_percent": (colour, key.replace("_", " ")) for key, colour in HELD.items()})
    holders.set(ylim=(0, 100), ylabel="of what the tumour holds (%)", title="Who holds it (card)")
    outside.axhspan(56, 76, color="#dddddd", zorder=0, label="S90 (the card was fitted to it)")
    draw_doses(outside, values, {f"{arm}|extracellular_percent": look for arm, look in CLEARANCE.items()})
    for arm, marker in (("recycled_low", "^"), ("recycled_high", "v")):
        colour, label = CLEARANCE[arm.replace("recycled", "fluid")]
        found = np.mean(values[f"{arm}.extracellular_percent"])
        outside.plot([1e13], [found], marker, color=colour, label=f"{label}, ten in eleven come back")
    outside.set(ylim=(0, 135), yticks=range(0, 101, 20), ylabel="outside cells (%)", title="Outside cells, by clearance per cell")
    over_time.legend(frameon=False, fontsize=7)
    holders.legend(frameon=False, fontsize=7)
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
        label = f"{LABEL[organ]}, published"
        axes.errorbar([48 + 1.2 * shift], [level], ends, fmt="o", mfc="white", color=ORGANS[organ], label=label)
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
        axes.errorbar(dose, np.mean(found, axis=1), np.std(found, axis=1), fmt="o-", color=colour, label=label, capsize=2)
    axes.set(xscale="log", xlabel="dose (particles)")


def draw_pictures(part, values):
    """A part of the section: its stains, the particles' dye, and what the operator takes for which cell."""
    n = round(len(values["picture.regions"]) ** 0.5)
    channel = {name: np.reshape(values[f"picture.{name}"], (n, n)) for name in ("particles", *STAINS)}
    regions, edge = np.reshape(values["picture.regions"], (n, n)).astype(int), n * values["picture.pixel_um"][0]
    stained = np.clip(sum(channel[name][..., None] * np.array(colour) for name, colour in STAINS.items()), 0, 1)
    shown = stained, channel["particles"], np.array(REGION_RGB)[regions]
    for axes, title, pixels in zip(part.subplots(1, 3), TITLES, shown, strict=True):
        axes.imshow(pixels, cmap="gray", origin="lower", extent=(0, edge, 0, edge), interpolation="none")
        axes.plot([edge - 25, edge - 5], [5, 5], color="white", linewidth=3)
        axes.text(edge - 15, 7, "20 µm", color="white", ha="center", va="bottom", fontsize=8)
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    for y, (name, colour) in enumerate(zip(REGION_NAMES, REGION_RGB[1:], strict=True)):
        axes.text(1.03, 0.95 - 0.08 * y, name, color=np.array(colour) * 0.8, transform=axes.transAxes, fontsize=8)


def draw_reported(axes, values):
    """Reported against true over the arms, for three choices of how far a cell reaches."""
    true = of_all(values, "_true")
    for um, (colour, marker) in {0: ("#e69f00", "^"), 4: ("#000000", "o"), 8: ("#cc79a7", "v")}.items():
        reported = of_all(values, EXPANSIONS_UM[um])
        axes.plot([0, 100], [values[f"line_{um}um.at_{end}_percent"][0] for end in ("none", "all")], color=colour, linewidth=1)
        axes.plot(true, reported, marker, color=colour, markersize=4, label=f"cells reach {um} µm", linestyle="none")
    axes.plot([0, 100], [0, 100], ":", color="#777777", linewidth=1)
    axes.set(xlabel="true, of the section (%)", title="Read off sections, all arms")
    read_axes(axes)


def draw_choices(axes, values):
    """What the operator reports of the judged arm, by choices, and single fields."""
    reach = {um: values[f"{JUDGED}.histology.extracellular_percent{name}"] for um, name in EXPANSIONS_UM.items()}
    thick = {um: values[f"{JUDGED}.histology.extracellular_percent_{um}um_thick"] for um in THICKNESS_UM}
    fields = values[f"{JUDGED}.histology.fields_percent"]
    axes.plot(np.full(len(fields), 4.4), fields, ".", color="#999999", label="single fields")
    for found, style, label in ((reach, "o-", "over a cell's reach"), (thick, "s--", "over thickness")):
        axes.plot(list(found), [np.mean(share) for share in found.values()], style, color="#0072b2", markersize=4, label=label)
    axes.axhline(np.mean(values[f"{JUDGED}.histology.extracellular_percent_true_of_tumor"]), color="#d55e00", label="true")
    axes.set(xlabel="µm", title="The operator's choices, card")
    read_axes(axes)


def read_axes(axes):
    axes.axhspan(56, 76, color="#dddddd", zorder=0, label="S90")
    axes.set(ylim=(0, 145), yticks=range(0, 101, 20), ylabel="reported outside cells (%)")
    axes.legend(frameon=False, fontsize=7, ncols=2, loc="upper left")


def draw_tomograms(axes, values):
    """Levels as the tomograph reports them, as they are, and as published."""
    for x, organ in enumerate(ORGANS):
        level, low, high = PUBLISHED[organ]
        axes.bar(x - 0.25, high - low, 0.3, bottom=low, color="#dddddd", label=None if x else "published")
        axes.plot([x - 0.4, x - 0.1], [level, level], color="#777777")
        true = np.mean(values[f"{JUDGED}.fmt.true_{organ}_percent_id_per_g"])
        axes.plot([x - 0.05, x + 0.45], [true, true], color=ORGANS[organ], linewidth=2, label=None if x else "true, with blood")
        for i, (ratio, (marker, label)) in enumerate(ABSORPTION.items()):
            found = values[f"{JUDGED}.fmt_{ratio:g}.{organ}_percent_id_per_g"]
            look = {"color": ORGANS[organ], "markeredgecolor": "black", "markersize": 6, "label": None if x else label}
            axes.plot([x + 0.05 + 0.15 * i], found, marker, **look)
    axes.set(yscale="log", ylim=(3, 800), ylabel="%ID/g", title="By µCT-FMT, card")
    axes.set_xticks(range(len(ORGANS)), [LABEL[organ] for organ in ORGANS])
    axes.legend(frameon=False, fontsize=7, loc="upper left", ncols=2)
