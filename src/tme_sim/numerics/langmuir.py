"""Reversible binding to a limited number of places per voxel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.arrays import in_place
from tme_sim.numerics.jit import parallel_kernel, prange
from tme_sim.numerics.part import part
from tme_sim.numerics.random import Key, bits, key_words, stream_of
from tme_sim.numerics.threads import use_threads_for

CHUNK = 4096


def bind(free: NDArray[Any], bound: NDArray[Any], most: float, on_per_s: float, off_per_s: float, dt_s: float, key: Key) -> None:
    """One exponential Rosenbrock step of dB/dt = on (1 − B/most) F − off B in each voxel, in place; (components, voxels).

    B and F are all components together. ΔB = dB/dt · (1 − exp(−κ dt))/κ with κ = −∂(dB/dt)/∂B at fixed F + B (Hochbruck &
    Ostermann 2010, doi:10.1017/S0962492910000048): binding and leaving are shares of what is free and bound.
    """
    stores = [in_place(name, a, np.int32, np.int64, np.float64) for name, a in (("free", free), ("bound", bound))]
    use_threads_for(free.size)
    _bind(stores[0], stores[1], most, on_per_s, off_per_s, dt_s, *key_words(key))


@parallel_kernel
def _bind(
    free: NDArray[Any], bound: NDArray[Any], most: float, on: float, off: float, dt: float, k0: np.uint64, k1: np.uint64
) -> None:  # fmt: skip
    components, n = free.shape
    for chunk in prange((n + CHUNK - 1) // CHUNK):
        for voxel in range(chunk * CHUNK, min((chunk + 1) * CHUNK, n)):
            f = b = 0.0
            for c in range(components):
                f += free[c, voxel]
                b += bound[c, voxel]
            onto = on * min(max(1.0 - b / most, 0.0), 1.0)
            relax = onto + off + on * f / most
            if f + b <= 0.0 or relax <= 0.0:
                continue
            acting = -np.expm1(-relax * dt) / relax
            for c in range(components):
                if free[c, voxel] > 0 or bound[c, voxel] > 0:
                    stream = stream_of(k0, k1, c * n + voxel)
                    change = part(free[c, voxel], onto * acting, bits(stream, 0)) - part(
                        bound[c, voxel], off * acting, bits(stream, 1)
                    )
                    free[c, voxel] -= change
                    bound[c, voxel] += change
