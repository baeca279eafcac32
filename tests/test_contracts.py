"""What every registered process keeps to, whatever its mechanism."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from tme_sim.config.build import build
from tme_sim.config.registry import known
from tme_sim.processes.base import Process, StateView, Streams
from tme_sim.simulation import Simulation
from tme_sim.state.state import flatten
from tme_sim.state.variables import PHAGOCYTES, VARIABLES

PROCESSES = known("process")
NUMBERS = ("stochastic", "continuum")
EVERYTHING = f"processes=[{','.join(PROCESSES)}]"
STEPS = 100  # enough that every place holds something


@pytest.fixture(scope="module", params=NUMBERS)
def filled(request, configure):
    """A run of all processes after a while, with its configuration."""
    fast = ["nanoparticle.uptake.macrophages.degradation=1/h", "nanoparticle.uptake.macrophages.maturation=10/h"]
    fast += [f"processes.phagocytes.{kind}.arrest=2um/s" for kind in PHAGOCYTES]
    fast += [f"processes.phagocytes.{kind}.crossing=2/h" for kind in PHAGOCYTES]
    fast += ["tissue.doubling_time=3h", "processes.cell_death.apoptosis=0.3/h"]
    fast += ["nanoparticle=cpc634_zr89", "protocol.dose=1e13particles"]  # its label is active
    config = configure(EVERYTHING, f"number={request.param}", "seed=5", *fast)
    start = build(config)
    simulation = Simulation(start.state, start.processes, [], config.step_s, config.seed)
    for _ in range(STEPS):
        simulation.step()
    return simulation, config


def apply(process: Process, state, step_s, seed=5, name="name"):
    view = StateView(state, process.reads, process.writes, state.tick * 60.0)
    process.step(view, step_s, Streams(seed, name, state.tick))


def entry(variable):
    """Unit and meaning of a variable in the glossary, which writes NAME for whatever a configuration may name."""
    home, _, *column = variable.split(".")
    general = ".".join([home, "NAME", *column])
    return VARIABLES.get(variable) or VARIABLES.get(general)


def tables(declared):
    """The populations that are declared as a whole, `populations.NAME`, to add or remove agents."""
    return {name for name in declared if name.startswith("populations.") and name.count(".") == 1}


def one_by_one(declared, arrays):
    """The variables that are declared, with all columns of those populations."""
    whole = tables(declared)
    return (set(declared) - whole) | {name for name in arrays if name.startswith(tuple(f"{table}." for table in whole))}


def is_carrier(variable):
    return variable.startswith("ledger.") or "carriers" in (entry(variable) or ("", ""))[1]


def test_the_filled_state_holds_carriers_wherever_they_can_be(filled):
    """The tests below would show little on empty arrays."""
    assert set(filled[0].processes) == set(PROCESSES)
    for name, array in flatten(filled[0].state).items():
        assert array.any() or not is_carrier(name), name
    assert sum(map(is_carrier, flatten(filled[0].state))) > 15


@pytest.mark.parametrize("name", PROCESSES)
def test_no_time_changes_nothing(filled, digests, name):
    state = copy.deepcopy(filled[0].state)
    before = digests(state)
    apply(filled[0].processes[name], state, 0.0)
    assert digests(state) == before


@pytest.mark.parametrize("name", PROCESSES)
def test_the_same_seed_gives_the_same_bits_and_another_one_moves_others(filled, digests, name):
    process, found = filled[0].processes[name], []
    for seed in (5, 5, 6):
        state = copy.deepcopy(filled[0].state)
        apply(process, state, 600.0, seed)
        found.append(digests(state))
    assert found[0] == found[1]
    if any(is_carrier(variable) for variable in one_by_one(process.writes, found[0])):
        agents_come_and_go = bool(tables(process.writes))
        assert (found[0] == found[2]) == (state.number == "continuum" and not agents_come_and_go)


@pytest.mark.parametrize("name", PROCESSES)
def test_a_fresh_instance_does_what_a_used_one_does(filled, digests, name):
    """Nothing is kept that cannot be recomputed bit for bit from the state."""
    simulation, config = filled
    used, fresh = (copy.deepcopy(simulation.state) for _ in range(2))
    apply(simulation.processes[name], used, 300.0)
    apply(build(config).processes[name], fresh, 300.0)
    assert digests(used) == digests(fresh)


@pytest.mark.parametrize("name", PROCESSES)
def test_everything_stays_finite_and_no_carrier_is_owed(filled, name):
    state = copy.deepcopy(filled[0].state)
    for _ in range(5):
        apply(filled[0].processes[name], state, 3600.0)
        state.tick += 1
    for variable, array in flatten(state).items():
        assert np.isfinite(array).all(), variable
        assert array.min(initial=0) >= 0 or not is_carrier(variable), variable


@pytest.mark.parametrize("name", PROCESSES)
def test_only_what_is_declared_changes(filled, digests, name):
    """The ledger is tallied by whoever moves something between body and lattice; it is no variable of any process."""
    process, state = filled[0].processes[name], copy.deepcopy(filled[0].state)
    before = digests(state)
    for _ in range(5):
        apply(process, state, 300.0)
        state.tick += 1
    after = digests(state) | {"tick": before["tick"]}
    changed = {variable for variable in after if after[variable] != before.get(variable)}
    writes = one_by_one(process.writes, after)
    assert changed or not any(map(is_carrier, writes))  # a steady state may stay as it is
    assert {variable for variable in changed if not variable.startswith("ledger.")} <= writes
    assert set(before) == set(after)


@pytest.mark.parametrize("name", PROCESSES)
def test_what_is_not_declared_cannot_be_seen_and_what_is_read_cannot_be_written(filled, name):
    process, state = filled[0].processes[name], copy.deepcopy(filled[0].state)
    view = StateView(state, process.reads, process.writes, 0.0)
    always = {"vessels.voxel", "vessels.surface_um2"}
    homes = {"fields": view.fields, "body": view.body, "vessels": view.vessels, "populations": view.populations}
    homes |= {"drug": view.drug, "traits": view.traits}
    for variable in flatten(state):
        home, key = variable.split(".", 1)
        if home == "ledger" or key.endswith((".id", ".next_id")):
            continue
        keys = key.split(".")
        if variable not in process.reads | process.writes | always:
            with pytest.raises(KeyError):
                see(homes[home], keys)
            continue
        array = see(homes[home], keys)
        assert array.flags.writeable == (variable in process.writes)
        if variable not in process.writes:
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0


def see(mapping, keys):
    for key in keys:
        mapping = mapping[key]
    return mapping


@pytest.mark.parametrize("name", PROCESSES)
def test_the_table_of_a_population_is_not_handed_to_who_did_not_declare_it(filled, name):
    process = filled[0].processes[name]
    view = StateView(filled[0].state, process.reads, process.writes, 0.0)
    for kind in ("gaps", "macrophages"):
        if f"populations.{kind}" not in process.writes:
            with pytest.raises(KeyError, match="not declared"):
                view.population(kind)


@pytest.mark.parametrize("name", PROCESSES)
def test_what_is_declared_exists_and_is_in_the_glossary(filled, name):
    process, arrays = filled[0].processes[name], set(flatten(filled[0].state))
    reads, writes = (one_by_one(declared, arrays) for declared in (process.reads, process.writes))
    assert reads | writes <= arrays
    assert not reads & writes
    for variable in process.reads | process.writes:
        assert entry(variable), variable


WITHOUT_WAY_BACK = "processes=[circulation,transcytosis,transport,binding,uptake,release]"


def test_switching_a_process_off_leaves_the_draws_of_the_others(simulate, digests):
    """Without gaps nothing of the tissue acts on plasma or wall, so these stay the same to the bit without binding and uptake."""
    words = ("number=stochastic", "protocol.dose=1e12particles", WITHOUT_WAY_BACK)
    found = []
    for extra in (
        (),
        ("processes.binding.enabled=false",),
        ("processes.binding.enabled=false", "processes.uptake.enabled=false"),
    ):
        simulation = simulate(*words, *extra)
        simulation.run(2 * 3600)
        found.append(digests(simulation.state))
    for name in ("body.plasma", "body.kupffer", "body.spleen", "vessels.endothelium", "ledger.entered", "ledger.returned"):
        assert found[0][name] == found[1][name] == found[2][name], name
    assert len({each["fields.nanoparticle"] for each in found}) == 3


def test_switching_a_process_off_leaves_what_the_others_drew_at_the_start(built, digests):
    words = (EVERYTHING, "number=stochastic", "nanoparticle=cpc634_zr89")
    start = built(*words)
    whole = digests(start.state)
    for off in PROCESSES:
        if off in ("circulation", "gaps", "drug", "heat"):  # refused: others of the run need what it makes
            continue
        part = digests(built(*words, f"processes.{off}.enabled=false").state)
        assert len(part) >= 0.7 * len(whole)
        added_to = "populations.gaps." if off == "bursts" else "nothing"
        others = {name for name in part.keys() - start.processes[off].writes if not name.startswith(added_to)}
        assert {name: whole[name] for name in others} == {name: part[name] for name in others}
