"""Numbers of agreement against their closed forms."""

from __future__ import annotations

from math import erf, log, sqrt

import numpy as np
import pytest

from tme_sim.analysis.agreement import (
    concordance,
    correlation,
    interval,
    limits_of_agreement,
    root_mean_square,
    wasserstein,
    within_factor,
)

N = 200_000
S, MEAN = 2.0, 10.0
X = np.random.default_rng(1).normal(MEAN, S, N)
FOUR_SE = 4 / sqrt(N)


def test_what_is_compared_with_itself_agrees_wholly() -> None:
    assert concordance(X, X) == 1
    assert wasserstein(X, X) == 0
    assert root_mean_square(X - X) == 0
    assert within_factor(X, X) == 1
    assert limits_of_agreement(X - X) == (0, 0, 0)


def test_noise_gives_concordance_rmse_and_limits_in_closed_form() -> None:
    sigma = 1.5
    y = X + np.random.default_rng(2).normal(0, sigma, N)
    found = concordance(X, y)
    assert found == pytest.approx(2 * S**2 / (2 * S**2 + sigma**2), abs=FOUR_SE)
    assert root_mean_square(y - X) == pytest.approx(sigma, rel=FOUR_SE / sqrt(2))
    bias, low, high = limits_of_agreement(y - X)
    assert (bias, low, high) == pytest.approx((0, -1.96 * sigma, 1.96 * sigma), abs=3 * sigma * FOUR_SE)
    assert wasserstein(X, y) == pytest.approx((sqrt(S**2 + sigma**2) - S) * sqrt(2 / np.pi), abs=3 * S * FOUR_SE)


def test_a_shift_is_the_wasserstein_distance_the_rmse_and_the_bias() -> None:
    variance = X.var()
    assert wasserstein(X, X - 3) == pytest.approx(3, rel=1e-12)
    assert root_mean_square(X - 3 - X) == pytest.approx(3, rel=1e-12)
    assert limits_of_agreement(X - 3 - X) == pytest.approx((-3, -3, -3), rel=1e-9)
    assert concordance(X, X - 3) == pytest.approx(2 * variance / (2 * variance + 9), rel=1e-12)
    assert correlation(X, X - 3) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("scale", [0.4, 0.6, 1.9, 2.1])
def test_a_scale_lowers_concordance_but_not_correlation(scale: float) -> None:
    variance, mean = X.var(), X.mean()
    expected = 2 * scale * variance / (variance + scale**2 * variance + (1 - scale) ** 2 * mean**2)
    assert concordance(X, scale * X) == pytest.approx(expected, rel=1e-12)
    assert correlation(X, scale * X) == pytest.approx(1, rel=1e-12)
    positive = np.abs(X)
    assert wasserstein(positive, scale * positive) == pytest.approx(abs(scale - 1) * positive.mean(), rel=1e-12)
    assert within_factor(positive, scale * positive) == (1 if 0.5 <= scale <= 2 else 0)


def test_lognormal_scatter_leaves_the_normal_share_within_twofold() -> None:
    y = X * np.exp(np.random.default_rng(3).normal(0, 0.8, N))
    assert within_factor(X, y) == pytest.approx(erf(log(2) / 0.8 / sqrt(2)), abs=FOUR_SE)


def test_samples_of_unlike_size_have_the_same_distance() -> None:
    assert wasserstein(np.array([0.0, 1.0]), np.array([0.0, 0.0, 1.0, 1.0]) + 0.25) == pytest.approx(0.25, rel=1e-12)


def test_a_constant_has_no_correlation_and_no_concordance() -> None:
    constant = np.full(5, 0.1 + 0.2)
    x = np.arange(5.0)
    assert correlation(x, constant) is None
    assert concordance(x, np.full(5, 2.0)) == 0
    assert concordance(constant, constant) is None
    assert concordance(x[:1], x[:1]) is None


def test_a_root_mean_square_takes_weights_and_an_interval_the_middle() -> None:
    assert root_mean_square(np.array([1.0, 7.0]), np.array([3.0, 1.0])) == pytest.approx(sqrt(13))
    assert interval(np.arange(1001.0)) == pytest.approx((25, 975))
    assert interval(np.array([1.0, np.nan])) == (None, None)
