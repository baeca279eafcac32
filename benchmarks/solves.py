"""Steady balances: multigrid-preconditioned conjugate gradients against scipy's and pyamg's."""

from __future__ import annotations

import time

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from rows import Row, Rows, Sizes, on_threads, thread_counts, timed
from scipy.sparse.linalg import LinearOperator, cg

from tme_sim.numerics.elliptic import TOLERANCE, EllipticSolver
from tme_sim.numerics.faces import CLOSED, Faces, face_conductances

Reals = NDArray[np.float64]
VESSELS = 0.05


def tissue(n: int) -> tuple[Faces, Reals, Reals]:
    """Oxygen's balance in n³ voxels of 15 µm: a diffusivity that varies tenfold, consumption in all, vessels in a twentieth."""
    generator = np.random.default_rng(7)
    diffusivity = 1600 * 10 ** generator.uniform(-0.5, 0.5, (n,) * 3)
    vessel = generator.random((n,) * 3) < VESSELS
    faces = face_conductances(diffusivity, 15.0, (n,) * 3, CLOSED)
    sink, source = np.full((n,) * 3, 0.17), np.zeros((n,) * 3)
    sink[vessel] += 20.0
    source[vessel] = 20.0 * 38.0
    return faces, sink, source


def matrix_of(faces: Faces, sink: Reals) -> sparse.csr_array:
    """The balance as a sparse matrix."""
    index = np.arange(sink.size).reshape(sink.shape)
    i, j, g = [], [], []
    for axis, conductance in enumerate(faces.arrays):
        inner = [slice(None)] * 3
        inner[axis] = slice(1, -1)
        low, high = ([slice(None)] * 3 for _ in range(2))
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        i.append(index[tuple(low)].ravel())
        j.append(index[tuple(high)].ravel())
        g.append(conductance[tuple(inner)].ravel())
    rows, columns, weights = np.concatenate(i), np.concatenate(j), np.concatenate(g)
    places = (np.concatenate([rows, columns]), np.concatenate([columns, rows]))
    off = sparse.coo_array((np.tile(weights, 2), places), (sink.size, sink.size)).tocsr()
    return (sparse.diags_array(off.sum(axis=1) + sink.ravel()) - off).tocsr()


def steady(sizes: Sizes) -> Rows:
    """Iterations and wall time to 10⁻⁸ from nothing, all on the threads that each takes."""
    most = thread_counts()[-1]
    on_threads(most)
    faces, sink, source = tissue(sizes.steady)
    matrix, b = matrix_of(faces, sink), source.ravel()
    started = time.perf_counter()
    solver = EllipticSolver(faces)
    setup_s = time.perf_counter() - started
    u = np.zeros_like(source)

    def ours() -> int:
        u[...] = 0.0
        return solver.solve(sink, source, u, TOLERANCE).iterations

    our_time, iterations = timed(ours, sizes), ours()
    error = float(np.linalg.norm(b - matrix @ u.ravel()) / np.linalg.norm(b))
    note = f"{sizes.steady}³, to {TOLERANCE:g}, {most} threads, {1e3 * setup_s:.0f} ms to set up; error: true residual"
    yield our_time.row("pcg_iterations", iterations, "1", error, note)

    diagonal: Reals = matrix.diagonal()
    jacobi = LinearOperator(matrix.shape, matvec=lambda r: r / diagonal, dtype=np.float64)
    found: list[Reals] = []

    def scipys() -> None:
        found[:] = [cg(matrix, b, rtol=TOLERANCE, M=jacobi)[0]]

    their_time = timed(scipys, sizes)
    their_error = float(np.linalg.norm(b - matrix @ found[0]) / np.linalg.norm(b))
    apart = float(np.abs(found[0] - u.ravel()).max() / found[0].max())
    note = f"{sizes.steady}³; scipy's cg with Jacobi {their_time}, residual {their_error:.2g}, solutions {apart:.1g} apart"
    yield our_time.row("pcg_over_scipy_cg", our_time.minimum / their_time.minimum, "1", error, note)
    yield from _pyamg(sizes, matrix, b, our_time.minimum, error)


def _pyamg(sizes: Sizes, matrix: sparse.csr_array, b: Reals, our_s: float, error: float) -> Rows:
    try:
        import pyamg
    except ImportError:
        yield Row("pcg_over_pyamg", None, "1", "pyamg is not installed; it is in the group `bench`")
        return
    started = time.perf_counter()
    hierarchy = pyamg.smoothed_aggregation_solver(sparse.csr_matrix(matrix))
    setup_s = time.perf_counter() - started
    found: list[Reals] = []

    def theirs() -> None:
        found[:] = [hierarchy.solve(b, tol=TOLERANCE, accel="cg")]

    time_s = timed(theirs, sizes)
    their_error = float(np.linalg.norm(b - matrix @ found[0]) / np.linalg.norm(b))
    note = f"{sizes.steady}³; pyamg {pyamg.__version__} {time_s} and {setup_s:.2g} s to set up, residual {their_error:.2g}"
    yield Row("pcg_over_pyamg", our_s / time_s.minimum, "1", error, note, 1e3 * our_s)
