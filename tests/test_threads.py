"""A whole run gives the same bits on any number of threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

DIGESTS = """
import hashlib
import sys
from tme_sim.config.build import build
from tme_sim.config.load import load, request
from tme_sim.numerics import threads
from tme_sim.simulation import Simulation
from tme_sim.state.state import flatten

threads.GRAIN = 100  # 16³ voxels would run on one thread otherwise
for number in ("stochastic", "continuum"):
    words = ["lattice.size=240um", "number=" + number, "protocol.dose=1e13particles", "processes.uptake.interval=60s"]
    words += ["processes.phagocytes.neutrophils.arrest=5um/s", "processes.phagocytes.neutrophils.crossing=20/h"]
    cells = ["oxygen", "macrophages", "cell_cycle", "cell_death", "t_cells", "decays", "effect_radiation"]
    words += ["processes=[" + ",".join([*load(request([])).config.processes, *cells]) + "]", "tissue.doubling_time=1h"]
    words += ["processes.cell_death.apoptosis=2/h", "processes.t_cells.arrival=2000/mm^2/h"]
    words += ["processes." + name + ".interval=5min" for name in cells]
    words += ["processes.macrophages.leak_per_macrophage=0.3", "processes.macrophages.death=0.3/h"]
    words += ["processes.effect_radiation.fractions=[{start: 5min, dose: 1 Gy, beam: megavoltage}]", "nanoparticle=cpc634_zr89"]
    config = load(request(words)).config
    for n in (4, 2, 1):
        assert threads.set_threads(n) == n
        built = build(config)
        simulation = Simulation(built.state, built.processes, [], config.step_s, config.seed)
        for _ in range(25):
            simulation.step()
        arrays = flatten(built.state)
        assert arrays["fields.nanoparticle"].sum() > 1000 and arrays["populations.macrophages.cargo"].any()
        assert len(arrays["populations.neutrophils.site"]) > 100 and len(arrays["populations.t_cells.site"]) > 10
        assert {0, 1, 4} <= set(arrays["populations.tumor_cells.phase"].tolist())
        assert arrays["vessels.permeability_factor"].max() > 2
        assert arrays["fields.decay_dose_Gy"].any() and arrays["populations.tumor_cells.damage"].any()
        assert threads.use_threads_for(arrays["fields.nanoparticle"][0, 0].size) == n
        print(hashlib.sha256(b"".join(name.encode() + arrays[name].tobytes() for name in sorted(arrays))).hexdigest())
"""


@pytest.fixture(scope="module")
def of_threads():
    """Number mode → digests of its run on 4, 2 and 1 threads; one process, since most of its time goes to starting."""
    four = os.environ | {"NUMBA_NUM_THREADS": "4"}
    done = subprocess.run([sys.executable, "-c", DIGESTS], capture_output=True, text=True, check=False, env=four)
    assert done.returncode == 0, done.stderr
    found = done.stdout.split()
    return {"stochastic": found[:3], "continuum": found[3:]}


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_one_two_and_four_threads_give_the_same_run(of_threads, number):
    assert len(of_threads[number]) == 3
    assert len(set(of_threads[number])) == 1
