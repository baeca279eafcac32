"""What a pore in the vessel wall lets through, in series with the tissue behind it (model section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.state.substance import (
    PA_PER_MMHG,
    WATER_VISCOSITY_PA_S,
    pore_convective_hindrance,
    pore_hindrance,
    stokes_einstein_um2_per_s,
)

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class Filtration:
    """What drives fluid through a pore: the tissue pressure at which nothing leaks, and the tissue's Darcy conductivity."""

    driving_mmHg: float
    conductivity_um2_per_mmHg_s: float


def driving_pressure_mmHg(vessel: float, vessel_oncotic: float, tissue_oncotic: float, reflection: float) -> float:
    """The tissue pressure at which nothing leaks, p_v − σ (π_v − π_i)."""
    return vessel - reflection * (vessel_oncotic - tissue_oncotic)


def gap_conductance_um3_per_s(
    pore_radius_um: Reals,
    wall_length_um: float,
    particle_radius_um: float,
    tissue_diffusivity_um2_per_s: float,
    accessible_fraction: Reals,
) -> Reals:
    """G of one gap: 1/G = L/(H(a/r) D0 π r²) + 1/(4 φ D_t r), the pore and the access to the tissue behind it in series.

    The access term is the flux 4 D r to a disc in a half-space; pores no wider than the particle pass nothing.
    """
    sizes, of_gap = np.unique(pore_radius_um, return_inverse=True)
    hindrance = np.array([pore_hindrance(particle_radius_um / r) for r in sizes])[of_gap]
    pore = hindrance * stokes_einstein_um2_per_s(particle_radius_um) * pi * pore_radius_um**2 / wall_length_um
    access = 4 * accessible_fraction * tissue_diffusivity_um2_per_s * pore_radius_um
    total = pore + access
    return np.divide(pore * access, total, out=np.zeros_like(total), where=total > 0)


def gap_filtration_um3_per_mmHg_s(pore_radius_um: Reals, wall_length_um: float, conductivity_um2_per_mmHg_s: float) -> Reals:
    """Q of one gap: 1/Q = 8 μ L/(π r⁴) + 1/(4 K r), the pore and the access to the tissue behind it in series."""
    pore = 8 * WATER_VISCOSITY_PA_S / PA_PER_MMHG * wall_length_um / (pi * pore_radius_um**4)
    return 1 / (pore + 1 / (4 * conductivity_um2_per_mmHg_s * pore_radius_um))


def gap_convection(pore_radius_um: Reals, particle_radius_um: float) -> Reals:
    """W of each gap, the share of the fluid's velocity that particles take part in, partition included."""
    sizes, of_gap = np.unique(pore_radius_um, return_inverse=True)
    return np.array([pore_convective_hindrance(particle_radius_um / r) for r in sizes])[of_gap]


def two_way_um3_per_s(conductance_um3_per_s: Reals, carried_um3_per_s: ArrayLike) -> tuple[Reals, Reals]:
    """Volumes cleared per second of plasma and of free tissue concentration by diffusion and convection together.

    With a flow W J_v = `carried` into the tissue, J = W J_v (C_p − (C_i/φ) e^(−Pe))/(1 − e^(−Pe)), Pe = W J_v/G (Patlak 1963), is
    in · C_p − out · C_i/φ with in = G B(−Pe), out = G B(Pe), B(x) = x/(eˣ − 1): both G at rest, never negative, and the upstream
    side alone at |Pe| ≫ 1. Where G is 0 nothing passes.
    """
    passes = conductance_um3_per_s > 0
    peclet = np.divide(carried_um3_per_s, conductance_um3_per_s, out=np.zeros_like(conductance_um3_per_s), where=passes)
    return conductance_um3_per_s * _bernoulli(-peclet), conductance_um3_per_s * _bernoulli(peclet)


def _bernoulli(x: Reals) -> Reals:
    """x/(eˣ − 1), 1 at 0."""
    with np.errstate(over="ignore"):  # of a large x the exponential takes infinity, and the quotient 0
        return np.divide(x, np.expm1(x), out=np.ones_like(x), where=x != 0)
