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
words = ["lattice.size=240um", "number=" + sys.argv[1], "protocol.dose=1e13particles", "processes.uptake.interval=60s"]
config = load(request(words)).config
for n in (4, 2, 1):
    assert threads.set_threads(n) == n
    built = build(config)
    simulation = Simulation(built.state, built.processes, [], config.step_s, config.seed)
    for _ in range(25):
        simulation.step()
    arrays = flatten(built.state)
    assert arrays["fields.nanoparticle"].sum() > 1000 and arrays["populations.macrophages.cargo"].any()
    assert threads.use_threads_for(arrays["fields.nanoparticle"][0, 0].size) == n
    print(hashlib.sha256(b"".join(name.encode() + arrays[name].tobytes() for name in sorted(arrays))).hexdigest())
"""


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_one_two_and_four_threads_give_the_same_run(number):
    four = os.environ | {"NUMBA_NUM_THREADS": "4"}
    done = subprocess.run([sys.executable, "-c", DIGESTS, number], capture_output=True, text=True, check=False, env=four)
    assert done.returncode == 0, done.stderr
    digests = done.stdout.split()
    assert len(digests) == 3
    assert len(set(digests)) == 1
