"""Permeability of the wall and depth of the probe in the tissue, against its size."""

from __future__ import annotations

import numpy as np

from tme_sim.analysis.influx import permeabilities_um_per_s
from tme_sim.analysis.profiles import penetration
from tme_sim.files.run_folder import RunFolder

DEPTHS = ("20", "60", "100")
FINE = ("fine1", "fine2", "fine3")


def quantities(arms):
    """Arm name and quantity -> one value per replicate."""
    found = {}
    for arm, runs in arms.items():
        folders = [RunFolder(folder) for folder in runs["folder"]]
        by_route = [permeabilities_um_per_s(run) for run in folders]
        found[f"{arm}.permeability_cm_per_s"] = [1e-4 * sum(p.values()) for p in by_route]
        found[f"{arm}.gap_permeability_cm_per_s"] = [1e-4 * p["gap"] for p in by_route]
        if (folders[0].folder / "fields.zarr").exists():
            found[f"{arm}.depth_um"] = [mean_distance_um(run) for run in folders]
    found["depth_falls_with_size"] = falls(found, "fine3")
    found["depth_falls_with_size_where_diffusivities_are_alike"] = falls(found, "alike")
    return found


def falls(found, arm):
    """1 for each replicate in which the depth falls from size to size, by more than the voxels change it at any size."""
    depth = {name: np.array([found[f"{name}_{size}.depth_um"] for size in DEPTHS]) for name in (*FINE, arm)}
    unresolved = np.ptp([depth[name] for name in FINE], axis=0).max(axis=0)
    return (np.diff(depth[arm], axis=0) < -unresolved).all(axis=0).astype(float)


def null_model(values):
    """Three depths in any order: one of six falls."""
    return {"depth_falls_with_size": [1, 0, 0, 0, 0, 0]}


def mean_distance_um(run):
    """Mean distance of the carriers in the tissue from the vessels at the end."""
    profile = penetration(run)
    held = np.sum(list(profile.carriers.values()), axis=0)
    return float((held * profile.distance_um).sum() / held.sum())


def figure(values, path):
    """Left: permeability against size in both tissues with what was measured. Right: depth at three refinements."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(9.2, 3.6), layout="constrained")
    left, right = canvas.subplots(1, 2)
    styles = (("leaky", "#d55e00", "o-", "leaky: pores of 346 nm"), ("tight", "#0072b2", "s-", "tight: as many of 58 nm"))
    for tissue, colour, line, label in styles:
        size, mean, sd = series(values, tissue, "permeability_cm_per_s")
        left.errorbar(size, mean, sd, fmt=line, color=colour, label=label)
        size, mean, _ = series(values, tissue, "gap_permeability_cm_per_s")
        left.plot(size, np.where(mean > 1e-12, mean, np.nan), ":", color=colour)
    left.plot([], [], "k:", label="through gaps alone")
    left.plot([7, 100], [6.6e-8, 1.3e-8], "k*", markersize=11, label="X21: fitted")
    left.errorbar([9.4, 90], [2.8e-7, 2e-8], [[1.7e-7, 1.2e-8], [4.2e-7, 3e-8]], fmt="kD", capsize=3, label="X23: not fitted")
    left.set(xlabel="diameter (nm)", ylabel="permeability (cm/s)", yscale="log", ylim=(1e-11, 1e-6))
    left.legend(frameon=False, fontsize=8)
    for arm, colour, marker, label in (
        ("fine1", "#000000", "o", 15),
        ("fine2", "#56b4e9", "s", 7.5),
        ("fine3", "#009e73", "^", 5),
    ):
        size, mean, sd = series(values, arm, "depth_um")
        right.errorbar(size, mean, sd, fmt=f"{marker}-", color=colour, label=f"voxels of {label} µm")
    size, mean, _ = series(values, "alike", "depth_um")
    right.plot(size, mean, ":", color="#009e73", label="5 µm, diffusivity of 60 nm at every size")
    right.set(xlabel="diameter (nm)", ylabel="mean distance from the vessels (µm)", ylim=(0, None))
    right.legend(frameon=False, fontsize=8)
    FigureCanvasSVG(canvas).print_svg(str(path), metadata={"Date": None})


def series(values, prefix, quantity):
    """Sizes in nm, mean and standard deviation of a quantity over the arms `prefix_SIZE`."""
    rows = []
    for name, found in values.items():
        arm, _, what = name.partition(".")
        if arm.startswith(f"{prefix}_") and what == quantity:
            rows.append((float(arm.split("_")[1].replace("p", ".")), np.mean(found), np.std(found)))
    return np.array(sorted(rows)).T
