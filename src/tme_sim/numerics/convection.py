"""How diffusion and flow together carry something over a face."""

from __future__ import annotations

import numpy as np

from tme_sim.numerics.arrays import Reals
from tme_sim.numerics.jit import kernel

SMALL = 1e-2
"""Below it three terms of B's series are exact to rounding (the next is P⁶/30240), and no exponential is taken."""


@kernel
def weights(conductance: float, flow: float) -> tuple[float, float]:
    """The weights (a, b) of a flux a·u_below − b·u_above: a = g B(−P), b = g B(P), P = flow/g, B(P) = P/(e^P − 1).

    conductance: g ≥ 0; flow: velocity times distance, positive upwards, in the unit of g. The flux of the steady profile between
    two points (Scharfetter & Gummel 1969, doi:10.1109/T-ED.1969.16566): g (u_below − u_above) at rest, upwind where the flow
    dominates; both weights are never negative and a − b = flow.
    """
    speed = abs(flow)
    peclet = speed / conductance if conductance > 0.0 else np.inf
    if speed == 0.0 or peclet == 0.0:
        return conductance, conductance
    if peclet < SMALL:
        even = conductance * (1.0 + peclet * peclet / 12.0 * (1.0 - peclet * peclet / 60.0))
        return even + 0.5 * flow, even - 0.5 * flow
    along = speed / -np.expm1(-peclet)
    against = along * np.exp(-peclet)
    return (along, against) if flow > 0.0 else (against, along)


@kernel
def _fill_weights(conductance: Reals, flow: Reals, a: Reals, b: Reals) -> None:
    for i in range(flow.size):
        a[i], b[i] = weights(conductance[i], flow[i])


def flux_weights(conductance: Reals, flow: Reals) -> tuple[Reals, Reals]:
    """`weights` of arrays of one shape."""
    a, b = np.empty(flow.shape), np.empty(flow.shape)
    _fill_weights(np.ascontiguousarray(conductance).ravel(), np.ascontiguousarray(flow).ravel(), a.reshape(-1), b.reshape(-1))
    return a, b
