"""Mesa's AgentSet over arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
from mesa.agent import AgentSet
from numpy.typing import NDArray

from tme_sim.mesa_model.roster import ID_BITS, ID_MASK, NOBODY, Keys, Roster, Rows, as_python, same
from tme_sim.mesa_model.view import AgentView, agent_type
from tme_sim.state.population import Column

try:
    from mesa.agentset import GroupBy  # since Mesa 3.5
except ImportError:
    from mesa.agent import GroupBy

if TYPE_CHECKING:
    from tme_sim.mesa_model.model import TumorModel

Method = str | Callable[..., Any]

ARRAY_FORM: dict[Any, Callable[[Column], Any]] = {
    sum: partial(np.sum, axis=0),
    min: np.min,
    max: np.max,
    any: np.any,
    all: np.all,
}
"""Built-in functions walk an array element by element, so `agg` takes numpy's for them."""


class Agents(AgentSet):  # type: ignore[misc]
    """An ordered set of agents: Mesa's AgentSet on an array of keys, and `agents["site"]` for a column as a read-only array.

    `model.agents` and `model.agents_by_type[…]` are new sets that follow the model until they are changed in place; any other set
    keeps its members in their order and loses those that leave the model. Adding to a set or dropping from it does not
    touch the model. Random orders come from `model.rng`.

    What names a column takes milliseconds for a million agents (`agg`, `set`, `select` by type or by an array of bool) or a tenth
    of a second (`get`, `sort`); a function of yours is called with a view at a time, some microseconds each.
    """

    model: TumorModel
    _members: Keys | None
    _populations: tuple[str, ...] | None
    _seen: tuple[Column, ...]
    _placed: list[tuple[str, Rows, NDArray[np.int64]]] | None

    def __init__(self, agents: Iterable[AgentView], random: Random | None = None) -> None:
        views = list(agents)
        if not views:
            raise ValueError("an empty set must know its model; model.agents.select(at_most=0) makes one")
        self.model, self._populations = views[0].model, None
        self._update(views)

    @classmethod
    def _of(cls, model: TumorModel, keys: Keys | None, populations: tuple[str, ...] | None = None) -> Agents:
        """A set of these members; without keys, of whoever is in these populations (None: in any) at the time."""
        made: Agents = cls.__new__(cls)
        made.model, made._populations, made._members = model, populations, keys
        made._seen, made._placed = model.roster.ids(), None
        return made

    @property
    def random(self) -> Random:
        """The model's generator of the standard library, which Mesa has beside `rng`."""
        generator: Random = self.model.random
        return generator

    @property
    def _roster(self) -> Roster:
        return self.model.roster

    @property
    def _keys(self) -> Keys:
        """Members in their order, without those that have left the model."""
        if self._members is None:
            return self._roster.keys(self._followed)
        if not same(self._seen, self._roster.ids()):
            self._become(self._roster.alive(self._members))
        return self._members

    @property
    def _followed(self) -> tuple[str, ...]:
        return self._roster.populations if self._populations is None else self._populations

    def _become(self, keys: Keys) -> Agents:
        self._members, self._seen, self._placed = keys, self._roster.ids(), None
        return self

    def _update(self, agents: Iterable[AgentView]) -> Agents:
        return self._become(self._keys_of(agents, strict=True))

    def _result(self, keys: Keys, inplace: bool) -> Agents:
        return self._become(keys) if inplace else Agents._of(self.model, keys)

    def _parts(self) -> Iterator[tuple[str, Rows, Rows]]:
        """By population: its name, the places of its agents in the set, their rows."""
        if self._members is not None:
            keys = self._keys
            self._placed = self._placed or list(self._roster.parts(keys))
            yield from self._placed
            return
        start = 0
        for name in self._followed:
            stop = start + len(self.model.state.populations[name])
            if stop > start:
                yield name, slice(start, stop), slice(None)
            start = stop

    def _views(self, keys: Keys) -> Iterator[AgentView]:
        """Views of those that are still there when it is their turn."""
        rows = np.empty(len(keys), np.int64)
        for _, where, found in self._roster.parts(keys):
            rows[where] = found
        types = [agent_type(name) for name in self._roster.populations]
        numbers = (keys >> ID_BITS).tolist()
        for number, agent_id, row in zip(numbers, (keys & ID_MASK).tolist(), rows.tolist(), strict=True):
            view = types[number]._of(self.model, agent_id, row)
            if view._alive():
                yield view

    def _column(self, name: str) -> Column:
        """A column in the set's order, read-only. Raises AttributeError where a population lacks it or has another shape."""
        parts = [(where, self._roster.column(population, name, rows)) for population, where, rows in self._parts()]
        if len({column.shape[1:] for _, column in parts}) != 1:  # no agents have no columns
            raise AttributeError(f"{name} is no column that all agents of the set have in one shape")
        values = parts[0][1].view()
        if len(parts) > 1:
            values = np.empty((len(self), *values.shape[1:]), np.result_type(*(column for _, column in parts)))
            for where, column in parts:
                values[where] = column
        values.flags.writeable = False
        return values

    def _attribute(self, name: str, *default: Any) -> list[Any]:
        """An attribute of every agent; AttributeError where one has it not and there is no default."""
        try:
            column = self._column(name)
        except AttributeError:
            return [getattr(agent, name, *default) for agent in self]
        return [tuple(row) for row in column.tolist()] if name == "pos" else as_python(column)

    # -- reading and writing

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[AgentView]:
        return self._views(self._keys)

    def __contains__(self, agent: object) -> bool:
        if not isinstance(agent, AgentView) or agent.model is not self.model or not agent._alive():
            return False
        if self._members is None:
            return agent.population in self._followed
        return bool((self._keys == self._roster.key(*agent.unique_id)).any())

    def __getitem__(self, item: int | slice | str) -> Any:
        """An agent, a list of them for a slice, or a column for a name."""
        if isinstance(item, str):
            return self._column(item)
        if isinstance(item, slice):
            return list(self._views(self._keys[item]))
        return next(self._views(self._keys[item, np.newaxis]))

    def get(self, attr_names: str | Iterable[str], handle_missing: str = "error", default_value: Any = None) -> list[Any]:
        """An attribute of every agent, or a list of several."""
        if handle_missing not in ("error", "default"):
            raise ValueError(f"Unknown handle_missing option: {handle_missing}, should be one of 'error' or 'default'")
        default = (default_value,) if handle_missing == "default" else ()
        if isinstance(attr_names, str):
            return self._attribute(attr_names, *default)
        columns = [self._attribute(name, *default) for name in attr_names]
        return [[column[place] for column in columns] for place in range(len(self))]

    def agg(self, attribute: str, func: Callable[[Any], Any] | Iterable[Callable[[Any], Any]]) -> Any:
        """A function, or each of several, of an attribute of all agents. A column reaches it as an array instead of a list."""
        values: Column | list[Any]
        try:
            values = self._column(attribute)
        except AttributeError:
            values = self._attribute(attribute)
        return _aggregate(func, values) if callable(func) else [_aggregate(each, values) for each in func]

    def set(self, attr_name: str, value: Any) -> Agents:
        """Write the same value for all agents. A new name makes a column, zero for the rest of the population."""
        for population, _, rows in list(self._parts()):
            if attr_name not in self.model.state.populations[population] and not hasattr(AgentView, attr_name):
                self._roster.add_column(population, attr_name, value)
            self._roster.write(population, attr_name, rows, value)
        return self

    def do(self, method: Method, *args: Any, **kwargs: Any) -> Agents:
        """Call a function with every agent, or a method of every agent; `do("remove")` removes all at once."""
        if method != "remove":
            self.map(method, *args, **kwargs)
            return self
        for population, _, rows in list(self._parts()):
            self._roster.remove(population, rows)
        return self

    def shuffle_do(self, method: Method, *args: Any, **kwargs: Any) -> Agents:
        """As `do`, in a random order."""
        self.shuffle().do(method, *args, **kwargs)
        return self

    def map(self, method: Method, *args: Any, **kwargs: Any) -> list[Any]:
        """As `do`, and return the results."""
        if isinstance(method, str):
            return [getattr(agent, method)(*args, **kwargs) for agent in self]
        return [method(agent, *args, **kwargs) for agent in self]

    # -- choosing, ordering, grouping

    def select(
        self,
        filter_func: Callable[[AgentView], bool] | NDArray[np.bool_] | None = None,
        at_most: float = math.inf,
        inplace: bool = False,
        agent_type: type | str | None = None,
    ) -> Agents:
        """The first `at_most` agents (a float up to 1.0: of that share of the set) that a filter and a type let pass.

        filter_func: called with every agent, or an array of bool in the set's order; agent_type: a class, or a population's name.
        """
        keys = self._keys
        share = not isinstance(at_most, int) and at_most <= 1.0
        limit = None if at_most == math.inf else max(0, math.floor(len(keys) * at_most) if share else math.ceil(at_most))
        if isinstance(filter_func, np.ndarray):
            if filter_func.shape != keys.shape or filter_func.dtype != bool:
                raise ValueError(f"an array to select by must be of bool and have {len(keys)} elements")
            keys, filter_func = keys[filter_func], None
        if agent_type is not None:
            keys = keys[self._is_of_type(agent_type)[keys >> ID_BITS]]
        if filter_func is not None:
            keys = self._passing(filter_func, keys, limit)
        return self._result(keys[:limit], inplace)

    def _passing(self, test: Callable[[AgentView], bool], keys: Keys, limit: int | None) -> Keys:
        """The first `limit` that pass a test; the rest are not asked."""
        passed: list[int] = []
        for view in self._views(keys):
            if limit is not None and len(passed) >= limit:
                break
            if test(view):
                passed.append(self._roster.key(*view.unique_id))
        return np.array(passed, np.int64)

    def _is_of_type(self, wanted: type | str) -> NDArray[np.bool_]:
        """(populations,) whether a population's agents are of a type."""
        names = self._roster.populations
        if isinstance(wanted, str):
            if wanted not in names:
                raise KeyError(f"{wanted}: the populations are {', '.join(names)}")
            return np.array([name == wanted for name in names])
        return np.array([issubclass(agent_type(name), wanted) for name in names])

    def shuffle(self, inplace: bool = False) -> Agents:
        """The agents in a random order."""
        keys = self._keys
        return self._result(keys[self.model.rng.permutation(len(keys))], inplace)

    def sort(self, key: Callable[[AgentView], Any] | str, ascending: bool = False, inplace: bool = False) -> Agents:
        """The agents ordered by an attribute or a function; equal ones keep their order."""
        keys = self._keys
        values = self._attribute(key) if isinstance(key, str) else self.map(key)
        if isinstance(key, str) and values and isinstance(values[0], int | float):
            column = np.array(values)
            order = np.argsort(column if ascending else column[::-1], kind="stable")
            order = order if ascending else len(keys) - 1 - order[::-1]
        else:
            order = np.array(sorted(range(len(values)), key=values.__getitem__, reverse=not ascending), np.int64)
        return self._result(keys[order], inplace)

    def groupby(self, by: Callable[[AgentView], Hashable] | str, result_type: str = "agentset") -> GroupedAgents:
        """Groups by an attribute or a function, in the order of their first members."""
        places: dict[Hashable, list[int]] = {}
        keys = self._keys
        for place, label in enumerate(self._attribute(by) if isinstance(by, str) else self.map(by)):
            places.setdefault(label, []).append(place)
        groups = {label: Agents._of(self.model, keys[members]) for label, members in places.items()}
        return GroupedAgents(groups if result_type == "agentset" else {label: list(group) for label, group in groups.items()})

    def to_list(self) -> list[AgentView]:
        """A view of every agent."""
        return list(self)

    def copy(self) -> Agents:
        """The present members as a set of its own."""
        return Agents._of(self.model, self._keys)

    __copy__ = copy

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __repr__(self) -> str:
        return f"<{len(self)} agents of {', '.join(population for population, _, _ in self._parts()) or 'no population'}>"

    # -- membership, and the algebra of sets

    def _keys_of(self, agents: Iterable[Any], strict: bool = False) -> Keys:
        """Keys of those that are agents of this model, each once; strict: TypeError for anything else."""
        if isinstance(agents, Agents) and agents.model is self.model:
            return agents._keys
        everybody = self.model.agents
        keys: dict[int, None] = {}
        for agent in agents:
            if agent in everybody:
                keys[self._roster.key(*agent.unique_id)] = None
            elif strict:
                raise TypeError(f"{agent!r} is not an agent of this model")
        return np.array(list(keys), np.int64)

    def add(self, agent: AgentView) -> None:
        """Make an agent of the model a member of this set."""
        self.__ior__([agent])

    def discard(self, agent: AgentView) -> None:
        """Drop a member, if it is one."""
        self.__isub__([agent])

    def remove(self, agent: AgentView) -> None:
        """Drop a member; KeyError if it is none. It stays in the model (`agent.remove()` takes it out)."""
        if agent not in self:
            raise KeyError(agent)
        self.discard(agent)

    def clear(self) -> None:
        """Drop all members."""
        self._become(NOBODY)

    def isdisjoint(self, other: Iterable[Any]) -> bool:
        """Whether no agent is in both."""
        return len(self & other) == 0

    def __le__(self, other: object) -> bool:
        return not len(self - other) if isinstance(other, AbstractSet) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return len(self & other) == len(other) if isinstance(other, AbstractSet) else NotImplemented

    def __and__(self, other: Iterable[Any]) -> Agents:
        theirs = self._keys_of(other)
        return Agents._of(self.model, theirs[np.isin(theirs, self._keys)])

    def __or__(self, other: Iterable[Any]) -> Agents:
        theirs = self._keys_of(other, strict=True)
        return Agents._of(self.model, np.concatenate([self._keys, theirs[~np.isin(theirs, self._keys)]]))

    def __sub__(self, other: Iterable[Any]) -> Agents:
        return Agents._of(self.model, self._keys[~np.isin(self._keys, self._keys_of(other))])

    def __rsub__(self, other: Iterable[Any]) -> Agents:
        return Agents._of(self.model, self._keys_of(other, strict=True)) - self

    def __xor__(self, other: Iterable[Any]) -> Agents:
        theirs = Agents._of(self.model, self._keys_of(other, strict=True))
        return (self - theirs) | (theirs - self)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __iand__(self, other: Iterable[Any]) -> Agents:
        return self._become((self & other)._keys)

    def __ior__(self, other: Iterable[Any]) -> Agents:
        return self._become((self | other)._keys)

    def __isub__(self, other: Iterable[Any]) -> Agents:
        return self._become((self - other)._keys)

    def __ixor__(self, other: Iterable[Any]) -> Agents:
        return self._become((self ^ other)._keys)


class GroupedAgents(GroupBy):  # type: ignore[misc]
    """Mesa's groups; `agg` reads columns."""

    def agg(self, attr_name: str, func: Callable[[Any], Any]) -> dict[Hashable, Any]:
        """A function of an attribute over every group."""
        return {
            label: group.agg(attr_name, func) if isinstance(group, Agents) else func([getattr(one, attr_name) for one in group])
            for label, group in self.groups.items()
        }


def _aggregate(func: Callable[[Any], Any], values: Column | list[Any]) -> Any:
    if isinstance(values, list) or func not in ARRAY_FORM or (values.ndim > 1 and func is not sum):
        return func(values)
    result = ARRAY_FORM[func](values)
    return result.item() if result.ndim == 0 else result
