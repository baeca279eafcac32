"""Released drug: diffusion, cells, binding, washout and the body, against closed forms; and none is lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import k0

from tme_sim.processes.base import StateView, Streams
from tme_sim.processes.drug import Drug
from tme_sim.processes.release import Release
from tme_sim.state import substance
from tme_sim.state.drug import RELATIVE_TOLERANCE, audit_drug, drug_on_lattice, drug_released, drug_terms
from tme_sim.state.errors import ModelError
from tme_sim.state.lattice import Patch
from tme_sim.state.ledger import still_loaded, whole_body
from tme_sim.state.substance import Peripheral, SmallMolecule, drug_per_particle_amol

SITE_UM3 = 15.0**3
CARD = SmallMolecule(
    diffusivity_um2_per_s=90.0,
    bound_per_free=8.0,
    wall_permeability_um_per_s=1.0,
    influx_um3_per_s=200.0,
    efflux_per_s=0.003,
    unbound_in_plasma=0.05,
    central_volumes=2.4,
    elimination_per_s=1e-3,
    peripheral={"deep": Peripheral(to_per_s=6e-4, back_per_s=3e-6), "shallow": Peripheral(to_per_s=4e-4, back_per_s=2e-4)},
)
PASSIVE = replace(CARD, bound_per_free=0.0, influx_um3_per_s=0.0, efflux_per_s=0.0)
LEAVES_AT_ONCE = {"elimination_per_s": 1e9, "peripheral": {}}  # plasma stays without drug


def tissue(make_state, add_cells, sites=(1, 1, 1), cells=(), card=CARD, **more):
    more = {"walls": ([], []), "plasma_volume_um3": 1e12} | more
    state = make_state(sites, **more)
    state.fields["lumen_fraction"] = np.zeros(state.lattice.voxels)
    state.fields["cell_fraction"] = np.full(state.lattice.voxels, 0.7)
    add_cells(state, "tumor_cells", np.asarray(cells, np.int64))
    process = Drug(card=card, kinds=("tumor_cells",))
    process.prepare(state, None)
    return state, process


def put(state, amol, where="drug_source_amol"):
    """Drug is released on voxels, (z, y, x) amol."""
    amol = np.broadcast_to(np.asarray(amol, float), state.lattice.voxels)
    state.fields[where] += amol
    for patch, planes in enumerate(state.lattice.planes):
        state.drug["released_amol"][patch] += amol[planes].sum()


def put_in_body(state, amol):
    state.drug["waiting_amol"][1] += amol
    state.drug["released_amol"][-1] += amol


def step(process, state, dt_s=600.0):
    view = StateView(state, process.reads, process.writes, state.tick * dt_s)
    process.step(view, dt_s, Streams(1, "drug", state.tick))
    state.tick += 1


def settle(process, state, per_s, dt_s=1e6, steps=4):
    """The steady state under an even release of `per_s` (z, y, x) amol per second; steps so long that nothing else matters."""
    for _ in range(steps):
        put(state, np.asarray(per_s) * dt_s)
        step(process, state, dt_s)
    return state.fields["drug_mM"]


def test_an_even_release_is_washed_out_at_the_walls_rate(make_state, add_cells):
    """c = s/(P S/V), with bound and cells in balance behind it."""
    card = replace(CARD, **LEAVES_AT_ONCE)
    state, process = tissue(make_state, add_cells, (3, 3, 3), range(27), card, walls=(np.arange(27), np.full(27, 30.0)))
    c = settle(process, state, 0.5)
    np.testing.assert_allclose(c, 0.5 / 30.0, rtol=1e-6)
    np.testing.assert_allclose(state.fields["drug_in_cells_amol"], 200 / 0.003 * c, rtol=1e-6)
    np.testing.assert_allclose(state.fields["drug_bound_amol"], 8 * 0.3 * SITE_UM3 * c, rtol=1e-12)


def test_where_no_blood_passes_nothing_is_washed_out(make_state, add_cells):
    state, process = tissue(make_state, add_cells, (1, 1, 2), card=PASSIVE, walls=([0, 1], [30.0, 30.0]))
    state.vessels.arrays["perfused"][...] = 0.0
    put(state, 2.0)
    for _ in range(5):
        step(process, state)
    assert not state.drug["washed_out_amol"].any()
    assert not state.drug["body_amol"].any()
    np.testing.assert_allclose(state.fields["drug_mM"], 2.0 / (0.3 * SITE_UM3), rtol=1e-12)


def lossy(make_state, add_cells, sites, length_um):
    """A wall in every voxel, so that drug is lost at the rate D/L²."""
    n = int(np.prod(sites))
    surface = 90.0 / length_um**2 * SITE_UM3
    card = replace(PASSIVE, **LEAVES_AT_ONCE)
    return tissue(make_state, add_cells, sites, card=card, walls=(np.arange(n), np.full(n, surface)))


def test_a_line_source_with_loss_falls_as_the_bessel_function_k0(make_state, add_cells):
    """c = q/(2πD) K0(r/L), q per length; the box ends 8 L away, and h = L/4 errs by (h/L)²/24 per length of decay."""
    length = 60.0
    state, process = lossy(make_state, add_cells, (1, 65, 65), length)
    source = np.zeros((1, 65, 65))
    source[0, 32, 32] = 15.0  # 1 amol/s per µm
    c = settle(process, state, source)[0]
    for voxels in (4, 6, 8, 12, 16):
        expected = k0(voxels * 15.0 / length) / (2 * np.pi * 90.0)
        assert c[32, 32 + voxels] == pytest.approx(expected, rel=0.01)
        assert c[32 - voxels, 32] == pytest.approx(c[32, 32 + voxels], rel=1e-5)


def test_a_point_source_with_loss_falls_as_the_screened_potential(make_state, add_cells):
    """c = q exp(−r/L)/(4πDr), here at r = L, in second order of the mesh; images behind the box add 3e-4.

    The fourth order lifts the coarser error a little.
    """
    errors = []
    for voxels in (4, 8):
        length, n = 15.0 * voxels, 8 * voxels + 1
        state, process = lossy(make_state, add_cells, (n, n, n), length)
        source = np.zeros((n, n, n))
        source[n // 2, n // 2, n // 2] = 1.0
        c = settle(process, state, source, steps=2)
        expected = np.exp(-1) / (4 * np.pi * 90.0 * length)
        errors.append(c[n // 2, n // 2, n // 2 + voxels] / expected - 1)
    assert 1.9 < np.log2(errors[0] / errors[1]) < 2.3
    assert abs(errors[1]) < 0.015


def test_cells_and_what_is_around_them_come_to_their_ratio(make_state, add_cells):
    """Nothing leaves: a/c = CL/k per cell, and bound and free stay in proportion; from any start."""
    for where in ("drug_source_amol", "drug_source_in_cells_amol"):
        state, process = tissue(make_state, add_cells, (2, 2, 2), range(8))
        put(state, 3.0, where)
        for _ in range(40):
            step(process, state)
        c = state.fields["drug_mM"]
        np.testing.assert_allclose(state.fields["drug_in_cells_amol"], 200 / 0.003 * c, rtol=1e-6)
        np.testing.assert_allclose(c, 3.0 / (9 * 0.3 * SITE_UM3 + 200 / 0.003), rtol=1e-6)


@pytest.mark.parametrize("refinement", [1, 2])
def test_a_cell_takes_up_the_same_on_any_mesh(make_state, add_cells, refinement):
    state, process = tissue(make_state, add_cells, (1, 1, 1), [0], refinement=refinement)
    put(state, 1.0 / refinement**3)
    step(process, state, 30.0)
    in_cells = state.fields["drug_in_cells_amol"].sum()
    mean = -np.expm1(-0.09) / 0.09
    expected = mean * 200 * 30 / (9 * 0.3 * SITE_UM3 + mean * 200 * 30)
    assert in_cells == pytest.approx(expected, rel=1e-9)


def test_cells_give_back_exponentially_what_nothing_takes_up_again(make_state, add_cells):
    card = replace(CARD, influx_um3_per_s=0.0)
    state, process = tissue(make_state, add_cells, card=card)
    state.fields["drug_in_cells_amol"][...] = 1.0
    for _ in range(7):
        step(process, state, 60.0)
    assert state.fields["drug_in_cells_amol"].item() == pytest.approx(np.exp(-0.003 * 420), rel=1e-12)


def test_the_step_is_of_first_order_and_settles_at_any_length(make_state, add_cells):
    """Free and in cells relax to their ratio at k + CL n/((1 + b) ε V)."""
    space = 9 * 0.3 * SITE_UM3
    rate, whole = 0.003 + 200 / space, 0.003 / (0.003 + 200 / space)
    exact = (whole + (1 - whole) * np.exp(-rate * 100.0)) / space
    errors = []
    for steps in (20, 40, 80):
        state, process = tissue(make_state, add_cells, cells=[0])
        state.fields["drug_mM"][...] = 1.0 / space
        for _ in range(steps):
            step(process, state, 100.0 / steps)
        errors.append(state.fields["drug_mM"].item() / exact - 1)
    assert np.log2(np.array(errors[:-1]) / np.array(errors[1:])) == pytest.approx(1, abs=0.1)
    assert abs(errors[-1]) < 0.02


def test_a_spreading_cloud_has_the_variance_of_diffusion(make_state, add_cells):
    """Implicit steps keep it, to what the solver leaves over: σ² = 2 D t/((1 + b) ε) per axis; D is that of the flux, D ∇c."""
    state, process = tissue(make_state, add_cells, (1, 1, 401), card=PASSIVE)
    source = np.zeros((1, 1, 401))
    source[0, 0, 200] = 1.0
    state.fields["drug_mM"][...] = source
    for _ in range(50):
        step(process, state, 10.0)
    c = state.fields["drug_mM"].ravel()
    x = (np.arange(401) - 200) * 15.0
    assert (c * x**2).sum() / c.sum() == pytest.approx(2 * 90.0 / 0.3 * 500.0, rel=1e-5)


def test_the_body_alone_follows_its_compartments(make_state, add_cells):
    """One compartment: M = M0 e^(−k t), cleared the rest, whatever the step."""
    state, process = tissue(make_state, add_cells, card=replace(CARD, peripheral={}))
    state.drug["body_amol"][0] = 7.0
    for dt_s in (10.0, 600.0, 60.0):
        step(process, state, dt_s)
    assert state.drug["body_amol"][0] == pytest.approx(7 * np.exp(-0.67), rel=1e-12)
    assert state.drug["cleared_amol"][0] == pytest.approx(-7 * np.expm1(-0.67), rel=1e-12)


def test_plasma_gives_to_tissue_until_the_unbound_concentrations_agree(make_state, add_cells):
    """Closed body and tumour of 10^8 copies: c = f_u M/(2.4 V_p), and all copies count."""
    card = replace(PASSIVE, elimination_per_s=0.0, peripheral={})
    state, process = tissue(make_state, add_cells, (1, 1, 2), card=card, walls=([0], [300.0]), copies=10**8)
    put_in_body(state, 1e6)
    for _ in range(200):
        step(process, state)
    space, central = 2 * 0.3 * SITE_UM3 * 1e8, 2.4e12
    c = 0.05 * 1e6 / (central + 0.05 * space)
    np.testing.assert_allclose(state.fields["drug_mM"], c, rtol=1e-6)
    assert state.drug["body_amol"][0] == pytest.approx(1e6 - space * c, rel=1e-9)
    assert audit_drug(state, still_loaded(state)) < RELATIVE_TOLERANCE


def test_a_tumour_that_could_take_more_than_there_is_leaves_plasma_with_something(make_state, add_cells):
    """It would clear plasma 10^4 times within the step."""
    card = replace(CARD, unbound_in_plasma=1.0)
    state, process = tissue(make_state, add_cells, cells=[0], card=card, walls=([0], [1e5]), copies=10**9)
    put_in_body(state, 1.0)
    step(process, state, 3600.0)
    assert state.drug["body_amol"].min() >= 0
    assert 0 < drug_terms(state, 0.0)["cells"] < 1
    assert audit_drug(state, still_loaded(state)) < RELATIVE_TOLERANCE


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32), dt_s=st.sampled_from([1.0, 60.0, 3600.0, 1e5]))
def test_nothing_is_lost_and_nothing_owed(make_state, add_cells, seed, dt_s):
    """Random sources, walls, cells and lumen on two patches that count differently, over 8 steps."""
    random = np.random.default_rng(seed)
    patches = (Patch("rim", 0, 2, 3), Patch("core", 2, 3, 10**6))
    walls = (np.sort(random.choice(125, 20, False)), random.random(20) * 500)
    cells = np.flatnonzero(random.random(125) < 0.6)
    state, process = tissue(make_state, add_cells, (5, 5, 5), cells, walls=walls, patches=patches)
    state.fields["lumen_fraction"][...] = 0.3 * (random.random((5, 5, 5)) < 0.2)
    for _ in range(8):
        for where in ("drug_source_amol", "drug_source_in_cells_amol"):
            put(state, random.random((5, 5, 5)) ** 20, where)
        put_in_body(state, 1e5 * random.random())
        state.vessels.arrays["perfused"][...] = random.random(20) < 0.8
        assert audit_drug(state, still_loaded(state)) < RELATIVE_TOLERANCE
        step(process, state, dt_s)
        assert audit_drug(state, still_loaded(state)) < RELATIVE_TOLERANCE
    for name in ("drug_mM", "drug_bound_amol", "drug_in_cells_amol"):
        assert state.fields[name].min() >= 0
    terms = drug_terms(state, 0.0)
    assert drug_released(state) == pytest.approx(sum(terms.values()), rel=1e-10)
    assert min(terms.values()) >= 0


@pytest.mark.parametrize(
    ("spoil", "place"),
    [
        (lambda state: state.fields["drug_mM"].__imul__(1 + 1e-6), "patch tumor"),
        (lambda state: state.fields["drug_in_cells_amol"].__imul__(1 + 1e-6), "patch tumor"),
        (lambda state: state.drug["cleared_amol"].__imul__(0.999), "the body"),
        (lambda state: state.fields["drug_bound_amol"].fill(np.nan), "patch tumor"),
    ],
)
def test_what_is_lost_is_told_with_its_place(make_state, add_cells, spoil, place):
    state, process = tissue(make_state, add_cells, (2, 2, 2), range(8), walls=([0], [300.0]))
    put(state, 1.0)
    put_in_body(state, 100.0)
    step(process, state)
    audit_drug(state, still_loaded(state))
    spoil(state)
    with pytest.raises(ModelError, match=f"drug in {place} does not balance at tick 1"):
        audit_drug(state, still_loaded(state))


def test_a_used_process_and_a_fresh_one_give_the_same_bits(make_state, add_cells, digests):
    """Also when vessels shut in between."""
    found = []
    for fresh in (False, True):
        state, process = tissue(make_state, add_cells, (3, 3, 3), range(0, 27, 2), walls=([0, 13], [300.0, 500.0]))
        for perfused in (1.0, 1.0, 0.4, 0.4):
            state.vessels.arrays["perfused"][0] = perfused
            put(state, 1.0)
            put_in_body(state, 1e9)
            step(Drug(card=CARD, kinds=("tumor_cells",)) if fresh else process, state)
        found.append(digests(state))
    assert found[0] == found[1]


def test_what_carriers_release_is_handed_over_where_they_are(make_state, add_cells):
    """In plasma, interstitium, endothelium and cells; two amol per carrier, released in full."""
    patches = (Patch("rim", 0, 1, 3), Patch("core", 1, 1, 5))
    state, process = tissue(make_state, add_cells, (2, 2, 2), [1, 6], walls=([0, 5], [10.0, 10.0]), patches=patches, refinement=2)
    everything = substance.Release(plasma_per_s=9.0, tissue_per_s=9.0, cell_per_s=9.0, lysosome_per_s=9.0)
    pools = ("body.plasma", "fields.nanoparticle", "vessels.endothelium")
    release = Release(release=everything, kinds=("tumor_cells",), pools=pools, drug_amol=2.0)
    state.body.pools["plasma"][0] = 100
    state.fields["nanoparticle"][1, 0, 3, 2, 1] = 7
    state.vessels.arrays["endothelium"] = np.zeros((3, 2, 2))
    state.vessels.arrays["endothelium"][2, 0, 1] = 5
    state.populations["tumor_cells"]["cargo"][1, 2, 0] = 3
    state.populations["tumor_cells"]["lysosome"][0, 1, 0] = 4
    view = StateView(state, release.reads, release.writes, 0.0)
    release.step(view, 600.0, Streams(1, "release", 0))
    outside, inside = state.fields["drug_source_amol"], state.fields["drug_source_in_cells_amol"]
    assert outside[3, 2, 1] == 14
    assert outside.ravel()[5] == 10
    assert outside.sum() == 24
    np.testing.assert_allclose(inside[:2, :2, 2:], 4 * 2 / 8)
    np.testing.assert_allclose(inside[2:, 2:, :2], 3 * 2 / 8)
    np.testing.assert_allclose(state.drug["released_amol"], [10 + 8, 14 + 6, 200])
    assert state.drug["waiting_amol"].tolist() == [200, 0]
    assert audit_drug(state, still_loaded(state)) < RELATIVE_TOLERANCE
    step(process, state)
    assert audit_drug(state, still_loaded(state)) < RELATIVE_TOLERANCE
    assert not np.concatenate([outside, inside]).any()
    assert drug_on_lattice(state)["cells"].min() > 0


@pytest.mark.parametrize("number", ["continuum", "stochastic"])
def test_in_a_whole_run_the_drug_is_that_of_the_carriers_that_released_it(simulate, number):
    words = ("processes=[circulation,gaps,transcytosis,transport,binding,uptake,release,drug]", "drug=docetaxel")
    simulation = simulate(*words, f"number={number}", "protocol.dose=1e12particles", "nanoparticle.release.tissue=1/h")
    simulation.run(3 * 3600)
    state = simulation.state
    assert audit_drug(state, still_loaded(state)) < RELATIVE_TOLERANCE
    released = state.ledger.degraded.sum() * state.lattice.copies[0]  # loaded or not: what breaks down lets its drug go
    for name in ("nanoparticle", "bound"):
        released += state.fields[name][:, 1].sum() * state.lattice.copies[0]
    released += state.vessels.arrays["endothelium"][:, 1].sum() * state.lattice.copies[0]
    for kind in ("macrophages", "tumor_cells"):
        for column in ("cargo", "lysosome"):
            released += state.populations[kind][column][:, :, 1].sum() * state.lattice.copies[0]
    released += sum(pool[1] for pool in state.body.pools.values())
    per_particle = simulation.processes["release"].drug_amol
    assert drug_released(state) == pytest.approx(float(released) * per_particle, rel=1e-10)
    assert drug_on_lattice(state)["cells"].sum() > 0
    assert sum(whole_body(state).values()) == pytest.approx(1e12, rel=1e-12)


def test_amount_of_drug_in_a_particle(configure):
    """65 nm at 1.05 g/mL, a tenth docetaxel: 1.51e-16 g · 0.1/807.9 g/mol."""
    config = configure()
    mass_g = 1.05e-12 * np.pi / 6 * 0.065**3
    assert drug_per_particle_amol(config.nanoparticle, 807.9) == pytest.approx(mass_g * 0.1 / 807.9 * 1e18, rel=1e-12)


def test_without_the_process_nothing_of_it_is_in_the_state(built):
    start = built()
    assert start.state.drug == {}
    assert start.processes["release"].drug_amol is None
    assert not [name for name in start.state.fields if name.startswith("drug")]
