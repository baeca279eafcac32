"""The virtual cut-off: between the largest bead of which any came through a gap of the box and the next one in the series."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from tme_sim.files.run_folder import RunFolder

TISSUES = ("wide", "narrow", "alike", "tight")
LARGEST_NM = {"wide": 2000, "narrow": 1600, "alike": 800, "tight": 400}  # the bead after the last one tried
RARE = 0.01  # a window is looked at as a whole: 1 % of what 200 nm beads did


def quantities(arms):
    """Tissue and quantity -> one value per replicate."""
    found, entered = {}, {}
    for arm, runs in arms.items():
        entered[arm] = np.array([through_gaps(RunFolder(folder)) for folder in runs["folder"]])
        found[f"{arm}.beads"] = entered[arm]
    for tissue in TISSUES:
        sizes = sorted(int(arm.split("_")[1]) for arm in entered if arm.startswith(f"{tissue}_"))
        beads = np.array([entered[f"{tissue}_{size}"] for size in sizes])
        found[f"{tissue}.cutoff_nm"] = cutoff_nm(sizes, beads > 0, LARGEST_NM[tissue])
        if 200 in sizes:
            often = beads > RARE * beads[sizes.index(200)]
            found[f"{tissue}.cutoff_of_99_percent_nm"] = cutoff_nm(sizes, often, LARGEST_NM[tissue])
    found["narrow_over_wide.cutoff"] = np.divide(found["narrow.cutoff_nm"], found["wide.cutoff_nm"])
    return found


def through_gaps(run):
    """Beads that came in through the gaps of one box."""
    series = run.series
    last = series[(series["time_s"] == series["time_s"].max()) & (series["quantity"] == "entered") & (series["route"] == "gap")]
    return float(last["value"].sum())


def cutoff_nm(sizes, passes, next_nm):
    """(replicates,) the middle between the largest size that passes and the next; half of the first where none does."""
    edges = [0, *sizes, next_nm]
    largest = [max(np.flatnonzero(column), default=-1) + 1 for column in passes.T]
    return [(edges[i] + edges[i + 1]) / 2 for i in largest]


def null_model(values):
    """Any bead of the series could be the largest that passes."""
    edges = [0, 100, 200, 400, 600, 800, 1200, 1600, 1950, 2000]
    return {"wide.cutoff_nm": [(a + b) / 2 for a, b in pairwise(edges)]}


def figure(values, path):
    """Beads through the gaps of a box against their size, in each tissue."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(5.6, 3.8), layout="constrained")
    axes = canvas.subplots()
    labels = {
        "wide": "250 nm median, up to 1 µm (X02, X03)",
        "narrow": "half as wide",
        "alike": "all 250 nm",
        "tight": "all 58 nm",
    }
    for tissue, colour, marker in zip(TISSUES, ("#d55e00", "#0072b2", "#009e73", "#666666"), "osD^", strict=True):
        arms = [
            (int(n.split("_")[1].split(".")[0]), v) for n, v in values.items() if n.startswith(f"{tissue}_") and ".beads" in n
        ]
        size, beads = zip(*sorted((size, np.mean(found)) for size, found in arms), strict=True)
        axes.plot(size, beads, f"{marker}-", color=colour, label=f"radius {labels[tissue]}")
        axes.axvline(float(np.mean(values[f"{tissue}.cutoff_nm"])), color=colour, linestyle=":", linewidth=1)
    axes.axvspan(200, 1200, color="#dddddd", zorder=0, label="cut-offs of six tumours (X11)")
    axes.set(xlabel="bead diameter (nm)", ylabel="beads through the gaps of a box in a day", yscale="symlog", ylim=(0, None))
    axes.legend(frameon=False, fontsize=7)
    FigureCanvasSVG(canvas).print_svg(str(path), metadata={"Date": None})
