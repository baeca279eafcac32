"""Sites, voxels and patches fit into each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tme_sim.state.lattice import Lattice, Patch


@given(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)), st.integers(1, 3))
def test_the_footprints_of_all_sites_are_blocks_that_divide_the_voxels(sites, refinement):
    lattice = Lattice(sites, 15.0, refinement)
    footprint = lattice.footprint()
    assert footprint.shape == (lattice.n_sites, refinement**3)
    np.testing.assert_array_equal(np.sort(footprint.ravel()), np.arange(lattice.n_voxels))
    for site, voxels in enumerate(footprint):
        assert (lattice.site_of_voxel(voxels) == site).all()
        corner = np.array(np.unravel_index(site, sites)) * refinement
        place = np.stack(np.unravel_index(voxels, lattice.voxels), axis=1) - corner
        assert ((place >= 0) & (place < refinement)).all()


@given(st.integers(1, 3), st.integers(0, 2**32))
def test_a_field_on_sites_is_the_mean_over_their_voxels(refinement, seed):
    lattice = Lattice((2, 3, 4), 15.0, refinement)
    field = np.random.default_rng(seed).random(lattice.voxels)
    expected = field.ravel()[lattice.footprint()].mean(axis=1)
    np.testing.assert_allclose(lattice.on_sites(field).ravel(), expected, rtol=1e-12)


def test_volumes_add_up():
    lattice = Lattice((4, 5, 6), 15.0, 3)
    assert lattice.n_voxels * lattice.voxel_um3 == pytest.approx(4 * 5 * 6 * 15**3)
    assert lattice.voxel_um == 5


def test_patches_are_slabs_with_planes_between_them():
    lattice = Lattice((7, 2, 2), 15.0, 2, (Patch("rim", 0, 2, 5), Patch("middle", 2, 4, 3), Patch("core", 6, 1, 1)))
    assert lattice.blocked_z == [4, 12]
    assert lattice.copies.tolist() == [5, 3, 1]
    voxel, site = np.arange(lattice.n_voxels), np.arange(lattice.n_sites)
    per_plane = lattice.patch_of_voxel(voxel).reshape(lattice.voxels)
    assert per_plane[:, 0, 0].tolist() == [0] * 4 + [1] * 8 + [2] * 2
    assert (per_plane == per_plane[:, :1, :1]).all()
    np.testing.assert_array_equal(lattice.patch_of_site(lattice.site_of_voxel(voxel)), lattice.patch_of_voxel(voxel))
    assert lattice.patch_of_site(site).reshape(lattice.sites)[:, 0, 0].tolist() == [0, 0, 1, 1, 1, 1, 2]
    covered = np.concatenate([voxel.reshape(lattice.voxels)[planes].ravel() for planes in lattice.planes])
    np.testing.assert_array_equal(covered, voxel)


@pytest.mark.parametrize(
    "patches",
    [
        (Patch("a", 0, 2, 1),),
        (Patch("a", 0, 2, 1), Patch("b", 3, 1, 1)),
        (Patch("a", 0, 3, 1), Patch("b", 2, 2, 1)),
        (Patch("a", 0, 4, 0),),
        (Patch("a", 0, 5, 1),),
    ],
)
def test_patches_that_do_not_fill_the_box_are_refused(patches):
    with pytest.raises(ValueError, match="patch"):
        Lattice((4, 2, 2), 15.0, 1, patches)
