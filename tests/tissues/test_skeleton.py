from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from tme_sim.state.errors import InputError
from tme_sim.state.vessels import VesselGraph
from tme_sim.tissues.skeleton import clean_mask, graph_from_mask

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Voxel = tuple[float, float, float]


def centres(shape: tuple[int, int, int], voxel_um: Voxel) -> Floats:
    axes = [(np.arange(n) + 0.5) * edge for n, edge in zip(shape, voxel_um, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def cylinder(shape: tuple[int, int, int], voxel_um: Voxel, start: Floats, end: Floats, radius_um: float) -> Mask:
    """Between two flat ends."""
    course = (end - start) / np.linalg.norm(end - start)
    offset = centres(shape, voxel_um) - start
    along = offset @ course
    return np.asarray(
        (np.linalg.norm(offset - along[..., None] * course, axis=-1) <= radius_um)
        & (along >= 0)
        & (along <= np.linalg.norm(end - start))
    )


def tube(size: int, points_um: Floats, radius_um: float, voxel_um: float = 2.0) -> Mask:
    """All within a radius of a course, round at its ends."""
    places = centres((size,) * 3, (voxel_um,) * 3).reshape(-1, 3)
    return np.asarray(KDTree(points_um).query(places, distance_upper_bound=radius_um)[0] <= radius_um).reshape((size,) * 3)


def turn(seed: int) -> Floats:
    return np.asarray(np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0])


def mean_radius(graph: VesselGraph) -> float:
    return float(np.average(graph.radius_um, weights=graph.length_um))


def degrees(graph: VesselGraph) -> list[int]:
    """How many nodes have 1, 2, 3, … segments."""
    return [int(n) for n in np.bincount(np.bincount(graph.segments.ravel(), minlength=len(graph.nodes_um)))[1:]]


def loops(graph: VesselGraph) -> int:
    """Independent cycles."""
    n = len(graph.nodes_um)
    links = coo_array((np.ones(len(graph.segments)), tuple(graph.segments.T)), shape=(n, n))
    return len(graph.segments) - n + int(connected_components(links, directed=False)[0])


VOXELS: list[Voxel] = [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0), (1.0, 1.3, 0.7)]


@pytest.mark.parametrize("voxel_um", VOXELS)
@pytest.mark.parametrize("radius", [1.5, 2.2, 4.0])
def test_a_tube_of_any_angle_has_its_length_within_2_percent_and_its_radius_within_half_a_voxel(
    radius: float, voxel_um: Voxel
) -> None:
    rng = np.random.default_rng(5)
    radius_um = radius * max(voxel_um)
    shape = (round(60 / voxel_um[0] * max(voxel_um)), 60, 90)
    size_um = np.asarray(shape) * voxel_um
    for _ in range(5):
        course = rng.normal(size=3)
        course /= np.linalg.norm(course)
        middle = size_um / 2 + rng.uniform(-0.5, 0.5, 3) * voxel_um
        to_faces = (
            np.where(course > 0, size_um - middle, -middle) / course,
            np.where(course > 0, middle, middle - size_um) / course,
        )
        length = to_faces[0].min() + to_faces[1].min()
        graph = graph_from_mask(cylinder(shape, voxel_um, middle - 1e3 * course, middle + 1e3 * course, radius_um), voxel_um)
        assert graph.length_um.sum() == pytest.approx(length, rel=0.02)
        assert mean_radius(graph) == pytest.approx(radius_um, abs=0.25 * max(voxel_um))
        assert np.abs(graph.radius_um - radius_um).max() < 0.5 * max(voxel_um)
        assert degrees(graph) == [2, len(graph.segments) - 1]
        assert (len(graph.inlets), len(graph.outlets)) == (1, 1)
        on_face = np.isclose(graph.nodes_um, 0) | np.isclose(graph.nodes_um, size_um)
        assert set(np.flatnonzero(on_face.any(axis=1))) == {int(graph.inlets[0]), int(graph.outlets[0])}
        assert graph.nodes_um[graph.inlets[0], np.argmax(size_um)] < graph.nodes_um[graph.outlets[0], np.argmax(size_um)]


@pytest.mark.parametrize("seed", range(6))
def test_a_tube_that_ends_in_the_image_has_its_length_and_no_opening(seed: int) -> None:
    course = turn(seed)[0]
    start, end = 40 - 28 * course, 40 + 28 * course
    graph = graph_from_mask(cylinder((80, 80, 80), (1.0, 1.0, 1.0), start, end, 3.0), (1.0, 1.0, 1.0))
    assert graph.length_um.sum() == pytest.approx(56, rel=0.02)
    assert np.abs(graph.radius_um - 3).max() < 0.5
    assert len(graph.inlets) == len(graph.outlets) == 0


@pytest.mark.parametrize("edge", [3, 4, 5, 6])
def test_a_tube_along_an_axis_stays_whether_an_even_or_odd_number_of_voxels_wide(edge: int) -> None:
    mask = np.zeros((20, 20, 50), bool)
    mask[8 : 8 + edge, 8 : 8 + edge] = True
    graph = graph_from_mask(mask, (2.0, 2.0, 2.0))
    assert graph.length_um.sum() == pytest.approx(100, rel=0.02)
    assert graph.nodes_um[:, :2] == pytest.approx(np.full((len(graph.nodes_um), 2), 16.0 + edge), abs=1.0)


@pytest.mark.parametrize("radius_um", [3.0, 6.0, 10.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_bifurcation_has_one_node_of_three_and_three_ends(seed: int, radius_um: float) -> None:
    arms = turn(seed) @ np.array([[1, 0, 0], [-0.5, 0.87, 0], [-0.5, -0.87, 0]]).T
    course = np.concatenate([64 + np.linspace(0, 45, 300)[:, None] * arm for arm in arms.T])
    graph = graph_from_mask(tube(64, course, radius_um), (2.0, 2.0, 2.0))
    assert degrees(graph)[0] == 3
    assert degrees(graph)[2:] == [1]
    assert loops(graph) == 0
    # the round ends are led to their tips
    assert graph.length_um.sum() == pytest.approx(3 * 45 + 3 * radius_um, rel=0.03)
    node = graph.nodes_um[np.bincount(graph.segments.ravel()) == 3]
    assert np.linalg.norm(node - 64) < 2 * 2.0


@pytest.mark.parametrize(("radius_um", "ring_um"), [(3.0, 25.0), (3.0, 45.0), (6.0, 45.0)])
def test_a_ring_is_one_loop_of_its_length(ring_um: float, radius_um: float) -> None:
    angle = np.linspace(0, 2 * np.pi, 1500)[:, None]
    first, second, _ = turn(8)
    course = 64 + ring_um * (np.cos(angle) * first + np.sin(angle) * second)
    graph = graph_from_mask(tube(64, course, radius_um), (2.0, 2.0, 2.0))
    assert loops(graph) == 1
    assert degrees(graph) == [0, len(graph.segments)]
    assert graph.length_um.sum() == pytest.approx(2 * np.pi * ring_um, rel=0.02)
    assert mean_radius(graph) == pytest.approx(radius_um, abs=0.5)


def test_a_curved_vessel_is_followed() -> None:
    angle = np.linspace(0, 3 * np.pi, 2000)
    course = np.stack([14 + angle / angle[-1] * 100, 64 + 35 * np.cos(angle), 64 + 35 * np.sin(angle)], axis=1)
    graph = graph_from_mask(tube(64, course, 4.0), (2.0, 2.0, 2.0))
    assert KDTree(course).query(graph.nodes_um)[0].max() < 4.0  # the tips of round ends
    course_um = np.hypot(100, 35 * 3 * np.pi)
    assert course_um * 0.98 < graph.length_um.sum() < course_um * 1.02 + 2 * 4.0


def test_a_branch_too_short_to_leave_its_vessel_is_no_branch() -> None:
    mask = cylinder((40, 40, 60), (1.0,) * 3, np.array([20.3, 20.1, -50]), np.array([20.3, 20.1, 110]), 5.0)
    stump = cylinder((40, 40, 60), (1.0,) * 3, np.array([20.3, 20.1, 30]), np.array([27.0, 20.1, 30]), 1.6)
    branch = cylinder((40, 40, 60), (1.0,) * 3, np.array([20.3, 20.1, 30]), np.array([36.0, 20.1, 30]), 1.6)
    assert degrees(graph_from_mask(mask | stump, (1.0,) * 3))[2:] == []
    assert degrees(graph_from_mask(mask | branch, (1.0,) * 3))[2:] == [1]


def test_a_hollow_vessel_is_filled_and_specks_are_dropped_and_counted() -> None:
    ends = np.array([12.0, 12.2, 5]), np.array([12.0, 12.2, 45])
    full = cylinder((24, 24, 50), (1.0,) * 3, *ends, 5.0)
    hollow = full & ~cylinder((24, 24, 50), (1.0,) * 3, ends[0] + [0, 0, 3], ends[1] - [0, 0, 3], 3.0)
    hollow[0, 0, :7] = True
    cleaned, dropped = clean_mask(hollow)
    assert np.array_equal(cleaned, full)
    assert dropped == 1
    assert graph_from_mask(hollow, (1.0,) * 3).length_um.sum() == pytest.approx(40, rel=0.05)


def test_a_ball_and_specks_have_no_axis() -> None:
    ball = np.linalg.norm(centres((30, 30, 30), (1.0,) * 3) - 15.2, axis=-1) < 7
    assert len(graph_from_mask(ball, (1.0,) * 3).segments) == 0


@pytest.mark.parametrize(
    "mask", [np.zeros((4, 5, 6), bool), np.ones((4, 5, 6), bool), np.eye(4, dtype=bool), np.eye(4)[None].astype(np.uint8)]
)
def test_what_marks_no_vessel_in_a_volume_is_refused(mask: NDArray[np.bool_]) -> None:
    with pytest.raises(InputError, match="must"):
        graph_from_mask(mask, (1.0, 1.0, 1.0))


def test_voxels_that_would_make_too_many_cubes_are_refused() -> None:
    mask = np.zeros((50, 50, 50), bool)
    mask[:, 20:25, 20:25] = True
    with pytest.raises(InputError, match="cubic voxels"):
        graph_from_mask(mask, (1.0, 1.0, 1e-3))
