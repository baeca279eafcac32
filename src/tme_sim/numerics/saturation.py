"""What saturable and linear sinks take out of one well-stirred pool."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, expm1

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LARGEST_SHARE = 0.1
"""Of the pool at most, in one substep; the error of a step is a third-order one in it."""
MOST_SUBSTEPS = 100


@dataclass(frozen=True)
class Saturation:
    """How the first sink saturates: its rate at `half` in the pool, or its room once it holds `capacity`; None: it does not."""

    half: float | None = None
    capacity: float | None = None

    def factor(self, pool: float, held: float, uptake: float) -> float:
        """Share of `uptake`, what an unsaturated sink would take, that it does take from a pool of this amount.

        Rate: 1/(1 + P/half). Room: dK/dt = u (1 − K/Q) at constant u fills (Q − K)(1 − e^(−u/Q)), whatever the step.
        """
        found = 1.0 if self.half is None else 1 / (1 + pool / self.half)
        if self.capacity is not None:
            x = found * uptake / self.capacity
            found *= max(0.0, 1 - held / self.capacity) * (-expm1(-x) / x if x > 0 else 1.0)
        return found


def cleared(amount: Floats, rates_per_s: Floats, saturation: Saturation, held: float, dt_s: float) -> tuple[Floats, Floats]:
    """dP_i/dt = −[f k_i0 + Σ_(j>0) k_ij] P_i over dt: what is left of each class, and what each sink has gained.

    amount (classes,), rates_per_s (classes, sinks); f(P, K) from `saturation`, K = `held` and what the first sink gains. By
    exponential midpoints, second order in the step; nothing gets negative, and left + gained = amount to rounding.
    """
    steps = min(max(ceil(float(rates_per_s.sum(axis=1).max(initial=0.0)) * dt_s / LARGEST_SHARE), 1), MOST_SUBSTEPS)
    left, gained, step_s = amount.astype(np.float64), np.zeros(rates_per_s.shape[1]), dt_s / steps
    saturable = np.zeros(rates_per_s.shape[1])
    saturable[:1] = 1.0

    def rates(pool: Floats, length_s: float) -> Floats:
        uptake = float(pool @ rates_per_s[:, :1].sum(axis=1)) * length_s
        f = saturation.factor(float(pool.sum()), held + float(gained[:1].sum()), uptake)
        return rates_per_s * (1 - saturable * (1 - f))

    for _ in range(steps):
        middle = left * np.exp(-rates(left, step_s).sum(axis=1) * step_s / 2)
        k = rates(middle, step_s)
        total = k.sum(axis=1)
        lost = left * -np.expm1(-total * step_s)
        gained += np.divide(lost, total, out=np.zeros_like(lost), where=total > 0) @ k
        left -= lost
    return left, gained
