"""A multigrid V-cycle in float32: the approximate inverse that conjugate gradients need in `elliptic`.

Cells are joined in pairs along every axis (an odd one stays alone) until one is left; a coarse conductance is the sum over its
faces, by the distances between centres; corrections are interpolated linearly and residuals restricted by the transpose.
Two sweeps of Gauss-Seidel before, red-black, and two after, black-red: the whole is symmetric and positive definite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.inflow import add_inflow, even_once, row_of
from tme_sim.numerics.jit import kernel, parallel_kernel, prange
from tme_sim.numerics.lending import lent
from tme_sim.numerics.threads import use_threads_for

Reals = NDArray[np.float64]
Singles = NDArray[np.float32]
Numbers = NDArray[Any]
RED, BLACK = 0, 1


@dataclass
class Axis:
    """One axis of a level: where its cells are, and how a coarse correction reaches them.

    width: (n,) widths of the cells; wall: whether the lower and the upper lattice face hold a value. Cell i takes `own[i]` of
    its parent i // 2 and `other[i]` of the parent's neighbour on its side. The tables have an even length.
    """

    width: Reals
    wall: tuple[bool, bool]
    own: Singles = field(init=False)
    other: Singles = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.width)
        coarse = self.coarse_width
        here, there = _centres(self.width), _centres(coarse)
        ends = np.concatenate([[0.0], there, [coarse.sum()]])  # a wall's value needs no correction: 0 there
        cell = np.arange(n)
        parent = cell // 2
        side = np.where(here > there[parent], 1, -1)
        share = np.abs(here - there[parent]) / np.abs(ends[parent + 1 + side] - there[parent])
        at_low, at_high = (parent + side < 0), (parent + side >= len(coarse))
        share[(at_low & (not self.wall[0])) | (at_high & (not self.wall[1]))] = 0.0
        padded = np.zeros((2, 2 * len(coarse)), np.float32)
        padded[:, :n] = 1 - share, share
        self.own, self.other = padded

    @property
    def coarse_width(self) -> Reals:
        """Widths of the pairs."""
        return np.asarray(np.add.reduceat(self.width, np.arange(0, len(self.width), 2)))

    @property
    def face_scale(self) -> tuple[NDArray[np.int64], Reals]:
        """The fine face behind each coarse one, and the ratio of the distances across them."""
        coarse = self.coarse_width
        faces = np.minimum(2 * np.arange(len(coarse) + 1), len(self.width))
        return faces, _distances(self.width)[faces] / _distances(coarse)


def _centres(width: Reals) -> Reals:
    return np.asarray(np.cumsum(width) - width / 2)


def _distances(width: Reals) -> Reals:
    """(n + 1,) from centre to centre across each face, from the wall at both ends."""
    return np.diff(np.concatenate([[0.0], _centres(width), [width.sum()]]))


class Work:
    """Work arrays of one mesh. `u` has a margin of zeros on every side."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        nz, ny, nx = shape
        self.sink, self.inverse, self.b, self.residual = (np.zeros(shape, np.float32) for _ in range(4))
        self.u = np.zeros((nz + 2, ny + 2, nx + 2), np.float32)
        self.line = np.zeros((nz, 2 * ((nx + 1) // 2) + 3), np.float32)


class Level:
    """Conductances of one mesh, `even_once`, and work arrays on loan."""

    def __init__(self, faces: Sequence[Numbers], axes: Sequence[Axis]) -> None:
        self.gz, self.gy, self.gx = (even_once(g.astype(np.float32)) for g in faces)
        self.axes = tuple(axes)
        z, y, x = self.shape = len(axes[0].width), len(axes[1].width), len(axes[2].width)
        self.size = z * y * x
        self._work = work = lent(Work, self.shape)
        self.sink, self.inverse, self.b, self.u = work.sink, work.inverse, work.b, work.u
        self.residual, self.line = work.residual, work.line

    def coarser(self) -> Level:
        """The level of pairs: faces between pairs added up over their area, by the ratio of distances."""
        coarse = []
        for axis, g in enumerate((self.gz, self.gy, self.gx)):
            faces, ratio = self.axes[axis].face_scale
            full = np.broadcast_to(g, [n + (i == axis) for i, n in enumerate(self.shape)])
            summed = np.take(full, faces, axis) * ratio.astype(np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
            for other in {0, 1, 2} - {axis}:
                summed = np.add.reduceat(summed, np.arange(0, self.shape[other], 2), other)
            coarse.append(summed)
        return Level(coarse, [Axis(axis.coarse_width, axis.wall) for axis in self.axes])


class Multigrid:
    """The levels above one set of face conductances (z + 1, y, x), (z, y + 1, x), (z, y, x + 1), in any unit.

    A conductance at the lattice's edge leads to a wall of value 0.
    """

    def __init__(self, faces: Sequence[Numbers]) -> None:
        shape = faces[0].shape[0] - 1, *faces[0].shape[1:]
        axes = []
        for axis, g in enumerate(faces):
            ends = np.take(g, [0, shape[axis]], axis)
            axes.append(Axis(np.ones(shape[axis]), (bool(np.take(ends, 0, axis).any()), bool(np.take(ends, 1, axis).any()))))
        self.levels = [Level(faces, axes)]
        while max(self.levels[-1].shape) > 1:
            self.levels.append(self.levels[-1].coarser())
        self.b, self.u = self.levels[0].b, self.levels[0].u

    def set_sink(self, sink: Numbers) -> None:
        """Take a new sink (z, y, x), in the conductances' unit."""
        np.copyto(self.levels[0].sink, sink, casting="same_kind")
        self.spread_sink()

    def spread_sink(self) -> None:
        """Take the sink that the finest level holds."""
        for i, level in enumerate(self.levels):
            use_threads_for(level.size)
            coarse = self.levels[i + 1].sink if i + 1 < len(self.levels) else _NOTHING
            _set_sink(level.gz, level.gy, level.gx, level.sink, level.inverse, coarse)

    def precondition(self) -> None:
        """One V-cycle: from the residual `b` to the correction in `u`."""
        for i in range(len(self.levels) - 1):
            self._down(self.levels[i], self.levels[i + 1])
        last = self.levels[-1]
        last.u[1, 1, 1] = last.b[0, 0, 0] * last.inverse[0, 0, 0]
        for i in reversed(range(len(self.levels) - 1)):
            self._up(self.levels[i], self.levels[i + 1])

    def _down(self, level: Level, coarse: Level) -> None:
        use_threads_for(level.size)
        np.multiply(level.b, level.inverse, out=level.u[1:-1, 1:-1, 1:-1])  # the red half sweep from u = 0; black ones follow
        for colour in (BLACK, RED, BLACK):
            _relax(level.gz, level.gy, level.gx, level.inverse, level.b, level.u, colour, level.line)
        _residual(level.gz, level.gy, level.gx, level.inverse, level.b, level.u, level.residual, level.line)
        z, y, x = level.axes
        _restrict(level.residual, z.own, z.other, y.own, y.other, x.own, x.other, level.line, coarse.b)

    def _up(self, level: Level, coarse: Level) -> None:
        use_threads_for(level.size)
        z, y, x = level.axes
        _prolong(coarse.u, z.own, z.other, y.own, y.other, x.own, x.other, level.line, level.u)
        for colour in (BLACK, RED, BLACK, RED):
            _relax(level.gz, level.gy, level.gx, level.inverse, level.b, level.u, colour, level.line)


_NOTHING = np.zeros((0, 0, 0), np.float32)


@parallel_kernel
def _set_sink(gz: Singles, gy: Singles, gx: Singles, sink: Singles, inverse: Singles, coarse: Singles) -> None:
    """The inverse diagonal of a level, and the sink of the next.

    A sink r behind the conductance G of its voxel's faces draws at most r G/(r + G) from farther away; that is what counts there.
    """
    nz, ny, nx = sink.shape
    for plane in prange((nz + 1) // 2):
        if coarse.size:
            coarse[plane] = 0.0
        for z in range(2 * plane, min(2 * plane + 2, nz)):
            for y in range(ny):
                a, b, c, d, e = row_of(gz, z, y), row_of(gz, z + 1, y), row_of(gy, z, y), row_of(gy, z, y + 1), row_of(gx, z, y)
                for x in range(nx):
                    g = a[x] + b[x] + c[x] + d[x] + e[x] + e[x + 1]
                    r = sink[z, y, x]
                    inverse[z, y, x] = np.float32(1.0) / (g + r) if g + r > 0.0 else np.float32(1.0)
                    if coarse.size:
                        coarse[plane, y // 2, x // 2] += r * g * inverse[z, y, x]


@parallel_kernel
def _relax(
    gz: Singles, gy: Singles, gx: Singles, inverse: Singles, b: Singles, u: Singles, colour: int, line: Singles
) -> None:  # fmt: skip
    """Solves the balance of every voxel of one colour for its own value."""
    nz, ny, nx = b.shape
    for z in prange(nz):
        total = line[z]
        for y in range(ny):
            rhs, row, inv, odd = b[z, y], u[z + 1, y + 1, 1:], inverse[z, y], (z + y + colour) % 2
            for x in range(nx):
                total[x] = rhs[x]
            add_inflow(gz, gy, gx, u, z, y, total)
            for x in range(nx):  # the others are written too: whole vectors are the faster
                new = total[x] * inv[x]
                row[x] = new if (x + odd) % 2 == 0 else row[x]


@parallel_kernel
def _residual(
    gz: Singles, gy: Singles, gx: Singles, inverse: Singles, b: Singles, u: Singles, residual: Singles, line: Singles
) -> None:  # fmt: skip
    """b − A u."""
    nz, ny, nx = b.shape
    for z in prange(nz):
        total = line[z]
        for y in range(ny):
            rhs, row, inv, out = b[z, y], u[z + 1, y + 1, 1:], inverse[z, y], residual[z, y]
            for x in range(nx):
                total[x] = rhs[x] - row[x] / inv[x]
            add_inflow(gz, gy, gx, u, z, y, total)
            for x in range(nx):
                out[x] = total[x]


@kernel
def _weight(own: Singles, other: Singles, fine: int, coarse: int) -> Any:
    """What the coarse cell gives to the fine one."""
    return own[fine] if fine // 2 == coarse else other[fine]


@parallel_kernel
def _restrict(
    residual: Singles, own_z: Singles, other_z: Singles, own_y: Singles, other_y: Singles, own_x: Singles, other_x: Singles,
    line: Singles, coarse: Singles,
) -> None:  # fmt: skip
    """The transpose of `_prolong`: every coarse cell gathers from up to four fine ones along each axis."""
    nz, ny, nx = residual.shape
    for cz in prange(coarse.shape[0]):
        total = line[cz]
        for cy in range(coarse.shape[1]):
            total[:] = 0.0
            for z in range(max(2 * cz - 1, 0), min(2 * cz + 3, nz)):
                wz = _weight(own_z, other_z, z, cz)
                for y in range(max(2 * cy - 1, 0), min(2 * cy + 3, ny)):
                    w = wz * _weight(own_y, other_y, y, cy)
                    row = residual[z, y]
                    for x in range(nx):
                        total[x + 1] += w * row[x]
            out = coarse[cz, cy]
            for x in range(out.size):
                out[x] = own_x[2 * x] * total[2 * x + 1] + own_x[2 * x + 1] * total[2 * x + 2]
            for x in range(1, out.size):
                out[x] += other_x[2 * x - 1] * total[2 * x]
            for x in range(out.size - 1):
                out[x] += other_x[2 * x + 2] * total[2 * x + 3]


@parallel_kernel
def _prolong(
    coarse: Singles, own_z: Singles, other_z: Singles, own_y: Singles, other_y: Singles, own_x: Singles, other_x: Singles,
    line: Singles, u: Singles,
) -> None:  # fmt: skip
    """Adds the linear interpolation of the coarse correction; both arrays have a margin of zeros."""
    nz, ny, nx = u.shape[0] - 2, u.shape[1] - 2, u.shape[2] - 2
    width = coarse.shape[2]
    for z in prange(nz):
        total = line[z]
        near_z, far_z = z // 2 + 1, z // 2 + 2 * (z % 2)
        for y in range(ny):
            near_y, far_y = y // 2 + 1, y // 2 + 2 * (y % 2)
            a, b, c, d = coarse[near_z, near_y], coarse[near_z, far_y], coarse[far_z, near_y], coarse[far_z, far_y]
            wa, wb = own_z[z] * own_y[y], own_z[z] * other_y[y]
            wc, wd = other_z[z] * own_y[y], other_z[z] * other_y[y]
            for x in range(width):
                total[x] = wa * a[x] + wb * b[x] + wc * c[x] + wd * d[x]
            row = u[z + 1, y + 1]
            for x in range(nx // 2):
                row[2 * x + 1] += own_x[2 * x] * total[x + 1] + other_x[2 * x] * total[x]
                row[2 * x + 2] += own_x[2 * x + 1] * total[x + 1] + other_x[2 * x + 1] * total[x + 2]
            if nx % 2:
                row[nx] += own_x[nx - 1] * total[width - 2] + other_x[nx - 1] * total[width - 3]
