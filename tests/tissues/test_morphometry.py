"""Measures of vessels agree with closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from tme_sim.state.errors import InputError
from tme_sim.state.vessels import VesselGraph
from tme_sim.tissues.morphometry import distance_to_vessel, morphometry
from tme_sim.tissues.network import grow_network
from tme_sim.tissues.rasterise import rasterise

RADIUS, OUTER, VOXEL, EDGE = 6.0, 90.0, 5.0, 40  # a Krogh cylinder on a lattice of 200 um


def krogh() -> tuple[VesselGraph, np.ndarray]:
    """One tube along z through the middle, and the voxels of the tissue cylinder around it."""
    graph = VesselGraph(np.array([[0.0, 100, 100], [200.0, 100, 100]]), np.array([[0, 1]]), np.array([RADIUS]))
    place = (np.arange(EDGE) + 0.5) * VOXEL - 100
    inside = np.broadcast_to(np.hypot(place[:, None], place) < OUTER, (EDGE, EDGE, EDGE))
    return graph, inside


def test_distances_to_a_single_tube_agree_with_the_closed_form() -> None:
    graph, inside = krogh()
    values = morphometry(*rasterise(graph, (EDGE,) * 3, VOXEL), VOXEL, graph, inside)
    # ⟨(ρ − r)₊⟩ over the disc ρ < R, and the distance that 95 % of its area lies within
    assert values["mean_distance_to_vessel_um"] == pytest.approx(
        (2 / 3 * OUTER**3 - RADIUS * OUTER**2 + RADIUS**3 / 3) / OUTER**2, rel=0.005
    )
    assert values["p95_distance_to_vessel_um"] == pytest.approx(np.sqrt(0.95) * OUTER - RADIUS, abs=VOXEL / 4)


def test_distances_without_a_graph_agree_to_a_voxel() -> None:
    graph, inside = krogh()
    lumen, wall = rasterise(graph, (EDGE,) * 3, VOXEL)
    fine, coarse = morphometry(lumen, wall, VOXEL, graph, inside), morphometry(lumen, wall, VOXEL, None, inside)
    for name in ("mean_distance_to_vessel_um", "p95_distance_to_vessel_um"):
        assert abs(fine[name] - coarse[name]) < VOXEL
    assert "length_density_per_mm2" not in coarse


def test_densities_of_a_single_tube_agree_with_the_closed_form() -> None:
    graph, inside = krogh()
    values = morphometry(*rasterise(graph, (EDGE,) * 3, VOXEL), VOXEL, graph, inside)
    area_mm2 = inside[0].sum() * (VOXEL * 1e-3) ** 2
    assert values["vessel_surface_mm2_per_mm3"] == pytest.approx(2 * np.pi * RADIUS * 1e-3 / area_mm2, rel=1e-6)
    assert values["blood_volume_fraction"] == pytest.approx(np.pi * RADIUS**2 * 1e-6 / area_mm2, rel=0.01)
    assert values["length_density_per_mm2"] == pytest.approx(1 / area_mm2)
    assert values["vessel_density_per_mm2"] == pytest.approx(1 / area_mm2 / 3)  # cut by one of the three families of sections
    assert values["mean_vessel_radius_um"] == pytest.approx(RADIUS)
    assert values["mean_vessel_spacing_um"] == pytest.approx(1e3 * np.sqrt(3 * area_mm2))


def test_the_nearest_wall_counts_rather_than_the_nearest_axis() -> None:
    nodes_um = np.array([[0.0, 0, 0], [100.0, 0, 0], [0.0, 50, 0], [100.0, 50, 0]])
    graph = VesselGraph(nodes_um, np.array([[0, 1], [2, 3]]), np.array([4.0, 20.0]))
    distance_um = distance_to_vessel(np.array([[50.0, 20, 0], [50.0, 3, 0], [50.0, 50, 19]]), graph)
    np.testing.assert_allclose(distance_um, [10, 0, 0], atol=0.8)


def test_more_places_than_are_sampled_give_the_same_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, inside = krogh()
    lumen, wall = rasterise(graph, (EDGE,) * 3, VOXEL)
    every = morphometry(lumen, wall, VOXEL, graph, inside)
    monkeypatch.setattr("tme_sim.tissues.morphometry.PLACES_MAX", 10_000)
    some = morphometry(lumen, wall, VOXEL, graph, inside)
    assert some["mean_distance_to_vessel_um"] == pytest.approx(every["mean_distance_to_vessel_um"], abs=1)  # 5 standard errors
    assert some["mean_distance_to_vessel_um"] != every["mean_distance_to_vessel_um"]


def test_a_typical_tumour_network_has_the_morphometry_of_stereology() -> None:
    graph = grow_network(
        (600, 600, 600),
        vessel_radius_um=7,
        radius_variation=0.3,
        surface_per_um=0.01,
        tortuosity=0.5,
        avascular_core=0,
        seed_rng=np.random.default_rng(3),
    )
    values = morphometry(*rasterise(graph, (40, 40, 40), 15), 15, graph)
    assert values["vessel_surface_mm2_per_mm3"] == pytest.approx(10, rel=0.02)
    assert values["mean_vessel_radius_um"] == pytest.approx(7, rel=0.03)
    assert values["length_density_per_mm2"] == pytest.approx(1e6 * 0.01 / (2 * np.pi * 7), rel=0.03)
    assert values["vessel_density_per_mm2"] == pytest.approx(values["length_density_per_mm2"] / 2, rel=0.05)
    assert 0.03 < values["blood_volume_fraction"] < 0.04
    assert 20 < values["mean_distance_to_vessel_um"] < 40


def test_halves_of_a_lattice_average_to_the_whole() -> None:
    graph, _ = krogh()
    lumen, wall = rasterise(graph, (EDGE,) * 3, VOXEL)
    left = np.zeros(lumen.shape, bool)
    left[:, :15] = True
    whole, one, other = (morphometry(lumen, wall, VOXEL, graph, mask) for mask in (None, left, ~left))
    for name in ("vessel_surface_mm2_per_mm3", "blood_volume_fraction", "length_density_per_mm2", "mean_distance_to_vessel_um"):
        assert whole[name] == pytest.approx(15 / 40 * one[name] + 25 / 40 * other[name])
    assert one["length_density_per_mm2"] == 0
    assert np.isnan(one["mean_vessel_radius_um"])


def test_tissue_without_vessels_is_infinitely_far_from_them() -> None:
    nothing = np.zeros((3, 3, 3))
    empty = VesselGraph(np.empty((0, 3)), np.empty((0, 2), np.int64), np.empty(0))
    for graph in (None, empty):
        values = morphometry(nothing, nothing, 10, graph)
        assert values["mean_distance_to_vessel_um"] == values["p95_distance_to_vessel_um"] == np.inf
        assert values["vessel_surface_mm2_per_mm3"] == values["blood_volume_fraction"] == 0


@pytest.mark.parametrize(
    ("wall", "inside", "named"),
    [
        (np.zeros((2, 2, 3)), None, "surface_um2"),
        (np.zeros((2, 2, 2)), np.ones((2, 2), bool), "inside"),
        (np.zeros((2, 2, 2)), np.zeros((2, 2, 2), bool), "at least one voxel"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(wall: np.ndarray, inside: np.ndarray | None, named: str) -> None:
    with pytest.raises(InputError, match=named):
        morphometry(np.zeros((2, 2, 2)), wall, 10, None, inside)
