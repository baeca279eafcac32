"""Agents take up what lies in the voxels of their site."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.numerics.arrays import Integers, Reals, in_place, plain
from tme_sim.numerics.binning import Bins, bins
from tme_sim.numerics.jit import kernel, parallel_kernel, prange
from tme_sim.numerics.part import part
from tme_sim.numerics.random import Key, bits, key_words, stream_of
from tme_sim.numerics.threads import use_threads_for

CHUNK = 256


def collect(
    amount: NDArray[Any],
    agent_site: ArrayLike,
    clearance_um3_per_s: ArrayLike,
    capacity: ArrayLike,
    voxel_volume_um3: float,
    footprint: ArrayLike,
    dt_s: float,
    key: Key,
    binned: Bins | None = None,
) -> NDArray[Any]:
    """What each agent takes in `dt_s` from the amounts (components, voxels), which lose it in place; shape (agents, components).

    A cell clears the volume CL per second of the free concentration C/φ averaged over the f voxels of its site, so agent a
    takes a particle of voxel v at the rate CL_a/(f φ_v V). Of n counts, Binomial(n, 1 − exp(−Σ_a rate·dt)) go, shared by the
    ratio of clearances; real amounts lose the mean of that. Voxels with φ = 0 give nothing.

    binned: the agents' `bins`, where they are known. `amount` is int32, int64 or float64, the result int64 or
    float64. `agent_site` and `clearance_um3_per_s` are (agents,) in
    id order, `capacity` φ is (voxels,), `footprint` (sites, f) holds flat voxel indices, each voxel under one site only.
    Raises ValueError for a clearance, capacity or interval that is negative or not finite, and an agent or voxel off the lattice.
    """
    store = in_place("amount", amount, np.int32, np.int64, np.float64)
    clearance, phi, voxels = plain(clearance_um3_per_s, np.float64), plain(capacity, np.float64), plain(footprint, np.int64)
    _check(store, clearance, phi, voxels, dt_s)
    start, order = binned or bins(plain(agent_site, np.int64), voxels.shape[0])
    if order.size != clearance.size:
        raise ValueError(f"clearance_um3_per_s {clearance.size} values: needs one for each of the {order.size} agents")
    sites = np.flatnonzero(np.diff(start))
    scale = dt_s / (voxels.shape[1] * voxel_volume_um3)
    use_threads_for(sites.size * voxels.shape[1] * store.shape[0])
    shape = (order.size, store.shape[0])
    in_order: NDArray[Any] = np.zeros(shape, np.float64 if store.dtype.kind == "f" else np.int64)
    most = int(np.diff(start).max(initial=0))
    # by site in the kernel: two passes through memory out of order cost less than steps through it out of order
    _collect(store, sites, start, clearance[order], phi, voxels, scale, *key_words(key), most, in_order)
    taken = np.empty_like(in_order)
    taken[order] = in_order
    return taken


def _check(amount: NDArray[Any], clearance: NDArray[Any], phi: NDArray[Any], voxels: NDArray[Any], dt_s: float) -> None:
    for name, values in (("clearance_um3_per_s", clearance), ("capacity", phi), ("dt_s", np.asarray(dt_s))):
        if not (np.isfinite(values) & (values >= 0.0)).all():
            raise ValueError(f"{name}: must be finite and not negative everywhere")
    if amount.ndim != 2 or phi.shape != amount.shape[1:]:
        raise ValueError(f"capacity {phi.shape}: must be (voxels,) of the amounts (components, voxels) {amount.shape}")
    if voxels.ndim != 2 or (voxels.size and not 0 <= voxels.min() <= voxels.max() < phi.size):
        raise ValueError(f"footprint: must be (sites, voxels of a site) with indices between 0 and {phi.size - 1}")


@parallel_kernel
def _collect(
    amount: NDArray[Any], sites: Integers, start: Integers,
    clearance: Reals, phi: Reals, footprint: Integers, scale: float,
    k0: np.uint64, k1: np.uint64, most: int, taken: NDArray[Any],
) -> None:  # fmt: skip
    for chunk in prange((sites.size + CHUNK - 1) // CHUNK):
        left = np.empty(most)
        for site in sites[chunk * CHUNK : (chunk + 1) * CHUNK]:
            first, end = start[site], start[site + 1]
            total = _clearance_left(first, end, clearance, left)
            for i in range(footprint.shape[1]):
                voxel = footprint[site, i]
                if phi[voxel] <= 0.0 or total <= 0.0:
                    continue
                p = -np.expm1(-total * scale / phi[voxel])
                for c in range(amount.shape[0]):
                    if amount[c, voxel] > 0:
                        stream = stream_of(k0, k1, c * amount.shape[1] + voxel)
                        gone = part(amount[c, voxel], p, bits(stream, 0))
                        amount[c, voxel] -= gone
                        _give(gone, first, end, clearance, left, stream, c, taken)


@kernel
def _clearance_left(first: int, end: int, clearance: Reals, left: Reals) -> float:
    """Fills left[j] with the clearance of the site's agents from the j-th on and returns the total."""
    total = 0.0
    for j in range(end - first - 1, -1, -1):
        total += clearance[first + j]
        left[j] = total
    return total


@kernel
def _give(
    gone: Any, first: int, end: int, clearance: Reals, left: Reals,
    stream: np.uint64, component: int, taken: NDArray[Any],
) -> None:  # fmt: skip
    """Shares a voxel's loss among its agents in id order: of what is left, clearance / (clearance left)."""
    for j in range(end - first):
        if gone == 0:
            return
        own = part(gone, clearance[first + j] / left[j] if left[j] > 0.0 else 0.0, bits(stream, j + 1))
        taken[first + j, component] += own
        gone -= own
