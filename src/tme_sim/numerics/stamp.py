"""Balls and capsules drawn on a fine grid: which ball each point lies in, and how far it is from the nearest capsule."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.numerics.arrays import Reals, plain
from tme_sim.numerics.jit import kernel

Triple = tuple[float, float, float]


def draw_balls(
    centre: ArrayLike, radius: ArrayLike, shape: tuple[int, int, int], step: Triple
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(ball, depth), both (z, y, x): the ball that each point lies in, -1 for none, and how deep below its surface.

    Points are at (i + 1/2) step. Where balls overlap, the power distance d² − r² decides: they part at the plane through their
    common circle, which is a surface of both.
    centre: (balls, 3) as (z, y, x); radius: (balls,). Balls may reach outside.
    """
    ball = np.full(shape, -1, np.int32)
    depth = np.zeros(shape, np.float32)
    _balls(plain(centre, np.float64).reshape(-1, 3), plain(radius, np.float64), np.asarray(step, np.float64), ball, depth)
    return ball, depth


def distance_to_capsules(
    ends: ArrayLike, radius: ArrayLike, shape: tuple[int, int, int], step: Triple, reach: float
) -> NDArray[np.float32]:
    """(z, y, x) signed distance to the surface of the nearest capsule, below 0 inside; `reach` where none is nearer than that.

    Points as in `draw_balls`; ends: (capsules, 2, 3) as (z, y, x).
    """
    found = np.full(shape, reach, np.float32)
    _capsules(plain(ends, np.float64).reshape(-1, 2, 3), plain(radius, np.float64), np.asarray(step, np.float64), reach, found)
    return found


@kernel
def _span(low: float, high: float, step: float, n: int) -> Any:
    """First point and one past the last whose coordinate lies between low and high."""
    return max(0, int(np.ceil(low / step - 0.5))), min(n, int(np.floor(high / step - 0.5)) + 1)


@kernel
def _balls(centre: Reals, radius: Reals, step: Reals, ball: NDArray[np.int32], depth: NDArray[np.float32]) -> None:
    for b in range(radius.size):
        r = radius[b]
        z0, z1 = _span(centre[b, 0] - r, centre[b, 0] + r, step[0], ball.shape[0])
        y0, y1 = _span(centre[b, 1] - r, centre[b, 1] + r, step[1], ball.shape[1])
        for z in range(z0, z1):
            pz = (z + 0.5) * step[0]
            for y in range(y0, y1):
                py = (y + 0.5) * step[1]
                half2 = r * r - (pz - centre[b, 0]) ** 2 - (py - centre[b, 1]) ** 2
                if half2 <= 0.0:
                    continue
                x0, x1 = _span(centre[b, 2] - np.sqrt(half2), centre[b, 2] + np.sqrt(half2), step[2], ball.shape[2])
                for x in range(x0, x1):
                    px = (x + 0.5) * step[2]
                    squared = (pz - centre[b, 0]) ** 2 + (py - centre[b, 1]) ** 2 + (px - centre[b, 2]) ** 2
                    below = r - np.sqrt(squared)
                    o = ball[z, y, x]
                    if o >= 0:
                        other = (pz - centre[o, 0]) ** 2 + (py - centre[o, 1]) ** 2 + (px - centre[o, 2]) ** 2
                        apart = _distance(centre[b], centre[o])
                        beyond = (other - radius[o] ** 2 - squared + r * r) / (2.0 * apart) if apart > 0.0 else -np.inf
                        if beyond <= 0.0:
                            depth[z, y, x] = min(np.float64(depth[z, y, x]), -beyond)
                            continue
                        below = min(below, beyond)
                    ball[z, y, x] = b
                    depth[z, y, x] = below


@kernel
def _distance(a: Reals, b: Reals) -> Any:
    return np.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2)


@kernel
def _capsules(ends: Reals, radius: Reals, step: Reals, reach: float, found: NDArray[np.float32]) -> None:
    for c in range(radius.size):
        a, b, out = ends[c, 0], ends[c, 1], radius[c] + reach
        along = b - a
        length2 = along[0] ** 2 + along[1] ** 2 + along[2] ** 2
        z0, z1 = _span(min(a[0], b[0]) - out, max(a[0], b[0]) + out, step[0], found.shape[0])
        y0, y1 = _span(min(a[1], b[1]) - out, max(a[1], b[1]) + out, step[1], found.shape[1])
        x0, x1 = _span(min(a[2], b[2]) - out, max(a[2], b[2]) + out, step[2], found.shape[2])
        for z in range(z0, z1):
            pz = (z + 0.5) * step[0] - a[0]
            for y in range(y0, y1):
                py = (y + 0.5) * step[1] - a[1]
                for x in range(x0, x1):
                    px = (x + 0.5) * step[2] - a[2]
                    t = 0.0
                    if length2 > 0.0:
                        t = min(1.0, max(0.0, (pz * along[0] + py * along[1] + px * along[2]) / length2))
                    d2 = (pz - t * along[0]) ** 2 + (py - t * along[1]) ** 2 + (px - t * along[2]) ** 2
                    near = found[z, y, x] + radius[c]
                    if near > 0.0 and d2 < near * near:
                        found[z, y, x] = np.sqrt(d2) - radius[c]
