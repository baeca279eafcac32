"""What the flow carries out of the tumour: profiles and rates against closed forms, in both number modes; nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest

from tme_sim.processes.transport import FLOW, Transport
from tme_sim.state.lattice import Patch
from tme_sim.state.ledger import audit
from tme_sim.state.outflow import FIELDS, Outflow

H, PHI = 15.0, 0.1


def stream(make_state, number="continuum", n=20, velocity=0.05, **more):
    """Fluid of one velocity along x, in at the lower end and out at the upper."""
    state = make_state((1, 1, n), number, **more)
    state.fields[FLOW[0]] = np.zeros((3, *state.lattice.voxels))
    state.fields[FLOW[0]][2] = velocity
    state.fields |= {name: np.zeros(state.lattice.voxels) for name in FIELDS}
    state.fields["tumor_outflow_per_s"][..., -1] = velocity / H
    state.fields["tumor_inflow_per_s"][..., 0] = velocity / H
    return state


def put(state, amount, route=1, form=0):
    """Carriers that came through the wall."""
    state.fields["nanoparticle"][route, form] += np.asarray(amount).astype(state.field_dtype)
    for patch, planes in enumerate(state.lattice.planes):
        entered = state.fields["nanoparticle"][route, form, planes].sum(dtype=state.total_dtype)
        state.ledger.entered[patch, route, form] = entered
        state.ledger.injected[form] += entered * state.lattice.copies[patch]


def held(state):
    return state.fields["nanoparticle"][1, 0].sum()


def test_without_inflow_the_last_voxel_empties_at_the_velocity_over_the_accessible_volume(make_state, advance):
    """dN/dt = −f_r v/(h φ) N in a voxel that fluid leaves: an exponential, with an error of first order in the part of a step."""
    for retardation in (1.0, 0.5):
        state = stream(make_state, n=1, velocity=0.002)
        state.fields["tumor_inflow_per_s"][...] = 0.0
        put(state, 1000.0)
        advance(state, Transport(diffusivity_um2_per_s=0.1, retardation=retardation, has_flow=True), 1.0, 600)
        rate = retardation * 0.002 / (H * PHI)
        assert held(state) == pytest.approx(1000 * np.exp(-600 * rate), rel=600 * rate**2)
        assert audit(state) < 1e-12
        assert state.ledger.washed_out[0, 1, 0] == pytest.approx(1000 - held(state), rel=1e-12)


def test_the_face_leaves_no_heap(make_state, advance):
    """Constant supply at the inlet, outflow at the other end: the steady profile is flat, N = supply · h φ/v in every voxel."""
    state, process = stream(make_state, velocity=0.02), Transport(diffusivity_um2_per_s=0.2, has_flow=True)
    state.fields["tumor_inflow_per_s"][...] = 0.0
    for _ in range(400):
        put(state, np.eye(1, 20)[None] * 60.0 * 3.0)
        advance(state, process, 60.0, 1)
    profile = state.fields["nanoparticle"][1, 0, 0, 0]
    np.testing.assert_allclose(profile[1:], 3.0 * H * PHI / 0.02, rtol=1e-3)


@pytest.mark.parametrize("number", ["continuum", "stochastic"])
def test_what_flows_through_an_even_patch_leaves_it_even(make_state, advance, number):
    """As much comes in as goes out: of an even content nothing is washed out."""
    state = stream(make_state, number)
    put(state, np.full((1, 1, 20), 1000))
    advance(state, Transport(diffusivity_um2_per_s=0.2, has_flow=True), 60.0, 30)
    assert held(state) == pytest.approx(20_000, rel=1e-12)
    assert np.abs(state.ledger.washed_out).max() < 1e-9  # rounding of 20 000
    profile = state.fields["nanoparticle"][1, 0, 0, 0]
    assert profile.mean() == pytest.approx(1000, rel=1e-12)
    if number == "continuum":
        np.testing.assert_allclose(profile, 1000, rtol=0.005)
    assert abs(profile[:10].sum() - 10_000) < 4 * np.sqrt(20_000 / 4)


def test_what_is_washed_out_is_what_the_leaking_fluid_displaces(make_state, advance):
    """Even leak q in every voxel on top of a stream from outside: an even content decays at q/φ, whatever passes through."""
    n, leak, through = 20, 2e-5, 0.02
    state = stream(make_state, n=n, velocity=0.0)
    v = through + leak * H * np.arange(n + 1)
    state.fields[FLOW[0]][2, 0, 0] = v[1:]
    state.fields["tumor_inflow_per_s"][0, 0, 0], state.fields["tumor_outflow_per_s"][0, 0, -1] = v[0] / H, v[-1] / H
    put(state, np.full((1, 1, n), 100.0))
    advance(state, Transport(diffusivity_um2_per_s=0.2, has_flow=True), 10.0, 360)
    assert held(state) == pytest.approx(100 * n * np.exp(-leak / PHI * 3600), rel=0.01)
    assert audit(state) < 1e-12


def test_counts_are_washed_out_like_amounts_and_to_the_last_one(make_state, advance):
    """300 lines of voxels, each draws for itself: mean and spread of what is left against the amounts, 4 standard errors."""
    found = {}
    for number in ("continuum", "stochastic"):
        state = make_state((15, 20, 6), number)
        state.fields[FLOW[0]] = np.zeros((3, 15, 20, 6))
        state.fields[FLOW[0]][2] = 0.02
        state.fields |= {name: np.zeros((15, 20, 6)) for name in FIELDS}
        state.fields["tumor_outflow_per_s"][..., -1], state.fields["tumor_inflow_per_s"][..., 0] = 0.02 / H, 0.012 / H
        put(state, np.full((15, 20, 6), 10))
        advance(state, Transport(diffusivity_um2_per_s=0.2, has_flow=True), 60.0, 10)
        audit(state)
        found[number] = state.fields["nanoparticle"][1, 0].sum(axis=(0, 1)), state.ledger.washed_out[0, 1, 0]
    assert found["stochastic"][1] + found["stochastic"][0].sum() == 18_000
    error = np.sqrt(found["continuum"][0])
    assert (np.abs(found["stochastic"][0] - found["continuum"][0]) < 4 * error).all()
    assert abs(found["stochastic"][1] - found["continuum"][1]) < 4 * np.sqrt(found["continuum"][1])


def test_a_burst_at_the_outlet_comes_back_as_what_has_left_and_no_more(make_state, advance):
    """All at once in the outlet, in long steps: half of what leaves returns, in counts as in amounts, 5 standard errors."""
    found = []
    for number in ("continuum", "stochastic"):
        state = stream(make_state, number, velocity=0.3)
        state.fields["tumor_inflow_per_s"][...] /= 2
        put(state, 10_000 * np.eye(20)[-1].reshape(1, 1, 20))
        for _ in range(3):
            advance(state, Transport(diffusivity_um2_per_s=0.2, has_flow=True), 60.0, 1)
            audit(state)
            found.append([*state.fields["nanoparticle"][1, 0, 0, 0], state.ledger.washed_out[0, 1, 0]])
    amounts, counts = np.array(found[:3]), np.array(found[3:])
    assert (np.abs(counts - amounts) < 5 * np.sqrt(amounts + 1)).all()
    assert (amounts[:, -1] > 4990).all()


@pytest.mark.parametrize("number", ["continuum", "stochastic"])
def test_each_patch_loses_through_its_own_faces_and_the_body_counts_its_copies(make_state, advance, number):
    patches = (Patch("rim", 0, 2, 3, 0.5, 0.9), Patch("core", 2, 4, 11, 0.5, 0.1))
    state = make_state((6, 3, 3), number, patches=patches)
    state.fields[FLOW[0]] = np.zeros((3, 6, 3, 3))
    state.fields |= {name: np.zeros((6, 3, 3)) for name in FIELDS}
    state.fields["tumor_outflow_per_s"][1] = 1e-4  # the rim's upper face, between the patches
    put(state, np.full((6, 3, 3), 200))
    advance(state, Transport(diffusivity_um2_per_s=0.2, has_flow=True), 60.0, 60)
    assert state.ledger.washed_out[0, 1, 0] > 500
    assert not state.ledger.washed_out[1].any()
    assert state.fields["nanoparticle"][1, 0, 2:].sum() == pytest.approx(36 * 200, rel=1e-12)
    assert audit(state) <= (0 if number == "stochastic" else 1e-12)


def test_a_voxel_without_accessible_volume_neither_gives_nor_takes(make_state):
    state = stream(make_state, accessible=np.where(np.arange(20) % 19 == 0, 0.0, PHI).reshape(1, 1, 20))
    found = Outflow.of(state.lattice, state.fields["accessible_fraction"], [state.fields[name] for name in FIELDS], 1.0)
    assert found.outlets.size == found.inlets.size == found.returning == 0
    amount = np.ones((1, 1, 20))
    assert found.carry_out(amount, 60.0, (1, 2)) == 0
    assert found.bring_in(amount, np.zeros(1), (1, 2)) == 0
    assert (amount == 1).all()
