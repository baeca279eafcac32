"""Gaps pass what their pore and the tissue behind it let through, both ways."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from tme_sim.processes.gaps import Gaps
from tme_sim.state.errors import InputError
from tme_sim.state.ledger import RELATIVE_TOLERANCE, audit
from tme_sim.state.population import Population
from tme_sim.state.pores import (
    Filtration,
    accessible_behind,
    gap_columns,
    gap_conductance_um3_per_s,
    gap_convection,
    gap_filtration_um3_per_mmHg_s,
)
from tme_sim.state.substance import pore_convective_hindrance
from tme_sim.state.variables import ROUTES
from tme_sim.state.vessels import Vessels

RADIUS_UM, LENGTH_UM, PARTICLE_UM, TISSUE_D = 0.25, 0.5, 0.0325, 0.2


def conductance(pore_um=RADIUS_UM, particle_um=PARTICLE_UM, tissue_d=TISSUE_D, phi=0.1):
    return gap_conductance_um3_per_s(np.array([pore_um]), LENGTH_UM, particle_um, tissue_d, np.array([phi])).item()


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
    state.populations["gaps"] = Population(gap_columns(voxel, radius, state.total_dtype))
    return state


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
    back = 1e6 * conductance() / (0.1 * 15**3) * 10
    assert state.ledger.returned[0, ROUTES.index("transcytosis"), 1] == pytest.approx(back, rel=1e-9)
    assert state.ledger.returned.sum() == state.ledger.returned[0, ROUTES.index("transcytosis"), 1]
    assert state.body.pools["plasma"][1] == pytest.approx(back, rel=1e-9)


@pytest.mark.parametrize("number", ["continuum", "stochastic"])
@pytest.mark.parametrize("dt_s", [60.0, 1e6])
def test_blood_and_tissue_come_to_the_same_balance_for_any_step(make_state, advance, number, dt_s):
    """C_i = φ C_p in a closed voxel, though 1e6 s is many times what the gaps need to fill it."""
    state = with_gaps(make_state(number=number, plasma=10**12, plasma_volume_um3=1e9), [0] * 20)
    advance(state, gaps(), dt_s, 2000 if dt_s == 60.0 else 3)
    expected = 1e3 * 0.1 * 15**3
    assert state.fields["nanoparticle"].sum() == pytest.approx(expected, rel=4 / np.sqrt(expected) + 1e-3)


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


# Beside lumen


def test_what_a_pore_leads_to_is_the_tissue_beside_the_lumen(make_state):
    """Of φ_t = 0.1 of the tissue a voxel has φ = 0.1 (1 − lumen); where nothing but lumen is, nothing is behind the wall."""
    state = with_gaps(make_state((1, 1, 4), accessible=[0.1, 0.05, 0.01, 0]), np.arange(4))
    state.fields["lumen_fraction"] = np.array([0, 0.5, 0.9, 1.0]).reshape(1, 1, 4)
    assert accessible_behind(state.fields, np.arange(4)) == pytest.approx([0.1, 0.1, 0.1, 0], rel=1e-12)
    assert gaps().entry_um3_per_s(state) == pytest.approx(0.75 * conductance() * 4 * 5e-4 / (pi * RADIUS_UM**2), rel=1e-9)


def test_nothing_passes_between_equal_concentrations_beside_lumen(make_state, advance):
    """At C_i/φ = C_p, φ that of the voxel, what goes in comes back: G is the same both ways, and large."""
    phi = np.array([0.1, 0.05, 0.01])
    state = with_gaps(make_state((1, 1, 3), accessible=phi, plasma=1e18, plasma_volume_um3=1e18), np.arange(3))
    state.fields["lumen_fraction"] = (1 - phi / 0.1).reshape(1, 1, 3)
    state.fields["nanoparticle"][ROUTES.index("gap"), 0] = phi * 15**3
    advance(state, gaps(), 1e-3, 1000)
    assert state.fields["nanoparticle"][:, 0].sum(axis=0).ravel() == pytest.approx(phi * 15**3, rel=1e-6)
    assert state.populations["gaps"]["entered"] == pytest.approx(np.full(3, conductance()), rel=1e-3)


@pytest.mark.parametrize(
    ("cells", "most"), [("cells.density=1 1/mm^3", 1e-6), ("seed=2", 0.05), ("seed=3", 0.06), ("seed=1", 0.09)]
)
def test_a_walls_permeability_is_that_of_the_network_whatever_the_mesh(built, cells, most):
    """Alike without cells; with them it differs by which of the sites beside these few vessels hold one."""
    found = []
    for refinement in (1, 2, 3):
        start = built("lattice.size=180um", "number=continuum", f"lattice.refinement={refinement}", cells)
        found.append(start.processes["gaps"].entry_um3_per_s(start.state) / start.state.vessels.surface_um2.sum())
    assert max(found) / min(found) - 1 < most


# With the fluid that leaks

DRIVING, CONDUCTIVITY = 11.5, 4.13
LEAK = gap_filtration_um3_per_mmHg_s(np.array([RADIUS_UM]), LENGTH_UM, CONDUCTIVITY).item()


def leaky(state, pressure_mmHg, **changes):
    """Gaps and a state whose tissue is everywhere at this pressure."""
    state.fields["interstitial_pressure_mmHg"] = np.full(state.lattice.voxels, pressure_mmHg)
    return gaps(filtration=Filtration(DRIVING, CONDUCTIVITY), **changes)


def test_a_balanced_pressure_and_none_at_all_give_the_same_bits(make_state, advance, digests):
    found = []
    for number in ("continuum", "stochastic"):
        for convective in (False, True):
            state = with_gaps(make_state((1, 1, 3), number, plasma=10**13), [0, 1, 1])
            process = leaky(state, DRIVING) if convective else gaps()
            advance(state, process, 60, 50)
            state.fields.pop("interstitial_pressure_mmHg", None)
            found.append(digests(state))
    assert found[0] == found[1] != found[2] == found[3]


def test_without_a_flow_in_the_run_no_pressure_is_read(make_state):
    assert "fields.interstitial_pressure_mmHg" not in gaps().reads
    assert "fields.interstitial_pressure_mmHg" in leaky(make_state(), 0.0).reads


def test_a_leaking_gap_carries_w_jv_cp(make_state, advance):
    state = with_gaps(make_state(plasma=1e12, plasma_volume_um3=1e12), [0])
    advance(state, leaky(state, 5.0), 10, 1)
    share = gap_convection(np.array([RADIUS_UM]), PARTICLE_UM).item()
    assert share == pore_convective_hindrance(PARTICLE_UM / RADIUS_UM)
    assert share * LEAK * 6.5 > 100 * conductance()
    assert state.fields["nanoparticle"].sum() == pytest.approx(share * LEAK * (DRIVING - 5.0) * 10, rel=1e-8)


def test_a_gap_that_sucks_carries_back_what_is_in_the_tissue(make_state, advance):
    state = with_gaps(make_state(plasma=1e12, plasma_volume_um3=1e12), [0])
    state.fields["nanoparticle"][ROUTES.index("gap"), 0] = 1e6
    state.ledger.entered[0, ROUTES.index("gap"), 0] = 1e6
    state.ledger.injected[0] += 1e6
    advance(state, leaky(state, 2 * DRIVING), 1, 1)
    rate = gap_convection(np.array([RADIUS_UM]), PARTICLE_UM).item() * LEAK * DRIVING / (0.1 * 15**3)
    assert state.ledger.returned.sum() == pytest.approx(1e6 * rate, rel=1e-3)
    assert state.populations["gaps"]["entered"].item() < 1e-30
    assert audit(state) < 1e-12


@pytest.mark.parametrize("peclet", [-2.0, -0.3, 0.1, 1.0, 3.0])
def test_nothing_passes_at_the_ratio_of_equilibrium(make_state, advance, peclet):
    """C_i/φ = e^Pe C_p: in small steps what goes in comes back."""
    carried = gap_convection(np.array([RADIUS_UM]), PARTICLE_UM).item() * LEAK
    state = with_gaps(make_state(plasma=1e18, plasma_volume_um3=1e18), [0])
    field = state.fields["nanoparticle"]
    field[ROUTES.index("gap"), 0] = np.exp(peclet) * 0.1 * 15**3
    before = field.sum()
    advance(state, leaky(state, DRIVING - peclet * conductance() / carried), 1e-3, 1000)
    assert field.sum() == pytest.approx(before, rel=1e-6)
    assert state.populations["gaps"]["entered"].item() > 1e-3


@pytest.mark.parametrize("number", ["continuum", "stochastic"])
def test_what_leaks_in_and_is_sucked_out_balances(make_state, advance, number):
    state = with_gaps(make_state((1, 2, 4), number, plasma=10**14, copies=3), [0, 1, 1, 5, 7])
    process = leaky(state, 0.0)
    state.fields["interstitial_pressure_mmHg"][...] = np.linspace(0, 2 * DRIVING, 8).reshape(1, 2, 4)
    advance(state, process, 60, 50)
    assert audit(state) <= (0 if number == "stochastic" else RELATIVE_TOLERANCE)
    assert state.fields["nanoparticle"].min() >= 0
    assert (state.populations["gaps"]["entered"][:3] > 1000).all()


def test_the_expected_entry_with_a_flow_is_at_the_mean_pressure_drop_of_the_tumour(make_state):
    """Of a sphere of radius R the mean of p_0 − p is that of no outflow times 3 (α coth α − 1)/α² (literature row V01)."""
    state = make_state((1, 1, 2), walls=([0, 1], [1000.0, 3000.0]))
    state.fields["inside"] = np.ones((1, 1, 2))
    number = 4000 * 5e-4 / (pi * RADIUS_UM**2)
    most = gap_convection(np.array([RADIUS_UM]), PARTICLE_UM).item() * LEAK * DRIVING * number
    assert leaky(state, 0.0).entry_um3_per_s(state) == pytest.approx(most, rel=1e-6)
    alpha = 3000 * np.sqrt((number * LEAK + 1e-3 * 4000) / (2 * 15**3) / CONDUCTIVITY)
    filtration = Filtration(DRIVING, CONDUCTIVITY, wall_um_per_mmHg_s=1e-3, tumor_radius_um=3000.0)
    expected = most * 3 * (alpha / np.tanh(alpha) - 1) / alpha**2
    assert expected < 0.05 * most
    assert gaps(filtration=filtration).entry_um3_per_s(state) == pytest.approx(expected, rel=0.02)  # some diffusion too


# Of different sizes


def test_gaps_of_log_normal_radius_keep_their_share_of_the_wall(make_state):
    """Area of N ~ Poisson gaps: relative error √(E r⁴/E r²²/N); |z| < 4 has probability 1 - 6e-5."""
    process = gaps(pore_radius_um=0.1, radius_spread=0.5, largest_radius_um=0.3, area_fraction=0.01)
    state = make_state(walls=([0], [1e6]))
    process.prepare(state, lambda purpose: np.random.default_rng(5))
    radius = state.populations["gaps"]["radius_um"]
    assert radius.max() <= 0.3
    area, n = pi * (radius**2).sum(), len(radius)
    spread = np.sqrt((radius**4).mean() / (radius**2).mean() ** 2 / n)
    assert area == pytest.approx(0.01 * 1e6, rel=4 * spread)
    below = scipy.stats.norm.cdf(np.log(3) / 0.5)  # the cut at three medians
    cut = scipy.stats.kstest(radius, lambda r: scipy.stats.norm.cdf(np.log(r / 0.1) / 0.5) / below)
    assert cut.pvalue > 1e-4


def test_the_expected_entry_of_different_gaps_is_the_mean_of_each(make_state):
    process = gaps(pore_radius_um=0.1, radius_spread=0.5, largest_radius_um=0.3, area_fraction=0.01)
    state = make_state(walls=([0], [1e6]))
    process.prepare(state, lambda purpose: np.random.default_rng(6))
    radius = state.populations["gaps"]["radius_um"]
    clears = gap_conductance_um3_per_s(radius, LENGTH_UM, PARTICLE_UM, TISSUE_D, np.full(len(radius), 0.1))
    assert process.entry_um3_per_s(state) == pytest.approx(clears.sum(), rel=0.02)


def test_a_gap_that_is_shut_lets_nothing_in_or_out(make_state, advance):
    state = with_gaps(make_state((1, 1, 2), plasma=1e12), [0, 1, 1])
    state.populations["gaps"]["open"][1:] = 0
    state.fields["nanoparticle"][ROUTES.index("injected"), 0] = 1e6
    advance(state, gaps(), 60, 10)
    assert (state.populations["gaps"]["entered"] > 0).tolist() == [True, False, False]
    assert state.fields["nanoparticle"][ROUTES.index("injected"), 0, 0, 0, 1] == 1e6


def test_a_largest_gap_below_the_median_is_refused():
    with pytest.raises(InputError, match="largest_radius"):
        gaps(pore_radius_um=0.5, largest_radius_um=0.3)
