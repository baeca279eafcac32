"""Poisson's chances and counts are those of scipy.stats."""

import numpy as np
from scipy import stats

from tme_sim.numerics.poisson import chances, count_at


def test_chances_and_counts_are_those_of_scipy():
    for mean in (0.0, 1e-9, 0.3, 4.0, 250.0):
        np.testing.assert_allclose(chances(np.arange(12), mean), stats.poisson.pmf(np.arange(12), mean), rtol=1e-12)
        for p in (1e-12, 0.02, 0.5, 0.9, 1 - 1e-12):
            assert count_at(p, mean) == stats.poisson.ppf(p, mean)
