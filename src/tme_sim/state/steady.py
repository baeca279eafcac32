"""Fields in a steady balance on the lattice, such as oxygen and pressure: each patch by itself, nothing passes between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.numerics.elliptic import TOLERANCE, EllipticSolver
from tme_sim.numerics.faces import CLOSED, Faces, NotSolvedError, Sides, face_conductances, hold_voxels
from tme_sim.state.cells import is_alive
from tme_sim.state.errors import ModelError
from tme_sim.state.lattice import Lattice

Reals = NDArray[np.float64]


class SteadyField:
    """Solves −∇·(D∇u) + r u (+ m u/(u + k)) = s for one diffusivity (µm²/s, or a conductivity), by patch.

    fixed: which faces of every patch hold a value; what they amount to goes into s (`faces[patch].inflow_at_edge`). held:
    voxels (z, y, x) that keep `value`; tolerance: of the residual over the source, Euclidean norms. A failure is a ModelError
    naming process, field, voxel and time.
    """

    def __init__(
        self,
        process: str,
        field: str,
        lattice: Lattice,
        diffusivity: float | Reals,
        time_s: float,
        fixed: Sides = CLOSED,
        held: NDArray[np.bool_] | None = None,
        value: float = 0.0,
        tolerance: float = TOLERANCE,
    ) -> None:
        self.process, self.field, self.planes, self.held = process, field, lattice.planes, held
        self._tolerance = tolerance
        self.faces: list[Faces] = []
        self._sink, self._source = np.zeros((2, *(lattice.voxels if held is not None else (0, 0, 0))))
        for planes in self.planes:
            shape = (planes.stop - planes.start, *lattice.voxels[1:])
            d = diffusivity if np.ndim(diffusivity) == 0 else np.broadcast_to(diffusivity, lattice.voxels)[planes]
            with self._told(planes, time_s):
                faces = face_conductances(d, lattice.voxel_um, shape, fixed)
            if held is not None:
                faces, self._sink[planes], self._source[planes] = hold_voxels(faces, held[planes], value)
            self.faces.append(faces)
        self._solvers = [EllipticSolver(faces) for faces in self.faces]

    def solve(self, u: Reals, sink: Reals, source: Reals, time_s: float, tolerance: float | None = None) -> int:
        """Solve in place for u, all (z, y, x), from what it holds; returns the iterations of all patches.

        tolerance: another one than the field's, for this solve.
        """
        r, s = self._with_held(sink, source)
        iterations = 0
        for solver, at in zip(self._solvers, self.planes, strict=True):
            with self._told(at, time_s):
                iterations += solver.solve(r[at], s[at], u[at], tolerance or self._tolerance).iterations
        return iterations

    def solve_saturable(self, u: Reals, sink: Reals, source: Reals, largest: Reals, half: float, time_s: float) -> int:
        """The same with a consumption m u/(u + k): m = `largest` (z, y, x), k = `half`."""
        r, s = self._with_held(sink, source)
        iterations = 0
        for solver, at in zip(self._solvers, self.planes, strict=True):
            with self._told(at, time_s):
                iterations += solver.solve_saturable(r[at], s[at], largest[at], half, u[at], self._tolerance).iterations
        return iterations

    def _with_held(self, sink: Reals, source: Reals) -> tuple[Reals, Reals]:
        if self.held is None:
            return sink, source
        return np.where(self.held, 0.0, sink) + self._sink, np.where(self.held, 0.0, source) + self._source

    @contextmanager
    def _told(self, planes: slice, time_s: float) -> Iterator[None]:
        try:
            yield
        except NotSolvedError as error:
            z, y, x = error.voxel
            where = f"{self.field} at voxel ({z + planes.start}, {y}, {x}) (z, y, x) and {time_s:g} s"
            raise ModelError(f"{self.process}: {where}: {error.why}") from error


def live_cells(lattice: Lattice, populations: Mapping[str, Mapping[str, NDArray[Any]]], kinds: tuple[str, ...]) -> Reals:
    """(z, y, x) per voxel, live cells on the site that the voxel is part of."""
    count: Reals = np.zeros(lattice.n_sites)
    for kind in kinds:
        count += np.bincount(populations[kind]["site"][is_alive(populations[kind])], minlength=lattice.n_sites)
    return lattice.on_voxels(count)


def per_volume(lattice: Lattice, voxel: NDArray[np.int64], amount: NDArray[np.float64]) -> Reals:
    """(z, y, x) what each voxel holds per volume, from amounts at flat voxel indices, such as a wall's surface."""
    return np.asarray(np.bincount(voxel, amount, lattice.n_voxels).reshape(lattice.voxels) / lattice.voxel_um3)
