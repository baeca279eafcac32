"""Transport of an amount per voxel volume C through accessible volume φ, ∂C/∂t = ∇·(φ D ∇(C/φ)) − ∇·(v C/φ), as face rates.

A face rate is the probability per second that a particle of the voxel crosses that face. The mean (here and in `rkl2`) and the
random hops (`hops`) read the same rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.numerics.arrays import Reals, in_place, plain
from tme_sim.numerics.convection import flux_weights
from tme_sim.numerics.edges import Edges, Passed, add_through_edges
from tme_sim.numerics.jit import kernel, parallel_kernel, prange
from tme_sim.numerics.threads import use_threads_for

Rates = NDArray[Any]
"""Non-negative rates in s⁻¹, float32 or float64, (6, z, y, x), out of each voxel through its faces −z, +z, −y, +y, −x, +x.

They are 0 at the lattice's edge; what passes there is in `edges.Edges`.
"""
Face = tuple[Rates, Rates, Rates]
"""Along a run of voxels: the amounts on the other side, the rates out, the rates in."""


def face_rates(
    diffusivity: ArrayLike,
    capacity: ArrayLike,
    spacing_um: float,
    blocked_z: Sequence[int] = (),
    velocity_um_per_s: NDArray[Any] | None = None,
) -> Reals:
    """The rates k(i→j) = g_ij B(−P)/(h² φ_i), with g_ij the harmonic mean of φD in the two voxels and P = v h/g_ij.

    `diffusivity` D in µm²/s and `capacity` φ (accessible volume per voxel volume) broadcast to (z, y, x). `velocity_um_per_s`
    (3, z, y, x) is the substance's superficial velocity through each voxel's +z, +y, +x face; what it says of the lattice's edge
    is not read. B is in `flux_weights`; at rest it is 1, φ_i k(i→j) is symmetric and C/φ becomes uniform.

    The rate is 0 where φ is 0 on either side, where nothing drives, at the lattice's edge, and between the planes b − 1 and b
    for each b in `blocked_z`. Raises ValueError for a value that is not finite, or that is negative and no velocity.
    """
    d, phi = np.broadcast_arrays(np.asarray(diffusivity, np.float64), np.asarray(capacity, np.float64))
    _check(d, phi, spacing_um, blocked_z, velocity_um_per_s)
    conductance = phi * d
    rates = np.zeros((6, *d.shape))
    for axis in range(3):
        low, high = _pair(axis)
        total = conductance[low] + conductance[high]
        g = np.divide(2.0 * conductance[low] * conductance[high], total, out=np.zeros_like(total), where=total > 0.0)
        up = down = g
        if velocity_um_per_s is not None:
            passable = (phi[low] > 0.0) & (phi[high] > 0.0)
            up, down = flux_weights(g, np.where(passable, velocity_um_per_s[axis][low] * spacing_um, 0.0))
        for face, here, weight in ((2 * axis + 1, low, up), (2 * axis, high, down)):
            np.divide(weight, spacing_um**2 * phi[here], out=rates[face][here], where=weight > 0.0)
    for b in blocked_z:
        rates[1, b - 1] = rates[0, b] = 0.0
    return rates


def _check(d: Reals, phi: Reals, spacing_um: float, blocked_z: Sequence[int], velocity: NDArray[Any] | None) -> None:
    for name, field in (("diffusivity", d), ("capacity", phi)):
        if not (np.isfinite(field) & (field >= 0.0)).all():
            raise ValueError(f"{name}: must be finite and not negative everywhere")
    if d.ndim != 3 or not spacing_um > 0.0:
        raise ValueError(f"spacing_um {spacing_um}, {d.ndim} axes: needs a positive spacing and the axes z, y, x")
    if not all(0 < b < d.shape[0] for b in blocked_z):
        raise ValueError(f"blocked_z {list(blocked_z)}: must name planes between 1 and {d.shape[0] - 1}")
    if velocity is not None and not (velocity.shape == (3, *d.shape) and np.isfinite(velocity).all()):
        raise ValueError(f"velocity_um_per_s {velocity.shape}: must be finite everywhere and (3, z, y, x), here {(3, *d.shape)}")


def _pair(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The voxels below and above the inner faces across an axis."""
    before = [slice(None)] * 3
    after = [slice(None)] * 3
    before[axis], after[axis] = slice(None, -1), slice(1, None)
    return tuple(before), tuple(after)


def leave_rate(rates: Rates, edges: Edges | None = None) -> NDArray[Any]:
    """The rate (z, y, x) in s⁻¹ at which a particle leaves its voxel through any face."""
    total = np.asarray(rates.sum(axis=0))
    for axis, out in enumerate(edges.out if edges else ()):
        plane = np.moveaxis(total, axis, 0)
        plane[0] += out[0]
        plane[-1] += out[1]
    return total


def substeps(rates: Rates, dt_s: float, leave_at_most: float = 0.9, edges: Edges | None = None) -> int:
    """How many equal parts of `dt_s` keep the chance to leave a voxel in one of them within `leave_at_most`."""
    return parts(float(leave_rate(rates, edges).max(initial=0.0)), dt_s, leave_at_most)


def parts(leave_per_s: float, dt_s: float, leave_at_most: float = 0.9) -> int:
    """The same from the largest `leave_rate`."""
    return max(1, ceil(dt_s * leave_per_s / leave_at_most))


def step_continuum(amount: Reals, rates: Rates, dt_s: float, steps: int = 1, edges: Edges | None = None) -> Passed:
    """`steps` explicit Euler steps of `dt_s` each, in place on the float64 amounts (z, y, x); returns what passed the edges.

    Second order in the spacing (first where the flow dominates), first in time; positive while dt_s · `leave_rate` ≤ 1. Both
    voxels of a face compute its flux by the same expression, so the total stays to rounding. Raises ValueError where the
    shapes do not match.
    """
    source = in_place("amount", amount, np.float64)
    if rates.shape != (6, *amount.shape):
        raise ValueError(f"rates {rates.shape}: must be (6, z, y, x) of the amounts {amount.shape}")
    rate, target = plain(rates), _scratch(amount.shape)
    left = entered = 0.0
    for _ in range(steps):
        combine(target, 0.0, source, 1.0, source, 0.0, rate, dt_s)
        if edges is not None:
            passed = add_through_edges(edges, source, target, dt_s)
            left, entered = left + passed.left, entered + passed.entered
        source, target = target, source
    if steps % 2:
        amount[...] = source
    return Passed(left, entered)


@lru_cache(maxsize=2)
def _scratch(shape: tuple[int, ...]) -> Reals:
    return np.zeros(shape)


def combine(new: Rates, a: float, here: Rates, b: float, base: Rates, c: float, rates: Rates, dt_s: float) -> None:
    """new ← a·new + b·here + c·base + dt_s · (what the faces bring, net, while the amounts are `here`).

    All (z, y, x), finite, C-contiguous and of one type; `new` is none of the others.
    """
    use_threads_for(here.size)
    real = here.dtype.type
    _combine(new, real(a), here, real(b), base, real(c), rates, real(dt_s))


@parallel_kernel
def _combine(new: Rates, a: float, here: Rates, b: float, base: Rates, c: float, rates: Rates, dt: float) -> None:
    """Runs along planes as if rows and planes followed each other without an edge: there the rates are 0 anyway.

    Long runs in one loop are what vectorises and keeps memory busy.
    """
    nz, ny, nx = here.shape
    t, s, m, k = new.reshape(-1), here.reshape(-1), base.reshape(-1), rates.reshape((6, -1))
    for z in prange(nz):
        first = z * ny * nx
        while first < (z + 1) * ny * nx:
            end = _end_of_run(first, (z + 1) * ny * nx, nx, s.size)
            _run(first, end, ny * nx, nx, t, a, s, b, m, c, k, dt)
            first = end


@kernel
def _end_of_run(first: int, end: int, nx: int, size: int) -> int:
    """Within a run all voxels have, or lack, a neighbour one place, one row and one plane away in memory."""
    if first < 1:
        end = min(end, 1)
    elif first < nx:
        end = min(end, nx)
    if first < size - nx:
        return min(end, size - nx)
    return min(end, size - 1) if first < size - 1 else end


@kernel
def _run(
    i: int, j: int, plane: int, row: int, t: Rates, a: float, s: Rates, b: float, m: Rates, c: float, k: Rates, dt: float
) -> None:
    below_z, above_z = _below(0, plane, i, j, s, k), _above(1, plane, i, j, s, k)
    below_y, above_y = _below(2, row, i, j, s, k), _above(3, row, i, j, s, k)
    below_x, above_x = _below(4, 1, i, j, s, k), _above(5, 1, i, j, s, k)
    _row(t[i:j], a, s[i:j], b, m[i:j], c, dt, below_z, above_z, below_y, above_y, below_x, above_x)


@kernel
def _below(face: int, far: int, i: int, j: int, s: Rates, k: Rates) -> Face:
    """What memory does not hold is replaced by the voxel itself, and the rate from there by the rate out, which is 0."""
    if i >= far:
        return s[i - far : j - far], k[face, i:j], k[face + 1, i - far : j - far]
    return s[i:j], k[face, i:j], k[face, i:j]


@kernel
def _above(face: int, far: int, i: int, j: int, s: Rates, k: Rates) -> Face:
    if j + far <= s.size:
        return s[i + far : j + far], k[face, i:j], k[face - 1, i + far : j + far]
    return s[i:j], k[face, i:j], k[face, i:j]


@kernel
def _row(
    new: Rates, a: float, here: Rates, b: float, base: Rates, c: float, dt: float,
    below_z: Face, above_z: Face, below_y: Face, above_y: Face, below_x: Face, above_x: Face,
) -> None:  # fmt: skip
    """The neighbour computes the same flux with the opposite sign."""
    u0, out0, in0 = below_z
    u1, out1, in1 = above_z
    u2, out2, in2 = below_y
    u3, out3, in3 = above_y
    u4, out4, in4 = below_x
    u5, out5, in5 = above_x
    for x in range(here.size):
        h = here[x]
        start = a * new[x] + b * h + c * base[x]
        with_z = start + dt * (in0[x] * u0[x] - out0[x] * h) + dt * (in1[x] * u1[x] - out1[x] * h)
        with_y = with_z + dt * (in2[x] * u2[x] - out2[x] * h) + dt * (in3[x] * u3[x] - out3[x] * h)
        new[x] = with_y + dt * (in4[x] * u4[x] - out4[x] * h) + dt * (in5[x] * u5[x] - out5[x] * h)
