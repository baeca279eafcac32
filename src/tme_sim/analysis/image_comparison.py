"""A simulated image beside a measured one: voxels, distribution and penetration profile, each with a null model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from tme_sim.analysis.agreement import (
    Comparison,
    Measure,
    concordance,
    correlation,
    limits_of_agreement,
    root_mean_square,
    wasserstein,
    within_factor,
)
from tme_sim.analysis.image_match import Grid, alone, coarser, common, onto, to_resolution
from tme_sim.analysis.image_profile import distance_profile
from tme_sim.analysis.profiles import FEWEST_VOXELS, half_distance
from tme_sim.files.dataset import Corrections, Picture
from tme_sim.files.image import Image
from tme_sim.files.volumes import read_volume
from tme_sim.state.errors import InputError

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

ANY = "a.u."
TRUTH = "truth"
"""Modality of the carriers themselves, which no instrument has blurred."""
LEAST_SHARE = 0.5
"""Of a voxel: what must lie in a mask for the voxel to count."""
NULL_WORDS = {"mean": "the measured image's mean everywhere", "nuclei": "proportional to the nuclei"}


@dataclass(frozen=True)
class Side:
    """One of the two images on the voxels of the comparison: values, what counts, and distance to the nearest vessel."""

    values: Floats
    counts: Mask
    distance_um: Floats | None


@dataclass(frozen=True)
class Pair:
    """Both sides and the null model; aligned: voxel by voxel the same places. nuclei: their stain on the measured side."""

    measured: Side
    simulated: Side
    null: Floats
    nuclei: Floats | None
    voxel_um: tuple[float, float, float]
    aligned: bool
    regions: dict[str, Mask]


def match(picture: Picture, corrections: Corrections, image: Image) -> Pair:
    """Read the measured volume and bring both to one resolution and one grid. Raises InputError where they do not compare.

    An image of modality `truth` may have the layers `inside` and `vessels`, which take the place of the card's mask and vessels
    where the two are not aligned.
    """
    if picture.unit not in (ANY, image.unit):
        raise InputError("unit", picture.unit, f"must be that of the run's image, {image.unit}, or {ANY} to compare shapes")
    volume = read_volume(picture.file, voxel_um=picture.voxel_um, field="image file")
    there = Grid(volume.data.shape, volume.voxel_um, picture.position_um or (0.0, 0.0, 0.0))
    decay = 1.0 if corrections.half_life_s is None else 2 ** (image.time_s / corrections.half_life_s)
    measured = (volume.data.astype(np.float64) - corrections.background) * decay
    here = Grid(image.data.shape[-3:], image.voxel_um, _corner(image))
    simulated = to_resolution(_channel(picture, image), image.voxel_um, _fwhm(picture, image), picture.fwhm_um)
    voxel_um, aligned = coarser(there.voxel_um, here.voxel_um), picture.position_um is not None
    onto_m, onto_s = (common(there, here),) * 2 if aligned else (alone(there, voxel_um), alone(here, voxel_um))

    def beside(file: Path | None) -> NDArray[Any] | None:
        return None if file is None else _like(file, there, picture)

    vessels, mask, nuclei = (beside(file) for file in (picture.vessels, picture.mask, picture.nuclei))
    counts, distance_um = _places(there, onto_m, mask, vessels)
    own = counts, distance_um
    if not aligned:
        own = _places(here, onto_s, image.layers.get("inside"), image.layers.get("vessels"))
    stain = None if nuclei is None else onto(nuclei, there, onto_m)
    sides = [Side(onto(measured, there, onto_m), counts, distance_um), Side(onto(simulated, here, onto_s), *own)]
    left, right = (_relative(side) for side in sides) if picture.unit == ANY else sides
    labels = beside(picture.regions) if aligned else None
    return Pair(left, right, _null(picture, left, stain), stain, voxel_um, aligned, _regions(labels, there, onto_m, counts))


def compare(pair: Pair, picture: Picture) -> tuple[list[Comparison], pd.DataFrame | None]:
    """(comparisons of the whole mask, of each region, and of the profile; the profile's table where vessels are known)."""
    unit, words = picture.unit, NULL_WORDS[picture.null]

    def told(what: str, voxels: int, measures: dict[str, Measure]) -> Comparison:
        return Comparison(what=what, unit=unit, count=voxels, units="voxels", null_model=words, measures=measures)

    found = [told("image", int(pair.measured.counts.sum()), _voxelwise(pair, pair.measured.counts, pair.simulated.counts))]
    found += [told(name, int(region.sum()), _voxelwise(pair, region, region)) for name, region in pair.regions.items()]
    table = distance_table(pair)
    if table is not None:
        found.append(told("against distance to vessels", int(table["voxels"].sum()), _of_profile(table)))
    return found, table


def _voxelwise(pair: Pair, there: Mask, here: Mask) -> dict[str, Measure]:
    measured, null, simulated = pair.measured.values[there], pair.null[there], pair.simulated.values[here]
    measures = {
        "mean": Measure(float(measured.mean()), float(simulated.mean()), float(null.mean())),
        "Wasserstein-1": Measure(None, wasserstein(measured, simulated), wasserstein(measured, null)),
    }
    if pair.aligned:
        bias, low, high = limits_of_agreement(simulated - measured)
        null_bias, null_low, null_high = limits_of_agreement(null - measured)
        measures |= {
            "RMSE": Measure(None, root_mean_square(simulated - measured), root_mean_square(null - measured)),
            "concordance": Measure(None, concordance(measured, simulated), concordance(measured, null)),
            "correlation": Measure(None, correlation(measured, simulated), correlation(measured, null)),
            "within twofold": Measure(None, within_factor(measured, simulated), within_factor(measured, null)),
            "bias": Measure(None, bias, null_bias),
            "limits of agreement, lower": Measure(None, low, null_low),
            "limits of agreement, upper": Measure(None, high, null_high),
        }
        if pair.nuclei is not None:
            stain = pair.nuclei[there]
            measures["correlation with nuclei"] = Measure(*(correlation(stain, each) for each in (measured, simulated, null)))
    return measures


def distance_table(pair: Pair) -> pd.DataFrame | None:
    """distance_um, voxels, and measured, simulated and null means with 95 % of a block bootstrap; None without vessels."""
    left, right, width_um = pair.measured, pair.simulated, max(pair.voxel_um)
    if left.distance_um is None:
        return None
    table = distance_profile({"measured": left.values, "null": pair.null}, left.distance_um, left.counts, width_um)
    if right.distance_um is not None:
        other = distance_profile({"simulated": right.values}, right.distance_um, right.counts, width_um)
        table = table.merge(other.rename(columns={"voxels": "simulated_voxels"}), "left", "distance_um")
    return table


def _of_profile(table: pd.DataFrame) -> dict[str, Measure]:
    """Half distance and root mean square distance of the profiles, over bins with enough voxels."""
    enough = table[table["voxels"] >= FEWEST_VOXELS]
    if "simulated" in table:
        enough = enough[enough["simulated_voxels"] >= FEWEST_VOXELS]
    at_um = enough["distance_um"].to_numpy(float)
    column = {name: enough[name].to_numpy(float) for name in ("measured", "simulated", "null") if name in enough}
    if not len(enough):
        return {}
    half = {name: half_distance(at_um, values) for name, values in column.items()}
    apart = {name: root_mean_square(values - column["measured"]) for name, values in column.items() if name != "measured"}
    far = {name: float(values[-1] / values[0]) if values[0] else None for name, values in column.items()}
    return {
        "half distance (um)": Measure(**half),
        f"at {at_um[-1]:g} um over at {at_um[0]:g} um": Measure(**far),
        "RMSE of the profile": Measure(**apart),
    }


def _channel(picture: Picture, image: Image) -> Floats:
    if not image.channels:
        return np.asarray(image.data, float)
    if picture.channel not in image.channels:
        raise InputError("image channel", picture.channel, f"must be one of the readout's: {', '.join(image.channels)}")
    return np.asarray(image.data[image.channels.index(str(picture.channel))], float)


def _fwhm(picture: Picture, image: Image) -> tuple[float, float, float]:
    """Of the simulated image: what the card says, or the readout; the carriers themselves are not blurred."""
    if picture.simulated_fwhm_um is not None:
        return picture.simulated_fwhm_um
    if image.modality == TRUTH:
        return (0.0, 0.0, 0.0)
    told = image.acquisition
    if "PointSpreadFWHM_mm" in told:
        return (1e3 * float(told["PointSpreadFWHM_mm"]),) * 3
    if "psf_width_um" in told:
        return float(told["psf_height_um"]), float(told["psf_width_um"]), float(told["psf_width_um"])
    raise InputError("image simulated_fwhm", None, f"must be there: {image.name} does not tell its resolution")


def _corner(image: Image) -> tuple[float, float, float]:
    z, y, x = (centre - edge / 2 for centre, edge in zip(image.origin_um, image.voxel_um, strict=True))
    return z, y, x


def _like(file: Path, grid: Grid, picture: Picture) -> NDArray[Any]:
    """A volume beside the measured one; it must have its shape."""
    data = read_volume(file, voxel_um=picture.voxel_um, field="image").data
    if data.shape != grid.shape:
        raise InputError("image", file.name, f"has shape {data.shape}; must be that of {picture.file.name}, {grid.shape}")
    return data


def _places(grid: Grid, target: Grid, mask: NDArray[Any] | None, vessels: NDArray[Any] | None) -> tuple[Mask, Floats | None]:
    """What counts, vessels left out, and the distance from the nearest vessel voxel's centre, by volume's own voxel edges."""
    counts = np.ones(target.shape, bool) if mask is None else onto(mask > 0, grid, target) >= LEAST_SHARE
    distance_um = None
    if vessels is not None and (vessels > 0).any():
        to_vessel_um = np.asarray(distance_transform_edt(~(vessels > 0), sampling=grid.voxel_um), float)
        counts &= onto(vessels > 0, grid, target) < LEAST_SHARE
        distance_um = onto(to_vessel_um, grid, target)
    if not counts.any():
        raise InputError("image mask", None, "must leave some voxels to compare, vessels not counted")
    return counts, distance_um


def _relative(side: Side) -> Side:
    mean = float(side.values[side.counts].mean())
    if not mean > 0:
        raise InputError("image", None, "must have a mean above 0 in its mask, on both sides, to be compared in arbitrary units")
    return Side(side.values / mean, side.counts, side.distance_um)


def _null(picture: Picture, side: Side, stain: Floats | None) -> Floats:
    """c · nuclei or the mean, so that the mean over what counts is the measured one's."""
    shape = np.ones(side.values.shape) if picture.null == "mean" or stain is None else stain
    total = float(shape[side.counts].sum())
    if not total > 0:
        raise InputError("image", None, "must have a null model that is above 0 somewhere in the mask")
    return np.asarray(shape * (side.values[side.counts].sum() / total), float)


def _regions(labels: NDArray[Any] | None, grid: Grid, target: Grid, counts: Mask) -> dict[str, Mask]:
    """Name → voxels of each label above 0."""
    if labels is None:
        return {}
    masks = {
        f"region {label}": counts & (onto(labels == label, grid, target) >= LEAST_SHARE) for label in np.unique(labels) if label
    }
    return {name: mask for name, mask in masks.items() if mask.any()}
