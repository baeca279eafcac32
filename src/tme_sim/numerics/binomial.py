"""Exact binomial draws from a counter-based stream, for 0 ≤ n ≤ 10^15 and any p in [0, 1]."""

from __future__ import annotations

import numpy as np

from tme_sim.numerics.jit import kernel
from tme_sim.numerics.random import normal, uniform

Count = int | np.int64

GAUSSIAN_ABOVE = 1e6
"""From this mean on the skewness (below 10^-3) is past measuring, while log-gamma would lose its digits."""


@kernel
def binomial(n: Count, p: float, stream: np.uint64) -> Count:
    """A Binomial(n, p) count; spends a `stream` of its own. n below 1 gives 0; p must be checked by the caller.

    Inversion for mean n·min(p, 1−p) below 10, transformed rejection up to 10^6, a rounded Gaussian clipped to [0, n] above.
    """
    if n <= 0 or p <= 0.0:
        return 0
    if p >= 1.0:
        return n
    if p > 0.5:
        return n - _lower_half(n, 1.0 - p, stream)
    return _lower_half(n, p, stream)


@kernel
def _lower_half(n: Count, p: float, stream: np.uint64) -> Count:
    if n * p < 10.0:
        return _inversion(n, p, stream)
    if n * p <= GAUSSIAN_ABOVE:
        return _transformed_rejection(n, p, stream)
    return int(min(max(np.rint(n * p + np.sqrt(n * p * (1.0 - p)) * normal(stream, 0)), 0.0), float(n)))


@kernel
def _inversion(n: Count, p: float, stream: np.uint64) -> Count:
    """Walks up the distribution. Past the bound (probability below 10^-16) only rounding is left, so it draws again."""
    odds = p / (1.0 - p)
    none = np.exp(n * np.log1p(-p))
    bound = min(float(n), n * p + 12.0 * np.sqrt(n * p + 1.0) + 20.0)
    draw = 0
    while True:
        left, chance, count = uniform(stream, draw), none, 0
        while left > chance and count <= bound:
            left -= chance
            count += 1
            chance *= ((n + 1.0) / count - 1.0) * odds
        if count <= bound:
            return count
        draw += 1


@kernel
def _stirling_rest(k: float) -> float:
    """log k! minus Stirling's formula in k + 1; the series is below 10^-10 off for k ≥ 10, so smaller k step up to it."""
    rest = 0.0
    while k < 10.0:
        # difference of the formula between k + 1 and k, from log (k+1)! = log k! + log(k+1)
        rest += (k + 1.5) * np.log1p(1.0 / (k + 1.0)) - 1.0
        k += 1.0
    x = 1.0 / (k + 1.0)
    return rest + (1.0 / 12.0 - (1.0 / 360.0 - x * x / 1260.0) * x * x) * x


@kernel
def _transformed_rejection(n: Count, p: float, stream: np.uint64) -> Count:
    """BTRS of Hörmann 1993 (doi:10.1080/00949659308811496). log1p keeps the digits that log loses when n is far above n·p."""
    odds = p / (1.0 - p)
    spread = np.sqrt(n * p * (1.0 - p))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * p
    mode = np.floor((n + 1.0) * p)
    constant = (mode + 0.5) * np.log((mode + 1.0) / (odds * (n - mode + 1.0))) + _stirling_rest(mode) + _stirling_rest(n - mode)
    draw = 0
    while True:
        u, v = uniform(stream, draw) - 0.5, uniform(stream, draw + 1)
        draw += 2
        edge = 0.5 - abs(u)
        k = np.floor((2.0 * a / edge + b) * u + n * p + 0.5)
        if edge >= 0.07 and v <= 0.92 - 4.2 / b:
            return int(k)
        if k < 0.0 or k > n:
            continue
        height = np.log(v * (2.83 + 5.1 / b) * spread / (a / (edge * edge) + b))
        density = constant + (n + 1.0) * np.log1p((k - mode) / (n - k + 1.0)) - _stirling_rest(k) - _stirling_rest(n - k)
        if height <= density + (k + 0.5) * np.log(odds * (n - k + 1.0) / (k + 1.0)):
            return int(k)
