"""A run that fails says in one line what, where and when; its last checkpoint stays, and a run resumed from it ends well."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from tme_sim.files.run_store import RunStore
from tme_sim.processes.oxygen import Oxygen
from tme_sim.processes.transport import Transport
from tme_sim.processes.uptake import Uptake
from tme_sim.recording import Checkpointer
from tme_sim.runner import execute
from tme_sim.state.errors import ModelError

AT_S = 240.0


def at_time(action):
    """A step that does something more from AT_S on, before what it does."""

    def change(step):
        def changed(self, state, dt_s, streams):
            if state.time_s >= AT_S:
                action(self, state)
            return step(self, state, dt_s, streams)

        return changed

    return change


def not_a_number(process, state):
    state.fields["nanoparticle"][1, 0, 2, 3, 1] = np.nan


def negative_diffusivity(process, state):
    process.diffusivity_um2_per_s = -1.0
    process._rates = None


def solver_stops_early(process, state):
    process.wall_permeability_um_per_s *= 2  # another balance than the one that it starts from
    for solver in process._balance._solvers:
        solver.solve_saturable = partial(solver.solve_saturable, at_most=1)


CAUSES = {
    "nan": (Uptake, not_a_number, r"^ledger: .* at tick 5: fields\.nanoparticle at voxel \(2, 3, 1\) \(z, y, x\)$"),
    "diffusivity": (Transport, negative_diffusivity, r"^transport at 240 s: .*diffusivity.*: must be finite and not negative"),
    "solver": (
        Oxygen,
        solver_stops_early,
        r"^oxygen: oxygen_mmHg at voxel \(\d, \d, \d\) \(z, y, x\) and 240 s: no balance after",
    ),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_a_failure_is_one_line_and_the_last_checkpoint_stays(configure, tmp_path, monkeypatch, cause):
    process, action, said = CAUSES[cause]
    config = configure(
        *("number=continuum", "step=60s", "protocol.duration=6min", "record.interval=1min", "record.level=series"),
        *("processes=[circulation,gaps,transport,uptake,oxygen]", "processes.uptake.interval=60s"),
        *("processes.oxygen.interval=60s", "report=false"),
    )
    folder = tmp_path / "run"
    monkeypatch.setattr(Checkpointer, "record", Checkpointer.save)  # at every step
    with monkeypatch.context() as patch:
        patch.setattr(process, "step", at_time(action)(process.step))
        with pytest.raises(ModelError, match=said) as failure:
            execute(config, folder, threads=1)
    assert "\n" not in str(failure.value)
    told = json.loads((folder / "run.json").read_text())
    assert (told["status"], told["error"], told["at_s"]) == ("failed", str(failure.value), AT_S + 60.0 * (cause == "nan"))
    assert str(failure.value) in (folder / "log.txt").read_text().splitlines()[-1]
    arrays, content = RunStore(folder).load_checkpoint()
    assert content["time_s"] == AT_S
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert execute(config, folder, threads=1, resume=True).status == "done"
