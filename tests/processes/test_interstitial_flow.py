"""Interstitial pressure and flow."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest

from tme_sim.processes.base import StateView, Streams
from tme_sim.processes.interstitial_flow import (
    InterstitialFlow,
    edge_radii,
    sphere_pressure,
)
from tme_sim.state.lattice import Patch
from tme_sim.state.outflow import FIELDS
from tme_sim.state.population import Population
from tme_sim.state.pores import gap_columns, gap_filtration_um3_per_mmHg_s
from tme_sim.state.substance import Matrix

K = 4.13
MASS_G = 4e-12 * pi / 3 * 500.0**3  # a sphere of 500 µm
DRIVING = 15.6 - 0.82 * 5.0


def flow(**changes):
    values = {
        "vessel_pressure_mmHg": 15.6,
        "vessel_oncotic_pressure_mmHg": 20.0,
        "tissue_oncotic_pressure_mmHg": 15.0,
        "oncotic_reflection": 0.82,
        "wall_conductivity_um_per_mmHg_s": 0.01,
        "lymph_per_mmHg_s": 0.0,
        "lymph_pressure_mmHg": 0.0,
        "edge_pressure_mmHg": 0.0,
        "matrix": Matrix(fibre_volume_fraction=0.1, fibre_radius_um=0.02, hydraulic_conductivity_um2_per_mmHg_s=K),
        "tumor_mass_g": MASS_G,
        "density_g_per_mL": 1.0,
        "gap_length_um": None,
    }
    return InterstitialFlow(**{**values, **changes})


def tissue(make_state, sites, radial_position=0.0, surface_per_um=0.02, site_um=15.0, **more):
    """The same wall in every voxel."""
    n = int(np.prod(sites))
    more = {"patches": (Patch("tumor", 0, sites[0], 1, 1.0, radial_position),), **more}
    state = make_state(sites, walls=(np.arange(n), np.full(n, surface_per_um * site_um**3)), site_um=site_um, **more)
    state.fields["inside"] = np.ones(state.lattice.voxels)
    return state


def settle(process, state, dt_s=60.0):
    if "interstitial_pressure_mmHg" not in state.fields:
        process.prepare(state, None)
    process.step(StateView(state, process.reads, process.writes, 0.0), dt_s, Streams(1, "interstitial_flow", 0))
    return state.fields["interstitial_pressure_mmHg"], state.fields["interstitial_velocity_um_per_s"]


@pytest.mark.parametrize(
    ("alpha", "at_centre", "mean"), [(1, 0.149, 0.061), (2, 0.449, 0.194), (5, 0.933, 0.520), (10, 0.9991, 0.730)]
)
def test_the_sphere_has_the_published_pressures(alpha, at_centre, mean):
    r = (np.arange(10_000) + 0.5) / 10_000
    assert sphere_pressure(alpha, 0.0) == pytest.approx(at_centre, abs=6e-4)
    assert np.sum(sphere_pressure(alpha, r) * 3 * r**2) / 10_000 == pytest.approx(mean, abs=6e-4)
    assert sphere_pressure(alpha, [1.0, 1.7]) == pytest.approx(0, abs=1e-12)


def test_the_sphere_stays_finite_at_the_limits():
    assert sphere_pressure(0.0, [0.0, 0.5]).tolist() == [0, 0]
    assert sphere_pressure(1e4, [0.0, 0.5, 0.99999]).tolist() == pytest.approx([1, 1, 1 - np.exp(-0.1)], rel=1e-4)


@pytest.mark.parametrize("radial_position", [0.0, 0.5])
@pytest.mark.parametrize("alpha", [1.0, 5.0])
def test_a_patch_is_a_piece_of_the_sphere_with_second_order(make_state, radial_position, alpha):
    """With the same wall everywhere the closed form holds inside as on the faces; v = −K dp/dr outwards."""
    leak = (alpha / 500.0) ** 2 * K / 0.02
    spacings, errors, slips = [], [], []
    for n in (8, 12, 18):
        h = 360.0 / n
        state = tissue(make_state, (n, n, n), radial_position, site_um=h)
        p, v = settle(flow(wall_conductivity_um_per_mmHg_s=leak), state)
        place = (np.arange(n) + 0.5) * h - 180
        z, y, x = np.ix_(place, place, place + radial_position * 500)
        exact = DRIVING * sphere_pressure(alpha, np.sqrt(z**2 + y**2 + x**2) / 500)
        inside = np.sqrt(z**2 + y**2 + (x + 180) ** 2) < 500  # the closed form has a kink at the tumour's edge
        spacings.append(h)
        errors.append(np.abs(p - exact)[inside].max())
        middle = (x[0, 0, :-1] + x[0, 0, 1:]) / 2
        r = np.sqrt(z**2 + y**2 + middle**2)
        slope = DRIVING * (sphere_pressure(alpha, (r + 0.1) / 500) - sphere_pressure(alpha, (r - 0.1) / 500)) / 0.2
        away = np.sqrt(z**2 + y**2 + (middle + 180) ** 2) < 500
        slips.append(np.sqrt(np.mean((v[2][:, :, :-1] + K * slope * middle / r)[away] ** 2)))
    order = np.polyfit(np.log(spacings), np.log([errors, slips]).T, 1)[0]
    assert (order > 1.6).all()
    assert errors[-1] < 0.01 * DRIVING
    assert slips[-1] < 0.03 * K * DRIVING / 500 * alpha


def test_fluid_is_conserved_in_every_voxel_that_lies_within(make_state):
    state = tissue(make_state, (6, 7, 8), 0.4)
    state.vessels.surface_um2 *= np.random.default_rng(0).random(336)
    p, v = settle(flow(), state)
    out = sum(
        np.diff(v[axis], axis=axis)[tuple(slice(1, None) if a != axis else slice(None) for a in range(3))] for axis in range(3)
    )
    leak = 0.01 * state.vessels.surface_um2.reshape(p.shape) / 15.0**3 * (DRIVING - p)
    np.testing.assert_allclose(out / 15.0, leak[1:, 1:, 1:], atol=1e-6 * leak.max())


def test_far_from_any_edge_nothing_drives_a_leak(make_state):
    """α of 100: pressure is that at which nothing leaks, 11.5 mmHg with the values of V01."""
    p, v = settle(flow(wall_conductivity_um_per_mmHg_s=100.0**2 / 500.0**2 * K / 0.02), tissue(make_state, (6, 6, 6)))
    assert p[3, 3, 3] == pytest.approx(11.5, abs=1e-6)
    assert np.abs(v).max() < 1e-6


def test_lymph_lowers_the_plateau(make_state):
    leak = 4.0
    process = flow(wall_conductivity_um_per_mmHg_s=leak / 0.02, lymph_per_mmHg_s=leak / 2, lymph_pressure_mmHg=1.0)
    p, _ = settle(process, tissue(make_state, (6, 6, 6)))
    assert p[3, 3, 3] == pytest.approx((DRIVING + 0.5) / 1.5, abs=1e-6)


def test_tissue_outside_the_tumour_holds_the_edge_pressure(make_state):
    state = tissue(make_state, (9, 9, 9))
    z, y, x = np.ix_(*(np.arange(9) - 4.0,) * 3)
    inside = z**2 + y**2 + x**2 < 12
    state.fields["inside"][...] = inside
    state.vessels.surface_um2[~inside.ravel()] = 0.0
    p, v = settle(flow(edge_pressure_mmHg=2.0), state)
    np.testing.assert_allclose(p[~inside], 2.0, rtol=1e-9)
    assert p[4, 4, 4] == p.max() > 2.0
    assert np.abs(v[:, ~inside & ~np.roll(inside, -1, 0) & ~np.roll(inside, -1, 1) & ~np.roll(inside, -1, 2)]).max() < 1e-8


def test_patches_have_their_own_pressure_and_nothing_flows_between_them(make_state):
    patches = (Patch("rim", 0, 6, 5, 0.7, 0.85), Patch("core", 6, 6, 2, 0.3, 0.1))
    state = tissue(make_state, (12, 6, 6), patches=patches)
    p, v = settle(flow(), state)
    assert p[:6].max() < p[6:].min()
    assert (v[0, 5] == 0).all()
    assert v[2, :6].min() > np.abs(v[2, 6:]).max()  # out of the rim, along +x


def test_a_gap_is_a_pore_and_its_access_in_series():
    """A pore of 2 µm in a wall of 0.5 µm, or one of 10 nm, is held up by the tissue or by itself."""
    wide, narrow = gap_filtration_um3_per_mmHg_s(np.array([2.0, 0.01]), 0.5, K)
    assert wide == pytest.approx(4 * K * 2.0, rel=1e-4)
    assert narrow == pytest.approx(pi * 0.01**4 * 133.322 / (8 * 0.692e-3 * 0.5), rel=0.02)
    assert narrow < pi * 0.01**4 * 133.322 / (8 * 0.692e-3 * 0.5)


def test_gaps_leak_beside_the_wall_where_blood_passes(make_state):
    """Gaps that let through as much as the wall: as twice the wall; without blood neither leaks."""
    sites, each = (5, 5, 5), gap_filtration_um3_per_mmHg_s(np.array([0.25]), 0.5, K)[0]
    state, twice = tissue(make_state, sites), tissue(make_state, sites)
    state.populations["gaps"] = Population(gap_columns(np.repeat(np.arange(125), 3), np.full(375, 0.25), float))
    per_um2 = 3 * each / (0.02 * 15.0**3)
    found = settle(flow(wall_conductivity_um_per_mmHg_s=per_um2, gap_length_um=0.5), state)
    expected = settle(flow(wall_conductivity_um_per_mmHg_s=2 * per_um2), twice)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)
    state.vessels.arrays["perfused"][...] = 0.0
    p, v = settle(flow(wall_conductivity_um_per_mmHg_s=per_um2, gap_length_um=0.5), state)
    assert np.abs(p).max() < 1e-9
    assert np.abs(v).max() < 1e-9


def test_distances_of_a_boxs_faces_from_the_centre():
    (low_z, high_z), _, (low_x, high_x) = edge_radii((2, 4, 6), 10.0, 100.0)
    assert low_z.shape == (4, 6)
    assert np.array_equal(low_z, high_z)
    assert low_x[0, 1] == pytest.approx(np.sqrt(5**2 + 5**2 + 70**2))
    assert high_x[1, 3] == pytest.approx(np.sqrt(5**2 + 15**2 + 130**2))


def test_a_second_step_without_a_change_leaves_the_bits(make_state):
    state, process = tissue(make_state, (6, 6, 6), 0.5), flow()
    first = [a.copy() for a in settle(process, state)]
    for again in (settle(process, state), settle(flow(), state)):
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_what_leaves_the_tumour_is_what_its_vessels_leak(make_state):
    """Per patch out − in = Σ Lp S (p_0 − p), over its faces, over the surface to tissue around it, and into lymph."""
    patches = (Patch("rim", 0, 6, 5, 0.7, 0.85), Patch("core", 6, 6, 2, 0.3, 0.1))
    state = tissue(make_state, (12, 6, 6), patches=patches)
    state.fields["inside"][:3, :3, :3] = 0.0
    state.vessels.surface_um2 *= np.random.default_rng(1).random(432) * state.fields["inside"].ravel()
    for lymph in (0.0, 1e-4):
        p, _ = settle(flow(lymph_per_mmHg_s=lymph, edge_pressure_mmHg=0.5), state)
        leak = 0.01 * state.vessels.surface_um2.reshape(p.shape) / 15.0**3 * (DRIVING - p)
        out, into = (state.fields[name] for name in FIELDS)
        assert out.min() >= 0 <= into.min()
        assert not (out + into)[state.fields["inside"] == 0].any()
        assert (out[3, :3, :3] > 0).all()  # towards what lies outside
        for planes in state.lattice.planes:
            assert (out - into)[planes].sum() == pytest.approx(leak[planes].sum(), rel=1e-5)
    assert (out[8:10, 2:4, 2:4] == lymph * p[8:10, 2:4, 2:4]).all()  # within the core
    assert into[:6].any()
