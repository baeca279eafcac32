from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tme_sim.files.run_folder import RunFolder
from tme_sim.state.errors import InputError
from tme_sim.state.variables import ROUTES
from tme_sim.views.snapshot import Cut, Snapshot, parse_cut, systematic_sample

Make = Callable[..., RunFolder]


def test_points_are_drawn_in_proportion_to_the_amount() -> None:
    amount = np.array([0, 10, 0, 20, 70])
    drawn = np.bincount(systematic_sample(amount, 50, np.random.default_rng(1)), minlength=5)
    assert np.abs(drawn - amount / 2).max() <= 1
    assert drawn[[0, 2]].sum() == 0


def test_every_particle_of_a_small_number_is_drawn_once() -> None:
    amount = np.array([0, 3, 1, 0, 2])
    drawn = systematic_sample(amount, 6, np.random.default_rng(1))
    assert np.bincount(drawn, minlength=5).tolist() == amount.tolist()


def test_nothing_is_drawn_from_nothing() -> None:
    assert systematic_sample(np.zeros(3), 5, np.random.default_rng(1)).size == 0


def test_particles_lie_in_their_voxel_and_keep_their_route(hand_made: Make) -> None:
    points, route, each = Snapshot(hand_made()).particles(44)
    gap = route == ROUTES.index("gap")
    assert (gap.sum(), each) == (33, 10.0)
    assert (points[gap] // 20 == [1, 2, 5]).all()
    assert (points[~gap] // 20 == [3, 5, 7]).all()


def test_the_same_run_gives_the_same_points(hand_made: Make) -> None:
    run = hand_made()
    first, again = Snapshot(run).particles(20), Snapshot(run).particles(20)
    np.testing.assert_array_equal(first[0], again[0])


def test_a_continuum_is_drawn_like_counts(hand_made: Make) -> None:
    counts, reals = (Snapshot(hand_made(dtype=dtype)).particles(44) for dtype in (np.int32, np.float64))
    np.testing.assert_array_equal(counts[0], reals[0])


@pytest.mark.parametrize("refinement", [1, 2])
def test_concentration_holds_every_carrier_of_fields_and_cells(hand_made: Make, refinement: int) -> None:
    snapshot = Snapshot(hand_made(refinement))
    concentration = snapshot.concentration_per_mL
    voxel_mL = snapshot.voxel_um**3 * 1e-12
    assert concentration.sum() * voxel_mL == pytest.approx(330 + 110 + 8, rel=1e-12)
    assert concentration[-refinement:, -refinement:, -refinement:].min() * voxel_mL >= 8 / refinement**3 * (1 - 1e-12)


def test_cells_stand_on_their_site_with_their_cargo(hand_made: Make) -> None:
    points, cargo = Snapshot(hand_made(2)).cells("macrophages", 10)
    assert (points // 20).tolist() == [[0, 0, 0], [3, 5, 7]]
    assert cargo.tolist() == [0, 8]


def test_gaps_stand_in_their_voxel_open_or_shut(hand_made: Make) -> None:
    run = hand_made()
    table = pd.DataFrame({"voxel": [3, 7, 7], "open": [1, 0, 1]})
    for path in (run.folder / "agents" / "gaps").glob("*.parquet"):
        table.to_parquet(path)
    places, is_open = Snapshot(run).gaps(10)
    assert is_open.tolist() == [True, False, True]
    assert (places[1] // Snapshot(run).voxel_um).tolist() == list(np.unravel_index(7, Snapshot(run).voxels))


@pytest.mark.parametrize(
    ("text", "cut"), [("z=50%", Cut(0, 40)), ("y=30um", Cut(1, 30)), ("x=0%", Cut(2, 0)), ("y = 12.5 %", Cut(1, 15))]
)
def test_a_cut_is_read_in_percent_and_micrometres(text: str, cut: Cut) -> None:
    assert parse_cut(text, np.array([80.0, 120, 160])) == cut


@pytest.mark.parametrize("text", ["z", "50%", "w=50%", "z=-1%", "z=101%", "z=81um", "z=50", "z=5mm", ""])
def test_another_form_of_a_cut_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="slice"):
        parse_cut(text, np.array([80.0, 120, 160]))


@pytest.mark.parametrize(("cut", "kept"), [(Cut(0, 10), [1, 0]), (Cut(1, 10), [0, 1]), (Cut(2, 10), [1, 0])])
def test_a_cut_keeps_what_is_behind_it(cut: Cut, kept: list[int]) -> None:
    below_and_above = np.full((2, 3), 10.0)
    below_and_above[:, cut.axis] = 5, 15
    assert cut.keeps(below_and_above, 5).tolist() == kept
    assert not cut.keeps(below_and_above, 5.1).any()


def test_a_run_without_fields_and_a_time_not_recorded_are_refused(hand_made: Make) -> None:
    with pytest.raises(InputError, match=r"record\.level"):
        Snapshot(hand_made(fields=False))
    with pytest.raises(InputError, match="was not recorded"):
        Snapshot(hand_made(), 60.0)


def test_the_last_time_is_the_default(hand_made: Make) -> None:
    run = hand_made()
    found: list[Any] = [Snapshot(run).time_s, Snapshot(run, 0.0).particles(10)[0].shape]
    assert found == [3600, (0, 3)]
