"""Numbers that describe a vasculature and that histology or imaging also reports."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from tme_sim.numerics.distance import along, distance_to_cylinders, spread
from tme_sim.state.errors import InputError
from tme_sim.state.vessels import VesselGraph

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

PLACES_MAX = 200_000  # voxels that distances are taken at; the 95th percentile of so many is sure to 0.1 percentage points


def morphometry(
    lumen_fraction: Floats, surface_um2: Floats, voxel_um: float, graph: VesselGraph | None = None, inside: Mask | None = None
) -> dict[str, float]:
    """Vascular measures over the voxels `inside` (z, y, x; default all) of a lattice of cubic voxels.

    Always: `vessel_surface_mm2_per_mm3`, `blood_volume_fraction`, and the mean and 95th percentile over places of the distance
    to the nearest vessel wall (0 in a lumen), `mean_distance_to_vessel_um`, `p95_distance_to_vessel_um`. Without a graph these
    are distances between voxel centres, to voxels that hold lumen or wall (about a voxel coarse); with one, from voxel centres
    to the cylinders. They are infinite without vessels. Vessels outside `inside` supply it too: they count for distances.

    With a graph also, by the length inside: `length_density_per_mm2` (L_V, mm of vessel per mm³), `vessel_density_per_mm2`
    (crossings per area of section, averaged over all sections along the three axes: Σ|Δ|/V, which is L_V/2 if isotropic),
    `mean_vessel_radius_um` (weighted by length; NaN without vessels), `mean_vessel_spacing_um` (1/√ of the vessel density).
    Raises InputError for arrays of different shapes and for an empty mask.
    """
    chosen = np.ones(lumen_fraction.shape, bool) if inside is None else inside
    for name, array in (("surface_um2", surface_um2), ("inside", chosen)):
        if array.shape != lumen_fraction.shape:
            raise InputError(name, array.shape, f"the same shape as lumen_fraction, {lumen_fraction.shape}")
    if not chosen.any():
        raise InputError("inside", None, "at least one voxel")
    volume_um3 = int(chosen.sum()) * voxel_um**3
    places = np.flatnonzero(chosen)
    places = places[spread(len(places), PLACES_MAX)]
    if graph is None:
        distance_um = _distance_between_voxels((lumen_fraction > 0) | (surface_um2 > 0), voxel_um).ravel()[places]
    else:
        points_um = (np.stack(np.unravel_index(places, chosen.shape), axis=1) + 0.5) * voxel_um
        distance_um = distance_to_vessel(np.asarray(points_um, float), graph)
    values = {
        "vessel_surface_mm2_per_mm3": 1e3 * float(surface_um2[chosen].sum()) / volume_um3,
        "blood_volume_fraction": float(lumen_fraction[chosen].mean()),
        "mean_distance_to_vessel_um": float(distance_um.mean()),
        "p95_distance_to_vessel_um": float(np.quantile(distance_um, 0.95, method="inverted_cdf")),
    }
    return values if graph is None else values | _lengths(graph, chosen, voxel_um, volume_um3)


def distance_to_vessel(points_um: Floats, graph: VesselGraph) -> Floats:
    """(points,) distance from each point (points, 3) to the nearest vessel's wall, 0 in a lumen, infinite without vessels."""
    return distance_to_cylinders(points_um, graph.nodes_um[graph.segments], graph.radius_um)


def _distance_between_voxels(held: Mask, voxel_um: float) -> Floats:
    if not held.any():
        return np.full(held.shape, np.inf)
    return np.asarray(distance_transform_edt(~held, sampling=voxel_um), float)


def _lengths(graph: VesselGraph, inside: Mask, voxel_um: float, volume_um3: float) -> dict[str, float]:
    ends = graph.nodes_um[graph.segments]
    point_um, segment, piece_um = along(ends, np.full(len(ends), voxel_um / 4))
    voxel = np.floor(point_um / voxel_um).astype(np.int64)
    voxel[point_um == np.asarray(inside.shape) * voxel_um] -= 1  # on the far faces
    within: Mask = np.all((voxel >= 0) & (voxel < inside.shape), axis=1)
    within[within] = inside[tuple(voxel[within].T)]
    segment, piece_um = segment[within], piece_um[within]
    total_um = float(piece_um.sum())
    direction = np.abs(ends[:, 1] - ends[:, 0]) / np.maximum(graph.length_um, 1e-300)[:, None]
    crossings_per_um2 = float((piece_um[:, None] * direction[segment]).sum()) / 3 / volume_um3
    return {
        "length_density_per_mm2": 1e6 * total_um / volume_um3,
        "vessel_density_per_mm2": 1e6 * crossings_per_um2,
        "mean_vessel_radius_um": float(np.average(graph.radius_um[segment], weights=piece_um)) if total_um > 0 else float("nan"),
        "mean_vessel_spacing_um": crossings_per_um2**-0.5 if crossings_per_um2 > 0 else float("inf"),
    }
