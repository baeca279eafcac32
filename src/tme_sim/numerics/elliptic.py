"""Steady balances −∇·(D∇u) + r u = s on the voxels, by conjugate gradients with a multigrid V-cycle as preconditioner.

Written per voxel: Σ_faces g (u − u_neighbour) + r u = s with g = D_face/h². All arrays are (z, y, x).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tme_sim.numerics.arrays import Reals, in_place, plain
from tme_sim.numerics.faces import Faces, NotSolvedError, refuse
from tme_sim.numerics.inflow import add_inflow, even_once, row_of
from tme_sim.numerics.jit import parallel_kernel, prange
from tme_sim.numerics.lending import lent
from tme_sim.numerics.multigrid import Multigrid, Numbers, Singles
from tme_sim.numerics.threads import use_threads_for

TOLERANCE = 1e-8
MOST_ITERATIONS = 100
_NOTHING = np.zeros((0, 0, 0))


@dataclass(frozen=True)
class Solved:
    """How a solve went: iterations of conjugate gradients, the residual's norm over that of the source, and tangents taken."""

    iterations: int
    residual: float
    tangents: int = 0


class Vectors:
    """Work arrays of conjugate gradients; `p` has a margin of zeros."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        nz, ny, nx = shape
        self.diagonal, self.r, self.q = (np.zeros(shape) for _ in range(3))
        self.p = np.zeros((nz + 2, ny + 2, nx + 2))
        self.line, self.sums = np.zeros((2, nz, nx)), np.zeros(nz)


class EllipticSolver:
    """Solves Σ g (u − u_neighbour) + r u = s for one set of faces and any r ≥ 0 and s.

    Conductances are kept in single precision where that loses nothing, as for an even diffusivity. Work arrays are lent to all
    solvers of a shape, so that an iteration allocates nothing. The bits do not depend on the number of threads.
    """

    def __init__(self, faces: Faces) -> None:
        self.shape = faces.shape
        largest = max(float(g.max(initial=0.0)) for g in faces.arrays)
        self._unit = largest if largest > 0 else 1.0
        scaled = [even_once(g / self._unit) for g in faces.arrays]
        self._multigrid = Multigrid([np.broadcast_to(g, full.shape) for g, full in zip(scaled, faces.arrays, strict=True)])
        finest = self._multigrid.levels[0]
        self._sink, single = finest.sink, (finest.gz, finest.gy, finest.gx)
        exact = all(np.array_equal(a, b) for a, b in zip(single, scaled, strict=True))
        self._faces: tuple[Numbers, Numbers, Numbers] = single if exact else (scaled[0], scaled[1], scaled[2])
        work = lent(Vectors, self.shape)
        self._work, self._diagonal, self._r, self._q, self._p = work, work.diagonal, work.r, work.q, work.p
        self._line, self._sums = work.line, work.sums

    def solve(
        self, sink: ArrayLike, source: ArrayLike, u: Reals, tolerance: float = TOLERANCE, at_most: int = MOST_ITERATIONS
    ) -> Solved:
        """Solve for u in place, starting from what it holds, until ‖s − A u‖ ≤ tolerance ‖s‖ (Euclidean norms).

        Voxels without any conductance or sink keep their value; where there is no source at all, the others become 0. Raises
        NotSolvedError naming a voxel for a sink that is negative, anything not finite, or when `at_most` iterations do not do.
        """
        x, r, s = self._checked(sink, source, u)
        norm = self._norm(s) / self._unit
        self._set_diagonal(r, _NOTHING, 1.0, x, tangent=True)
        if norm == 0.0:
            x[self._diagonal > 0] = 0.0
            return Solved(0, 0.0)
        iterations, left = self._iterate(x, self._start(s, x), tolerance * norm, at_most)
        return Solved(iterations, left / norm)

    def solve_saturable(
        self,
        sink: ArrayLike,
        source: ArrayLike,
        largest: ArrayLike,
        half: float,
        u: Reals,
        tolerance: float = TOLERANCE,
        at_most: int = MOST_ITERATIONS,
    ) -> Solved:
        """Solve Σ g (u − u_neighbour) + r u + m u/(u + k) = s with m = `largest` ≥ 0, k = `half` > 0 and s ≥ 0; else as `solve`.

        Newton's method, cut off at 0. The consumption is concave, so its tangent lies above it and every iterate below the
        solution, from where the next ones rise to it; the cut at 0 keeps that. Each linear system is solved as far as the
        step is worth; `at_most` limits the iterations of each and the number of tangents.
        """
        x, r, s = self._checked(sink, source, u)
        m = plain(np.broadcast_to(np.asarray(largest, np.float64), self.shape))
        _no_less_than_0(m, "a consumption must be finite and not negative")
        _no_less_than_0(s, "the source beside a saturable consumption must not be negative")
        np.maximum(x, 0.0, out=x)
        norm, total = self._norm(s) / self._unit, 0
        if norm == 0.0:
            x[...] = 0.0
            return Solved(0, 0.0)
        for tangents in range(at_most):
            self._set_diagonal(r, m, half, x, tangent=False)
            left = self._start(s, x)
            if left <= tolerance * norm:
                return Solved(total, left / norm, tangents)
            self._set_diagonal(r, m, half, x, tangent=True)
            iterations, _ = self._iterate(x, left, max(0.5 * tolerance * norm, 0.01 * left), at_most)
            total += iterations
            np.maximum(x, 0.0, out=x)
        raise self._failure(f"no balance after {at_most} tangents", left, tolerance * norm)

    def _checked(self, sink: ArrayLike, source: ArrayLike, u: Reals) -> tuple[Reals, Reals, Reals]:
        x = in_place("u", u, np.float64)
        r, s = (plain(np.broadcast_to(np.asarray(a, np.float64), self.shape)) for a in (sink, source))
        _no_less_than_0(r, "a sink must be finite and not negative")
        for name, array in (("source", s), ("value to start from", x)):
            if not np.isfinite(array.sum()):  # which may also be a sum beyond all numbers, of finite ones
                refuse(~np.isfinite(array), array, f"the {name} is not finite")
        return x, r, s

    def _iterate(self, u: Reals, left: float, goal: float, at_most: int) -> tuple[int, float]:
        """Conjugate gradients from the residual that `_start` left; returns iterations and the residual's norm."""
        if left <= goal:
            return 0, left
        self._multigrid.spread_sink()
        scale = 1.0 / float(np.abs(self._r).max())
        self._multigrid.b[...] = self._r * scale
        self._p[...], before = 0.0, 0.0
        for iteration in range(1, at_most + 1):
            self._multigrid.precondition()
            use_threads_for(u.size)
            _dot_planes(self._r, self._multigrid.u, self._line[0], self._sums)
            now = float(self._sums.sum())
            _turn(self._multigrid.u, now / before if before else 0.0, self._p)
            curvature = self._apply()
            if not (np.isfinite(curvature) and now > 0 and curvature > 0):
                break
            _advance(now / curvature, self._p, self._q, u, self._r, self._multigrid.b, scale, self._line[0], self._sums)
            left, before = float(np.sqrt(self._sums.sum())), now
            if left <= goal:
                return iteration, left
        raise self._failure(f"no balance after {iteration} iterations", left, goal)

    def _failure(self, why: str, left: float, goal: float) -> NotSolvedError:
        worst = np.where(np.isfinite(self._r), np.abs(self._r), np.inf).argmax()
        voxel = tuple(int(i) for i in np.unravel_index(int(worst), self.shape))
        left, goal = left * self._unit, goal * self._unit
        return NotSolvedError(f"{why}; {left:.2g} of it is left over, at most {goal:.2g} may be", voxel)

    def _set_diagonal(self, sink: Reals, largest: Reals, half: float, u: Reals, tangent: bool) -> None:
        """Of the balance with the consumption's chord through 0 and u, or with its tangent at u."""
        use_threads_for(u.size)
        _set_diagonal(*self._faces, sink, largest, half, u, tangent, 1.0 / self._unit, self._diagonal, self._sink)

    def _start(self, source: Reals, u: Reals) -> float:
        """The residual of u and its norm."""
        self._p[1:-1, 1:-1, 1:-1] = u
        self._apply()
        np.divide(source, self._unit, out=self._r)
        self._r -= self._q
        return self._norm(self._r)

    def _apply(self) -> float:
        """q = A p, and p·q."""
        use_threads_for(self._q.size)
        _apply(*self._faces, self._diagonal, self._p, self._q, self._line, self._sums)
        return float(self._sums.sum())

    def _norm(self, a: Reals) -> float:
        """Summed plane by plane, so that no threads of a library matter."""
        np.einsum("zyx,zyx->z", a, a, out=self._sums)
        return float(np.sqrt(self._sums.sum()))


def _no_less_than_0(a: Reals, rule: str) -> None:
    if a.size and not (a.min() >= 0.0 and np.isfinite(a.max())):
        refuse(~np.isfinite(a) | (a < 0), a, rule)


@parallel_kernel
def _set_diagonal(
    gz: Numbers, gy: Numbers, gx: Numbers, sink: Reals, largest: Reals, half: float, u: Reals, tangent: bool, scale: float,
    diagonal: Reals, single: Singles,
) -> None:  # fmt: skip
    """Conductances plus `scale` · sink of each voxel, and that sink in single precision for the V-cycle."""
    nz, ny, nx = diagonal.shape
    for z in prange(nz):
        for y in range(ny):
            a, b, c, d, e = row_of(gz, z, y), row_of(gz, z + 1, y), row_of(gy, z, y), row_of(gy, z, y + 1), row_of(gx, z, y)
            for x in range(nx):
                r = sink[z, y, x]
                if largest.size:
                    reach = u[z, y, x] + half
                    r += largest[z, y, x] / reach * (half / reach if tangent else 1.0)
                single[z, y, x] = r * scale
                g = a[x] + b[x] + c[x] + d[x] + e[x] + e[x + 1]
                diagonal[z, y, x] = g + r * scale


@parallel_kernel
def _apply(
    gz: Numbers, gy: Numbers, gx: Numbers, diagonal: Reals, p: Reals, q: Reals, line: Reals, sums: Reals
) -> None:  # fmt: skip
    """q = A p; sums[z] = Σ p q of the plane."""
    nz, ny, nx = q.shape
    for z in prange(nz):
        total, product = line[0, z], line[1, z]
        product[:] = 0.0
        for y in range(ny):
            total[:] = 0.0
            add_inflow(gz, gy, gx, p, z, y, total)
            row, out, d = p[z + 1, y + 1, 1:], q[z, y], diagonal[z, y]
            for x in range(nx):
                out[x] = d[x] * row[x] - total[x]
            for x in range(nx):
                product[x] += row[x] * out[x]
        sums[z] = product.sum()


@parallel_kernel
def _dot_planes(r: Reals, z32: Singles, line: Reals, sums: Reals) -> None:
    """sums[z] = Σ r z of the plane."""
    nz, ny, nx = r.shape
    for z in prange(nz):
        product = line[z]
        product[:] = 0.0
        for y in range(ny):
            a, b = r[z, y], z32[z + 1, y + 1, 1:]
            for x in range(nx):
                product[x] += a[x] * b[x]
        sums[z] = product.sum()


@parallel_kernel
def _turn(correction: Singles, beta: float, p: Reals) -> None:
    """The next direction, p = z + β p."""
    for z in prange(1, p.shape[0] - 1):
        for y in range(1, p.shape[1] - 1):
            row, new = p[z, y], correction[z, y]
            for x in range(1, row.size - 1):
                row[x] = new[x] + beta * row[x]


@parallel_kernel
def _advance(
    alpha: float, p: Reals, q: Reals, u: Reals, r: Reals, r32: Singles, scale: float, line: Reals, sums: Reals
) -> None:  # fmt: skip
    """u += α p, r −= α q, its single-precision copy for the V-cycle, and sums[z] = Σ r² of the plane."""
    nz, ny, nx = r.shape
    for z in prange(nz):
        square = line[z]
        square[:] = 0.0
        for y in range(ny):
            step, value = p[z + 1, y + 1, 1:], u[z, y]
            for x in range(nx):
                value[x] += alpha * step[x]
            left, change, single = r[z, y], q[z, y], r32[z, y]
            for x in range(nx):
                left[x] -= alpha * change[x]
            for x in range(nx):
                single[x] = left[x] * scale
                square[x] += left[x] * left[x]
        sums[z] = square.sum()
