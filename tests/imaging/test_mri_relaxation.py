"""What metal does to water, pool by pool."""

from __future__ import annotations

from dataclasses import replace
from math import pi

import numpy as np
import pytest
from scipy.linalg import expm

from tme_sim.imaging.mri_signal import spoiled
from tme_sim.imaging.relaxation import (
    GYROMAGNETIC_PER_S_T,
    Metal,
    Pools,
    Water,
    magnetisation,
    pools_of,
    transverse,
    vesicle_rate,
)
from tme_sim.state.contrast import Contrast, ContrastAgent, Relaxivity
from tme_sim.state.errors import InputError

ROWS = (
    Relaxivity(field_T=1.5, r1_per_mM_s=20, r2_per_mM_s=60, r2_star_per_mM_s=70),
    Relaxivity(field_T=6.0, r1_per_mM_s=5, r2_per_mM_s=60),
)
IRON = Contrast(metal="iron", magnetisation_A_per_m=4e5, intact=ROWS, r1_share_in_cells=0.25, r2_share_in_cells=0)
GADOLINIUM = Contrast(
    metal="gadolinium", intact=ROWS, released=(replace(ROWS[0], r1_per_mM_s=40),), r1_share_in_cells=1, r2_share_in_cells=1
)
WATER = Water(
    tissue_r1_per_s=0.5,
    tissue_r2_per_s=20,
    blood_r1_per_s=0.6,
    blood_r2_per_s=40,
    blood_susceptibility_ppm=0.4,
    macrophage_iron_mM=0.5,
    diffusivity_um2_per_s=1000,
    vesicle_radius_um=0.25,
    vesicle_share=0.02,
)
ONE = (1, 1, 1)


def agent(contrast: Contrast = IRON, core_um: float = 0.0065) -> ContrastAgent:
    return ContrastAgent(contrast, 1e-2, core_um)


def column(*values: float) -> np.ndarray:
    return np.array(values, float).reshape(-1, *ONE)


def steady(rate: np.ndarray) -> np.ndarray:
    return spoiled(rate, 0.05, 0.5)


def test_relaxivities_lie_on_lines_in_the_logarithms_and_none_is_guessed_outside() -> None:
    between = agent().relaxivity(3.0)
    assert (between.r1_per_mM_s, between.r2_per_mM_s) == pytest.approx((10.0, 60.0))
    assert between.r2_star == pytest.approx(np.sqrt(70 * 60))
    with pytest.raises(InputError, match=r"field 9\.4 T: the card has relaxivities from 1\.5 to 6 T"):
        agent().relaxivity(9.4)
    with pytest.raises(InputError, match=r"from 1\.5 to 1\.5 T"):
        agent(GADOLINIUM).relaxivity(3.0, released=True)


def test_ions_are_magnetised_in_proportion_to_the_field_and_cores_saturate() -> None:
    assert agent(GADOLINIUM).susceptibility_per_mM(3.0) == pytest.approx(0.32e-6, rel=0.01)  # Gd at 37 °C
    assert agent(GADOLINIUM).susceptibility_per_mM(7.0) == agent(GADOLINIUM).susceptibility_per_mM(3.0)
    moment = [agent().susceptibility_per_mM(field) * field for field in (1e-6, 2e-6, 1.5, 7.0, 1e6)]
    assert moment[1] / moment[0] == pytest.approx(2, rel=1e-6)
    assert 0.93 < moment[2] / moment[3] < 1
    full = 4e-7 * pi * 4e5 * 55.845e-3 / (5170 * 0.7236)
    assert moment[4] == pytest.approx(full, rel=1e-6)


def test_a_core_without_diameter_is_refused() -> None:
    with pytest.raises(InputError, match="core_diameter"):
        ContrastAgent(IRON, 1e-2, None).susceptibility_per_mM(3.0)
    with pytest.raises(InputError, match="magnetisation"):
        replace(IRON, magnetisation_A_per_m=None)
    with pytest.raises(InputError, match="each field must be stronger"):
        replace(IRON, intact=ROWS[::-1])


def test_rates_add_up_by_pool_and_cells_quench_them() -> None:
    share = column(0.1, 0.3, 0.6)
    metal = Metal(column(0.02, 0.03, 0.06), column(0.01, 0.0, 0.0))
    pools = pools_of(share, metal, agent(GADOLINIUM), WATER, 1.5)
    expected = [0.6 + 20 * 0.2 + 40 * 0.1, 0.5 + 20 * 0.1, 0.5 + 20 * 0.1]
    np.testing.assert_allclose(pools.r1_per_s.ravel(), expected)
    np.testing.assert_allclose(pools.r2_per_s.ravel()[:2], [40 + 70 * 0.2 + 60 * 0.1 + 10 * 0.1, 20 + 70 * 0.1], rtol=1e-9)
    quenched = pools_of(share, metal, agent(replace(GADOLINIUM, r1_share_in_cells=0.25)), WATER, 1.5)
    np.testing.assert_allclose(quenched.r1_per_s.ravel(), [*expected[:2], 0.5 + 0.25 * 20 * 0.1])


def test_spin_echoes_see_r2_and_gradient_echoes_r2_star() -> None:
    share, metal = column(0.0, 1.0, 0.0), Metal(column(0, 0.1, 0), column(0, 0, 0))
    assert pools_of(share, metal, agent(), WATER, 1.5).r2_per_s[1].item() == pytest.approx(20 + 7)
    assert pools_of(share, metal, agent(), WATER, 1.5, 0.004).r2_per_s[1].item() == pytest.approx(20 + 6)


def test_vesicles_average_small_fields_and_dephase_statically_in_large_ones() -> None:
    weak, strong = np.array(1e-9), np.array(1e-4)
    spread = GYROMAGNETIC_PER_S_T * 7 * weak / 3
    assert vesicle_rate(weak, WATER, 7.0) == pytest.approx(16 / 45 * 0.25**2 / 1000 * spread**2 / 0.02)
    assert vesicle_rate(strong, WATER, 7.0) == pytest.approx(1.2092 * GYROMAGNETIC_PER_S_T * 7 * strong / 3, rel=1e-4)
    large, between = replace(WATER, vesicle_radius_um=1.0), np.array(3e-6)
    assert vesicle_rate(between, large, 7.0, 0.0005) < 0.9 * vesicle_rate(between, large, 7.0)
    assert vesicle_rate(strong, WATER, 7.0, 0.004) == vesicle_rate(strong, WATER, 7.0)  # too strong to be refocused
    assert vesicle_rate(weak, WATER, 7.0, 0.004) == vesicle_rate(weak, WATER, 7.0)


@pytest.mark.parametrize(("where", "other"), [("blood", 0), ("cell", 2)])
def test_water_that_changes_sites_settles_as_bloch_and_mcconnell_say(where: str, other: int) -> None:
    share, rate = column(0.2, 0.5, 0.3), column(6.0, 0.5, 3.0)
    water = replace(WATER, **{f"{where}_residence_s": 0.2})
    found = magnetisation(Pools(share, rate, rate), water, steady).ravel()
    p, r = share.ravel(), rate.ravel()
    leave, back = 1 / 0.2, p[other] / p[1] / 0.2
    matrix = np.array([[r[other] + leave, -back], [-leave, r[1] + back]])
    e = expm(-0.05 * matrix)
    rest = np.array([p[other], p[1]])
    settled = np.linalg.solve(np.eye(2) - np.cos(0.5) * e, (np.eye(2) - e) @ rest)
    np.testing.assert_allclose([found[other], found[1]], settled, rtol=1e-9)
    apart = 2 - other
    assert found[apart] == pytest.approx(p[apart] * steady(r[apart]), rel=1e-12)


def test_exchange_goes_over_into_fast_and_slow() -> None:
    share, rate = column(0.2, 0.5, 0.3), column(6.0, 0.5, 3.0)
    pools = Pools(share, rate, rate)
    for residence_s, limit in ((1e-7, 0.0), (1e7, None)):
        near = magnetisation(pools, replace(WATER, cell_residence_s=residence_s), steady)
        np.testing.assert_allclose(near, magnetisation(pools, replace(WATER, cell_residence_s=limit), steady), rtol=1e-5)
    both_fast = replace(WATER, cell_residence_s=0.0, blood_residence_s=0.0)
    assert magnetisation(pools, both_fast, steady).sum() == pytest.approx(steady((share * rate).sum()).item(), rel=1e-12)
    np.testing.assert_allclose(transverse(pools, both_fast).ravel(), (share * rate).sum())
    np.testing.assert_array_equal(transverse(pools, WATER), rate)


def test_only_one_pool_may_exchange_at_a_finite_rate() -> None:
    with pytest.raises(InputError, match="only blood or cells"):
        replace(WATER, cell_residence_s=0.5, blood_residence_s=0.5)
