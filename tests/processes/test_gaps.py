"""Gaps pass what their pore and the tissue behind it let through, both ways."""

from __future__ import annotations

from math import log, pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tme_sim.processes.gaps import Gaps, gap_conductance_um3_per_s
from tme_sim.state.population import Population
from tme_sim.state.substance import pore_hindrance, stokes_einstein_um2_per_s
from tme_sim.state.variables import ROUTES
from tme_sim.state.vessels import Vessels

RADIUS_UM, LENGTH_UM, PARTICLE_UM, TISSUE_D = 0.25, 0.5, 0.0325, 0.2


def conductance(pore_um=RADIUS_UM, particle_um=PARTICLE_UM, tissue_d=TISSUE_D, phi=0.1):
    return gap_conductance_um3_per_s(np.array([pore_um]), LENGTH_UM, particle_um, tissue_d, np.array([phi])).item()


def water_d(radius_um):
    """k T/(6 π η a) at 37 °C in µm²/s."""
    return 1.380649e-23 * 310.15 / (6 * pi * 0.692e-3 * radius_um * 1e-6) * 1e12


def gaps(**changes):
    settings = {
        "pore_radius_um": RADIUS_UM,
        "wall_length_um": LENGTH_UM,
        "area_fraction": 5e-4,
        "diameter_um": 2 * PARTICLE_UM,
        "diffusivity_um2_per_s": TISSUE_D,
    }
    return Gaps(**(settings | changes))


def with_gaps(state, voxel):
    voxel = np.asarray(voxel, np.int64)
    radius = np.full(len(voxel), RADIUS_UM)
    state.vessels = state.vessels or Vessels(np.unique(voxel), np.ones(len(np.unique(voxel))))
    state.populations["gaps"] = Population(
        {"voxel": voxel, "radius_um": radius, "entered": np.zeros(len(voxel), state.total_dtype)}
    )
    return state


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


def test_one_gap_into_empty_tissue_passes_g_times_c(make_state, advance):
    state = with_gaps(make_state(plasma=1e12, plasma_volume_um3=1e12), [0])
    advance(state, gaps(), 10, 1)
    assert state.fields["nanoparticle"][ROUTES.index("gap"), 0].item() == pytest.approx(conductance() * 1.0 * 10, rel=1e-9)
    assert state.fields["nanoparticle"].sum() == state.fields["nanoparticle"][ROUTES.index("gap"), 0].sum()
    assert state.populations["gaps"]["entered"].item() == state.fields["nanoparticle"].sum()


def test_a_gap_between_two_pools_relaxes_to_equal_concentrations_in_first_order(make_state, advance):
    """dN/dt = G (C_p - N/(φV)) with M carriers in all: N → M φV/(φV + V_p) at the rate G (1/φV + 1/V_p)."""
    space, plasma_volume, total = 0.1 * 15**3, 500.0, 1e6
    rate = conductance() * (1 / space + 1 / plasma_volume)
    time_s = 1 / rate
    exact = total * space / (space + plasma_volume) * (1 - np.exp(-1))
    errors = []
    for steps in (20, 40, 80):
        state = with_gaps(make_state(plasma=total, plasma_volume_um3=plasma_volume), [0])
        advance(state, gaps(), time_s / steps, steps)
        errors.append(state.fields["nanoparticle"].sum() / exact - 1)
    assert np.log2(np.array(errors[:-1]) / np.array(errors[1:])) == pytest.approx(1, abs=0.1)
    assert abs(errors[-1]) < 0.01
    advance(state, gaps(), time_s / 1000, 12_000)
    free = state.fields["nanoparticle"].sum() / space
    assert free == pytest.approx(state.body.pools["plasma"].sum() / plasma_volume, rel=1e-3)


def test_what_goes_back_keeps_its_route_in_the_ledger(make_state, advance):
    state = with_gaps(make_state(), [0])
    state.fields["nanoparticle"][ROUTES.index("transcytosis"), 1] = 1e6
    advance(state, gaps(), 10, 1)
    back = 1e6 * -np.expm1(-conductance() / (0.1 * 15**3) * 10)
    assert state.ledger.returned[0, ROUTES.index("transcytosis"), 1] == pytest.approx(back, rel=1e-9)
    assert state.ledger.returned.sum() == state.ledger.returned[0, ROUTES.index("transcytosis"), 1]
    assert state.body.pools["plasma"][1] == pytest.approx(back, rel=1e-9)


def test_gaps_of_one_voxel_act_together(make_state, advance):
    one, three = (with_gaps(make_state(plasma=1e12), [0] * n) for n in (1, 3))
    for state in (one, three):
        advance(state, gaps(), 1, 20)
    assert three.fields["nanoparticle"].sum() == pytest.approx(3 * one.fields["nanoparticle"].sum(), rel=0.01)
    entered = three.populations["gaps"]["entered"]
    np.testing.assert_allclose(entered, entered[0], rtol=1e-12)


def test_whole_particles_pass_a_gap_with_the_mean_of_real_amounts(make_state, advance):
    """One step moves Binomial(plasma, p): |z| < 4 has probability 1 - 6e-5."""
    real, whole = (with_gaps(make_state(number=n, plasma=10**13), [0]) for n in ("continuum", "stochastic"))
    for state in (real, whole):
        advance(state, gaps(), 60, 1)
    mean = real.fields["nanoparticle"].sum()
    assert mean > 1
    assert abs(whole.fields["nanoparticle"].sum() - mean) < 4 * np.sqrt(mean)


@given(area_fraction=st.floats(1e-5, 0.1), seed=st.integers(0, 2**32))
def test_gaps_are_seeded_in_proportion_to_the_wall(make_state, area_fraction, seed):
    """Their number is Poisson: |z| < 5 in each of the two halves fails once in 10^6 examples."""
    surface = np.array([2e4, 0.0, 6e4])
    state = make_state((1, 1, 3), walls=([0, 1, 2], surface))
    gaps(area_fraction=area_fraction).prepare(state, lambda purpose: np.random.default_rng(seed))
    mean = surface * area_fraction / (pi * RADIUS_UM**2)
    found = np.bincount(state.populations["gaps"]["voxel"], minlength=3)
    assert (np.abs(found - mean) <= 5 * np.sqrt(mean) + 1).all()
    assert found[1] == 0


def test_the_expected_entry_is_that_of_the_mean_number_of_gaps(make_state):
    state = make_state((1, 1, 2), walls=([0, 1], [1000.0, 3000.0]))
    expected = conductance() * 4000 * 5e-4 / (pi * RADIUS_UM**2)
    assert gaps().entry_um3_per_s(state) == pytest.approx(expected, rel=1e-9)


def test_where_no_blood_passes_nothing_goes_in_or_out(make_state, advance):
    state = with_gaps(make_state((1, 1, 2), plasma=1e12), [0, 1, 1])
    state.vessels.arrays["perfused"][1] = 0
    state.fields["nanoparticle"][ROUTES.index("injected"), 0] = 1e6
    advance(state, gaps(), 60, 10)
    assert (state.populations["gaps"]["entered"] > 0).tolist() == [True, False, False]
    left = state.fields["nanoparticle"][ROUTES.index("injected"), 0, 0, 0]
    assert left[0] < 1e6
    assert left[1] == 1e6
