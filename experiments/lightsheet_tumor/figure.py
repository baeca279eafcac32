"""The run's carriers against distance from the vessels, beside the measured channel and its null model.

    uv run python experiments/lightsheet_tumor/figure.py RUN --data DIR

The measured channel is an oncolytic virus of unknown dose and time, not a nanoparticle. Its null model is "channel = c · nuclei":
where the two profiles agree, the channel says where cells are and nothing about penetration. Writes figures/measured_channel.svg
and .csv into the run's folder. Everything is taken on the run's sites, each as a share of its own mean over the tumour.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import distance_transform_edt

from tme_sim.analysis.profiles import carriers_per_cell
from tme_sim.files.run_folder import RunFolder, find_run
from tme_sim.files.volumes import read_volume
from tme_sim.tissues.resample import resample

BIN_UM = 15.0
FEWEST_SITES = 50


def on_sites(data: Path, name: str, shape: tuple[int, int, int], site_um: float) -> np.ndarray:
    """A channel of the data set, averaged over the run's sites."""
    volume = read_volume(data / "lightsheet_tumor" / f"{name}.ome.tif", field=name)
    return resample(volume.data, volume.voxel_um, site_um, shape)


def carriers_on_sites(run: RunFolder) -> np.ndarray:
    """Carriers in interstitium, matrix and cells of each site at the last recorded time."""
    sites = tuple(run.info["sites"])
    fields = run.fields.isel(time=-1)
    voxels = sum(fields[name].sum(("route", "form")).values for name in ("nanoparticle", "bound"))
    r = voxels.shape[0] // sites[0]
    total = voxels.reshape(sites[0], r, sites[1], r, sites[2], r).sum(axis=(1, 3, 5)).astype(float)
    for kind, held in carriers_per_cell(run).items():
        total += np.bincount(run.agents(kind)["site"], held, total.size).reshape(sites)
    return total


def profiles(run: RunFolder, data: Path) -> pd.DataFrame:
    """A row a distance bin: sites, and the mean of carriers, channel and nuclei, each over its mean in the tumour."""
    carriers = carriers_on_sites(run)
    site_um = float(run.fields.attrs["spacing_um"]) * run.fields.sizes["z"] / carriers.shape[0]
    tumor = read_volume(data / "lightsheet_tumor" / "tumor_mask.ome.tif", field="tumor")
    inside = resample(tumor.data > 0, tumor.voxel_um, site_um, carriers.shape) >= 0.5
    vessels = read_volume(data / "lightsheet_tumor" / "vessel_mask.ome.tif", field="vessels")
    fine_um = distance_transform_edt(vessels.data == 0, sampling=vessels.voxel_um)
    distance_um = resample(fine_um, vessels.voxel_um, site_um, inside.shape)[inside]
    columns = {
        "simulated": carriers[inside],
        "channel": on_sites(data, "biologic", inside.shape, site_um)[inside],
        "null_model_nuclei": on_sites(data, "nuclei", inside.shape, site_um)[inside],
    }
    table = pd.DataFrame({"bin": np.floor(distance_um / BIN_UM).astype(int), **{k: v / v.mean() for k, v in columns.items()}})
    table.attrs["correlation_with_nuclei"] = float(np.corrcoef(columns["channel"], columns["null_model_nuclei"])[0, 1])
    table.attrs["correlation_with_distance"] = float(np.corrcoef(columns["channel"], distance_um)[0, 1])
    found = table.groupby("bin").mean()
    found.insert(0, "sites", table.groupby("bin").size())
    found.insert(0, "distance_um", (found.index + 0.5) * BIN_UM)
    found.attrs = table.attrs
    return found[found["sites"] >= FEWEST_SITES].reset_index(drop=True)


def draw(table: pd.DataFrame, path: Path) -> None:
    """Three curves with their names at the right end."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.add_subplot()
    styles = {
        "simulated": ("#0072b2", "-", "simulated carriers"),
        "channel": ("#d55e00", "-", "measured channel (virus)"),
        "null_model_nuclei": ("#666666", "--", "null model: c · nuclei"),
    }
    for name, (colour, line, label) in styles.items():
        axes.plot(table["distance_um"], table[name], line, color=colour, marker="o", markersize=3, label=label)
    axes.axhline(1, color="#bbbbbb", linewidth=0.7, zorder=0)
    axes.set(xlabel="distance to the nearest vessel (µm)", ylabel="over the mean in the tumour", ylim=(0, None))
    r = table.attrs
    axes.set_title(
        f"channel: r = {r['correlation_with_nuclei']:.2f} with nuclei, {r['correlation_with_distance']:.2f} with distance",
        fontsize=8,
        loc="left",
    )
    axes.legend(frameon=False, fontsize=8)
    FigureCanvasSVG(figure).print_svg(str(path), metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    run = RunFolder(find_run(options.run))
    table = profiles(run, options.data)
    folder = run.folder / "figures"
    folder.mkdir(exist_ok=True)
    table.to_csv(folder / "measured_channel.csv", index=False)
    draw(table, folder / "measured_channel.svg")
    print(folder / "measured_channel.svg")


if __name__ == "__main__":
    main()
