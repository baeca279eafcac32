"""Permeability by route, the active share, what is left without the active route, and the map of gap area and open time."""

from __future__ import annotations

from math import pi
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from tme_sim.analysis.influx import permeabilities_um_per_s
from tme_sim.analysis.plausibility import internal
from tme_sim.files.run_folder import RunFolder
from tme_sim.state.pores import Filtration, Passage, driving_pressure_mmHg, sphere_radius_um, two_way_um3_per_s

SIZES = (15, 50, 100)
X14_CM, X21_CM, X01_PERCENT = 2.8e-7, 1.3e-8, 90.0
MARKS = ("nm50_on", "map_few", "map_many", "map_x03_tenth_open", "map_many_tenth_open")
FLOW = "nm50_flow"
PRESSURES = ("vessel_pressure", "vessel_oncotic_pressure", "tissue_oncotic_pressure", "oncotic_reflection")


class Wall(NamedTuple):
    """The wall that a run was configured with: its gaps, what passes one, surface per volume of tissue, and what drives fluid."""

    gap_area: float
    radius_um: float
    passage: Passage
    surface_per_um: float
    filtration: Filtration


def quantities(arms):
    """Arm name and quantity -> one value per replicate."""
    found = {}
    for arm, runs in arms.items():
        routes = [permeabilities_um_per_s(RunFolder(folder)) for folder in runs["folder"]]
        gap, active = (1e-4 * np.array([by[route] for by in routes]) for route in ("gap", "transcytosis"))
        name = arm.removesuffix("_on")
        found[f"{name}.permeability_cm_per_s"] = gap + active
        found[f"{name}.gap_permeability_cm_per_s"] = gap
        found[f"{name}.active_share_percent"] = 100 * active / (gap + active)
    for size in SIZES:
        on, off = (arms[f"nm{size}_{state}"]["tumor_percent_id_per_g_without_blood"] for state in ("on", "off"))
        found[f"nm{size}.residual_percent"] = 100 * off / on
        found[f"nm{size}.active_share_percent_without_transcytosis"] = found.pop(f"nm{size}_off.active_share_percent")
    wall = wall_of(RunFolder(arms[FLOW]["folder"].iloc[0]).config)
    found["gaps.conductivity_cm_per_mmHg_s"] = [1e-4 * conductivity_um_per_mmHg_s(wall, wall.gap_area)]
    return found


def null_model(values):
    """Shares that could be anything."""
    anything = list(np.linspace(0, 100, 101))
    return {name: anything for name in values if name.endswith(("active_share_percent", "residual_percent"))}


def wall_of(config):
    """The wall of a run with leaking fluid, from its resolved configuration."""
    flow, gaps, tissue = config["processes"]["interstitial_flow"], config["processes"]["gaps"], config["tissue"]
    filtration = Filtration(
        driving_pressure_mmHg(*(internal(flow[name]) for name in PRESSURES)),
        internal(tissue["matrix"]["hydraulic_conductivity"]),
        internal(flow["wall_conductivity"]),
        internal(flow["edge_pressure"]),
        sphere_radius_um(internal(tissue["tumor_mass"]), internal(tissue["density"])),
    )
    diameter_um = internal(config["nanoparticle"]["hydrodynamic_diameter"])
    passage = Passage(internal(gaps["wall_length"]), diameter_um / 2, 0.0, filtration)
    return Wall(
        internal(gaps["area_fraction"]), internal(gaps["pore_radius"]), passage, internal(tissue["vessel_surface"]), filtration
    )


def sites(config):
    """Area of all gap sites over that of the wall, and the share of the time that they are open."""
    if "bursts" not in config["processes"]:
        return internal(config["processes"]["gaps"]["area_fraction"]), 1.0
    keys = ("sites", "smallest_radius", "opening_rate", "open_time")
    per_um2, radius_um, opening_per_s, open_s = (internal(config["processes"]["bursts"][key]) for key in keys)
    return per_um2 * pi * radius_um**2, opening_per_s * open_s / (1 + opening_per_s * open_s)


def conductivity_um_per_mmHg_s(wall, open_area):
    """Lp of the wall with gaps open over this share of it."""
    per_um2 = np.asarray(open_area) / (pi * wall.radius_um**2)
    return wall.filtration.wall_um_per_mmHg_s + per_um2 * wall.passage.leak_um3_per_mmHg_s(np.array([wall.radius_um]))[0]


def flow_permeability_cm(wall, open_area, diffusive_cm):
    """Influx through gaps open over this share of the wall, with the mean pressure drop of the tumour."""
    radius, per_um2 = np.array([wall.radius_um]), open_area / (pi * wall.radius_um**2)
    drop = wall.filtration.mean_drop_mmHg(float(conductivity_um_per_mmHg_s(wall, open_area)) * wall.surface_per_um)
    carried = wall.passage.carried_um3_per_mmHg_s(radius)
    into, _ = two_way_um3_per_s(np.array([diffusive_cm * 1e4 / per_um2]), carried * drop)
    return 1e-4 * per_um2 * float(into[0])


def figure(values, path):
    """Left: permeability by size and route. Right: the map; colour is the active share at 50 nm without a flow."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    mean = {name: float(np.mean(found)) for name, found in values.items() if len(found)}
    table = pd.read_parquet(Path(path).with_name("runs.parquet"))
    configs = {arm: RunFolder(rows["folder"].iloc[0]).config for arm, rows in table[table["status"] == "done"].groupby("arm")}
    canvas = Figure(figsize=(9.2, 3.9), layout="constrained")
    left, right = canvas.subplots(1, 2, width_ratios=[1, 1.25])
    gap = [mean[f"nm{size}.gap_permeability_cm_per_s"] for size in SIZES]
    total = [mean[f"nm{size}.permeability_cm_per_s"] for size in SIZES]
    left.plot(SIZES, gap, "o-", color="#0072b2", label="through gaps (X03), diffusion")
    left.plot(SIZES, np.subtract(total, gap), "s-", color="#d55e00", label="transcytosis")
    left.plot([100], [X21_CM], "k*", markersize=11, label="X21, liposome: fitted")
    left.set(xlabel="diameter (nm)", ylabel="permeability (cm/s)", yscale="log")
    left.legend(frameon=False, fontsize=8)
    draw_map(canvas, right, mean, configs)
    FigureCanvasSVG(canvas).print_svg(str(path), metadata={"Date": None})


def draw_map(canvas, axes, mean, configs):
    """Active share over the area of gap sites and the share of the time that they are open, with what was measured."""
    area, is_open = np.meshgrid(np.logspace(-5, -2, 61), np.logspace(-4, 0, 61))
    wall = wall_of(configs[FLOW])
    per_area = mean["nm50.gap_permeability_cm_per_s"] / wall.gap_area
    active = mean["nm50.permeability_cm_per_s"] - mean["nm50.gap_permeability_cm_per_s"]
    share = 100 * active / (active + per_area * area * is_open)
    mesh = axes.pcolormesh(area, is_open, share, cmap="cividis", vmin=0, vmax=100, shading="gouraud", rasterized=True)
    canvas.colorbar(mesh, ax=axes, label="active share of entry at 50 nm, no flow (%)")
    open_area = area * is_open
    with_flow = np.vectorize(lambda a: flow_permeability_cm(wall, a, per_area * a))(open_area)
    lines = (
        (share, X01_PERCENT, "white", "90 % active (X01)"),
        (1e-4 * conductivity_um_per_mmHg_s(wall, open_area), X14_CM, "#56b4e9", "Lp of X14"),
        (with_flow, X21_CM, "#9c179e", "with the leaking fluid, gaps alone are X21"),
    )
    for values, level, colour, label in lines:
        axes.contour(area, is_open, values, [level], colors=[colour], linewidths=1.8)
        axes.plot([], [], color=colour, linewidth=1.8, label=label)
    for arm in MARKS:
        simulated = mean[f"{arm.removesuffix('_on')}.active_share_percent"]
        style = {"cmap": "cividis", "vmin": 0, "vmax": 100, "s": 70, "edgecolors": "white", "linewidths": 1.2, "zorder": 3}
        axes.scatter(*sites(configs[arm]), c=[simulated], **style)
    axes.scatter([], [], c="#888888", s=50, edgecolors="white", label="simulated")
    axes.plot(wall.gap_area, 1.0, "r*", markersize=9, zorder=4, clip_on=False, label="counted (X03)")
    axes.set(xscale="log", yscale="log", xlabel="share of the wall that gaps take when open", ylabel="share of the time open")
    axes.legend(fontsize=7, loc="lower left", facecolor="#444444", labelcolor="white", framealpha=0.85)
