"""What a pore in the vessel wall lets through, in series with the tissue behind it (model section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import pi, sqrt, tanh
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from tme_sim.state.state import State
from tme_sim.state.substance import (
    PA_PER_MMHG,
    WATER_VISCOSITY_PA_S,
    pore_convective_hindrance,
    pore_hindrance,
    stokes_einstein_um2_per_s,
)
from tme_sim.state.vessels import Vessels

Reals = NDArray[np.float64]
Radii = Callable[[Reals], Reals]
"""A distribution of pore radii in µm, as its quantile function on (0, 1)."""


@dataclass(frozen=True)
class Filtration:
    """What drives fluid through a pore: the tissue pressure at which nothing leaks, and the tissue's Darcy conductivity.

    The rest says how far the pressure rises in a whole tumour: the conductivity Lp of the wall between pores, the pressure at the
    tumour's edge, and its radius.
    """

    driving_mmHg: float
    conductivity_um2_per_mmHg_s: float
    wall_um_per_mmHg_s: float = 0.0
    edge_mmHg: float = 0.0
    tumor_radius_um: float = 0.0

    def mean_drop_mmHg(self, leak_per_mmHg_s: float) -> float:
        """Mean of p_0 − p over a sphere that leaks Lp S/V = `leak` (Baxter & Jain 1989): (p_0 − p_edge) 3 (α coth α − 1)/α²."""
        alpha = self.tumor_radius_um * sqrt(leak_per_mmHg_s / self.conductivity_um2_per_mmHg_s)
        share = 3 * (alpha / tanh(alpha) - 1) / alpha**2 if alpha > 1e-3 else 1.0
        return (self.driving_mmHg - self.edge_mmHg) * share


@dataclass(frozen=True)
class Passage:
    """What particles of one size meet in pores of one length; without `filtration` they only diffuse."""

    wall_length_um: float
    particle_radius_um: float
    tissue_diffusivity_um2_per_s: float
    filtration: Filtration | None = None

    def conductance_um3_per_s(self, radius_um: Reals, accessible: Reals) -> Reals:
        """G of pores with this share of the tissue behind them accessible (`accessible_behind`)."""
        return gap_conductance_um3_per_s(
            radius_um, self.wall_length_um, self.particle_radius_um, self.tissue_diffusivity_um2_per_s, accessible
        )

    def leak_um3_per_mmHg_s(self, radius_um: Reals) -> Reals:
        """Q of pores; 0 without filtration."""
        if self.filtration is None:
            return np.zeros_like(radius_um)
        return gap_filtration_um3_per_mmHg_s(radius_um, self.wall_length_um, self.filtration.conductivity_um2_per_mmHg_s)

    def carried_um3_per_mmHg_s(self, radius_um: Reals) -> Reals:
        """W Q of pores."""
        return gap_convection(radius_um, self.particle_radius_um) * self.leak_um3_per_mmHg_s(radius_um)

    def expected_um3_per_s(self, radii: Radii, per_um2: float, state: State) -> float:
        """Volume of plasma that pores scattered over the wall clear, at the mean pressure drop of a tumour with this wall."""
        assert state.vessels is not None
        surface_um2, radius = state.vessels.surface_um2, radii(midpoints(32))[:, None]
        clears = self.conductance_um3_per_s(radius, accessible_behind(state.fields, state.vessels.voxel))
        if self.filtration is not None:
            tissue_um3 = float(state.fields["inside"].sum()) * state.lattice.voxel_um3
            leak = per_um2 * self.leak_um3_per_mmHg_s(radius).mean() + self.filtration.wall_um_per_mmHg_s
            drop = max(0.0, self.filtration.mean_drop_mmHg(leak * float(surface_um2.sum()) / tissue_um3))
            clears, _ = two_way_um3_per_s(clears, self.carried_um3_per_mmHg_s(radius) * drop)
        return float((clears.mean(axis=0) * surface_um2).sum()) * per_um2


def accessible_behind(fields: Mapping[str, NDArray[Any]], voxel: NDArray[np.int64]) -> Reals:
    """(voxels,) φ/(1 − lumen): the share that carriers can reach of the tissue behind the wall; 0 where a voxel is all lumen.

    How much lumen a voxel of the wall holds beside that tissue is a matter of the voxel's size, not of the pore.
    """
    accessible = fields["accessible_fraction"].ravel()[voxel]
    tissue = 1 - fields["lumen_fraction"].ravel()[voxel]
    return np.asarray(np.divide(accessible, tissue, out=np.zeros_like(accessible), where=tissue > 0))


def log_normal_radii(median_um: float, spread: float, largest_um: float) -> Radii:
    """Radii whose logarithms are normal with standard deviation `spread`, none above `largest_um`; the median is that uncut."""
    if spread == 0:
        return lambda quantile: np.full(quantile.shape, median_um)
    kept = ndtr(np.log(largest_um / median_um) / spread)
    return lambda quantile: median_um * np.exp(spread * ndtri(quantile * kept))


def uniform_radii(smallest_um: float, largest_um: float) -> Radii:
    """Radii evenly between two bounds."""
    return lambda quantile: smallest_um + (largest_um - smallest_um) * quantile


def midpoints(n: int) -> Reals:
    """The middles of n equal parts of (0, 1): quantiles over which a mean is taken."""
    return (np.arange(n) + 0.5) / n


def mean_area_um2(radii: Radii) -> float:
    """Mean of π r²."""
    return float(pi * (radii(midpoints(4096)) ** 2).mean())


def scatter(radii: Radii, per_um2: float, vessels: Vessels, random: np.random.Generator) -> tuple[NDArray[np.int64], Reals]:
    """Pores at random on the wall, by its surface: the voxel of each, and its radius."""
    voxel = np.repeat(vessels.voxel, random.poisson(vessels.surface_um2 * per_um2))
    return voxel, radii(random.random(len(voxel)))


def gap_columns(voxel: NDArray[np.int64], radius_um: Reals, dtype: type, *, transient: bool = False) -> dict[str, NDArray[Any]]:
    """The columns of the population `gaps`, for gaps that are open, or may open and are shut."""
    n = len(voxel)
    return {
        "voxel": voxel,
        "radius_um": radius_um,
        "transient": np.full(n, transient, np.int8),
        "open": np.full(n, not transient, np.int8),
        "opened": np.zeros(n, np.int64),
        "entered": np.zeros(n, dtype),
    }


def driving_pressure_mmHg(vessel: float, vessel_oncotic: float, tissue_oncotic: float, reflection: float) -> float:
    """The tissue pressure at which nothing leaks, p_v − σ (π_v − π_i)."""
    return vessel - reflection * (vessel_oncotic - tissue_oncotic)


def sphere_radius_um(mass_g: float, density_g_per_mL: float) -> float:
    """Radius of a spherical tumour of this mass."""
    return float((3 * mass_g / density_g_per_mL * 1e12 / (4 * pi)) ** (1 / 3))


def gap_conductance_um3_per_s(
    pore_radius_um: Reals,
    wall_length_um: float,
    particle_radius_um: float,
    tissue_diffusivity_um2_per_s: float,
    accessible_fraction: Reals,
) -> Reals:
    """G of one gap: 1/G = L/(H(a/r) D0 π r²) + 1/(4 φ D_t r), the pore and the access to the tissue behind it in series.

    The access term is the flux 4 D r to a disc in a half-space of which φ is accessible; pores no wider than
    the particle pass nothing.
    """
    hindrance = _by_size(pore_hindrance, particle_radius_um, pore_radius_um)
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
    return _by_size(pore_convective_hindrance, particle_radius_um, pore_radius_um)


def _by_size(hindrance: Callable[[float], float], particle_radius_um: float, pore_radius_um: Reals) -> Reals:
    """A hindrance at λ = a/r of pores, computed once for each size of pore."""
    sizes, of_gap = np.unique(pore_radius_um, return_inverse=True)
    return np.array([hindrance(particle_radius_um / r) for r in sizes])[of_gap].reshape(np.shape(pore_radius_um))


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
