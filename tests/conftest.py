"""What many tests start from: small configurations, states by hand, and a digest of everything that a state holds."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from tme_sim.config.build import Built, build
from tme_sim.config.load import load, request
from tme_sim.config.settings import Config
from tme_sim.processes.base import Process
from tme_sim.simulation import Simulation
from tme_sim.state.body import Body
from tme_sim.state.lattice import Lattice, Patch
from tme_sim.state.ledger import Ledger
from tme_sim.state.population import Population
from tme_sim.state.state import State, flatten
from tme_sim.state.vessels import Vessels

# Processes that tests start would compile numba, scipy and pandas anew each time: two seconds a process.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Numba compiles on first call, so a single example may take seconds; the examples are the same in every run.
settings.register_profile("tme-sim", deadline=None, derandomize=True)
settings.load_profile("tme-sim")


@cache
def _configure(*words: str) -> Config:
    return load(request(["lattice.size=120um", *words])).config


@pytest.fixture(scope="session")
def configure() -> Callable[..., Config]:
    """`configure("number=continuum", …)`: the default configuration on 8³ sites, with overrides."""
    return _configure


@pytest.fixture(scope="session")
def built() -> Callable[..., Built]:
    """As `configure`, and built; every call gives a State(0) of its own."""
    return lambda *words: build(_configure(*words))


@pytest.fixture(scope="session")
def simulate() -> Callable[..., Simulation]:
    """A simulation of a small configuration, without recorders."""

    def make(*words: str, recorders: Sequence[Any] = ()) -> Simulation:
        config = _configure(*words)
        start = build(config)
        return Simulation(start.state, start.processes, recorders, config.step_s, config.seed)

    return make


@pytest.fixture(scope="session")
def make_state() -> Callable[..., State]:
    """A state by hand: uniform φ, no lumen, no vessels unless `walls` gives (voxel, surface_um2), `plasma` carriers in plasma."""

    def make(
        sites: tuple[int, int, int] = (1, 1, 1),
        number: str = "continuum",
        *,
        refinement: int = 1,
        site_um: float = 15.0,
        accessible: Any = 0.1,
        plasma: float = 0,
        plasma_volume_um3: float = 1e12,
        walls: tuple[Any, Any] | None = None,
        copies: int = 1,
        patches: tuple[Patch, ...] = (),
    ) -> State:
        lattice = Lattice(sites, site_um, refinement, patches or (Patch("tumor", 0, sites[0], copies),))
        dtype = np.int64 if number == "stochastic" else np.float64
        body = Body(plasma_volume_um3, 25.0, {"liver": 1.0, "spleen": 0.1})
        state = State(lattice, number, body, Ledger.empty(len(lattice.patches), dtype))  # type: ignore[arg-type]
        state.fields["nanoparticle"] = state.empty_field()
        state.fields["accessible_fraction"] = np.broadcast_to(np.asarray(accessible, float), lattice.voxels).copy()
        state.fields["lumen_fraction"] = np.zeros(lattice.voxels)
        state.body.pools["plasma"] = np.zeros(2, dtype)
        state.ledger.inject(state.body.pools["plasma"], 0, dtype(plasma))
        if walls is not None:
            state.vessels = Vessels(np.asarray(walls[0], np.int64), np.asarray(walls[1], float))
        return state

    return make


@pytest.fixture(scope="session")
def add_cells() -> Callable[..., Population]:
    """Put empty cells of one kind on sites of a state."""

    def add(state: State, kind: str, site: Any) -> Population:
        columns = {"site": np.asarray(site, np.int64)} | {c: state.empty_cargo(len(site)) for c in ("cargo", "lysosome")}
        state.populations[kind] = Population(columns)
        return state.populations[kind]

    return add


@pytest.fixture(scope="session")
def advance() -> Callable[..., Simulation]:
    """Let processes act on a state for a number of steps."""

    def run(state: State, processes: Mapping[str, Process] | Process, step_s: float, steps: int, seed: int = 1) -> Simulation:
        named = processes if isinstance(processes, Mapping) else {"process": processes}
        simulation = Simulation(state, named, [], step_s, seed)
        for _ in range(steps):
            simulation.step()
        return simulation

    return run


@pytest.fixture(scope="session")
def digests() -> Callable[[State], dict[str, str]]:
    """Dotted name → digest of type, shape and bits, for every array of a state and its tick."""

    def make(state: State) -> dict[str, str]:
        arrays = flatten(state) | {"tick": np.array(state.tick)}
        return {name: hashlib.sha256(f"{a.dtype}{a.shape}".encode() + a.tobytes()).hexdigest()[:16] for name, a in arrays.items()}

    return make


@pytest.fixture(autouse=True)
def _no_report(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report takes seconds: only tests that ask for `reports` write it."""
    if "reports" not in request.fixturenames:
        monkeypatch.setattr("tme_sim.runner.report_on", lambda folder, say: None)


@pytest.fixture
def reports() -> None:
    """Asked for by tests that want the report."""
