"""Walkers diffuse, drift and come to rest as the face rates say; who meets whom is drawn fairly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tme_sim.numerics import transport
from tme_sim.numerics.random import stream_key
from tme_sim.numerics.threads import set_threads
from tme_sim.numerics.walk import NOBODY, meet, walk

KEY = stream_key(1, "walk")
H = 15.0


def face_rates(*given, **more):
    return transport.face_rates(*given, **more).out()


def positions(place, shape):
    return np.stack(np.unravel_index(place, shape), axis=1) * H


@pytest.mark.parametrize("steps", [1, 7])
def test_walkers_spread_by_2_d_t_along_each_axis_whatever_the_step(steps):
    """Means within 4 standard errors, variances too (relative standard error √(2/n))."""
    shape, n, diffusivity, time_s = (41, 41, 41), 20_000, 0.5, 2250.0
    rates = face_rates(diffusivity, np.ones(shape), H)
    start = np.full(n, np.ravel_multi_index((20, 20, 20), shape))
    place = start
    for step in range(steps):
        place = walk(place, rates, time_s / steps, stream_key(1, step), np.arange(n))
    moved = positions(place, shape) - positions(start, shape)
    variance = 2 * diffusivity * time_s
    assert np.abs(moved.mean(axis=0)).max() < 4 * np.sqrt(variance / n)
    assert moved.var(axis=0) == pytest.approx(variance, rel=4 * np.sqrt(3 / n))


def test_the_mean_moves_with_the_velocity():
    """Exactly v t, for these rates: the two ways through a face differ by v/h."""
    shape, n, time_s = (3, 3, 201), 20_000, 3000.0
    velocity = np.zeros((3, *shape))
    velocity[2] = 0.2
    rates = face_rates(0.5, np.ones(shape), H, velocity_um_per_s=velocity)
    start = np.full(n, np.ravel_multi_index((1, 1, 80), shape))
    moved = (positions(walk(start, rates, time_s, KEY, np.arange(n)), shape) - positions(start, shape))[:, 2]
    assert moved.mean() == pytest.approx(0.2 * time_s, abs=4 * moved.std() / np.sqrt(n))


def test_nobody_goes_through_a_closed_face_or_off_the_lattice():
    shape = (4, 3, 5)
    there = np.ones(shape)
    there[1, :, 2] = 0
    place = np.flatnonzero(there).repeat(20)
    rates = face_rates(10.0, there, H, blocked_z=(2,))
    after = walk(place, rates, 3600.0, KEY, np.arange(len(place)))
    assert there.ravel()[after].all()
    assert ((after < 30) == (place < 30)).all()
    assert (after != place).mean() > 0.5


def test_a_walk_does_not_depend_on_threads_or_on_the_order_of_walkers():
    shape, n = (9, 9, 9), 150_000
    rates = face_rates(0.5, np.ones(shape), H)
    place, ids = np.arange(n) % 729, np.arange(n) * 3
    order = np.random.default_rng(0).permutation(n)
    found = []
    for threads in (1, 2):
        set_threads(threads)
        found.append(walk(place, rates, 600.0, KEY, ids))
    set_threads(1)
    assert (found[0] == found[1]).all()
    assert (walk(place[order], rates, 600.0, KEY, ids[order]) == found[0][order]).all()


def test_a_place_off_the_lattice_is_refused():
    with pytest.raises(ValueError, match="place 27: must lie between 0 and 26"):
        walk([3, 27], np.ones((6, 3, 3, 3)), 1.0, KEY, [0, 1])


def test_each_of_those_within_reach_is_met_as_often():
    """Seven on the site and behind its faces, one out of reach behind a closed face: chi-squared at the level 10⁻⁴."""
    shape, n = (3, 3, 3), 14_000
    passable = face_rates(1.0, np.ones(shape), H, blocked_z=(2,)) > 0
    others = [13, 13, 4, 10, 16, 12, 14, 22, 0]  # 13 is the middle, 22 beyond the blocked plane, 0 a corner
    met = meet(np.full(n, 13), others, passable, KEY, np.arange(n))
    counts = np.bincount(met, minlength=9)
    assert counts[7] == counts[8] == 0
    assert stats.chisquare(counts[:7]).pvalue > 1e-4


def test_whoever_has_nobody_in_reach_meets_nobody():
    passable = face_rates(1.0, np.ones((3, 3, 3)), H) > 0
    assert meet([13, 26, 1], [0, 0], passable, KEY, [0, 1, 2]).tolist()[:2] == [NOBODY, NOBODY]
    assert meet([13], np.empty(0, np.int64), passable, KEY, [0]).tolist() == [NOBODY]
