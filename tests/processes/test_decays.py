"""The dose of decays against closed forms: even activity, a sphere, the energy of a point, and an isotope that runs out."""

from __future__ import annotations

import numpy as np
import pytest

from tme_sim.processes.base import StateView, Streams
from tme_sim.processes.decays import J_PER_KEV, Decays, Isotope
from tme_sim.state.errors import InputError
from tme_sim.state.label import Detachment, Label
from tme_sim.state.lattice import Patch

HOUR = 3600.0
KEV, DENSITY = 100.0, 1.05
SHORT_S, LONG_S = 1.0, 1e12


def label(half_life_s=LONG_S, name="89Zr", activity_Bq=1e-6):
    return Label(name=name, half_life_s=half_life_s, activity_Bq=activity_Bq, detachment=Detachment())


def decays(state, range_um=60.0, what=None, kinds=()):
    isotopes = {"89Zr": Isotope(energy_keV=KEV, range_um=range_um)}
    process = Decays(
        isotopes=isotopes, label=what or label(), density_g_per_mL=DENSITY, pools=("fields.nanoparticle",), kinds=kinds
    )
    process.prepare(state, None)
    return process


def dose(process, state, dt_s=SHORT_S, steps=1):
    for _ in range(steps):
        process.step(StateView(state, process.reads, process.writes, state.tick * dt_s), dt_s, Streams(1, "decays", state.tick))
        state.tick += 1
    return state.fields["decay_dose_Gy"]


def of_one_decay(state):
    """Dose to a voxel that absorbs all of one decay's energy."""
    return KEV * J_PER_KEV / (DENSITY * state.lattice.voxel_um3 * 1e-15)


@pytest.mark.parametrize("range_um", [0.0, 60.0, 2500.0])
def test_an_even_activity_gives_its_energy_over_the_mass(make_state, range_um):
    """E A t/ρ, whatever the range, for nothing leaves through the faces; in each of two patches its own."""
    state = make_state((8, 4, 4), patches=(Patch("rim", 0, 4, 2), Patch("core", 4, 4, 3)))
    state.fields["nanoparticle"][1, 0, :4] = 7.0
    state.fields["nanoparticle"][2, 1, 4:] = 3.0
    found = dose(decays(state, range_um), state) / (1e-6 * SHORT_S * of_one_decay(state))
    np.testing.assert_allclose(found[:4], 7.0, rtol=1e-6)
    np.testing.assert_allclose(found[4:], 3.0, rtol=1e-6)


def test_a_sphere_absorbs_the_fraction_that_the_kernel_says(make_state):
    """φ = 1 − 3 (1 + x) e^−x (x cosh x − sinh x)/x³ with x = R/λ: an S-value E φ/m, to the second order of the mesh."""
    n, radius, x = 41, 8.0, 2.0  # in voxels; the faces are 6 λ from the sphere's edge
    state = make_state((n, n, n))
    z, y, x_ = np.indices((n, n, n)) - n // 2
    inside = z**2 + y**2 + x_**2 <= radius**2
    state.fields["nanoparticle"][0, 0][inside] = 1.0
    found = dose(decays(state, 2 * radius / x * 15.0), state) / (1e-6 * of_one_decay(state))
    radius = (3 * inside.sum() / (4 * np.pi)) ** (1 / 3)
    x *= radius / 8.0
    expected = 1 - 3 * (1 + x) * np.exp(-x) * (x * np.cosh(x) - np.sinh(x)) / x**3
    assert found[inside].mean() == pytest.approx(expected, rel=0.02)


def test_the_energy_of_a_decay_is_absorbed_at_the_range_in_the_mean(make_state):
    """All of it, at a mean distance of 2λ: ∫ r² e^(−r/λ) dr/λ²; within the h² of the mesh."""
    n = 49
    state = make_state((n, n, n))
    state.fields["nanoparticle"][0, 0, n // 2, n // 2, n // 2] = 1.0
    found = dose(decays(state, 6 * 15.0), state) / (1e-6 * of_one_decay(state))
    r = np.sqrt(sum(axis**2 for axis in np.indices((n, n, n)) - n // 2))
    assert found.sum() == pytest.approx(1.0, rel=1e-6)
    assert (found * r).sum() == pytest.approx(6.0, rel=0.03)


def test_an_isotope_decays_from_the_runs_start(make_state, add_cells):
    """A0 (1 − 2^(−t/T)) T/ln 2 decays of each carrier, in cells or not, whatever the steps."""
    for steps in (1, 6):
        state = make_state((1, 1, 2))
        add_cells(state, "tumor_cells", [1])["lysosome"][0, 1, 1] = 4.0
        state.fields["nanoparticle"][1, 0] = [[[5.0, 0.0]]]
        process = decays(state, 0.0, label(half_life_s=2 * HOUR), ("tumor_cells",))
        found = dose(process, state, 3 * HOUR / steps, steps)
        expected = 1e-6 * (1 - 2**-1.5) * 2 * HOUR / np.log(2) * of_one_decay(state)
        np.testing.assert_allclose(found, [[[5 * expected, 4 * expected]]], rtol=1e-12)


def test_a_label_that_is_not_active_or_not_known_is_refused(make_state):
    state = make_state()
    with pytest.raises(InputError, match=r"nanoparticle.label.activity 0 Bq: decays need a label that is active"):
        decays(state, what=label(name="Cy7", half_life_s=None, activity_Bq=0.0))
    with pytest.raises(InputError, match="89Zr"):
        decays(state, what=label(name="999Xx"))
