"""What agents hold turns over alike in counts and in real amounts, and nothing is lost."""

import numpy as np
import pytest

from tme_sim.numerics.binning import bins
from tme_sim.numerics.convert import convert
from tme_sim.numerics.random import stream_key
from tme_sim.numerics.turnover import Rates, turn_over

RATES = Rates(out=2e-4, maturing=1e-4, decay=5e-5)


def scene(dtype):
    rng = np.random.default_rng(0)
    sites, f, agents, components = 600, 8, 900, 3
    phi = rng.uniform(0.05, 0.3, sites * f)
    phi[: 8 * f] = 0.0  # no room on the first sites
    site = rng.integers(0, sites, agents)
    held = [rng.poisson(50, (agents, components)).astype(dtype) for _ in range(2)]
    footprint = rng.permutation(sites * f).reshape(sites, f)
    return {
        "endosome": held[0],
        "lysosome": held[1],
        "free": np.zeros((components, sites * f), dtype),
        "agents": bins(site, sites),
        "ids": np.arange(agents),
        "footprint": footprint,
        "capacity": phi,
        "patch_of_site": np.arange(sites) // 300,
        "rates": RATES,
        "dt_s": 3000.0,
        "payload": np.array([2.0, 0.0, 0.5]),
    }


def test_counts_turn_over_with_the_mean_of_real_amounts_and_none_is_lost():
    """Each sum is of independent draws: |z| < 4.5 in all of them has a probability above 1 - 1e-4."""
    real, counts = scene(np.float64), scene(np.int64)
    before = counts["endosome"].sum(axis=0) + counts["lysosome"].sum(axis=0)
    decayed, held, freed = turn_over(**counts, key=stream_key(1, "turn over"))
    found = [counts[name].sum(axis=int(name == "free")) for name in ("endosome", "lysosome", "free")] + [*decayed]
    assert (sum(found) == before).all()
    assert (held == (counts["endosome"] + counts["lysosome"]).sum(axis=1)).all()
    mean_decayed, _, mean_freed = turn_over(**real, key=(1, 2))
    mean = [real[name].sum(axis=int(name == "free")) for name in ("endosome", "lysosome", "free")] + [*mean_decayed]
    assert sum(mean) == pytest.approx(before, rel=1e-13)
    assert (np.abs(np.array(found) - mean) < 4.5 * np.sqrt(mean)).all()
    assert (counts["free"][:, counts["capacity"] == 0] == 0).all()
    assert freed.sum() == (decayed @ counts["payload"]).sum()
    gone = -np.expm1(-RATES.decay * 3000.0)
    assert mean_freed == pytest.approx(gone * (scene(float)["lysosome"] @ counts["payload"]), rel=1e-12)


def test_what_changes_form_is_a_share_by_place_whatever_the_strides():
    for dtype in (np.int32, np.int64, np.float64):
        amount = np.zeros((50, 3, 2), dtype)
        amount[:, :, 0] = 10_000
        view = np.moveaxis(amount, 0, -1)
        changed = convert(view, 0.25, stream_key(2), np.arange(50))
        assert (amount.sum(axis=2) == 10_000).all()
        assert (changed == amount[:, :, 1].sum(axis=1)).all()
        off = np.abs(amount[:, :, 1] - 2500).max()
        assert off < 4.5 * np.sqrt(10_000 * 0.25 * 0.75) if dtype != np.float64 else off == 0
        assert (convert(np.ascontiguousarray(view), 0.0, stream_key(2)) == 0).all()
    with pytest.raises(ValueError, match="share between 0 and 1"):
        convert(np.zeros((1, 2, 1)), 1.5, (1, 2))
