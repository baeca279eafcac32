"""Stochastic hops: what a step costs by how many particles a voxel holds."""

from __future__ import annotations

import numpy as np
from rows import Rows, Sizes, Timing, on_threads, timed

from tme_sim.numerics.hops import hop
from tme_sim.numerics.random import stream_key
from tme_sim.numerics.transport import face_rates, leave_rate, step_continuum

P_LEAVE = 0.3
OCCUPANCIES = (1, 10, 100)


def hop_of(side: int, occupancy: float, sizes: Sizes) -> tuple[Timing, float]:
    """Time of a step, and how far its spread around the explicit step is from the multinomial's, in standard deviations."""
    rates = face_rates(np.full((side,) * 3, P_LEAVE / 6), 1.0, 1.0, dtype=np.float32)
    start = np.random.default_rng(3).poisson(occupancy, (side,) * 3).astype(np.int32)
    counts, calls = start.copy(), 0

    def once() -> None:
        nonlocal calls
        calls += 1
        hop(counts, rates, 1.0, stream_key(1, "hop", calls))

    time_s = timed(once, sizes)
    counts[...] = start
    once()
    if counts.sum() != start.sum() or (counts < 0).any():
        raise AssertionError("hops lost or made particles")
    mean = start.astype(np.float64)
    step_continuum(mean, rates, 1.0)
    leave = leave_rate(rates)
    arrivals = mean - start * (1 - leave)
    variance = start * leave * (1 - leave) + arrivals * (1 - P_LEAVE / 6)  # a neighbour sends Binomial(n, p/6)
    excess = (counts - mean) ** 2 - variance
    z = float(excess.sum() / np.sqrt((excess**2).sum()))
    return time_s, abs(z)


def hops(sizes: Sizes) -> Rows:
    """A step at 1, 10 and 100 particles per voxel, one thread."""
    on_threads(1)
    scale = 1e6 / sizes.hops**3
    for occupancy in OCCUPANCIES:
        time_s, z = hop_of(sizes.hops, occupancy, sizes)
        note = (
            f"{sizes.hops}³, chance to leave {P_LEAVE}, one thread; exact in the total; error: of the squared spread around the "
            "explicit step, in its standard deviations"
        )
        ms = 1e3 * scale * time_s.minimum
        yield time_s.row(f"hop_occupancy_{occupancy}_ms", ms, "ms", z, note, extrapolated=scale != 1)
