"""Random walks of water through a field: phases and decay of spins at a train of echoes (Bloch–Torrey by Monte Carlo)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.numerics.arrays import Reals, plain
from tme_sim.numerics.jit import kernel, parallel_kernel, prange
from tme_sim.numerics.random import Key, key_words, stream_of, uniform
from tme_sim.numerics.threads import use_threads_for

CHUNK = 256


def walk_spins(
    start: ArrayLike,
    turn_per_s: NDArray[Any],
    rate_per_s: NDArray[Any],
    *,
    diffusivity_per_s: float,
    spacing_s: float,
    echoes: int,
    steps: int,
    key: Key,
) -> NDArray[np.complex128]:
    """(echo, spin) signal e^(−∫R dt + i∫±ω dt) of each spin at echoes `spacing_s` apart, refocused midway between them.

    start: (spin, 3) where each begins, in voxels along (z, y, x), the first voxel's centre at 0; turn_per_s, rate_per_s:
    (z, y, x) angular frequency ω and transverse rate R, linear between centres; diffusivity_per_s: D/h². Faces reflect. `steps`
    Gaussian moves between refocusing and echo; along each the integrals are trapezoids, so a linear field is right to
    (1/(2·steps))² of its own effect.
    """
    begin = plain(start, np.float64)
    dt = spacing_s / (2 * steps)
    out = np.empty((echoes, len(begin)), np.complex128)
    use_threads_for(len(begin) * echoes * steps)
    field, decay = plain(turn_per_s, np.float64), plain(rate_per_s, np.float64)
    _walk(begin, field, decay, np.sqrt(2 * diffusivity_per_s * dt), dt, steps, *key_words(key), out)
    return out


@kernel
def _reflect(x: float, n: int) -> float:
    """A coordinate between the faces at −1/2 and n − 1/2."""
    if x < -0.5:
        x = -1.0 - x
    elif x > n - 0.5:
        x = 2.0 * n - 1.0 - x
    return min(max(x, -0.5), n - 0.5)


@kernel
def _corner(x: float, n: int) -> tuple[int, float]:
    """The lower of the two centres around x, and how far beyond it x is; nothing changes beyond the last centres."""
    inside = min(max(x, 0.0), n - 1.0)
    low = min(int(inside), max(n - 2, 0))
    return low, inside - low


@kernel
def _between(a: Reals, z: float, y: float, x: float) -> float:
    """Trilinear value."""
    nz, ny, nx = a.shape
    k, c = _corner(z, nz)
    j, b = _corner(y, ny)
    i, w = _corner(x, nx)
    up, out, on = min(k + 1, nz - 1), min(j + 1, ny - 1), min(i + 1, nx - 1)
    lower = (a[k, j, i] * (1 - w) + a[k, j, on] * w) * (1 - b) + (a[k, out, i] * (1 - w) + a[k, out, on] * w) * b
    upper = (a[up, j, i] * (1 - w) + a[up, j, on] * w) * (1 - b) + (a[up, out, i] * (1 - w) + a[up, out, on] * w) * b
    return float(lower * (1 - c) + upper * c)


@parallel_kernel
def _walk(
    start: Reals, field: Reals, decay: Reals, sd: float, dt: float, steps: int,
    k0: np.uint64, k1: np.uint64, out: NDArray[np.complex128],
) -> None:  # fmt: skip
    nz, ny, nx = field.shape
    for chunk in prange((start.shape[0] + CHUNK - 1) // CHUNK):
        for s in range(chunk * CHUNK, min((chunk + 1) * CHUNK, start.shape[0])):
            z, y, x = start[s, 0], start[s, 1], start[s, 2]
            stream, draw, phase, lost = stream_of(k0, k1, s), 0, 0.0, 0.0
            w, r = _between(field, z, y, x), _between(decay, z, y, x)
            for e in range(out.shape[0]):
                for step in range(2 * steps):
                    far = sd * np.sqrt(-2.0 * np.log(uniform(stream, draw)))
                    far2 = sd * np.sqrt(-2.0 * np.log(uniform(stream, draw + 2)))
                    angle, angle2 = 2.0 * np.pi * uniform(stream, draw + 1), 2.0 * np.pi * uniform(stream, draw + 3)
                    z = _reflect(z + far * np.cos(angle), nz)
                    y = _reflect(y + far * np.sin(angle), ny)
                    x = _reflect(x + far2 * np.cos(angle2), nx)
                    draw += 4
                    w_new, r_new = _between(field, z, y, x), _between(decay, z, y, x)
                    if step == steps:
                        phase = -phase
                    phase += 0.5 * dt * (w + w_new)
                    lost += 0.5 * dt * (r + r_new)
                    w, r = w_new, r_new
                out[e, s] = np.exp(complex(-lost, phase))
