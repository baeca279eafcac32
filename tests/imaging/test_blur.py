"""Blur against closed forms of spheres, rods and random fields, and the positron's range."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erf

from tme_sim.imaging.blur import FWHM_PER_SIGMA, blur, margin_um, range_transfer
from tme_sim.imaging.isotopes import ISOTOPES, positron_emitter
from tme_sim.imaging.solids import Grid, Solid
from tme_sim.numerics.blocks import block_mean
from tme_sim.state.errors import InputError

FWHM_UM = 1500.0
SIGMA_UM = FWHM_UM / FWHM_PER_SIGMA


def centred(side: int, voxel_um: float) -> Grid:
    """A cube of voxels with the origin in the middle of the central one."""
    low = -side * voxel_um / 2
    return Grid((side, side, side), voxel_um, (low, low, low))


def filled(solid: Solid, grid: Grid) -> np.ndarray:
    box, share = solid.fill(grid)
    out = np.zeros(grid.shape)
    out[box] = share
    return out


@pytest.mark.parametrize(("radius_um", "share"), [(500.0, 12), (1000.0, 5), (1500.0, 5), (3000.0, 5)])
def test_the_centre_of_a_sphere_recovers_as_its_closed_form(radius_um: float, share: int) -> None:
    grid = centred(45, FWHM_UM / share)
    blurred = blur(filled(Solid((0, 0, 0), (radius_um,) * 3), grid), grid.voxel_um, FWHM_UM)
    ratio = radius_um / SIGMA_UM
    exact = erf(ratio / np.sqrt(2)) - np.sqrt(2 / np.pi) * ratio * np.exp(-(ratio**2) / 2)
    assert blurred[22, 22, 22] == pytest.approx(exact, rel=3e-3)


@pytest.mark.parametrize(("diameter_mm", "fwhm_mm", "told"), [(1, 1.5, 0.09), (3, 1.5, 0.52), (1, 5, 0.003), (3, 5, 0.07)])
def test_the_mean_of_a_sphere_recovers_as_its_closed_form(diameter_mm: float, fwhm_mm: float, told: float) -> None:
    radius, sigma = diameter_mm / 2, fwhm_mm / FWHM_PER_SIGMA
    grid = centred(64, 1e3 * fwhm_mm / 15)
    share = filled(Solid((0, 0, 0), (1e3 * radius,) * 3), grid)
    found = float((blur(share, grid.voxel_um, 1e3 * fwhm_mm) * share).sum() / share.sum())

    def density(r: float) -> float:
        overlap = 1 - 3 * r / (4 * radius) + r**3 / (16 * radius**3)
        return overlap * 4 * np.pi * r**2 * np.exp(-(r**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2) ** 1.5

    exact = quad(density, 0, 2 * radius)[0]
    assert found == pytest.approx(exact, rel=1e-2)
    assert exact == pytest.approx(told, abs=5e-3)


@pytest.mark.parametrize("diameter_mm", [1, 2, 3, 4, 5])
def test_the_axis_of_a_rod_recovers_as_its_closed_form(diameter_mm: float) -> None:
    grid = Grid((1, 55, 55), 200.0, (-100.0, -5500.0, -5500.0))
    radius_um = 500.0 * diameter_mm
    blurred = blur(filled(Solid((0, 0, 0), (1e4, radius_um, radius_um), axis=0), grid), grid.voxel_um, FWHM_UM)
    assert blurred[0, 27, 27] == pytest.approx(1 - np.exp(-(radius_um**2) / (2 * SIGMA_UM**2)), rel=1e-2)


def test_heterogeneity_falls_with_its_correlation_length() -> None:
    random, voxel_um, side = np.random.default_rng(5), 200.0, 96
    for length_um in (500.0, 800.0):  # white noise through a Gaussian of this sigma
        field = blur(random.standard_normal((side,) * 3), voxel_um, length_um * FWHM_PER_SIGMA)
        seen = blur(field, voxel_um, FWHM_UM)
        correlation = length_um**2 - voxel_um**2 / 12
        spread = SIGMA_UM**2 - voxel_um**2 / 12
        exact = (correlation / (correlation + spread)) ** 0.75
        assert float(seen.std() / field.std()) == pytest.approx(exact, rel=0.05)
        assert exact == pytest.approx((length_um**2 / (length_um**2 + SIGMA_UM**2)) ** 0.75, rel=0.01)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["64Cu", "124I"])
def test_blur_and_averaging_keep_what_there_is(name: str, dtype: type) -> None:
    volume = np.zeros((120, 100, 90), dtype)
    volume[40:70, 45:52, 43:50] = np.random.default_rng(3).random((30, 7, 7))
    seen = block_mean(blur(volume, 300.0, FWHM_UM, ISOTOPES[name].ranges), 2)
    assert seen.dtype == dtype
    assert 8 * seen.sum(dtype=np.float64) == pytest.approx(volume.sum(dtype=np.float64), rel=1e-6)


@pytest.mark.parametrize("name", ["18F", "64Cu", "89Zr", "68Ga", "124I"])
def test_a_point_spreads_by_gaussian_and_range(name: str) -> None:
    ranges = ISOTOPES[name].ranges
    voxel_um = 300.0
    side = 2 * int(margin_um(2 * FWHM_UM, ranges) / voxel_um) + 1
    point = np.zeros((side,) * 3)
    point[side // 2, side // 2, side // 2] = 1
    spread = blur(point, voxel_um, FWHM_UM, ranges)
    at = (np.arange(side) - side // 2) * voxel_um
    square_um2 = sum(b.share * 2 * b.most_um**2 / (p + 2) / (p + 3) for b in ranges for p in [b.most_um / b.mean_um - 2])
    exact = SIGMA_UM**2 - voxel_um**2 / 12 + square_um2 / 3
    assert float(spread.sum(axis=(1, 2)) @ at**2) == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize("name", ["18F", "64Cu", "89Zr", "124I"])
def test_positrons_go_as_far_in_the_mean_as_the_table_says(name: str) -> None:
    (branch, *_) = ISOTOPES[name].ranges
    random = np.random.default_rng(7)
    radius = branch.most_um * random.beta(1, branch.most_um / branch.mean_um - 1, 100_000)
    assert radius.mean() == pytest.approx(branch.mean_um, rel=0.01)
    wave = np.array([0.3, 1.0, 3.0]) / branch.mean_um
    sampled = np.sinc(wave[:, None] * radius / np.pi).mean(axis=1)
    assert range_transfer(wave, (branch,)) == pytest.approx(sampled, abs=5e-3)


def test_too_coarse_a_grid_or_blocks_that_leave_a_rest_are_refused() -> None:
    with pytest.raises(ValueError, match="at most a fifth"):
        blur(np.zeros((4, 4, 4)), 400.0, FWHM_UM)
    with pytest.raises(ValueError, match="does not divide"):
        block_mean(np.zeros((4, 4, 5)), 2)


def test_what_emits_no_positrons_is_told_what_does() -> None:
    with pytest.raises(InputError, match=r"nanoparticle.label.name 99mTc: emits no positrons.*89Zr"):
        positron_emitter("99mTc")
