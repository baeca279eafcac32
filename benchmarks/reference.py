"""The reference run of numerics: a cubic millimetre of tumour for 48 h, in a process of its own.

Run: python benchmarks/reference.py NUMBER REFINEMENT SITES BUDGET_S [THREADS]
prints one line of JSON: wall seconds, peak memory, and where the time goes.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tme_sim.config.build import Built, build
from tme_sim.config.load import Loaded, load, request
from tme_sim.numerics.threads import set_threads
from tme_sim.planning import recording_cost
from tme_sim.processes.base import StateView, Streams
from tme_sim.provenance import peak_memory_mb
from tme_sim.runner import execute
from tme_sim.simulation import Simulation, ticks
from tme_sim.state.drug import drug_on_lattice
from tme_sim.state.ledger import lattice_amounts, whole_body
from tme_sim.state.variables import FORMS, ROUTES

PROCESSES = (
    "circulation", "perfusion", "interstitial_flow", "gaps", "transcytosis", "phagocytes", "transport", "binding", "uptake",
    "release", "drug", "oxygen",
)  # fmt: skip
ENTRIES = ("gap", "transcytosis")
DOSES = {"continuum": 1e12, "stochastic": 3e10}
OCCUPANCY = 10.0
"""Particles per site in the middle of the stochastic run, all routes and forms together."""
SETTINGS = {
    "step": "150 s",
    "processes.perfusion.interval": "10 min",
    "processes.interstitial_flow.interval": "10 min",
    "processes.binding.interval": "10 min",
    "processes.uptake.interval": "10 min",
    "processes.oxygen.interval": "20 min",
}
"""As long as half a shut vessel's time, or as a few per cent of error allow, which `step_error` measures."""
FINE = {
    "step": "15 s",
    "processes.perfusion.interval": "5 min",
    "processes.interstitial_flow.interval": "5 min",
    "processes.binding.interval": "1 min",
    "processes.uptake.interval": "1 min",
    "processes.release.interval": "1 min",
    "processes.drug.interval": "1 min",
    "processes.oxygen.interval": "1 h",
}
ERROR_SITES, ERROR_H = 10, 8.0
AT_ONCE_S = 1200.0
"""Simulated; every process acts."""
MIDDLE_S = 4 * 3600.0
HOURS = 48.0


def loaded(number: str, refinement: int, sites: int, *more: str) -> Loaded:
    """The configuration, with those of its processes that this version has; `more` overrides it."""
    there = {path.stem for path in (Path(__file__).resolve().parents[1] / "conf" / "processes").glob("*.yaml")}
    words = {
        "lattice.size": f"{15 * sites} um",
        "lattice.refinement": refinement,
        "number": number,
        "nanoparticle.diffusivity": "0.5 um^2/s",
        "cells.density": "2.3e5 1/mm^3",
        "processes": f"[{','.join(name for name in PROCESSES if name in there)}]",
        "protocol.dose": f"{DOSES[number]:.0f}particles",
        "protocol.duration": f"{HOURS:g} h",
        "report": "false",
    } | SETTINGS
    return load(request([*(f"{key}={value}" for key, value in words.items()), *more]))


def step_error() -> float:
    """Of steps and intervals: the largest relative change of an amount in the tissue, by compartment and route, and of the drug.

    Against steps a tenth as long, in real amounts on a small lattice after some hours, where the error is larger than at the
    end. Without the shutting of vessels and without phagocytes, whose draws another interval changes.
    """
    found = []
    for settings in (SETTINGS, FINE):
        more = [*(f"{key}={value}" for key, value in settings.items()), "processes.perfusion.closed_fraction=0"]
        given = loaded("continuum", 1, ERROR_SITES, *more)
        given.config.processes.pop("phagocytes", None)
        built = build(given.config, None, given.user_set)
        Simulation(built.state, built.processes, [], given.config.step_s, given.config.seed).run(3600 * ERROR_H)
        amounts = [a[:, ROUTES.index(route)].sum() for a in lattice_amounts(built.state).values() for route in ENTRIES]
        found.append([*amounts, *(sum(a) for a in drug_on_lattice(built.state).values())])
    coarse, fine = np.array(found)
    there = fine > 0
    return float(np.abs(coarse[there] / fine[there] - 1).max())


def fill(built: Built) -> None:
    """Carriers as in the middle of the run: half of the dose in plasma, a tenth of what is in the tissue released."""
    state = built.state
    state.body.pools["plasma"][...] = np.asarray([0.5, 0.05]) * built.dose
    inside = state.fields["inside"] > 0
    free = OCCUPANCY / state.lattice.refinement**3 if state.number == "stochastic" else built.occupancy / 3
    generator = np.random.default_rng(0)
    for route in ENTRIES:
        for form, share in (("loaded", 0.45), ("released", 0.05)):
            mean = free * share * inside
            amounts = generator.poisson(mean) if state.number == "stochastic" else mean
            state.fields["nanoparticle"][ROUTES.index(route), FORMS.index(form)] = amounts


class Clock:
    """Advances the state as the simulation does and keeps what each process takes."""

    def __init__(self, built: Built, given: Loaded) -> None:
        self.built, self.config = built, given.config
        step_s = self.config.step_s
        self._every = {name: ticks(process.interval_s or step_s, step_s, name) for name, process in built.processes.items()}
        self.reset()

    def reset(self) -> None:
        """Nothing taken, nothing done."""
        self.seconds, self.calls = dict.fromkeys(self._every, 0.0), dict.fromkeys(self._every, 0)
        self.ticks = 0

    def advance(self, count: int) -> None:
        """So many ticks."""
        state, step_s = self.built.state, self.config.step_s
        for _ in range(count):
            for name, process in self.built.processes.items():
                if state.tick % self._every[name] == 0:
                    view = StateView(state, process.reads, process.writes, state.tick * step_s)
                    began = time.perf_counter()
                    process.step(view, self._every[name] * step_s, Streams(self.config.seed, name, state.tick))
                    self.seconds[name] += time.perf_counter() - began
                    self.calls[name] += 1
            state.tick += 1
            self.ticks += 1


def part(given: Loaded, budget_s: float) -> dict[str, Any]:
    """The middle of the run, as much of its 4 h as the budget allows, and what the whole would take by that."""
    config = given.config
    started = time.perf_counter()
    built = build(config, None, given.user_set)
    build_s = time.perf_counter() - started
    fill(built)
    total = ticks(config.protocol.duration_s, config.step_s, "protocol.duration")
    at_once = ticks(AT_ONCE_S, config.step_s, "AT_ONCE_S")
    clock = Clock(built, given)
    built.state.tick = total // 2 - at_once
    clock.advance(at_once)  # loads the kernels
    clock.reset()
    before, started = _whole(built), time.perf_counter()
    while clock.ticks == 0 or (clock.ticks < MIDDLE_S / config.step_s and time.perf_counter() - started < budget_s):
        clock.advance(at_once)
    share = total / clock.ticks
    wall_s = share * (time.perf_counter() - started)
    built.state.tick = 0  # where a recorder begins
    records_s, _, _ = recording_cost(built.state, config)
    return {
        "extrapolated": True,
        "simulated_h": clock.ticks * config.step_s / 3600,
        "wall_s": build_s + wall_s + records_s,
        "per_process_s": {name: share * s for name, s in clock.seconds.items()} | {"building": build_s, "records": records_s},
        "per_call_ms": {name: 1e3 * clock.seconds[name] / max(1, n) for name, n in clock.calls.items()},
        "error": abs(_whole(built) - before) / before,
        **facts(built),
    }


def _whole(built: Built) -> float:
    return float(sum(whole_body(built.state).values()))


def whole(given: Loaded, threads: int) -> dict[str, Any]:
    """The run as a user has it, with its folder."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = execute(given.config, Path(folder) / "run", threads=threads, user_set=given.user_set)
    assert outcome.built is not None
    found = outcome.summary
    return {"extrapolated": False, "wall_s": found["wall_s"], "error": found["ledger_residual"], **facts(outcome.built)}


def facts(built: Built) -> dict[str, Any]:
    """What was run."""
    state = built.state
    field = state.fields["nanoparticle"]
    return {
        "cells": sum(len(p) for kind, p in state.populations.items() if kind != "gaps"),
        "voxels": state.lattice.n_voxels,
        "mean_per_voxel": float(field.sum()) / state.lattice.n_voxels,
        "processes": list(built.processes),
        "peak_memory_mb": largest_memory_mb(),
    }


def largest_memory_mb() -> float:
    """Of this program alone: what `getrusage` tells begins with what the process held that started it."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024
    except (OSError, StopIteration):
        return peak_memory_mb()


def main(number: str, refinement: int, sites: int, budget_s: float, threads: int) -> None:
    """A part first; the whole, if that fits into the budget by what the part says."""
    set_threads(threads)
    given = loaded(number, refinement, sites)
    found = part(given, budget_s / 3)
    if found["wall_s"] <= budget_s:
        found |= whole(given, threads)
    found["step_error"] = step_error() if budget_s else None
    print(json.dumps(found))


if __name__ == "__main__":
    granted = int(sys.argv[5]) if len(sys.argv) > 5 else os.cpu_count() or 1
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), granted)
