"""The Mesa face: a `mesa.Model` whose agents are rows of arrays, seen one by one through views (docs/mesa.md).

Mesa's own agents are Python objects, some seventy times slower per agent and step than rows of arrays. Here `model.agents` is an
`AgentSet` that holds keys instead of objects, and an `Agent` is made when somebody looks at one. Written for Mesa 3.3 to 3.5;
Mesa 4 changes much of it, so nothing outside this folder knows Mesa.
"""

from tme_sim.mesa_model.agents import Agents
from tme_sim.mesa_model.model import TumorModel
from tme_sim.mesa_model.roster import RemovedAgentError
from tme_sim.mesa_model.view import AgentView, agent_type

__all__ = ["AgentView", "Agents", "RemovedAgentError", "TumorModel", "agent_type"]
