"""How diffusion and flow together carry something over a face."""

from __future__ import annotations

import numpy as np

from tme_sim.numerics.arrays import Reals


def flux_weights(conductance: Reals, flow: Reals) -> tuple[Reals, Reals]:
    """The weights (a, b) of a flux a·u_below − b·u_above: a = g B(−P), b = g B(P), P = flow/g, B(P) = P/(e^P − 1).

    conductance: g ≥ 0; flow: velocity times distance, positive upwards, in the unit of g and of its shape. The flux of the steady
    profile between two points (Scharfetter & Gummel 1969, doi:10.1109/T-ED.1969.16566): g (u_below − u_above) at rest, upwind
    where the flow dominates; both weights are never negative and a − b = flow.
    """
    speed = np.abs(flow)
    with np.errstate(over="ignore"):
        peclet = np.divide(speed, conductance, out=np.full_like(speed, np.inf), where=conductance > 0.0)
    moves = (speed > 0.0) & (peclet > 0.0)
    along = np.divide(speed, -np.expm1(-peclet), out=conductance.copy(), where=moves)
    against = np.where(moves, along * np.exp(-peclet), conductance)
    upwards = flow > 0.0
    return np.where(upwards, along, against), np.where(upwards, against, along)
