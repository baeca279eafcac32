"""Oxygen between vessels and cells."""

from __future__ import annotations

import numpy as np
import pytest

from tme_sim.processes.base import StateView, Streams
from tme_sim.processes.oxygen import Oxygen
from tme_sim.state.errors import ModelError
from tme_sim.state.lattice import Patch

DENSITY = 1 / 15.0**3  # a cell on every site makes the full consumption


def oxygen(**changes):
    given = {"density_per_um3": DENSITY, "kinds": ("tumor_cells",)}
    values = {
        "diffusivity_um2_per_s": 2000.0,
        "consumption_mmHg_per_s": 20.0,
        "half_consumption_mmHg": 2.0,
        "blood_mmHg": 40.0,
        "wall_permeability_um_per_s": 300.0,
    }
    return Oxygen(**{**given, **values, **changes})


def tissue(make_state, add_cells, sites=(4, 5, 6), cells=None, walls=None, **more):
    n = int(np.prod(sites)) * more.get("refinement", 1) ** 3
    state = make_state(sites, walls=walls if walls is not None else ([0, n // 2], [600.0, 300.0]), **more)
    add_cells(state, "tumor_cells", np.arange(np.prod(sites)) if cells is None else cells)
    return state


def settle(process, state, dt_s=600.0, time_s=0.0):
    if "oxygen_mmHg" not in state.fields:
        process.prepare(state, None)
    process.step(StateView(state, process.reads, process.writes, time_s), dt_s, Streams(1, "oxygen", 0))
    return state.fields["oxygen_mmHg"]


@pytest.mark.parametrize("refinement", [1, 2])
def test_what_the_walls_give_is_what_the_cells_consume(make_state, add_cells, refinement):
    state = tissue(make_state, add_cells, refinement=refinement)
    p = settle(oxygen(), state)
    voxel, surface = state.vessels.voxel, state.vessels.surface_um2
    given = (300.0 * surface * (40.0 - p.ravel()[voxel])).sum()
    consumed = (20.0 * p / (p + 2.0)).sum() * state.lattice.voxel_um3
    assert given == pytest.approx(consumed, rel=1e-5)
    assert 0 < p.min() < p.max() < 40


def test_a_mean_field_has_the_root_of_its_quadratic(make_state, add_cells):
    """The same wall in every voxel: k (S/V) (P_b − P) = M P/(P + P50)."""
    state = tissue(make_state, add_cells, (3, 3, 3), walls=(np.arange(27), np.full(27, 30.0)))
    exchange = 300.0 * 30.0 / 15.0**3
    linear = exchange * (40.0 - 2.0) - 20.0
    expected = (linear + np.sqrt(linear**2 + 4 * exchange**2 * 40.0 * 2.0)) / (2 * exchange)
    np.testing.assert_allclose(settle(oxygen(), state), expected, rtol=2e-6)


def test_half_the_cells_consume_half(make_state, add_cells):
    """A density of one cell in two sites doubles what each of them consumes."""
    full = settle(oxygen(), tissue(make_state, add_cells))
    sparse = settle(oxygen(density_per_um3=DENSITY / 2, consumption_mmHg_per_s=10.0), tissue(make_state, add_cells))
    np.testing.assert_allclose(full, sparse, rtol=1e-12)


def test_vessels_that_no_blood_passes_give_nothing(make_state, add_cells):
    state = tissue(make_state, add_cells)
    state.vessels.arrays["perfused"][...] = 0.0
    assert settle(oxygen(), state).max() == 0
    state.vessels.arrays["perfused"][...] = [1.0, 0.0]
    one = settle(oxygen(), state)
    assert one.ravel()[0] == one.max() > 0


def test_without_cells_the_tissue_is_as_blood(make_state, add_cells):
    p = settle(oxygen(), tissue(make_state, add_cells, cells=np.empty(0, int)))
    np.testing.assert_allclose(p, 40.0, rtol=1e-6)


def test_nothing_passes_between_patches(make_state, add_cells):
    patches = (Patch("rim", 0, 2, 1), Patch("core", 2, 3, 1))
    state = tissue(make_state, add_cells, (5, 4, 4), walls=([0], [600.0]), patches=patches)
    p = settle(oxygen(), state)
    assert (p[2:] == 0).all()
    assert (p[:2] > 0).all()


def test_a_settled_field_stays_as_it_is_and_follows_a_change(make_state, add_cells):
    state = tissue(make_state, add_cells)
    process = oxygen()
    before = settle(process, state).copy()
    assert np.array_equal(settle(process, state), before)
    assert np.array_equal(settle(oxygen(), state), before)
    state.vessels.surface_um2 *= 0.5
    assert (settle(process, state) < before).all()


def test_a_value_that_is_not_finite_is_told_with_process_field_voxel_and_time(make_state, add_cells):
    patches = (Patch("rim", 0, 2, 1), Patch("core", 2, 3, 1))
    state = tissue(make_state, add_cells, (5, 4, 4), patches=patches)
    process = oxygen()
    settle(process, state)
    state.fields["oxygen_mmHg"][3, 1, 2] = np.nan
    with pytest.raises(ModelError, match=r"^oxygen: oxygen_mmHg at voxel \(3, 1, 2\) \(z, y, x\) and 1200 s: nan"):
        settle(process, state, time_s=1200.0)
