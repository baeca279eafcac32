"""Topotecan in the tumour over time and against the distance to vessels, heated or not, from liposomes in blood or tissue."""

from __future__ import annotations

import numpy as np

from tme_sim.analysis.profiles import amounts, copies
from tme_sim.files.run_folder import RunFolder
from tme_sim.numerics.distance import distance_to_cylinders

DRUG, UG_PER_AMOL = "topotecan", 421.4e-12
IN_TUMOR = ("interstitium", "bound", "endothelium", "macrophages", "neutrophils", "monocytes", "tumor_cells")
TREND, BEFORE, FIRST, SECOND = 27, 30, 33, 93
"""Frames by their minute: the last two before the first pulse, and those that end with the first and the second pulse."""
UNHEATED = {"wall_low": "wall_low_unheated", "wall_high": "wall_high_unheated"}
ONE_PULSE = {"two_pulses": "one_pulse", "not_sensitive": "not_sensitive_one"}
SOURCES = ("in_vessels", "in_tissue")
LOOK = {
    "two_pulses": ("#000000", "-", "two pulses"),
    "one_pulse": ("#000000", ":", "one pulse"),
    "in_vessels": ("#d55e00", "--", "liposomes in blood only"),
    "in_tissue": ("#0072b2", "-", "liposomes in tissue only"),
    "free_drug": ("#e69f00", "-.", "free drug"),
    "unheated": ("#009e73", "-", "unheated"),
    "not_sensitive": ("#cc79a7", (0, (1, 2)), "not opened by heat"),
}
PROFILES = ("two_pulses", "in_vessels", "in_tissue", "unheated")


def quantities(arms):
    """Arm name and quantity -> one value per replicate."""
    runs = {arm: [RunFolder(folder) for folder in table["folder"]] for arm, table in arms.items()}
    drug = {arm: [drug_ug_per_g(run) for run in found] for arm, found in runs.items()}
    carriers = {arm: [liposomes(run) for run in found] for arm, found in runs.items()}
    exposure = {arm: table["drug_tumor_auc_uM_h"] for arm, table in arms.items()}
    found = {}
    for arm in arms:
        base = UNHEATED.get(arm, "unheated")
        found[f"{arm}.drug_over_unheated"] = ratio(drug, arm, base, FIRST)
        found[f"{arm}.liposomes_over_unheated"] = ratio(carriers, arm, base, FIRST)
        found[f"{arm}.drug_rise_over_trend"] = [(c[FIRST] - c[BEFORE]) / (c[BEFORE] - c[TREND]) for c in drug[arm]]
        found[f"{arm}.topotecan_ug_per_g"] = [c[FIRST] for c in drug[arm]]
        found[f"{arm}.exposure_over_free_drug"] = list(exposure[arm] / exposure["free_drug"])
        for minute in drug[arm][0]:
            found[f"course.{arm}.{minute}"] = [c[minute] for c in drug[arm]]
    for arm, one in ONE_PULSE.items():
        found[f"{arm}.drug_over_one_pulse"] = ratio(drug, arm, one, SECOND)
        found[f"{arm}.liposomes_over_one_pulse"] = ratio(carriers, arm, one, SECOND)
    for arm in SOURCES:
        gains = zip(drug[arm], drug["two_pulses"], drug["unheated"], strict=True)
        found[f"{arm}.share_of_gain"] = [(own[FIRST] - none[FIRST]) / (both[FIRST] - none[FIRST]) for own, both, none in gains]
    for arm in PROFILES:
        for minute in (FIRST, SECOND):
            for distance_um, level in np.mean([profile_ug_per_mL(run, 60.0 * minute) for run in runs[arm]], axis=0):
                found[f"profile.{arm}.{minute}.{distance_um:g}"] = [level]
    return found


def drug_ug_per_g(run):
    """Minute -> topotecan released and in the tumour outside its blood, per g."""
    table, count = run.series, copies(run)
    table = table[(table["substance"] == DRUG) & (table["patch"] != "body")]
    amol = (table["value"] * table["patch"].map(count)).groupby(table["time_s"]).sum()
    return {round(time_s / 60): amount * UG_PER_AMOL / run.info["tumor_mass_g"] for time_s, amount in amol.items()}


def liposomes(run):
    """Minute -> carriers in the tumour outside its blood, opened or not, in percent of those injected."""
    table = amounts(run)
    held = table[table["compartment"].isin(IN_TUMOR)].groupby("time_s")["percent_id"].sum()
    return {round(time_s / 60): percent for time_s, percent in held.items()}


def ratio(levels, arm, base, minute):
    """Replicate by replicate; of the same seed, so of the same vessels. Nothing where nothing is compared with."""
    pairs = zip(levels[arm], levels[base], strict=True)
    return [own[minute] / other[minute] for own, other in pairs if other.get(minute, 0.0) > 0]


BIN_UM, FARTHEST_UM = 10.0, 80.0


def profile_ug_per_mL(run, time_s):
    """(bins, 2) distance from the nearest vessel wall and topotecan per tissue volume, outside blood."""
    fields = run.fields.isel(time=run.frame(time_s))
    lumen, voxel_um = np.asarray(fields["lumen_fraction"], float), float(run.fields.attrs["spacing_um"])
    outside = 1 - lumen - np.asarray(fields["cell_fraction"], float)
    amol = np.asarray(fields["drug_mM"] * outside * voxel_um**3 + fields["drug_bound_amol"] + fields["drug_in_cells_amol"], float)
    ends_um = run.vessels[[f"{axis}{end}_um" for end in (0, 1) for axis in "zyx"]].to_numpy(float).reshape(-1, 2, 3)
    points_um = (np.stack(np.unravel_index(np.arange(lumen.size), lumen.shape), axis=1) + 0.5) * voxel_um
    bins = np.floor(distance_to_cylinders(points_um, ends_um, run.vessels["radius_um"].to_numpy(float)) / BIN_UM).astype(int)
    near = bins < FARTHEST_UM / BIN_UM
    n = int(FARTHEST_UM / BIN_UM)
    held = np.bincount(bins[near], amol.ravel()[near], n) * UG_PER_AMOL
    tissue_mL = np.bincount(bins[near], (1 - lumen.ravel()[near]) * voxel_um**3, n) * 1e-12
    level = np.divide(held, tissue_mL, out=np.full(n, np.nan), where=tissue_mL > 0)
    return np.stack([(np.arange(n) + 0.5) * BIN_UM, level], axis=1)


def null_model(values):
    """Every ratio as likely above 1 as below, within a factor of two in two of three cases."""
    chance = list(np.exp(np.log(2) * np.random.default_rng(1).normal(size=10_000)))
    return {key: chance for key in values if "_over_" in key}


def figure(values, path):
    """Topotecan over time by arm; against the distance from the wall at the first pulse's end; the ratios with their bands."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    page = Figure(figsize=(9.6, 6.6), layout="constrained")
    grid = page.add_gridspec(2, 2, width_ratios=[1.25, 1])
    draw_courses(page.add_subplot(grid[:, 0]), values)
    draw_profiles(page.add_subplot(grid[0, 1]), values)
    draw_ratios(page.add_subplot(grid[1, 1]), values)
    FigureCanvasSVG(page).print_svg(str(path), metadata={"Date": None})


def draw_courses(axes, values):
    """Mean and range over replicates; the pulses in grey."""
    for arm, (colour, line, label) in LOOK.items():
        minutes = sorted(int(key.split(".")[2]) for key in values if key.startswith(f"course.{arm}.") and min(values[key]) > 0)
        levels = [values[f"course.{arm}.{minute}"] for minute in minutes]
        axes.plot(minutes, [np.mean(v) for v in levels], color=colour, linestyle=line, label=label, linewidth=1.6)
        axes.fill_between(minutes, [min(v) for v in levels], [max(v) for v in levels], color=colour, alpha=0.15, linewidth=0)
    for minute in (30, 90):
        axes.axvspan(minute, minute + 3, color="#bbbbbb", alpha=0.6, linewidth=0)
    axes.set(yscale="log", ylim=(1e-2, 30), xlabel="minutes after injection", ylabel="topotecan released, in the tumour (µg/g)")
    axes.set_title("Released drug over time; grey: 42 °C", fontsize=10)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper left")


def draw_profiles(axes, values):
    """At the end of the first pulse."""
    for arm in PROFILES:
        colour, line, label = LOOK[arm]
        prefix = f"profile.{arm}.{FIRST}."
        points = sorted((float(key.removeprefix(prefix)), np.mean(v)) for key, v in values.items() if key.startswith(prefix))
        axes.plot(*zip(*points, strict=True), color=colour, linestyle=line, marker="o", markersize=3, label=label)
    axes.set(
        yscale="log", ylim=(0.1, 5), xlabel="distance from the nearest vessel wall (µm)", ylabel="topotecan (µg/mL of tissue)"
    )
    axes.set_yticks([0.1, 0.3, 1, 3], ["0.1", "0.3", "1", "3"])
    axes.minorticks_off()
    axes.set_title("Against distance, at the end of the first pulse", fontsize=10)


RATIOS = {
    "drug_over_unheated": ("drug, heated\nover unheated", 1.05),
    "drug_rise_over_trend": ("rise in the frame\nof the pulse over\nthe one before", 1.5),
    "drug_over_one_pulse": ("drug, two\npulses over one", 1.05),
    "liposomes_over_unheated": ("liposomes, heated\nover unheated", 1.05),
    "liposomes_over_one_pulse": ("liposomes, two\npulses over one", 1.05),
    "exposure_over_free_drug": ("exposure over\nfree drug", 1.0),
}


def draw_ratios(axes, values):
    """Each quantity of the table, with heat and without what opens the liposome; the published band in blue."""
    for y, (name, (_, low)) in enumerate(RATIOS.items()):
        high = 25 if "free_drug" in name else 1e3
        axes.fill_betweenx(
            [y - 0.4, y + 0.4], low, high, color="#56b4e9", alpha=0.25, linewidth=0, label=None if y else "published"
        )
        for arm, marker in (("two_pulses", "o"), ("not_sensitive", "x")):
            points = values[f"{arm}.{name}"]
            told = None if y else {"o": "two pulses", "x": "not opened by heat"}[marker]
            axes.plot(points, np.full(len(points), y), marker, color=LOOK[arm][0], markersize=5, linestyle="none", label=told)
    axes.axvline(1, color="#777777", linewidth=0.8)
    axes.set_yticks(range(len(RATIOS)), [label for label, _ in RATIOS.values()], fontsize=8)
    axes.set(xscale="log", xlim=(0.3, 1e3), ylim=(len(RATIOS) + 0.2, -0.6), xlabel="ratio")
    axes.set_title("Orderings and bound, and what removes them", fontsize=10)
    axes.legend(frameon=False, fontsize=7, loc="lower center", ncols=3, columnspacing=1)
