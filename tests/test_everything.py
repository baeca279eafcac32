"""With every process on and three patches, a run resumes and threads change nothing, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tme_sim.config.build import build
from tme_sim.config.registry import known
from tme_sim.files.run_store import RunStore
from tme_sim.recording import Checkpointer, RunRecorder
from tme_sim.simulation import Simulation
from tme_sim.state.ledger import audit
from tme_sim.state.state import flatten, restore
from tme_sim.state.variables import PHAGOCYTES

pytestmark = pytest.mark.slow

PROCESSES = known("process")
WORDS = (
    *("lattice.size=120um", "tissue=three_patches", "tissue.tumor_mass=1mg", "tissue.doubling_time=1h", "step=60s"),
    *("nanoparticle=cpc634_zr89", "protocol.dose=1e13particles", f"processes=[{','.join(PROCESSES)}]"),
    *(f"processes.{name}.interval=2min" for name in PROCESSES if name != "circulation"),
    *(f"processes.phagocytes.{kind}.{what}" for kind in PHAGOCYTES for what in ("arrest=2um/s", "crossing=20/h")),
    *("processes.bursts.sites=5000/mm^2", "processes.bursts.opening_rate=10/h"),
    *("processes.perfusion.closed_fraction=0.3", "processes.perfusion.closed_time=5min"),
    *("processes.cell_death.apoptosis=2/h", "processes.macrophages.death=2/h", "processes.migration.neutrophils.death=5/h"),
    *("processes.t_cells.arrival=2000/mm^2/h", "processes.heat.pulses=[{start: 4min, duration: 6min}]"),
    "processes.effect_radiation.fractions=[{start: 6min, dose: 1 Gy, beam: megavoltage}]",
)
MINUTES = 20
SEEN = (
    *("fields.nanoparticle", "fields.bound", "fields.interstitial_velocity_um_per_s", "fields.drug_in_cells_amol"),
    *("fields.decay_dose_Gy", "fields.thermal_dose_min", "fields.unrepaired_dose_Gy", "vessels.endothelium", "vessels.crossings"),
    *("vessels.segment_drug_mM", "traits.label_on_wall_bound", "traits.label_free_bone", "ledger.washed_out", "ledger.degraded"),
    *("populations.gaps.opened", "populations.arrested.load", "populations.macrophages.cargo", "populations.monocytes.cargo"),
    *("populations.t_cells.site", "populations.tumor_cells.phase", "populations.tumor_cells.damage"),
)
"""Where each process leaves a trace: without one of them the comparison would say nothing of it."""

DIGESTS = """
import hashlib
import sys
from tme_sim.config.build import build
from tme_sim.config.load import load, request
from tme_sim.numerics import threads
from tme_sim.simulation import Simulation
from tme_sim.state.state import flatten

threads.GRAIN = 10  # 8³ voxels would run on one thread otherwise
config = load(request(sys.argv[2:])).config
for n in (4, 2, 1):
    assert threads.set_threads(n) == n
    built = build(config)
    Simulation(built.state, built.processes, [], config.step_s, config.seed).run(60.0 * int(sys.argv[1]))
    arrays = flatten(built.state)
    assert threads.use_threads_for(arrays["fields.nanoparticle"][0, 0].size) == n
    print(hashlib.sha256(b"".join(name.encode() + arrays[name].tobytes() for name in sorted(arrays))).hexdigest())
"""


@pytest.fixture(scope="module", params=["stochastic", "continuum"])
def words(request):
    return (*WORDS, f"number={request.param}")


@pytest.fixture(scope="module")
def whole(words, simulate):
    simulation = simulate(*words)
    simulation.run(MINUTES * 60)
    return simulation


def test_every_process_has_done_something(whole):
    arrays = flatten(whole.state)
    assert [name for name in SEEN if not arrays[name].any()] == []
    assert len(whole.state.lattice.patches) == 3
    assert audit(whole.state) <= 1e-12


@pytest.mark.parametrize("at", [1, 7, 12])
def test_a_run_of_everything_goes_on_from_its_checkpoint(whole, words, configure, digests, tmp_path, at):
    config = configure(*words)
    for begun in (False, True):
        built = build(config)
        store = RunStore(tmp_path / "run") if begun else RunStore.create(tmp_path / "run")
        recorder = RunRecorder(store, 2, "full")
        checkpointer = Checkpointer(store, recorder, 1e9)
        simulation = Simulation(built.state, built.processes, [recorder, checkpointer], config.step_s, config.seed)
        if begun:
            arrays, content = store.load_checkpoint()
            restore(built.state, arrays, content["tick"])
            recorder.reload(content["time_s"], content["residual"])
        simulation.run((MINUTES if begun else at) * 60)
        checkpointer.save(built.state, simulation.time_s)
    assert digests(built.state) == digests(whole.state)


def test_one_two_and_four_threads_give_the_same_run_of_everything(words):
    four = os.environ | {"NUMBA_NUM_THREADS": "4"}
    command = [sys.executable, "-c", DIGESTS, str(MINUTES), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=four)
    assert done.returncode == 0, done.stderr
    found = done.stdout.split()
    assert len(found) == 3
    assert len(set(found)) == 1
