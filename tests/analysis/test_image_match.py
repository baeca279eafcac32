"""Resolution and grids of two images made the same."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from tme_sim.analysis.image_match import FWHM_PER_SIGMA, Grid, alone, coarser, common, onto, to_resolution
from tme_sim.state.errors import InputError

VOXEL_UM = (3.0, 2.0, 1.0)


def spread_um(image: np.ndarray, axis: int) -> float:
    """Standard deviation along an axis."""
    weight = image.sum(axis=tuple({0, 1, 2} - {axis}))
    at = np.arange(len(weight)) * VOXEL_UM[axis]
    mean = np.average(at, weights=weight)
    return sqrt(np.average((at - mean) ** 2, weights=weight))


@pytest.mark.parametrize("sigma_um", [0.3, 1.0, 4.0])
def test_a_blur_has_its_second_moment_on_any_grid_and_keeps_sum_and_sign(sigma_um: float) -> None:
    point = np.zeros((21, 41, 81))
    point[10, 20, 40] = 5.0
    wide = (FWHM_PER_SIGMA * sigma_um,) * 3
    blurred = to_resolution(point, VOXEL_UM, (0.0, 0.0, 0.0), wide)
    assert [spread_um(blurred, axis) for axis in range(3)] == pytest.approx([sigma_um] * 3, rel=1e-3)
    assert blurred.sum() == pytest.approx(5, rel=1e-12)
    assert blurred.min() > -1e-12


def test_two_blurs_are_one_and_equal_resolutions_change_nothing() -> None:
    image = np.random.default_rng(1).random((9, 10, 11))
    none, some, more = (0.0,) * 3, (4.0,) * 3, (5.0,) * 3
    twice = to_resolution(to_resolution(image, VOXEL_UM, none, some), VOXEL_UM, some, more)
    assert twice == pytest.approx(to_resolution(image, VOXEL_UM, none, more), abs=1e-12)
    assert to_resolution(image, VOXEL_UM, some, some) == pytest.approx(image, abs=1e-12)


def test_white_noise_keeps_the_share_of_variance_that_a_gaussian_leaves() -> None:
    """1/(2 √π σ) along an axis, of noise without correlation."""
    noise = np.random.default_rng(2).normal(0, 1, (1, 400, 400))
    sigma = 3.0
    blurred = to_resolution(noise, (1.0, 1.0, 1.0), (0.0,) * 3, (0.0, sigma * FWHM_PER_SIGMA, sigma * FWHM_PER_SIGMA))
    assert blurred.var() == pytest.approx(1 / (4 * np.pi * sigma**2), rel=0.05)


def test_a_coarser_simulated_image_is_refused() -> None:
    with pytest.raises(InputError, match="resolution of the simulated image: of 6 um along y is coarser than the measured 5 um"):
        to_resolution(np.ones((2, 2, 2)), VOXEL_UM, (4.0, 6.0, 4.0), (5.0, 5.0, 5.0))


def test_the_common_grid_has_the_coarser_voxels_of_each_axis_where_both_are() -> None:
    fine = Grid((40, 40, 40), (1.0, 1.0, 4.0), (2.5, 0.0, 0.0))
    coarse = Grid((10, 10, 100), (4.0, 4.0, 1.0), (0.0, 0.0, 8.0))
    assert common(fine, coarse) == common(coarse, fine) == Grid((9, 10, 25), (4.0, 4.0, 4.0), (4.0, 0.0, 8.0))
    with pytest.raises(InputError, match="position along z: must make"):
        common(fine, Grid((1, 9, 9), (1.0, 1.0, 1.0), (90.0, 0.0, 0.0)))


def test_whole_multiples_are_block_means_and_others_keep_the_integral() -> None:
    data = np.random.default_rng(3).random((6, 8, 10))
    grid = Grid(data.shape, (1.0, 1.0, 1.0))
    blocks = data.reshape(3, 2, 4, 2, 5, 2).mean(axis=(1, 3, 5))
    assert onto(data, grid, alone(grid, (2.0, 2.0, 2.0))) == pytest.approx(blocks, rel=1e-12)
    target = alone(grid, (1.5, 1.6, 2.5))
    assert onto(data, grid, target).sum() * 1.5 * 1.6 * 2.5 == pytest.approx(data.sum(), rel=1e-12)


def test_a_grid_from_a_header_in_float32_is_that_of_whole_multiples() -> None:
    header = float(np.float32(0.004)) * 1e3
    assert common(Grid((40, 40, 40), (header,) * 3), Grid((10, 10, 10), (16.0,) * 3)).shape == (10, 10, 10)


def test_an_image_smaller_than_a_voxel_of_the_other_is_refused() -> None:
    assert coarser((1.0, 5.0, 2.0), (3.0, 4.0, 2.0)) == (3.0, 5.0, 2.0)
    with pytest.raises(InputError, match="does not fit"):
        alone(Grid((2, 2, 2), (1.0, 1.0, 1.0)), (3.0, 1.0, 1.0))
