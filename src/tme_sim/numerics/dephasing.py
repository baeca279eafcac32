"""The sum of decaying signals that turn in a field: one value a voxel and echo."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.numerics.arrays import plain
from tme_sim.numerics.jit import kernel, parallel_kernel, prange
from tme_sim.numerics.threads import use_threads_for

Singles = NDArray[np.float32]


def dephase(weight: NDArray[Any], rate_per_s: NDArray[Any], turn_per_s: NDArray[Any], echo_s: ArrayLike) -> NDArray[np.complex64]:
    """(echo, z, y, x) signal Σ_k w_k e^(−R_k t) · ⟨e^(iωt)⟩ at times t.

    weight, rate_per_s: (pool, z, y, x); turn_per_s: (p z, p y, p x) angular frequency ω at the centres of p³ parts of each voxel,
    over which the mean is taken.
    """
    shape, parts = weight.shape[1:], turn_per_s.shape[0] // weight.shape[1]
    if turn_per_s.shape != tuple(n * parts for n in shape):
        raise ValueError(f"a field of shape {turn_per_s.shape} does not divide voxels of shape {shape}")
    echoes = plain(echo_s, np.float32)
    out = np.empty((echoes.size, *shape), np.complex64)
    use_threads_for(turn_per_s.size)
    _dephase(plain(weight, np.float32), plain(rate_per_s, np.float32), plain(turn_per_s, np.float32), parts, echoes, out)
    return out


@kernel
def _amplitude(weight: Singles, rate: Singles, z: int, y: int, x: int, t: np.float32) -> np.float32:
    """Of all pools together."""
    total = np.float32(0.0)
    for k in range(weight.shape[0]):
        if weight[k, z, y, x] != np.float32(0.0):
            total += weight[k, z, y, x] * np.exp(-rate[k, z, y, x] * t)
    return total


@parallel_kernel
def _dephase(weight: Singles, rate: Singles, turn: Singles, parts: int, echo: Singles, out: NDArray[np.complex64]) -> None:
    _, nz, ny, nx = weight.shape
    share = np.float32(1.0 / parts**3)
    for row in prange(nz * ny):
        z, y = row // ny, row % ny
        for x in range(nx):
            for e in range(echo.size):
                size = share * _amplitude(weight, rate, z, y, x, echo[e])
                real, imaginary = np.float32(0.0), np.float32(0.0)
                for k in range(z * parts, (z + 1) * parts):
                    for j in range(y * parts, (y + 1) * parts):
                        for i in range(x * parts, (x + 1) * parts):
                            angle = turn[k, j, i] * echo[e]
                            real += np.cos(angle)
                            imaginary += np.sin(angle)
                out[e, z, y, x] = np.complex64(complex(size * real, size * imaginary))
