"""What an agent costs: Mesa's own objects, views of rows, and whole columns, doing the same.

Run: python benchmarks/mesa_agents.py [agents]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import mesa
import numpy as np

import tme_sim
from tme_sim.mesa_model import agent_type

REPEATS = 5
OBJECTS = 100_000  # Mesa needs seconds and gigabytes for a million objects; its cost per agent does not fall with their number


class Macrophage(mesa.Agent):  # type: ignore[misc]
    """The same agent as an object of Mesa's."""

    def __init__(self, model: mesa.Model, site: int) -> None:
        super().__init__(model)
        self.site = site
        self.age = 0


def grow(agent: Any) -> None:
    """A rule that reads and writes."""
    if agent.site % 2:
        agent.age += 1


def grow_columns(columns: Any) -> None:
    """The same rule on columns."""
    columns["age"][...] += columns["site"] % 2


def median_s(action: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Median wall time, after a first call that is not counted."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return float(np.median(times[1:]))


def main(n: int) -> None:
    """Print a table: what is done, time, time per agent."""
    model = tme_sim.TumorModel("quick", {"lattice.size": "120 um"})
    model.remove_all_agents()
    sites = np.random.default_rng(1).integers(0, model.state.lattice.n_sites, n)
    agent_type("macrophages").create_agents(model, n, site=sites)
    ours = model.agents_by_type["macrophages"].set("age", 0)
    plain = mesa.Model(rng=1)
    for site in sites[:OBJECTS].tolist():
        Macrophage(plain, site)
    theirs = plain.agents
    columns = model.state.populations["macrophages"]
    half = ours.select(ours["site"] % 2 == 0).shuffle()

    rows: list[tuple[str, str, int, Callable[[], Any], int]] = [
        ("rule, agent by agent", "Mesa", len(theirs), lambda: theirs.do(grow), 3),
        ("rule, agent by agent", "views", n, lambda: ours.do(grow), 1),
        ("rule, on columns", "arrays", n, lambda: grow_columns(columns), REPEATS),
        ("agg(site, max)", "Mesa", len(theirs), lambda: theirs.agg("site", max), 3),
        ("agg(site, max)", "arrays", n, lambda: model.agents.agg("site", max), REPEATS),
        ("agg(site, mean) of a shuffled half", "arrays", len(half), lambda: half.agg("site", np.mean), REPEATS),
        ("select by type", "Mesa", len(theirs), lambda: theirs.select(agent_type=Macrophage), 3),
        ("select by type", "arrays", n, lambda: model.agents.select(agent_type="macrophages"), REPEATS),
        ("select by a function", "Mesa", len(theirs), lambda: theirs.select(lambda a: a.site > 99), 3),
        ("select by a function", "views", n, lambda: ours.select(lambda a: a.site > 99), 1),
        ("select by a column", "arrays", n, lambda: ours.select(ours["site"] > 99), REPEATS),
        ("set(age, 1)", "Mesa", len(theirs), lambda: theirs.set("age", 1), 3),
        ("set(age, 1)", "arrays", n, lambda: ours.set("age", 1), REPEATS),
        ("shuffle", "Mesa", len(theirs), theirs.shuffle, 3),
        ("shuffle", "arrays", n, ours.shuffle, REPEATS),
        ("sort(site)", "Mesa", len(theirs), lambda: theirs.sort("site"), 3),
        ("sort(site)", "arrays", n, lambda: ours.sort("site"), REPEATS),
    ]
    print("| what | on | agents | ms | ns per agent |\n|---|---|---|---|---|")
    for what, on, agents, action, repeats in rows:
        seconds = median_s(action, repeats)
        print(f"| {what} | {on} | {agents} | {1e3 * seconds:.3g} | {1e9 * seconds / agents:.3g} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
