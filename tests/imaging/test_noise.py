"""Counting noise, and the slice with OSEM that tells how much of it reconstruction adds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from tme_sim.imaging.noise import counted, decays
from tme_sim.imaging.projector import Projector, measure, osem


@pytest.mark.parametrize("expected", [0.3, 4.0, 500.0])
def test_counts_vary_as_poisson_does(expected: float) -> None:
    counts = counted(np.full((40, 40, 40), expected), np.random.default_rng(11))
    n = counts.size
    assert np.all(counts == np.rint(counts))
    assert abs(counts.mean() - expected) < 3 * np.sqrt(expected / n)
    spread = np.sqrt((1 / expected + 2) / n)  # standard error of the variance over the mean
    assert abs(counts.var() / counts.mean() - 1) < 3 * spread


def test_a_kernel_correlates_neighbours_and_leaves_the_noise_of_a_region() -> None:
    sigma, excess, side, block = 1.2, 6.0, 96, 24
    expected = np.full((side,) * 3, 30.0)
    counts = counted(expected, np.random.default_rng(2), sigma_voxels=sigma, excess=excess)
    assert counts.mean() == pytest.approx(30.0, rel=3 * np.sqrt(excess / 30 / side**3))
    voxel = 30.0 * excess / (2 * np.sqrt(np.pi) * sigma) ** 3  # of white noise through a Gaussian
    assert counts.var() == pytest.approx(voxel, rel=0.05)
    noise = (counts - expected).reshape(4, block, 4, block, 4, block).sum(axis=(1, 3, 5))
    edge = 1 - 2 * sigma / np.sqrt(np.pi) / block  # what the kernel carries over a face leaves the variance of both sides
    assert noise.var() == pytest.approx(30.0 * excess * block**3 * edge**3, rel=3 * np.sqrt(2 / 64))


def test_decays_in_a_frame_follow_from_activity_and_half_life() -> None:
    assert decays(1000.0, 600.0, 600.0) == pytest.approx(1000 * 600 / np.log(2) / 2, rel=1e-12)
    assert decays(1000.0, 1e12, 10.0) == pytest.approx(1e4, rel=1e-9)


def disc(side: int, radius: float, y: float = 0.0, x: float = 0.0) -> np.ndarray:
    at = np.arange(side) - (side - 1) / 2
    return np.clip(radius + 0.5 - np.hypot(at[:, None] - y, at - x), 0, 1)


def test_projections_are_the_chords_of_a_disc() -> None:
    projector, radius = Projector(64, 24), 20.0
    chords = projector.project(disc(64, radius))
    ray = np.arange(64) - 31.5
    inner = np.abs(ray) < 0.85 * radius
    assert chords[:, inner] == pytest.approx(
        np.broadcast_to(2 * np.sqrt(radius**2 - ray[inner] ** 2), (24, inner.sum())), rel=0.01
    )
    assert chords.sum(axis=1) == pytest.approx(np.full(24, disc(64, radius).sum()), rel=2e-3)


def test_osem_gives_back_a_slice_through_attenuation_scatter_and_randoms() -> None:
    projector = Projector(64, 48)
    activity = 5 * disc(64, 22.0) + 15 * disc(64, 6.0, y=8.0)
    prompts = measure(projector, activity, 0.004 * disc(64, 22.0), None, scatter=0.2, randoms=0.1)
    seen = osem(projector, prompts, iterations=4)
    for part, level in ((disc(64, 5.0, y=8.0) == 1, 20.0), (disc(64, 6.0, y=-8.0) == 1, 5.0)):
        assert seen[part].mean() == pytest.approx(level, rel=0.01)
    assert seen.sum() == pytest.approx(activity.sum(), rel=0.01)
    with pytest.raises(ValueError, match="do not divide"):
        osem(projector, prompts, subsets=7)


@pytest.mark.slow
def test_reconstruction_adds_the_noise_that_the_presets_assume() -> None:
    projector, body = Projector(80, 96), disc(80, 25.0)
    mu = 0.0096 * 0.4 * body  # water at 511 keV, voxels of 0.4 mm
    expected = ndimage.gaussian_filter(100 * body, 1.6)
    random = np.random.default_rng(4)
    slices = np.array([osem(projector, measure(projector, expected, mu, random, scatter=0.2, randoms=0.1)) for _ in range(48)])
    chords = projector.project(body)
    passed = float((np.exp(-projector.project(mu)) * chords).sum() / chords.sum())
    excess = []
    for y, x in ((0, 0), (10, 0), (-10, 0), (0, 10), (0, -10)):
        sums = slices[:, disc(80, 5.0, y, x) == 1].sum(axis=1)
        excess.append(passed * sums.var(ddof=1) / sums.mean())
    assert 7 < np.mean(excess) < 14  # 10 in pet_preclinical.yaml; it grows with iterations
