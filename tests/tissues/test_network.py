"""A grown network has the surface, radii and shape that were asked for, and can carry blood."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tme_sim.state.errors import InputError
from tme_sim.state.vessels import VesselGraph
from tme_sim.tissues.network import grow_network
from tme_sim.tissues.rasterise import rasterise

CUBE = (600.0, 600.0, 600.0)


def grow(
    size_um: tuple[float, float, float] = CUBE,
    surface_per_um: float = 0.01,
    *,
    radius_um: float = 7.0,
    variation: float = 0.3,
    tortuosity: float = 0.5,
    core: float = 0.0,
    seed: int = 1,
) -> VesselGraph:
    return grow_network(
        size_um,
        vessel_radius_um=radius_um,
        radius_variation=variation,
        surface_per_um=surface_per_um,
        tortuosity=tortuosity,
        avascular_core=core,
        seed_rng=np.random.default_rng(seed),
    )


def degrees(graph: VesselGraph) -> NDArray[np.int64]:
    return np.bincount(graph.segments.ravel(), minlength=len(graph.nodes_um))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("size_um", "surface_per_um", "core"),
    [
        ((240.0, 240.0, 240.0), 0.005, 0.0),
        ((240.0, 240.0, 240.0), 0.04, 0.0),
        (CUBE, 0.01, 0.0),
        (CUBE, 0.02, 1.0),
        ((240.0, 400.0, 900.0), 0.01, 0.5),
        ((2000.0, 2000.0, 2000.0), 0.005, 0.3),
    ],
)
def test_surface_and_mean_radius_are_those_asked_for(
    size_um: tuple[float, float, float], surface_per_um: float, core: float, seed: int
) -> None:
    graph = grow(size_um, surface_per_um, core=core, seed=seed)
    assert graph.surface_um2 / np.prod(size_um) == pytest.approx(surface_per_um, rel=0.001)
    assert np.average(graph.radius_um, weights=graph.length_um) == pytest.approx(7, rel=0.03)
    assert np.all((graph.nodes_um >= 0) & (graph.nodes_um <= size_um))
    assert graph.length_um.min() > 0.1


def test_the_surface_inside_the_lattice_is_that_of_the_graph() -> None:
    graph = grow((240.0, 240.0, 240.0), 0.02)
    assert rasterise(graph, (16, 16, 16), 15.0)[1].sum() == pytest.approx(0.02 * 240**3, rel=0.005)


def test_the_same_seed_gives_the_same_network_and_another_seed_another() -> None:
    first, again, other = grow(seed=5, core=0.5), grow(seed=5, core=0.5), grow(seed=6, core=0.5)
    for name in ("nodes_um", "segments", "radius_um", "inlets", "outlets"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert first.nodes_um.shape != other.nodes_um.shape or not np.allclose(first.nodes_um, other.nodes_um)


@pytest.mark.parametrize("core", [0.0, 1.0])
@pytest.mark.parametrize("size_um", [CUBE, (60.0, 600.0, 600.0)])
def test_every_vessel_is_connected_to_an_inlet_and_an_outlet(size_um: tuple[float, float, float], core: float) -> None:
    graph = grow(size_um, core=core)
    count = len(graph.nodes_um)
    links = coo_array((np.ones(len(graph.segments)), tuple(graph.segments.T)), shape=(count, count))
    parts, part = connected_components(links, directed=False)
    assert set(part[graph.inlets]) == set(part[graph.outlets]) == set(range(parts))
    assert not set(graph.inlets) & set(graph.outlets)


def test_most_of_a_network_is_one_part() -> None:
    graph = grow((1000.0, 1000.0, 1000.0))
    links = coo_array((graph.length_um, tuple(graph.segments.T)), shape=(len(graph.nodes_um),) * 2)
    part = connected_components(links, directed=False)[1]
    assert np.bincount(part[graph.segments[:, 0]], graph.length_um).max() > 0.97 * graph.length_um.sum()


def test_open_ends_lie_on_faces_which_their_vessels_cross_at_right_angles() -> None:
    graph = grow()
    ends = np.concatenate([graph.inlets, graph.outlets])
    at_wall = (graph.nodes_um[ends] == 0) | (graph.nodes_um[ends] == 600)
    np.testing.assert_array_equal(at_wall.sum(axis=1), 1)
    np.testing.assert_array_equal(degrees(graph)[ends], 1)
    last = graph.nodes_um[graph.segments[np.isin(graph.segments, ends).any(axis=1)]]
    np.testing.assert_array_equal(np.count_nonzero(last[:, 0] - last[:, 1], axis=1), 1)
    assert graph.nodes_um[graph.inlets, 0].mean() + 200 < graph.nodes_um[graph.outlets, 0].mean()


def test_branch_points_are_mainly_bifurcations_and_blind_ends_are_rare_without_a_core() -> None:
    graph = grow((1000.0, 1000.0, 1000.0))
    degree = degrees(graph)
    assert np.mean(degree[degree > 2] == 3) > 0.75
    blind = np.count_nonzero(degree == 1) - len(graph.inlets) - len(graph.outlets)
    assert 0 <= blind < 0.005 * np.count_nonzero(degree > 2)


def test_radii_are_log_normal_between_branch_points_and_constant_along_a_vessel() -> None:
    graph = grow((1000.0, 1000.0, 1000.0), variation=0.3)
    order = np.argsort(graph.segments, axis=None, kind="stable")
    node, radius_um = graph.segments.ravel()[order], np.repeat(graph.radius_um, 2)[order]
    pairs = np.flatnonzero((node[1:] == node[:-1]) & (degrees(graph)[node[1:]] == 2))
    np.testing.assert_array_equal(radius_um[pairs], radius_um[pairs + 1])
    per_vessel = np.unique(graph.radius_um)
    sigma = np.sqrt(np.log1p(0.3**2))
    assert np.std(np.log(per_vessel)) == pytest.approx(sigma, rel=4 / np.sqrt(2 * len(per_vessel)))  # 4 standard errors
    scaled = np.log(per_vessel) - np.log(per_vessel).mean()
    assert stats.kstest(scaled / sigma, "norm").pvalue > 1e-3


def test_without_variation_all_radii_are_equal() -> None:
    np.testing.assert_allclose(np.ptp(grow(variation=0.0).radius_um), 0, atol=1e-12)


def test_tortuosity_makes_vessels_turn() -> None:
    turn = [_mean_turn(grow(tortuosity=tortuosity)) for tortuosity in (0.0, 0.5, 1.0)]
    assert turn[0] < 0.08  # only where a vessel turns towards a face
    assert turn[0] + 0.1 < turn[1] < turn[2] - 0.1


def _mean_turn(graph: VesselGraph) -> float:
    """Mean angle between consecutive segments where a vessel goes on, in rad."""
    order = np.argsort(graph.segments, axis=None, kind="stable")
    node, half = graph.segments.ravel()[order], order
    first = np.flatnonzero((node[1:] == node[:-1]) & (degrees(graph)[node[1:]] == 2))
    other = graph.segments.ravel()[half ^ 1]
    a, b = (graph.nodes_um[other[rows]] - graph.nodes_um[node[rows]] for rows in (first, first + 1))
    cosine = -np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return float(np.mean(np.arccos(np.clip(cosine, -1, 1))))


def test_a_uniform_network_fills_the_box_alike_in_all_directions() -> None:
    graph = grow((1000.0, 1000.0, 1000.0))
    ends = graph.nodes_um[graph.segments]
    octant = (ends.mean(axis=1) > 500) @ [4, 2, 1]
    share = np.bincount(octant, graph.length_um) / graph.length_um.sum()
    np.testing.assert_allclose(share, 1 / 8, rtol=0.2)
    crossings = np.abs(ends[:, 1] - ends[:, 0]).sum(axis=0) / graph.length_um.sum()
    np.testing.assert_allclose(crossings, 0.5, rtol=0.06)  # ⟨|cos|⟩ of an isotropic direction


@pytest.mark.parametrize("core", [0.3, 0.6, 1.0])
def test_the_core_has_the_lower_density_asked_for(core: float) -> None:
    size = 1200.0
    graph = grow((size, size, size), core=core)
    far = np.linalg.norm(2 * graph.nodes_um[graph.segments].mean(axis=1) / size - 1, axis=1)
    in_core = graph.length_um[far < 0.5].sum() / (np.pi / 6 * 0.125)
    in_rim = graph.length_um[far > 1].sum() / (1 - np.pi / 6)
    assert in_core / in_rim == pytest.approx(1 - core, abs=0.15)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"size_um": (0.0, 600.0, 600.0)}, "size_um"),
        ({"size_um": (600.0, 600.0, np.inf)}, "size_um"),
        ({"radius_um": 0.0}, "vessel_radius_um"),
        ({"radius_um": 200.0}, "vessel_radius_um"),
        ({"variation": -0.1}, "radius_variation"),
        ({"tortuosity": np.nan}, "tortuosity"),
        ({"core": 1.5}, "avascular_core"),
        ({"surface_per_um": 0.0}, "surface_per_um"),
        ({"surface_per_um": 0.2}, "at most 0.0786"),
        ({"size_um": (240.0, 240.0, 240.0), "surface_per_um": 1e-6}, "nearest found in this box"),
    ],
)
def test_a_request_that_cannot_be_met_says_what_can(change: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        grow(**change)  # type: ignore[arg-type]
