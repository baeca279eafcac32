"""The Poisson distribution, without scipy.stats: a second of every start is its import."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln, pdtr, pdtrik, xlogy

from tme_sim.numerics.arrays import Reals


def chances(counts: ArrayLike, mean: float) -> Reals:
    """e^(−m) m^k/k! for each of the counts."""
    k = np.asarray(counts, np.float64)
    return np.asarray(np.exp(xlogy(k, mean) - mean - gammaln(k + 1)))


def count_at(p: float, mean: float) -> int:
    """The smallest count that is not exceeded with a probability of at least p, in (0, 1); 0 at a mean of 0."""
    if mean <= 0:
        return 0
    count = max(int(np.ceil(pdtrik(p, mean))), 0)
    return count - 1 if count > 0 and pdtr(count - 1, mean) >= p else count
