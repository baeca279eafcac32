"""Signals, k-space and fits against closed forms."""

from __future__ import annotations

from math import pi, radians, sqrt

import numpy as np
import pytest

from tme_sim.imaging.mri_signal import (
    cropped,
    decay_rate,
    ernst_angle_rad,
    noisy,
    rate_from_flips,
    recovered,
    spoiled,
)
from tme_sim.numerics.blocks import block_mean

TR_S, R1_PER_S = 0.02, 0.7


def test_spoiled_echoes_settle_where_pulses_and_recovery_balance() -> None:
    flip, e1, before = radians(25), np.exp(-TR_S * R1_PER_S), 1.0
    for _ in range(5000):
        before = 1 - (1 - before * np.cos(flip)) * e1
    assert spoiled(np.array(R1_PER_S), TR_S, flip) == pytest.approx(before, rel=1e-6)


def test_the_signal_is_largest_at_the_ernst_angle() -> None:
    angle = np.linspace(0.01, 0.6, 590001)
    signal = np.sin(angle) * (1 - np.exp(-TR_S * R1_PER_S)) / (1 - np.exp(-TR_S * R1_PER_S) * np.cos(angle))
    best = ernst_angle_rad(R1_PER_S, TR_S)
    assert angle[signal.argmax()] == pytest.approx(best, abs=2e-6)
    assert np.sin(best) * spoiled(np.array(R1_PER_S), TR_S, best) == pytest.approx(signal.max(), rel=1e-6)


def test_water_recovers_after_a_spin_echo_train() -> None:
    assert recovered(np.array(R1_PER_S), 3.0, 0.1) == pytest.approx(1 - np.exp(-2.9 * R1_PER_S), rel=1e-12)


def test_magnitudes_without_signal_have_the_mean_of_a_rician_at_zero() -> None:
    """σ√(π/2), within 3 standard errors of 10⁵ magnitudes whose variance is σ²(2 − π/2)."""
    image = noisy(np.zeros((1, 100, 1000)), 2.0, np.random.default_rng(3))
    assert image.mean() == pytest.approx(2 * sqrt(pi / 2), abs=3 * 2 * sqrt((2 - pi / 2) / 1e5))


def test_noise_lies_on_both_parts_of_a_signal() -> None:
    """⟨M²⟩ = S² + 2σ², within 3 standard errors; var M² = 4σ²S² + 4σ⁴."""
    image = noisy(np.full((1, 100, 1000), 3.0 + 4.0j), 2.0, np.random.default_rng(4))
    assert (image**2).mean() == pytest.approx(25 + 8, abs=3 * sqrt((4 * 4 * 25 + 4 * 16) / 1e5))


def test_cropping_keeps_the_mean_and_waves_that_the_new_voxels_resolve() -> None:
    _, y, x = np.meshgrid(*map(np.arange, (6, 15, 12)), indexing="ij")
    wave = 2.0 + np.exp(2j * pi * (2 * y / 15 - x / 12))
    centre = np.meshgrid(
        *(np.arange(n // f) * f + (f - 1) / 2 for n, f in zip((6, 15, 12), (2, 3, 4), strict=True)), indexing="ij"
    )
    expected = 2.0 + np.exp(2j * pi * (2 * centre[1] / 15 - centre[2] / 12))
    np.testing.assert_allclose(cropped(wave, (2, 3, 4)), expected, atol=1e-12)
    unresolved = 5.0 + np.exp(2j * pi * 4 * y / 15)
    np.testing.assert_allclose(cropped(unresolved, (1, 3, 1)), 5.0, atol=1e-12)


def test_without_cropping_the_image_is_the_signal() -> None:
    signal = np.random.default_rng(1).normal(size=(2, 3, 4, 5)) + 0j
    assert cropped(signal, (1, 1, 1)) is signal


def test_fits_return_the_rates_of_signals_without_noise() -> None:
    r2, r1 = np.array([[[5.0, 80.0]]]), np.array([[[0.4, 3.0]]])
    echo_s, flip = np.array([0.002, 0.007, 0.012]), np.radians([3.0, 9.0, 20.0])
    np.testing.assert_allclose(decay_rate(np.exp(-echo_s[:, None, None, None] * r2), echo_s), r2, rtol=1e-10)
    signal = np.stack([np.sin(angle) * spoiled(r1, TR_S, angle) for angle in flip])
    np.testing.assert_allclose(rate_from_flips(signal, flip, TR_S), r1, rtol=1e-8)


def test_what_cannot_be_fitted_is_not_a_number() -> None:
    assert np.isnan(decay_rate(np.full((3, 1, 1, 1), 2.0), np.array([1.0, 2.0, 3.0]), noise=1.0)).all()
    rising = np.array([0.01, 0.02, 0.05])[:, None, None, None] * np.ones((1, 1, 1))
    assert np.isnan(rate_from_flips(rising, np.radians([2.0, 3.0, 4.0]), TR_S)).all()


def test_signals_are_averaged_and_not_rates() -> None:
    """Half the voxel at 10, half at 200 1/s: the late decay is that of the slow half, far from the mean rate of 105."""
    echo_s = np.array([0.02, 0.03, 0.04])
    signal = np.exp(-echo_s[:, None, None, None] * np.array([10.0, 200.0])[None, None, None, :])
    measured = decay_rate(np.abs(block_mean(signal, (1, 1, 2))), echo_s)
    assert 10 < measured.item() < 15
