"""Conductances between voxels and to what holds a value: the geometry of a steady balance, all arrays (z, y, x)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.numerics.arrays import Reals

Sides = tuple[tuple[bool, bool], tuple[bool, bool], tuple[bool, bool]]
"""For each axis, whether the lower and the upper face of the lattice hold a value (else nothing passes)."""
CLOSED: Sides = ((False, False),) * 3
OPEN: Sides = ((True, True),) * 3


class NotSolvedError(ArithmeticError):
    """A balance that has no finite solution or was not reached; `voxel` (z, y, x) is where it is worst."""

    def __init__(self, why: str, voxel: tuple[int, ...]) -> None:
        self.why, self.voxel = why, voxel
        super().__init__(f"voxel {voxel} (z, y, x): {why}")


def refuse(bad: NDArray[np.bool_], values: Reals, rule: str) -> None:
    """Raise NotSolvedError for the first voxel that is bad."""
    if bad.any():
        voxel = tuple(int(i) for i in np.argwhere(bad)[0])
        raise NotSolvedError(f"{values[voxel]:g}: {rule}", voxel)


@dataclass(frozen=True)
class Faces:
    """Conductances in s⁻¹ across the faces, z: (z + 1, y, x), y: (z, y + 1, x), x: (z, y, x + 1).

    Those at the lattice's edge lead to the value that the face holds, 0 where nothing passes.
    """

    z: Reals
    y: Reals
    x: Reals

    @property
    def arrays(self) -> tuple[Reals, Reals, Reals]:
        """All three."""
        return self.z, self.y, self.x

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels."""
        return self.y.shape[0], self.z.shape[1], self.z.shape[2]

    def inflow_at_edge(self, values: Sequence[tuple[float | Reals, float | Reals]]) -> Reals:
        """The source (z, y, x) that values on the lattice's faces amount to: per axis lower and upper, scalars or planes."""
        source = np.zeros(self.shape)
        for axis, (g, sides) in enumerate(zip(self.arrays, values, strict=True)):
            for end, value in zip((0, -1), sides, strict=True):
                _plane(source, axis, end)[...] += _plane(g, axis, end) * value
        return source


def _plane(array: Reals, axis: int, index: int) -> Reals:
    return np.asarray(np.moveaxis(array, axis, 0)[index])


def face_conductances(diffusivity: ArrayLike, spacing_um: float, shape: tuple[int, int, int], fixed: Sides = CLOSED) -> Faces:
    """g = D_face/h² with D_face the harmonic mean of both voxels; 2 D/h² to a lattice face that holds a value.

    `diffusivity` broadcasts to `shape`; those of a single number are one line per axis, broadcast. Raises NotSolvedError naming
    a voxel where it is negative or not finite.
    """
    if np.ndim(diffusivity) == 0:
        return _even(float(np.asarray(diffusivity)), spacing_um, shape, fixed)
    d = np.broadcast_to(np.asarray(diffusivity, np.float64), shape)
    refuse(~np.isfinite(d) | (d < 0), d, "a diffusivity must be finite and not negative")
    found = []
    for axis in range(3):
        along = np.moveaxis(d, axis, 0)
        g = np.zeros((along.shape[0] + 1, *along.shape[1:]))
        low, high = along[:-1], along[1:]
        np.divide(2.0 * low * high, (low + high) * spacing_um**2, out=g[1:-1], where=low + high > 0)
        for end, holds in zip((0, -1), fixed[axis], strict=True):
            if holds:
                g[end] = 2.0 * along[end] / spacing_um**2
        found.append(np.ascontiguousarray(np.moveaxis(g, 0, axis)))
    return Faces(*found)


def _even(diffusivity: float, spacing_um: float, shape: tuple[int, int, int], fixed: Sides) -> Faces:
    if not (np.isfinite(diffusivity) and diffusivity >= 0):
        raise NotSolvedError(f"{diffusivity:g}: a diffusivity must be finite and not negative", (0, 0, 0))
    found = []
    for axis, n in enumerate(shape):
        g = np.full(n + 1, diffusivity / spacing_um**2)
        g[[0, -1]] *= [2.0 * holds for holds in fixed[axis]]
        spread = [n + 1 if other == axis else m for other, m in enumerate(shape)]
        found.append(np.broadcast_to(g.reshape([-1 if other == axis else 1 for other in range(3)]), spread))
    return Faces(*found)


def hold_voxels(faces: Faces, held: NDArray[np.bool_], value: ArrayLike) -> tuple[Faces, Reals, Reals]:
    """Faces, sink and source such that `held` voxels keep `value`: their neighbours exchange with it, they with nobody."""
    u = np.broadcast_to(np.asarray(value, np.float64), faces.shape)
    sink, source = np.where(held, 1.0, 0.0), np.where(held, u, 0.0)
    found = []
    for axis, conductance in enumerate(faces.arrays):
        g = np.moveaxis(conductance.copy(), axis, 0)
        is_held, value_at = np.moveaxis(held, axis, 0), np.moveaxis(u, axis, 0)
        r, s = np.moveaxis(sink, axis, 0), np.moveaxis(source, axis, 0)
        inner = g[1:-1]
        for free, fixed in ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1))):
            draws = inner * (is_held[fixed] & ~is_held[free])
            r[free] += draws
            s[free] += draws * value_at[fixed]
        inner[is_held[:-1] | is_held[1:]] = 0.0
        g[0][is_held[0]] = 0.0
        g[-1][is_held[-1]] = 0.0
        found.append(np.moveaxis(g, 0, axis).copy())
    return Faces(*found), sink, source
