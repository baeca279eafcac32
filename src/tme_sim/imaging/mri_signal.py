"""Signals of pulse sequences, what a scanner's k-space leaves of them, and what a reader fits to them."""

from __future__ import annotations

from math import acos, exp

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Complexes = NDArray[np.complexfloating]

TINY = 1e-12


def spoiled(r1_per_s: Floats, repetition_s: float, flip_rad: float) -> Floats:
    """Steady longitudinal magnetisation (1 − E1)/(1 − E1 cos α) of a spoiled gradient echo; the signal is sin α times this."""
    e1 = np.exp(-repetition_s * r1_per_s)
    return np.asarray((1 - e1) / (1 - e1 * np.cos(flip_rad)))


def recovered(r1_per_s: Floats, repetition_s: float, echo_train_s: float = 0.0) -> Floats:
    """Longitudinal magnetisation 1 − e^(−(TR − train) R1) before the next pulse of 90°; refocusing pulses keep it at zero."""
    return np.asarray(-np.expm1(-(repetition_s - echo_train_s) * r1_per_s))


def ernst_angle_rad(r1_per_s: float, repetition_s: float) -> float:
    """The flip angle of the largest signal, arccos E1."""
    return acos(exp(-repetition_s * r1_per_s))


def cropped(signal: Complexes, factors: tuple[int, int, int]) -> Complexes:
    """(…, z, y, x) image from the lowest 1/factor of k-space along each axis, at the centres of blocks of factor³ voxels.

    The mean is kept; edges ring as they do in a scanner. The box's ends are neighbours, as they are to a Fourier transform.
    """
    for axis, factor in zip((-3, -2, -1), factors, strict=True):
        if factor > 1:
            matrix = _low_frequencies(signal.shape[axis], factor).astype(signal.dtype)
            signal = np.moveaxis(np.tensordot(signal, matrix, axes=(axis, 1)), -1, axis)
    return signal


def _low_frequencies(n: int, factor: int) -> NDArray[np.complex128]:
    """(n/factor, n) transform, keep the lowest frequencies, move the origin to the block's centre, transform back."""
    kept = n // factor
    k = np.fft.fftfreq(kept, 1 / kept)
    here, there = np.arange(kept) * factor + (factor - 1) / 2, np.arange(n)
    return np.asarray(np.exp(2j * np.pi / n * here[:, None] * k) @ np.exp(-2j * np.pi / n * k[:, None] * there) / n)


def noisy(signal: Complexes, sd: float, generator: np.random.Generator) -> Floats:
    """Magnitude after complex Gaussian noise of this standard deviation in each of both parts: Rician.

    Noise that is white in k-space is white in the image, so it is added here.
    """
    noise = generator.normal(0.0, sd, (2, *signal.shape)) if sd > 0 else np.zeros((2, *signal.shape))
    return np.asarray(np.abs(signal + noise[0] + 1j * noise[1]), np.float64)


def decay_rate(magnitude: Floats, echo_s: Floats, noise: float = 0.0) -> Floats:
    """(z, y, x) rate of an exponential through (echo, z, y, x): least squares of logarithms, each echo with weight S².

    noise: standard deviation of each part; 2σ², what it adds to squares, is taken off, and echoes below 3σ are left out, which
    noise alone passes once in 90 times. NaN where fewer than two echoes are left.
    """
    power = magnitude.astype(np.float64) ** 2 - 2 * noise**2
    weight = np.where(power > 7 * noise**2, power, 0.0)
    height = 0.5 * np.log(np.maximum(power, TINY))
    t = np.asarray(echo_s, np.float64)[:, None, None, None]
    total = np.maximum(weight.sum(axis=0), TINY)
    mean_t, mean_h = (weight * t).sum(axis=0) / total, (weight * height).sum(axis=0) / total
    spread = (weight * (t - mean_t) ** 2).sum(axis=0)
    slope = (weight * (t - mean_t) * (height - mean_h)).sum(axis=0) / np.maximum(spread, TINY)
    return np.where((weight > 0).sum(axis=0) > 1, -slope, np.nan)


def rate_from_flips(magnitude: Floats, flip_rad: Floats, repetition_s: float) -> Floats:
    """(z, y, x) R1 by spoiled echoes at (flip,) angles: the line S/sin α = E1 S/tan α + M0 (1 − E1); NaN where there is none."""
    angle = np.asarray(flip_rad, np.float64)[:, None, None, None]
    y, x = magnitude / np.sin(angle), magnitude / np.tan(angle)
    dx = x - x.mean(axis=0)
    e1 = (dx * (y - y.mean(axis=0))).sum(axis=0) / np.maximum((dx**2).sum(axis=0), TINY)
    valid = (e1 > 0) & (e1 < 1)
    return np.where(valid, -np.log(np.where(valid, e1, 0.5)) / repetition_s, np.nan)
