"""Diffusion of an amount per voxel volume C through accessible volume φ, ∂C/∂t = ∇·(φ D ∇(C/φ)), as face rates.

A face rate is the probability per second that a particle of the voxel crosses that face. The mean (here) and the random hops
(`hops`) read the same rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.numerics.arrays import Reals, in_place, plain
from tme_sim.numerics.jit import kernel, parallel_kernel, prange
from tme_sim.numerics.threads import use_threads_for

Rates = NDArray[Any]
"""Non-negative rates in s⁻¹, float32 or float64, (6, z, y, x), out of each voxel through its faces −z, +z, −y, +y, −x, +x."""


def face_rates(diffusivity: ArrayLike, capacity: ArrayLike, spacing_um: float, blocked_z: Sequence[int] = ()) -> Reals:
    """The rates k(i→j) = g_ij/(h² φ_i), with g_ij the harmonic mean of φD in the two voxels.

    `diffusivity` D in µm²/s and `capacity` φ (accessible volume per voxel volume) broadcast to (z, y, x). The rate is 0 where φ
    or D is 0, at the lattice's edge, and between the planes b − 1 and b for each b in `blocked_z`. Since φ_i k(i→j) is
    symmetric, C/φ is uniform at rest. Raises ValueError for a value that is negative or not finite.
    """
    d, phi = np.broadcast_arrays(np.asarray(diffusivity, np.float64), np.asarray(capacity, np.float64))
    for name, field in (("diffusivity", d), ("capacity", phi)):
        if not (np.isfinite(field) & (field >= 0.0)).all():
            raise ValueError(f"{name}: must be finite and not negative everywhere")
    if d.ndim != 3 or not spacing_um > 0.0:
        raise ValueError(f"spacing_um {spacing_um}, {d.ndim} axes: needs a positive spacing and the axes z, y, x")
    if not all(0 < b < d.shape[0] for b in blocked_z):
        raise ValueError(f"blocked_z {list(blocked_z)}: must name planes between 1 and {d.shape[0] - 1}")
    conductance = phi * d
    rates = np.zeros((6, *d.shape))
    for axis in range(3):
        low, high = _pair(axis)
        total = conductance[low] + conductance[high]
        g = np.divide(2.0 * conductance[low] * conductance[high], total, out=np.zeros_like(total), where=total > 0.0)
        if axis == 0:
            g[[b - 1 for b in blocked_z]] = 0.0
        for face, here in ((2 * axis + 1, low), (2 * axis, high)):
            np.divide(g, spacing_um**2 * phi[here], out=rates[face][here], where=g > 0.0)
    return rates


def _pair(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The voxels below and above the inner faces across an axis."""
    before = [slice(None)] * 3
    after = [slice(None)] * 3
    before[axis], after[axis] = slice(None, -1), slice(1, None)
    return tuple(before), tuple(after)


def leave_rate(rates: Rates) -> NDArray[Any]:
    """The rate (z, y, x) in s⁻¹ at which a particle leaves its voxel through any face."""
    return np.asarray(rates.sum(axis=0))


def substeps(rates: Rates, dt_s: float, leave_at_most: float = 0.9) -> int:
    """How many equal parts of `dt_s` keep the chance to leave a voxel in one of them within `leave_at_most`."""
    return max(1, ceil(dt_s * float(leave_rate(rates).max(initial=0.0)) / leave_at_most))


def step_continuum(amount: Reals, rates: Rates, dt_s: float, steps: int = 1) -> None:
    """`steps` explicit Euler steps of `dt_s` each, in place on the float64 amounts (z, y, x).

    Second order in the spacing, first in time; positive while dt_s · `leave_rate` ≤ 1. Both voxels of a face compute its flux
    by the same expression, so the total stays to rounding. Raises ValueError where the shapes do not match.
    """
    source = in_place("amount", amount, np.float64)
    if rates.shape != (6, *amount.shape):
        raise ValueError(f"rates {rates.shape}: must be (6, z, y, x) of the amounts {amount.shape}")
    rate, target = plain(rates), _scratch(amount.shape)
    use_threads_for(amount.size)
    for _ in range(steps):
        _step(source, rate, float(dt_s), target)
        source, target = target, source
    if steps % 2:
        amount[...] = source


@lru_cache(maxsize=2)
def _scratch(shape: tuple[int, ...]) -> Reals:
    return np.empty(shape)


@parallel_kernel
def _step(source: Reals, rates: Rates, dt: float, target: Reals) -> None:
    nz, ny, nx = source.shape
    for z in prange(nz):
        for y in range(ny):
            here, new = source[z, y], target[z, y]
            for x in range(nx):
                new[x] = here[x]
            if z > 0:
                _exchange(new, here, rates[0, z, y], source[z - 1, y], rates[1, z - 1, y], dt)
            if z < nz - 1:
                _exchange(new, here, rates[1, z, y], source[z + 1, y], rates[0, z + 1, y], dt)
            if y > 0:
                _exchange(new, here, rates[2, z, y], source[z, y - 1], rates[3, z, y - 1], dt)
            if y < ny - 1:
                _exchange(new, here, rates[3, z, y], source[z, y + 1], rates[2, z, y + 1], dt)
            _exchange(new[1:], here[1:], rates[4, z, y, 1:], here, rates[5, z, y], dt)
            _exchange(new, here, rates[5, z, y], here[1:], rates[4, z, y, 1:], dt)


@kernel
def _exchange(new: Rates, here: Rates, out: Rates, there: Rates, back: Rates, dt: float) -> None:
    """Adds what the faces between two rows carry; the other row computes the same number with the opposite sign."""
    for x in range(min(here.size, there.size)):
        new[x] += dt * (back[x] * there[x] - out[x] * here[x])
