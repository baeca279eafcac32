"""One peer in a process of its own: python benchmarks/peers.py pypde|fipy VOXELS REPEATS SECONDS."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from problem import Layered

COARSE = 16
Step = Callable[[], None]


def pypde(problem: Layered) -> tuple[Step, Callable[[], Any], str]:
    """One explicit step, the present values, the version.

    Of its ways to write a varying D this has the smallest error: `divergence(D * gradient(c))` costs as much and is four times
    as far off. Compiled but for the coarse grid, where compiling would take longer than the run.
    """
    import pde

    grid = pde.CartesianGrid([[0, 1]] * 3, problem.n)
    D = pde.ScalarField(grid, problem.D)
    constants = {"D": D, "slope": D.gradient({"derivative": 0})}
    equation = pde.PDE({"c": "D * laplace(c) + dot(slope, gradient(c))"}, bc={"derivative": 0}, consts=constants)
    field = pde.ScalarField(grid, problem.exact())
    rate, data = equation.make_pde_rhs(field, backend="numba" if problem.n > COARSE else "numpy"), field.data

    def step() -> None:
        np.add(data, problem.dt * rate(data, 0.0), out=data)

    return step, lambda: data, pde.__version__


def fipy(problem: Layered) -> tuple[Step, Callable[[], Any], str]:
    """The same with FiPy's explicit term; its axes run x fastest, as ours."""
    import fipy as fp

    n, h = problem.n, problem.h
    mesh = fp.Grid3D(dx=h, dy=h, dz=h, nx=n, ny=n, nz=n)
    u = fp.CellVariable(mesh=mesh, value=problem.exact().ravel())
    at_faces = fp.FaceVariable(mesh=mesh, value=problem.diffusivity(mesh.faceCenters[0].value))
    equation, solver = fp.TransientTerm() == fp.ExplicitDiffusionTerm(coeff=at_faces), fp.LinearPCGSolver()
    return lambda: equation.solve(var=u, dt=problem.dt, solver=solver), lambda: u.value, fp.__version__


def main(name: str, n: int, repeats: int, seconds: float) -> None:
    """Print the error on a coarse grid and the time of a step on the asked one."""
    warnings.simplefilter("ignore")  # theirs, about numpy
    setup = {"pypde": pypde, "fipy": fipy}[name]
    coarse = Layered(COARSE)
    step, values, version = setup(coarse)
    for _ in range(coarse.steps):
        step()
    error = coarse.error(np.asarray(values()), coarse.steps * coarse.dt)
    step, _, _ = setup(Layered(n))
    step()
    times: list[float] = []
    while len(times) < 3 or (len(times) < repeats and sum(times) < seconds):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    found = {"error": error, "minimum_s": min(times), "median_s": float(np.median(times)), "version": version}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
