"""Views of single agents."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import mesa

from tme_sim.mesa_model.roster import RemovedAgentError, as_python

if TYPE_CHECKING:
    from tme_sim.mesa_model.agents import Agents
    from tme_sim.mesa_model.model import TumorModel


class AgentView(mesa.Agent):  # type: ignore[misc]
    """One agent, whose attributes are columns of its population: `agent.site`, `agent.cargo`, and `agent.pos` in um, (z, y, x).

    Numbers come as Python numbers, arrays as read-only copies: `agent.cargo = agent.cargo + 1` writes. A view keeps the agent's
    id and no data; it checks at every access that the row it knows is still this agent's, follows the agent to another row, and
    raises RemovedAgentError once the agent has left the model. Two views of an agent are equal.
    """

    population: ClassVar[str] = ""
    model: TumorModel
    _id: int
    _row: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError(f"model.agents makes the views; {type(self).__name__}.create_agents(model, n, …) makes new agents")

    @classmethod
    def _of(cls, model: TumorModel, agent_id: int, row: int) -> AgentView:
        """A view, without Agent.__init__: that would register it with the model for ever."""
        view: AgentView = cls.__new__(cls)
        view.__dict__.update(model=model, _id=agent_id, _row=row)
        return view

    @classmethod
    def create_agents(cls, model: TumorModel, n: int, **columns: Any) -> Agents:
        """Add n agents to the population; a column is one value for all or n of them, those not given are zero."""
        from tme_sim.mesa_model.agents import Agents

        return Agents._of(model, model.roster.add(cls.population, n, columns))

    @property
    def unique_id(self) -> tuple[str, int]:
        """Population and id; the model gives it to no other agent."""
        return self.population, self._id

    @property
    def pos(self) -> tuple[float, ...]:
        """Centre of the agent's site or voxel, (z, y, x) in um."""
        row = self._current_row()
        return tuple(self.model.roster.column(self.population, "pos", slice(row, row + 1))[0].tolist())

    def _current_row(self) -> int:
        ids = self.model.roster.state.populations[self.population].columns["id"]
        if self._row >= len(ids) or ids.item(self._row) != self._id:
            self.__dict__["_row"] = self.model.roster.row(self.population, self._id)
        return self._row

    def _alive(self) -> bool:
        try:
            return self._current_row() >= 0
        except RemovedAgentError:
            return False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # copy and pickle ask for such names before there is a model
            raise AttributeError(name)
        row = self._current_row()
        column = self.model.roster.state.populations[self.population].columns.get(name)
        if column is not None and column.ndim == 1:
            return column.item(row)
        return as_python(self.model.roster.column(self.population, name, slice(row, row + 1)))[0]

    def __setattr__(self, name: str, value: Any) -> None:
        self.model.roster.write(self.population, name, self._current_row(), value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AgentView) and self.model is other.model and self.unique_id == other.unique_id

    def __hash__(self) -> int:
        return hash(self.unique_id)

    def __reduce__(self) -> tuple[Any, ...]:
        return _view, (self.model, self.population, self._id, self._row)

    def __repr__(self) -> str:
        return f"<{self.population} {self._id}>"


@cache
def agent_type(population: str) -> type[AgentView]:
    """The class of a population's views, as `model.agents_by_type` and `agenttype_reporters` want it."""
    name = population.title().replace("_", "")
    return type(name, (AgentView,), {"population": population, "__doc__": f"A view of one of the {population}."})


def _view(model: TumorModel, population: str, agent_id: int, row: int) -> AgentView:
    return agent_type(population)._of(model, agent_id, row)
