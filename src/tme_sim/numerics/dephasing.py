"""The sum of decaying signals that turn in a field: one value a voxel and echo."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.numerics.arrays import plain
from tme_sim.numerics.jit import kernel, parallel_kernel, prange
from tme_sim.numerics.threads import use_threads_for

CHUNK = 4096
Singles = NDArray[np.float32]


def dephase(
    weight: NDArray[Any], rate_per_s: NDArray[Any], turn_per_s: NDArray[Any], slope_per_s: NDArray[Any], echo_s: ArrayLike
) -> NDArray[np.complex64]:
    """(echo, z, y, x) signal Σ_k w_k e^(−R_k t) · e^(iωt) · Π_axis sinc(s_axis t/2) at times t.

    weight, rate_per_s: (pool, z, y, x); turn_per_s: (z, y, x) angular frequency ω; slope_per_s: (3, z, y, x) what ω changes by
    across the voxel along each axis: the sinc is the mean over a voxel in which ω is linear.
    """
    shape = turn_per_s.shape
    flat = [plain(a, np.float32).reshape(n, -1) for a, n in ((weight, len(weight)), (rate_per_s, len(weight)), (slope_per_s, 3))]
    echoes = plain(echo_s, np.float32)
    out = np.empty((echoes.size, turn_per_s.size), np.complex64)
    use_threads_for(turn_per_s.size)
    _dephase(flat[0], flat[1], plain(turn_per_s, np.float32).reshape(-1), flat[2], echoes, out)
    return out.reshape(echoes.size, *shape)


@kernel
def _sinc(x: np.float32) -> np.float32:
    """sin(x)/x."""
    if abs(x) < np.float32(0.05):
        return np.float32(1.0) - x * x / np.float32(6.0)
    return np.float32(np.sin(x) / x)


@parallel_kernel
def _dephase(weight: Singles, rate: Singles, turn: Singles, slope: Singles, echo: Singles, out: NDArray[np.complex64]) -> None:
    n = turn.size
    for chunk in prange((n + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min((chunk + 1) * CHUNK, n)):
            for e in range(echo.size):
                t = echo[e]
                total = np.float32(0.0)
                for k in range(weight.shape[0]):
                    if weight[k, i] != np.float32(0.0):
                        total += weight[k, i] * np.exp(-rate[k, i] * t)
                half = np.float32(0.5) * t
                total *= _sinc(slope[0, i] * half) * _sinc(slope[1, i] * half) * _sinc(slope[2, i] * half)
                angle = turn[i] * t
                out[e, i] = np.complex64(complex(total * np.cos(angle), total * np.sin(angle)))
