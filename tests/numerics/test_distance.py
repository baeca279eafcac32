"""Distances to cylinders and pieces of lines against closed forms."""

import numpy as np
import pytest

from tme_sim.numerics.distance import along, distance_to_cylinders, spread

PARALLEL = np.array([[[0.0, 0, 0], [100.0, 0, 0]], [[0.0, 50, 0], [100.0, 50, 0]]])


def test_the_nearest_wall_counts_rather_than_the_nearest_axis():
    points = np.array([[50.0, 20, 0], [50.0, 3, 0], [50.0, 50, 19], [50.0, -30, 0]])
    distance = distance_to_cylinders(points, PARALLEL, np.array([4.0, 20.0]))
    np.testing.assert_allclose(distance, [10, 0, 0, 26], atol=20**2 / (32 * 30))


def test_without_cylinders_every_distance_is_infinite():
    assert np.isinf(distance_to_cylinders(np.zeros((3, 3)), np.empty((0, 2, 3)), np.empty(0))).all()


def test_pieces_of_lines_keep_their_length_and_lie_on_them():
    random = np.random.default_rng(3)
    ends = random.uniform(0, 100, (5, 2, 3))
    point, line, piece = along(ends, np.full(5, 7.0))
    length = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    np.testing.assert_allclose(np.bincount(line, piece), length)
    assert piece.max() <= 7
    to_ends = np.linalg.norm(point[:, None] - ends[line], axis=2).sum(axis=1)
    np.testing.assert_allclose(to_ends, length[line])


@pytest.mark.parametrize("count", [10, 1000])
def test_a_spread_sample_is_even_sorted_and_the_same_at_every_call(count):
    rows = spread(count, 100)
    assert len(rows) == min(count, 100)
    np.testing.assert_array_equal(rows // (count // len(rows)), np.arange(len(rows)))
    np.testing.assert_array_equal(rows, spread(count, 100))
