"""What agents hold matures, decays and comes out again into the voxels of their site."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.arrays import Integers, Reals, in_place, plain
from tme_sim.numerics.binning import Bins
from tme_sim.numerics.jit import kernel, parallel_kernel, prange
from tme_sim.numerics.part import part
from tme_sim.numerics.random import Key, bits, key_words, stream_of
from tme_sim.numerics.threads import use_threads_for

CHUNK = 256
DEGRADE, LEAVE, MATURE, PLACE = 0, 1, 2, 3


class Rates(NamedTuple):
    """First-order rates per second: out of the endosome into the voxels, and into the lysosome; decay in the lysosome."""

    out: float
    maturing: float
    decay: float


def turn_over(
    endosome: NDArray[Any],
    lysosome: NDArray[Any],
    free: NDArray[Any],
    agents: Bins,
    ids: NDArray[np.int64],
    footprint: Integers,
    capacity: Reals,
    patch_of_site: Integers,
    rates: Rates,
    dt_s: float,
    key: Key,
    payload: Reals,
) -> tuple[NDArray[Any], Reals, Reals]:
    """Decay, then maturing and coming out, each exact over dt, of what agents hold (agents, components), in place.

    What comes out goes to the voxels of the agent's site in `free` (components, voxels), in proportion to their capacity; where
    none has any, nothing comes out. Draws are keyed by `ids`. Returns what decayed, (patches, components); what each agent holds
    afterwards, (agents,); and the `payload` (components,), per unit, of what decayed in it, (agents,).
    """
    start, order = agents
    chunks = (start.size - 1 + CHUNK - 1) // CHUNK
    decayed = np.zeros((chunks, int(patch_of_site.max(initial=0)) + 1, endosome.shape[1]), endosome.dtype)
    held, freed = np.zeros((2, len(endosome)))
    use_threads_for(endosome.size)
    _turn_over(
        in_place("endosome", endosome, np.int64, np.float64),
        in_place("lysosome", lysosome, np.int64, np.float64),
        in_place("free", free, np.int32, np.int64, np.float64),
        start,
        order,
        plain(ids, np.int64),
        plain(footprint, np.int64),
        plain(capacity, np.float64),
        plain(patch_of_site, np.int64),
        _chances(rates, dt_s),
        *key_words(key),
        plain(payload, np.float64),
        decayed,
        held,
        freed,
    )
    return decayed.sum(axis=0), held, freed


def _chances(rates: Rates, dt_s: float) -> Reals:
    """To decay; to leave the endosome, and if so for the lysosome: with a way out, then without."""
    both = rates.out + rates.maturing
    leave, leave_closed, decay = -np.expm1(-np.array([both, rates.maturing, rates.decay]) * dt_s)
    return np.array([decay, leave, rates.maturing / both if both > 0 else 0.0, leave_closed, 1.0])


@parallel_kernel
def _turn_over(
    endosome: NDArray[Any], lysosome: NDArray[Any], free: NDArray[Any], start: Integers, order: Integers, ids: Integers,
    footprint: Integers, phi: Reals, patch: Integers, chances: Reals, k0: np.uint64, k1: np.uint64,
    payload: Reals, decayed: NDArray[Any], held: Reals, freed: Reals,
) -> None:  # fmt: skip
    components = endosome.shape[1]
    for chunk in prange((start.size - 1 + CHUNK - 1) // CHUNK):
        room = np.empty(footprint.shape[1])
        for site in range(chunk * CHUNK, min((chunk + 1) * CHUNK, start.size - 1)):
            if start[site] == start[site + 1]:
                continue
            space = _room(footprint[site], phi, room)
            leave, mature = (chances[1], chances[2]) if space > 0.0 else (chances[3], chances[4])
            for j in range(start[site], start[site + 1]):
                agent = order[j]
                for c in range(components):
                    stream = stream_of(k0, k1, ids[agent] * components + c)
                    if lysosome[agent, c] > 0:
                        gone = part(lysosome[agent, c], chances[0], bits(stream, DEGRADE))
                        lysosome[agent, c] -= gone
                        decayed[chunk, patch[site], c] += gone
                        freed[agent] += payload[c] * gone
                    if endosome[agent, c] > 0:
                        leaving = part(endosome[agent, c], leave, bits(stream, LEAVE))
                        matured = part(leaving, mature, bits(stream, MATURE))
                        endosome[agent, c] -= leaving
                        lysosome[agent, c] += matured
                        _come_out(leaving - matured, free, c, footprint[site], phi, room, stream)
                    held[agent] += endosome[agent, c] + lysosome[agent, c]


@kernel
def _room(voxels: Integers, phi: Reals, room: Reals) -> float:
    """Fills room[j] with the capacity of the voxels from the j-th on and returns all of it."""
    total = 0.0
    for j in range(voxels.size - 1, -1, -1):
        total += phi[voxels[j]]
        room[j] = total
    return total


@kernel
def _come_out(
    amount: Any, free: NDArray[Any], component: int, voxels: Integers, phi: Reals, room: Reals, stream: np.uint64
) -> None:
    """Voxel after voxel takes capacity / (capacity still to come) of what is left: the last one all of it."""
    for j in range(voxels.size):
        if amount == 0:
            return
        if phi[voxels[j]] > 0.0:
            there = part(amount, phi[voxels[j]] / room[j], bits(stream, PLACE + j))
            free[component, voxels[j]] += there
            amount -= there
