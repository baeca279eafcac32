"""Cost against voxels, agents, particles and threads, with fitted exponents."""

from __future__ import annotations

import numpy as np
from agents import uptake_of
from counts import hop_of
from problem import Layered
from rows import Row, Rows, Sizes, Timing, on_threads, thread_counts, timed
from steps import AT_ONCE, Ours

Points = list[tuple[float, float]]
"""How much, and the seconds that it takes."""


def exponent(points: Points) -> tuple[float, float]:
    """Slope of log time over log size, and its standard error."""
    x, y = np.log(np.asarray(points)).T
    x = x - x.mean()
    slope = float((x * y).sum() / (x * x).sum())
    rest = y - y.mean() - slope * x
    return slope, float(np.sqrt((rest * rest).sum() / max(1, len(x) - 2) / (x * x).sum()))


def scaling(sizes: Sizes, points: dict[str, Points]) -> Rows:
    """Fills `points` by what is varied, and hands back the exponents; one thread but where threads vary."""
    on_threads(1)
    points["voxels"] = [(n**3, timed(Ours(Layered(n)).step, sizes, AT_ONCE).minimum) for n in sizes.scaling]
    points["agents"] = [(n, uptake_of(n, sizes.hops, sizes)[0].minimum) for n in _decades(sizes.agents / 100, sizes.agents)]
    side = max(4, sizes.hops // 2)
    occupancies = _decades(10, 10_000)
    points["particles"] = [(n / 10 * side**3, hop_of(side, n / 10, sizes)[0].minimum) for n in occupancies]
    for what, told in (
        ("voxels", "explicit step in float32"),
        ("agents", f"binning and uptake on {sizes.hops}³ sites"),
        ("particles", f"stochastic hop on {side}³ voxels, 1 to 1000 per voxel"),
    ):
        (slope, off), (upper, _) = exponent(points[what]), exponent(points[what][-3:])
        low, high = points[what][0][0], points[what][-1][0]
        note = f"{told}, {low:.2g} to {high:.2g} {what}, {upper:.2f} over the last three points; error: of the fit"
        yield Row(f"exponent_{what}", slope, "1", off, note)
    points["threads"] = [(n, _on(n, sizes).minimum) for n in thread_counts()]


def _on(threads: int, sizes: Sizes) -> Timing:
    on_threads(threads)
    return timed(Ours(Layered(sizes.step)).step, sizes, AT_ONCE)


def _decades(low: float, high: float) -> list[int]:
    return [round(n) for n in np.geomspace(low, high, 7)]
