"""What a million cells do in one application: divide, die, walk, and suffer from drug and heat."""

from __future__ import annotations

import numpy as np
from rows import Rows, Sizes, on_threads, timed

from tme_sim.config.build import build
from tme_sim.config.load import load, request
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.state.ledger import lattice_amounts
from tme_sim.state.state import State

TIMED = ("cell_cycle", "cell_death", "macrophages", "effect_drug", "effect_heat")
SITE_UM = 15
STEP_S = 600.0


def cells(sizes: Sizes) -> Rows:
    """One application of each process, one thread; all cells hold a particle or ten."""
    on_threads(1)
    words = [
        *("nanoparticle=micelle_65nm", "drug=docetaxel", "tissue=4t1", "number=continuum"),
        *(f"lattice.size={sizes.hops * SITE_UM}um", "cells.density=2.9e5 1/mm^3"),
        "processes=circulation,oxygen,heat,cell_cycle,cell_death,macrophages,gaps,transport,uptake,release,drug,effect_drug,effect_heat",
    ]
    built = build(load(request(words)).config)
    generator = np.random.default_rng(1)
    kinds = [kind for kind, population in built.state.populations.items() if "cargo" in population]
    for kind in kinds:
        cargo = built.state.populations[kind]["cargo"]
        cargo[...] = generator.integers(1, 11, cargo.shape)
    built.state.fields["drug_in_cells_amol"][...] = 1e-3
    number = sum(len(built.state.populations[kind]) for kind in kinds)
    per = 1e6 / number
    for name in TIMED:
        before = held(built.state)
        time_s = timed(lambda process=built.processes[name], name=name: apply(process, name, built.state), sizes)
        note = f"{number} cells on {sizes.hops}³ sites, one thread, 10 min at a time; error: of all particles"
        off = abs(held(built.state) / before - 1)
        yield time_s.row(f"cells_{name}_1e6_ms", 1e3 * per * time_s.minimum, "ms", off, note, extrapolated=per > 2)


def apply(process: Process, name: str, state: State) -> None:
    """One application, after another minute of heat; the tick goes on, so that every one draws anew."""
    state.fields["thermal_dose_min"] += 1.0
    process.step(StateView(state, process.reads, process.writes, state.tick * STEP_S), STEP_S, Streams(1, name, state.tick))
    state.tick += 1


def held(state: State) -> float:
    """Particles on the lattice, wherever they are."""
    return float(sum(amounts.sum() for amounts in lattice_amounts(state).values()))
