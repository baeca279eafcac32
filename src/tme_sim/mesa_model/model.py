"""A run of tme-sim as a Mesa model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import mesa
import numpy as np

from tme_sim import api
from tme_sim.analysis.measures import Number, summarise
from tme_sim.config.build import build
from tme_sim.config.load import load
from tme_sim.mesa_model.agents import Agents
from tme_sim.mesa_model.roster import Roster
from tme_sim.mesa_model.view import AgentView, agent_type
from tme_sim.recording import series_rows
from tme_sim.simulation import Simulation, ticks
from tme_sim.state.errors import InputError
from tme_sim.state.ledger import audit, whole_body
from tme_sim.state.state import State
from tme_sim.state.substance import drug_per_particle_g

MESA_COUNTS_TIME = hasattr(mesa.Model, "time")  # since Mesa 3.4: steps, as a float


class TumorModel(mesa.Model):  # type: ignore[misc]
    """A run as a `mesa.Model`: `step()` advances one `record.interval`, `running` goes False at `protocol.duration`.

    experiment: name or YAML file; None: the base configuration. overrides: {key: value}, as for `tme_sim.run`. rng: the run's
    seed, a whole number; None: that of the configuration. `model.rng` and `model.random` are seeded with it too; no process
    draws from them. Nothing is written to disk; the ledger is audited after every step.

    config, state, simulation: as everywhere in tme-sim. time_s: simulated seconds (`time`, as in Mesa, counts steps). amounts:
    carriers by compartment in the whole body, after the last step. datacollector: collects `time_h` and the amounts
    at the start and after every step; put your own in its place.

    Raises InputError(s) for wrong input and for a step after the end, ModelError when the ledger does not balance.
    """

    def __init__(
        self, experiment: str | Path | None = None, overrides: Mapping[str, Any] | None = None, *, rng: int | None = None
    ) -> None:
        if not isinstance(overrides, Mapping | None):
            raise InputError("overrides", repr(overrides), "must be {key: value}; for batch_run a list of such")
        if isinstance(rng, bool) or not isinstance(rng, int | np.integer | None):
            raise InputError("rng", repr(rng), "must be a whole number, the seed of the run")
        loaded = load(api.request(experiment, overrides, None if rng is None else int(rng)))
        self.config = config = loaded.config
        super().__init__(rng=config.seed)
        if not MESA_COUNTS_TIME:
            self.time = 0.0
        self._built = build(config, None, loaded.user_set)
        self.simulation = Simulation(self._built.state, self._built.processes, [], config.step_s, config.seed)
        self.roster = Roster(self._built.state)
        self._every = ticks(config.record.interval_s, config.step_s, "record.interval")
        self._last = ticks(config.protocol.duration_s, config.step_s, "protocol.duration")
        self._series: list[dict[str, Any]] = []
        self._measure()
        reporters = {name: partial(_amount, name=name) for name in self.amounts}
        self.datacollector = mesa.DataCollector({"time_h": _time_h, **reporters})
        self.datacollector.collect(self)

    @property
    def state(self) -> State:
        """The arrays of the run."""
        return self.simulation.state

    @property
    def time_s(self) -> float:
        """Simulated time."""
        return self.simulation.time_s

    @property
    def summary(self) -> dict[str, Number]:
        """The measures of `summary.json`, of the present state."""
        drug_g = drug_per_particle_g(self.config.nanoparticle) if self.config.drug else 0.0
        return summarise(self.state, self._built.tumor_mass_g, self._series, drug_g)

    def step(self) -> None:
        """Advance one `record.interval` (the last step may be shorter), audit, collect."""
        tick = self.state.tick
        if tick >= self._last:
            raise InputError("protocol.duration", f"{self.time_s:g} s", "is over; a longer one lets the model go on")
        self.roster.renew(self.simulation.processes.values())
        self.simulation.run(min(tick + self._every, self._last) * self.config.step_s)
        self.running = self.state.tick < self._last
        if not MESA_COUNTS_TIME:
            self.time = float(self.steps)
        self._measure()
        self.datacollector.collect(self)

    def _measure(self) -> None:
        audit(self.state)
        self.amounts = whole_body(self.state)
        self._series += series_rows(self.state, self.time_s)

    @property
    def agents(self) -> Agents:
        """The agents of all populations."""
        return Agents._of(self, None)

    @property
    def agents_by_type(self) -> AgentsByType:
        """Agents by the class of their views, or by the name of their population."""
        return AgentsByType({agent_type(name): Agents._of(self, None, (name,)) for name in self.roster.populations})

    @property
    def agent_types(self) -> list[type]:
        """The classes of the views."""
        return list(self.agents_by_type)

    def register_agent(self, agent: Any) -> NoReturn:
        """Raise TypeError: the agents are rows of arrays, and an object of its own has no place there."""
        raise TypeError("an agent here is a row of a population; create_agents adds rows, model.state.populations a population")

    def deregister_agent(self, agent: AgentView) -> None:
        """Take an agent out of its population, and with it what it carries: the ledger will miss that."""
        if agent not in self.agents:
            raise KeyError(agent)
        self.roster.remove(agent.population, np.array([agent._current_row()]))

    def remove_all_agents(self) -> None:
        """Empty all populations."""
        self.agents.do("remove")


class AgentsByType(dict[Any, Agents]):
    """Class of view → its agents, where a population's name stands for the class."""

    def __missing__(self, population: Any) -> Agents:
        for kind, agents in self.items():
            if kind.population == population:
                return agents
        raise KeyError(f"{population}: the populations are {', '.join(kind.population for kind in self)}")


def _time_h(model: TumorModel) -> float:
    return model.time_s / 3600


def _amount(model: TumorModel, name: str) -> float:
    return model.amounts[name]
