"""Sweeps along z through a lattice: what its faces carry, with concentrations kept plane by plane where they are needed.

Memory is read once for several explicit steps: while plane z takes its first, plane z − 1 takes its second, and so on. Threads
sweep slabs of their own; what they need of their neighbours' planes they copy beforehand and step along, so the bits do not
depend on the number of slabs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.arrays import Integers, Reals
from tme_sim.numerics.jit import kernel, parallel_kernel, prange
from tme_sim.numerics.threads import use_threads_for

Array = NDArray[Any]
Around = tuple[Array, Array, Array, Array, Array, Array, Array]
Faces = tuple[Array, Array, Array, Array, Array, Array]
Open = tuple[Integers, Integers, Reals, Reals]
"""Where each plane's outlets begin; a `Sink`; what has left."""
DEPTH = 8
"""Steps in one sweep, at most; and a slab has so many planes for each of them, since its neighbours' are stepped twice."""


class Sink(NamedTuple):
    """Flat voxels, ascending, of which a share leaves before each step."""

    outlets: Integers
    share: Reals


CLOSED = Sink(np.zeros(0, np.int64), np.zeros(0))


class Work(NamedTuple):
    """Of each slab: its neighbours' planes (slab, side, step, voxel), and concentrations (slab, step, plane, voxel)."""

    borders: Array
    free: Array


@lru_cache(maxsize=4)
def _work(shape: tuple[int, int, int], dtype: Any, slabs: int, depth: int) -> Work:
    """A row of padding before and after each plane, so that every voxel has neighbours; through the edge nothing passes."""
    plane = shape[1] * shape[2]
    borders = np.zeros((slabs, 2, depth if slabs > 1 else 0, plane), dtype)
    return Work(borders, np.zeros((slabs, depth, 3, plane + 2 * shape[2]), dtype))


def sweep(
    amount: Array,
    up: Array,
    down: Array,
    per_capacity: Array,
    dt_s: float,
    steps: int,
    sink: Sink = CLOSED,
    slabs: int = 0,
) -> Reals:
    """`steps` explicit steps in place on (z, y, x), float32 or float64; returns what left each outlet.

    up, down: weights (3, z + 1, y, x) of `transport.FaceRates`. slabs: by default one for each thread.
    """
    nz = amount.shape[0]
    slabs = min(slabs or use_threads_for(amount.size), nz)
    depth = min(DEPTH, steps, nz if slabs == 1 else max(1, nz // slabs // DEPTH))
    first = np.searchsorted(sink.outlets, np.arange(nz + 1) * (amount.size // nz))
    gone, dt = np.zeros(sink.outlets.size), amount.dtype.type(dt_s)
    for done in range(0, steps, depth):
        now = min(depth, steps - done)
        work = _work(amount.shape, amount.dtype, slabs, now)
        _sweep(amount, up, down, per_capacity, dt, up is down, *work, (first, *sink, gone))
    return gone


def blend(
    new: Array, a: float, here: Array, b: float, base: Array, c: float, up: Array, per_capacity: Array, dt_s: float
) -> None:
    """new ← a·new + b·here + c·base + dt_s · (what the faces bring, net, while the amounts are `here`), without flow.

    All (z, y, x), finite, C-contiguous and of one type; `new` is none of the others.
    """
    slabs = min(use_threads_for(here.size), here.shape[0])
    real = here.dtype.type
    free = _work(here.shape, here.dtype, slabs, 1).free
    _blend(new, real(a), here, real(b), base, real(c), up, per_capacity, real(dt_s), free)


@parallel_kernel
def _sweep(
    amount: Array, up: Array, down: Array, per_capacity: Array, dt: float, is_still: bool, borders: Array, free: Array, out: Open
) -> None:  # fmt: skip
    slabs, nz, row = free.shape[0], amount.shape[0], amount.shape[2]
    planes, w, u, d = amount.reshape((nz, -1)), per_capacity.reshape((nz, -1)), up.reshape((3, -1)), down.reshape((3, -1))
    for slab in prange(slabs if slabs > 1 else 0):
        _copy_borders(planes, slab * nz // slabs, (slab + 1) * nz // slabs, borders[slab])
    for slab in prange(slabs):
        z0, z1 = slab * nz // slabs, (slab + 1) * nz // slabs
        _sweep_slab(planes, w, u, d, dt, is_still, row, z0, z1, borders[slab], free[slab], out)


@kernel
def _copy_borders(planes: Array, z0: int, z1: int, borders: Array) -> None:
    depth = borders.shape[1]
    for k in range(depth):
        if z0 - depth + k >= 0:
            borders[0, k] = planes[z0 - depth + k]
        if z1 + k < planes.shape[0]:
            borders[1, k] = planes[z1 + k]


@kernel
def _sweep_slab(
    planes: Array, w: Array, u: Array, d: Array, dt: float, is_still: bool, row: int, z0: int, z1: int, borders: Array,
    free: Array, out: Open,
) -> None:  # fmt: skip
    """The first step comes to plane `at`, each later one a plane after; each reaches one plane less beyond the slab."""
    nz, depth = planes.shape[0], free.shape[0]
    for at in range(max(0, z0 - depth), z1 + depth):
        for step in range(depth):
            z, start, end = at - step, max(0, z0 - depth + 1 + step), min(nz, z1 + depth - 1 - step)
            if not start <= z < end:
                continue
            if z == start:
                free[step, (z + 2) % 3] = 0.0  # below plane 0 is nothing, not what an earlier call left
                for k in range(max(0, z - 1), z + 1):
                    _enter(k, _leave(k, _plane(planes, k, z0, z1, borders), z0 <= k < z1, out), w[k], free[step, k % 3], row)
            here, ahead = _plane(planes, z, z0, z1, borders), z + 1
            if ahead < nz:
                coming = _leave(ahead, _plane(planes, ahead, z0, z1, borders), z0 <= ahead < z1, out)
            else:  # nothing comes from there, but the loop runs over something
                ahead = max(0, z - 1)
                coming = _plane(planes, ahead, z0, z1, borders)
            if is_still:
                _step_still(z, here, coming, w[ahead], free[step], row, u, dt)
            else:
                _step_flowing(z, here, coming, w[ahead], free[step], row, u, d, dt)


@kernel
def _plane(planes: Array, z: int, z0: int, z1: int, borders: Array) -> Array:
    """Plane z as the slab from z0 to z1 has it."""
    if z < z0:
        return borders[0, z - z0 + borders.shape[1]]  # type: ignore[no-any-return]
    found: Array = borders[1, z - z1] if z >= z1 else planes[z]
    return found


@kernel
def _leave(z: int, plane: Array, is_own: bool, out: Open) -> Array:
    """What leaves plane z in a step; in planes copied from others, nothing is counted."""
    first, outlets, share, gone = out
    for k in range(first[z], first[z + 1]):
        i = outlets[k] - z * plane.size
        leaves = plane[i] * share[k]
        plane[i] -= leaves
        if is_own:
            gone[k] += leaves
    return plane


@kernel
def _enter(z: int, plane: Array, w: Array, free: Array, row: int) -> None:
    for i in range(plane.size):
        free[row + i] = plane[i] * w[i]


@kernel
def _around(z: int, free: Array, row: int) -> Around:
    """Concentrations above (to be filled), below, here, and one row and one voxel before and after."""
    n = free.shape[1] - 2 * row
    mid = free[z % 3]
    above, below, here = free[(z + 1) % 3, row : row + n], free[(z + 2) % 3, row : row + n], mid[row : row + n]
    return above, below, here, mid[:n], mid[2 * row : 2 * row + n], mid[row - 1 : row - 1 + n], mid[row + 1 : row + 1 + n]


@kernel
def _faces(z: int, n: int, row: int, g: Array) -> Faces:
    """Weights of the faces −z, +z, −y, +y, −x, +x of plane z."""
    i, j = z * n, z * n + n
    return g[0, i:j], g[0, j : j + n], g[1, j - row : j + n - row], g[1, j : j + n], g[2, j - 1 : j + n - 1], g[2, j : j + n]


@kernel
def _step_still(z: int, amount: Array, coming: Array, w: Array, free: Array, row: int, u: Array, dt: float) -> None:
    """Without flow, what passes a face is g·(c_below − c_above): both voxels compute it alike, so nothing is lost."""
    above, below, here, y0, y1, x0, x1 = _around(z, free, row)
    gz0, gz1, gy0, gy1, gx0, gx1 = _faces(z, amount.size, row, u)
    for i in range(amount.size):
        c, a = here[i], coming[i] * w[i]
        above[i] = a
        along_z = gz0[i] * (below[i] - c) + gz1[i] * (a - c)
        along_y = gy0[i] * (y0[i] - c) + gy1[i] * (y1[i] - c)
        along_x = gx0[i] * (x0[i] - c) + gx1[i] * (x1[i] - c)
        amount[i] += dt * (along_z + along_y + along_x)


@kernel
def _step_flowing(
    z: int, amount: Array, coming: Array, w: Array, free: Array, row: int, u: Array, d: Array, dt: float
) -> None:  # fmt: skip
    """With flow, u·c_below − d·c_above."""
    above, below, here, y0, y1, x0, x1 = _around(z, free, row)
    uz0, uz1, uy0, uy1, ux0, ux1 = _faces(z, amount.size, row, u)
    dz0, dz1, dy0, dy1, dx0, dx1 = _faces(z, amount.size, row, d)
    for i in range(amount.size):
        c, a = here[i], coming[i] * w[i]
        above[i] = a
        along_z = (uz0[i] * below[i] - dz0[i] * c) + (dz1[i] * a - uz1[i] * c)
        along_y = (uy0[i] * y0[i] - dy0[i] * c) + (dy1[i] * y1[i] - uy1[i] * c)
        along_x = (ux0[i] * x0[i] - dx0[i] * c) + (dx1[i] * x1[i] - ux1[i] * c)
        amount[i] += dt * (along_z + along_y + along_x)


@parallel_kernel
def _blend(
    new: Array, a: float, here: Array, b: float, base: Array, c: float, up: Array, per_capacity: Array, dt: float, free: Array
) -> None:  # fmt: skip
    slabs, nz, row = free.shape[0], here.shape[0], here.shape[2]
    to, of, more = new.reshape((nz, -1)), here.reshape((nz, -1)), base.reshape((nz, -1))
    u, w = up.reshape((3, -1)), per_capacity.reshape((nz, -1))
    for slab in prange(slabs):
        z0, z1 = slab * nz // slabs, (slab + 1) * nz // slabs
        free[slab, 0, (z0 + 2) % 3] = 0.0
        for z in range(max(0, z0 - 1), z0 + 1):
            _enter(z, of[z], w[z], free[slab, 0, z % 3], row)
        for z in range(z0, z1):
            ahead = min(z + 1, nz - 1)
            _blend_plane(z, to[z], a, of[z], b, more[z], c, of[ahead], w[ahead], free[slab, 0], row, u, dt)


@kernel
def _blend_plane(
    z: int, new: Array, a: float, of: Array, b: float, base: Array, c: float, coming: Array, w: Array, free: Array, row: int,
    u: Array, dt: float,
) -> None:  # fmt: skip
    above, below, here, y0, y1, x0, x1 = _around(z, free, row)
    gz0, gz1, gy0, gy1, gx0, gx1 = _faces(z, new.size, row, u)
    for i in range(new.size):
        h, k = here[i], coming[i] * w[i]
        above[i] = k
        along_z = gz0[i] * (below[i] - h) + gz1[i] * (k - h)
        along_y = gy0[i] * (y0[i] - h) + gy1[i] * (y1[i] - h)
        along_x = gx0[i] * (x0[i] - h) + gx1[i] * (x1[i] - h)
        new[i] = a * new[i] + b * of[i] + c * base[i] + dt * (along_z + along_y + along_x)
