"""What follows from itself is found, also where plain repetition would take thousands of rounds."""

from __future__ import annotations

import numpy as np
import pytest

from tme_sim.numerics.settling import settle


def diffusive(n, loss):
    """x → the mean of both neighbours, less a loss; plain repetition gains the factor 1 - loss a round."""
    matrix = np.zeros((n, n))
    index = np.arange(n - 1)
    matrix[index, index + 1] = matrix[index + 1, index] = 0.5
    matrix[0, 0] = matrix[-1, -1] = 0.5
    return matrix * (1 - loss)


@pytest.mark.parametrize("loss", [0.5, 0.01])
def test_the_fixed_point_of_a_linear_map_is_found(loss):
    matrix, source = diffusive(40, loss), np.random.default_rng(0).random(40)
    expected = np.linalg.solve(np.eye(40) - matrix, source)
    found, rounds = settle(lambda x, _: matrix @ x + source, np.zeros(40), 1e-8, 200)
    np.testing.assert_allclose(found, expected, rtol=1e-7 / loss)
    assert rounds < np.log(1e-8) / np.log(1 - loss) / (1 if loss > 0.1 else 10)  # of plain repetition


def test_what_is_returned_is_what_was_asked_last():
    asked = []

    def follows(x, change):
        asked.append(x.copy())
        return 0.5 * x + 1

    found, rounds = settle(follows, np.zeros(3), 1e-12, 50)
    np.testing.assert_array_equal(found, asked[-1])
    assert rounds == len(asked)


def test_nothing_at_all_is_settled_at_once():
    assert settle(lambda x, _: x, np.zeros(0), 1e-6, 3)[1] == 1
    assert settle(lambda x, _: x, np.zeros(5), 1e-6, 3)[1] == 1


def test_what_does_not_settle_is_an_error():
    with pytest.raises(ArithmeticError, match="no balance after 3 rounds"):
        settle(lambda x, _: x + 1, np.zeros(2), 1e-6, 3)
