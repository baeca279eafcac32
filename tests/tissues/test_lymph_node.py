"""Lymph node: what drains from a site of injection passes macrophages in the sinus, and goes on to blood."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, sqrt
from typing import Any

import numpy as np
import pytest

from tme_sim.processes.lymph import Lymph
from tme_sim.processes.transport import Transport
from tme_sim.processes.uptake import Uptake
from tme_sim.simulation import Simulation
from tme_sim.state import substance
from tme_sim.state.errors import InputError, InputErrors
from tme_sim.state.ledger import audit
from tme_sim.state.state import State, flatten, restore

PROCESSES = "processes=[circulation,lymph,transport,binding,uptake,release]"
WORDS = ("tissue=lymph_node", "protocol=interstitial_bolus", PROCESSES, "nanoparticle=albumin_nanocolloid")
FAST = ("processes.lymph.drainage=1/h", "processes.uptake.interval=60s")


def lymph(diameter_um: float = 0.03, **changes: Any) -> Lymph:
    given = {"drainage_per_s": 1e-4, "free_diameter_um": 0.05, "size_exponent": 2.0, "velocity_um_per_s": 1.0}
    return Lymph(**given | {"diameter_um": diameter_um, "route": "interstitial"} | changes)


def with_depot(state: State, amount: float) -> State:
    state.body.pools["depot"] = np.zeros_like(state.body.pools["plasma"])
    state.ledger.inject(state.body.pools["depot"], 0, amount)
    return state


def test_entry_into_lymph_falls_monotonically_above_50_nm() -> None:
    rates = [lymph(diameter_um).rate_per_s for diameter_um in (0.01, 0.03, 0.05, 0.07, 0.1, 0.2, 0.7)]
    assert rates[:3] == pytest.approx([1e-4] * 3)
    assert (np.diff(rates[2:]) < 0).all()
    assert rates[4] == pytest.approx(1e-4 / 4)


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_without_a_node_the_depot_drains_into_plasma_exponentially(
    make_state: Callable[..., State], advance: Callable[..., Any], number: str
) -> None:
    state = with_depot(make_state(number=number), 10**6)
    process = lymph()
    process.prepare(state, lambda purpose: np.random.default_rng(0))
    advance(state, process, 60.0, 100)
    left, expected = float(state.body.pools["depot"].sum()), 1e6 * exp(-0.6)
    spread = 4 * sqrt(1e6 * exp(-0.6) * (1 - exp(-0.6)))  # binomial, |z| < 4
    assert left == pytest.approx(expected, abs=spread if number == "stochastic" else 1e-6)
    assert left + float(state.body.pools["plasma"].sum()) == pytest.approx(1e6, rel=1e-12)


def test_uptake_along_the_sinus_falls_as_exp_of_minus_k_x_over_v(
    make_state: Callable[..., State], add_cells: Callable[..., Any], advance: Callable[..., Any]
) -> None:
    """u dc/dx = −n CL c at rest in time: c = c0 e^(−k x/u), k = n CL. Voxels add (k h/u)²/2 each, 2.5 % over all; the step 2 %.

    What enters is carried for a step before the first cell meets it, so cells are compared with the second one.
    """
    n, clearance, velocity = 20, 11.25, 1.0
    state = with_depot(make_state((1, 1, n), accessible=0.5), 1e12)
    state.fields["sinus"] = np.ones(state.lattice.voxels)
    add_cells(state, "macrophages", np.arange(n))
    card = substance.Uptake(
        clearance_um3_per_s=clearance, saturation=1e30, exocytosis_per_s=0.0, maturation_per_s=0.0, degradation_per_s=0.0
    )
    processes = {
        "lymph": lymph(velocity_um_per_s=velocity),
        "transport": Transport(diffusivity_um2_per_s=1e-3, has_flow=True),
        "uptake": Uptake(uptake={"macrophages": card}, kinds=("macrophages",)),
    }
    for process in processes.values():
        process.prepare(state, lambda purpose: np.random.default_rng(0))
    advance(state, processes, 5.0, 240)  # eight passages of 150 s
    before = state.populations["macrophages"]["cargo"].sum(axis=(1, 2))
    advance(state, processes, 5.0, 60)
    taken = state.populations["macrophages"]["cargo"].sum(axis=(1, 2)) - before
    k_per_um = clearance / 15**3 / velocity
    assert taken[1:] / taken[1] == pytest.approx(np.exp(-k_per_um * 15 * np.arange(n - 1)), rel=0.06)
    entered = 1e12 * exp(-0.12) * (1 - exp(-0.03))
    assert taken.sum() / entered == pytest.approx(1 - exp(-k_per_um * 15 * n), rel=0.08)
    assert audit(state) <= 1e-12


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_everything_is_somewhere_and_lymph_brings_to_blood_what_the_node_let_pass(
    simulate: Callable[..., Simulation], number: str
) -> None:
    simulation = simulate(*WORDS, *FAST, f"number={number}", "protocol.dose=1e6particles")
    simulation.run(3600)
    state = simulation.state
    assert audit(state) <= 1e-12
    ledger, injected = state.ledger, 0
    assert ledger.entered[0, injected].sum() > 0
    assert ledger.entered[0, 1:].sum() == 0
    assert ledger.returned[0, injected].sum() > 0.5 * ledger.entered[0, injected].sum()
    depot, copies = float(state.body.pools["depot"].sum()), int(state.lattice.copies[0])
    spread = 4 * sqrt(copies * 1e6 * exp(-1) * (1 - exp(-1)))  # all copies draw alike; |z| < 4
    assert depot == pytest.approx(1e6 * exp(-1), abs=spread if number == "stochastic" else 1e-3)


def test_the_sinus_has_macrophages_and_the_metastasis_has_none(built: Callable[..., Any]) -> None:
    state = built(*WORDS, "lattice.size=240um").state
    lattice, inside = state.lattice, state.fields["inside"].ravel()
    z, y, x = np.unravel_index(np.arange(lattice.n_sites), lattice.sites)
    away_um = np.sqrt(((z - 1.5) * 15.0) ** 2 + ((y - 7.5) * 15.0) ** 2 + ((x - 7.5) * 15.0) ** 2)
    macrophages, tumor = (state.populations[kind]["site"] for kind in ("macrophages", "tumor_cells"))
    assert (z[macrophages] < 2).all()
    assert (away_um[macrophages] >= 48).all()
    assert (away_um[tumor] < 48).all()
    free_sites = ((z < 2) & (away_um >= 48)).sum()
    assert abs(len(macrophages) - 0.2 * free_sites) < 4 * sqrt(0.16 * free_sites)  # binomial, |z| < 4
    assert inside.sum() == ((z < 2) | (away_um < 48)).sum()


def test_a_stopped_run_through_the_node_goes_on_bit_for_bit(
    simulate: Callable[..., Simulation], digests: Callable[[State], dict[str, str]]
) -> None:
    words = (*WORDS, *FAST, "number=stochastic", "protocol.dose=1e6particles")
    whole, second = simulate(*words), simulate(*words)
    whole.run(600)
    restore(second.state, {name: array.copy() for name, array in flatten(whole.state).items()}, whole.state.tick)
    for simulation in (whole, second):
        simulation.run(1200)
    assert digests(whole.state) == digests(second.state)


def test_what_could_not_drain_or_has_no_curve_is_refused(built: Callable[..., Any]) -> None:
    with pytest.raises((InputError, InputErrors), match="needs lymph among the processes"):
        built("protocol=interstitial_bolus")
    with pytest.raises((InputError, InputErrors), match="intravenous bolus"):
        built(*WORDS, "nanoparticle.clearance.model=biexponential", "nanoparticle.clearance.slow_half_life=1h")
    with pytest.raises((InputError, InputErrors), match="leave interstitial_flow out"):
        built(*WORDS[:2], "processes=[circulation,interstitial_flow,lymph,transport,uptake]")
    with pytest.raises((InputError, InputErrors), match="a site"):
        built(*WORDS, "tissue.sinus_height=200um")
