"""What the lattice holds of a vessel is what the vessel has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tme_sim.state.vessels import VesselGraph
from tme_sim.tissues.rasterise import rasterise


def tube(start_um: object, end_um: object, radius_um: float) -> VesselGraph:
    return VesselGraph(np.array([start_um, end_um], float), np.array([[0, 1]]), np.array([radius_um]))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    polar=st.floats(0, np.pi),
    azimuth=st.floats(0, 2 * np.pi),
    radius_um=st.floats(2, 12),
    length_um=st.floats(5, 100),
    offset_um=st.floats(0, 15),
    voxel_um=st.sampled_from([5.0, 15.0]),
)
def test_a_tube_at_any_angle_keeps_its_volume_and_surface(
    polar: float, azimuth: float, radius_um: float, length_um: float, offset_um: float, voxel_um: float
) -> None:
    direction = np.array([np.cos(polar), np.sin(polar) * np.sin(azimuth), np.sin(polar) * np.cos(azimuth)])
    middle = np.full(3, 80 + offset_um)
    graph = tube(middle - direction * length_um / 2, middle + direction * length_um / 2, radius_um)
    voxels = int(np.ceil(180 / voxel_um))
    lumen, wall = rasterise(graph, (voxels, voxels, voxels), voxel_um)
    assert wall.sum() == pytest.approx(graph.surface_um2, rel=1e-9)
    assert lumen.sum() * voxel_um**3 == pytest.approx(graph.volume_um3, rel=0.01)
    assert 0 <= lumen.min() <= lumen.max() <= 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_tube_along_an_axis_gives_each_voxel_its_own_piece(axis: int) -> None:
    start, end = np.full(3, 30.0), np.full(3, 30.0)
    start[axis], end[axis] = 20, 80
    lumen, wall = rasterise(tube(start, end, 7), (5, 5, 5), 20)
    expected = np.zeros((5, 5, 5))
    np.moveaxis(expected, axis, 0)[1:4, 1, 1] = 1
    np.testing.assert_allclose(lumen, expected * np.pi * 49 / 400, rtol=1e-9)
    np.testing.assert_allclose(wall, expected * 2 * np.pi * 7 * 20, rtol=1e-9)


def test_each_voxel_holds_what_a_fine_count_finds_in_it() -> None:
    start, end, radius, voxels, voxel, fine = np.array([14.0, 11, 9]), np.array([66.0, 71, 50]), 8.0, 8, 10.0, 20
    centre = (np.arange(voxels * fine) + 0.5) * voxel / fine
    place = np.stack(np.meshgrid(centre, centre, centre, indexing="ij"), axis=-1) - start
    length = np.linalg.norm(end - start)
    along = place @ (end - start) / length
    inside = (np.sum(place**2, axis=-1) - along**2 < radius**2) & (along > 0) & (along < length)
    counted = inside.reshape(voxels, fine, voxels, fine, voxels, fine).mean(axis=(1, 3, 5))
    lumen, _ = rasterise(tube(start, end, radius), (voxels,) * 3, voxel)
    np.testing.assert_allclose(lumen, counted, atol=0.04)
    assert np.sqrt(np.mean((lumen - counted)[counted > 0] ** 2)) < 0.012


def test_what_lies_outside_the_lattice_is_dropped() -> None:
    lumen, wall = rasterise(tube([-40, 30, 30], [40, 30, 30], 5), (4, 4, 4), 15)
    assert wall.sum() == pytest.approx(2 * np.pi * 5 * 40, rel=0.01)
    assert lumen.sum() * 15**3 == pytest.approx(np.pi * 25 * 40, rel=0.01)


def test_lumens_that_overlap_fill_a_voxel_only_once_but_keep_both_walls() -> None:
    one = tube([0, 30, 30], [60, 30, 30], 15)
    two = VesselGraph(one.nodes_um, np.array([[0, 1], [1, 0]]), np.array([15.0, 15.0]))
    lumen, wall = rasterise(two, (6, 6, 6), 10)
    assert lumen.max() == 1
    np.testing.assert_allclose(wall, 2 * rasterise(one, (6, 6, 6), 10)[1], rtol=0.2, atol=3)
    assert wall.sum() == pytest.approx(two.surface_um2)


def test_portions_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = tube([3, 5, 7], [70, 61, 52], 6)
    whole = rasterise(graph, (8, 8, 8), 10)
    monkeypatch.setattr("tme_sim.tissues.rasterise.SAMPLES_AT_ONCE", 500)
    for one, other in zip(whole, rasterise(graph, (8, 8, 8), 10), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_no_vessel_leaves_an_empty_lattice() -> None:
    empty = VesselGraph(np.empty((0, 3)), np.empty((0, 2), np.int64), np.empty(0))
    lumen, wall = rasterise(empty, (2, 3, 4), 10)
    assert lumen.shape == wall.shape == (2, 3, 4)
    assert lumen.sum() == wall.sum() == 0
