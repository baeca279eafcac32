"""Agents are rows; ids are for ever."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tme_sim.state.population import Population


def population(n):
    return Population({"site": np.arange(n)[::-1].copy(), "cargo": np.arange(n * 8).reshape(n, 4, 2)})


def test_new_agents_get_ids_that_nobody_had():
    agents = population(3)
    agents.remove(np.array([False, False, True]))
    ids = agents.add({"site": np.array([7, 8]), "cargo": np.zeros((2, 4, 2), np.int64)})
    assert ids.tolist() == [3, 4]
    assert agents["id"].tolist() == [0, 1, 3, 4]
    assert len(agents) == 4


@given(st.lists(st.sampled_from(["add", "remove", "sort"]), max_size=12), st.integers(0, 2**32))
def test_ids_stay_unique_and_rows_stay_whole_whatever_is_done(actions, seed):
    """Each agent's columns belong together: its cargo is made from its id."""
    rng = np.random.default_rng(seed)
    agents = Population({"site": np.empty(0, np.int64), "cargo": np.empty((0, 4, 2), np.int64)})
    born = 0
    for action in actions:
        if action == "add":
            n = int(rng.integers(0, 4))
            ids = np.arange(born, born + n)
            agents.add({"site": rng.integers(0, 50, n), "cargo": np.broadcast_to(ids[:, None, None], (n, 4, 2))})
            born += n
        elif action == "remove":
            agents.remove(rng.random(len(agents)) < 0.4)
        else:
            agents.sort_by("site")
            assert (np.diff(agents["site"]) >= 0).all()
        assert len(set(agents["id"].tolist())) == len(agents)
        assert (agents["cargo"] == agents["id"][:, None, None]).all()
        assert agents.next_id == born


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="different lengths"):
        Population({"site": np.zeros(3), "cargo": np.zeros((2, 4, 2))})


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"site": np.zeros(1), "age": np.zeros(1)}, "columns \\['age'\\]: give some of \\['cargo', 'site'\\]"),
        ({"id": np.zeros(1)}, "columns \\['id'\\]"),
        ({}, "columns \\[\\]"),
        ({"site": np.zeros(1), "cargo": np.zeros((2, 4, 2))}, "different lengths"),
    ],
)
def test_agents_with_other_columns_are_refused(columns, told):
    agents = population(2)
    with pytest.raises(ValueError, match=told):
        agents.add(columns)
    assert len(agents) == agents.next_id == 2


def test_a_column_that_is_not_given_is_zero_and_every_column_keeps_its_type():
    agents = population(2)
    agents.columns["age_s"] = np.array([5.0, 6.0])
    agents.add({"site": np.array([9], np.int32)})
    assert agents["site"].tolist() == [1, 0, 9]
    assert agents["age_s"].tolist() == [5, 6, 0]
    assert agents["cargo"].shape == (3, 4, 2)
    assert not agents["cargo"][2].any()
    assert {name: column.dtype.kind for name, column in agents.items()} == {"site": "i", "cargo": "i", "age_s": "f", "id": "i"}


def test_rows_that_nobody_joined_or_left_stay_the_same_arrays():
    """Whoever keeps something by the rows asks whether `id` is still the same array."""
    agents = population(3)
    ids = agents["id"]
    agents.add({"site": np.empty(0, np.int64)})
    agents.remove(np.zeros(3, bool))
    assert agents["id"] is ids
    agents.remove(np.array([True, False, False]))
    assert agents["id"] is not ids
