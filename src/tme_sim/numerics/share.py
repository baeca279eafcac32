"""Every move of an amount goes through here: binomial for integers, amount·p for reals, the same in the mean."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.numerics.arrays import Integers, Reals, plain
from tme_sim.numerics.binomial import binomial
from tme_sim.numerics.jit import kernel, parallel_kernel, prange
from tme_sim.numerics.random import Key, bits, key_words, stream_of
from tme_sim.numerics.threads import use_threads_for

CHUNK = 4096


def share(amount: ArrayLike, p: ArrayLike, key: Key, entity: ArrayLike | None = None) -> NDArray[Any]:
    """The part of each amount that goes with probability p: Binomial(amount, p) for integer types, amount·p for real ones.

    `amount`, `p` and `entity` broadcast; the result has the amount's dtype. Draws are keyed by `entity`, by default the flat
    index. Raises ValueError for a p outside [0, 1] or not finite, and for a negative count.
    """
    amounts, chance = np.asarray(amount), np.asarray(p, dtype=np.float64)
    if chance.size and not (chance.min() >= 0.0 and chance.max() <= 1.0):
        _check("p", chance, (chance >= 0.0) & (chance <= 1.0), "must lie between 0 and 1")
    shape = np.broadcast_shapes(amounts.shape, chance.shape, () if entity is None else np.shape(entity))
    if not np.issubdtype(amounts.dtype, np.integer):
        return np.asarray(np.broadcast_to(amounts, shape) * chance, dtype=amounts.dtype)
    if amounts.size and amounts.min() < 0:
        _check("amount", amounts, amounts >= 0, "a count cannot be negative")
    out = np.empty(shape, dtype=np.int64)
    counts, chances = _flat(amounts, shape, np.int64), _flat(chance, shape, np.float64)
    use_threads_for(out.size)
    _share_counts(counts, chances, _entities(entity, shape), *key_words(key), out.reshape(-1))
    return out.astype(amounts.dtype, copy=False)


def split(amount: ArrayLike, weights: ArrayLike, key: Key, entity: ArrayLike | None = None) -> NDArray[Any]:
    """Each amount distributed over the last axis of `weights`: multinomial for integer types, in proportion for real ones.

    `amount`, `entity` and `weights` without its last axis broadcast; the result has the amount's dtype. Of counts, part after
    part takes weight / (weight still left) of what is still left, so the parts add up exactly; those of reals do to rounding.
    Raises ValueError for a weight that is negative or not finite, for an amount that has no weight to go to, and for a
    negative count.
    """
    amounts, weight = np.asarray(amount), np.asarray(weights, dtype=np.float64)
    total = weight.sum(axis=-1)
    if weight.size and not (weight.min() >= 0.0 and np.isfinite(total).all()):
        _check("weights", weight, np.isfinite(weight) & (weight >= 0.0), "must be finite and not negative")
    shape = np.broadcast_shapes(amounts.shape, weight.shape[:-1], () if entity is None else np.shape(entity))
    amounts = np.broadcast_to(amounts, shape)
    if not (total > 0.0).all():
        _check("amount", amounts, (amounts == 0) | (total > 0.0), "has no weight to go to")
    if np.issubdtype(amounts.dtype, np.integer):
        return _split_integers(amounts, np.broadcast_to(weight, (*shape, weight.shape[-1])), key, entity)
    per_weight = np.divide(amounts, total, out=np.zeros(shape), where=total > 0.0)
    return np.asarray(per_weight[..., None] * weight, dtype=amounts.dtype)


def _split_integers(amounts: NDArray[Any], weight: Reals, key: Key, entity: ArrayLike | None) -> NDArray[Any]:
    if amounts.size and amounts.min() < 0:
        _check("amount", amounts, amounts >= 0, "a count cannot be negative")
    parts = np.zeros(weight.shape, dtype=np.int64)
    rows = (-1, weight.shape[-1])
    counts = _flat(amounts, amounts.shape, np.int64)
    _split_counts(counts, plain(weight).reshape(rows), _entities(entity, amounts.shape), *key_words(key), parts.reshape(rows))
    return parts.astype(amounts.dtype, copy=False)


def _check(name: str, values: NDArray[Any], good: NDArray[np.bool_], rule: str) -> None:
    if not np.all(good):
        raise ValueError(f"{name} {values[~good].flat[0]}: {rule}")


def _flat(array: NDArray[Any], shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    return plain(np.broadcast_to(array, shape), dtype).reshape(-1)


def _entities(entity: ArrayLike | None, shape: tuple[int, ...]) -> Integers:
    if entity is None:
        return np.arange(int(np.prod(shape)), dtype=np.int64)
    return _flat(np.asarray(entity), shape, np.int64)


@parallel_kernel
def _share_counts(amount: Integers, p: Reals, entity: Integers, k0: np.uint64, k1: np.uint64, out: Integers) -> None:
    for chunk in prange((amount.size + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min((chunk + 1) * CHUNK, amount.size)):
            out[i] = binomial(amount[i], p[i], stream_of(k0, k1, entity[i])) if amount[i] > 0 else 0


@kernel
def _split_counts(amount: Integers, weight: Reals, entity: Integers, k0: np.uint64, k1: np.uint64, out: Integers) -> None:
    still_left = np.empty(weight.shape[1])
    for i in range(amount.size):
        if amount[i] == 0:
            continue
        total = 0.0
        for part in range(weight.shape[1] - 1, -1, -1):
            total += weight[i, part]
            still_left[part] = total
        left, stream = amount[i], stream_of(k0, k1, entity[i])
        for part in range(weight.shape[1]):
            if left == 0:
                break
            if weight[i, part] > 0.0:
                out[i, part] = binomial(left, weight[i, part] / still_left[part], bits(stream, part))
                left -= out[i, part]
