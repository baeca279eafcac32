"""Bursts open and shut at random, and what gets through them is that of an open gap with its jet."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from tme_sim.processes.bursts import Bursts
from tme_sim.processes.gaps import Gaps
from tme_sim.state.errors import InputError
from tme_sim.state.ledger import audit
from tme_sim.state.pores import Filtration, gap_convection, gap_filtration_um3_per_mmHg_s

RATE, TIME_S, LENGTH_UM, PARTICLE_UM, TISSUE_D = 1 / 3000.0, 1000.0, 0.5, 0.0325, 0.2
DRIVING, CONDUCTIVITY = 11.5, 4.13
SHARE = RATE * TIME_S / (1 + RATE * TIME_S)


def bursts(**changes):
    settings = {
        "sites_per_um2": 0.01,
        "opening_rate_per_s": RATE,
        "open_time_s": TIME_S,
        "smallest_radius_um": 0.3125,
        "largest_radius_um": 1.0,
        "wall_length_um": LENGTH_UM,
        "diameter_um": 2 * PARTICLE_UM,
        "diffusivity_um2_per_s": TISSUE_D,
    }
    return Bursts(**(settings | changes))


def gaps(**changes):
    settings = {"pore_radius_um": 0.25, "wall_length_um": LENGTH_UM, "area_fraction": 0.0}
    card = {"diameter_um": 2 * PARTICLE_UM, "diffusivity_um2_per_s": TISSUE_D}
    return Gaps(**(settings | card | changes))


def prepared(state, *processes, seed=0):
    for process in processes:
        process.prepare(state, lambda purpose: np.random.default_rng([seed, len(purpose)]))
    return state


def sites(make_state, n=20_000, **changes):
    """About n sites on a wall, and their process."""
    process = bursts(**changes)
    return prepared(make_state(walls=([0], [n / process.sites_per_um2])), gaps(), process), process


def test_sites_are_scattered_by_the_wall_with_radii_evenly_between_the_bounds(make_state):
    """Poisson numbers, |z| < 4; Kolmogorov–Smirnov at 1e-4."""
    state = prepared(make_state((1, 1, 2), walls=([0, 1], [5e5, 1e6])), gaps(), bursts())
    found = state.populations["gaps"]
    assert np.bincount(found["voxel"]) == pytest.approx([5e3, 1e4], abs=4 * 1e2)
    assert scipy.stats.kstest(found["radius_um"], scipy.stats.uniform(0.3125, 0.6875).cdf).pvalue > 1e-4
    assert found["transient"].all()


@pytest.mark.parametrize("step_s", [60.0, 5000.0])
def test_the_open_fraction_is_that_of_rate_and_time_at_the_start_and_after(make_state, advance, step_s):
    """Binomial: |z| < 4 at each of the times, which lie so far apart that they are as good as independent."""
    state, process = sites(make_state)
    is_open = state.populations["gaps"]["open"]
    error = np.sqrt(SHARE * (1 - SHARE) / len(is_open))
    assert abs(is_open.mean() - SHARE) < 4 * error
    for _ in range(3):
        advance(state, process, step_s, round(5000 / step_s))
        assert abs(is_open.mean() - SHARE) < 4 * error


def test_times_open_and_shut_are_exponential(make_state, advance):
    """Looked at every second lives are geometric, here within 3 % of exponential: chi-squared over ten classes at 1e-4."""
    state, process = sites(make_state, n=4000, opening_rate_per_s=1 / 60.0, open_time_s=30.0)
    seen = [state.populations["gaps"]["open"].copy()]
    for tick in range(600):
        advance(state, process, 1.0, 1, seed=tick)
        seen.append(state.populations["gaps"]["open"].copy())
    total = 1 / 60 + 1 / 30
    for value, leaves_per_s in ((1, 1 / 30), (0, 1 / 60)):
        stays = 1 - leaves_per_s / total * -np.expm1(-total)
        assert -1 / np.log(stays) == pytest.approx(1 / leaves_per_s, rel=0.03)
        length = lives(np.array(seen) == value, 300)
        edges = np.floor(np.log(1 - np.arange(10) / 10) / np.log(stays)).astype(int)
        chance = -np.diff(np.append(stays**edges, 0.0))
        counts = np.histogram(length, np.append(edges + 0.5, np.inf))[0]
        assert counts.sum() > 5000
        assert scipy.stats.chisquare(counts, chance * counts.sum()).pvalue > 1e-4


def lives(state, until):
    """Lengths of the whole runs of True in (times, sites) that begin before `until`."""
    found = []
    for column in state.T:
        change = np.flatnonzero(column[1:] != column[:-1]) + 1
        begins, ends = change[:-1], change[1:]
        found.append((ends - begins)[column[begins] & (begins < until)])
    return np.concatenate(found)


def test_the_number_of_openings_is_poisson(make_state, advance):
    """Rare and short openings: mean and variance of the count per site are rate·T, within 4 standard errors."""
    state, process = sites(make_state, opening_rate_per_s=1e-4, open_time_s=20.0)
    advance(state, process, 1.0, 200)
    opened = state.populations["gaps"]["opened"]
    expected = 1e-4 * 200
    assert opened.sum() == pytest.approx(expected * len(opened), rel=0.03 + 4 / np.sqrt(expected * len(opened)))
    assert opened.var() / opened.mean() == pytest.approx(1, abs=4 * np.sqrt(2 / len(opened)) + 0.02)


def test_an_open_burst_passes_what_its_jet_carries(make_state, advance):
    """W Q (p_0 − p) C_p over the time it is open; nothing while it is shut."""
    filtration = Filtration(DRIVING, CONDUCTIVITY)
    leaky, process = gaps(filtration=filtration), bursts(sites_per_um2=1.0, filtration=filtration)
    state = prepared(make_state(walls=([0], [40.0]), plasma=1e15, plasma_volume_um3=1e15), leaky, process)
    state.fields["interstitial_pressure_mmHg"] = np.full(state.lattice.voxels, 4.0)
    found = state.populations["gaps"]
    found["open"][...] = np.arange(len(found)) % 2
    advance(state, leaky, 10, 1)
    radius = found["radius_um"]
    leak = gap_filtration_um3_per_mmHg_s(radius, LENGTH_UM, CONDUCTIVITY)
    expected = gap_convection(radius, PARTICLE_UM) * leak * (DRIVING - 4.0) * 10
    np.testing.assert_allclose(found["entered"], expected * found["open"], rtol=1e-6)


def test_the_expected_entry_is_what_comes_in_over_time(make_state, advance):
    """N sites open for the share f: particles over many openings, within 4 standard errors of the open time."""
    process, static = bursts(sites_per_um2=0.05), gaps()
    state = prepared(make_state((4, 4, 4), walls=(np.arange(64), np.full(64, 1000.0)), plasma=1e15), static, process)
    expected = process.entry_um3_per_s(state) * 1e3 * 500 * 60.0
    advance(state, {"bursts": process, "gaps": static}, 60.0, 500)
    entered = state.populations["gaps"]["entered"].sum()
    independent = len(state.populations["gaps"]) * 500 * 60.0 * (RATE + 1 / TIME_S) / 2
    assert entered == pytest.approx(expected, rel=4 * np.sqrt((1 - SHARE) / SHARE / independent) + 0.02)
    assert audit(state) < 1e-12


def test_sites_that_never_open_pass_nothing_and_gaps_keep_their_bits(make_state, advance):
    entered = []
    for with_sites in (True, False):
        static = gaps(area_fraction=1e-3)
        state = make_state((1, 1, 3), "stochastic", walls=([0, 1, 2], [1e3, 1e3, 1e3]), plasma=10**13)
        prepared(state, static, *([bursts(opening_rate_per_s=0.0)] if with_sites else []))
        advance(state, static, 60, 20)
        found = state.populations["gaps"]
        entered.append(found["entered"][found["transient"] == 0].tolist())
        assert not found["entered"][found["transient"] == 1].any()
    assert entered[0] == entered[1]


def test_bursts_need_gaps_before_them(make_state):
    with pytest.raises(InputError, match="list `gaps` before it"):
        prepared(make_state(walls=([0], [1.0])), bursts())


def test_a_largest_burst_below_the_smallest_is_refused():
    with pytest.raises(InputError, match="largest_radius"):
        bursts(smallest_radius_um=1.0, largest_radius_um=0.5)


def test_the_flow_counts_open_bursts_into_the_wall(simulate):
    """A leakier wall holds the middle of the tumour closer to the pressure at which nothing leaks; shut sites do not count."""
    found = []
    for sites, rate in (("0", "1/h"), ("1000", "0/h"), ("1000", "100/h")):
        words = ("processes=[circulation,interstitial_flow,gaps,bursts,transport]", f"processes.bursts.sites={sites}/mm^2")
        run = simulate(*words, f"processes.bursts.opening_rate={rate}", "number=continuum")
        run.step()
        found.append(DRIVING - float(run.state.fields["interstitial_pressure_mmHg"].mean()))
    assert found[0] == found[1] > 2 * found[2]
