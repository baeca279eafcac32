"""Amounts in a few compartments that exchange in first order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

Floats = NDArray[np.float64]


def advance(rates_per_s: Floats, amount: Floats, inflow_per_s: Floats, dt_s: float) -> tuple[Floats, Floats]:
    """Exact dM/dt = A M + b over dt: the amounts after it, and their integrals over time.

    rates_per_s: A (n, n), its entry (i, j) the rate from j into i; amount, inflow_per_s: M and b (n,). One exponential of the
    matrix that carries M, its integral and b along (Van Loan 1978); nothing gets negative if A off its diagonal, M and b are not.
    """
    n = len(amount)
    joint = np.zeros((2 * n + 1, 2 * n + 1))
    joint[:n, :n], joint[:n, -1] = rates_per_s, inflow_per_s
    joint[n:-1, :n] = np.eye(n)
    after = expm(joint * dt_s) @ np.concatenate([amount, np.zeros(n), [1.0]])
    return np.asarray(after[:n]), np.asarray(after[n:-1])
