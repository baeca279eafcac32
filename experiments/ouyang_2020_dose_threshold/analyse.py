"""Liver share, half-time in plasma, share of the tumour cells reached, and the dose at which delivery has doubled."""

from __future__ import annotations

import numpy as np

from tme_sim.files.run_folder import RunFolder

MODELS = {"rate": ("#0072b2", "o", "the rate saturates"), "capacity": ("#d55e00", "s", "room fills")}
LIVER = ("kupffer", "liver_endothelium")
PARTIAL = ("knee_particles", "half_time_h")  # a replicate may have none


def quantities(arms):
    """Arm name and quantity -> one value per replicate that has it, and in how many it is missing."""
    found = {}
    for arm, runs in arms.items():
        folders = [RunFolder(folder) for folder in runs["folder"]]
        found[f"{arm}.half_time_h"] = [half_time_h(run) for run in folders]
        found[f"{arm}.liver_percent_id"] = [100 * amounts(run, LIVER).iloc[-1] / run.summary["injected"] for run in folders]
        if all((run.folder / "agents").exists() for run in folders):
            found[f"{arm}.tumor_cells_reached_percent"] = [reached_percent(run) for run in folders]
    for model in MODELS:
        doses = sorted(float(arm.split("_")[1]) for arm in arms if arm.startswith(f"{model}_"))
        shares = np.array([arms[f"{model}_{name(dose)}"]["tumor_percent_id"] for dose in doses])
        found[f"{model}.knee_particles"] = [knee(doses, column) for column in shares.T]
    has = {key: np.isfinite(np.asarray(values, float)) for key, values in found.items()}
    missing = {f"{key}_missing": [float(np.sum(~has[key]))] for key in found if key.endswith(PARTIAL)}
    return {key: np.asarray(values)[has[key]] for key, values in found.items()} | missing


def amounts(run, compartments):
    """Carriers of the body in these compartments against time in hours."""
    series = run.series
    body = series[(series["patch"] == "body") & series["compartment"].isin(compartments) & (series["quantity"] == "amount")]
    found = body.groupby("time_s")["value"].sum()
    found.index = found.index / 3600
    return found


def half_time_h(run):
    """When half of the dose has left plasma, straight in the logarithm between records; not a number where it has not."""
    plasma = amounts(run, ["plasma"])
    left = plasma.to_numpy() / run.summary["injected"]
    left[0] = 1.0  # the dose comes with the first step, after the first record
    below = np.flatnonzero(left <= 0.5)
    if len(below) == 0:
        return float("nan")
    at = [below[0], below[0] - 1]
    return float(np.interp(np.log(0.5), np.log(left[at]), plasma.index[at]))


def reached_percent(run):
    """Tumour cells with a particle at the end; of an expected number N it is there with the chance 1 - exp(-N) of Poisson."""
    held = run.agents("tumor_cells").filter(regex="^(cargo|lysosome)_").sum(axis=1)
    return float(100 * np.mean(-np.expm1(-held)))


def knee(doses, shares):
    """The dose at which the share is twice that of the smallest dose, straight in the logarithms between doses."""
    above = np.flatnonzero(shares >= 2 * shares[0])
    if len(above) == 0:
        return float("nan")
    i = above[0]
    return float(np.exp(np.interp(np.log(2 * shares[0]), np.log(shares[[i - 1, i]]), np.log([doses[i - 1], doses[i]]))))


def name(dose):
    return f"1e{round(np.log10(dose))}"


def null_model(values):
    """Any published nanoparticle: log-normal %ID of median 0.70 and mean 1.48 (P01); any share of the cells."""
    any_particle = 0.7 * np.exp(np.sqrt(2 * np.log(1.48 / 0.7)) * np.random.default_rng(1).normal(size=10_000))
    chance = {key: list(any_particle) for key in values if key.endswith(".tumor_percent_id")}
    return chance | {key: list(np.linspace(0, 100, 101)) for key in values if key.endswith(".tumor_cells_reached_percent")}


def figure(values, path):
    """Liver share and tumour share against the dose under both hypotheses, with what was published."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(9.2, 3.6), layout="constrained")
    left, right = canvas.subplots(1, 2)
    for model, (colour, marker, label) in MODELS.items():
        for axes, quantity in ((left, "liver_percent_id"), (right, "tumor_percent_id")):
            arms = {float(key.split("_")[1].split(".")[0]): found for key, found in values.items() if is_of(key, model, quantity)}
            dose = sorted(arms)
            mean, sd = ([float(f(arms[d])) for d in dose] for f in (np.mean, np.std))
            axes.errorbar(dose, mean, sd, fmt=f"{marker}-", color=colour, label=label)
        right.axvline(float(np.mean(values[f"{model}.knee_particles"])), color=colour, linestyle=":", linewidth=1)
    linear = float(np.mean(values["linear_1e14.tumor_percent_id"]))
    right.plot([1e14], [linear], "k^", markersize=8, label="nothing saturates")
    right.axvspan(0.5e12, 3e12, color="#dddddd", zorder=0, label="threshold (S110, fitted)")
    right.plot([1e8, 5e11], [0.7, 0.7], "k--", linewidth=1, label="published (S111)")
    right.plot([5e13, 1e14], [12, 12], "k--", linewidth=1)
    left.set(xlabel="dose (particles)", ylabel="liver (% of dose)", xscale="log", ylim=(0, 100))
    right.set(xlabel="dose (particles)", ylabel="tumour (% of dose)", xscale="log", yscale="log", ylim=(0.2, 20))
    right.legend(frameon=False, fontsize=8, loc="upper left")
    FigureCanvasSVG(canvas).print_svg(str(path), metadata={"Date": None})


def is_of(key, model, quantity):
    return key.startswith(f"{model}_") and key.endswith(f".{quantity}")
