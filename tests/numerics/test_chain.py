"""Stages in a row are left as a chain of exponential waiting times lets them be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gamma, multinomial, poisson

from tme_sim.numerics.chain import pass_on

KEY = (3, 4)


def test_real_amounts_move_as_the_multinomial_mean():
    held = np.array([[8.0, 0.0], [4.0, 2.0]])
    left = pass_on(held, [0.5, 0.25], KEY)
    np.testing.assert_allclose(held, [[4, 0], [4, 1]])
    np.testing.assert_allclose(left, [8 * 0.25 + 4 * 0.5, 1.0])


def test_counts_are_kept_and_have_the_mean_and_variance_of_the_multinomial():
    """20,000 places of 50 counts: the mean of a part is within 4.5 of its standard errors, the variance within 5 %."""
    n, places, moves = 50, 20_000, [0.5, 0.3, 0.1]
    held = np.zeros((3, places), np.int64)
    held[0] = n
    left = pass_on(held, moves, KEY)
    parts = np.stack([*held, left])
    assert (parts.sum(axis=0) == n).all()
    law = multinomial(n, [*moves, 0.1])
    error = np.sqrt(np.diag(law.cov()) / places)
    assert (np.abs(parts.mean(axis=1) - law.mean()) < 4.5 * error).all()
    np.testing.assert_allclose(np.cov(parts)[:3, :3], law.cov()[:3, :3], rtol=0.05, atol=0.1)


def test_counts_of_a_later_stage_are_not_moved_twice():
    held = np.array([[5], [7], [11]], np.int64)
    left = pass_on(held, [0.0, 1.0, 0.0], KEY)
    assert held.ravel().tolist() == [0, 5, 7]
    assert left.tolist() == [11]


@pytest.mark.parametrize("step_s", [1.0, 50.0, 400.0])
def test_a_pulse_leaves_the_chain_with_the_gamma_distribution_whatever_the_step(step_s):
    stages, mean_s = 4, 100.0
    held = np.zeros((stages, 1))
    held[0] = 1.0
    moves = poisson.pmf(np.arange(stages), stages * step_s / mean_s)
    out = 0.0
    for step in range(1, 4):
        out += pass_on(held, moves, KEY).item()
        assert out == pytest.approx(gamma.cdf(step * step_s, stages, scale=mean_s / stages), abs=1e-12)


@pytest.mark.parametrize("moves", [[0.5], [0.7, 0.7], [-0.1, 0.5], [np.nan, 0.1]])
def test_chances_that_are_none_are_refused(moves):
    with pytest.raises(ValueError, match="moves"):
        pass_on(np.zeros((2, 1)), moves, KEY)
