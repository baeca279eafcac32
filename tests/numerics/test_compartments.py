"""Compartments that exchange in first order."""

from __future__ import annotations

import numpy as np
import pytest

from tme_sim.numerics.compartments import advance

BODY = np.array([[-6.5, 0.4, 0.7], [2.0, -0.4, 0.0], [1.5, 0.0, -0.7]])  # 3.0 of the first leave


def test_one_compartment_with_an_inflow_has_the_known_course():
    after, integral = advance(np.array([[-0.3]]), np.array([5.0]), np.array([2.0]), 4.0)
    expected = 5 * np.exp(-1.2) + 2 / 0.3 * -np.expm1(-1.2)
    assert after[0] == pytest.approx(expected, rel=1e-13)
    assert integral[0] == pytest.approx((5 + 2 * 4 - expected) / 0.3, rel=1e-13)


def test_it_solves_the_equation_and_two_steps_are_one():
    """Against the eigenvectors of the matrix; and d(M, ∫M) over the whole time is that of its parts."""
    start, inflow = np.array([1.0, 0.2, 0.0]), np.array([0.5, 0.0, 0.0])
    value, vector = np.linalg.eig(BODY)
    rest = np.linalg.solve(BODY, -inflow)
    expected = rest + (vector @ (np.exp(value * 1.7) * np.linalg.solve(vector, start - rest))).real
    after, integral = advance(BODY, start, inflow, 1.7)
    np.testing.assert_allclose(after, expected, rtol=1e-12)
    half, first = advance(BODY, start, inflow, 0.8)
    whole, second = advance(BODY, half, inflow, 0.9)
    np.testing.assert_allclose(whole, after, rtol=1e-12)
    np.testing.assert_allclose(first + second, integral, rtol=1e-12)


@pytest.mark.parametrize("dt", [1e-6, 1.0, 1e4])
def test_what_came_is_there_or_has_left_and_nothing_is_owed(dt):
    start, inflow = np.array([1.0, 0.0, 0.0]), np.array([0.1, 0.0, 0.0])
    after, integral = advance(BODY, start, inflow, dt)
    assert after.min() >= 0
    assert after.sum() + 3.0 * integral[0] == pytest.approx(1 + 0.1 * dt, rel=1e-12)
