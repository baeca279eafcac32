"""Daughters on a crowded lattice: nearest free site, lines that move on, nobody lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tme_sim.numerics.crowding import ball, divide
from tme_sim.numerics.random import stream_key

KEY = stream_key(1, "divide")


def divided(site, mothers, shape=(1, 1, 9), reach=3.0, room=None, groups=None, key=KEY):
    room = np.ones(shape, bool) if room is None else room
    groups = np.zeros(shape[0], np.int64) if groups is None else groups
    after, born = divide(site, mothers, room, groups, reach, key, np.asarray(mothers))
    return after.tolist(), born.tolist()


def test_a_ball_goes_from_shell_to_shell():
    offsets, shells = ball(2.0)
    assert np.diff(shells).tolist() == [6, 12, 8, 6]
    assert (offsets[:6] ** 2).sum(axis=1).tolist() == [1] * 6
    assert ball(0.5)[0].size == 0


def test_the_line_to_the_nearest_free_site_moves_on_by_one():
    after, born = divided([1, 2, 3, 4, 0], [1])
    assert after == [1, 2, 4, 5, 0]
    assert born == [3]


@pytest.mark.parametrize(
    "shut", [{"reach": 2.0}, {"room": np.arange(9).reshape(1, 1, 9) < 5}, {"shape": (9, 1, 1), "groups": np.arange(9) // 5}]
)
def test_without_room_in_reach_in_the_tissue_or_in_the_patch_nobody_moves(shut):
    assert divided([1, 2, 3, 4, 0], [1], **shut) == ([1, 2, 3, 4, 0], [-1])


def test_who_shares_a_site_without_filling_it_stays():
    """Of two on site 2 the later fills it, and is the one that is pushed."""
    after, born = divided([2, 1, 2, 0], [1])
    assert after == [2, 1, 3, 0]
    assert born == [2]


def test_each_of_the_nearest_free_sites_is_as_likely():
    """Six neighbours, 1200 mothers alone: chi-squared at the level 10⁻⁴."""
    found = [divided([13], [0], (3, 3, 3), 1.0, key=stream_key(seed, "divide"))[1][0] for seed in range(1200)]
    counts = np.unique(found, return_counts=True)[1]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-4


@given(st.integers(0, 2**30), st.floats(0.05, 1.0), st.floats(1.0, 3.5))
def test_everybody_is_somewhere_of_his_own_and_full_sites_stay_full(seed, filled, reach):
    generator, shape = np.random.default_rng(seed), (4, 5, 3)
    room = generator.random(shape) < 0.8
    groups = np.array([0, 0, 1, 1])
    site = np.flatnonzero(room.ravel() & (generator.random(60) < filled))
    if len(site) == 0:
        return
    mothers = np.flatnonzero(generator.random(len(site)) < 0.5)
    after, born = divide(site, mothers, room, groups, reach, stream_key(seed, "x"), mothers)
    everybody = np.concatenate([after, born[born >= 0]])
    assert len(set(everybody.tolist())) == len(everybody)
    assert set(site.tolist()) <= set(everybody.tolist())
    assert room.ravel()[everybody].all()
    assert (groups[after // 15] == groups[site // 15]).all()
    assert (groups[born[born >= 0] // 15] == groups[site[mothers][born >= 0] // 15]).all()
    stayed = site[mothers][(born < 0) & (after[mothers] == site[mothers])]
    free = np.setdiff1d(np.flatnonzero(room), everybody)
    steps = sum(
        np.abs(a[:, None] - b) for a, b in zip(np.unravel_index(stayed, shape), np.unravel_index(free, shape), strict=True)
    )
    beside = (steps == 1) & (groups[stayed // 15][:, None] == groups[free // 15])
    assert not beside.any()  # nobody gave up beside a free site
