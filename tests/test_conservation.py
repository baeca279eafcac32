"""Nothing is lost: integers balance exactly, real amounts to 1e-12, whatever is composed."""

from __future__ import annotations

import numpy as np
import pytest

from tme_sim.config.build import build
from tme_sim.config.load import load, request
from tme_sim.processes.binding import Binding
from tme_sim.processes.gaps import Gaps
from tme_sim.processes.release import Release
from tme_sim.processes.transcytosis import Transcytosis
from tme_sim.processes.transport import Transport
from tme_sim.processes.uptake import Uptake
from tme_sim.simulation import Simulation
from tme_sim.state import substance
from tme_sim.state.errors import ModelError
from tme_sim.state.lattice import Patch
from tme_sim.state.ledger import RELATIVE_TOLERANCE, audit, lattice_amounts, whole_body
from tme_sim.state.variables import PHAGOCYTES, ROUTES

TISSUES = ("vascular_tree", "from_image", "three_patches")  # cards of tumours and nanoparticles: tests/config/test_cards.py


@pytest.mark.parametrize(
    ("number", "steps"),
    [
        *(("stochastic", 2000), ("continuum", 2000)),
        *(pytest.param(number, 10_000, marks=pytest.mark.slow) for number in ("stochastic", "continuum")),
    ],
)
def test_thousands_of_steps_of_everything_balance(simulate, number, steps):
    """A dose of 10^14 on 4³ sites that stand for 926 thousand of themselves."""
    traffic = [f"processes.phagocytes.{kind}.arrest=4um/s" for kind in PHAGOCYTES]
    traffic += [f"processes.phagocytes.{kind}.crossing=0.5/h" for kind in PHAGOCYTES]
    simulation = simulate("lattice.size=60um", f"number={number}", "protocol.dose=1e14particles", *traffic)
    state = simulation.state
    assert state.lattice.copies.tolist() == [925926]
    worst = 0.0
    for part in range(1, 11):
        simulation.run(part * steps // 10 * 60.0)
        worst = max(worst, audit(state))
    assert state.tick == steps
    assert worst <= (0 if number == "stochastic" else RELATIVE_TOLERANCE)
    terms = whole_body(state)
    come_and_go = {"washed_out", "wall_bound", *PHAGOCYTES, *(f"blood_{kind}" for kind in PHAGOCYTES)}
    assert all(amount for name, amount in terms.items() if name not in come_and_go), terms
    assert state.ledger.entered[0, ROUTES.index("phagocyte")].sum() > 0
    if number == "stochastic":
        assert sum(terms.values()) == 10**14


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of data sets with one small vessel image: two crossing tubes in 48 voxels of 3 um."""
    folder = tmp_path_factory.mktemp("data")
    z, y, x = np.indices((48, 48, 48))
    vessels = ((y - 20) ** 2 + (x - 26) ** 2 < 6) | ((z - 30) ** 2 + (x - 10) ** 2 < 9)
    np.save(folder / "vessels.npy", vessels.astype(np.uint8))
    return folder


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
@pytest.mark.parametrize("tissue", TISSUES)
def test_every_kind_of_tissue_balances(data, tissue, number):
    words = [f"tissue={tissue}", f"number={number}", "step=60s"]
    words += ["tissue.vessels=vessels.npy", "tissue.voxel=3um"] if tissue == "from_image" else ["lattice.size=120um"]
    config = load(request(words)).config
    start = build(config, data)
    simulation = Simulation(start.state, start.processes, [], config.step_s, config.seed)
    for hour in (1, 2):
        simulation.run(hour * 3600)
        assert audit(start.state) <= (0 if number == "stochastic" else RELATIVE_TOLERANCE)
    assert sum(whole_body(start.state).values()) == pytest.approx(start.dose, rel=1e-12)
    assert sum(amounts.sum() for amounts in lattice_amounts(start.state).values()) > 0


def two_patches(make_state, add_cells, number):
    """Two unlike slabs, 3 and 11 of each in the body, with every process that acts on the lattice."""
    sites = (6, 5, 5)
    voxel = np.array([3, 30, 31, 60, 90, 100, 120, 149])
    state = make_state(
        sites,
        number,
        plasma=10**9,
        plasma_volume_um3=1e8,
        accessible=np.random.default_rng(0).uniform(0.02, 0.2, sites),
        walls=(voxel, np.linspace(50, 900, len(voxel))),
        patches=(Patch("rim", 0, 2, 3), Patch("core", 2, 4, 11)),
    )
    add_cells(state, "macrophages", np.arange(0, 150, 3))
    add_cells(state, "tumor_cells", np.arange(1, 150, 2))
    rates = {"exocytosis_per_s": 1e-4, "maturation_per_s": 3e-4, "degradation_per_s": 1e-4}
    cards = {
        "macrophages": substance.Uptake(clearance_um3_per_s=0.3, saturation=4e4, **rates),
        "tumor_cells": substance.Uptake(clearance_um3_per_s=0.05, saturation=6e3, **rates),
    }
    processes = {
        "gaps": Gaps(pore_radius_um=0.25, wall_length_um=0.5, area_fraction=2e-3, diameter_um=0.065, diffusivity_um2_per_s=0.2),
        "transcytosis": Transcytosis(
            transit_time_s=1800, stages=3, recycled_fraction=0.5, active_fraction=0.9, permeability_um_per_s=1e-4
        ),
        "transport": Transport(diffusivity_um2_per_s=0.2),
        "binding": Binding(binding=substance.Binding(on_rate_per_s=1e-4, off_rate_per_s=1e-4, capacity_per_um3=1.0)),
        "uptake": Uptake(uptake=cards, kinds=tuple(cards)),
        "release": Release(
            release=substance.Release(plasma_per_s=1e-5, tissue_per_s=1e-5, cell_per_s=1e-5, lysosome_per_s=1e-4),
            kinds=tuple(cards),
            pools=("body.plasma", "fields.nanoparticle", "fields.bound", "vessels.endothelium"),
        ),
    }
    for process in processes.values():
        process.prepare(state, lambda purpose: np.random.default_rng(2))
    return state, processes


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_patches_that_count_differently_balance_together(make_state, add_cells, advance, number):
    state, processes = two_patches(make_state, add_cells, number)
    advance(state, processes, 60, 200)
    assert audit(state) <= (0 if number == "stochastic" else RELATIVE_TOLERANCE)
    per_patch = sum(amounts.sum(axis=(1, 2)) for amounts in lattice_amounts(state).values()) + state.ledger.degraded.sum(
        axis=(1, 2)
    )
    assert (per_patch > 1000).all()
    plasma = state.body.pools["plasma"].sum()
    assert plasma + 3 * per_patch[0] + 11 * per_patch[1] == pytest.approx(10**9, rel=1e-12)
    np.testing.assert_allclose(per_patch, (state.ledger.entered - state.ledger.returned).sum(axis=(1, 2)), rtol=1e-12)


@pytest.mark.parametrize("number", ["stochastic", "continuum"])
def test_what_the_flow_washes_out_of_each_patch_is_tallied(simulate, number):
    """The rim at the tumour's edge, where fluid leaves: what came in by each route is there, in cells, back, or gone with it."""
    words = ("tissue=three_patches", "tissue.patches.rim.radial_position=0.98", f"number={number}", "protocol.dose=1e13particles")
    flow = "processes=[circulation,gaps,transcytosis,interstitial_flow,transport,uptake]"
    simulation = simulate(flow, *words, "lattice.size=90um")
    state = simulation.state
    simulation.run(1800)
    assert audit(state) <= (0 if number == "stochastic" else RELATIVE_TOLERANCE)
    terms = whole_body(state)
    assert sum(terms.values()) == pytest.approx(10**13, rel=0 if number == "stochastic" else 1e-12)
    gone, ledger = state.ledger.washed_out.sum(axis=2), state.ledger
    assert terms["washed_out"] == pytest.approx((gone.sum(axis=1) * state.lattice.copies).sum(), rel=1e-12)
    rim, _, core = gone[:, ROUTES.index("gap")] / (ledger.entered - ledger.returned).sum(axis=2)[:, ROUTES.index("gap")]
    assert rim > 0.5 > 0.05 > core
    state.ledger.washed_out[0, 1, 0] += 1
    with pytest.raises(ModelError, match="route gap of patch rim does not balance"):
        audit(state)


LEAKS = {
    "fields.nanoparticle": ("route gap of patch tumor", lambda s: s.fields["nanoparticle"][1, 0]),
    "fields.bound": ("route transcytosis of patch tumor", lambda s: s.fields["bound"][2, 0]),
    "vessels.endothelium": ("route transcytosis of patch tumor", lambda s: s.vessels.arrays["endothelium"]),
    "cargo": ("route gap of patch tumor", lambda s: s.populations["tumor_cells"]["cargo"][:, 1]),
    "lysosome": ("route transcytosis of patch tumor", lambda s: s.populations["macrophages"]["lysosome"][:, 2]),
    "body.kupffer": ("whole body", lambda s: s.body.pools["kupffer"]),
    "body.plasma": ("whole body", lambda s: s.body.pools["plasma"]),
}


@pytest.fixture(scope="module", params=["stochastic", "continuum"])
def balanced(request, simulate):
    simulation = simulate(f"number={request.param}", "protocol.dose=2e13particles")
    simulation.run(4 * 3600)
    audit(simulation.state)
    return simulation.state


@pytest.mark.parametrize("place", LEAKS)
@pytest.mark.parametrize("change", [-1, 1])
def test_one_particle_leaked_or_made_is_caught_with_the_term_that_broke(balanced, place, change):
    term, look = LEAKS[place]
    array = look(balanced)
    where = np.unravel_index(np.argmax(array), array.shape)
    kept = array[where]
    assert kept >= 1
    array[where] += change if balanced.number == "stochastic" else change * max(1.0, kept * 1e-3)
    with pytest.raises(ModelError, match=f"{term} does not balance at tick 240"):
        audit(balanced)
    array[where] = kept
    audit(balanced)


def test_carriers_that_change_routes_are_caught(balanced):
    """The sum is right, the origin is not."""
    field = balanced.fields["nanoparticle"]
    where = np.unravel_index(np.argmax(field[1, 0]), field.shape[2:])
    field[1, 0][where] -= 1
    field[2, 0][where] += 1
    with pytest.raises(ModelError, match=f"route {ROUTES[1]} of patch tumor"):
        audit(balanced)
    field[1, 0][where] += 1
    field[2, 0][where] -= 1


@pytest.mark.parametrize(
    ("value", "said"), [(-5, "plasma holds -5"), (float("nan"), "plasma holds nan"), (float("inf"), "plasma holds inf")]
)
def test_a_debt_or_what_is_no_number_is_caught(make_state, value, said):
    state = make_state()
    state.body.pools["plasma"][0] = value
    with pytest.raises(ModelError, match=said):
        audit(state)
