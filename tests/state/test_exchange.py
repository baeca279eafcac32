"""What crosses the wall leaves one side and arrives on the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tme_sim.state.exchange import draw_from_plasma, return_to_plasma
from tme_sim.state.lattice import Patch

PATCHES = (Patch("rim", 0, 1, 3), Patch("core", 1, 1, 1000))
VOXEL = np.array([0, 1, 2, 3, 3, 3])  # the last three places are in the second patch, in one voxel


@given(
    plasma=st.integers(0, 10**13),
    clearance=st.lists(st.floats(0, 1e12), min_size=6, max_size=6),
    seed=st.integers(0, 2**32),
    number=st.sampled_from(["stochastic", "continuum"]),
)
def test_plasma_loses_what_the_copies_of_all_patches_take_and_never_more_than_it_has(make_state, plasma, clearance, seed, number):
    state = make_state((2, 1, 2), number, plasma=plasma, plasma_volume_um3=1e12, patches=PATCHES)
    pool = state.body.pools["plasma"]
    entered = draw_from_plasma(pool, 1e12, state.ledger, state.lattice, VOXEL, np.array(clearance), 2, 60.0, (seed, 7))
    assert (pool >= -1e-6 * plasma).all()
    per_patch = np.stack([entered[:, :2].sum(axis=1), entered[:, 2:].sum(axis=1)])
    np.testing.assert_allclose(state.ledger.entered[:, 2], per_patch, rtol=1e-12)
    assert pool[0] + 3 * per_patch[0, 0] + 1000 * per_patch[1, 0] == pytest.approx(plasma, rel=1e-12)
    assert (entered[:, np.array(clearance) == 0] == 0).all()
    if number == "stochastic":
        assert (pool >= 0).all()
        assert pool[0] + 3 * per_patch[0, 0] + 1000 * per_patch[1, 0] == plasma


def test_each_place_takes_clearance_times_concentration(make_state):
    clearance = np.array([1.0, 2, 0, 4, 5, 6])
    state = make_state((2, 1, 2), plasma=1e12, plasma_volume_um3=1e12, patches=PATCHES)
    entered = draw_from_plasma(state.body.pools["plasma"], 1e12, state.ledger, state.lattice, VOXEL, clearance, 1, 10.0, (1, 2))
    np.testing.assert_allclose(entered[0], 10 * clearance, rtol=1e-6)
    whole = make_state((2, 1, 2), "stochastic", plasma=10**16, plasma_volume_um3=1e12, patches=PATCHES)
    drawn = draw_from_plasma(whole.body.pools["plasma"], 1e12, whole.ledger, whole.lattice, VOXEL, clearance, 1, 10.0, (1, 2))
    mean = 1e5 * clearance
    assert (np.abs(drawn[0] - mean) <= 4 * np.sqrt(mean)).all()  # Poisson: 6e-5 for each of five places


def test_what_returns_is_weighted_by_its_patch(make_state):
    state = make_state((2, 1, 2), "stochastic", patches=PATCHES)
    amount = np.zeros((4, 2, 3), np.int64)
    amount[1, 0] = [5, 7, 11]
    amount[3, 1] = [1, 0, 2]
    return_to_plasma(state.body.pools["plasma"], state.ledger, state.lattice, np.array([0, 1, 3]), amount)
    assert state.body.pools["plasma"].tolist() == [12 * 3 + 11 * 1000, 3 + 2000]
    assert state.ledger.returned[:, 1, 0].tolist() == [12, 11]
    assert state.ledger.returned[:, 3, 1].tolist() == [1, 2]
