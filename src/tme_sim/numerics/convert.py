"""A first-order change of form, in place, wherever carriers are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.numerics.arrays import Integers, Reals
from tme_sim.numerics.jit import parallel_kernel, prange
from tme_sim.numerics.part import part
from tme_sim.numerics.random import Key, key_words, stream_key, stream_of
from tme_sim.numerics.threads import use_threads_for

CHUNK = 4096


def convert(amount: NDArray[Any], p: ArrayLike, key: Key, entity: Integers | None = None) -> NDArray[Any]:
    """Turn the share p of form 0 into form 1, in place; `amount` (groups, 2, places) may be a view of any strides.

    p: one for all places, or (places,). Draws are keyed by the place's `entity` (its index, if none is given) and the group.
    Returns what changed, (places,), all groups together.
    """
    groups, forms, places = amount.shape
    shares = np.ascontiguousarray(p, np.float64).ravel()
    if forms != 2 or shares.size not in (1, places) or not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError(f"convert: two forms and a share between 0 and 1 are needed, not {forms} and {shares}")
    changed = np.zeros(places, np.int64 if amount.dtype.kind == "i" else np.float64)
    number = np.arange(places, dtype=np.int64) if entity is None else np.ascontiguousarray(entity, np.int64)
    use_threads_for(groups * places)
    _convert(amount, shares, number, *key_words(key), changed)
    return changed


def switch(
    amount: NDArray[Any], on_per_s: Reals, off_per_s: Reals, dt_s: float, key: Key, entity: Integers | None = None
) -> NDArray[Any]:
    """`convert` both ways over dt at rates of one or of every place, (1,) or (places,); returns what went on, (places,).

    Exact for a chain of two states: with e = 1 − exp(−(on + off) dt) what was in form 0 goes with on/(on + off) e, what was in
    form 1 with off/(on + off) e. What goes on in a first draw may go back in the second; the first chance makes up for it.
    """
    total = on_per_s + off_per_s
    moved = np.divide(-np.expm1(-total * dt_s), total, out=np.zeros(total.shape), where=total > 0)
    there, back = on_per_s * moved, off_per_s * moved
    there = np.divide(there, 1 - back, out=np.zeros(total.shape), where=back < 1)
    changed = convert(amount, np.minimum(there, 1.0), key, entity)
    if back.any():
        convert(amount[:, ::-1], back, stream_key(*key, "back"), entity)
    return changed


@parallel_kernel
def _convert(amount: NDArray[Any], p: Reals, entity: Integers, k0: np.uint64, k1: np.uint64, changed: NDArray[Any]) -> None:
    alike = p.size == 1
    for chunk in prange((changed.size + CHUNK - 1) // CHUNK):
        for group in range(amount.shape[0]):
            for place in range(chunk * CHUNK, min((chunk + 1) * CHUNK, changed.size)):
                if amount[group, 0, place] > 0:
                    gone = part(
                        amount[group, 0, place],
                        p[0 if alike else place],
                        stream_of(k0, k1, entity[place] * amount.shape[0] + group),
                    )
                    amount[group, 0, place] -= gone
                    amount[group, 1, place] += gone
                    changed[place] += gone
