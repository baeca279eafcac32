"""Transport of counts: every particle draws its own hop, exactly multinomial over the face rates of `transport`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.arrays import Integers, Reals, in_place
from tme_sim.numerics.binomial import Count, binomial
from tme_sim.numerics.edges import Edges, Passed
from tme_sim.numerics.jit import kernel, parallel_kernel, prange
from tme_sim.numerics.random import Key, bits, key_words, stream_of
from tme_sim.numerics.threads import use_threads_for
from tme_sim.numerics.transport import FaceRates

Array = NDArray[Any]
Counts = NDArray[np.int32]
Six = tuple[float, float, float, float, float, float]
SixCuts = tuple[int, int, int, int, int, int]

SLAB = 2
"""Planes per slab. It scatters one plane further on either side, so slabs of one colour never touch the same plane."""
SINGLY, TOGETHER = 2, 600
"""Up to these each particle draws its own 32 bits: first in a loop that moves those few that leave, then in one that vectorises
and counts them; seven binomials cost as much from there on."""
LANES = 8
CLOSED = (np.zeros((2, 1, 1)),) * 3
UNIT = 4294967296.0
LOW_HALF, HALF_WIDTH = np.uint64(0xFFFFFFFF), np.uint64(32)


def hop(amount: Counts, rates: FaceRates, dt_s: float, key: Key, edges: Edges | None = None, slab: int = SLAB) -> Passed:
    """One step of `dt_s` in place on int32 counts (z, y, x): each particle leaves through face f with probability rate_f·dt.

    The mean is one explicit step of `step_continuum`, the total is exact, and the bits depend on the key and the voxel only, not
    on how many planes a `slab` has. Probabilities are resolved to 2⁻³². Returns the whole numbers that passed the edges;
    reservoirs give Poisson numbers. Raises ValueError where the shapes do not match or particles would leave with a probability
    above 1 (see `substeps`); the counts are then unchanged.
    """
    counts = in_place("amount", amount, np.int32)
    if rates.per_capacity.shape != counts.shape or slab < SLAB:
        raise ValueError(f"slab {slab}, rates {rates.per_capacity.shape}: must be 2 or more, and {counts.shape} as the amounts")
    change = _change(counts.shape)
    out = CLOSED if edges is None else edges.out
    use_threads_for(counts.size)
    highest = _scatter(counts, *rates, float(dt_s), *key_words(key), change, slab, edges is not None, *out)
    if not highest <= 1.0 + 1e-9:
        change[...] = 0
        raise ValueError(f"dt_s {dt_s}: particles would leave their voxel with probability {highest:.3g}, above 1")
    left = _fold(change, edges.periodic if edges else (False, False, False))
    _apply(counts, change)
    return Passed(left, 0 if edges is None else _let_in(counts, edges, dt_s, key))


@lru_cache(maxsize=2)
def _change(shape: tuple[int, int, int]) -> Counts:
    """Scratch that every call leaves at zero; a layer of padding all around takes what leaves the lattice."""
    return np.zeros(tuple(n + 2 for n in shape), dtype=np.int32)


def _fold(change: Counts, periodic: tuple[bool, bool, bool]) -> int:
    """Empty the padding: opposite where the axis is periodic, else out of the lattice; returns how many went there."""
    left = 0
    for axis in range(3):
        planes = np.moveaxis(change, axis, 0)
        if periodic[axis]:
            planes[-2] += planes[0]
            planes[1] += planes[-1]
        else:
            left += int(planes[0].sum(dtype=np.int64)) + int(planes[-1].sum(dtype=np.int64))
        planes[0] = planes[-1] = 0
    return left


def _let_in(amount: Counts, edges: Edges, dt_s: float, key: Key) -> int:
    entered = 0
    for axis, into in enumerate(edges.into):
        if into.any():
            drawn = np.random.default_rng([*key, axis]).poisson(dt_s * into)
            planes = np.moveaxis(amount, axis, 0)
            planes[0] += drawn[0].astype(np.int32)
            planes[-1] += drawn[1].astype(np.int32)
            entered += int(drawn.sum())
    return entered


@parallel_kernel
def _apply(amount: Counts, change: Counts) -> None:
    for z in prange(amount.shape[0]):
        for y in range(amount.shape[1]):
            for x in range(amount.shape[2]):
                amount[z, y, x] += change[z + 1, y + 1, x + 1]
                change[z + 1, y + 1, x + 1] = 0


@parallel_kernel
def _scatter(
    amount: Counts, up: Array, down: Array, per_capacity: Reals, dt: float, k0: np.uint64, k1: np.uint64, change: Counts,
    thick: int, is_open: bool, out_z: Reals, out_y: Reals, out_x: Reals,
) -> float:  # fmt: skip
    """Adds every hop to `change`, first from the even slabs, then from the odd; returns the highest chance to leave."""
    slabs = (amount.shape[0] + thick - 1) // thick
    highest = np.zeros(slabs)
    for colour in range(2):
        for half in prange((slabs + 1 - colour) // 2):
            s = 2 * half + colour
            highest[s] = _scatter_slab(s, amount, up, down, per_capacity, dt, k0, k1, change, thick, is_open, out_z, out_y, out_x)
    return float(highest.max())


@kernel
def _scatter_slab(
    slab: int, amount: Counts, up: Array, down: Array, per_capacity: Reals, dt: float, k0: np.uint64, k1: np.uint64,
    change: Counts, thick: int, is_open: bool, out_z: Reals, out_y: Reals, out_x: Reals,
) -> float:  # fmt: skip
    nz, ny, nx = amount.shape
    u, d, w, to = up.reshape((3, -1)), down.reshape((3, -1)), per_capacity.reshape(-1), change.reshape(-1)
    row, plane, highest = nx + 2, (nx + 2) * (ny + 2), 0.0
    filled, faces = np.empty(nx, np.int64), np.empty(6, np.int64)
    away = (-plane, plane, -row, row, -1, 1)
    for z in range(slab * thick, min((slab + 1) * thick, nz)):
        for y in range(ny):
            first, first_to = (z * ny + y) * nx, (z + 1) * plane + (y + 1) * row + 1
            held = 0
            for x in range(nx):  # first whom it concerns, without a branch that nobody can foresee
                filled[held] = x
                held += 1 if amount[z, y, x] > 0 else 0
            for x in filled[:held]:
                n = np.int64(amount[z, y, x])
                i, here = first + x, first_to + x
                chance = _chances(i, i + ny * nx, nx, u, d, dt * w[i])
                if is_open:
                    chance = _with_edges(chance, dt, z, y, x, nz, ny, nx, out_z, out_y, out_x)
                leave = chance[0] + chance[1] + chance[2] + chance[3] + chance[4] + chance[5]
                highest = max(highest, leave)
                stream = stream_of(k0, k1, i)
                if n <= SINGLY:
                    for particle in range(n):
                        face = _face(particle, stream, leave, chance)
                        if face < 6:
                            to[here] -= 1
                            to[here + away[face]] += 1
                elif _draw(n, chance, stream, faces):
                    to[here] -= faces[0] + faces[1] + faces[2] + faces[3] + faces[4] + faces[5]
                    to[here - plane] += faces[0]
                    to[here + plane] += faces[1]
                    to[here - row] += faces[2]
                    to[here + row] += faces[3]
                    to[here - 1] += faces[4]
                    to[here + 1] += faces[5]
    return highest


@kernel
def _chances(i: int, j: int, row: int, u: Array, d: Array, scale: float) -> Six:
    """To leave voxel i through −z, +z, −y, +y, −x, +x; j is one plane further, where the faces above it are."""
    return d[0, i] * scale, u[0, j] * scale, d[1, j - row] * scale, u[1, j] * scale, d[2, j - 1] * scale, u[2, j] * scale


@kernel
def _face(particle: int, stream: np.uint64, leave: float, chance: Six) -> int:
    """The face that a particle's draw chooses; 6 for none."""
    both = bits(stream, particle // 2)
    word = np.int64(both >> HALF_WIDTH) if particle % 2 else np.int64(both & LOW_HALF)
    if word >= leave * UNIT:
        return 6
    c0, c1, c2, c3, c4, c5 = _cuts(chance)
    below = (1 if word >= c0 else 0) + (1 if word >= c1 else 0) + (1 if word >= c2 else 0)
    return below + (1 if word >= c3 else 0) + (1 if word >= c4 else 0) + (1 if word >= c5 else 0)


@kernel
def _with_edges(
    chance: Six, dt: float, z: int, y: int, x: int, nz: int, ny: int, nx: int, out_z: Reals, out_y: Reals, out_x: Reals
) -> Six:
    c0, c1, c2, c3, c4, c5 = chance
    c0 += dt * out_z[0, y, x] if z == 0 else 0.0
    c1 += dt * out_z[1, y, x] if z == nz - 1 else 0.0
    c2 += dt * out_y[0, z, x] if y == 0 else 0.0
    c3 += dt * out_y[1, z, x] if y == ny - 1 else 0.0
    c4 += dt * out_x[0, z, y] if x == 0 else 0.0
    c5 += dt * out_x[1, z, y] if x == nx - 1 else 0.0
    return c0, c1, c2, c3, c4, c5


@kernel
def _draw(n: Count, chance: Six, stream: np.uint64, faces: Integers) -> bool:
    """How many of n particles leave through each face; False where it is certain that none does."""
    if n > TOGETHER:
        _draw_faces(n, chance, stream, faces)
        return True
    tally = _tally(n, _cuts(chance), stream)
    if tally == 0:
        return False
    _unpack(tally, faces)
    return True


@kernel
def _cuts(chance: Six) -> SixCuts:
    """Cumulative probabilities in units of 2⁻³²."""
    c0 = chance[0]
    c1 = c0 + chance[1]
    c2 = c1 + chance[2]
    c3 = c2 + chance[3]
    c4 = c3 + chance[4]
    c5 = c4 + chance[5]
    return int(c0 * UNIT), int(c1 * UNIT), int(c2 * UNIT), int(c3 * UNIT), int(c4 * UNIT), int(c5 * UNIT)


@kernel
def _tally(n: Count, cuts: SixCuts, stream: np.uint64) -> int:
    """How many of n particles draw below each of the six cuts: six numbers of ten bits, packed."""
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
