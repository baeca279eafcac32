"""What a pore lets through: hindrance, access, leaking fluid, and how far the pressure lets it leak."""

from __future__ import annotations

from math import log, pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tme_sim.state.pores import (
    Filtration,
    driving_pressure_mmHg,
    gap_conductance_um3_per_s,
    two_way_um3_per_s,
)
from tme_sim.state.substance import pore_convective_hindrance, pore_hindrance, stokes_einstein_um2_per_s

RADIUS_UM, LENGTH_UM, PARTICLE_UM, TISSUE_D = 0.25, 0.5, 0.0325, 0.2


def conductance(pore_um=RADIUS_UM, particle_um=PARTICLE_UM, tissue_d=TISSUE_D, phi=0.1):
    return gap_conductance_um3_per_s(np.array([pore_um]), LENGTH_UM, particle_um, tissue_d, np.array([phi])).item()


def water_d(radius_um):
    """k T/(6 π η a) at 37 °C in µm²/s."""
    return 1.380649e-23 * 310.15 / (6 * pi * 0.692e-3 * radius_um * 1e-6) * 1e12


def fluxes(peclet, conductance=1.0):
    into, back = two_way_um3_per_s(np.array([conductance]), peclet * conductance)
    return into.item(), back.item()


def test_a_small_particle_in_a_wide_open_tissue_sees_the_free_pore():
    free = water_d(1e-7) * pi * RADIUS_UM**2 / LENGTH_UM
    assert conductance(particle_um=1e-7, tissue_d=1e15) == pytest.approx(free, rel=1e-5)


def test_the_pores_share_of_the_resistance_is_that_of_hindered_diffusion_through_a_cylinder():
    ratio = 0.01  # first terms of Dechadilok & Deen 2006; the next one is below 6e-5
    expected = 1 + 9 / 8 * ratio * log(ratio) - 1.56034 * ratio
    free = water_d(ratio * RADIUS_UM) * pi * RADIUS_UM**2 / LENGTH_UM
    assert conductance(particle_um=ratio * RADIUS_UM, tissue_d=1e12) == pytest.approx(free * expected, rel=2e-4)


def test_a_tissue_that_hardly_conducts_leaves_the_flux_to_a_disc_in_a_half_space():
    assert conductance(tissue_d=1e-7) == pytest.approx(4 * 0.1 * 1e-7 * RADIUS_UM, rel=1e-6)


def test_pore_and_access_resistances_add_up():
    pore, access = conductance(tissue_d=1e15), 4 * 0.1 * TISSUE_D * RADIUS_UM
    assert 1 / conductance() == pytest.approx(1 / pore + 1 / access, rel=1e-9)


@pytest.mark.parametrize("ratio", [1.0, 1.0001, 3.0])
def test_a_particle_as_wide_as_the_pore_does_not_pass(ratio):
    assert conductance(particle_um=ratio * RADIUS_UM) == 0


def test_no_accessible_tissue_behind_the_pore_lets_nothing_through():
    assert conductance(phi=0.0) == 0


def test_hindrance_falls_from_one_to_zero_without_turning():
    """The polynomial was fitted up to 0.95; what it does beyond is below 3e-6."""
    assert pore_hindrance(0.0) == 1
    assert pore_hindrance(1.0) == 0
    values = np.array([pore_hindrance(ratio) for ratio in np.linspace(0, 0.95, 2001)])
    assert (np.diff(values) < 0).all()
    beyond = np.array([pore_hindrance(ratio) for ratio in np.linspace(0.95, 1, 101)])
    assert (beyond >= 0).all()
    assert beyond.max() < 3e-6


@pytest.mark.parametrize(
    ("particle_nm", "pore_nm", "permeability_cm_per_s"), [(15, 58.0, 2.04e-8), (32.5, 58.0, 7.89e-10), (32.5, 346.4, 2.31e-8)]
)
def test_hindrance_agrees_with_bungay_and_brenner_within_a_quarter(particle_nm, pore_nm, permeability_cm_per_s):
    """P = γ H D0/L with γ = 1e-3, L = 5e-4 cm, η = 4e-3 Pa s (literature V07).

    The two differ as the centre line does from the mean over the pore.
    """
    d0_cm2_per_s = water_d(particle_nm / 1000) * 0.692 / 4 * 1e-8
    assert pore_hindrance(particle_nm / pore_nm) == pytest.approx(permeability_cm_per_s / (2 * d0_cm2_per_s), rel=0.25)


def test_stokes_einstein_in_water():
    assert stokes_einstein_um2_per_s(0.0325) == pytest.approx(10.10, rel=1e-3)  # k T = 4.282e-21 J over 4.239e-10 J s/m²


def test_convective_hindrance_falls_from_one_to_zero_and_starts_without_a_slope():
    """A small sphere goes with the fluid but for its absence next to the wall: 1 − W is of second order."""
    assert pore_convective_hindrance(0.0) == 1
    assert pore_convective_hindrance(1.0) == pore_convective_hindrance(2.0) == 0
    small = np.array([1 - pore_convective_hindrance(ratio) for ratio in (1e-3, 2e-3)])
    assert small[1] / small[0] == pytest.approx(4, rel=0.01)
    assert (np.diff([pore_convective_hindrance(ratio) for ratio in np.linspace(0, 1, 1001)]) < 0).all()


@pytest.mark.parametrize(("particle_nm", "pore_nm", "reflected"), [(15, 58.0, 0.239), (32.5, 58.0, 0.720), (50, 58.0, 0.978)])
def test_convective_hindrance_agrees_with_bungay_and_brenner(particle_nm, pore_nm, reflected):
    """s = 1 − W of literature row V07, on the centre line; the mean over the pore is up to 0.05 away."""
    assert 1 - pore_convective_hindrance(particle_nm / pore_nm) == pytest.approx(reflected, abs=0.05)


@pytest.mark.parametrize(("peclet", "share"), [(0.1, 0.951), (1, 0.582), (3, 0.157)])
def test_wall_flux_at_peclet_is_that_of_patlak(peclet, share):
    """Js = Jv W Cp + G (Cp − Ci/φ) Pe/(e^Pe − 1), literature row V06."""
    into, back = fluxes(peclet)
    assert back == pytest.approx(share, abs=5e-4)
    for plasma, tissue in ((1.0, 0.0), (1.0, 0.7), (0.2, 3.0)):
        expected = peclet * plasma + (plasma - tissue) * peclet / (np.exp(peclet) - 1)
        assert into * plasma - back * tissue == pytest.approx(expected, rel=1e-12)


@given(peclet=st.floats(-1e6, 1e6), conductance=st.floats(1e-6, 1e3))
def test_neither_way_is_ever_negative_and_their_difference_is_what_the_fluid_carries(peclet, conductance):
    into, back = fluxes(peclet, conductance)
    assert into >= 0
    assert back >= 0
    assert into - back == pytest.approx(peclet * conductance, rel=1e-9, abs=1e-9 * conductance)


def test_without_flow_it_is_diffusion_to_the_bit_and_nearly_so_with_little():
    assert fluxes(0.0, 0.37) == (0.37, 0.37)
    for tiny in (1e-300, 1e-12, -1e-12):
        assert fluxes(tiny, 0.37) == pytest.approx((0.37, 0.37), rel=1e-11)


def test_a_strong_flow_carries_what_is_upstream():
    assert fluxes(1e4) == pytest.approx((1e4, 0.0))
    assert fluxes(-1e4) == pytest.approx((0.0, 1e4))


def test_what_does_not_diffuse_through_is_not_carried_through_either():
    into, back = two_way_um3_per_s(np.zeros(2), np.array([5.0, -5.0]))
    assert not into.any()
    assert not back.any()


def test_the_pressure_at_which_nothing_leaks():
    assert driving_pressure_mmHg(15.6, 20.0, 15.0, 0.82) == pytest.approx(11.5)


@pytest.mark.parametrize(("alpha", "share"), [(1, 0.939), (2, 0.806), (5, 0.480), (10, 0.270)])
def test_the_mean_pressure_drop_is_that_of_the_sphere(alpha, share):
    """Literature row V01 has the volume mean of the rise, 0.061, 0.194, 0.520, 0.730."""
    filtration = Filtration(11.0, 4.0, edge_mmHg=1.0, tumor_radius_um=1000.0)
    assert filtration.mean_drop_mmHg(4e-6 * alpha**2) == pytest.approx(10 * share, abs=6e-3)
