"""A steady field on a lattice: patch by patch, and what is said when it fails."""

from __future__ import annotations

import numpy as np
import pytest

from tme_sim.state.errors import ModelError
from tme_sim.state.lattice import Lattice, Patch
from tme_sim.state.steady import SteadyField, live_cells, per_volume

LATTICE = Lattice((5, 3, 4), 10.0, 1, (Patch("rim", 0, 2, 1), Patch("core", 2, 3, 1)))
SHAPE = LATTICE.voxels


def test_each_patch_has_the_balance_of_its_own():
    u, source = np.zeros(SHAPE), np.zeros(SHAPE)
    source[:2], source[4, 1, 1] = 6.0, 36.0
    SteadyField("drug", "amount", LATTICE, 1e7, 0.0).solve(u, np.full(SHAPE, 2.0), source, 0.0)
    np.testing.assert_allclose(u[:2], 3.0, rtol=1e-7)
    np.testing.assert_allclose(u[2:], 0.5, rtol=1e-3)  # so fast that the one source is stirred in


def test_held_voxels_keep_their_value_whatever_is_asked_of_them():
    held = np.zeros(SHAPE, bool)
    held[:, 0, 0] = True
    for saturable in (False, True):
        u = np.zeros(SHAPE)
        field = SteadyField("drug", "amount", LATTICE, 50.0, 0.0, held=held, value=7.0)
        sink, source = np.where(held, 99.0, 0.0), np.where(held, 5.0, 0.0)
        if saturable:
            field.solve_saturable(u, sink, source, np.where(held, 0.0, 1e-9), 1.0, 0.0)
        else:
            field.solve(u, sink, source, 0.0)
        np.testing.assert_allclose(u, 7.0, rtol=1e-6)


def test_a_negative_diffusivity_names_process_field_voxel_and_time():
    diffusivity = np.ones(SHAPE)
    diffusivity[3, 2, 1] = -2.0
    with pytest.raises(ModelError, match=r"^drug: amount at voxel \(3, 2, 1\) \(z, y, x\) and 90 s: -2: a diffusivity must be"):
        SteadyField("drug", "amount", LATTICE, diffusivity, 90.0)


def test_a_balance_that_does_not_exist_names_process_field_voxel_and_time():
    field = SteadyField("drug", "amount", LATTICE, 1.0, 0.0)
    sink, source = np.ones(SHAPE), np.ones(SHAPE)
    sink[2:] = 0.0  # nothing leaves the core
    with pytest.raises(ModelError, match=r"^drug: amount at voxel \([234], \d, \d\) \(z, y, x\) and 60 s: no balance"):
        field.solve(np.zeros(SHAPE), sink, source, 60.0)


def test_cells_stand_on_all_voxels_of_their_site():
    lattice = Lattice((1, 2, 2), 10.0, 2)
    cells = live_cells(lattice, {"a": {"site": np.array([0, 3])}, "b": {"site": np.array([3])}}, ("a", "b"))
    assert cells.shape == lattice.voxels
    assert np.array_equal(cells[0, ::2, ::2], [[1, 0], [0, 2]])
    assert np.array_equal(lattice.on_sites(cells), [[[1, 0], [0, 2]]])


def test_amounts_of_one_voxel_add_up_per_volume():
    found = per_volume(LATTICE, np.array([0, 7, 7]), np.array([1000.0, 500.0, 700.0]))
    assert found.ravel()[7] == pytest.approx(1.2)
    assert found.sum() == pytest.approx(2.2)
