"""Parts of a step are as long as most voxels allow; what is faster is slowed down, without moving any balance."""

from __future__ import annotations

import numpy as np
import pytest

from tme_sim.numerics.pace import pace, slow_down
from tme_sim.numerics.transport import face_rates, leave_rate, step_continuum


def crowded(flows):
    """Nearly even tissue, in which 2 of 1000 voxels have next to no accessible volume."""
    generator = np.random.default_rng(1)
    capacity = generator.uniform(0.35, 0.4, (10, 10, 10))
    capacity[generator.random(capacity.shape) < 0.002] = 1e-3
    velocity = generator.normal(scale=0.01, size=(3, *capacity.shape)) if flows else None
    return face_rates(0.5, capacity, 7.5, velocity_um_per_s=velocity), capacity


def test_an_even_medium_is_left_with_a_chance_of_nine_tenths():
    leave = leave_rate(face_rates(0.5, np.full((8, 8, 8), 0.3), 7.5))
    assert pace(leave) == pytest.approx(leave.max() / 0.9)


def test_of_few_voxels_all_count():
    assert pace(np.array([[[1.0, 2.0, 5.0]]])) == pytest.approx(5.0 / 0.9)
    assert pace(np.zeros((2, 2, 2))) == 0.0


def test_few_that_are_left_fast_do_not_set_the_pace():
    leave = leave_rate(crowded(False)[0])
    assert pace(leave) < 0.7 * leave.max()
    assert (leave > pace(leave)).mean() <= 0.01


@pytest.mark.parametrize("flows", [False, True])
def test_who_is_slowed_is_left_as_told_and_nobody_else_changes(flows):
    rates, _ = crowded(flows)
    leave = leave_rate(rates)
    most = pace(leave)
    before = rates.up.copy(), rates.down.copy()
    slow_down(rates, leave, most)
    assert leave_rate(rates).max() <= most
    slowed = leave > most
    assert slowed.any()
    for rate, was in zip((rates.up, rates.down), before, strict=True):
        for axis in range(3):
            beside = np.moveaxis(slowed, axis, 0)
            inner = np.moveaxis(rate[axis, 1:], axis, 0)[:-1] / np.moveaxis(was[axis, 1:], axis, 0)[:-1]
            touched = beside[:-1] | beside[1:]
            assert (inner[~touched] == 1).all()
            assert (inner[touched] < 1).all()


def test_what_is_uniform_at_rest_stays_so_and_nothing_becomes_negative():
    rates, capacity = crowded(False)
    leave = leave_rate(rates)
    most = pace(leave)
    slow_down(rates, leave, most)
    even = 3.0 * capacity
    step_continuum(even, rates, 1 / most, steps=50)
    np.testing.assert_allclose(even, 3.0 * capacity, rtol=1e-12)
    alone = np.zeros(capacity.shape)
    alone.ravel()[np.argmax(leave)] = 1.0
    step_continuum(alone, rates, 1 / most)
    assert alone.min() >= 0.0
    assert alone.sum() == pytest.approx(1.0, rel=1e-12)


def test_slowing_few_costs_less_than_the_steps_themselves():
    found = {}
    for parts, slows in ((1, True), (64, True), (64, False)):
        rates, capacity = crowded(True)
        leave = leave_rate(rates)
        most = pace(leave)
        if slows:
            slow_down(rates, leave, most)
        amount = np.zeros(capacity.shape)
        amount[3:6, 3:6, 3:6] = capacity[3:6, 3:6, 3:6]
        step_continuum(amount, rates, 1 / (most * parts), steps=20 * parts)
        found[parts, slows] = amount
    by_slowing = np.abs(found[64, True] - found[64, False]).sum()
    assert 0 < by_slowing < 0.2 * np.abs(found[1, True] - found[64, False]).sum()
