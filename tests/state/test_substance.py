"""The physics that follows from a particle's size."""

from __future__ import annotations

from dataclasses import replace
from math import exp, pi

import numpy as np
import pytest

from tme_sim.state.substance import (
    Matrix,
    Nanoparticle,
    accessible_share,
    fibre_crowding,
    interstitial_diffusivity_um2_per_s,
    particle_mass_g,
    stokes_einstein_um2_per_s,
)


def matrix(fibres=0.05, radius_um=0.02, conductivity=4.13):
    return Matrix(fibre_volume_fraction=fibres, fibre_radius_um=radius_um, hydraulic_conductivity_um2_per_mmHg_s=conductivity)


@pytest.mark.parametrize(("radius_nm", "share"), [(5, 0.925), (15, 0.858), (32.5, 0.709), (50, 0.542)])
def test_ogston_gives_the_accessible_share_of_the_literature(radius_nm, share):
    """Volume share of fibres 0.05, fibre radius 20 nm (literature V09)."""
    assert accessible_share(radius_nm / 1000, matrix()) == pytest.approx(share, abs=6e-4)


def test_a_point_in_an_empty_matrix_diffuses_as_in_water():
    free = matrix(fibres=0.0, conductivity=1e15)
    assert interstitial_diffusivity_um2_per_s(0.03, free) == pytest.approx(stokes_einstein_um2_per_s(0.03), rel=1e-6)


def test_drag_and_crowding_multiply():
    """F = [1 + a/√k + a²/(3k)]⁻¹ with k = K η, S = exp(-0.84 f^1.09), f = φ_f (1 + a/a_f)²."""
    a, viscosity_mmHg_s = 0.0325, 0.692e-3 / 133.322387415
    k = 4.13 * viscosity_mmHg_s
    f = 0.05 * (1 + 32.5 / 20) ** 2
    assert fibre_crowding(a, matrix()) == pytest.approx(f)
    expected = stokes_einstein_um2_per_s(a) / (1 + a / np.sqrt(k) + a**2 / (3 * k)) * exp(-0.84 * f**1.09)
    assert interstitial_diffusivity_um2_per_s(a, matrix()) == pytest.approx(expected, rel=1e-9)


def test_larger_particles_are_slower_and_reach_less():
    radii = np.geomspace(0.001, 0.2, 40)
    assert (np.diff([interstitial_diffusivity_um2_per_s(a, matrix()) for a in radii]) < 0).all()
    assert (np.diff([accessible_share(a, matrix()) for a in radii]) < 0).all()


def test_a_particles_mass_is_that_of_its_core(configure):
    particle: Nanoparticle = configure().nanoparticle
    assert particle_mass_g(particle) == pytest.approx(1.05e-12 * pi / 6 * 0.065**3, rel=1e-12)
    core = replace(particle, core_diameter_um=0.005, density_g_per_mL=5.2)
    assert particle_mass_g(core) == pytest.approx(5.2e-12 * pi / 6 * 0.005**3, rel=1e-12)
