"""Docetaxel in micelles and outside them in the tumour, in ng per mg over time; and what the micelles in plasma still hold."""

from __future__ import annotations

import numpy as np

from tme_sim.files.run_folder import RunFolder

CHECKED_H = (1, 6, 24, 48, 96, 168)
IN_TUMOR = ("interstitium", "bound", "endothelium", "macrophages", "tumor_cells")
DRUG_IN_TUMOR = ("interstitium", "bound", "cells")
NG_PER_G = 1e9
ENTRAPPED = dict(zip(CHECKED_H, (0.88, 0.69, 0.48, 0.30, 0.114, 0.027), strict=True))  # S78
UNRELEASED = {"auc": (1014.3, 700, 1320), "cmax": (3.45, 2.4, 4.5), "tmax": (130.9, 96, 168)}  # S81 and its bands
RELEASED = {"auc": (193.6, 100, 290), "cmax": (1.09, 0.5, 1.7), "tmax": (40.8, None, None)}  # S82; its Tmax is ± 40 h
SOURCES = {"": "both", "_no_release": "none released\nin the tumour", "_no_plasma": "none from\nblood"}
SENSITIVITY = {"_release_third": "a third", "": "S79", "_release_x3": "times three"}
KINDS = {"card": ("#0072b2", "as the card"), "deep": ("#d55e00", "as S84's deep compartment")}


def quantities(arms):
    """Arm name and quantity -> one value per replicate."""
    found = {}
    for arm, runs in arms.items():
        measured = [measures(RunFolder(folder)) for folder in runs["folder"]]
        found |= {f"{arm}.{key}": [each[key] for each in measured] for key in measured[0]}
    total = {arm: np.add(found[f"{arm}.unreleased_auc"], found[f"{arm}.released_auc"]) for arm in arms}
    found["deep.total_over_plain_drug"] = total["deep"] / total["deep_plain_drug"]
    found["deep.released_over_plain_drug"] = np.divide(found["deep.released_auc"], found["deep_plain_drug.released_auc"])
    return found | courses(arms)


def measures(run):
    """Name and value of what one run's courses come to."""
    hours, unreleased, released, entrapped, carriers, plasma = course(run)
    area = {"unreleased": np.trapezoid(unreleased, hours), "released": np.trapezoid(released, hours)}
    found = {f"{name}_auc": value for name, value in area.items()} | {"plasma_drug_auc_ug_h_per_mL": np.trapezoid(plasma, hours)}
    for name, level in (("unreleased", unreleased), ("released", released)):
        found |= {f"{name}_cmax": level.max(), f"{name}_tmax": hours[level.argmax()]}
    found["released_share"] = area["released"] / (area["unreleased"] + area["released"])
    found |= {f"entrapped_{hour}": np.interp(hour, hours, entrapped) for hour in CHECKED_H}
    found["carrier_half_life"] = half_life(hours, carriers, 6, 340)
    found["release_half_life"] = half_life(hours, entrapped, 6, 168)
    return {name: float(value) for name, value in found.items()}


def half_life(hours, level, first, last):
    """Hours in which a level halves between two times; not a number where it is gone."""
    high, low = np.interp([first, last], hours, level)
    return np.log(2) * (last - first) / np.log(high / low) if low > 0 else np.nan


def course(run):
    """Hours; ng/mg in micelles and outside them in the tumour; share of plasma's micelles that are loaded; their number; and the
    drug outside micelles in plasma, ug/mL. All by the run's own masses: the dose over its particles, the tumour over its copies.
    """
    rows = run.series[run.series["quantity"] == "amount"]
    body, tissue = rows["patch"] == "body", rows["patch"] != "body"
    carrier, loaded = rows["substance"] == "nanoparticle", rows["form"] == "loaded"
    ng_per_particle = NG_PER_G * number(run, "protocol", "dose") / run.info["dose_particles"]
    ng_per_amol = NG_PER_G * 1e-18 * number(run, "drug", "molar_mass")
    instance_mg = 1e3 * run.info["tumor_mass_g"] / run.info["patches"][0]["copies"]
    central_mL = number(run, "body", "plasma_volume") * 1e3 * run.config["drug"]["transport"]["central_volumes"]

    def over_time(which):
        return rows[which].groupby("time_s")["value"].sum()

    in_tumor = over_time(tissue & carrier & loaded & rows["compartment"].isin(IN_TUMOR))
    outside = over_time(tissue & ~carrier & rows["compartment"].isin(DRUG_IN_TUMOR))
    in_plasma = rows["compartment"] == "plasma"
    held, carriers = over_time(body & carrier & in_plasma & loaded), over_time(body & carrier & in_plasma)
    plasma = over_time(body & ~carrier & in_plasma) * ng_per_amol / 1e3 / central_mL
    entrapped = np.divide(held, carriers, out=np.ones(len(held)), where=carriers.to_numpy() > 0)
    return (
        in_tumor.index.to_numpy() / 3600,
        in_tumor.to_numpy() * ng_per_particle / instance_mg,
        outside.to_numpy() * ng_per_amol / instance_mg,
        np.asarray(entrapped),
        carriers.to_numpy(),
        plasma.to_numpy(),
    )


def number(run, section, key):
    """A recorded quantity in g, L or g/mol."""
    amount, unit = str(run.config[section][key]).split()
    return float(amount) * {"g": 1.0, "um^3": 1e-15, "g/mol": 1.0}[unit]


def courses(arms):
    """Kind of level, arm and hour -> its value in each replicate, for the figure; every fourth hour."""
    found = {}
    for arm in ("card", "deep"):
        for folder in arms[arm]["folder"]:
            hours, unreleased, released, entrapped, _, _ = course(RunFolder(folder))
            for name, level in (("unreleased", unreleased), ("released", released), ("entrapped", entrapped)):
                for hour, value in zip(hours, level, strict=True):
                    if hour % 4 == 0 or hour == 1:
                        found.setdefault(f"course.{arm}.{name}.{hour:g}", []).append(float(value))
    return found


def null_model(values):
    """Any share released, evenly; any maximum or AUC outside micelles over four decades, evenly in the logarithm."""
    chance = {
        "released_share": list(np.linspace(0, 1, 1001)),
        "released_cmax": list(np.logspace(-2, 2, 1001)),
        "released_auc": list(np.logspace(0, 4, 1001)),
    }
    return {key: chance[key.split(".")[1]] for key in values if key.split(".")[1] in chance}


def figure(values, path):
    """Micelles in plasma; docetaxel in the tumour in micelles and outside; where the latter came from, and against S79's rate."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    page = Figure(figsize=(9.6, 7.0), layout="constrained")
    (plasma, unreleased), (released, sources) = page.subplots(2, 2)
    hours, level = line(values, "card", "entrapped")
    plasma.plot(hours, level, color="#0072b2", label="simulated")
    plasma.plot(list(ENTRAPPED), list(ENTRAPPED.values()), "o", mfc="white", color="#222222", label="published rates (S76, S78)")
    plasma.set(
        yscale="log", xlim=(0, 200), ylim=(0.01, 1.3), ylabel="loaded, of micelles in plasma", title="Given: release in plasma"
    )
    hours, level = line(values, "card", "unreleased")
    unreleased.plot(hours, level, color="#0072b2", label="simulated")
    peak(unreleased, UNRELEASED)
    unreleased.set(ylim=(0, 5), ylabel="in micelles (ng/mg)", title="Tumour, in micelles: AUC fitted to S81")
    for kind, (colour, words) in KINDS.items():
        released.plot(*line(values, kind, "released"), color=colour, label=f"held {words}")
    peak(released, RELEASED)
    released.set(
        yscale="log", ylim=(1e-3, 10), ylabel="outside micelles (ng/mg)", title="Tumour, outside micelles: predicted (S82)"
    )
    for axes in (plasma, unreleased, released):
        axes.set(xlabel="hours after the dose")
        axes.legend(frameon=False, fontsize=8)
    draw_sources(sources, values)
    FigureCanvasSVG(page).print_svg(str(path), metadata={"Date": None})


def line(values, arm, name):
    """Hours and the replicates' mean of one course."""
    prefix = f"course.{arm}.{name}."
    at = {float(key.removeprefix(prefix)): np.mean(found) for key, found in values.items() if key.startswith(prefix)}
    return sorted(at), [at[hour] for hour in sorted(at)]


def peak(axes, published):
    """The published maximum at its time, and its band."""
    level, low, high = published["cmax"]
    axes.axhspan(low, high, color="#999999", alpha=0.25, lw=0, label="published maximum, band")
    axes.plot([published["tmax"][0]], [level], "o", mfc="white", color="#222222", label="published maximum at its time")


def draw_sources(axes, values):
    """AUC outside micelles with each source removed, and with S79's rate times and over three."""
    arms = {**SOURCES, **{key: f"S79\n{words}" for key, words in SENSITIVITY.items() if key}}
    axes.axhspan(*RELEASED["auc"][1:], color="#999999", alpha=0.25, lw=0, label="published (S82)")
    for n, (kind, (colour, words)) in enumerate(KINDS.items()):
        for x, arm in enumerate(arms):
            points = values[f"{kind}{arm}.released_auc"]
            at, label = x + (n - 0.5) * 0.36, None if x else f"held {words}"
            axes.bar(at, np.mean(points), 0.34, color=colour, alpha=0.65, label=label)
            axes.plot(np.full(len(points), at), points, "D", color="#222222", markersize=2.5)
    axes.set_xticks(range(len(arms)), list(arms.values()), fontsize=8)
    axes.set(yscale="log", ylim=(0.3, 3000), ylabel="AUC outside micelles (ng h/mg)", title="Where it came from")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
