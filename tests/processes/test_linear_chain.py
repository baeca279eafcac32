"""Where nothing saturates, counts are real amounts in the mean, from the vein to the lysosome."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from tme_sim.state.ledger import lattice_amounts, whole_body

DOSE = 10**9
LINEAR = (
    f"protocol.dose={DOSE}particles",
    "tissue.tumor_mass=1.728ug",  # the lattice itself: one copy
    "body.plasma_volume=3e9um^3",  # little blood, so that many particles come into the tissue
    "nanoparticle.transcytosis_permeability=5e-7cm/s",
    "nanoparticle.diffusivity=0.5um^2/s",
    "nanoparticle.clearance.kupffer_maximum=5.3e7/s",
    "nanoparticle.clearance.kupffer_half_saturation=1e11/um^3",
    "nanoparticle.binding.on_rate=2e-5/s",
    "nanoparticle.binding.capacity=1e12/um^3",
    "nanoparticle.uptake.macrophages.saturation=1e15",
    "nanoparticle.uptake.macrophages.clearance=0.03um^3/s",
    "nanoparticle.uptake.macrophages.degradation=0.5/h",
    "nanoparticle.uptake.tumor_cells.saturation=1e15",
    "nanoparticle.uptake.tumor_cells.clearance=0.004um^3/s",
    "processes.gaps.area_fraction=0.01",
)


@pytest.fixture(scope="module")
def pair(simulate):
    """Both number modes on the same tissue, after six hours of every process."""
    found = []
    for number in ("continuum", "stochastic"):
        simulation = simulate(f"number={number}", *LINEAR)
        simulation.run(6 * 3600)
        found.append(simulation.state)
    return found


def test_every_place_route_and_form_holds_the_mean_within_sampling_error(pair):
    """Particles are independent, so every entry is Binomial(dose, p): 4.5 sigma in some 60 entries fails once in 2000 seeds."""
    means, counts = (lattice_amounts(state) | state.body.pools | {"degraded": state.ledger.degraded} for state in pair)
    assert set(means) >= {"plasma", "kupffer", "spleen", "interstitium", "bound", "endothelium", "macrophages", "tumor_cells"}
    entries = 0
    for name, mean in means.items():
        sd = np.sqrt(np.maximum(mean * (1 - mean / DOSE), 1))
        z = (counts[name] - mean) / sd
        assert np.abs(z).max() < 4.5, (name, z)
        entries += int((mean > 10).sum())
    assert entries > 25
    assert sum(whole_body(pair[1]).values()) == DOSE


def test_they_lie_where_the_mean_lies(pair):
    """chi² over the voxels' counts, per route and form, at the level 1e-4 in all."""
    tested = 0
    for route in (1, 2):
        for form in (0, 1):
            mean, count = (state.fields["nanoparticle"][route, form].astype(float) for state in pair)
            enough = mean > 5
            if enough.sum() < 50:
                continue
            statistic = ((count - mean)[enough] ** 2 / mean[enough]).sum()
            assert statistic < chi2.ppf(1 - 2.5e-5, enough.sum())
            tested += 1
    assert tested >= 2
