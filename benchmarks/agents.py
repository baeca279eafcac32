"""Agents: a rule on columns against Mesa's objects; binning and uptake."""

from __future__ import annotations

from typing import Any

import mesa
import numpy as np
from mesa_agents import Macrophage, grow, grow_columns
from numpy.typing import NDArray
from rows import Rows, Sizes, Timing, on_threads, timed

from tme_sim.numerics.collect import collect
from tme_sim.numerics.random import stream_key

RATE = 0.05
"""Share of a voxel's particles that its agents take in the timed interval, nearly."""


def against_mesa(sizes: Sizes) -> Rows:
    """The same rule, per agent: `shuffle_do` of Mesa's objects, and the whole column."""
    sites = np.random.default_rng(1).integers(0, 1000, sizes.agents)
    columns = {"site": sites, "age": np.zeros(sizes.agents, np.int64)}
    model = mesa.Model(rng=1)
    objects = [Macrophage(model, site) for site in sites[: sizes.mesa_agents].tolist()]
    grow_columns(columns)
    model.agents.shuffle_do(grow)
    wrong = float(np.mean([agent.age for agent in objects] != columns["age"][: sizes.mesa_agents]))
    ours = timed(lambda: grow_columns(columns), sizes)
    theirs = timed(lambda: model.agents.shuffle_do(grow), sizes)
    our_ns, their_ns = 1e9 * ours.minimum / sizes.agents, 1e9 * theirs.minimum / sizes.mesa_agents
    note = (
        f"{our_ns:.2g} ns per agent of {sizes.agents}, Mesa {mesa.__version__} {their_ns:.3g} ns of {sizes.mesa_agents}; "
        "error: share of agents that differ"
    )
    yield ours.row("agents_over_mesa", their_ns / our_ns, "1", wrong, note)


def uptake_of(agents: int, side: int, sizes: Sizes) -> tuple[Timing, float]:
    """Time of binning and integer uptake, one component at 10 particles per voxel; and the error of the total, as a z score."""
    generator = np.random.default_rng(2)
    n = side**3
    start = generator.poisson(10, (1, n)).astype(np.int32)
    site = generator.integers(0, n, agents)
    footprint, capacity = np.arange(n)[:, None], np.full(n, 0.2)
    clearance = np.full(agents, RATE * 0.2)  # of a voxel of 1 µm³ in 1 s
    counts = [start.copy() for _ in range(2)]
    calls = 0

    def once() -> NDArray[Any]:
        nonlocal calls
        calls += 1
        counts[0][...] = start
        return collect(counts[0], site, clearance, capacity, 1.0, footprint, 1.0, stream_key(1, "uptake", calls))

    time_s = timed(once, sizes)
    taken = once()
    if not (counts[0].sum() + taken.sum() == start.sum() and (counts[0] >= 0).all()):
        raise AssertionError("uptake lost or made particles")
    p = -np.expm1(-RATE * np.bincount(site, minlength=n))
    mean, variance = float((start[0] * p).sum()), float((start[0] * p * (1 - p)).sum())
    return time_s, abs(float(taken.sum()) - mean) / np.sqrt(variance)


def uptake(sizes: Sizes) -> Rows:
    """Binning and uptake of a million agents, one thread."""
    on_threads(1)
    time_s, z = uptake_of(sizes.agents, sizes.hops, sizes)
    per = 1e6 / sizes.agents
    note = (
        f"{sizes.agents} agents at random on {sizes.hops}³ sites, 10 int32 particles per voxel, one thread; exact in the total; "
        "error: of the number taken, in its standard deviations"
    )
    yield time_s.row("uptake_1e6_ms", 1e3 * per * time_s.minimum, "ms", z, note, extrapolated=per != 1)
