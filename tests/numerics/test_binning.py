import numpy as np
import pytest

from tme_sim.numerics.binning import bins


def test_bins_sort_stably_by_site():
    site = np.random.default_rng(0).integers(0, 50, 1000).astype(np.int32)
    start, order = bins(site, 60)
    assert np.array_equal(order, np.argsort(site, kind="stable"))
    assert np.array_equal(np.diff(start), np.bincount(site, minlength=60))
    assert start[0] == 0


def test_no_agents_fill_no_bins():
    start, order = bins(np.array([], np.int64), 3)
    assert start.tolist() == [0, 0, 0, 0]
    assert order.size == 0


@pytest.mark.parametrize("bad", [-1, 3])
def test_an_agent_off_the_lattice_is_refused(bad):
    with pytest.raises(ValueError, match=f"site {bad}"):
        bins(np.array([0, bad, 2]), 3)
