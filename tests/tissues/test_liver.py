"""Liver: sinusoids, a lesion without Kupffer cells, and Kupffer cells that show a part of the body's pool."""

from __future__ import annotations

from collections.abc import Callable
from math import log, pi, sqrt
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from tme_sim.analysis.measures import summarise
from tme_sim.simulation import Simulation
from tme_sim.state.errors import InputError, InputErrors
from tme_sim.state.kupffer import extraction, hand_out
from tme_sim.state.ledger import audit
from tme_sim.tissues.base import Geometry
from tme_sim.tissues.liver import Liver

WORDS = ("tissue=liver", "nanoparticle=ferumoxides")


def liver(size_um: float = 480.0, **changes: Any) -> Liver:
    given = {"sinusoid_radius_um": 4.0, "sinusoid_spacing_um": 21.5, "sinusoid_length_um": 240.0, "plasma_flow_per_s": 0.01}
    given |= {"lesion_fraction": 0.1, "lesion_vessel_surface_per_um": 0.009, "site_um": 15.0, "refinement": 1}
    given |= {"tumor_mass_g": 0.01, "density_g_per_mL": 1.0, "matrix": None, "size_um": size_um}
    return Liver(**given | changes)


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return liver().build(np.random.default_rng(1), None)


def test_sinusoids_have_the_surface_and_volume_of_a_hexagonal_array(geometry: Geometry) -> None:
    """Per volume 2 π r and π r² over √3/2 · spacing²; rows and columns are evened to fill the box, 3 % off at most here."""
    outside, each_um2 = ~geometry.inside, sqrt(3) / 2 * 21.5**2
    far = outside & (np.indices(outside.shape)[0] < 3)  # planes that the lesion's shadow does not reach
    assert geometry.surface_um2[far].sum() / far.sum() / 15**3 == pytest.approx(2 * pi * 4 / each_um2, rel=0.05)
    assert geometry.lumen_fraction[far].mean() == pytest.approx(pi * 16 / each_um2, rel=0.05)


def test_the_lesion_is_a_sphere_of_the_share_asked_for_with_its_own_vessel_surface(geometry: Geometry) -> None:
    """As many sinusoids go on as come nearest to it: half a chord of 0.28 mm off at most, of 4 mm; sampling adds some."""
    assert geometry.inside.mean() == pytest.approx(0.1, rel=0.02)
    surface = geometry.surface_um2[geometry.inside].sum() / (geometry.inside.sum() * 15.0**3)
    assert surface == pytest.approx(0.009, rel=0.08)


def test_blood_comes_in_at_portal_planes_and_leaves_at_central_ones(geometry: Geometry) -> None:
    graph = geometry.graph
    assert graph is not None
    graph.check()
    assert set(np.round(graph.nodes_um[graph.inlets, 2]).tolist()) == {0.0, 480.0}
    assert set(np.round(graph.nodes_um[graph.outlets, 2]).tolist()) == {240.0}
    lengths = graph.length_um[graph.length_um > 239]
    assert lengths == pytest.approx(240)


def test_no_kupffer_cell_is_in_the_lesion_and_around_it_they_are_as_dense_as_in_the_body(built: Callable[..., Any]) -> None:
    start = built(*WORDS, "lattice.size=240um")
    cells, inside = start.state.populations["kupffer_cells"], start.state.fields["inside"].ravel()
    assert not inside[cells["voxel"]].any()
    per_gram = 1.9e7 / 1.375
    assert len(cells) == round(per_gram * 1.05e-12 * 15**3 * float((inside == 0).sum()))


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_kupffer_cells_of_the_tissue_take_nothing_twice(
    simulate: Callable[..., Simulation], digests: Callable[..., Any], number: str
) -> None:
    """Pools and plasma are to the bit those of a run without them; of n among N they have taken a part n/N, binomially."""
    words = (*WORDS, f"number={number}", "processes=[circulation]", "protocol.dose=1e11particles")
    with_cells, without = simulate(*words), simulate(*words)
    del without.state.populations["kupffer_cells"]
    without.processes["circulation"]._has_kupffer_cells = False
    for simulation in (with_cells, without):
        simulation.run(2 * 3600)
    pools = [{k: v for k, v in digests(each.state).items() if k.startswith("body.")} for each in (with_cells, without)]
    assert pools[0] == pools[1]
    assert audit(with_cells.state) <= 1e-12
    taken, pool = with_cells.state.populations["kupffer_cells"]["taken"], with_cells.state.body.pools["kupffer"].sum()
    mean = float(pool) * len(taken) / 1.9e7
    assert mean > 1e4
    assert float(taken.sum()) == pytest.approx(mean, abs=4 * sqrt(mean) if number == "stochastic" else 1e-9 * mean)


def test_uptake_along_a_sinusoid_falls_as_plasma_does() -> None:
    """dC/ds = −κ C with κ = −ln(1 − E): cells at s take e^(−κ s), and what all take between 0 and 1 is E of what came in."""
    passed, extracted = (np.arange(2000) + 0.5) / 2000, 0.8
    cells = {"voxel": np.arange(2000), "passed": passed, "taken": np.zeros(2000)}
    hand_out(cells, 1e6, 2000.0, extracted, None, (1, 2))
    kappa = -log(1 - extracted)
    assert cells["taken"].sum() == pytest.approx(1e6, rel=1e-12)
    assert cells["taken"] / cells["taken"][0] == pytest.approx(np.exp(-kappa * (passed - passed[0])), rel=1e-12)
    assert cells["taken"][-1] / cells["taken"][0] == pytest.approx(1 - extracted, rel=1e-3)


def test_counts_along_a_sinusoid_are_multinomial_about_the_same_mean() -> None:
    """Chi square over 50 cells at the level 1e-4, both ways."""
    passed = (np.arange(50) + 0.5) / 50
    cells = {"voxel": np.arange(50), "passed": passed, "taken": np.zeros(50, np.int64)}
    hand_out(cells, np.int64(10**6), 50.0, 0.8, None, (3, 4))
    expected = 0.2**passed / (0.2**passed).sum() * 1e6
    assert cells["taken"].sum() == 10**6
    assert chi2.ppf(1e-4, 49) < ((cells["taken"] - expected) ** 2 / expected).sum() < chi2.ppf(1 - 1e-4, 49)


def test_full_kupffer_cells_leave_it_to_the_others() -> None:
    cells = {"voxel": np.arange(2), "passed": np.zeros(2), "taken": np.array([100.0, 50.0])}
    hand_out(cells, 10.0, 2.0, 0.0, 100.0, (1, 2))
    assert cells["taken"] == pytest.approx([100.0, 60.0], abs=1e-5)


def test_blood_cannot_lose_more_than_it_brings() -> None:
    assert extraction(0.3, 1.0) == 0.3
    assert extraction(5.0, 1.0) == 0.99


def test_a_lesion_stays_poor_in_spio(simulate: Callable[..., Simulation]) -> None:
    simulation = simulate(*WORDS, "number=continuum")
    simulation.run(4 * 3600)
    found = summarise(simulation.state, 0.01, [], 0.0)
    assert found["liver_over_tumor"] == pytest.approx(found["liver_percent_id_per_g"] / found["tumor_percent_id_per_g"])
    assert found["kupffer_mean_load"] > 0
    assert audit(simulation.state) <= 1e-12


def test_a_run_goes_on_as_if_it_had_not_stopped(simulate: Callable[..., Simulation], digests: Callable[..., Any]) -> None:
    from tme_sim.state.state import flatten, restore

    words = (*WORDS, "number=stochastic")
    whole, second = simulate(*words), simulate(*words)
    whole.run(600)
    restore(second.state, {name: array.copy() for name, array in flatten(whole.state).items()}, whole.state.tick)
    for simulation in (whole, second):
        simulation.run(1200)
    assert digests(whole.state) == digests(second.state)
    assert whole.state.populations["kupffer_cells"]["taken"].any()


def test_what_cannot_be_a_liver_is_refused(built: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="diameter of a sinusoid"):
        liver(sinusoid_radius_um=8.0, sinusoid_spacing_um=12.0)
    with pytest.raises(InputError, match="that of the sinusoids around it"):
        liver(lesion_vessel_surface_per_um=0.09)
    with pytest.raises((InputError, InputErrors), match="whole multiple"):
        built(*WORDS, "lattice.size=127um")


@pytest.mark.slow
def test_kupffer_cells_are_in_the_picture_with_what_they_took(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tme_sim.api import run
    from tme_sim.views.snapshot import Snapshot

    monkeypatch.chdir(tmp_path)
    words = {"tissue": "liver", "nanoparticle": "ferumoxides", "lattice.size": "120um", "protocol.duration": "1h"}
    found = run(None, {**words, "protocol.dose": "1e11particles"}, out=tmp_path / "run")
    places, taken = Snapshot(found).kupffer_cells(1000)
    assert len(places) == len(taken) > 0
    assert found.screenshot(tmp_path / "liver.png").exists()
    assert (places >= 0).all()
    assert (places <= 120).all()
    assert taken.sum() > 0
