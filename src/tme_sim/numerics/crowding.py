"""Who divides on a crowded lattice: daughters take the nearest free site, pushing a line of others towards it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.numerics.arrays import Integers, plain
from tme_sim.numerics.jit import kernel
from tme_sim.numerics.random import Key, key_words, stream_of, uniform, uniforms

NOBODY = -1
OPEN, PLACE = 0, 1
"""Draws of a mother: her turn, then one for each shell of sites."""


def divide(
    site: ArrayLike, mothers: ArrayLike, room: NDArray[np.bool_], groups: ArrayLike, reach: float, key: Key, entity: ArrayLike
) -> tuple[Integers, Integers]:
    """Where everybody is once the mothers have divided, (agents,), and each one's daughter, (mothers,); -1 had no room.

    site: (agents,) flat, at most one of those that share a site fills it; mothers: rows of `site`; room: (z, y, x) sites that may
    be filled; groups: (z,) what plane belongs to, nobody passes between them; reach: in sites, how far a free site may be;
    entity: (mothers,) what keys each one's draws. One mother after the other, in an order drawn anew: she looks outwards from
    shell to shell, takes one of the nearest free sites at random, and the cells on the line of faces to it move on by one. A line
    passes filled sites until it ends on a free one.
    """
    sites, rows, ids = plain(site, np.int64).copy(), plain(mothers, np.int64), plain(entity, np.int64)
    occupant = np.full(room.size, NOBODY, np.int64)
    occupant[sites] = np.arange(sites.size)
    offsets, shells = ball(reach)
    order = np.argsort(uniforms(key, ids, OPEN), kind="stable")
    everybody = np.concatenate([sites, np.full(rows.size, NOBODY)])
    shape, group = np.array(room.shape, np.int64), plain(groups, np.int64)
    _divide(everybody, rows, order, occupant, plain(room).reshape(-1), shape, group, offsets, shells, *key_words(key), ids)
    return everybody[: sites.size], everybody[sites.size :]


def ball(reach: float) -> tuple[Integers, Integers]:
    """Offsets (n, 3) within a distance, from near to far, without the centre; where each shell of like distance begins."""
    n = int(reach)
    grid = np.stack(np.meshgrid(*[np.arange(-n, n + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    squares = (grid**2).sum(axis=1)
    near = (squares > 0) & (squares <= reach**2 + 1e-9)
    order = np.argsort(squares[near], kind="stable")
    _, starts = np.unique(squares[near][order], return_index=True)
    return grid[near][order].astype(np.int64), np.append(starts, near.sum()).astype(np.int64)


@kernel
def _divide(
    site: Integers, mothers: Integers, order: Integers, occupant: Integers, room: NDArray[np.bool_],
    shape: Integers, group: Integers, offsets: Integers, shells: Integers, k0: np.uint64, k1: np.uint64, entity: Integers,
) -> None:  # fmt: skip
    agents, line = site.size - mothers.size, np.empty(3 * (np.abs(offsets).max() if offsets.size else 0) + 1, np.int64)
    for turn in order:
        home, stream = site[mothers[turn]], stream_of(k0, k1, entity[turn])
        length = _nearest(home, occupant, room, shape, group, offsets, shells, stream, line)
        for step in range(length - 1, 0, -1):  # from the free end back to the mother
            moved = occupant[line[step - 1]]
            occupant[line[step]] = moved
            site[moved] = line[step]
        if length > 0:
            occupant[line[0]] = agents + turn
            site[agents + turn] = line[0]


@kernel
def _nearest(
    home: int, occupant: Integers, room: NDArray[np.bool_], shape: Integers, group: Integers,
    offsets: Integers, shells: Integers, stream: np.uint64, line: Integers,
) -> int:  # fmt: skip
    """Fills `line` with the sites from beside `home` to a nearest free one; returns how many, 0 where there is none."""
    z, rest = home // (shape[1] * shape[2]), home % (shape[1] * shape[2])
    y, x = rest // shape[2], rest % shape[2]
    for shell in range(shells.size - 1):
        first, count = shells[shell], shells[shell + 1] - shells[shell]
        turn = int(uniform(stream, PLACE + shell) * count)
        for i in range(count):
            d = offsets[first + (turn + i) % count]
            tz, ty, tx = z + d[0], y + d[1], x + d[2]
            if not (0 <= tz < shape[0] and 0 <= ty < shape[1] and 0 <= tx < shape[2]) or group[tz] != group[z]:
                continue
            target = (tz * shape[1] + ty) * shape[2] + tx
            if occupant[target] == NOBODY and room[target]:
                length = _line(home, d, occupant, room, shape, line)
                if length > 0:
                    return length
    return 0


@kernel
def _line(
    home: int, offset: Integers, occupant: Integers, room: NDArray[np.bool_], shape: Integers, line: Integers
) -> int:  # fmt: skip
    """Sites one after the other through faces, along the axis on which most is left, to the first free one; 0: it has no room."""
    lz, ly, lx = abs(offset[0]), abs(offset[1]), abs(offset[2])
    at, length = home, 0
    while lz + ly + lx > 0:
        if lz >= ly and lz >= lx:
            at += shape[1] * shape[2] if offset[0] > 0 else -shape[1] * shape[2]
            lz -= 1
        elif ly >= lx:
            at += shape[2] if offset[1] > 0 else -shape[2]
            ly -= 1
        else:
            at += 1 if offset[2] > 0 else -1
            lx -= 1
        line[length] = at
        length += 1
        if occupant[at] == NOBODY:
            return length if room[at] else 0
    return 0
