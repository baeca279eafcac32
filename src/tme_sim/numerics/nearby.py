"""How many of a population are near a place of the lattice."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.numerics.arrays import Integers, plain
from tme_sim.numerics.crowding import ball
from tme_sim.numerics.jit import parallel_kernel, prange
from tme_sim.numerics.threads import use_threads_for


def count_within(
    place: ArrayLike, others: ArrayLike, shape: tuple[int, int, int], groups: ArrayLike, reach: float
) -> NDArray[np.int64]:
    """(places,) how many of the others are on sites at most `reach` sites away, from centre to centre, the place's own included.

    place, others: (places,), (others,) flat sites; groups: (z,) what plane belongs to, nobody is seen across them.
    """
    count = np.bincount(plain(others, np.int64), minlength=int(np.prod(shape)))
    places, offsets = plain(place, np.int64), np.concatenate([np.zeros((1, 3), np.int64), ball(reach)[0]])
    out = np.zeros(places.size, np.int64)
    use_threads_for(places.size)
    _count(places, count, np.array(shape, np.int64), plain(groups, np.int64), offsets, out)
    return out


@parallel_kernel
def _count(place: Integers, count: Integers, shape: Integers, group: Integers, offsets: Integers, out: Integers) -> None:
    for i in prange(place.size):
        z, rest = place[i] // (shape[1] * shape[2]), place[i] % (shape[1] * shape[2])
        y, x = rest // shape[2], rest % shape[2]
        for o in range(offsets.shape[0]):
            tz, ty, tx = z + offsets[o, 0], y + offsets[o, 1], x + offsets[o, 2]
            if 0 <= tz < shape[0] and 0 <= ty < shape[1] and 0 <= tx < shape[2] and group[tz] == group[z]:
                out[i] += count[(tz * shape[1] + ty) * shape[2] + tx]
