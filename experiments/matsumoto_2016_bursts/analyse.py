"""How many bursts let particles out, whether their fluid goes outward, and how 70 nm compares with 30 nm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tme_sim.analysis.influx import permeabilities_um_per_s
from tme_sim.analysis.plausibility import internal
from tme_sim.analysis.profiles import copies
from tme_sim.files.run_folder import RunFolder
from tme_sim.state.pores import driving_pressure_mmHg

PRESSURES = ("vessel_pressure", "vessel_oncotic_pressure", "tissue_oncotic_pressure", "oncotic_reflection")
WAYS = ("jet", "diffusion")


def quantities(arms):
    """Arm and quantity -> one value per replicate."""
    found = {}
    for arm, runs in arms.items():
        each = [bursts(RunFolder(folder)) for folder in runs["folder"]]
        found |= {f"{arm}.{name}": [one[name] for one in each if one[name] is not None] for name in each[0]}
    for way in WAYS:
        small, large = (np.array(found[f"{way}_{size}.permeability_cm_per_s"]) for size in (30, 70))
        found[f"{way}.70_nm_over_30_nm"] = large[small > 0] / small[small > 0]
    return found


def bursts(run):
    """What one run shows of its bursts."""
    gaps = run.agents("gaps")
    wall_mm2 = run.info["morphometry"]["vessel_surface_mm2_per_mm3"] * run.info["tumor_mass_g"] * 1e3 / copies(run)["window"]
    hours = run.times_s[-1] / 3600
    entered = gaps["entered"][gaps["opened"] > 0]
    return {
        "openings": float(gaps["opened"].sum()),
        "bursts_with_particles": float((gaps["entered"] > 0).sum()),
        "bursts_per_mm2_in_10_h": float(gaps["opened"].sum()) / wall_mm2 * 10 / hours,
        "particles_per_burst": float(entered.sum() / max(1, gaps["opened"].sum())),
        "outward_share": outward_share(run),
        "permeability_cm_per_s": 1e-4 * permeabilities_um_per_s(run)["gap"],
    }


def outward_share(run):
    """Share of the records of an open burst in which its fluid goes into the tissue; None without flow or open bursts."""
    fields, flow = run.fields, run.config["processes"].get("interstitial_flow")
    if "interstitial_pressure_mmHg" not in fields:
        return None
    driving_mmHg = driving_pressure_mmHg(*(internal(flow[name]) for name in PRESSURES))
    outward = []
    for time_s in fields["time"].values[1:]:  # at the start no fluid moves yet
        gaps = run.agents("gaps", float(time_s))
        pressure = np.asarray(fields["interstitial_pressure_mmHg"].sel(time=time_s)).ravel()
        outward += (pressure[gaps["voxel"][gaps["open"] > 0]] < driving_mmHg).tolist()
    return float(np.mean(outward)) if outward else None


def figure(values, path):
    """Left: what came in by then, one line a replicate. Right: the plane of the busiest burst at its height."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    table = pd.read_parquet(Path(path).with_name("runs.parquet"))
    runs = {arm: [RunFolder(folder) for folder in rows["folder"]] for arm, rows in table.groupby("arm")}
    canvas = Figure(figsize=(9.2, 3.7), layout="constrained")
    left, right = canvas.subplots(1, 2, width_ratios=[1.2, 1])
    lines = {"jet_70": "#0072b2", "jet_30": "#111111", "diffusion_30": "#e69f00", "diffusion_70": "#d55e00"}
    for arm, colour in lines.items():
        for i, run in enumerate(runs[arm]):
            series = run.series
            gap = series[(series["quantity"] == "entered") & (series["route"] == "gap")].groupby("time_s")["value"].sum()
            style = {"color": colour, "linestyle": ":" if arm == "jet_30" else "-", "label": label(arm) if i == 0 else None}
            left.plot(gap.index / 3600, np.maximum(gap, 0.1), linewidth=1.4, **style)
    left.set(xlabel="time (h)", ylabel="particles that came in through bursts", yscale="log")
    left.legend(frameon=False, fontsize=8)
    draw_plume(canvas, right, runs["jet_70"])
    FigureCanvasSVG(canvas).print_svg(str(path), metadata={"Date": None})


def label(arm):
    """jet_70 -> 70 nm, with the jet."""
    way, size = arm.split("_")
    return f"{size} nm, {'with the jet' if way == 'jet' else 'diffusion alone'}"


def draw_plume(canvas, axes, runs):
    """The plane through the open burst that has most particles beside it, of all that were recorded."""
    amount, voxel, time_s, spacing = max((found for run in runs for found in plumes(run)), key=lambda found: found[0].max())
    plane, y, x = np.unravel_index(voxel, amount.shape)
    box = (0, amount.shape[2] * spacing, 0, amount.shape[1] * spacing)
    shown = np.log10(np.maximum(amount[plane], 1e-2))
    image = axes.imshow(shown, origin="lower", extent=box, cmap="cividis", interpolation="none")
    canvas.colorbar(image, ax=axes, label="log10 particles per voxel")
    axes.plot((x + 0.5) * spacing, (y + 0.5) * spacing, "rx", markersize=7)
    axes.set(xlabel="x (µm)", ylabel="y (µm)", title=f"70 nm after {time_s / 3600:g} h; the cross: an open burst")
    axes.title.set_fontsize(8)


def plumes(run):
    """Recorded times at which a burst is open: particles (z, y, x), the fullest burst's voxel, the time, and the voxels' edge."""
    fields = run.fields
    for time_s in fields["time"].values[1:]:
        gaps = run.agents("gaps", float(time_s))
        voxel = gaps["voxel"][gaps["open"] > 0].to_numpy()
        if len(voxel):
            amount = np.asarray(fields["nanoparticle"].sel(time=time_s).sum(("route", "form")))
            yield amount, voxel[amount.ravel()[voxel].argmax()], float(time_s), float(fields.attrs["spacing_um"])
