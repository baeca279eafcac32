"""The explicit step over heterogeneous diffusivities: against memory, against threads, against what others offer."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from problem import Layered
from rows import Row, Rows, Sizes, Timing, child, on_threads, thread_counts, timed

from tme_sim.numerics import transport
from tme_sim.numerics.rkl2 import integrate

AT_ONCE = 8
"""Steps in one timed call: as many as the reference run takes at refinement 2."""
COARSE = 16
"""The closed form is held against runs on so many voxels a side."""


@numba.njit(parallel=True, error_model="numpy")
def _triad(a: NDArray[Any], b: NDArray[Any], c: NDArray[Any]) -> None:
    for i in numba.prange(a.size):
        a[i] = b[i] + a.dtype.type(0.5) * c[i]


class Ours:
    """Explicit steps with this package's kernel, as a run takes them: conductances in float32 also where amounts are float64."""

    def __init__(self, problem: Layered, dtype: Any = np.float32) -> None:
        self.problem = problem
        self.u = problem.exact().astype(dtype)
        rates = transport.face_rates(problem.D, 1.0, problem.h, dtype=np.float32)
        self.rates = rates._replace(per_capacity=rates.per_capacity.astype(dtype))

    def step(self, steps: int = AT_ONCE) -> None:
        """So many steps."""
        transport.step_continuum(self.u, self.rates, self.problem.dt, steps)


class Numpy:
    """The same in numpy as one writes it down, with the conductances of faces computed beforehand."""

    def __init__(self, problem: Layered, dtype: Any = np.float32) -> None:
        self.u = problem.exact().astype(dtype)
        self.faces = []
        for axis in range(3):
            low, high = _sides(axis)
            d_low, d_high = problem.D[low], problem.D[high]
            g = (2 * d_low * d_high / (d_low + d_high) * problem.dt / problem.h**2).astype(dtype)
            self.faces.append((low, high, g))

    def step(self, steps: int = AT_ONCE) -> None:
        """So many steps."""
        for _ in range(steps):
            new = self.u.copy()
            for low, high, g in self.faces:
                flux = g * (self.u[high] - self.u[low])
                new[low] += flux
                new[high] -= flux
            self.u = new


class NumpyInPlace(Numpy):
    """The same with everything allocated beforehand."""

    def __init__(self, problem: Layered, dtype: Any = np.float32) -> None:
        super().__init__(problem, dtype)
        self._new, self._fluxes = np.empty_like(self.u), [np.empty_like(g) for _, _, g in self.faces]

    def step(self, steps: int = AT_ONCE) -> None:
        """So many steps."""
        for _ in range(steps):
            self._new[...] = self.u
            for (low, high, g), flux in zip(self.faces, self._fluxes, strict=True):
                np.subtract(self.u[high], self.u[low], out=flux)
                np.multiply(flux, g, out=flux)
                self._new[low] += flux
                self._new[high] -= flux
            self.u, self._new = self._new, self.u


class Csr:
    """The same as a product with a sparse matrix, float64."""

    def __init__(self, problem: Layered) -> None:
        self.u = problem.exact().ravel()
        index = np.arange(self.u.size).reshape((problem.n,) * 3)
        low, high, weight = [], [], []
        for axis in range(3):
            below, above = _sides(axis)
            d_low, d_high = problem.D[below], problem.D[above]
            weight.append((2 * d_low * d_high / (d_low + d_high) * problem.dt / problem.h**2).ravel())
            low.append(index[below].ravel())
            high.append(index[above].ravel())
        i, j, g = np.concatenate(low), np.concatenate(high), np.concatenate(weight)
        size = self.u.size
        off = sparse.coo_array((np.tile(g, 2), (np.concatenate([i, j]), np.concatenate([j, i]))), (size, size)).tocsr()
        self.matrix = (off + sparse.diags_array(1 - off.sum(axis=1))).tocsr()

    def step(self, steps: int = AT_ONCE) -> None:
        """So many steps."""
        for _ in range(steps):
            self.u = self.matrix @ self.u


def _sides(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    low, high = [slice(None)] * 3, [slice(None)] * 3
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    return tuple(low), tuple(high)


def error_of(stepper: type[Any], *arguments: Any) -> float:
    """Against the closed form, on a coarse grid, until the profile has decayed to 1/e."""
    problem = Layered(COARSE)
    scheme = stepper(problem, *arguments)
    scheme.step(problem.steps)
    return problem.error(np.asarray(scheme.u, np.float64), problem.steps * problem.dt)


def triad_GB_per_s(size: int, threads: int, sizes: Sizes) -> Timing:
    """Best and median speed of a ← b + s·c in float32, three times 4 bytes per element."""
    on_threads(threads)
    a, b, c = (np.ones(size, np.float32) for _ in range(3))
    found = timed(lambda: _triad(a, b, c), sizes)
    return Timing(*(12e-9 * size / seconds for seconds in found))


def triads(sizes: Sizes) -> Rows:
    """Memory speed at each number of threads: what the explicit step is held against."""
    for threads in thread_counts():
        speed = triad_GB_per_s(sizes.triad, threads, sizes)
        note = f"a = b + s c, three float32 arrays of {sizes.triad * 4 / 1e6:.0f} MB; median {speed.median:.3g}"
        yield Row(f"triad_{threads}_GB_per_s", speed.minimum, "GB/s", None, note)


def explicit(sizes: Sizes) -> Rows:
    """One step against memory, and two threads against one."""
    error = error_of(Ours)
    note = f"error: largest, of float32 on {COARSE}³ voxels when the profile has decayed to 1/e, against the closed form"
    most = thread_counts()[-1]
    for threads in dict.fromkeys((1, most)):
        triad = triad_GB_per_s(sizes.triad, threads, sizes)
        on_threads(threads)
        ours = Ours(Layered(sizes.step))
        each = timed(ours.step, sizes, AT_ONCE)
        share = 16e-9 * sizes.step**3 / each.minimum / triad.minimum
        told = f"{sizes.step}³, float32, {threads} threads, triad {triad.minimum:.3g} GB/s; {note}"
        name = "explicit_over_triad_128" if threads == 1 else f"explicit_over_triad_128_on_{threads}"
        yield each.row(name, share, "1", error, told)
    times = []
    for threads in (1, 2):
        on_threads(threads)
        times.append(timed(Ours(Layered(sizes.threads)).step, sizes, AT_ONCE))
    told = f"{sizes.threads}³, float32; one thread {times[0]}; {note}"
    yield times[1].row("threads_2_over_1_64", times[0].minimum / times[1].minimum, "1", error, told)


def against_arrays(sizes: Sizes) -> Rows:
    """Against numpy in float32 and scipy's sparse product in float64, one thread each."""
    on_threads(1)
    problem = Layered(sizes.peers)
    for name, ours, theirs, dtype in (
        ("over_numpy", Ours(problem), Numpy(problem), np.float32),
        ("over_numpy_in_place", Ours(problem), NumpyInPlace(problem), np.float32),
        ("over_scipy_csr", Ours(problem, np.float64), Csr(problem), np.float64),
    ):
        our_time, their_time = (timed(scheme.step, sizes, AT_ONCE) for scheme in (ours, theirs))
        their_error = error_of(type(theirs))
        note = f"{sizes.peers}³, {np.dtype(dtype).name}, one thread; theirs {their_time}, error {their_error:.2g}"
        yield our_time.row(name, their_time.minimum / our_time.minimum, "1", error_of(Ours, dtype), note)


def against_pypde(sizes: Sizes) -> Rows:
    """Against py-pde's compiled right-hand side, float64, one thread each."""
    yield from _against("over_pypde_variable", "py-pde", "pypde", sizes.peers, sizes)


def against_fipy(sizes: Sizes) -> Rows:
    """Against FiPy's explicit diffusion term, float64, one thread each."""
    yield from _against("over_fipy", "FiPy", "fipy", sizes.fipy, sizes)


def _against(name: str, package: str, word: str, n: int, sizes: Sizes) -> Rows:
    if not sizes.slow_peers:
        yield Row(name, None, "1", "not run at this size: it takes minutes to compile or needs the group `bench`")
        return
    single = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    found = child("peers.py", word, n, sizes.repeats, sizes.seconds, timeout_s=400, environment=single)
    on_threads(1)
    ours = timed(Ours(Layered(n), np.float64).step, sizes, AT_ONCE)
    theirs = Timing(found["minimum_s"], found["median_s"])
    note = f"{n}³, float64, one thread; {package} {found['version']} {theirs}, error {found['error']:.2g}"
    yield ours.row(name, theirs.minimum / ours.minimum, "1", error_of(Ours, np.float64), note)


def long_steps(sizes: Sizes) -> Rows:
    """A day of a nanoparticle (D = 1 µm²/s) from a sheet of sources, to 10⁻³: evaluations of all fluxes."""
    on_threads(thread_counts()[-1])
    n, day_s, h = sizes.day, 86400.0, 10.0
    rates = transport.face_rates(np.ones((n,) * 3), 1.0, h)
    start = np.zeros((n,) * 3)
    start[:, :, : n // 8] = 1.0
    euler, fine = start.copy(), start.copy()
    steps = transport.substeps(rates, day_s)
    transport.step_continuum(euler, rates, day_s / steps, steps)
    transport.step_continuum(fine, rates, day_s / (4 * steps), 4 * steps)
    exact = fine + (fine - euler) / 3  # the error of Euler's method is of first order
    amount = start.copy()
    took = integrate(amount, rates, day_s, first_s=0.0)
    error, euler_error = (float(np.abs(a - exact).max()) for a in (amount, euler))
    each = timed(lambda: integrate(start.copy(), rates, day_s, first_s=0.0), sizes)
    note = (
        f"{n}³ of {h:g} µm, a sheet spreads for 24 h: {took.evaluations} against {steps} evaluations, "
        f"error of Euler's {euler_error:.2g}; both relative to the largest amount, against Richardson's limit"
    )
    yield each.row("rhs_evaluations_over_euler", took.evaluations / steps, "1", error, note)
