"""Free particles spread by chance and in the mean alike, come to rest at equal concentrations, and stay in their patch."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from tme_sim.processes.transport import Transport
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
    assert field @ x_um**2 == pytest.approx(2 * 10 * 300, rel=1e-9)
