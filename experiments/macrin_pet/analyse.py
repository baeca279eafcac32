"""What PET reads of tumours with more and fewer macrophages, beside the truth; which difference of their share it would tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from tme_sim.acquiring import acquire, with_readouts
from tme_sim.files.run_folder import RunFolder

READOUT = "pet_preclinical"
COARSE = ("grid=0.3 mm", "voxel=0.6 mm")  # what the small variant saves time by
SIZES_MG = (50, 100, 200, 500)
CURVES = ("card_2", "card_40", "fast_2", "fast_40")
SPREADS = (0, 7, 16, 35, 45)  # between animals, per cent: none, and the four published ones (README)
ANIMALS = (5, 10, 20)
RANGE = 38  # points of share between the poorest and the richest tumour
PERCENT = np.linspace(0, 50, 101)
BLUE, SKY, GREEN, RED = "#0072b2", "#56b4e9", "#009e73", "#d55e00"
GREY, ORANGE, PINK, BLACK = "#999999", "#e69f00", "#cc79a7", "#222222"
PLACES = {
    "blood": (RED, "blood"),
    "endothelium": (BLACK, "wall"),
    "interstitium": ("#d0d0d0", "outside cells"),
    "bound": (GREY, "bound there"),
    "tumor_cells": (SKY, "tumour cells"),
    "macrophages": (BLUE, "macrophages"),
}
SERIES = ("card", "alike", "control", "beta", "control_beta", "fast", "fast_alike", "fast_control", "fast_selective")
COLOURS = dict(zip(SERIES, (BLUE, GREY, BLACK, RED, ORANGE, GREEN, GREY, BLACK, PINK), strict=True))
TOLD = ("card", "alike", "beta", "fast", "fast_alike", "fast_selective")


def quantities(arms):
    """Arm name and quantity -> one value per replicate."""
    found = {}
    for arm, runs in arms.items():
        folders = [RunFolder(folder) for folder in runs["folder"]]
        read = pd.DataFrame([seen(run) | within(run) for run in folders])
        found |= {f"{arm}.{name}": values.to_numpy() for name, values in read.items()}
        if arm in CURVES:
            times = folders[0].times_s[1:]
            curve = [seen(folders[0], time_s) for time_s in times[:-1]] + [read.iloc[0]]
            found[f"{arm}.curve_h"] = np.array(times) / 3600
            found |= {f"{arm}.curve_{name}": [each[name] for each in curve] for name in ("pet", "true", "heart")}
    for name in SERIES:
        found |= {f"{name}.{key}": value for key, value in judged(name, found).items()}
    for name in ("card", "fast"):
        found |= {f"{name}.{key}": value for key, value in confused(name, found).items()}
    return found


def confused(name, found):
    """Slope by size of tumour; and to how many points of share twice the vessels, or ten times the volume, would look."""
    read = {key.removesuffix(".pet"): np.asarray(value) for key, value in found.items() if key.endswith(".pet")}
    made = {f"slope_{mg}mg": (read[arm_of(name, mg, 40)] - read[arm_of(name, mg, 2)]) / RANGE for mg in SIZES_MG}
    slope = found[f"{name}.slope"][0]
    made["vessels_in_points"] = (read[f"{name}_many_vessels_20"] - read[f"{name}_few_vessels_20"]) / slope
    made["size_in_points"] = (read[arm_of(name, 500, 2)] - read[arm_of(name, 50, 2)]) / slope
    return made


def arm_of(series, mg, share):
    return f"{series}_{share}" if mg == 200 else f"{series}_{mg}mg_{share}"


def image(run, time_s=None):
    """What the scanner makes of a run at a recorded time (default: the last)."""
    coarse = COARSE if run.config["variant"] == "small" else ()
    config = with_readouts(run, [READOUT], [f"readouts.{READOUT}.{word}" for word in coarse]).config
    return acquire(run, config, [time_s])[0][READOUT][0]


def region(picture, name):
    """(z, y, x) whether a voxel is the region's, and its numbers by quantity."""
    number = next(number for number, each in picture.region_names.items() if each == name)
    return picture.regions == number, {each.quantity: each.value for each in picture.quantities if each.region == name}


def seen(run, time_s=None):
    """The tumour as read and as it is, and the heart, %ID/g; by how much the tumour's mean is off by noise."""
    picture = image(run, time_s)
    where, tumor = region(picture, "tumor")
    return {
        "pet": tumor["percent_id_per_g"],
        "true": tumor["percent_id_per_g_true"],
        "suv": tumor["suv_mean"],
        "recovery": tumor["recovery"],
        "over_background": tumor["tumor_to_background"],
        "heart": region(picture, "heart")[1]["percent_id_per_g"],
        "noise_percent": 100 * float(picture.data[where].mean() / picture.layers["noise_free"][where].mean() - 1),
    }


def within(run):
    """Macrophages per mm3, and what the tumour's particles are in, per cent, at the end."""
    table = run.series[(run.series["time_s"] == run.series["time_s"].max()) & (run.series["quantity"] == "amount")]
    held = table[(table["patch"] != "body") & (table["substance"] == "nanoparticle")].groupby("compartment")["value"].sum()
    tissue = run.summary["tumor_percent_id_per_g_without_blood"] / run.summary["tumor_percent_id_per_g"]
    found = {f"in_{place}_percent": 100 * tissue * held.get(place, 0.0) / held.sum() for place in PLACES if place != "blood"}
    volume_mm3 = float((run.fields["inside"] > 0).sum()) * run.fields.attrs["spacing_um"] ** 3 / 1e9
    return found | {"in_blood_percent": 100 * (1 - tissue), "macrophages_per_mm3": len(run.agents("macrophages")) / volume_mm3}


def judged(name, found):
    """Slope, correlation and the smallest visible differences of a series, of what is read and of what is true."""
    shares = shares_of(name, found)
    made = {}
    for kind in ("pet", "true"):
        animals = [(share, value) for share in shares for value in found[f"{name}_{share}.{kind}"]]
        x, y = np.array(animals, float).T
        slope, offset = np.polyfit(x, y, 1)
        spread = np.sqrt(np.sum((y - offset - slope * x) ** 2) / max(len(x) - 2, 1))
        made |= {f"{kind}_rich_over_poor": found[f"{name}_40.{kind}"] / found[f"{name}_2.{kind}"]}
        made |= {"slope" if kind == "pet" else "true_slope": [slope], f"{kind}_residual_percent": [100 * spread / y.mean()]}
        made |= {f"{kind}_correlation": [np.corrcoef(x, y)[0, 1]]}
        for percent in SPREADS:
            total = np.hypot(spread, percent / 100 * y.mean())
            made[f"{kind}_correlation_at_{percent}"] = [correlation(slope, total)]
            made |= {f"{kind}_visible_at_{percent}_of_{n}": [visible(slope, total, n)] for n in ANIMALS}
    return made


def shares_of(series, found):
    """The shares of macrophages (%) at which a series was run."""
    arms = (key.removesuffix(".pet").rpartition("_") for key in found if key.endswith(".pet"))
    return sorted(int(share) for name, _, share in arms if name == series)


def correlation(slope, spread):
    """With the shares spread evenly over the range, and the value by the slope and normally around it."""
    signal = slope * RANGE / np.sqrt(12)
    return signal / np.hypot(signal, spread)


def visible(slope, spread, animals):
    """Points of share by which two groups must differ to be told apart, two-sided 5 %, power 80 %."""
    free = 2 * animals - 2
    return (stats.t.ppf(0.975, free) + stats.t.ppf(0.8, free)) * np.sqrt(2 / animals) * spread / abs(slope)


def figure(values, path):
    """Pictures; what is read against the share of macrophages; what it is of; over time; by size; and what it can tell."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    page = Figure(figsize=(14, 11.5), layout="constrained")
    upper, lower = page.subfigures(2, 1, height_ratios=[0.75, 1.25])
    draw_pictures(upper, pd.read_parquet(Path(path).with_name("runs.parquet")))
    (card, fast, held, time), (size, ratio, tells, differs) = lower.subplots(2, 4)
    draw_series(card, values, "as the card: 34 h in blood", [name for name in SERIES if "fast" not in name])
    draw_series(fast, values, "cleared ten times as fast: 2.7 h", [name for name in SERIES if "fast" in name])
    draw_held(held, values)
    draw_curves(time, values)
    draw_sizes(size, values)
    draw_ratios(ratio, values)
    draw_told(tells, values)
    draw_visible(differs, values)
    FigureCanvasSVG(page).print_svg(str(path), metadata={"Date": None})


def draw_pictures(page, runs):
    """Coronal planes through the tumour's middle, %ID/g: as read, and the truth on the scanner's voxels."""
    rows = runs[runs["replicate"] == 0].set_index("arm")
    for part, (name, most) in zip(page.subfigures(1, 2), {"card": 20, "fast": 4}.items(), strict=True):
        plots = part.subplots(1, 3)
        poor, rich = (image(RunFolder(rows.loc[f"{name}_{share}", "folder"])) for share in (2, 40))
        shown = {f"{name}, 2 %": (poor, poor.data), f"{name}, 40 %": (rich, rich.data)}
        shown[f"{name}, 40 %: truth"] = (rich, rich.layers["truth"])
        for axes, (title, (picture, data)) in zip(plots, shown.items(), strict=True):
            drawn = draw_plane(axes, picture, data, most)
            axes.set_title(title, fontsize=10)
        part.colorbar(drawn, ax=list(plots), label="%ID/g at the end", shrink=0.8, pad=0.01, extend="max")


def draw_plane(axes, picture, data, most):
    where, tumor = region(picture, "tumor")
    middle = round(float(np.nonzero(where)[1].mean()))
    z, _, x = (n * voxel / 1e3 for n, voxel in zip(data.shape, picture.voxel_um, strict=True))
    plane = data[:, middle] * (tumor["percent_id_per_g"] / tumor["activity"])
    whole = {"origin": "lower", "extent": (0, x, 0, z)}
    drawn = axes.imshow(plane, cmap="inferno", vmin=0, vmax=most, interpolation="nearest", **whole)
    axes.contour(where[:, middle], [0.5], colors=SKY, linewidths=0.8, **whole)
    axes.plot([2, 12], [2, 2], color="white", lw=2)
    axes.text(7, 3.2, "10 mm", color="white", ha="center", fontsize=7)
    axes.set(xticks=[], yticks=[])
    return drawn


def words(series):
    return series.replace("beta", "β = 1").replace("control", "no uptake").replace("_", ", ")


def draw_series(axes, values, title, names):
    for name in names:
        colour, shares = COLOURS[name], shares_of(name, values)
        style = "^:" if "control" in name else "s--" if "alike" in name else "o-"
        read, true = ([values[f"{name}_{share}.{kind}"] for share in shares] for kind in ("pet", "true"))
        bars = {"fmt": style, "color": colour, "ms": 4, "capsize": 2, "label": words(name)}
        axes.errorbar(shares, np.mean(read, axis=1), np.std(read, axis=1), **bars)
        axes.plot(shares, np.mean(true, axis=1), style[0], color=colour, ms=4, mfc="none")
    axes.plot([], [], "o", color=BLACK, mfc="none", ms=4, label="open: the truth")
    axes.set(xlabel="macrophages, of the cells (%)", ylabel="tumour at the end, %ID/g", title=title)
    axes.set_ylim(0, 1.75 * axes.get_ylim()[1])
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def draw_held(axes, values):
    arms = {
        "card_2": "card\n2 %",
        "card_40": "card\n40 %",
        "beta_40": "β = 1\n40 %",
        "fast_2": "fast\n2 %",
        "fast_40": "fast\n40 %",
    }
    below = np.zeros(len(arms))
    for place, (colour, words) in PLACES.items():
        found = np.array([np.mean(values[f"{arm}.in_{place}_percent"]) for arm in arms])
        axes.bar(list(arms.values()), found, bottom=below, color=colour, label=words, width=0.7)
        below += found
    axes.set(ylabel="of the tumour's particles (%)", ylim=(0, 155), title="what the signal is of", yticks=range(0, 101, 25))
    axes.tick_params(axis="x", labelsize=8)
    axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)


def draw_curves(axes, values):
    for arm, colour, style in zip(CURVES, (BLUE, BLUE, GREEN, GREEN), ("--", "-", "--", "-"), strict=True):
        name, share = arm.split("_")
        looks = {"color": colour, "ls": style, "marker": "o", "ms": 3}
        axes.plot(values[f"{arm}.curve_h"], values[f"{arm}.curve_pet"], label=f"{name}, {share} %", **looks)
        if share == "40":
            axes.plot(values[f"{arm}.curve_h"], values[f"{arm}.curve_heart"], color=colour, ls=":", label=f"{name}, heart")
    axes.set(xlabel="hours after injection", ylabel="as read, %ID/g", title="over time")
    axes.set_ylim(0, 1.4 * axes.get_ylim()[1])
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper left")


def draw_sizes(axes, values):
    for name, colour in (("card", BLUE), ("fast", GREEN)):
        for share, style in ((2, "--"), (40, "-")):
            found = [np.mean(values[f"{arm_of(name, mg, share)}.recovery"]) for mg in SIZES_MG]
            axes.plot(SIZES_MG, found, color=colour, ls=style, marker="o", ms=4, label=f"{name}, {share} %")
    axes.axhline(1, color="#555555", lw=1)
    axes.set(xscale="log", xlabel="tumour (mm³)", ylabel="read over true, without noise", ylim=(0.5, 1.5), title="partial volume")
    axes.set_xticks(SIZES_MG, SIZES_MG)
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)


def draw_ratios(axes, values):
    axes.axvspan(5, 12, color=RED, alpha=0.15, lw=0, label="S50 (not judged here)")
    for n, name in enumerate(SERIES):
        for kind, colour, label in (("true", BLACK, "the truth"), ("pet", BLUE, "as read")):
            found, looks = values[f"{name}.{kind}_rich_over_poor"], "s" if kind == "true" else "o"
            axes.plot(
                np.mean(found), n, looks, color=colour, mfc="none" if kind == "true" else colour, label=None if n else label
            )
    axes.axvline(1, color="#555555", lw=1)
    axes.set_yticks(range(len(SERIES)), [words(name) for name in SERIES], fontsize=8)
    axes.set(
        xscale="log", xlim=(0.9, 14), xlabel="40 % over 2 % macrophages", ylim=(len(SERIES) + 1.4, -0.6), title="rich over poor"
    )
    axes.set_xticks([1, 2, 5, 10], [1, 2, 5, 10])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=8, loc="lower right")


def spread_of(name, values):
    """Slope, and the spread between animals (%ID/g) at 0 to 50 % of the mean."""
    mean = np.mean([each for share in shares_of(name, values) for each in values[f"{name}_{share}.pet"]])
    return values[f"{name}.slope"][0], mean / 100 * np.hypot(values[f"{name}.pet_residual_percent"][0], PERCENT)


def draw_told(axes, values):
    for name in TOLD:
        style = {"alike": ":", "fast_alike": "--"}.get(name, "-")
        axes.plot(PERCENT, correlation(*spread_of(name, values)), style, color=COLOURS[name], label=words(name))
    over_spread(axes)
    axes.set(ylim=(0, 1.75), yticks=np.arange(0, 1.1, 0.25), ylabel="correlation with the share", title="what it tells")
    axes.legend(frameon=False, fontsize=8, loc="upper right", title="alike: the null", title_fontsize=8)


def draw_visible(axes, values):
    for name in [name for name in TOLD if "alike" not in name]:
        least, most = (visible(*spread_of(name, values), n) for n in (20, 5))
        axes.fill_between(PERCENT, least, most, color=COLOURS[name], alpha=0.35, lw=0, label=words(name))
    over_spread(axes)
    axes.axhline(RANGE, color=BLACK, lw=1)
    axes.text(1, RANGE * 1.1, "the whole range", fontsize=8)
    axes.set(yscale="log", ylim=(1, 3e3), ylabel="smallest visible difference (points)", title="groups of 5 to 20 animals")
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def over_spread(axes):
    for spread in SPREADS[1:]:
        axes.axvline(spread, color="#bbbbbb", lw=1, zorder=0)
    axes.set(xlim=(0, 50), xlabel="spread (%); grey lines: published")
