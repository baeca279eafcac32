from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tme_sim.views import meshes
from tme_sim.views.snapshot import Cut


def straight(radius_um: float = 8.0, pieces: int = 1) -> pd.DataFrame:
    """A vessel along x at z = 30, y = 50, from x = 0 to 160 µm, in equal pieces."""
    x = np.linspace(0, 160, pieces + 1)
    columns = {"z0_um": 30.0, "y0_um": 50.0, "x0_um": x[:-1], "z1_um": 30.0, "y1_um": 50.0, "x1_um": x[1:]}
    return pd.DataFrame(columns | {"node0": range(pieces), "node1": range(1, pieces + 1), "radius_um": radius_um})


@pytest.mark.parametrize("pieces", [1, 5])
def test_a_tube_is_a_prism_of_the_vessels_radius_and_length(pieces: int) -> None:
    tube = meshes.tubes(straight(pieces=pieces))
    n = meshes.FACETS
    area = n / 2 * 8.0**2 * np.sin(2 * np.pi / n)
    assert tube.volume == pytest.approx(160 * area, rel=1e-4)
    bounds = np.reshape(tube.bounds, (3, 2))
    np.testing.assert_allclose(bounds, [[0, 160], [42, 58], [22, 38]], atol=8 * (1 - np.cos(np.pi / n)) + 1e-3)


def test_radii_that_meet_are_averaged() -> None:
    segments = straight(pieces=2)
    segments["radius_um"] = [4.0, 8.0]
    points = np.asarray(meshes.tubes(segments).points)
    middle = points[np.abs(points[:, 0] - 80) < 1e-3]
    np.testing.assert_allclose(np.hypot(middle[:, 1] - 50, middle[:, 2] - 30), 6, rtol=1e-4)


def test_many_segments_get_fewer_facets() -> None:
    pieces = 100_000
    assert meshes.tubes(straight(pieces=pieces)).n_cells <= 1.1 * meshes.FACETS_MAX


def test_a_lumen_on_voxels_gets_a_closed_surface_of_its_radius_and_length() -> None:
    z, y, _ = 10 * (np.indices((10, 12, 20)) + 0.5)
    lumen = np.clip(0.5 + (30 - np.hypot(z - 50, y - 60)) / 10, 0, 1)
    surface = meshes.surface_of(lumen, 10.0, 0.5)
    assert surface.n_open_edges == 0
    np.testing.assert_allclose(surface.center, [100, 60, 50], atol=0.5)
    assert surface.volume == pytest.approx(np.pi * 30**2 * 200, rel=0.05)  # edges of a voxel's length are rounded off


def test_no_lumen_gives_no_surface() -> None:
    assert meshes.surface_of(np.zeros((3, 3, 3)), 10.0).n_points == 0


def test_spheres_sit_at_their_points_with_their_radii() -> None:
    ball = meshes.spheres(np.array([[1.0, 20, 300]]), np.array([5.0]), 32, cargo=np.array([7.0]))
    np.testing.assert_allclose(ball.center, [300, 20, 1], atol=0.1)
    assert ball.bounds[1] - ball.bounds[0] == pytest.approx(10, rel=0.02)
    assert set(ball["cargo"]) == {7.0}


def test_gaps_are_moved_onto_the_wall_unless_it_is_far() -> None:
    tube = meshes.tubes(straight())
    moved = meshes.onto(tube, np.array([[40.0, 50, 80], [79.0, 100, 80]]), 20.0)
    assert np.hypot(moved[0, 0] - 30, moved[0, 1] - 50) == pytest.approx(8, rel=1 - np.cos(np.pi / meshes.FACETS))
    assert moved[1].tolist() == [79, 100, 80]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_plane_shows_the_voxels_it_passes_through(axis: int) -> None:
    values = np.arange(4 * 6 * 8, dtype=float).reshape(4, 6, 8)
    plane = meshes.plane(values, 10.0, Cut(axis, 25.0))
    for cell in (0, 7, plane.n_cells - 1):
        place = np.array(plane.get_cell(cell).center)[::-1]
        assert place[axis] == 25.0
        assert plane["value"][cell] == values[tuple((place // 10).astype(int))]


def test_the_far_face_is_a_plane_of_the_last_voxels() -> None:
    assert meshes.plane(np.eye(4)[None] * [[[1], [2], [3], [4]]], 10.0, Cut(2, 40.0))["value"].tolist() == [0, 0, 0, 4]


@pytest.mark.parametrize(("cut", "bounds"), [(Cut(2, 60), (0, 60)), (Cut(2, 130), (0, 130))])
def test_a_cut_takes_the_viewers_side_off_a_tube(cut: Cut, bounds: tuple[float, float]) -> None:
    np.testing.assert_allclose(meshes.cut_off(meshes.tubes(straight()), cut).bounds[:2], bounds, atol=1e-3)


def test_a_cut_across_a_tube_makes_its_disc() -> None:
    disc = meshes.section(meshes.tubes(straight()), Cut(2, 60.0))
    n = meshes.FACETS
    assert disc.area == pytest.approx(n / 2 * 64 * np.sin(2 * np.pi / n), rel=1e-3)
    assert disc.center[0] == pytest.approx(60, abs=1)
    assert meshes.section(meshes.tubes(straight()), Cut(0, 70.0)).n_points == 0
