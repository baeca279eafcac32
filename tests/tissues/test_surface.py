from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tme_sim.tissues.surface import OFFSETS, crossing_um2, surface_area

Voxel = tuple[float, float, float]


def centres(size_um: float, voxel_um: Voxel) -> NDArray[np.float64]:
    """(z, y, x, 3) voxel centres of a cube, from its middle."""
    axes = [(np.arange(round(size_um / edge)) + 0.5) * edge - size_um / 2 for edge in voxel_um]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def tube_ratio(radius_um: float, voxel_um: Voxel, rng: np.random.Generator) -> float:
    """Measured over true surface of a tube of any direction that crosses the image, between two planes across it."""
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    from_middle = centres(36.0, voxel_um) - rng.uniform(-0.5, 0.5, 3) * voxel_um
    along = from_middle @ direction
    mask = np.linalg.norm(from_middle - along[..., None] * direction, axis=-1) < radius_um
    return float(surface_area(mask, voxel_um)[np.abs(along) < 10].sum() / (2 * np.pi * radius_um * 20))


@pytest.mark.parametrize("radius_um", [1.5, 2.0, 3.0, 6.0])
def test_a_tube_of_any_angle_has_its_surface_within_5_percent(radius_um: float) -> None:
    rng = np.random.default_rng(1)
    ratios = [tube_ratio(radius_um, (1.0, 1.0, 1.0), rng) for _ in range(20)]
    assert np.mean(ratios) == pytest.approx(1, abs=0.05)
    # a single thin tube along a lattice row repeats one cross-section, so where it happens to lie does not average out
    assert np.abs(np.subtract(ratios, 1)).max() < 0.10


def test_flat_voxels_do_not_bias_the_surface_of_a_tube() -> None:
    rng = np.random.default_rng(2)
    assert np.mean([tube_ratio(3.0, (2.0, 1.0, 1.0), rng) for _ in range(20)]) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("radius_um", [3.0, 5.0, 8.0])
def test_a_sphere_has_its_surface_within_5_percent(radius_um: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(5):
        mask = np.linalg.norm(centres(20.0, (1.0, 1.0, 1.0)) - rng.uniform(-0.5, 0.5, 3), axis=-1) < radius_um
        assert surface_area(mask, (1.0, 1.0, 1.0)).sum() == pytest.approx(4 * np.pi * radius_um**2, rel=0.05)


@pytest.mark.parametrize("voxel_um", [(1.0, 1.0, 1.0), (4.0, 1.0, 2.0)])
def test_planes_of_every_orientation_average_to_their_area(voxel_um: Voxel) -> None:
    """Σ over crossings of |n·d|, the flux of steps through a plane of normal n, is 1 in the mean over n."""
    normals = np.random.default_rng(4).normal(size=(20_000, 3))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    steps_um = OFFSETS * np.asarray(voxel_um)
    # each pair (d, -d) is counted twice here, and a voxel crosses a plane once per |n·d| / V of area
    per_area = np.abs(normals @ steps_um.T) @ crossing_um2(voxel_um) / np.prod(voxel_um) / 2
    assert per_area.mean() == pytest.approx(1, abs=0.005)


def test_cubic_voxels_have_the_published_weights() -> None:
    """Ohser & Mücklich's 13 directions: shares 0.0916, 0.0740 and 0.0704 of the sphere for both ways along an axis, a face and a
    space diagonal (rounded as in Lehmann & Legland 2012)."""
    length = np.linalg.norm(OFFSETS, axis=1)
    share = crossing_um2((1.0, 1.0, 1.0)) * length / 2
    assert share[length == 1] == pytest.approx(0.0916, abs=1e-4)
    assert share[np.isclose(length, 2**0.5)] == pytest.approx(0.0740, abs=1e-4)
    assert share[np.isclose(length, 3**0.5)] == pytest.approx(0.0704, abs=1e-4)


def test_surface_lies_in_the_voxels_outside_that_touch_the_mask() -> None:
    mask = np.zeros((7, 7, 7), bool)
    mask[3, 3, 3] = True
    area = surface_area(mask, (1.0, 1.0, 1.0))
    assert np.array_equal(np.argwhere(area > 0) - 3, OFFSETS)


def test_the_image_border_is_no_surface() -> None:
    full = np.ones((4, 5, 6), bool)
    assert not surface_area(full, (1.0, 1.0, 1.0)).any()
    assert not surface_area(~full, (1.0, 1.0, 1.0)).any()


def test_a_thin_slab_cut_from_a_long_tube_has_the_surface_of_its_length() -> None:
    y, x = np.mgrid[:20, :20]
    disc = np.hypot(y - 9.3, x - 9.6) < 5
    per_plane = [surface_area(np.repeat(disc[None], planes, axis=0), (1.0, 1.0, 1.0)).sum() / planes for planes in (2, 5, 50)]
    assert per_plane == pytest.approx([per_plane[-1]] * 3, rel=1e-9)


def test_surface_scales_with_the_square_of_the_voxel() -> None:
    mask = np.random.default_rng(5).random((6, 7, 8)) < 0.3
    assert surface_area(mask, (6.0, 3.0, 3.0)) == pytest.approx(9 * surface_area(mask, (2.0, 1.0, 1.0)))
