"""The lattice's dipole field, what it does to gradient echoes, and what spin echoes undo."""

from __future__ import annotations

from math import ceil, pi

import numpy as np
import pytest
from numpy.typing import NDArray

from tme_sim.imaging.bloch_torrey import walked
from tme_sim.imaging.relaxation import GYROMAGNETIC_PER_S_T, STATIC_DEPHASING
from tme_sim.imaging.susceptibility import field_shift, turning
from tme_sim.numerics.dephasing import dephase
from tme_sim.numerics.random import stream_key
from tme_sim.numerics.spins import walk_spins

Floats = NDArray[np.float64]


def ball(n: int, radius: float, centre: Floats, sub: int = 5) -> Floats:
    """(n, n, n) share of each voxel that lies in a ball."""
    along = [(np.arange(n * sub) + 0.5) / sub - c for c in centre]
    inside = along[0][:, None, None] ** 2 + along[1][:, None] ** 2 + along[2] ** 2 < radius**2
    return inside.reshape(n, sub, n, sub, n, sub).mean(axis=(1, 3, 5))


def test_a_magnetised_ball_has_the_field_of_a_dipole_outside_and_none_inside() -> None:
    """(χ/3)(R/r)³(3 cos²θ − 1) with R by the ball's volume: 1 % of the surface field beyond 1.25 R, and in the inner half."""
    n, radius = 48, 8.0
    chi = np.zeros((n, n, n))
    chi[15:34, 15:34, 15:34] = ball(19, radius, np.full(3, n / 2 + 0.5 - 15))
    along = np.arange(n) - n / 2
    r2 = along[:, None, None] ** 2 + along[:, None] ** 2 + along**2
    r2[n // 2, n // 2, n // 2] = 1
    exact = chi.sum() / (4 * pi) / r2**1.5 * (3 * along[:, None, None] ** 2 / r2 - 1)
    found = field_shift(chi)
    assert np.abs(found - exact)[r2 > (1.25 * radius) ** 2].max() * 3 < 0.01
    assert np.abs(found[r2 < (0.5 * radius) ** 2]).max() * 3 < 0.01
    assert found[n // 2 + 12, n // 2, n // 2] > 0 > found[n // 2, n // 2, n // 2 + 12]


def test_an_even_block_lies_in_tissue_like_itself_and_does_not_dephase() -> None:
    assert np.abs(turning(np.full((5, 6, 7), 1e-6), 7.0, 2)).max() < 1e-9


def test_pools_decay_apart_and_turn_together_by_the_mean_over_parts_of_a_voxel() -> None:
    weight, rate = np.array([2.0, 0.5]).reshape(2, 1, 1, 1), np.array([5.0, 80.0]).reshape(2, 1, 1, 1)
    turn = np.random.default_rng(1).normal(0, 100, (2, 2, 2))
    t = np.array([0.003, 0.01])
    expected = (2 * np.exp(-5 * t) + 0.5 * np.exp(-80 * t)) * np.exp(1j * turn.reshape(8, 1) * t).mean(axis=0)
    np.testing.assert_allclose(dephase(weight, rate, turn, t).ravel(), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="does not divide"):
        dephase(weight, rate, turn[:, :, :1], t)


def test_water_around_a_ball_dephases_statically() -> None:
    """−ln S per volume share of balls → 2π/(3√3) δω t (Yablonskiy & Haacke 1994): the slope from 8 to 24 rad, within 3 %.

    Beyond the sphere that fits the box the field's square is integrated in closed form.
    """
    n, radius = 64, 5.0
    inside = np.zeros((n, n, n))
    inside[26:38, 26:38, 26:38] = ball(12, radius, np.full(3, 6.0))
    turn = field_shift(inside) * 3  # 1 rad/s at the equator, δω = 1
    along = np.arange(n) + 0.5 - n / 2
    water = (1 - inside) * (along[:, None, None] ** 2 + along[:, None] ** 2 + along**2 < (n / 2) ** 2)
    t = np.array([8.0, 24.0])
    one = np.ones((1, n, n, n))
    signal = dephase(one, 0 * one, turn, t)
    lost = ((1 - signal.real) * water).sum(axis=(1, 2, 3)) / inside.sum() + 0.4 * t**2 * (radius / (n / 2)) ** 3
    assert (lost[1] - lost[0]) / 16 == pytest.approx(STATIC_DEPHASING, rel=0.03)
    assert pytest.approx(1.2092, abs=5e-5) == STATIC_DEPHASING


def scattered(n: int, radius: float, share: float, seed: int) -> Floats:
    """(n, n, n) share of each voxel that lies in one of many balls that do not overlap."""
    random, found, placed = np.random.default_rng(seed), np.zeros((n, n, n)), np.empty((0, 3))
    size = ceil(2 * radius) + 2
    while len(placed) < round(share * n**3 / (4 / 3 * pi * radius**3)):
        centre = random.uniform(radius + 1, n - radius - 1, 3)
        if len(placed) and ((placed - centre) ** 2).sum(axis=1).min() < 4 * radius**2:
            continue
        placed = np.vstack([placed, centre])
        low = np.floor(centre - radius).astype(int)
        found[tuple(slice(a, a + size) for a in low)] += ball(size, radius, centre - low)[
            tuple(slice(0, min(a + size, n) - a) for a in low)
        ]
    return found


@pytest.mark.slow
def test_r2_star_of_many_balls_on_the_lattice_is_that_of_static_dephasing() -> None:
    """Mean of three arrangements of 370 balls, whose slopes scatter by 1.5 %: within 3 %."""
    n, ratio = 128, []
    for seed in (1, 2, 3):
        chi = scattered(n, 3.0, 0.02, seed)
        turn = field_shift(chi - chi.mean()) * 3
        one = np.ones((1, n, n, n))
        t = np.linspace(5, 20, 16)
        signal = dephase(one, 0 * one, turn, t).mean(axis=(1, 2, 3))
        ratio.append(np.polyfit(t, -np.log(np.abs(signal)), 1)[0] / chi.mean() / STATIC_DEPHASING)
    assert np.mean(ratio) == pytest.approx(1, abs=0.03)


SPINS = 20000
GRADIENT, DIFFUSIVITY = 30.0, 20.0  # rad/s and voxel, voxel²/s


@pytest.mark.parametrize("echoes", [1, 3])
def test_spin_echoes_in_a_constant_gradient_lose_what_diffusion_takes(echoes: int) -> None:
    """e^(−γ²G²D t³/12) at the echo, and the same again for each further refocusing: within 4 standard errors."""
    n, spacing_s = 41, 0.07 if echoes == 1 else 0.04
    field = np.broadcast_to(GRADIENT * (np.arange(n) - n // 2), (n, n, n))
    walk = {"diffusivity_per_s": DIFFUSIVITY, "spacing_s": spacing_s, "echoes": echoes, "steps": 10}
    signal = walk_spins(np.full((SPINS, 3), n // 2), field, np.zeros((n, n, n)), key=stream_key(5, "walk"), **walk)
    expected = np.exp(-(GRADIENT**2) * DIFFUSIVITY * spacing_s**3 / 12 * np.arange(1, echoes + 1))
    error = np.sqrt((1 - expected**2) ** 2 / 2 / SPINS)  # of cosines of normal phases
    assert (np.abs(signal.mean(axis=1) - expected) < 4 * error).all()


def test_spin_echoes_in_a_wave_of_field_decay_as_its_correlation_time_says() -> None:
    """−ln S = A²/2 τ² (T/τ − 3 + 4 e^(−T/2τ) − e^(−T/τ)), τ = 1/(D q²), for a weak wave A cos qx: within 4 standard errors.

    Those of 10⁴ cosines of nearly normal phases, A τ being 0.2; the wave fits the faces, which reflect.
    """
    n, tau, spins = 24, 0.01, 10000
    wave = pi / n
    field = np.broadcast_to(20.0 * np.cos(wave * (np.arange(n) + 0.5)), (n, n, n))
    start = np.random.default_rng(7).uniform(-0.5, n - 0.5, (spins, 3))
    walk = {"diffusivity_per_s": 1 / tau / wave**2, "spacing_s": 10 * tau, "echoes": 1, "steps": 100}
    lost = 0.5 * 0.2**2 * (10 - 3 + 4 * np.exp(-5) - np.exp(-10))
    signal = walk_spins(start, field, np.zeros((n, n, n)), key=stream_key(5, "walk"), **walk).mean().real
    assert signal == pytest.approx(np.exp(-lost), abs=4 * (1 - np.exp(-2 * lost)) / np.sqrt(2 * spins))


def test_a_spin_echo_refocuses_still_water_exactly_and_keeps_its_decay() -> None:
    random = np.random.default_rng(2)
    field, rate = random.normal(0, 500, (4, 5, 6)), np.full((4, 5, 6), 12.0)
    still = walked(field, rate, spins_per_voxel=3, diffusivity_per_s=0.0, spacing_s=0.01, echoes=2, seed=1)
    np.testing.assert_allclose(
        still, np.exp(-12.0 * np.array([0.01, 0.02]))[:, None, None, None] * np.ones((4, 5, 6)), rtol=1e-12
    )


def test_water_stays_in_the_box_and_carries_the_mean_rate_where_it_moves_fast() -> None:
    rate = np.zeros((3, 3, 3))
    rate[1:] = 30.0
    fast = walked(
        np.zeros((3, 3, 3)), rate, spins_per_voxel=40, diffusivity_per_s=400.0, spacing_s=0.02, echoes=2, seed=1, steps=40
    )
    assert np.abs(fast[1]).max() < 0.75  # none keeps to the part without decay
    assert np.abs(fast[1] / fast[0]).mean() == pytest.approx(np.exp(-0.4), abs=0.02)  # linear between centres: 20 on average


def test_a_walk_is_a_function_of_its_key() -> None:
    field = np.random.default_rng(2).normal(0, 500, (4, 5, 6))
    kwargs = {"spins_per_voxel": 2, "diffusivity_per_s": 5.0, "spacing_s": 0.01, "echoes": 2}
    first, again, other = (walked(field, 0 * field, seed=seed, **kwargs) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_frequencies_follow_from_gyromagnetic_ratio_and_field() -> None:
    chi = np.zeros((9, 9, 9))
    chi[4, 4, 4] = 1e-6
    turn = turning(chi, 7.0)
    shift = field_shift(chi - chi.mean())
    halves = turning(chi, 7.0, 2)
    assert halves.shape == (18, 18, 18)
    np.testing.assert_allclose(turn, shift * GYROMAGNETIC_PER_S_T * 7.0, rtol=1e-5)
