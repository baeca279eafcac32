"""A chain of stages in a row, left at a common rate: amounts move on by several stages at once and out of its end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.numerics.arrays import Integers, Reals, in_place, plain
from tme_sim.numerics.binomial import binomial
from tme_sim.numerics.jit import parallel_kernel, prange
from tme_sim.numerics.random import Key, bits, key_words, stream_of
from tme_sim.numerics.threads import use_threads_for

CHUNK = 1024


def pass_on(held: NDArray[Any], moves: ArrayLike, key: Key) -> NDArray[Any]:
    """Moves what is held on by k stages with probability moves[k], in place; returns what leaves the chain, (places,).

    held: (stages, places) int64 or float64, C-ordered; moves: (stages,) of no stage, one, two …, what is missing to 1 goes beyond
    any. Of counts the parts are multinomial draws, those of real amounts their means. Raises ValueError for chances that are
    negative, not finite, or add up to more than 1.
    """
    store, chance = in_place("held", held, np.int64, np.float64), plain(moves, np.float64)
    stages, places = store.shape
    if chance.shape != (stages,) or not (np.isfinite(chance) & (chance >= 0)).all() or chance.sum() > 1 + 1e-12:
        raise ValueError(f"moves {chance}: must be {stages} chances that add up to at most 1")
    use_threads_for(store.size)
    if store.dtype.kind == "f":
        gone = np.zeros(places)
        _pass_on_amounts(store, chance, gone)
        return gone
    left = 1.0 - np.concatenate([[0.0], np.cumsum(chance)[:-1]])
    of_left = np.clip(np.divide(chance, left, out=np.ones(stages), where=left > 0), 0.0, 1.0)
    leaves = np.zeros(places, np.int64)
    _pass_on_counts(store, of_left, *key_words(key), leaves)
    return leaves


@parallel_kernel
def _pass_on_amounts(held: Reals, chance: Reals, leaves: Reals) -> None:
    """Stage s goes to t ≥ s with chance[t − s], and out with the rest."""
    stages, places = held.shape
    for chunk in prange((places + CHUNK - 1) // CHUNK):
        part = held[:, chunk * CHUNK : min((chunk + 1) * CHUNK, places)]
        out = leaves[chunk * CHUNK : min((chunk + 1) * CHUNK, places)]
        for stage in range(stages):
            rest = max(1.0 - chance[: stages - stage].sum(), 0.0)
            for place in range(out.size):
                out[place] += rest * part[stage, place]
        for to in range(stages - 1, -1, -1):  # the last first: it asks for what is before it
            for place in range(out.size):
                part[to, place] *= chance[0]
            for stage in range(to):
                for place in range(out.size):
                    part[to, place] += chance[to - stage] * part[stage, place]


@parallel_kernel
def _pass_on_counts(held: Integers, of_left: Reals, k0: np.uint64, k1: np.uint64, leaves: Integers) -> None:
    stages, places = held.shape
    for chunk in prange((places + CHUNK - 1) // CHUNK):
        for stage in range(stages - 1, -1, -1):  # the last first: what moves on is not moved again
            for place in range(chunk * CHUNK, min((chunk + 1) * CHUNK, places)):
                left = held[stage, place]
                if left == 0:
                    continue
                stream = stream_of(k0, k1, stage * places + place)
                held[stage, place] = 0
                for moved in range(stages - stage):
                    part = binomial(left, of_left[moved], bits(stream, moved))
                    held[stage + moved, place] += part
                    left -= part
                leaves[place] += left
