"""The Poisson distribution, without scipy.stats: a second of every start is its import."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln, pdtr, pdtrik, xlogy

from tme_sim.numerics.arrays import Integers, Reals
from tme_sim.numerics.random import Key, uniforms


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


def events(expected: Reals, key: Key) -> Integers:
    """Places of a Poisson process with so many `expected` (places,): one row an event, independent Poisson numbers at each."""
    cumulative = np.cumsum(expected)
    total = float(cumulative[-1]) if len(cumulative) else 0.0
    if total <= 0:
        return np.zeros(0, np.int64)
    number = count_at(float(uniforms(key, 0)), total)
    marks = uniforms((key[0], key[1] ^ 1), np.arange(number)) * total
    return np.asarray(np.minimum(np.searchsorted(cumulative, marks, side="right"), len(cumulative) - 1), np.int64)
