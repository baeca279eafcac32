"""Long steps of the mean: Runge–Kutta–Legendre super-time-stepping of second order over the face rates of `transport`.

One step of s stages is stable over (s² + s − 2)/4 explicit ones (Meyer, Balsara & Aslam 2014, doi:10.1016/j.jcp.2013.08.021,
their RKL2). That holds for diffusion, whose spectrum is real; from a cell Péclet number v h/D of about 0.3 on it is unstable.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from math import ceil, sqrt
from typing import NamedTuple

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from tme_sim.numerics.arrays import Reals, in_place
from tme_sim.numerics.edges import Edges, add_through_edges, outer_planes
from tme_sim.numerics.jit import parallel_kernel, prange
from tme_sim.numerics.sweep import blend
from tme_sim.numerics.threads import use_threads_for
from tme_sim.numerics.transport import FaceRates, leave_rate

POSITIVE = 1.38
"""Explicit steps over which 3 stages keep every amount positive: the derivatives of 1 + z + z²/2 + z³/15, the weights of what
neighbours give, are positive for z down to −1.38."""
GROWTH = 1.5
"""Of a step over the one before, where the longest was not possible; at 2, a share of 9 % is where it should not be after 60
explicit steps from a single voxel, at 1.5 it is 2 %, against 1 % of explicit steps themselves."""


class Integration(NamedTuple):
    """What it took: evaluations of all face fluxes, steps taken and steps rejected; its error; what passed the edges.

    error: an estimate of what all steps add to Σ|amount − exact| / Σ amount, before diffusion has worn any of it off.
    """

    evaluations: int
    steps: int
    rejected: int
    error: float
    left: float
    entered: float


class Scheme(NamedTuple):
    """Coefficients of a step of s stages.

    first: μ̃₁; later: (μ, ν, μ̃, μ̃ + γ̃) of stages 2 to s; sample: two stages before the last; error: weights of ΔY at those
    two and at the last that add up to the step's error.
    """

    first: float
    later: tuple[tuple[float, float, float, float], ...]
    sample: tuple[int, int]
    error: tuple[float, float, float]


def reach(stages: int) -> float:
    """Explicit steps, each at its limit of stability, that one step of so many stages covers."""
    return (stages**2 + stages - 2) / 4


def stages_for(explicit_steps: float) -> int:
    """The smallest odd number of stages that is stable over so many explicit steps; odd ones damp the shortest waves."""
    stages = max(3, ceil((sqrt(9 + 16 * explicit_steps) - 1) / 2 - 1e-9))
    return stages + 1 - stages % 2


@lru_cache(maxsize=64)
def scheme(stages: int) -> Scheme:
    """The coefficients of Meyer et al., section 2, and an error estimate that needs no further evaluation.

    On dy/dt = λ y, stage j changes y by a polynomial in z = λ τ; the last one's is z + z²/2 + c z³ + …, so the step is off by
    (c − 1/6) z³ to leading order. That is a combination of three stages' changes, of which the calmest is taken: it is at
    most a few times as large as y for waves so short that no expansion holds.
    """
    s, w = stages, 1 / reach(stages)
    b = [1 / 3] * 2 + [(j * j + j - 2) / (2 * j * (j + 1)) for j in range(2, s + 1)]
    z = Polynomial([0.0, 1.0])
    changes, later = [0 * z, b[1] * w * z], []
    for j in range(2, s + 1):
        mu, nu = (2 * j - 1) / j * b[j] / b[j - 1], -(j - 1) / j * b[j] / b[j - 2]
        tilde, of_flux = mu * w, mu * w * b[j - 1]
        changes.append(mu * changes[-1] + nu * changes[-2] + tilde * z * changes[-1] + of_flux * z)
        later.append((mu, nu, tilde, of_flux))
    sample, error = _calmest(changes, reach(s))
    return Scheme(b[1] * w, tuple(later), sample, error)


def _calmest(changes: list[Polynomial], longest: float) -> tuple[tuple[int, int], tuple[float, float, float]]:
    """The stages and weights whose combination is (c − 1/6) z³ + … and smallest where it is largest, for z in [−2 longest, 0]."""
    last = changes[-1]
    z = -np.linspace(0, 2 * longest, 200)
    found = []
    for first, second in combinations(range(1, len(changes) - 1), 2):
        three = (changes[first], changes[second], last)
        orders = np.array([np.append(p.coef, [0.0, 0.0])[1:4] for p in three]).T
        weights = np.linalg.solve(orders, [0, 0, 1])
        whole = sum((float(a) * p for a, p in zip(weights, three, strict=True)), Polynomial([0.0]))
        found.append((float(np.abs(whole(z)).max()), (first, second), weights))
    _, sample, weights = min(found, key=lambda one: one[0])
    a, b, c = (float(weight) * (last.coef[3] - 1 / 6) for weight in weights)
    return sample, (a, b, c)


def integrate(
    amount: Reals,
    rates: FaceRates,
    dt_s: float,
    stages: int = 15,
    edges: Edges | None = None,
    first_s: float | None = None,
    leave_per_s: float | None = None,
) -> Integration:
    """Advance the float64 amounts (z, y, x) by dt_s, in place, in steps of at most `stages` stages.

    first_s: the longest that the first step may be, 0 after a discontinuous event: steps then grow by `GROWTH` from the shortest,
    for one long step would leave half of what is sharp where it was; None allows all. A step that would make an amount negative
    is rejected and halved, down to `POSITIVE` explicit steps, where none can be. leave_per_s: the largest `leave_rate`, if it is
    known. Second order in time. Raises ValueError where something flows, shapes do not match or stages are below 3.
    """
    in_place("amount", amount, np.float64)
    if not rates.is_still:
        raise ValueError("rates: with flow, super-time-stepping would be unstable")
    if rates.per_capacity.shape != amount.shape or stages < 3:
        shape = rates.per_capacity.shape
        raise ValueError(f"rates {shape}, stages {stages}: must be of the amounts' shape {amount.shape}, 3 or more")
    if leave_per_s is None:
        leave_per_s = float(leave_rate(rates, edges).max(initial=0.0))
    return _Integrator(amount, rates, stages, edges, leave_per_s).over(dt_s, first_s)


class _Integrator:
    """One call of `integrate`. change is ΔY at the present stage, before that at the one before, flux F at the step's start."""

    def __init__(self, amount: Reals, rates: FaceRates, stages: int, edges: Edges | None, leave_per_s: float) -> None:
        self.amount, self.rates, self.edges = amount, rates, edges
        self.explicit_s = 1 / max(leave_per_s, 1e-300)
        self.longest_s = reach(stages) * self.explicit_s
        self.change, self.before, self.flux, *samples = _scratch(amount.shape)
        self.samples = samples[0], samples[1]
        self.evaluations = 0

    def over(self, dt_s: float, first_s: float | None) -> Integration:
        shortest = POSITIVE * self.explicit_s
        allowed = self.longest_s if first_s is None else min(max(first_s, shortest), self.longest_s)
        done = error = left = 0.0
        steps = rejected = 0
        is_new = True
        while done < dt_s:
            if is_new:
                out = self._add_fluxes(self.flux, 0.0, self.amount, 0.0, self.amount, 0.0, 1.0, inflow=True)
            rest = dt_s - done
            tau = rest / max(1, ceil(rest / allowed - 1e-9))  # equal steps to the end: no short one is left over
            form = scheme(stages_for(tau / self.explicit_s))
            lost = self._change_over(tau, form, out)
            is_new = tau <= shortest or lowest(self.amount, self.change) >= 0.0
            if not is_new:
                rejected, allowed = rejected + 1, max(tau / 2, shortest)
                continue
            total = float(self.amount.sum())
            if not np.isfinite(total):
                _scratch.cache_clear()  # 0 times what is left there would not be 0
            error += sum_of(form.error, *self.samples, self.change) / total if total > 0.0 else 0.0
            np.add(self.amount, self.change, out=self.amount)
            steps, left = steps + 1, left + lost
            done = dt_s if tau == rest else done + tau
            allowed = min(max(allowed, tau) * GROWTH, self.longest_s)
        entered = 0.0 if self.edges is None else dt_s * sum(float(into.sum()) for into in self.edges.into)
        return Integration(self.evaluations, steps, rejected, error, left, entered)

    def _change_over(self, tau: float, form: Scheme, out: float) -> float:
        """Put ΔY into `change`; returns what leaves the lattice, which obeys the same recurrence. `out` is its rate now."""
        np.multiply(self.flux, form.first * tau, out=self.change)
        lost, lost_before = form.first * tau * out, 0.0
        self._sample(1, form)
        for stage, (mu, nu, tilde, of_flux) in enumerate(form.later, 2):
            nu = nu if stage > 2 else 0.0  # noqa: PLW2901 - ΔY of stage 0 is 0, whatever the memory holds
            more = self._add_fluxes(self.before, nu, self.change, mu, self.flux, of_flux * tau, tilde * tau, inflow=False)
            lost, lost_before = mu * lost + nu * lost_before + of_flux * tau * out + more, lost
            self.change, self.before = self.before, self.change
            self._sample(stage, form)
        return lost

    def _sample(self, stage: int, form: Scheme) -> None:
        if stage in form.sample:
            np.copyto(self.samples[form.sample.index(stage)], self.change)

    def _add_fluxes(
        self, new: Reals, a: float, here: Reals, b: float, base: Reals, c: float, dt_s: float, *, inflow: bool
    ) -> float:
        """`blend` with the edges; returns what went out through them."""
        self.evaluations += 1
        blend(new, a, here, b, base, c, self.rates.up, self.rates.per_capacity, dt_s)
        return 0.0 if self.edges is None else add_through_edges(self.edges, outer_planes(here), new, dt_s, inflow=inflow).left


@lru_cache(maxsize=2)
def _scratch(shape: tuple[int, ...]) -> list[Reals]:
    """Zeros, not rubbish: 0 times what is there must be 0."""
    return [np.zeros(shape) for _ in range(5)]


def lowest(amount: Reals, change: Reals) -> float:
    """The smallest of amount + change."""
    use_threads_for(amount.size)
    return float(_lowest(amount, change).min(initial=np.inf))


def sum_of(weights: tuple[float, float, float], u: Reals, v: Reals, w: Reals) -> float:
    """Σ |a u + b v + c w|, plane by plane."""
    use_threads_for(u.size)
    return float(_sum_of(*weights, u, v, w).sum())


@parallel_kernel
def _lowest(amount: Reals, change: Reals) -> NDArray[np.float64]:
    found = np.full(amount.shape[0], np.inf)
    for z in prange(amount.shape[0]):
        low = np.inf
        for y in range(amount.shape[1]):
            for x in range(amount.shape[2]):
                low = min(low, amount[z, y, x] + change[z, y, x])
        found[z] = low
    return found


@parallel_kernel
def _sum_of(a: float, b: float, c: float, u: Reals, v: Reals, w: Reals) -> NDArray[np.float64]:
    found = np.zeros(u.shape[0])
    for z in prange(u.shape[0]):
        total = 0.0
        for y in range(u.shape[1]):
            for x in range(u.shape[2]):
                total += abs(a * u[z, y, x] + b * v[z, y, x] + c * w[z, y, x])
        found[z] = total
    return found
