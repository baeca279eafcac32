"""Diffusion of counts: every particle draws its own hop, exactly multinomial over the face rates of `transport`."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.arrays import Integers, in_place, plain
from tme_sim.numerics.binomial import Count, binomial
from tme_sim.numerics.jit import kernel, parallel_kernel, prange
from tme_sim.numerics.random import Key, bits, key_words, stream_of
from tme_sim.numerics.threads import use_threads_for
from tme_sim.numerics.transport import Rates

Counts = NDArray[np.int32]
Six = tuple[float, float, float, float, float, float]
SixCuts = tuple[int, int, int, int, int, int]

SLAB = 2
"""Planes per slab. It scatters one plane further on either side, so slabs of one colour never touch the same plane."""
ONE_BY_ONE = 600
"""Up to here each particle draws its own 32 bits, in a loop that vectorises; seven binomials cost as much from here on."""
LANES = 8
LOW_HALF, HALF_WIDTH = np.uint64(0xFFFFFFFF), np.uint64(32)


def hop(amount: Counts, rates: Rates, dt_s: float, key: Key) -> None:
    """One step of `dt_s` in place on int32 counts (z, y, x): each particle leaves through face f with probability rate_f·dt.

    The mean is one explicit step of `step_continuum`, the total is exact, and the bits depend on the key and the voxel
    only. Probabilities are resolved to 2⁻³². Raises ValueError where the shapes do not match or particles would leave with a
    probability above 1 (see `substeps`); the counts are then unchanged.
    """
    counts = in_place("amount", amount, np.int32)
    if rates.shape != (6, *counts.shape):
        raise ValueError(f"rates {rates.shape}: must be (6, z, y, x) of the amounts {counts.shape}")
    change = _change(counts.shape)
    use_threads_for(counts.size)
    highest = _scatter(counts, plain(rates), float(dt_s), *key_words(key), change)
    if not highest <= 1.0 + 1e-9:
        change[...] = 0
        raise ValueError(f"dt_s {dt_s}: particles would leave their voxel with probability {highest:.3g}, above 1")
    _apply(counts, change)


@lru_cache(maxsize=2)
def _change(shape: tuple[int, int, int]) -> Counts:
    """Scratch that every call leaves at zero; a plane of padding on either side spares the scatter its edge cases."""
    return np.zeros((shape[0] + 2, *shape[1:]), dtype=np.int32)


@parallel_kernel
def _apply(amount: Counts, change: Counts) -> None:
    for z in prange(amount.shape[0]):
        for y in range(amount.shape[1]):
            for x in range(amount.shape[2]):
                amount[z, y, x] += change[z + 1, y, x]
                change[z + 1, y, x] = 0


@parallel_kernel
def _scatter(amount: Counts, rates: Rates, dt: float, k0: np.uint64, k1: np.uint64, change: Counts) -> float:
    """Adds every hop to `change`, first from the even slabs, then from the odd; returns the highest chance to leave."""
    slabs = (amount.shape[0] + SLAB - 1) // SLAB
    highest = np.zeros(slabs)
    for i in prange((slabs + 1) // 2):
        highest[2 * i] = _scatter_slab(2 * i, amount, rates, dt, k0, k1, change)
    for i in prange(slabs // 2):
        highest[2 * i + 1] = _scatter_slab(2 * i + 1, amount, rates, dt, k0, k1, change)
    return float(highest.max())


@kernel
def _scatter_slab(slab: int, amount: Counts, rates: Rates, dt: float, k0: np.uint64, k1: np.uint64, change: Counts) -> float:
    nz, ny, nx = amount.shape
    flat, rate, out = amount.reshape(-1), rates.reshape((6, -1)), change.reshape(-1)
    faces, highest = np.empty(6, np.int64), 0.0
    for i in range(slab * SLAB * ny * nx, min((slab + 1) * SLAB, nz) * ny * nx):
        n = np.int64(flat[i])
        if n <= 0:
            continue
        chance = (rate[0, i] * dt, rate[1, i] * dt, rate[2, i] * dt, rate[3, i] * dt, rate[4, i] * dt, rate[5, i] * dt)
        highest = max(highest, chance[0] + chance[1] + chance[2] + chance[3] + chance[4] + chance[5])
        stream = stream_of(k0, k1, i)
        if n > ONE_BY_ONE:
            _draw_faces(n, chance, stream, faces)
        else:
            tally = _tally(n, _cuts(chance), stream)
            if tally == 0:
                continue
            _unpack(tally, faces)
        here = i + ny * nx
        out[here] -= faces.sum()
        out[here - ny * nx] += faces[0]
        out[here + ny * nx] += faces[1]
        out[here - nx] += faces[2]
        out[here + nx] += faces[3]
        out[here - 1] += faces[4]
        out[here + 1] += faces[5]
    return highest


@kernel
def _cuts(chance: Six) -> SixCuts:
    """Cumulative probabilities in units of 2⁻³²."""
    c0 = chance[0]
    c1 = c0 + chance[1]
    c2 = c1 + chance[2]
    c3 = c2 + chance[3]
    c4 = c3 + chance[4]
    c5 = c4 + chance[5]
    unit = 4294967296.0
    return int(c0 * unit), int(c1 * unit), int(c2 * unit), int(c3 * unit), int(c4 * unit), int(c5 * unit)


@kernel
def _tally(n: Count, cuts: SixCuts, stream: np.uint64) -> int:
    """How many of n particles draw below each of the six cuts: six numbers of ten bits, packed."""
    if n == 1:
        return _below(bits(stream, 0) & LOW_HALF, cuts)
    total = 0
    for first in range(0, (n + 1) // 2, LANES):
        for draw in range(first, first + LANES):  # whole blocks vectorise; the lanes past n count nothing
            word = bits(stream, draw)
            total += _below(word & LOW_HALF, cuts) if 2 * draw < n else 0
            total += _below(word >> HALF_WIDTH, cuts) if 2 * draw + 1 < n else 0
    return total


@kernel
def _below(word: np.uint64, cuts: SixCuts) -> int:
    u = np.int64(word)
    low = (1 if u < cuts[0] else 0) + (1 << 10 if u < cuts[1] else 0) + (1 << 20 if u < cuts[2] else 0)
    return low + (1 << 30 if u < cuts[3] else 0) + (1 << 40 if u < cuts[4] else 0) + (1 << 50 if u < cuts[5] else 0)


@kernel
def _unpack(tally: int, faces: Integers) -> None:
    before = 0
    for face in range(6):
        upto = (tally >> (10 * face)) & 1023
        faces[face] = upto - before
        before = upto


@kernel
def _draw_faces(n: Count, chance: Six, stream: np.uint64, faces: Integers) -> None:
    """Binomial(n, chance to leave), then face by face Binomial(what is left, chance / chance left)."""
    leave = chance[0] + chance[1] + chance[2] + chance[3] + chance[4] + chance[5]
    left = binomial(n, min(leave, 1.0), bits(stream, 6))
    for face in range(6):
        chance_left = 0.0
        for later in range(face, 6):
            chance_left += chance[later]
        faces[face] = binomial(left, chance[face] / chance_left, bits(stream, face)) if left > 0 else 0
        left -= faces[face]
