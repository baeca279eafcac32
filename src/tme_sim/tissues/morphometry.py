"""Numbers that describe a vasculature and that histology or imaging also reports."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree

from tme_sim.state.errors import InputError
from tme_sim.state.vessels import VesselGraph

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

PLACES_MAX = 200_000  # voxels that distances are taken at; the 95th percentile of so many is sure to 0.1 percentage points
RADIUS_CLASS_UM = 1.0


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
    places = places[_spread(len(places))]
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
    """(points,) distance from each point (points, 3) to the nearest cylinder's wall, 0 in a lumen, infinite without vessels.

    Nearest of the centrelines sampled every half radius, less the radius, with one tree for each class of radii 1 um wide:
    too long by at most r²/(32 d) at distance d from an axis, and by less than 1 um where a wider vessel of the class is nearer.
    """
    sample_um, segment, _ = _along(graph, graph.radius_um / 2)
    radius_um = graph.radius_um[segment]
    classes = np.floor((radius_um - radius_um.min(initial=np.inf)) / RADIUS_CLASS_UM)
    nearest = np.full(len(points_um), np.inf)
    for each in np.unique(classes):
        rows = np.flatnonzero(classes == each)
        to_axis_um, row = KDTree(sample_um[rows]).query(points_um)
        nearest = np.minimum(nearest, to_axis_um - radius_um[rows[row]])
    return np.asarray(np.maximum(nearest, 0), float)


def _distance_between_voxels(held: Mask, voxel_um: float) -> Floats:
    if not held.any():
        return np.full(held.shape, np.inf)
    return np.asarray(distance_transform_edt(~held, sampling=voxel_um), float)


def _spread(count: int) -> NDArray[np.int64]:
    """Row numbers of at most PLACES_MAX rows, the same at every call, free of the period that a constant stride would have."""
    if count <= PLACES_MAX:
        return np.arange(count)
    edges = np.linspace(0, count, PLACES_MAX + 1)
    within = np.random.default_rng(0).random(PLACES_MAX)
    return (edges[:-1] + within * np.diff(edges)).astype(np.int64)


def _along(graph: VesselGraph, step_um: Floats) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Middles of equal pieces no longer than `step_um` (segments,) along the axes; the segment and length of each piece."""
    length_um = graph.length_um
    count = np.maximum(np.ceil(length_um / step_um), 1).astype(np.int64)
    segment = np.repeat(np.arange(len(count)), count)
    share = (np.arange(len(segment)) - np.repeat(np.cumsum(count) - count, count) + 0.5) / count[segment]
    start, end = graph.nodes_um[graph.segments[segment, 0]], graph.nodes_um[graph.segments[segment, 1]]
    return start + share[:, None] * (end - start), segment, (length_um / count)[segment]


def _lengths(graph: VesselGraph, inside: Mask, voxel_um: float, volume_um3: float) -> dict[str, float]:
    point_um, segment, piece_um = _along(graph, np.full(len(graph.segments), voxel_um / 4))
    voxel = np.floor(point_um / voxel_um).astype(np.int64)
    voxel[point_um == np.asarray(inside.shape) * voxel_um] -= 1  # on the far faces
    within: Mask = np.all((voxel >= 0) & (voxel < inside.shape), axis=1)
    within[within] = inside[tuple(voxel[within].T)]
    segment, piece_um = segment[within], piece_um[within]
    total_um = float(piece_um.sum())
    ends = graph.nodes_um[graph.segments]
    direction = np.abs(ends[:, 1] - ends[:, 0]) / np.maximum(graph.length_um, 1e-300)[:, None]
    crossings_per_um2 = float((piece_um[:, None] * direction[segment]).sum()) / 3 / volume_um3
    return {
        "length_density_per_mm2": 1e6 * total_um / volume_um3,
        "vessel_density_per_mm2": 1e6 * crossings_per_um2,
        "mean_vessel_radius_um": float(np.average(graph.radius_um[segment], weights=piece_um)) if total_um > 0 else float("nan"),
        "mean_vessel_spacing_um": crossings_per_um2**-0.5 if crossings_per_um2 > 0 else float("inf"),
    }
