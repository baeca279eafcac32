"""Release is first order in every place, at the rate of that place."""

from __future__ import annotations

import numpy as np
import pytest

from tme_sim.processes.release import Release
from tme_sim.state import substance
from tme_sim.state.state import flatten

RATES = {"plasma_per_s": 2e-5, "tissue_per_s": 3e-6, "cell_per_s": 1e-5, "lysosome_per_s": 5e-5}
PLACES = {
    "body.plasma": ("plasma_per_s", 0),
    "body.spleen": ("plasma_per_s", 0),
    "fields.nanoparticle": ("tissue_per_s", 1),
    "fields.bound": ("tissue_per_s", 1),
    "vessels.endothelium": ("cell_per_s", 1),
    "populations.macrophages.cargo": ("cell_per_s", 2),
    "populations.macrophages.lysosome": ("lysosome_per_s", 2),
}
POOLS = tuple(name for name in PLACES if not name.startswith("populations"))


def release(pools=POOLS, kinds=("macrophages",)):
    return Release(release=substance.Release(**RATES), kinds=kinds, pools=pools)


def filled(make_state, add_cells, number, amount):
    """Every place holds `amount` loaded carriers in every slot, and half as many released ones."""
    state = make_state((2, 2, 2), number, walls=([0, 3], [1.0, 1.0]))
    state.body.pools["spleen"] = state.body.pools["plasma"].copy()
    state.fields["bound"] = state.empty_field()
    state.vessels.arrays["endothelium"] = np.zeros((3, 2, 2), state.total_dtype)
    add_cells(state, "macrophages", [1, 5, 6])
    for name, (_, axis) in PLACES.items():
        forms = np.moveaxis(flatten(state)[name], axis, 0)
        forms[0], forms[1] = amount, amount // 2
    return state


def test_every_place_releases_exponentially_at_its_own_rate(make_state, add_cells, advance):
    state = filled(make_state, add_cells, "continuum", 1000)
    advance(state, release(), 600, 100)
    for name, (rate, axis) in PLACES.items():
        loaded, released = np.moveaxis(flatten(state)[name], axis, 0)
        np.testing.assert_allclose(loaded, 1000 * np.exp(-RATES[rate] * 60000), rtol=1e-12)
        np.testing.assert_allclose(loaded + released, 1500, rtol=1e-12)


def test_whole_particles_release_with_the_same_chance(make_state, add_cells, advance):
    """Binomial in each place: |z| < 4.5 in all seven has probability 1 - 5e-5."""
    state = filled(make_state, add_cells, "stochastic", 10**5)
    advance(state, release(), 600, 100)
    for name, (rate, axis) in PLACES.items():
        loaded, released = np.moveaxis(flatten(state)[name], axis, 0)
        assert (loaded + released == 150_000).all()
        p = np.exp(-RATES[rate] * 60000)
        n = 10**5 * loaded.size
        assert abs(loaded.sum() - n * p) < 4.5 * np.sqrt(n * p * (1 - p))


def test_agents_draw_by_their_ids_and_not_by_their_rows(make_state, add_cells, advance):
    one, other = (filled(make_state, add_cells, "stochastic", 10**4) for _ in range(2))
    population = other.populations["macrophages"]
    population.columns = {name: column[::-1].copy() for name, column in population.columns.items()}
    for state in (one, other):
        advance(state, release(), 6000, 1)
    np.testing.assert_array_equal(one.populations["macrophages"]["cargo"], population["cargo"][::-1])


def test_a_payload_that_changes_places_keeps_the_sum_of_what_it_passed(make_state, advance):
    """exp(-Σ k_i t_i) along the way (literature V19): blood, then tissue."""
    state = make_state(plasma=1.0)
    process = release(("body.plasma", "fields.nanoparticle"), ())
    advance(state, process, 600, 60)
    field = state.fields["nanoparticle"]
    field[1, :, 0, 0, 0], state.body.pools["plasma"][:] = state.body.pools["plasma"].copy(), 0
    advance(state, process, 600, 200)
    assert field[1, 0].item() == pytest.approx(np.exp(-2e-5 * 36000 - 3e-6 * 120000), rel=1e-12)
    assert field.sum() == pytest.approx(1, rel=1e-12)
