"""Uptake by agents against its closed form; every statistical test has a fixed seed and the level 10⁻³."""

import numpy as np
import pytest
from scipy import stats

from tme_sim.numerics.collect import collect
from tme_sim.numerics.random import stream_key

ONE_VOXEL_SITES = np.arange(4)[:, None]


def test_counts_taken_are_binomial_with_the_clearance_over_the_accessible_volume():
    n, clearance, capacity, volume, dt_s = 30, 2.0, 0.25, 100.0, 6.0
    sites = 20_000
    amount = np.full((1, sites), n, np.int32)
    footprint, phi = np.arange(sites)[:, None], np.full(sites, capacity)
    taken = collect(amount, np.arange(sites), np.full(sites, clearance), phi, volume, footprint, dt_s, stream_key(1, "uptake"))
    exact = stats.binom(n, 1.0 - np.exp(-clearance * dt_s / (capacity * volume)))
    counts = np.bincount(taken[:, 0], minlength=n + 1)
    expected = sites * exact.pmf(np.arange(n + 1))
    kept = expected > 5
    assert stats.chisquare(counts[kept], expected[kept] * counts[kept].sum() / expected[kept].sum()).pvalue > 1e-3
    assert np.array_equal(amount[0] + taken[:, 0], np.full(sites, n))


def test_agents_of_a_voxel_share_by_their_clearance():
    clearance, repeats = np.array([1.0, 0.0, 3.0, 2.0]), 4000
    total, gone = np.zeros(4), 0
    for repeat in range(repeats):
        amount = np.full((1, 4), 12, np.int64)
        args = (np.zeros(4, int), clearance, np.full(4, 0.2), 100.0, ONE_VOXEL_SITES, 5.0)
        taken = collect(amount, *args, stream_key(2, repeat))
        assert amount[0, 0] == 12 - taken.sum()
        assert (amount[0, 1:] == 12).all()
        total += taken[:, 0]
        gone += taken.sum()
    mean = 12 * (1.0 - np.exp(-6.0 * 5.0 / (0.2 * 100.0)))
    assert total[1] == 0
    assert abs(gone / repeats - mean) < 4.0 * np.sqrt(mean * np.exp(-1.5) / repeats)
    assert stats.chisquare(total[[0, 2, 3]], gone * clearance[[0, 2, 3]] / 6.0).pvalue > 1e-3


def scene(dtype, seed=0):
    rng = np.random.default_rng(seed)
    sites, f, agents = 40, 8, 100
    phi = rng.uniform(0.05, 0.3, sites * f)
    phi[::7] = 0.0
    return {
        "amount": rng.poisson(20, (3, sites * f)).astype(dtype),
        "agent_site": rng.integers(0, sites, agents),
        "clearance_um3_per_s": rng.uniform(0.0, 2.0, agents),
        "capacity": phi,
        "voxel_volume_um3": 400.0,
        "footprint": rng.permutation(sites * f).reshape(sites, f),
        "dt_s": 50.0,
    }


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_what_agents_take_is_what_voxels_lose_exactly(dtype):
    given = scene(dtype)
    before = given["amount"].copy()
    taken = collect(**given, key=stream_key(3))
    assert taken.dtype == np.int64
    assert taken.min() >= 0 <= given["amount"].min()
    assert np.array_equal(taken.sum(axis=0), (before - given["amount"]).sum(axis=1))
    assert taken.sum() > 0
    assert np.array_equal(before[:, ::7], given["amount"][:, ::7])  # no accessible volume, nothing to take


def test_real_amounts_lose_the_mean_of_the_counts():
    real = scene(np.float64)
    before = real["amount"].copy()
    mean = collect(**real, key=(1, 2))
    assert np.allclose(mean.sum(axis=0), (before - real["amount"]).sum(axis=1), rtol=1e-13)
    repeats = 400
    total = np.zeros_like(mean)
    for repeat in range(repeats):
        total += collect(**scene(np.int32), key=stream_key(4, repeat))
    z = (total - repeats * mean) / np.sqrt(np.maximum(repeats * mean, 1e-300))
    # a sum of binomials scatters a little less than Poisson, so this chi-square is an upper bound
    assert stats.chi2.sf((z[mean > 0.05] ** 2).sum(), (mean > 0.05).sum()) > 1e-3
    assert np.abs(z[mean > 0.05]).max() < 4.5


def test_uptake_does_not_depend_on_the_refinement_of_the_mesh():
    coarse, fine = np.full((1, 1), 80.0), np.full((1, 8), 10.0)
    one = collect(coarse, [0], [0.7], [0.2], 3375.0, [[0]], 60.0, (1, 2))
    eight = collect(fine, [0], [0.7], np.full(8, 0.2), 3375.0 / 8, [np.arange(8)], 60.0, (1, 2))
    assert one[0, 0] == pytest.approx(eight[0, 0], rel=1e-13)
    assert one[0, 0] == pytest.approx(80.0 * (1.0 - np.exp(-0.7 * 60.0 / (0.2 * 3375.0))), rel=1e-13)


def test_agents_come_in_any_order_across_sites():
    given = scene(np.int32)
    one_each = np.random.default_rng(5).permutation(40)
    given |= {"agent_site": one_each, "clearance_um3_per_s": np.linspace(0.1, 2.0, 40)}
    again = scene(np.int32) | {"agent_site": one_each[::-1], "clearance_um3_per_s": np.linspace(0.1, 2.0, 40)[::-1]}
    assert np.array_equal(collect(**given, key=(1, 2)), collect(**again, key=(1, 2))[::-1])


def test_no_time_and_no_agents_take_nothing():
    assert not collect(**scene(np.int32) | {"dt_s": 0.0}, key=(1, 2)).any()
    nobody = {"agent_site": np.array([], int), "clearance_um3_per_s": np.array([])}
    assert collect(**scene(np.int32) | nobody, key=(1, 2)).shape == (0, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clearance_um3_per_s": np.full(100, -1.0)}, "clearance_um3_per_s"),
        ({"clearance_um3_per_s": np.ones(99)}, "clearance_um3_per_s 99"),
        ({"capacity": np.full(320, np.nan)}, "capacity"),
        ({"capacity": np.ones(319)}, "capacity"),
        ({"dt_s": np.inf}, "dt_s"),
        ({"agent_site": np.full(100, 40)}, "site 40"),
        ({"footprint": np.full((40, 8), 320)}, "footprint"),
        ({"amount": np.ones((3, 320), np.int16)}, "in place"),
    ],
)
def test_scenes_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        collect(**scene(np.int32) | change, key=(1, 2))
