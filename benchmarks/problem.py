"""A diffusion problem with an answer in closed form where the diffusivity varies: the one that every peer solves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
EPSILON = 0.15
"""Makes D vary threefold along x."""


class Layered:
    """n³ voxels of a closed unit cube with D = (1 + ε cos πx)/(1 + 4 ε cos πx).

    u = 1 + (cos πx + ε cos 2πx)/2 · e^(−π²t) solves ∂u/∂t = ∇·(D∇u), as D ∂u/∂x is −π² times the integral of u − 1.
    """

    def __init__(self, n: int) -> None:
        self.n, self.h = n, 1.0 / n
        self.x: Reals = (np.arange(n) + 0.5) / n
        self.D = self._box(self.diffusivity(self.x))
        self.dt = 0.3 * self.h**2 / (6 * self.D.max())
        """A particle stays in its voxel with a chance of 0.7 or more."""
        self.steps = round(1 / (np.pi**2 * self.dt))
        """Until the deviation from 1 has fallen to 1/e."""

    def _box(self, along_x: Reals) -> Reals:
        return np.ascontiguousarray(np.broadcast_to(along_x, (self.n,) * 3))

    @staticmethod
    def diffusivity(x: Reals) -> Reals:
        """D at x."""
        return np.asarray((1 + EPSILON * np.cos(np.pi * x)) / (1 + 4 * EPSILON * np.cos(np.pi * x)))

    def exact(self, t: float = 0.0) -> Reals:
        """u (z, y, x) at the voxels' centres."""
        shape = np.cos(np.pi * self.x) + EPSILON * np.cos(2 * np.pi * self.x)
        return self._box(1 + 0.5 * shape * np.exp(-(np.pi**2) * t))

    def error(self, u: Reals, t: float) -> float:
        """Largest deviation over the largest deviation of u from 1."""
        exact = self.exact(t)
        return float(np.abs(u.reshape(exact.shape) - exact).max() / np.abs(exact - 1).max())
