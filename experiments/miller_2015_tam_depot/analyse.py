"""What is left of particles, drug in tumour cells and dead cells when nine in ten macrophages are removed."""

from __future__ import annotations

import numpy as np

from tme_sim.files.run_folder import RunFolder

CASES = {"depot": "", "kept": "_kept", "stable": "_stable", "leaky": "_leaky", "alike": "_alike"}
WORDS = {
    "depot": "depot",
    "kept": "no release\nfrom them",
    "stable": "depot, none\nin blood",
    "leaky": "depot, and\nβ = 0.3",
    "alike": "as tumour\ncells (null)",
}
MEASURES = {"particles": "particles in the tumour", "exposure": "drug in tumour cells", "dead": "dead tumour cells"}
COLOURS = {"particles": "#0072b2", "exposure": "#009e73", "dead": "#d55e00"}


def quantities(arms):
    """Arm name and quantity -> one value per replicate."""
    found = {}
    for arm, runs in arms.items():
        found[f"{arm}.particles"] = runs["tumor_percent_id"].to_numpy()
        found[f"{arm}.dead"] = runs["dead_fraction"].to_numpy()
        found[f"{arm}.exposure"] = np.array([exposure_nM_h(RunFolder(folder)) for folder in runs["folder"]])
    for case, arm in CASES.items():
        for measure in MEASURES:
            depleted, intact = found[f"depleted{arm}.{measure}"], found[f"intact{arm}.{measure}"]
            ratio = np.divide(depleted, intact, out=np.full(len(intact), np.nan), where=intact > 0)  # in small runs none may die
            found[f"{case}.{measure}_depleted_over_intact"] = ratio[np.isfinite(ratio)]
    return found


def exposure_nM_h(run):
    """Mean over tumour cells of the integral of the free drug with which each was in balance."""
    return float(1e6 / 3600 * run.agents("tumor_cells")["drug_exposure_mM_s"].mean())


def figure(values, path):
    """Each measure with macrophages removed over that with them, for what macrophages may do."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    page = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = page.subplots()
    axes.axhspan(0, 0.95, color="#d55e00", alpha=0.1, lw=0, label="published sign (C10)")
    axes.axhline(1, color="#555555", lw=1)
    for n, (measure, words) in enumerate(MEASURES.items()):
        for x, case in enumerate(CASES):
            points = values[f"{case}.{measure}_depleted_over_intact"]
            if len(points) == 0:
                continue
            label = None if x else words
            axes.bar(x + (n - 1) * 0.25, np.mean(points), 0.22, color=COLOURS[measure], alpha=0.6, label=label)
            axes.plot(np.full(len(points), x + (n - 1) * 0.25), points, "D", color="#222222", markersize=3)
    axes.set_xticks(range(len(CASES)), [WORDS[case] for case in CASES])
    axes.set(ylabel="2 % macrophages over 20 %", ylim=(0, 1.35))
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper left")
    FigureCanvasSVG(page).print_svg(str(path), metadata={"Date": None})
