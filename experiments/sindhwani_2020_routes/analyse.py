"""Permeability by route, the active share, what is left without the active route, and the map of gap area and open time."""

from __future__ import annotations

from math import pi

import numpy as np

from tme_sim.analysis.influx import permeabilities_um_per_s
from tme_sim.files.run_folder import RunFolder
from tme_sim.state.pores import Filtration, Passage, two_way_um3_per_s

SIZES = (15, 50, 100)
X03_AREA, RADIUS_UM, LENGTH_UM, CONDUCTIVITY = 5e-4, 0.25, 0.5, 4.13  # as in conf/
WALL_UM_PER_MMHG_S = 3.6e-4  # 0.36e-7 cm/(mmHg s), the wall between gaps
X14_CM, X21_CM, X01_PERCENT = 2.8e-7, 1.3e-8, 90.0
MARKS = {  # arm: area of all gap sites, share of the time that they are open
    "nm50_on": (X03_AREA, 1.0),
    "map_few": (5e-5, 1.0),
    "map_many": (5e-3, 1.0),
    "map_x03_tenth_open": (X03_AREA, 0.1),
    "map_many_tenth_open": (5e-3, 0.1),
}


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
    found["gaps.conductivity_cm_per_mmHg_s"] = [1e-4 * conductivity_um_per_mmHg_s(X03_AREA)]
    return found


def null_model(values):
    """Shares that could be anything."""
    anything = list(np.linspace(0, 100, 101))
    return {name: anything for name in values if name.endswith(("active_share_percent", "residual_percent"))}


def conductivity_um_per_mmHg_s(open_area):
    """Lp of the wall with gaps open over this share of it."""
    passage = Passage(LENGTH_UM, 0.0, 0.0, Filtration(0.0, CONDUCTIVITY))
    per_um2 = np.asarray(open_area) / (pi * RADIUS_UM**2)
    return WALL_UM_PER_MMHG_S + per_um2 * passage.leak_um3_per_mmHg_s(np.array([RADIUS_UM]))[0]


def flow_permeability_cm(open_area, diffusive_cm):
    """Influx through gaps open over this share of the wall, with the mean pressure drop of a 0.2 g tumour (S/V 9 mm2/mm3)."""
    radius, per_um2 = np.array([RADIUS_UM]), open_area / (pi * RADIUS_UM**2)
    filtration = Filtration(11.5, CONDUCTIVITY, tumor_radius_um=(3 * 0.2e12 / (4 * pi)) ** (1 / 3))
    drop = filtration.mean_drop_mmHg(float(conductivity_um_per_mmHg_s(open_area)) * 9e-3)
    carried = Passage(LENGTH_UM, 0.025, 0.0, filtration).carried_um3_per_mmHg_s(radius)
    into, _ = two_way_um3_per_s(np.array([diffusive_cm * 1e4 / per_um2]), carried * drop)
    return 1e-4 * per_um2 * float(into[0])


def figure(values, path):
    """Left: permeability by size and route. Right: the map; colour is the active share at 50 nm without a flow."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    mean = {name: float(np.mean(found)) for name, found in values.items() if len(found)}
    canvas = Figure(figsize=(9.2, 3.9), layout="constrained")
    left, right = canvas.subplots(1, 2, width_ratios=[1, 1.25])
    gap = [mean[f"nm{size}.gap_permeability_cm_per_s"] for size in SIZES]
    total = [mean[f"nm{size}.permeability_cm_per_s"] for size in SIZES]
    left.plot(SIZES, gap, "o-", color="#0072b2", label="through gaps (X03), diffusion")
    left.plot(SIZES, np.subtract(total, gap), "s-", color="#d55e00", label="transcytosis")
    left.plot([100], [X21_CM], "k*", markersize=11, label="X21, liposome: fitted")
    left.set(xlabel="diameter (nm)", ylabel="permeability (cm/s)", yscale="log")
    left.legend(frameon=False, fontsize=8)
    draw_map(canvas, right, mean)
    FigureCanvasSVG(canvas).print_svg(str(path), metadata={"Date": None})


def draw_map(canvas, axes, mean):
    """Active share over the area of gap sites and the share of the time that they are open, with what was measured."""
    area, is_open = np.meshgrid(np.logspace(-5, -2, 61), np.logspace(-4, 0, 61))
    per_area = mean["nm50.gap_permeability_cm_per_s"] / X03_AREA
    active = mean["nm50.permeability_cm_per_s"] - mean["nm50.gap_permeability_cm_per_s"]
    share = 100 * active / (active + per_area * area * is_open)
    mesh = axes.pcolormesh(area, is_open, share, cmap="cividis", vmin=0, vmax=100, shading="gouraud", rasterized=True)
    canvas.colorbar(mesh, ax=axes, label="active share of entry at 50 nm, no flow (%)")
    open_area = area * is_open
    with_flow = np.vectorize(lambda a: flow_permeability_cm(a, per_area * a))(open_area)
    lines = (
        (share, X01_PERCENT, "white", "90 % active (X01)"),
        (1e-4 * conductivity_um_per_mmHg_s(open_area), X14_CM, "#56b4e9", "Lp of X14"),
        (with_flow, X21_CM, "#9c179e", "with the leaking fluid, gaps alone are X21"),
    )
    for values, level, colour, label in lines:
        axes.contour(area, is_open, values, [level], colors=[colour], linewidths=1.8)
        axes.plot([], [], color=colour, linewidth=1.8, label=label)
    for arm, (x, y) in MARKS.items():
        simulated = mean["nm50.active_share_percent" if arm == "nm50_on" else f"{arm}.active_share_percent"]
        axes.scatter(x, y, c=[simulated], cmap="cividis", vmin=0, vmax=100, s=70, edgecolors="white", linewidths=1.2, zorder=3)
    axes.scatter([], [], c="#888888", s=50, edgecolors="white", label="simulated")
    axes.plot(X03_AREA, 1.0, "r*", markersize=9, zorder=4, clip_on=False, label="counted (X03)")
    axes.set(xscale="log", yscale="log", xlabel="share of the wall that gaps take when open", ylabel="share of the time open")
    axes.legend(fontsize=7, loc="lower left", facecolor="#444444", labelcolor="white", framealpha=0.85)
