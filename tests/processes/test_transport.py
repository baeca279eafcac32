"""Free particles spread by chance and in the mean alike, come to rest at equal concentrations, and stay in their patch."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from tme_sim.processes.transport import FEW, FLOW, VELOCITY, Transport
from tme_sim.state.errors import InputError
from tme_sim.state.lattice import Patch
from tme_sim.state.variables import FORMS, ROUTES

D_UM2_PER_S = 0.3


def test_counts_spread_as_real_amounts_do(make_state, advance):
    """All particles start in one voxel, so the counts are multinomial around the continuum: chi² at the level 1e-4, two-sided."""
    accessible = np.random.default_rng(0).uniform(0.02, 0.2, (7, 7, 7))
    accessible[3, 3, 5:] = 0
    n = 10**7
    found = {}
    for number in ("continuum", "stochastic"):
        state = make_state((7, 7, 7), number, accessible=accessible)
        state.fields["nanoparticle"][1, 0, 3, 3, 3] = n
        advance(state, Transport(diffusivity_um2_per_s=D_UM2_PER_S), 300, 12)
        found[number] = state.fields["nanoparticle"][1, 0].astype(float)
        assert found[number].sum() == pytest.approx(n, rel=1e-12)
    mean = found["continuum"]
    assert (found["stochastic"][mean == 0] == 0).all()
    enough = mean > 10
    statistic = ((found["stochastic"] - mean)[enough] ** 2 / mean[enough]).sum()
    low, high = chi2.ppf([5e-5, 1 - 5e-5], enough.sum() - 1)
    assert low < statistic < high


def test_at_rest_the_free_concentration_is_uniform(make_state, advance):
    accessible = np.random.default_rng(1).uniform(0.01, 0.3, (5, 5, 5))
    state = make_state((5, 5, 5), accessible=accessible)
    state.fields["nanoparticle"][2, 1, 0, 0, 0] = 1e6
    advance(state, Transport(diffusivity_um2_per_s=50.0), 60, 3000)
    free = state.fields["nanoparticle"][2, 1] / accessible
    np.testing.assert_allclose(free, 1e6 / accessible.sum(), rtol=1e-8)


@pytest.mark.parametrize("number", ["continuum", "stochastic"])
def test_nothing_passes_between_patches(make_state, advance, number):
    patches = (Patch("rim", 0, 2, 3), Patch("core", 2, 3, 7))
    state = make_state((5, 3, 3), number, patches=patches)
    state.fields["nanoparticle"][1, 0, 1] = 1000
    state.fields["nanoparticle"][2, 1, 4] = 500
    advance(state, Transport(diffusivity_um2_per_s=2.0), 60, 200)
    field = state.fields["nanoparticle"]
    assert field[1, 0, :2].sum() == pytest.approx(9000, rel=1e-12)
    assert field[2, 1, 2:].sum() == pytest.approx(4500, rel=1e-12)
    assert field[1, 0, 2:].sum() == field[2, 1, :2].sum() == 0
    assert (field[1, 0, 0] > 0).all()


def test_routes_and_forms_move_without_mixing(make_state, advance):
    state = make_state((4, 4, 4), "stochastic")
    amounts = np.random.default_rng(2).integers(0, 1000, (len(ROUTES), len(FORMS)))
    state.fields["nanoparticle"][:, :, 1, 2, 1] = amounts
    advance(state, Transport(diffusivity_um2_per_s=1.0), 60, 50)
    np.testing.assert_array_equal(state.fields["nanoparticle"].sum(axis=(2, 3, 4)), amounts)


def test_a_step_too_long_for_one_hop_is_taken_in_parts(make_state, advance):
    """With D dt/h² = 2.7 a single explicit step would be unstable; in parts it stays positive and near the exact spread."""
    state = make_state((1, 1, 121))
    state.fields["nanoparticle"][0, 0, 0, 0, 60] = 1.0
    advance(state, Transport(diffusivity_um2_per_s=10.0), 60, 5)
    field = state.fields["nanoparticle"][0, 0, 0, 0]
    assert field.min() >= 0
    x_um = (np.arange(121) - 60) * 15.0
    assert field @ x_um**2 == pytest.approx(2 * 10 * 300, rel=1e-7)  # conductances are kept in float32


def test_many_parts_are_taken_by_super_time_stepping_and_few_are_not(make_state, advance):
    """200 explicit parts a step, from a single voxel: after one step at most 2 % of it are elsewhere, after three 0.1 %."""
    found = {}
    for integrator in ("auto", "explicit", "rkl2"):
        state = make_state((15, 15, 15))
        field = state.fields["nanoparticle"][1, 0]
        field[7, 7, 7] = 1e6
        process = Transport(diffusivity_um2_per_s=112.0, integrator=integrator)
        advance(state, process, 60, 1)
        found[integrator] = [field.copy()]
        advance(state, process, 60, 2)
        found[integrator].append(field)
        assert min(one.min() for one in found[integrator]) >= 0.0
        assert field.sum() == pytest.approx(1e6, rel=1e-13)
        assert (process.integration is None) == (integrator == "explicit")
        assert set(process.report()) == (set() if integrator == "explicit" else {"rkl2_evaluations", "rkl2_error"})
    np.testing.assert_array_equal(found["auto"], found["rkl2"])
    for at, share in enumerate((0.02, 0.001)):
        assert np.abs(found["rkl2"][at] - found["explicit"][at]).sum() < share * 1e6
    slow, state = Transport(diffusivity_um2_per_s=112.0 * FEW / 200), make_state((15, 15, 15))
    state.fields["nanoparticle"][1, 0, 7, 7, 7] = 1e6
    advance(state, slow, 60, 1)
    assert slow.integration is None


def carried(make_state, number="continuum"):
    state = make_state((1, 1, 60), number, accessible=np.full((1, 1, 60), 0.1))
    state.fields["nanoparticle"][1, 0, 0, 0, 10] = 10_000
    state.fields |= {name: np.zeros(state.lattice.voxels) for name in FLOW[1:]}
    state.fields[VELOCITY] = np.zeros((3, 1, 1, 60))
    state.fields[VELOCITY][2] = 0.02
    return state


@pytest.mark.parametrize("number", ["continuum", "stochastic"])
def test_flow_carries_particles_at_its_velocity_over_the_accessible_volume(make_state, advance, number):
    """10 voxels in 15 × 10 × 0.1/(0.5 × 0.02) s; the mean of a random walk with drift is exact, its variance 2 D t and more."""
    state = carried(make_state, number)
    flow = Transport(diffusivity_um2_per_s=0.1, retardation=0.5, has_flow=True)
    assert flow.reads == {"fields.accessible_fraction", *(f"fields.{name}" for name in FLOW)}
    advance(state, flow, 60, 25)
    field = state.fields["nanoparticle"][1, 0, 0, 0].astype(float)
    x = np.arange(60)
    assert field.sum() == pytest.approx(10_000, rel=1e-12)
    spread = np.sqrt(field @ (x - 20.0) ** 2 / 10_000)
    if number == "continuum":
        assert field @ x / 10_000 == pytest.approx(20.0, rel=1e-7)
    else:
        assert field @ x / 10_000 == pytest.approx(20.0, abs=4 * spread / 100)  # four standard errors


def test_another_flow_is_noticed_and_a_fresh_process_does_what_a_used_one_does(make_state, advance):
    used, state, other = Transport(diffusivity_um2_per_s=0.1, has_flow=True), carried(make_state), carried(make_state)
    advance(state, used, 60, 5)
    advance(other, Transport(diffusivity_um2_per_s=0.1, has_flow=True), 60, 5)
    for one in (state, other):
        one.fields[VELOCITY] *= -1.0
    advance(state, used, 60, 5)
    advance(other, Transport(diffusivity_um2_per_s=0.1, has_flow=True), 60, 5)
    np.testing.assert_array_equal(state.fields["nanoparticle"], other.fields["nanoparticle"])
    field = state.fields["nanoparticle"][1, 0, 0, 0]
    assert field @ np.arange(60) / 10_000 == pytest.approx(10.0, rel=1e-9)


def test_without_the_process_that_makes_it_the_flow_is_not_read(make_state, advance):
    still, state = make_state((1, 1, 60), accessible=np.full((1, 1, 60), 0.1)), carried(make_state)
    still.fields["nanoparticle"][1, 0, 0, 0, 10] = 10_000
    for one in (still, state):
        advance(one, Transport(diffusivity_um2_per_s=0.1), 60, 5)
    np.testing.assert_array_equal(still.fields["nanoparticle"], state.fields["nanoparticle"])


def test_super_time_stepping_is_refused_where_flow_would_make_it_unstable():
    with pytest.raises(InputError, match="integrator rkl2: not with interstitial_flow"):
        Transport(diffusivity_um2_per_s=0.1, integrator="rkl2", has_flow=True)
