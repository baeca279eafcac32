"""What passes the six faces of the lattice: nothing (no object at all), what comes back opposite, or what a reservoir holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tme_sim.numerics.arrays import Reals
from tme_sim.numerics.convection import flux_weights
from tme_sim.numerics.jit import kernel

Side = Literal["closed", "periodic"] | float
"""A number is the concentration C/φ, in amounts per voxel, that a reservoir holds right at the face."""
Planes = tuple[Reals, Reals, Reals]


class Passed(NamedTuple):
    """Amounts that went over faces of fixed value: out of the lattice and into it."""

    left: float
    entered: float


@dataclass(frozen=True, eq=False)
class Edges:
    """Rates in s⁻¹ out of the lattice and amounts per s into it, per axis (2, ·, ·) for its lower and upper face."""

    out: Planes
    into: Planes
    periodic: tuple[bool, bool, bool]

    @property
    def is_open(self) -> tuple[bool, bool, bool]:
        """Per axis, whether anything passes."""
        z, y, x = (bool(out.any() or into.any()) for out, into in zip(self.out, self.into, strict=True))
        return z, y, x


def edge_rates(
    diffusivity: ArrayLike,
    capacity: ArrayLike,
    spacing_um: float,
    sides: Sequence[Side],
    velocity_um_per_s: Sequence[tuple[ArrayLike, ArrayLike]] | None = None,
) -> Edges:
    """The faces' counterpart of `face_rates`, from the same D (µm²/s) and φ; sides are those of −z, +z, −y, +y, −x, +x.

    velocity_um_per_s: per axis the superficial velocity along +z, +y, +x through the lower and the upper face, numbers or planes.
    A reservoir is half a voxel away from the voxel's middle. Raises ValueError for sides that make no sense.
    """
    d, phi = np.broadcast_arrays(np.asarray(diffusivity, np.float64), np.asarray(capacity, np.float64))
    _check_sides(sides)
    out, into = [], []
    for axis in range(3):
        here, edge = (np.moveaxis(array, axis, 0)[[0, -1]] for array in (phi, phi * d))
        flow = np.zeros_like(edge)
        if velocity_um_per_s is not None:
            for face in range(2):
                flow[face] = np.asarray(velocity_um_per_s[axis][face]) * spacing_um
        value = sides[2 * axis : 2 * axis + 2]
        a, b = _weights(edge, here, flow, value)
        rate = np.divide(a, spacing_um**2 * here, out=np.zeros_like(a), where=here > 0.0)
        held = np.array([0.0 if isinstance(side, str) else side for side in value]).reshape(2, 1, 1)
        out.append(np.ascontiguousarray(rate))
        into.append(np.ascontiguousarray(b * held / spacing_um**2))
    z, y, x = (sides[2 * axis] == "periodic" for axis in range(3))
    return Edges((out[0], out[1], out[2]), (into[0], into[1], into[2]), (z, y, x))


def _check_sides(sides: Sequence[Side]) -> None:
    if len(sides) != 6 or any(side not in ("closed", "periodic") if isinstance(side, str) else not side >= 0.0 for side in sides):
        raise ValueError(f"sides {list(sides)}: must be six, each closed, periodic or a concentration that is not negative")
    if any((sides[2 * axis] == "periodic") != (sides[2 * axis + 1] == "periodic") for axis in range(3)):
        raise ValueError(f"sides {list(sides)}: a face is periodic together with the one opposite")


def _weights(edge: Reals, here: Reals, flow: Reals, sides: Sequence[Side]) -> tuple[Reals, Reals]:
    """Weights of the flux outwards and inwards on the lower and the upper face, 0 where the face is closed."""
    outward = flow * np.array([-1.0, 1.0]).reshape(2, 1, 1)
    if sides[0] == "periodic":
        total = edge[0] + edge[1]
        g = np.divide(2.0 * edge[0] * edge[1], total, out=np.zeros_like(total), where=total > 0.0)
        up, down = flux_weights(g, np.where((here[0] > 0.0) & (here[1] > 0.0), flow[1], 0.0))
        return np.stack([down, up]), np.zeros_like(edge)
    a, b = flux_weights(2.0 * edge, np.where(here > 0.0, outward, 0.0))
    for face in range(2):
        if sides[face] == "closed":
            a[face] = b[face] = 0.0
    return a, b


def outer_planes(amount: Reals) -> Planes:
    """Copies (2, ·, ·) of the lowest and the highest plane of amounts (z, y, x) along each axis."""
    z, y, x = (np.moveaxis(amount, axis, 0)[[0, -1]] for axis in range(3))
    return z, y, x


def add_through_edges(edges: Edges, source: Planes, target: Reals, dt_s: float, *, inflow: bool = True) -> Passed:
    """Adds to `target` (z, y, x) what passes the lattice's faces in dt_s while the amounts have the outer planes `source`.

    inflow False leaves out what reservoirs give, for sources that are differences of amounts.
    """
    left = entered = 0.0
    for axis, is_open in enumerate(edges.is_open):
        if is_open:
            old, new = source[axis], np.moveaxis(target, axis, 0)
            if edges.periodic[axis]:
                _across(old[0], old[1], edges.out[axis], dt_s, new[0], new[-1])
                continue
            share = dt_s if inflow else 0.0
            for face in (0, -1):
                left += _out_of(old[face], edges.out[axis][face], edges.into[axis][face], dt_s, share, new[face])
            entered += share * float(edges.into[axis].sum())
    return Passed(left, entered)


@kernel
def _across(old_low: Reals, old_high: Reals, out: Reals, dt: float, low: Reals, high: Reals) -> None:
    for i in range(old_low.shape[0]):
        for j in range(old_low.shape[1]):
            gain = dt * (out[1, i, j] * old_high[i, j] - out[0, i, j] * old_low[i, j])
            low[i, j] += gain
            high[i, j] -= gain


@kernel
def _out_of(old: Reals, out: Reals, into: Reals, dt: float, share: float, new: Reals) -> float:
    """What left."""
    total = 0.0
    for i in range(old.shape[0]):
        for j in range(old.shape[1]):
            gone = dt * out[i, j] * old[i, j]
            new[i, j] += share * into[i, j] - gone
            total += gone
    return total
