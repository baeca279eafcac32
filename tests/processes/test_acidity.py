"""Extracellular pH between cells and vessels."""

from __future__ import annotations

import numpy as np
import pytest

from tme_sim.processes.acidity import Acidity
from tme_sim.processes.base import StateView, Streams
from tme_sim.state.errors import InputError


def acidity(**changes):
    values = {
        "diffusivity_um2_per_s": 600.0,
        "acidification_per_s": 0.03,
        "wall_permeability_um_per_s": 6.0,
        "blood_pH": 7.4,
        "lowest_pH": 6.5,
        "density_per_um3": 1 / 15.0**3,
        "kinds": ("tumor_cells",),
    }
    return Acidity(**{**values, **changes})


def settle(process, state):
    process.prepare(state, None)
    process.step(StateView(state, process.reads, process.writes, 0.0), 60.0, Streams(1, "acidity", 0))
    return state.fields["pH"]


def test_even_walls_and_cells_balance_as_in_a_stirred_vessel(make_state, add_cells):
    """pH_blood − a_max k/(k + P S/V)."""
    state = make_state((3, 3, 3), walls=(np.arange(27), np.full(27, 10.0)))
    add_cells(state, "tumor_cells", np.arange(27))
    washout = 6.0 * 10.0 / 15.0**3
    np.testing.assert_allclose(settle(acidity(), state), 7.4 - 0.9 * 0.03 / (0.03 + washout), rtol=1e-9)


def test_ph_falls_away_from_the_wall_exponentially(make_state, add_cells):
    """With a wall too permeable to change its own pH, a_max − a decays over √(D/k) in cells next to it."""
    state = make_state((1, 1, 80), walls=([0], [1e9]))
    add_cells(state, "tumor_cells", np.arange(1, 80))
    pH = settle(acidity(), state)[0, 0]
    growth = np.arccosh(1 + 0.03 * 15.0**2 / (2 * 600.0))  # of the same balance on the voxels
    place = np.arange(80)
    expected = 6.5 + 0.9 * np.cosh(growth * (79.5 - place)) / np.cosh(growth * 79.5)
    np.testing.assert_allclose(pH, expected, atol=1e-6)
    assert growth * np.sqrt(600.0 / 0.03) / 15.0 == pytest.approx(1, rel=0.01)


def test_ph_stays_between_that_of_blood_and_the_lowest(make_state, add_cells):
    state = make_state((4, 6, 7), walls=([0, 80], [3000.0, 1.0]))
    add_cells(state, "tumor_cells", np.arange(168))
    pH = settle(acidity(acidification_per_s=3.0), state)
    assert 6.5 <= pH.min() < 6.51
    assert 6.6 < pH.max() < 7.4


def test_tissue_without_blood_becomes_as_acid_as_it_can(make_state, add_cells):
    state = make_state((2, 3, 4), walls=([5], [600.0]))
    add_cells(state, "tumor_cells", np.arange(24))
    state.vessels.arrays["perfused"][...] = 0.0
    np.testing.assert_allclose(settle(acidity(), state), 6.5, rtol=1e-7)


def test_a_lowest_ph_above_that_of_blood_is_refused():
    with pytest.raises(InputError, match="below blood_pH"):
        acidity(lowest_pH=7.5)
