"""Phagocytes of the blood take up, arrest, crawl, cross and detach as their closed forms say, and nothing gets lost."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from scipy import stats

from tme_sim.numerics.poisson import events
from tme_sim.numerics.random import stream_key
from tme_sim.processes.phagocytes import Phagocytes, Traffic
from tme_sim.state import substance
from tme_sim.state.exchange import draw_loads, return_loads
from tme_sim.state.lattice import Patch
from tme_sim.state.ledger import audit, lattice_amounts, wall_bound, whole_body
from tme_sim.state.population import Population
from tme_sim.state.state import flatten, restore

BLOOD_UM3 = 2e12
NEUTROPHILS, MONOCYTES = 2e6, 4e5
PLANE = 21


def traffic(arrest=0.0, crawling=0.0, crossing=0.0, detachment=0.0, residence=1e9):
    return Traffic(
        arrest_um_per_s=arrest,
        crawling_um2_per_s=crawling,
        crossing_per_s=crossing,
        detachment_per_s=detachment,
        blood_residence_s=residence,
    )


def card(clearance=0.0, saturation=1e15, exocytosis=0.0):
    rates = {"exocytosis_per_s": exocytosis, "maturation_per_s": 0.0, "degradation_per_s": 0.0}
    return substance.Uptake(clearance_um3_per_s=clearance, saturation=saturation, **rates)


def phagocytes(neutrophils=None, monocytes=None, cards=None, **parameters):
    settings = {"crossing_at_gaps": 1.0, "passable_radius_um": 0.3} | parameters
    return Phagocytes(
        neutrophils=neutrophils or traffic(),
        monocytes=monocytes or traffic(),
        uptake=cards or {"neutrophils": card(), "monocytes": card()},
        neutrophils_per_um3=NEUTROPHILS / BLOOD_UM3,
        monocytes_per_um3=MONOCYTES / BLOOD_UM3,
        blood_volume_um3=BLOOD_UM3,
        **settings,
    )


@pytest.fixture
def flat_wall(make_state):
    """A plane of wall voxels, 100 um2 in each, in the middle of a box."""

    def make(process, number="continuum", plasma=0, plane=PLANE, **more):
        place = np.arange(plane**2) + plane**2
        state = make_state((3, plane, plane), number, plasma=plasma, walls=(place, np.full(plane**2, 100.0)), **more)
        process.prepare(state, lambda purpose: np.random.default_rng(0))
        return state

    return make


def put_on_wall(state, voxel, kind=0, load=0):
    """Cells on the wall without any draw; what they hold is taken from plasma."""
    n = len(voxel)
    loads = np.zeros((n, 2), state.total_dtype)
    loads[:, 0] = load
    state.body.pools["plasma"][0] -= int(loads.sum())
    state.populations["arrested"].add({"voxel": np.asarray(voxel), "kind": np.full(n, kind), "load": loads})


def test_arrests_are_poisson_by_perfused_surface(flat_wall, advance):
    """Total, and spread over places by Pearson's statistic, at the level 10⁻⁴; nobody arrests where no blood passes."""
    process = phagocytes(neutrophils=traffic(arrest=2.0))
    state = flat_wall(process)
    state.vessels.surface_um2[: PLANE**2 // 3] = 300
    state.vessels.arrays["perfused"][-50:] = 0
    advance(state, process, 600, 50)
    number = np.bincount(state.populations["arrested"]["voxel"] - PLANE**2, minlength=PLANE**2)
    expected = 2.0 * NEUTROPHILS / BLOOD_UM3 * 600 * 50 * state.vessels.surface_um2 * state.vessels.arrays["perfused"]
    assert (number[-50:] == 0).all()
    assert expected[:-50].min() > 5
    assert abs(number.sum() - expected.sum()) < 4 * np.sqrt(expected.sum())
    pearson = ((number - expected)[:-50] ** 2 / expected[:-50]).sum()
    assert 1e-4 < stats.chi2.cdf(pearson, PLANE**2 - 50) < 1 - 1e-4
    assert (state.populations["arrested"]["kind"] == 0).all()


def test_a_poisson_process_puts_independent_numbers_on_its_places():
    """Variance equal to the mean and no correlation between two places, over 4000 draws."""
    expected = np.array([0.5, 3.0, 0.0, 1.5])
    numbers = np.array([np.bincount(events(expected, stream_key(i, "x")), minlength=4) for i in range(4000)])
    assert numbers.mean(axis=0) == pytest.approx(expected, abs=4 * np.sqrt(3.0 / 4000))
    assert numbers.var(axis=0) == pytest.approx(expected, abs=0.3)
    assert abs(np.corrcoef(numbers[:, 1], numbers[:, 3])[0, 1]) < 4 / np.sqrt(4000)


@pytest.mark.parametrize("step_s", [60.0, 600.0])
def test_cells_stay_on_the_wall_for_exponential_times_and_cross_by_the_ratio_of_rates(flat_wall, advance, step_s):
    crossing, detachment, n = 2e-4, 6e-4, 20_000
    process = phagocytes(monocytes=traffic(crossing=crossing, detachment=detachment))
    state = flat_wall(process)
    put_on_wall(state, np.full(n, PLANE**2 + 5), kind=1)
    left = [n]
    for _ in range(3):
        advance(state, process, step_s, round(600 / step_s), seed=len(left))
        left.append(len(state.populations["arrested"]))
    survival = np.exp(-(crossing + detachment) * 600 * np.arange(4))
    assert np.abs(np.array(left) - n * survival).max() < 4 * np.sqrt(n / 4)
    gone, crossed = n - left[-1], len(state.populations["monocytes"])
    assert crossed / gone == pytest.approx(crossing / (crossing + detachment), abs=4 * np.sqrt(0.25 * 0.75 / gone))
    assert state.vessels.arrays["crossings"][1, 5] == state.vessels.arrays["crossings"].sum() == crossed
    assert (state.populations["monocytes"]["site"] == PLANE**2 + 5).all()
    assert len(state.populations["neutrophils"]) == 0


def test_cells_cross_faster_only_beside_an_open_gap_that_is_wide_enough(flat_wall, advance):
    """On four voxels: no gap, a shut one, a narrow one, an open one; ten times the rate at the last."""
    process = phagocytes(neutrophils=traffic(crossing=2e-4), has_gaps=True, crossing_at_gaps=10.0)
    state = flat_wall(process)
    voxel = PLANE**2 + np.arange(1, 4)
    state.populations["gaps"] = Population(
        {"voxel": voxel, "radius_um": np.array([0.5, 0.1, 0.5]), "open": np.array([0, 1, 1], np.int8)}
    )
    n = 10_000
    put_on_wall(state, np.repeat(PLANE**2 + np.arange(4), n))
    advance(state, process, 300, 1)
    crossed = state.vessels.arrays["crossings"][0, :4] / n
    expected = -np.expm1(-2e-4 * 300 * np.array([1, 1, 1, 10]))
    assert crossed == pytest.approx(expected, abs=4 * np.sqrt(0.25 / n))


def test_cells_crawl_on_a_flat_wall_by_4_d_t_and_never_leave_it(flat_wall, advance):
    plane, n, crawling = 41, 10_000, 0.8
    process = phagocytes(neutrophils=traffic(crawling=crawling))
    state = flat_wall(process, plane=plane)
    middle = plane**2 + plane * 20 + 20
    put_on_wall(state, np.full(n, middle))
    advance(state, process, 300, 5)
    at = state.populations["arrested"]["voxel"]
    z, y, x = np.unravel_index(at, (3, plane, plane))
    assert (z == 1).all()
    squares = 15.0**2 * ((y - 20) ** 2 + (x - 20) ** 2)
    assert squares.mean() == pytest.approx(4 * crawling * 1500, abs=4 * squares.std() / np.sqrt(n))


def test_blood_cells_fill_and_empty_as_their_linear_equation_says(flat_wall, advance):
    """dL/dt = k P − (k_exo + 1/τ) L with k so small that plasma stays: within the splitting error, first order in the step."""
    clearance, exocytosis, residence, time_s = 1e-3, 5e-5, 1e4, 20_000.0
    cards = {"neutrophils": card(clearance, exocytosis=exocytosis), "monocytes": card()}
    leaving, into = exocytosis + 1 / residence, NEUTROPHILS * clearance * 1e6 / 1e12
    exact = into / leaving * -np.expm1(-leaving * time_s)
    spent = into / residence / leaving * (time_s + np.expm1(-leaving * time_s) / leaving)
    errors = []
    for step_s in (400.0, 200.0):
        process = phagocytes(neutrophils=traffic(residence=residence), cards=cards)
        state = flat_wall(process, plasma=1e6)
        advance(state, process, step_s, round(time_s / step_s))
        errors.append(state.body.pools["blood_neutrophils"].sum() / exact - 1)
        assert state.body.pools["spent_phagocytes"].sum() == pytest.approx(spent, rel=0.05)
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.2)
    assert abs(errors[1]) < 0.02


@pytest.mark.parametrize("step_s", [60.0, 600.0])
def test_blood_cells_fill_up_to_their_saturation_by_an_exponential(flat_wall, advance, step_s):
    """L = N N_max (1 − exp(−CL C_p t/N_max)) at constant C_p, for steps longer than they take to fill too."""
    process = phagocytes(cards={"neutrophils": card(0.02, saturation=5e5), "monocytes": card()})
    state = flat_wall(process, plasma=1e16)
    advance(state, process, step_s, round(3000 / step_s))
    filling = 0.02 * 1e4 * 3000 / 5e5
    assert state.body.pools["blood_neutrophils"].sum() == pytest.approx(5e5 * NEUTROPHILS * -np.expm1(-filling), rel=1e-4)


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_a_cell_brings_a_share_of_the_pool_and_its_copies_pay_for_it(flat_wall, number):
    """30 cells on each of 700 copies: mean load pool/cells within 4 standard errors of 200 draws; body and wall add up."""
    state = flat_wall(phagocytes(), number, copies=700)
    voxel = np.full(30, PLANE**2)
    drawn = []
    for i in range(200):
        pool = np.array([10_000_000, 3_000], state.total_dtype)
        before = pool.copy()
        loads = draw_loads(pool, NEUTROPHILS, state.lattice, voxel, stream_key(i, "load"))
        assert pool + 700 * loads.sum(axis=0) == pytest.approx(before)
        assert (pool >= 0).all()
        drawn.append(loads.mean(axis=0))
        return_loads(pool, state.lattice, voxel, loads)
        assert pool == pytest.approx(before)
    expected = before / NEUTROPHILS
    tolerance = 4 * np.sqrt(expected / (30 * 200)) * (number == "stochastic") + 1e-12
    assert (np.abs(np.mean(drawn, axis=0) - expected) < tolerance).all()


def test_more_cells_than_blood_has_bring_no_more_than_it_holds(flat_wall):
    voxel = np.full(500, PLANE**2)
    state = flat_wall(phagocytes(), "stochastic", copies=10)
    pool = np.array([1007, 3])
    loads = draw_loads(pool, 100.0, state.lattice, voxel, stream_key(1, "load"))
    assert loads.sum(axis=0).tolist() == [100, 0]
    assert pool.tolist() == [7, 3]
    for copies in range(1, 200):
        lattice = flat_wall(phagocytes(), copies=copies).lattice
        amounts = np.array([0.1, 1 / 3])
        loads = draw_loads(amounts, 1.0, lattice, voxel, stream_key(1, "load"))
        assert copies * loads.sum(axis=0) == pytest.approx([0.1, 1 / 3])
        assert (amounts >= 0).all()


def busy(**more):
    """Everything happens within minutes."""
    there = traffic(arrest=2.0, crawling=1.0, crossing=3e-4, detachment=5e-4, residence=2e4)
    cards = {"neutrophils": card(0.5, 1e4, 1e-5), "monocytes": card(1.0, 1e4, 1e-5)}
    return phagocytes(there, there, cards, **more)


def two_slabs(flat_wall, process, number):
    slabs = (Patch("rim", 0, 2, 3), Patch("core", 2, 1, 11))
    return flat_wall(process, number, plasma=10**9, patches=slabs)


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_every_particle_is_in_plasma_in_a_cell_or_worn_out(flat_wall, advance, number):
    process = busy()
    state = two_slabs(flat_wall, process, number)
    advance(state, process, 60, 60)
    assert audit(state) <= (0 if number == "stochastic" else 1e-12)
    terms = whole_body(state)
    assert all(
        terms[name] > 0 for name in ("blood_neutrophils", "blood_monocytes", "spent_phagocytes", "wall_bound", "neutrophils")
    )
    assert terms["wall_bound"] == pytest.approx(3 * wall_bound(state)[0].sum())
    held = sum(lattice_amounts(state).values())
    np.testing.assert_allclose(held[:, 3], state.ledger.entered[:, 3], rtol=1e-12)
    assert held[:, :3].sum() == 0


def test_counts_agree_with_real_amounts_in_the_mean(flat_wall, advance):
    """The cells do the same in both; what they bring differs by less than 4 standard errors of 20 runs."""
    found = {}
    for number, seeds in (("continuum", range(20)), ("stochastic", range(20))):
        found[number] = []
        for seed in seeds:
            process = busy()
            state = two_slabs(flat_wall, process, number)
            advance(state, process, 120, 15, seed=seed)
            found[number].append([*(p.sum() for p in state.body.pools.values()), state.ledger.entered.sum()])
            cells = [len(state.populations[kind]) for kind in ("arrested", "neutrophils", "monocytes")]
            found.setdefault(f"cells {seed}", []).append(cells)
    assert all(found[f"cells {seed}"][0] == found[f"cells {seed}"][1] for seed in range(20))
    difference = np.array(found["stochastic"]) - np.array(found["continuum"])
    assert (np.abs(difference.mean(axis=0)) <= 4 * difference.std(axis=0) / np.sqrt(20) + 1).all()


def test_a_restart_goes_on_to_the_bit_while_cells_come_and_go(flat_wall, advance, digests):
    whole = two_slabs(flat_wall, busy(), "stochastic")
    advance(whole, busy(), 60, 30)
    half = two_slabs(flat_wall, busy(), "stochastic")
    advance(half, busy(), 60, 15)
    saved, again = copy.deepcopy(flatten(half)), two_slabs(flat_wall, busy(), "stochastic")
    restore(again, saved, half.tick)
    advance(again, busy(), 60, 15)
    assert len(whole.populations["neutrophils"]) > len(half.populations["neutrophils"]) > 0
    assert digests(again) == digests(whole)


def test_cells_that_take_up_nothing_leave_everything_else_to_the_bit(simulate, digests):
    words = ["number=stochastic", "protocol.dose=1e12particles", "nanoparticle.uptake.neutrophils.clearance=0um^3/s"]
    words += ["nanoparticle.uptake.monocytes.clearance=0um^3/s", "processes.phagocytes.neutrophils.arrest=3um/s"]
    with_cells = "processes=[circulation,gaps,transcytosis,phagocytes,transport,binding,uptake,release]"
    found = []
    for extra in ((), ("processes.phagocytes.enabled=false",)):
        simulation = simulate(with_cells, *words, *extra) if not extra else simulate(with_cells, *extra, words[0], words[1])
        simulation.run(3600)
        found.append(digests(simulation.state))
    assert set(found[0]) > set(found[1])
    assert {name: found[0][name] for name in found[1]} == found[1]
