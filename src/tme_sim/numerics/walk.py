"""Walkers on the lattice: random walks over its face rates, and who meets whom."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.numerics.arrays import Integers, Reals, plain
from tme_sim.numerics.binning import bins
from tme_sim.numerics.jit import kernel, parallel_kernel, prange
from tme_sim.numerics.random import Key, key_words, stream_of, uniform, uniforms
from tme_sim.numerics.threads import use_threads_for

CHUNK = 1024
NOBODY = -1


def walk(place: ArrayLike, rates: NDArray[Any], dt_s: float, key: Key, entity: ArrayLike) -> Integers:
    """Where walkers are after `dt_s`: they wait and hop in continuous time, so no step is too long.

    place: (walkers,) flat index of the voxel or site that each is on; rates: (6, z, y, x) out of each through its faces, as
    `transport.FaceRates.out` gives them (then a walker moves on average with the velocity, and without one its mean square
    displacement along an axis is 2 D t); entity: (walkers,) what keys each one's draws. Raises ValueError for a place off the
    lattice.
    """
    places, ids = plain(place, np.int64), plain(entity, np.int64)
    shape = rates.shape[1:]
    n = int(np.prod(shape))
    if places.size and not 0 <= places.min() <= places.max() < n:
        raise ValueError(f"place {places[(places < 0) | (places >= n)][0]}: must lie between 0 and {n - 1}")
    out = np.empty_like(places)
    use_threads_for(places.size)
    _walk(places, plain(rates, np.float64).reshape(6, -1), strides(shape), float(dt_s), *key_words(key), ids, out)
    return out


def meet(place: ArrayLike, others: ArrayLike, passable: NDArray[np.bool_], key: Key, entity: ArrayLike) -> Integers:
    """(agents,) for each agent the row of one of the others on its site or on a site behind a passable face, -1 for none.

    Each of them is as likely. place, others: (agents,), (others,) flat site; passable: (6, z, y, x) whether a face lets through.
    """
    places = plain(place, np.int64)
    shape = passable.shape[1:]
    start, order = bins(plain(others, np.int64), int(np.prod(shape)))
    out = np.full(places.size, NOBODY, dtype=np.int64)
    use_threads_for(places.size)
    _meet(places, plain(passable).reshape(6, -1), strides(shape), start, order, *key_words(key), plain(entity, np.int64), out)
    return out


def wander(
    place: ArrayLike, others: ArrayLike, rates: NDArray[Any], dt_s: float, key: Key, entity: ArrayLike
) -> tuple[Integers, Integers]:
    """Where walkers that fill their sites are after `dt_s`, and the others, with whom they change places.

    place: (walkers,), others: (others,) flat sites; rates, entity: as in `walk`. One after the other, in an order drawn anew,
    walks in continuous time. A hop onto another walker's site is not made; one of the others that is there goes to the site that
    was left, unless one of its kind is there already. Few walkers among many are independent; a dense population comes to rest
    at ρ/(1 − ρ) in proportion to the capacity of its sites.
    """
    walkers, passed, ids = plain(place, np.int64).copy(), plain(others, np.int64).copy(), plain(entity, np.int64)
    shape = rates.shape[1:]
    walker_at, other_at = (np.full(int(np.prod(shape)), NOBODY, np.int64) for _ in range(2))
    walker_at[walkers], other_at[passed] = np.arange(walkers.size), np.arange(passed.size)
    order = np.argsort(uniforms(key, ids), kind="stable")
    table = plain(rates, np.float64).reshape(6, -1)
    _wander(walkers, passed, walker_at, other_at, order, table, strides(shape), float(dt_s), *key_words(key), ids)
    return walkers, passed


def strides(shape: tuple[int, ...]) -> Integers:
    """(6,) what a flat index changes by through the faces −z, +z, −y, +y, −x, +x."""
    _, ny, nx = shape
    return np.array([-ny * nx, ny * nx, -nx, nx, -1, 1], np.int64)


@kernel
def _leave_per_s(at: int, rates: Reals) -> float:
    total = 0.0
    for f in range(6):
        total += rates[f, at]
    return total


@kernel
def _hop(at: int, rates: Reals, offset: Integers, chance: float) -> int:
    """The place behind the face that `chance` of the total rate falls into."""
    left, face = chance, 0
    for f in range(6):
        if rates[f, at] > 0.0:
            face = f
            left -= rates[f, at]
            if left < 0.0:
                break
    return int(at + offset[face])


@parallel_kernel
def _walk(
    place: Integers, rates: Reals, offset: Integers, dt_s: float,
    k0: np.uint64, k1: np.uint64, entity: Integers, out: Integers,
) -> None:  # fmt: skip
    for chunk in prange((place.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min((chunk + 1) * CHUNK, place.size)):
            at, stream, draw, left_s = place[i], stream_of(k0, k1, entity[i]), 0, dt_s
            while True:
                total = _leave_per_s(at, rates)
                if total <= 0.0:
                    break
                left_s += np.log(uniform(stream, draw)) / total
                if left_s <= 0.0:
                    break
                at = _hop(at, rates, offset, total * uniform(stream, draw + 1))
                draw += 2
            out[i] = at


@kernel
def _wander(
    place: Integers, others: Integers, walker_at: Integers, other_at: Integers, order: Integers,
    rates: Reals, offset: Integers, dt_s: float, k0: np.uint64, k1: np.uint64, entity: Integers,
) -> None:  # fmt: skip
    for turn in order:
        at, stream, draw, left_s = place[turn], stream_of(k0, k1, entity[turn]), 1, dt_s
        while True:
            total = _leave_per_s(at, rates)
            if total <= 0.0:
                break
            left_s += np.log(uniform(stream, draw)) / total
            if left_s <= 0.0:
                break
            to = _hop(at, rates, offset, total * uniform(stream, draw + 1))
            draw += 2
            if walker_at[to] != NOBODY:
                continue
            if other_at[to] != NOBODY and other_at[at] == NOBODY:
                others[other_at[to]] = at
                other_at[at], other_at[to] = other_at[to], NOBODY
            if walker_at[at] == turn:
                walker_at[at] = NOBODY
            walker_at[to] = turn
            at = to
        place[turn] = at


@parallel_kernel
def _meet(
    place: Integers, passable: NDArray[np.bool_], offset: Integers, start: Integers, order: Integers,
    k0: np.uint64, k1: np.uint64, entity: Integers, out: Integers,
) -> None:  # fmt: skip
    for chunk in prange((place.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min((chunk + 1) * CHUNK, place.size)):
            at = place[i]
            found = start[at + 1] - start[at]
            for f in range(6):
                if passable[f, at]:
                    found += start[at + offset[f] + 1] - start[at + offset[f]]
            if found == 0:
                continue
            pick = min(int(uniform(stream_of(k0, k1, entity[i]), 0) * found), found - 1)
            out[i] = _pick(at, pick, passable, offset, start, order)


@kernel
def _pick(at: int, pick: int, passable: NDArray[np.bool_], offset: Integers, start: Integers, order: Integers) -> int:
    """The pick-th of those on the site and behind its faces."""
    here = start[at + 1] - start[at]
    if pick < here:
        return int(order[start[at] + pick])
    pick -= here
    for f in range(6):
        if passable[f, at]:
            beside = at + offset[f]
            here = start[beside + 1] - start[beside]
            if pick < here:
                return int(order[start[beside] + pick])
            pick -= here
    return NOBODY
