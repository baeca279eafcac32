"""What leaves through a periodic face comes in opposite: as the wrapped Gaussian says, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from tme_sim.numerics.transport import face_rates, step_continuum
from tme_sim.processes.transport import Transport
from tme_sim.state.boundaries import Boundaries
from tme_sim.state.errors import InputError
from tme_sim.state.lattice import Patch
from tme_sim.state.ledger import audit

N, STEPS, DT_S = 80, 60, 60.0
D_UM2_PER_S = 15.0**2 / (6 * DT_S)
"""D dt/h² = 1/6: the errors of second order in space and of first order in time cancel."""


def along(*axes):
    return Boundaries(**{axis: "periodic" if axis in axes else "no_flux" for axis in "zyx"})


def wrapped_gaussian(centre, variance):
    """Sum over the images, 1 in all; in voxels."""
    at = np.arange(N)[:, None] - centre + N * np.arange(-3, 4)
    return np.exp(-(at**2) / (2 * variance)).sum(axis=1) / np.sqrt(2 * np.pi * variance)


def line(make_state, axis, start, number="continuum"):
    shape = tuple(N if each == axis else 1 for each in "zyx")
    state = make_state(shape, number)
    state.fields["nanoparticle"][1, 0] = np.reshape(start, shape)
    return state


@pytest.mark.parametrize(
    ("axis", "integrator", "steps", "dt_s", "share"),
    [
        *((axis, "explicit", STEPS, DT_S, 1e-5) for axis in "zyx"),  # N 15/(3240 σ⁶) = 3·10⁻⁶, of sixth order in h
        ("x", "rkl2", 1, STEPS * DT_S, 2e-3),  # (D t/h²) 3/(12 σ⁴) = 1.2·10⁻³, of second order in h
    ],
)
def test_a_gaussian_goes_on_across_a_periodic_face(make_state, advance, axis, integrator, steps, dt_s, share):
    state = line(make_state, axis, 1e6 * wrapped_gaussian(2, 25))
    process = Transport(diffusivity_um2_per_s=D_UM2_PER_S, integrator=integrator, boundaries=along(axis))
    advance(state, process, dt_s, steps)
    field, expected = state.fields["nanoparticle"][1, 0].ravel(), 1e6 * wrapped_gaussian(2, 25 + STEPS / 3)
    assert (process.integration is None) == (integrator == "explicit")
    assert field.sum() == pytest.approx(1e6, rel=1e-13)
    assert np.abs(field - expected).max() < share * expected.max()
    assert field[-5:].sum() > 0.05e6  # and it did cross


def test_counts_go_on_across_a_periodic_face(make_state, advance):
    """All from the voxel at the face, so they are multinomial around the wrapped Gaussian: chi² at the level 1e-4, two-sided."""
    start = np.where(np.arange(N) == 0, 10**6, 0)
    state = line(make_state, "y", start, "stochastic")
    advance(state, Transport(diffusivity_um2_per_s=D_UM2_PER_S, boundaries=along("y")), DT_S, STEPS)
    field, mean = state.fields["nanoparticle"][1, 0].ravel(), 1e6 * wrapped_gaussian(0, STEPS / 3)
    assert field.sum() == 10**6
    enough = mean > 10
    low, high = chi2.ppf([5e-5, 1 - 5e-5], enough.sum() - 1)
    assert low < ((field - mean)[enough] ** 2 / mean[enough]).sum() < high


@pytest.mark.parametrize("number", ["continuum", "stochastic"])
def test_at_rest_concentrations_are_uniform_across_periodic_faces(make_state, advance, number):
    """A wall in the middle of x: only around the periodic face do the two halves come together."""
    accessible = np.random.default_rng(3).uniform(0.05, 0.3, (1, 4, 9))
    accessible[:, :, 4] = 0
    state = make_state((1, 4, 9), number, accessible=accessible)
    state.fields["nanoparticle"][0, 0, 0, 1, 1] = 10**7
    advance(state, Transport(diffusivity_um2_per_s=30.0, boundaries=along("x")), 60, 100)
    field, expected = state.fields["nanoparticle"][0, 0], 1e7 * accessible / accessible.sum()
    assert field.sum() == pytest.approx(1e7, rel=1e-12)
    scatter = 5 * np.sqrt(expected) if number == "stochastic" else 1e-6 * expected
    assert (np.abs(field - expected) <= scatter).all()


def test_without_periodic_faces_the_bits_are_those_of_closed_ones(make_state, advance):
    start = np.random.default_rng(4).uniform(0, 100, (4, 5, 6))
    state = make_state((4, 5, 6))
    state.fields["nanoparticle"][1, 0] = start
    advance(state, Transport(diffusivity_um2_per_s=D_UM2_PER_S, boundaries=along()), DT_S, 5)
    rates = face_rates(D_UM2_PER_S, np.full((4, 5, 6), 0.1), 15.0, dtype=np.float32)
    for _ in range(5):
        step_continuum(start, rates, DT_S / 2, steps=2)
    np.testing.assert_array_equal(state.fields["nanoparticle"][1, 0], start)


def test_what_cannot_be_periodic_is_refused(make_state):
    patches = (Patch("rim", 0, 2, 3), Patch("core", 2, 3, 7))
    state, told = make_state((5, 3, 3), patches=patches), "lattice.boundaries.z periodic: not with 2 patches"
    with pytest.raises(InputError, match=told):
        Transport(diffusivity_um2_per_s=1.0, boundaries=along("z", "y")).prepare(state, np.random.default_rng)
    Transport(diffusivity_um2_per_s=1.0, boundaries=along("y", "x")).prepare(state, np.random.default_rng)
    with pytest.raises(InputError, match=r"lattice\.boundaries\.y periodic: not with interstitial_flow"):
        Transport(diffusivity_um2_per_s=1.0, boundaries=along("y"), has_flow=True)


@pytest.mark.parametrize("number", ["continuum", "stochastic"])
def test_a_run_in_a_periodic_box_balances(simulate, number):
    """What crosses stays in the ledger, which `audit` holds to; and something crosses."""
    local = ["processes.phagocytes.enabled=false", "processes.migration.enabled=false", "protocol.dose=1e13particles"]
    found = []
    for boundaries in ([f"lattice.boundaries.{axis}=periodic" for axis in "zyx"], []):
        simulation = simulate(*local, *boundaries, f"number={number}")
        simulation.run(1800)
        audit(simulation.state)
        found.append(simulation.state.fields["nanoparticle"].copy())
    assert found[0].sum() > 0
    assert (found[0] != found[1]).any()
