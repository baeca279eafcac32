"""Shares against the exact distributions; every statistical test has a fixed seed and the level 10⁻³."""

import numpy as np
import pytest
from scipy import stats

from tme_sim.numerics.random import stream_key
from tme_sim.numerics.share import share, split

N = 100_000
REGIMES = {
    "one": (1, 0.3),
    "few": (8, 0.9),
    "inversion": (30, 0.3),
    "inversion of many": (100_000, 5e-5),
    "inversion of very many": (10**15, 1e-16),
    "rejection from its lower end": (40, 0.26),
    "rejection, upper half": (1000, 0.7),
    "rejection, large mean": (10**6, 0.4),
    "rejection, very many": (10**15, 2e-14),
    "rejection, very many and large mean": (10**15, 9e-10),
    "gaussian": (10**7, 0.5),
    "gaussian, very many": (10**15, 0.3),
}


@pytest.mark.parametrize(("n", "p"), REGIMES.values(), ids=REGIMES.keys())
def test_counts_follow_the_binomial_distribution(n, p):
    drawn = share(np.full(N, n), p, stream_key(11, "binomial", n))
    exact = stats.binom(n, p)
    edges = np.unique(exact.ppf(np.linspace(0.0, 1.0, 33)[1:-1]))
    expected = N * np.diff(exact.cdf(edges), prepend=0.0, append=1.0)
    seen = np.bincount(np.searchsorted(edges, drawn), minlength=edges.size + 1)
    kept = expected > 5.0
    assert stats.chisquare(seen[kept], expected[kept] * seen[kept].sum() / expected[kept].sum()).pvalue > 1e-3
    assert (n > 10**9) or abs(drawn.mean() - n * p) < 4.0 * np.sqrt(n * p * (1.0 - p) / N)
    assert drawn.min() >= 0
    assert drawn.max() <= n


def test_certain_and_impossible_shares_are_exact():
    amount = np.array([0, 1, 10**15])
    assert share(amount, 0.0, (1, 2)).tolist() == [0, 0, 0]
    assert share(amount, 1.0, (1, 2)).tolist() == amount.tolist()


def test_real_amounts_are_multiplied_and_keep_their_type():
    amount = np.array([1.0, 2.0], np.float32)
    assert np.array_equal(share(amount, 0.25, (1, 2)), np.array([0.25, 0.5], np.float32))
    assert share(amount, 0.25, (1, 2)).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint16])
def test_counts_keep_their_type(dtype):
    amount = np.full((2, 3), 9, dtype)
    assert share(amount, 0.5, (1, 2)).dtype == split(amount, [1, 1], (1, 2)).dtype == dtype


def test_shares_broadcast_and_are_keyed_by_entity():
    key = stream_key(4, "entity")
    whole = share(1000, np.full(50, 0.5), key)
    assert np.array_equal(share(1000, 0.5, key, entity=np.arange(50)), whole)
    assert np.array_equal(share(np.full((2, 1), 1000), 0.5, key, entity=np.arange(50))[1], whole)
    assert share(np.array(1000), 0.5, key, entity=7).item() == whole[7]


def test_read_only_and_strided_arrays_are_taken():
    amount = np.arange(20)
    amount.flags.writeable = False
    assert np.array_equal(share(amount[::2], 0.5, (1, 2)), share(amount[::2].copy(), 0.5, (1, 2)))


@pytest.mark.parametrize("p", [-0.1, 1.5, np.nan, np.inf])
@pytest.mark.parametrize("amount", [10, 10.0])
def test_a_share_that_is_no_probability_is_refused_by_value(p, amount):
    with pytest.raises(ValueError, match=f"p {p}"):
        share(amount, [0.5, p], (1, 2))


def test_negative_counts_are_refused():
    with pytest.raises(ValueError, match="amount -3"):
        share([1, -3], 0.5, (1, 2))


def test_split_counts_are_multinomial():
    weights, n = np.array([0.5, 0.0, 2.0, 1.0, 0.0]), 20
    parts = split(np.full(N, n), weights, stream_key(5, "split"))
    assert (parts.sum(axis=-1) == n).all()
    assert (parts[:, [1, 4]] == 0).all()
    p = weights[[0, 2, 3]] / weights.sum()
    covariance = n * (np.diag(p) - np.outer(p, p))
    off = (parts[:, [0, 2, 3]].mean(axis=0) - n * p)[:2]
    assert stats.chi2.sf(N * off @ np.linalg.solve(covariance[:2, :2], off), 2) > 1e-3
    assert np.allclose(np.cov(parts[:, [0, 2, 3]].T), covariance, rtol=0.05)


def test_split_amounts_are_proportional_and_add_up():
    amount, weights = np.random.default_rng(1).random((4, 5)), np.random.default_rng(2).random((4, 5, 7))
    weights[..., -1] = 0.0
    parts = split(amount, weights, (1, 2))
    assert np.allclose(parts, amount[..., None] * weights / weights.sum(axis=-1, keepdims=True), rtol=1e-14, atol=1e-16)
    assert np.allclose(parts.sum(axis=-1), amount, rtol=4e-16)
    assert (parts[..., -1] == 0.0).all()


def test_split_takes_scalars_and_large_counts():
    parts = split(10**15, [1.0, 3.0], stream_key(6, "large"))
    assert parts.sum() == 10**15
    assert abs(parts[0] - 0.25e15) < 5.0 * np.sqrt(10**15 * 3 / 16)


@pytest.mark.parametrize(
    ("weights", "message"), [([1.0, -2.0], "weights -2"), ([1.0, np.nan], "weights nan"), ([0.0, 0.0], "amount 3")]
)
def test_split_refuses_what_it_cannot_distribute(weights, message):
    with pytest.raises(ValueError, match=message):
        split(3, weights, (1, 2))


def test_nothing_can_be_split_over_no_weight():
    assert split([0, 0], [0.0, 0.0], (1, 2)).tolist() == [[0, 0], [0, 0]]
