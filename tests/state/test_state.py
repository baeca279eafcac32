"""A state taken apart and put together again is the same."""

from __future__ import annotations

import numpy as np
import pytest

from tme_sim.state.state import flatten, restore


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_what_is_flattened_and_restored_is_the_same_to_the_bit(simulate, built, digests, number):
    words = (f"number={number}", "protocol.dose=1e13particles")
    simulation = simulate(*words)
    cells = simulation.state.populations["tumor_cells"]
    cells.columns["phase"] = np.zeros(len(cells), np.int8)  # as processes add columns, after the id
    simulation.run(1800)
    arrays = {name: data.copy() for name, data in flatten(simulation.state).items()}
    other = built(*words).state
    assert digests(other) != digests(simulation.state)
    restore(other, arrays, simulation.state.tick)
    assert digests(other) == digests(simulation.state)
    for kind, population in simulation.state.populations.items():
        assert list(other.populations[kind]) == list(population)
        assert other.populations[kind].next_id == population.next_id


def test_carriers_have_the_types_of_their_number_mode(built):
    for number, on_voxels, elsewhere in (("stochastic", np.int32, np.int64), ("continuum", np.float64, np.float64)):
        arrays = flatten(built(f"number={number}").state)
        assert arrays["fields.nanoparticle"].dtype == arrays["fields.bound"].dtype == on_voxels
        for name in ("body.plasma", "vessels.endothelium", "populations.macrophages.cargo", "ledger.entered", "ledger.injected"):
            assert arrays[name].dtype == elsewhere, name
