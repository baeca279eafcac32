"""The Mesa face does what Mesa does, on the arrays of the run."""

from __future__ import annotations

import copy
import inspect
import operator
import pickle
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mesa
import numpy as np
import pandas as pd
import pytest
from mesa.agent import AgentSet

from tme_sim.config.build import build
from tme_sim.config.load import load, request
from tme_sim.config.registry import KINDS
from tme_sim.mesa_model import Agents, AgentView, RemovedAgentError, TumorModel, agent_type
from tme_sim.simulation import Simulation
from tme_sim.state.errors import InputError, InputErrors, ModelError
from tme_sim.state.population import Population

SMALL = {"lattice.size": "120 um", "protocol.duration": "3 h", "protocol.dose": "1e12particles"}
DOCS = Path(__file__).parents[1] / "docs" / "mesa.md"


@pytest.fixture(scope="module")
def fresh() -> TumorModel:
    return TumorModel("quick", SMALL, rng=1)


@pytest.fixture
def model(fresh: TumorModel) -> TumorModel:
    """A model of its own before its first step."""
    return copy.deepcopy(fresh)


@pytest.fixture(scope="module")
def finished() -> TumorModel:
    made = TumorModel("quick", SMALL, rng=1)
    made.run_model()
    return made


# -- the model


def test_a_step_is_a_record_interval_and_running_ends_with_the_protocol(finished: TumorModel) -> None:
    assert (finished.steps, finished.time, finished.time_s, finished.running) == (3, 3.0, 3 * 3600, False)
    with pytest.raises(InputError, match=r"protocol\.duration"):
        finished.step()
    assert finished.state.tick == 180


def test_the_last_step_ends_where_the_protocol_does() -> None:
    model = TumorModel("quick", {**SMALL, "protocol.duration": "90 min"})
    model.run_model()
    assert (model.steps, model.time_s) == (2, 5400)


def test_a_model_ends_in_the_same_bits_as_a_run(finished: TumorModel, digests: Callable[..., dict[str, str]]) -> None:
    loaded = load(request(["quick", "seed=1", *(f"{key}={value}" for key, value in SMALL.items())]))
    start = build(loaded.config)
    Simulation(start.state, start.processes, [], loaded.config.step_s, 1).run(3 * 3600)
    assert digests(finished.state) == digests(start.state)


def test_rng_is_the_seed_of_the_run_and_of_mesas_generators() -> None:
    by_rng, by_key = TumorModel("quick", SMALL, rng=np.int64(7)), TumorModel("quick", {**SMALL, "seed": 7})
    assert by_rng.config.seed == by_key.config.seed == 7
    assert by_rng.rng.random(3).tolist() == by_key.rng.random(3).tolist() == np.random.default_rng(7).random(3).tolist()
    assert by_rng.random.random() == by_key.random.random()
    assert by_rng.agents.get("id") == by_key.agents.get("id")
    assert by_rng.agents.get("id") != TumorModel("quick", SMALL, rng=8).agents.get("id")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"experiment": "quikc"}, "experiment quikc"),
        ({"overrides": {"lattice.sise": "120 um"}}, "lattice.sise"),
        ({"overrides": "lattice.size"}, "overrides 'lattice.size': must be {key: value}; for batch_run a list"),
        ({"rng": 1.5}, "rng 1.5: must be a whole number"),
        ({"rng": np.random.default_rng(1)}, "rng Generator"),
    ],
)
def test_wrong_input_is_told_in_a_sentence(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises((InputError, InputErrors), match=re.escape(complaint)):
        TumorModel(**arguments)


def test_a_rule_that_makes_carriers_stops_the_run(model: TumorModel) -> None:
    agent = model.agents_by_type["macrophages"][0]
    agent.cargo = agent.cargo + 1
    with pytest.raises(ModelError, match="ledger"):
        model.step()


def test_summary_has_the_measures_of_a_run(finished: TumorModel) -> None:
    injected = sum(finished.amounts.values())
    assert finished.summary["injected"] == injected == 1e12
    assert finished.summary["plasma_percent_id"] == pytest.approx(100 * finished.amounts["plasma"] / injected)
    assert finished.summary["plasma_half_life_h"] is not None


def test_mesas_own_agents_have_no_place_in_arrays(model: TumorModel) -> None:
    with pytest.raises(TypeError, match="row of a population"):
        mesa.Agent(model)
    with pytest.raises(TypeError, match="create_agents"):
        agent_type("gaps")(model)


# -- one agent


def test_an_agent_shows_and_writes_its_row(model: TumorModel) -> None:
    cells = model.state.populations["macrophages"]
    agent = model.agents_by_type["macrophages"][5]
    z, y, x = np.unravel_index(cells["site"][5], model.state.lattice.sites)
    assert agent.unique_id == ("macrophages", 5)
    assert type(agent.site) is int
    assert agent.site == cells["site"][5]
    assert agent.pos == (15.0 * z + 7.5, 15.0 * y + 7.5, 15.0 * x + 7.5)
    agent.site, agent.cargo = 3, np.full((4, 2), 2)
    assert (cells["site"][5], cells["cargo"][5].sum(), cells["cargo"].sum()) == (3, 16, 16)
    assert agent.pos == (7.5, 7.5, 3 * 15 + 7.5)


def test_a_copied_array_cannot_be_mistaken_for_the_row(model: TumorModel) -> None:
    agent = model.agents_by_type["macrophages"][0]
    with pytest.raises(ValueError, match="read-only"):
        agent.cargo[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        model.agents_by_type["macrophages"]["site"][0] = 1


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("site", 1.5, TypeError),
        ("site", -1, ValueError),
        ("site", 8**3, ValueError),
        ("cargo", [1, 2, 3], ValueError),
        ("id", 4, AttributeError),
        ("pos", (1.0, 1.0, 1.0), AttributeError),
        ("unique_id", 1, AttributeError),
        ("mood", 1, AttributeError),
    ],
)
def test_a_value_that_does_not_fit_is_refused(model: TumorModel, name: str, value: Any, error: type[Exception]) -> None:
    agent = model.agents_by_type["macrophages"][0]
    before = copy.deepcopy(model.state.populations["macrophages"].columns)
    with pytest.raises(error):
        setattr(agent, name, value)
    with pytest.raises(error):
        model.agents_by_type["macrophages"].select(at_most=3).set(name if name != "mood" else "_mood", value)
    after = model.state.populations["macrophages"].columns
    assert all(np.array_equal(before[column], after[column]) for column in before)
    assert before.keys() == after.keys()


def test_a_view_follows_its_agent_to_another_row(model: TumorModel) -> None:
    cells = model.state.populations["macrophages"]
    agent = model.agents_by_type["macrophages"][9]
    site = agent.site
    model.agents_by_type["macrophages"][0].remove()
    assert (agent.site, cells["id"][8]) == (site, 9)
    cells.columns["site"][:] = cells["site"][::-1].copy()
    moved = agent.site
    cells.sort_by("site")
    assert agent.site == moved
    agent.site = 0
    assert cells["site"][cells["id"] == 9] == 0


def test_a_view_never_touches_the_row_that_another_agent_has_now(model: TumorModel) -> None:
    macrophages = model.agents_by_type["macrophages"]
    first, last, n = macrophages[0], macrophages[-1], len(macrophages)
    first.remove()
    last.remove()
    (newcomer,) = agent_type("macrophages").create_agents(model, 1, site=11)
    assert newcomer.unique_id == ("macrophages", n)
    before = model.state.populations["macrophages"]["site"].copy()
    for gone in (first, last):
        with pytest.raises(RemovedAgentError, match=f"macrophages {gone.unique_id[1]} has left"):
            gone.site  # noqa: B018
        with pytest.raises(RemovedAgentError):
            gone.site = 1
        with pytest.raises(RemovedAgentError):
            gone.pos  # noqa: B018
        assert gone not in model.agents
        gone.remove()  # a second time is nothing, as in Mesa
    assert np.array_equal(before, model.state.populations["macrophages"]["site"])
    assert len(macrophages) == n - 1


def test_agents_are_equal_by_who_they_are(model: TumorModel) -> None:
    one, same, other = model.agents[3], model.agents[3], model.agents[4]
    assert one is not same
    assert {one, same, other} == {one, other}
    assert one != TumorModel("quick", SMALL, rng=1).agents[3]
    assert hasattr(one, "cargo")
    assert not hasattr(model.agents_by_type["gaps"][0], "cargo")


def test_looking_at_agents_leaves_nothing_behind_in_mesa(model: TumorModel) -> None:
    assert len(list(model.agents)) == len(model.agents) > 100
    assert len(model._all_agents) == 0
    assert model._agents_by_type == {}


def test_new_agents_take_columns_and_zeros(model: TumorModel) -> None:
    n = len(model.agents_by_type["tumor_cells"])
    made = agent_type("tumor_cells").create_agents(model, 3, site=[4, 5, 6])
    assert made.get(["site", "id"]) == [[4, n], [5, n + 1], [6, n + 2]]
    assert made["cargo"].sum() == 0
    with pytest.raises(AttributeError, match="mood"):
        agent_type("tumor_cells").create_agents(model, 1, mood=1)
    model.step()
    assert len(model.agents_by_type["tumor_cells"]) == n + 3


def test_a_population_of_ones_own_is_there_for_mesa(model: TumorModel) -> None:
    followed = model.agents
    n = len(followed)
    model.state.populations["t_cells"] = Population({"site": np.arange(4)})
    assert len(followed) == n + 4
    assert model.agents_by_type["t_cells"].get("site") == [0, 1, 2, 3]
    assert agent_type("t_cells") in model.agent_types
    model.step()


def test_a_process_computes_anew_what_it_kept_of_agents_that_changed(model: TumorModel) -> None:
    twin = TumorModel("quick", SMALL, rng=1)
    for each in (model, twin):
        each.step()
    gaps = model.agents_by_type["gaps"]
    gaps.shuffle().select(at_most=0.9).do("remove")
    before = [each.state.ledger.entered[0, 1].sum() for each in (model, twin)]
    for each in (model, twin):
        each.step()
    after = [each.state.ledger.entered[0, 1].sum() for each in (model, twin)]
    assert 0 < after[0] - before[0] < 0.3 * (after[1] - before[1])
    twin.agents_by_type["gaps"].set("radius_um", 0.05)  # under a hundredth of the conductance
    twin.step()
    assert twin.state.ledger.entered[0, 1].sum() - after[1] < 0.05 * (after[1] - before[1])


# -- sets: every method, on the arrays and on Mesa's own agents with the same attributes


class Plain(mesa.Agent):  # type: ignore[misc]
    """An agent of Mesa's with the attributes of a view."""

    def __init__(self, model: mesa.Model, view: AgentView) -> None:
        super().__init__(model)
        self.unique_id, self.population, self.pos = view.unique_id, view.population, view.pos
        for name in model.source.state.populations[view.population]:
            setattr(self, name, getattr(view, name))


Sets = tuple[Any, Any]


@pytest.fixture
def both(model: TumorModel) -> Iterator[Sets]:
    """Forty agents of three populations, as an array-backed set and as Mesa's own set of objects."""
    some = model.agents.select(model.agents["id"] < 16)
    for agent in some:
        if agent.population != "gaps":
            agent.cargo = np.full((4, 2), agent.id % 3)
    some.set("age", 0)
    plain = mesa.Model(rng=1)
    plain.source = model
    for view in some:
        Plain(plain, view)
    yield some, AgentSet(list(plain.agents), plain.random)  # noqa: PT022 -- the set is weak, `plain` holds its agents meanwhile


def who(agents: Any) -> list[Any]:
    return [agent.unique_id for agent in agents]


def changed(agents: Any, change: Callable[[Any], Any]) -> Any:
    change(agents)
    return who(agents)


def older(agent: Any, by: int = 1) -> Any:
    agent.age += by
    return agent.age + agent.id


def cells(agents: Any) -> Any:
    return agents.select(lambda agent: agent.population != "gaps")


def at_random(agents: Any) -> Any:
    """What does not depend on which order was drawn, and that one was drawn."""
    return len(agents), sorted(who(agents)), who(agents) != sorted(who(agents))


def refused(call: Callable[[], Any], *errors: type[Exception]) -> bool:
    with pytest.raises(errors):
        call()
    return True


CHECKS: dict[str, Callable[[Any], Any]] = {
    "__init__": lambda s: who(type(s)(list(s)[:4], s.random)),
    "_from_iterable": lambda s: who(type(s)._from_iterable(list(s)[3:7])),
    "_update": lambda s: changed(s, lambda a: a._update(list(a)[2:5])),
    "__len__": len,
    "__iter__": who,
    "__contains__": lambda s: [list(s)[3] in s, "nobody" in s, list(s)[3] in s.select(at_most=3)],
    "__getitem__": lambda s: [s[2].unique_id, s[-1].unique_id, who(s[4:8]), refused(lambda: s[len(s)], IndexError)],
    "__reversed__": lambda s: who(reversed(s)),
    "__getstate__": lambda s: sorted(who(copy.copy(s))),
    "__setstate__": lambda s: who(copy.copy(s)),
    "select": lambda s: [
        who(s.select()),
        who(s.select(lambda a: a.id % 2)),
        who(s.select(lambda a: a.id > 3, at_most=5)),
        who(s.select(at_most=0.3)),
        who(s.select(at_most=1)),
        who(s.select(at_most=2.5)),
        who(s.select(agent_type=mesa.Agent)),
        who(s.select(agent_type=type(s[0]), at_most=12))[:12],
        changed(s, lambda a: a.select(lambda b: b.id < 9, inplace=True)),
    ],
    "shuffle": lambda s: [
        at_random(s.shuffle()),
        who(s) == sorted(who(s)),
        changed(s, lambda a: a.shuffle(inplace=True)) == who(s),
    ],
    "shuffle_do": lambda s: [who(s.shuffle_do(older, by=2)), s.get("age"), who(s.shuffle_do("step"))],
    "sort": lambda s: [
        who(s.sort("id")),
        who(s.sort("id", ascending=True)),
        who(s.sort(lambda a: -a.id % 5)),
        who(s.sort("population")),
        who(s.sort("unique_id", ascending=True)),
        who(s.sort("pos")),
        changed(s, lambda a: a.sort("id", inplace=True)),
    ],
    "do": lambda s: [who(s.do(older, 3).do(older)), s.get("age"), who(s.do("step"))],
    "map": lambda s: [s.map(older, by=2), s.map("__hash__") != [], s.get("age")],
    "get": lambda s: [
        s.get("id"),
        s.get(["id", "population"]),
        s.get("pos"),
        s.get("radius_um", handle_missing="default", default_value=-1),
        s.get(["radius_um", "id"], "default"),
        [c.tolist() for c in cells(s).get("cargo")],
        s.get([]),
        refused(lambda: s.get("radius_um"), AttributeError),
        refused(lambda: s.get("id", handle_missing="perhaps"), ValueError),
    ],
    "set": lambda s: [s.set("age", 4).get("age"), s.set("calm", True).get("calm"), s.set("weight", 0.5).agg("weight", sum)],
    "agg": lambda s: [
        s.agg("id", max),
        s.agg("id", [min, sum, np.mean, len]),
        s.agg("population", set),
        s.agg("age", any),
        cells(s).agg("cargo", sum).tolist(),
        cells(s).agg("cargo", np.sum),
        cells(s).agg("site", np.median),
        refused(lambda: s.agg("radius_um", max), AttributeError),
        refused(lambda: s.select(at_most=0).agg("id", max), ValueError),
    ],
    "groupby": lambda s: [
        s.groupby("population").count(),
        list(s.groupby(lambda a: a.id % 3).groups),
        {k: who(v) for k, v in s.groupby("id")},
        {k: who(v) for k, v in s.groupby("id", result_type="list")},
        [type(v) is list for _, v in s.groupby("id", result_type="list")],
        s.groupby("population").agg("id", max),
        s.groupby("population", result_type="list").agg("id", sum),
        s.groupby("population").map(len),
        s.groupby("population").map("agg", "id", np.mean),
        len(s.groupby("population").do("do", older).do(len)),
        s.get("age"),
    ],
    "add": lambda s: [changed(s.select(at_most=3), lambda a, b=s[7]: a.add(b)), changed(s, lambda a: a.add(a[0]))],
    "discard": lambda s: [changed(s, lambda a, b=s[1]: (a.discard(b), a.discard(b)))],
    "remove": lambda s: [changed(s, lambda a: a.remove(a[2])), refused(lambda: s.select(at_most=2).remove(s[5]), KeyError)],
    "pop": lambda s: [s.pop().unique_id, who(s)],
    "clear": lambda s: changed(s, lambda a: a.clear()),
    "count": lambda s: [s.count(s[3]), s.count("nobody")],
    "index": lambda s: [s.index(s[3]), refused(lambda: s.index("nobody"), ValueError)],
    "isdisjoint": lambda s: [s.isdisjoint(s[:2]), s.select(at_most=2).isdisjoint(s[3:5])],
    "__and__": lambda s: [who(s.select(at_most=5) & s[8:2:-1])],
    "__rand__": lambda s: who(s.select(at_most=5).__rand__(s[8:2:-1])),
    "__or__": lambda s: who(s.select(at_most=3) | [*s[1:6], s[5]]),
    "__ror__": lambda s: sorted(who(s.select(at_most=3).__ror__(s[1:6]))),
    "__sub__": lambda s: who(s.select(at_most=5) - s[1:3]),
    "__rsub__": lambda s: who(s.select(at_most=3).__rsub__(s[1:6])),
    "__xor__": lambda s: who(s.select(at_most=4) ^ s[2:6]),
    "__rxor__": lambda s: sorted(who(s.select(at_most=4).__rxor__(s[2:6]))),
    "__iand__": lambda s: sorted(who(operator.iand(s, s.select(at_most=4)))),
    "__ior__": lambda s: who(operator.ior(s.select(at_most=2), s.select(at_most=4))),
    "__isub__": lambda s: who(operator.isub(s, s.select(at_most=4))),
    "__ixor__": lambda s: who(operator.ixor(s.select(at_most=2), s.select(at_most=4))),
    "__eq__": lambda s: [s == s.shuffle(), s == s.select(at_most=4), s == 5, s == set(s)],
    "__le__": lambda s: [s.select(at_most=2) <= s, s <= s.select(at_most=2), s <= s.select()],
    "__lt__": lambda s: [s.select(at_most=2) < s, s < s.shuffle()],
    "__ge__": lambda s: [s.select(at_most=2) >= s, s >= s.select(at_most=2), s >= set(s)],
    "__gt__": lambda s: [s > s.select(at_most=2), s > s.shuffle()],
    "to_list": lambda s: who(s.to_list() if hasattr(s, "to_list") else list(s)),
    "copy": lambda s: who(s.copy() if hasattr(s, "copy") else copy.copy(s)),
    "__copy__": lambda s: who(copy.copy(s)),
    "random": lambda s: s.random.random(),
}

NO_METHODS = {"__module__", "__doc__", "__dict__", "__weakref__", "__abstractmethods__", "__slots__", "__hash__", "__class__"} | {
    "_abc_impl", "_hash", "__class_getitem__", "__annotations__", "__orig_bases__", "__parameters__", "__type_params__",
    "__firstlineno__", "__static_attributes__", "__subclasshook__", "__init_subclass__",
}  # fmt: skip
MESAS_METHODS = {name for name in dir(AgentSet) if getattr(AgentSet, name) is not getattr(object, name, None)} - NO_METHODS


def test_every_method_of_mesas_agent_set_is_checked() -> None:
    assert MESAS_METHODS - CHECKS.keys() == set()


def test_nothing_inherited_looks_for_mesas_store_of_agents() -> None:
    mesas = {name: member for base in AgentSet.__mro__ for name, member in vars(base).items() if "mesa" in base.__module__}
    inherited = [name for name, member in mesas.items() if inspect.isfunction(member) and getattr(Agents, name) is member]
    assert "select" in mesas
    assert [name for name in inherited if "_agents" in inspect.getsource(mesas[name])] == []


@pytest.mark.filterwarnings("ignore:.*AgentSet:PendingDeprecationWarning")  # Mesa 3.5, of indices into its own sets
@pytest.mark.parametrize("method", CHECKS)
def test_a_method_does_on_arrays_what_it_does_on_mesas_agents(method: str, both: Sets) -> None:
    ours, theirs = both
    assert CHECKS[method](ours) == CHECKS[method](theirs)


def test_a_set_keeps_its_members_and_loses_those_that_leave(model: TumorModel) -> None:
    followed, fixed = model.agents, model.agents.select(agent_type="macrophages").shuffle()
    members, n = who(fixed), len(followed)
    fixed[0].remove()
    agent_type("macrophages").create_agents(model, 2, site=1)
    assert who(fixed) == members[1:]
    assert len(followed) == n + 1
    assert fixed["id"].tolist() == [number for _, number in members[1:]]
    assert who(pickle.loads(pickle.dumps(fixed))) == members[1:]


def test_a_model_that_was_pickled_or_copied_goes_on_by_itself(model: TumorModel) -> None:
    model.step()
    twins = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
    model.step()
    for twin in twins:
        assert (twin.steps, twin.time_s) == (1, 3600)
        twin.step()
        assert twin.amounts == model.amounts
        assert who(twin.agents) == who(model.agents)


def test_dropping_from_a_set_leaves_the_model_alone(model: TumorModel) -> None:
    n = len(model.agents)
    taken = model.agents
    taken.discard(taken[0])
    taken.select(at_most=3, inplace=True)
    assert (len(taken), len(model.agents)) == (3, n)


def test_removal_of_many_takes_all_of_them_and_only_them(model: TumorModel) -> None:
    n = len(model.agents)
    odd = model.agents.select(model.agents["id"] % 2 == 1)
    gone = len(odd)
    odd.do("remove")
    assert (len(odd), len(model.agents)) == (0, n - gone)
    assert not (model.agents["id"] % 2).any()
    for agent in model.agents.select(at_most=10):
        agent.remove()
    assert len(model.agents) == n - gone - 10
    model.remove_all_agents()
    assert (len(model.agents), list(model.agents), model.agents.get("id")) == (0, [], [])


def test_agents_removed_on_the_way_are_not_called(model: TumorModel) -> None:
    called = []

    def remove_next(agent: Any) -> None:
        called.append(agent.id)
        population = model.agents_by_type["macrophages"]
        place = population.index(agent)
        if place + 1 < len(population):
            population[place + 1].remove()

    n = len(model.agents_by_type["macrophages"])
    model.agents_by_type["macrophages"].do(remove_next)
    assert called == list(range(0, n, 2))


def test_an_array_of_bool_selects_as_a_function_does(model: TumorModel) -> None:
    agents = model.agents.shuffle()
    assert who(agents.select(agents["id"] > 7, at_most=9)) == who(agents.select(lambda a: a.id > 7, at_most=9))
    with pytest.raises(ValueError, match="bool"):
        agents.select(agents["id"])
    with pytest.raises(ValueError, match="elements"):
        agents.select(np.ones(3, bool))


def test_a_population_goes_by_name_or_by_class(model: TumorModel) -> None:
    by_name, by_class = model.agents_by_type["gaps"], model.agents_by_type[agent_type("gaps")]
    assert who(by_name) == who(by_class) == who(model.agents.select(agent_type="gaps"))
    assert set(model.agent_types) >= {type(agent) for agent in model.agents}
    assert {kind.population for kind in model.agent_types} == set(model.state.populations)
    with pytest.raises(KeyError, match="gapz"):
        model.agents_by_type["gapz"]
    with pytest.raises(KeyError, match="gapz"):
        model.agents.select(agent_type="gapz")


def test_orders_are_the_same_for_the_same_seed_and_leave_the_run_alone(digests: Callable[..., dict[str, str]]) -> None:
    first, again, other = (TumorModel("quick", SMALL, rng=seed) for seed in (1, 1, 2))
    order = who(first.agents.shuffle())
    assert order == who(again.agents.shuffle())
    assert order != who(first.agents.shuffle())
    assert order != who(other.agents.shuffle())
    called: list[Any] = []
    again.agents.shuffle_do(lambda agent: called.append(agent.unique_id))
    assert called != order
    again.agents.shuffle(inplace=True)
    untouched = TumorModel("quick", SMALL, rng=1)
    for each in (again, untouched):
        each.step()
    assert digests(again.state) == digests(untouched.state)


def test_an_empty_set_works_and_one_without_a_model_is_refused(model: TumorModel) -> None:
    nobody = model.agents.select(at_most=0)
    assert (len(nobody), list(nobody), nobody.get("id"), nobody.agg("id", sum), nobody.groupby("id").count()) == (
        0,
        [],
        [],
        0,
        {},
    )
    assert len(nobody.shuffle().sort("id").do("step").set("age", 1)) == 0
    with pytest.raises(ValueError, match="must know its model"):
        Agents([])
    with pytest.raises(TypeError, match="not an agent of this model"):
        nobody.add(TumorModel("quick", SMALL).agents[0])


# -- collecting


def test_the_collector_agrees_with_the_arrays_at_every_step() -> None:
    model = TumorModel("quick", SMALL, rng=1)
    held = {"cargo": lambda a: int(a.cargo.sum()), "site": "site"}
    model.datacollector = mesa.DataCollector(
        model_reporters={"time_s": "time_s", "plasma": lambda m: m.amounts["plasma"], "held": [_held, [model]]},
        agent_reporters={"id": "id", "kind": lambda a: a.population},
        agenttype_reporters={agent_type("macrophages"): held},
    )
    model.datacollector.collect(model)
    expected, plasma = [model.agents_by_type["macrophages"]["cargo"].sum(axis=(1, 2))], [model.amounts["plasma"]]
    there = Counter({kind: len(population) for kind, population in model.state.populations.items()})
    while model.running:
        model.step()
        expected.append(model.agents_by_type["macrophages"]["cargo"].sum(axis=(1, 2)))
        plasma.append(int(model.state.body.pools["plasma"].sum()))
        there.update({kind: len(population) for kind, population in model.state.populations.items()})
    by_step = model.datacollector.get_model_vars_dataframe()
    assert by_step["time_s"].tolist() == [0, 3600, 7200, 10800]
    assert by_step["plasma"].tolist() == plasma
    assert by_step["held"].tolist() == [array.sum() for array in expected]
    macrophages = model.datacollector.get_agenttype_vars_dataframe(agent_type("macrophages"))
    assert np.array_equal(macrophages["cargo"].to_numpy(), np.concatenate(expected))
    assert expected[-1].sum() > 0
    last = macrophages.xs(3, level="Step")
    assert np.array_equal(last["site"].to_numpy(), model.state.populations["macrophages"]["site"])
    assert list(last.index) == [("macrophages", number) for number in range(len(last))]
    everybody = model.datacollector.get_agent_vars_dataframe()
    assert everybody["kind"].value_counts().to_dict() == +there


def _held(model: TumorModel) -> int:
    return int(model.agents_by_type["macrophages"]["cargo"].sum())


def test_the_collector_that_comes_with_the_model_keeps_all_amounts(finished: TumorModel) -> None:
    table = finished.datacollector.get_model_vars_dataframe()
    assert table["time_h"].tolist() == [0, 1, 2, 3]
    assert (table.drop(columns="time_h").sum(axis=1)[1:] == 1e12).all()
    assert table.iloc[-1].drop("time_h").to_dict() == finished.amounts


def run_batch(processes: int) -> pd.DataFrame:
    parameters = {"experiment": "quick", "overrides": [{**SMALL, "seed": 5}, {**SMALL, "seed": 6}]}
    results = mesa.batch_run(TumorModel, parameters, processes, data_collection_period=1, display_progress=False)
    table = pd.DataFrame(results)
    return table.sort_values(["RunId", "Step"]).reset_index(drop=True)


def test_a_batch_gives_the_arrays_of_its_models() -> None:
    table = run_batch(1)
    for run, seed in enumerate((5, 6)):
        model = TumorModel("quick", SMALL, rng=seed)
        rows = table[table["RunId"] == run]
        for step in range(3):
            assert rows["plasma"].tolist()[step] == model.amounts["plasma"]
            assert rows["macrophages"].tolist()[step] == model.amounts["macrophages"]
            model.step()
    assert table["plasma"].nunique() > 3


@pytest.mark.slow  # each process imports and compiles for itself
def test_a_batch_in_two_processes_is_the_batch_in_one() -> None:
    pd.testing.assert_frame_equal(run_batch(2), run_batch(1))


# -- the documents


@pytest.fixture
def documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The Python of docs/mesa.md, with the files it shows in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    blocks = []
    for language, code in re.findall(r"```(\w+)\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL):
        named = re.match(r"# (\S+\.(?:py|yaml))\n", code)
        if named:
            path = tmp_path / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code, encoding="utf-8")
        elif language == "python":
            blocks.append(code)
    yield blocks
    KINDS["process"].pop("polarisation", None)
    sys.modules.pop("polarisation", None)


def test_the_documented_script_runs_and_prints_a_table(documented: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    script = documented[0]
    assert len([line for line in script.splitlines() if line.strip()]) <= 15
    exec(script, {"__name__": "script"})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["hours", "loaded"]
    assert [line.split()[1] for line in lines[1:5]] == ["1.0", "2.0", "3.0", "4.0"]
    assert len(lines) == 1 + 4 + 3


def test_the_documented_rule_agrees_with_the_documented_process(documented: list[str]) -> None:
    names: dict[str, Any] = {"__name__": "script"}
    for code in documented[1:3]:
        exec(code, names)
    by_rule, by_process = names["macrophages"]["polarised"], names["marked"]
    assert by_rule.tolist() == by_process.tolist()
    at_walls = sum(agent.site in names["perivascular"] for agent in names["macrophages"])
    assert 0 < by_rule.sum() < at_walls
    assert names["model"].amounts == names["by_process"].amounts


def test_the_documented_batch_runs(documented: list[str]) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(documented[3], names)
    plasma = [row["plasma"] for row in names["results"]]
    assert len(plasma) == len(set(plasma)) + 3 > 4  # four models, whose plasma differs but before the dose
