"""Labelled T cells arrive, walk, divide and die as their closed forms say, and no label is lost."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from scipy import stats

from tme_sim.processes.t_cells import TCells
from tme_sim.state.state import flatten, restore
from tme_sim.state.vessels import Vessels

HOUR = 3600.0


def t_cells(arrival=0.0, half_life_s=None, motility=1e-9, doubling_time_s=None, death=0.0, label=1000):
    return TCells(
        arrival_per_um2_s=arrival,
        arrival_half_life_s=half_life_s,
        motility_um2_per_s=motility,
        doubling_time_s=doubling_time_s,
        death_per_s=death,
        label_per_cell=label,
    )


@pytest.fixture
def tissue(make_state):
    """A block whose wall voxels 0 and 1 have 1000 and 3000 µm², and T cells on the sites named."""

    def make(process, number="continuum", sites=(21, 21, 21), on=()):
        state = make_state(sites, number)
        state.vessels = Vessels(np.array([0, 1]), np.array([1000.0, 3000.0]))
        process.prepare(state, None)
        if len(on):
            on = np.asarray(on, np.int64)
            state.populations["t_cells"].add({"site": on, "label": np.full(len(on), process.label_per_cell)})
            state.body.traits["labels_in"][0] = process.label_per_cell * len(on)
        return state

    return make


def balanced(state):
    traits = state.body.traits
    return traits["labels_in"][0] == pytest.approx(state.populations["t_cells"]["label"].sum() + traits["labels_out"][0])


def test_they_cross_the_wall_in_proportion_to_its_area_while_they_last(tissue, advance):
    """Poisson, mean a S (1 − 2^(−t/T_½)) T_½/ln 2; to 4 sd."""
    process = t_cells(arrival=2e-4, half_life_s=2 * HOUR)
    state = tissue(process)
    advance(state, process, 600, 24)
    counts = np.bincount(state.populations["t_cells"]["site"], minlength=2)
    expected = 2e-4 * np.array([1000, 3000]) * 2 * HOUR / np.log(2) * 0.75
    assert (np.abs(counts - expected) < 4 * np.sqrt(expected)).all()
    assert counts[2:].sum() == 0
    assert balanced(state)


def test_they_walk_with_a_mean_square_displacement_of_six_d_t(tissue, advance):
    n, motility, time_s = 5000, 0.5, 2 * HOUR
    process = t_cells(motility=motility)
    state = tissue(process, sites=(41, 41, 41), on=np.full(n, 41**3 // 2))
    advance(state, process, 1800, 4)
    at = np.stack(np.unravel_index(state.populations["t_cells"]["site"], (41, 41, 41)))
    squares = ((at - 20) ** 2).sum(axis=0) * 15.0**2
    assert squares.mean() == pytest.approx(6 * motility * time_s, abs=4 * squares.std() / np.sqrt(n))


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_the_label_halves_with_every_division(tissue, advance, number):
    """Numbers double in T_d; a cell that divided g times holds Binomial(L, 2^(−g)): z of the mean by g below 4."""
    process = t_cells(doubling_time_s=6 * HOUR, label=1 << 12)
    state = tissue(process, number, on=np.arange(500))
    advance(state, process, HOUR, 18)
    cells = state.populations["t_cells"]
    assert len(cells) / 500 == pytest.approx(8, abs=4 * np.sqrt(8 * 7 / 500))
    assert cells["label"].sum() == 500 << 12
    assert 2.0 ** -cells["divisions"] @ np.ones(len(cells)) == 500
    for g in np.unique(cells["divisions"]):
        held, p = cells["label"][cells["divisions"] == g], 0.5**g
        sd = np.sqrt((1 << 12) * p * (1 - p) / len(held)) if number == "stochastic" else 1e-9
        assert held.mean() == pytest.approx((1 << 12) * p, abs=4.5 * sd)


def test_they_die_in_first_order_and_leave_their_label(tissue, advance):
    process = t_cells(death=1e-4)
    state = tissue(process, on=np.arange(4000))
    advance(state, process, 1000, 10)
    alive = len(state.populations["t_cells"])
    assert stats.binomtest(alive, 4000, np.exp(-1)).pvalue > 1e-4
    assert state.body.traits["labels_out"][0] == 1000 * (4000 - alive)
    assert balanced(state)


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_a_restart_goes_on_to_the_bit_and_no_label_is_lost(tissue, advance, digests, number):
    def process():
        return t_cells(1e-4, 5 * HOUR, 0.5, 3 * HOUR, 3e-5)

    whole, half, again = (tissue(process(), number, on=np.arange(100)) for _ in range(3))
    advance(whole, process(), 600, 20)
    advance(half, process(), 600, 9)
    restore(again, copy.deepcopy(flatten(half)), half.tick)
    advance(again, process(), 600, 11)
    assert digests(again) == digests(whole)
    assert balanced(whole)
    assert whole.body.traits["labels_out"][0] > 0
    assert whole.populations["t_cells"]["divisions"].max() > 1
