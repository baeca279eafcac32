"""Surfaces and glyphs for PyVista, made from arrays without a graphics library. Here (z, y, x) becomes VTK's (x, y, z)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyvista as pv
from numpy.typing import NDArray

from tme_sim.views.snapshot import Cut, Floats

FACETS = 12
FACETS_MAX = 1_500_000  # triangles that software rendering still draws within a second or two


def to_xyz(points_um: Floats) -> Floats:
    """(points, 3) from (z, y, x) to (x, y, z)."""
    return np.ascontiguousarray(points_um[:, ::-1])


def tubes(segments: pd.DataFrame) -> pv.PolyData:
    """Segments as one surface of round tubes; where segments meet, the radius is the mean of theirs."""
    ends = segments[["node0", "node1"]].to_numpy(np.int64)
    used, local = np.unique(ends, return_inverse=True)
    local = local.reshape(-1, 2)
    nodes, radius = np.empty((len(used), 3)), np.zeros(len(used))
    for end in (0, 1):
        nodes[local[:, end]] = segments[[f"{axis}{end}_um" for axis in "xyz"]]
    np.add.at(radius, local, segments["radius_um"].to_numpy()[:, None])
    lines = pv.PolyData(nodes, lines=np.insert(local, 0, 2, axis=1).ravel())
    lines["radius_um"] = radius / np.bincount(local.ravel())
    sides = int(np.clip(FACETS_MAX / (2 * len(segments)), 5, FACETS))
    surface: pv.PolyData = lines.strip(join=True).tube(scalars="radius_um", absolute=True, n_sides=sides).triangulate()
    return surface


def surface_of(fraction: Floats, voxel_um: float, level: float = 0.25) -> pv.PolyData:
    """The surface where a volume fraction (z, y, x) passes `level`.

    The default is below a half because capillaries thinner than a voxel never fill it: in the light-sheet tumour on 15 µm
    voxels 0.25 encloses 8 % more than the blood volume, 0.5 only half of it.
    """
    padded = np.pad(fraction, 1)
    image = pv.ImageData(dimensions=padded.shape[::-1], spacing=(voxel_um,) * 3, origin=(-0.5 * voxel_um,) * 3)
    image.point_data["fraction"] = padded.ravel()
    surface: pv.PolyData = image.contour([level], scalars="fraction")
    return surface.smooth_taubin(n_iter=20, pass_band=0.1) if surface.n_points else surface


def spheres(points_um: Floats, radius_um: float | Floats, detail: int = 8, **values: NDArray[Any]) -> pv.PolyData:
    """One sphere per point; `values` are kept as point data."""
    cloud = pv.PolyData(to_xyz(points_um))
    cloud["diameter"] = np.broadcast_to(2 * np.asarray(radius_um, float), len(points_um)).copy()
    for name, value in values.items():
        cloud[name] = value
    ball = pv.Sphere(radius=0.5, theta_resolution=detail, phi_resolution=detail)
    balls: pv.PolyData = cloud.glyph(geom=ball, scale="diameter", orient=False, factor=1.0)
    return balls


def onto(surface: pv.PolyData, points_um: Floats, reach_um: float) -> Floats:
    """(points, 3) the nearest places on a surface; points further away than `reach_um` stay where they are."""
    if surface.n_cells == 0 or len(points_um) == 0:
        return points_um
    found: Any = surface.find_closest_cell(to_xyz(points_um), return_closest_point=True)
    moved = np.asarray(found[1], float)[:, ::-1]
    near = np.linalg.norm(moved - points_um, axis=1, keepdims=True) <= reach_um
    return np.where(near, moved, points_um)


def plane(values: Floats, voxel_um: float, cut: Cut) -> pv.ImageData:
    """The voxels (z, y, x) that a cut passes through, flat and uninterpolated, with their values as cell data `value`."""
    index = min(int(cut.position_um / voxel_um), values.shape[cut.axis] - 1)
    dimensions = [n + 1 for n in values.shape]
    origin = [0.0, 0.0, 0.0]
    dimensions[cut.axis], origin[cut.axis] = 1, cut.position_um
    image = pv.ImageData(dimensions=dimensions[::-1], spacing=(voxel_um,) * 3, origin=origin[::-1])
    image.cell_data["value"] = np.take(values, index, axis=cut.axis).ravel()
    return image


def cut_off(surface: pv.PolyData, cut: Cut) -> pv.PolyData:
    """The part of a surface that lies behind a cut."""
    return surface.clip(normal=_normal(cut), origin=_normal(cut) * cut.viewer_side * cut.position_um, invert=True)


def section(surface: pv.PolyData, cut: Cut) -> pv.PolyData:
    """The areas that a cut makes in closed surfaces, a little on the viewer's side of it."""
    loops = surface.slice(normal=_normal(cut), origin=_normal(cut) * cut.viewer_side * cut.position_um).strip(
        join=True, max_length=surface.n_points
    )
    raised = np.asarray(loops.points) + _normal(cut) * 1e-3 * surface.length
    return pv.PolyData(raised, faces=loops.lines).triangulate() if loops.n_points else pv.PolyData()


def _normal(cut: Cut) -> Floats:
    normal = np.zeros(3)
    normal[2 - cut.axis] = cut.viewer_side
    return normal
