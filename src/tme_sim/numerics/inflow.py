"""What conductances bring to a row of voxels; those of an even medium are kept once, not for every voxel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.jit import kernel

Numbers = NDArray[Any]


def even_once(g: Numbers) -> Numbers:
    """Conductances with one plane for all that are alike, and one row of each for all that are: an even medium's fit in cache."""
    for axis in (0, 1):
        first = g.take([0], axis)
        if np.array_equal(g, np.broadcast_to(first, g.shape)):
            g = first
    return np.ascontiguousarray(g)


@kernel
def row_of(g: Numbers, z: int, y: int) -> Any:
    """A row of conductances that `even_once` has left."""
    k, j = np.int64(z), np.int64(y)  # a loop over threads counts unsigned
    return g[k if g.shape[0] > 1 else 0, j if g.shape[1] > 1 else 0]


@kernel
def add_inflow(gz: Numbers, gy: Numbers, gx: Numbers, u: Numbers, z: int, y: int, total: Numbers) -> None:
    """Adds Σ g u over the six neighbours to `total` for one row; `u` has a margin. Few arrays a loop, else it stays scalar."""
    n = gz.shape[2]
    a, b, above, below = row_of(gz, z, y), row_of(gz, z + 1, y), u[z, y + 1, 1:], u[z + 2, y + 1, 1:]
    for x in range(n):
        total[x] += a[x] * above[x] + b[x] * below[x]
    c, d, front, behind = row_of(gy, z, y), row_of(gy, z, y + 1), u[z + 1, y, 1:], u[z + 1, y + 2, 1:]
    for x in range(n):
        total[x] += c[x] * front[x] + d[x] * behind[x]
    e, row = row_of(gx, z, y), u[z + 1, y + 1]
    for x in range(n):
        total[x] += e[x] * row[x] + e[x + 1] * row[x + 2]
