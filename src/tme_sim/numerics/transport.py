"""Transport of an amount per voxel volume C through accessible volume φ, ∂C/∂t = ∇·(φ D ∇(C/φ)) − ∇·(v C/φ), as face rates.

A face rate is the probability per second that a particle of the voxel crosses that face. The mean (here and in `rkl2`) and the
random hops (`hops`) read the same rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from tme_sim.numerics.arrays import Reals, in_place
from tme_sim.numerics.convection import weights
from tme_sim.numerics.edges import Edges, Passed, add_through_edges, outer_planes
from tme_sim.numerics.jit import kernel, parallel_kernel, prange
from tme_sim.numerics.random import bits, mix, stream_of
from tme_sim.numerics.sweep import Sink, sweep
from tme_sim.numerics.threads import use_threads_for

ZERO = np.uint64(0)


class FaceRates(NamedTuple):
    """Non-negative rates in s⁻¹, as what both voxels of a face have in common and what is their own.

    A particle of voxel i crosses its upper face at up·per_capacity_i, one of the voxel above comes down through it at
    down·per_capacity of that one. up, down: (3, z + 1, y, x), for each axis the face above voxel z − 1, so that plane 0 and the
    lattice's upper faces are 0; one and the same array where nothing flows. per_capacity: 1/φ (z, y, x), 0 where φ is 0.
    What passes the lattice's edge is in `edges.Edges`.
    """

    up: NDArray[Any]
    down: NDArray[Any]
    per_capacity: NDArray[Any]

    @property
    def is_still(self) -> bool:
        """Nothing flows: what passes a face depends on the difference of C/φ alone."""
        return self.up is self.down

    def astype(self, dtype: DTypeLike) -> FaceRates:
        """The same in another precision."""
        up = self.up.astype(dtype)
        return FaceRates(up, up if self.is_still else self.down.astype(dtype), self.per_capacity.astype(dtype))

    def out(self) -> NDArray[Any]:
        """The rates (6, z, y, x) out of each voxel through its faces −z, +z, −y, +y, −x, +x."""
        found = np.zeros((6, *self.per_capacity.shape))
        for axis in range(3):
            low, high = _pair(axis)
            found[2 * axis][high] = self.down[axis, 1:][low]
            found[2 * axis + 1] = self.up[axis, 1:]
        return np.asarray(found * self.per_capacity)


def face_rates(
    diffusivity: ArrayLike,
    capacity: ArrayLike,
    spacing_um: float,
    blocked_z: Sequence[int] = (),
    velocity_um_per_s: NDArray[Any] | None = None,
    dtype: DTypeLike = np.float64,
) -> FaceRates:
    """The rates k(i→j) = g_ij B(−P)/(h² φ_i), with g_ij the harmonic mean of φD in the two voxels and P = v h/g_ij.

    `diffusivity` D in µm²/s and `capacity` φ (accessible volume per voxel volume) broadcast to (z, y, x). `velocity_um_per_s`
    (3, z, y, x) is the substance's superficial velocity through each voxel's +z, +y, +x face; what it says of the lattice's edge
    is not read. B is in `convection.weights`; at rest it is 1, φ_i k(i→j) is symmetric and C/φ becomes uniform. `dtype` is that
    of up and down: rounding them changes rates by 6·10⁻⁸, but neither what balances nor what is uniform at rest.

    The rate is 0 where φ is 0 on either side, where nothing drives, at the lattice's edge, and between the planes b − 1 and b
    for each b in `blocked_z`. Raises ValueError for a value that is not finite, or that is negative and no velocity.
    """
    d, phi = np.broadcast_arrays(np.asarray(diffusivity, np.float64), np.asarray(capacity, np.float64))
    _check(d, phi, spacing_um, blocked_z, velocity_um_per_s)
    is_open = np.ones(d.shape[0], np.bool_)
    is_open[[b - 1 for b in blocked_z]] = False
    is_open[-1] = False
    up = np.zeros((3, d.shape[0] + 1, *d.shape[1:]), dtype)
    down = up if velocity_um_per_s is None else np.zeros_like(up)
    velocity = np.zeros((3, 0, 0, 0)) if velocity_um_per_s is None else np.ascontiguousarray(velocity_um_per_s, np.float64)
    use_threads_for(d.size)
    _fill(up, down, np.ascontiguousarray(phi * d), np.ascontiguousarray(phi), is_open, velocity, spacing_um)
    return FaceRates(up, down, np.divide(1.0, phi, out=np.zeros(phi.shape), where=phi > 0.0))


@parallel_kernel
def _fill(
    up: NDArray[Any], down: NDArray[Any], conductance: Reals, phi: Reals, is_open: NDArray[np.bool_], velocity: Reals, h: float
) -> None:
    nz, ny, nx = phi.shape
    for z in prange(nz):
        for y in range(ny):
            for x in range(nx):
                for axis in range(3):
                    k, j, i = z + (axis == 0), y + (axis == 1), x + (axis == 2)
                    if (axis == 0 and not is_open[z]) or j == ny or i == nx or phi[z, y, x] == 0.0 or phi[k, j, i] == 0.0:
                        continue
                    here, there = conductance[z, y, x], conductance[k, j, i]
                    g = 2.0 * here * there / (here + there) if here + there > 0.0 else 0.0
                    a, b = weights(g, velocity[axis, z, y, x] * h) if velocity.size else (g, g)
                    up[axis, z + 1, y, x], down[axis, z + 1, y, x] = a / (h * h), b / (h * h)


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


def leave_rate(rates: FaceRates, edges: Edges | None = None) -> NDArray[Any]:
    """The rate (z, y, x) in s⁻¹ at which a particle leaves its voxel through any face."""
    total = rates.up[:, 1:].sum(axis=0, dtype=np.float64)
    for axis in range(3):
        low, high = _pair(axis)
        total[high] += rates.down[axis, 1:][low]
    total *= rates.per_capacity
    for axis, out in enumerate(edges.out if edges else ()):
        plane = np.moveaxis(total, axis, 0)
        plane[0] += out[0]
        plane[-1] += out[1]
    return np.asarray(total)


def substeps(rates: FaceRates, dt_s: float, leave_at_most: float = 0.9, edges: Edges | None = None) -> int:
    """How many equal parts of `dt_s` keep the chance to leave a voxel in one of them within `leave_at_most`."""
    return parts(float(leave_rate(rates, edges).max(initial=0.0)), dt_s, leave_at_most)


def parts(leave_per_s: float, dt_s: float, leave_at_most: float = 0.9) -> int:
    """The same from the largest `leave_rate`."""
    return max(1, ceil(dt_s * leave_per_s / leave_at_most))


def step_continuum(amount: NDArray[Any], rates: FaceRates, dt_s: float, steps: int = 1, edges: Edges | None = None) -> Passed:
    """`steps` explicit Euler steps of `dt_s` each, in place on the amounts (z, y, x); returns what passed the edges.

    Second order in the spacing (first where the flow dominates), first in time; positive while dt_s · `leave_rate` ≤ 1. Both
    voxels of a face compute its flux by the same expression, so the total of float64 amounts stays to rounding. Without edges
    the steps share passes over memory (`sweep`). Raises ValueError where the shapes do not match.
    """
    _check_amount(amount, rates)
    if edges is None:
        sweep(amount, *rates, dt_s, steps)
        return Passed(0.0, 0.0)
    left = entered = 0.0
    for _ in range(steps):
        before = outer_planes(amount)
        sweep(amount, *rates, dt_s, 1)
        passed = add_through_edges(edges, before, amount, dt_s)
        left, entered = left + passed.left, entered + passed.entered
    return Passed(left, entered)


def step_open(amount: NDArray[Any], rates: FaceRates, dt_s: float, steps: int, sink: Sink) -> Reals:
    """The same where carriers leave single voxels before every step; returns what left each outlet."""
    _check_amount(amount, rates)
    return sweep(amount, *rates, dt_s, steps, sink)


@kernel
def holds_any(amount: NDArray[Any]) -> bool:
    """Whether an amount (z, y, x) is not 0 everywhere; ends at the first that is not."""
    for z in range(amount.shape[0]):
        for y in range(amount.shape[1]):
            for x in range(amount.shape[2]):
                if amount[z, y, x] != 0:
                    return True
    return False


def _check_amount(amount: NDArray[Any], rates: FaceRates) -> None:
    in_place("amount", amount, np.float32, np.float64)
    if rates.per_capacity.shape != amount.shape:
        raise ValueError(f"rates {rates.per_capacity.shape}: must be of the amounts' shape {amount.shape}")


def fingerprint(array: NDArray[np.float64]) -> int:
    """64 bits that tell whether an array (z, …) is still the same, bit for bit; two arrays share them with a chance of 2⁻⁶⁴."""
    use_threads_for(array.size)
    return int(_fingerprint(np.ascontiguousarray(array).view(np.uint64).reshape((array.shape[0], -1))).sum())


@parallel_kernel
def _fingerprint(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    found = np.zeros(words.shape[0], np.uint64)
    for z in prange(words.shape[0]):
        total, row = np.uint64(0), stream_of(ZERO, ZERO, z)
        for i in range(words.shape[1]):
            total += mix(mix(words[z, i]) ^ bits(row, i))
        found[z] = total
    return found
