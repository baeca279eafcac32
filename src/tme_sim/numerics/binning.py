"""Agents in bins by site."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.arrays import Integers, plain
from tme_sim.numerics.jit import kernel

Bins = tuple[Integers, Integers]


def bins(site: NDArray[Any], n_sites: int) -> Bins:
    """Start (n_sites + 1) and order (agents): site s holds the agents order[start[s]:start[s+1]], in their own order.

    A stable counting sort. Raises ValueError for a site outside [0, n_sites).
    """
    sites = plain(site, np.int64)
    if sites.size and not 0 <= sites.min() <= sites.max() < n_sites:
        bad = sites[(sites < 0) | (sites >= n_sites)][0]
        raise ValueError(f"site {bad}: must lie between 0 and {n_sites - 1}")
    start, order = np.zeros(n_sites + 1, dtype=np.int64), np.empty(sites.size, dtype=np.int64)
    np.cumsum(np.bincount(sites, minlength=n_sites), out=start[1:])
    _place(sites, start[:-1].copy(), order)
    return start, order


@kernel
def _place(site: Integers, free: Integers, order: Integers) -> None:
    for agent in range(site.size):
        order[free[site[agent]]] = agent
        free[site[agent]] += 1
