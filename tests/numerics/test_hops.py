"""Hops of counts against the mean step and the exact covariance; every statistical test has a fixed seed and the level 10⁻³."""

import numpy as np
import pytest
from scipy import stats

from tme_sim.numerics.edges import edge_rates
from tme_sim.numerics.hops import hop
from tme_sim.numerics.random import stream_key
from tme_sim.numerics.transport import FaceRates, face_rates, leave_rate, step_continuum

SHAPE = (5, 4, 3)


def rough_rates():
    rng = np.random.default_rng(0)
    return face_rates(rng.uniform(0.5, 2.0, SHAPE), rng.uniform(0.05, 0.3, SHAPE), 5.0)


def transition(rates, dt_s, edges=None):
    """Row i: where a particle of voxel i is after one step, from the continuum step itself."""
    rows = np.eye(np.prod(SHAPE)).reshape(-1, *SHAPE)
    for row in rows:
        step_continuum(row, rates, dt_s, edges=edges)
    return rows.reshape(rows.shape[0], -1)


@pytest.mark.parametrize("n", [1, 3, 40, 601, 200_000], ids="{} in a voxel".format)
def test_hops_agree_with_the_continuum_step_in_mean_and_covariance(n):
    rates = rough_rates()
    dt_s, repeats = 0.95 / leave_rate(rates).max(), 300
    start = np.random.default_rng(n).integers(0, 2 * n, SHAPE, endpoint=True).astype(np.int32)
    chance = transition(rates, dt_s)
    expected = start.reshape(-1) @ chance
    covariance = np.diag(expected) - chance.T @ (start.reshape(-1, 1) * chance)
    off = np.empty((repeats, expected.size))
    for repeat in range(repeats):
        amount = start.copy()
        hop(amount, rates, dt_s, stream_key(7, "hop", n, repeat))
        assert amount.sum() == start.sum()
        off[repeat] = amount.reshape(-1) - expected
    inverse, rank = np.linalg.pinv(covariance, rcond=1e-10), np.linalg.matrix_rank(covariance, tol=1e-10 * covariance.max())
    mean = off.mean(axis=0)
    assert stats.chi2.sf(repeats * mean @ inverse @ mean, rank) > 1e-3
    spread = stats.chi2.cdf(np.einsum("ri,ij,rj", off, inverse, off), rank * repeats)
    assert 5e-4 < spread < 1.0 - 5e-4


def test_particles_of_a_voxel_split_over_its_faces_by_the_multinomial_law():
    up, down = np.zeros((3, 4, 3, 3)), np.zeros((3, 4, 3, 3))
    down[0, 1, 1, 1], down[1, 2, 0, 1], down[2, 2, 1, 0] = np.array([1, 3, 5]) / 30.0
    up[:, 2, 1, 1] = np.array([2, 4, 6]) / 30.0
    rates = FaceRates(up, down, np.ones((3, 3, 3)))
    neighbours = [(0, 1, 1), (2, 1, 1), (1, 0, 1), (1, 2, 1), (1, 1, 0), (1, 1, 2), (1, 1, 1)]
    p = np.array([1, 2, 3, 4, 5, 6, 9]) / 30.0
    for n in (2, 17, 600, 5000):
        seen = np.zeros(7)
        for repeat in range(400):
            amount = np.zeros((3, 3, 3), np.int32)
            amount[1, 1, 1] = n
            hop(amount, rates, 1.0, stream_key(8, n, repeat))
            seen += [amount[voxel] for voxel in neighbours]
        assert seen.sum() == 400 * n
        assert stats.chisquare(seen, 400 * n * p).pvalue > 1e-3


def test_counts_are_conserved_and_walls_hold():
    rates = face_rates(1.0, np.random.default_rng(1).uniform(0.0, 0.3, (9, 8, 7)), 5.0, blocked_z=[3])
    dt_s = 0.9 / leave_rate(rates).max()
    amount = np.random.default_rng(2).poisson(3, (9, 8, 7)).astype(np.int32)
    amount[:3] = 0
    total = amount.sum()
    for tick in range(200):
        hop(amount, rates, dt_s, stream_key(9, tick))
    assert amount.sum() == total
    assert amount.min() >= 0
    assert not amount[:3].any()


def test_at_rest_counts_follow_the_accessible_volume():
    capacity = np.random.default_rng(3).uniform(0.05, 0.3, (4, 4, 4))
    rates = face_rates(1.0, capacity, 5.0)
    dt_s = 0.9 / leave_rate(rates).max()
    amount = np.zeros((4, 4, 4), np.int32)
    amount[0, 0, 0] = 100_000
    for tick in range(1500):
        hop(amount, rates, dt_s, stream_key(10, tick))
    assert stats.chisquare(amount.reshape(-1), 100_000 * (capacity / capacity.sum()).reshape(-1)).pvalue > 1e-3


def test_an_interval_too_long_is_refused_and_changes_nothing():
    rates = face_rates(1.0, np.full((3, 3, 3), 0.2), 1.0)
    amount = np.full((3, 3, 3), 5, np.int32)
    with pytest.raises(ValueError, match="probability 6"):
        hop(amount, rates, 1.0, (1, 2))
    assert (amount == 5).all()
    hop(amount, rates, 0.1, (1, 2))
    assert amount.sum() == 27 * 5


def test_amounts_that_cannot_be_changed_in_place_are_refused():
    rates = face_rates(1.0, np.ones((2, 3, 4)), 1.0)
    frozen = np.ones((2, 3, 4), np.int32)
    frozen.flags.writeable = False
    for amount in (frozen, np.ones((2, 3, 4), np.int64), np.ones((4, 3, 2), np.int32).T):
        with pytest.raises(ValueError, match="in place"):
            hop(amount, rates, 0.1, (1, 2))
    with pytest.raises(ValueError, match="rates"):
        hop(np.ones((3, 3, 4), np.int32), rates, 0.1, (1, 2))


def flowing():
    """A rough medium with flow, two periodic axes and one with reservoirs that hold nothing."""
    rng = np.random.default_rng(11)
    diffusivity, capacity, velocity = (
        rng.uniform(0.5, 2.0, SHAPE),
        rng.uniform(0.05, 0.3, SHAPE),
        rng.normal(0, 0.05, (3, *SHAPE)),
    )
    through = [(v[0], v[-1]) for v in (np.moveaxis(velocity[axis], axis, 0) for axis in range(3))]
    edges = edge_rates(diffusivity, capacity, 5.0, ["periodic", "periodic", 0.0, 0.0, "periodic", "periodic"], through)
    return face_rates(diffusivity, capacity, 5.0, velocity_um_per_s=velocity), edges


def test_carried_hops_agree_with_the_continuum_step_and_what_left_is_counted():
    """χ² of the mean over 400 steps against the multinomial law, whose last place is outside; at the level 10⁻³."""
    rates, edges = flowing()
    dt_s, repeats = 0.9 / leave_rate(rates, edges).max(), 400
    start = np.random.default_rng(12).integers(0, 60, SHAPE).astype(np.int32)
    inside = transition(rates, dt_s, edges)
    chance = np.column_stack([inside, 1.0 - inside.sum(axis=1)])
    expected = start.reshape(-1) @ chance
    covariance = np.diag(expected) - chance.T @ (start.reshape(-1, 1) * chance)
    off = np.empty((repeats, expected.size))
    for repeat in range(repeats):
        amount = start.copy()
        left, entered = hop(amount, rates, dt_s, stream_key(13, repeat), edges)
        assert amount.sum() + left == start.sum()
        assert entered == 0
        off[repeat] = [*amount.reshape(-1), left] - expected
    inverse, rank = np.linalg.pinv(covariance, rcond=1e-10), np.linalg.matrix_rank(covariance, tol=1e-10 * covariance.max())
    mean = off.mean(axis=0)
    assert stats.chi2.sf(repeats * mean @ inverse @ mean, rank) > 1e-3
    assert stats.chi2.cdf(np.einsum("ri,ij,rj", off, inverse, off), rank * repeats) == pytest.approx(0.5, abs=0.4995)


def test_a_reservoir_keeps_counts_at_its_concentration_on_average():
    capacity = np.full((3, 3, 3), 0.5)
    rates, edges = face_rates(1.0, capacity, 1.0), edge_rates(1.0, capacity, 1.0, [100.0] * 6)
    dt_s = 0.9 / leave_rate(rates, edges).max()
    amount, balance = np.full((3, 3, 3), 50, np.int32), 27 * 50
    seen = np.zeros((3, 3, 3))
    for tick in range(4000):
        left, entered = hop(amount, rates, dt_s, stream_key(14, tick), edges)
        balance += entered - left
        seen += amount
    assert amount.sum() == balance
    # a total of 1350 ± 37 whose memory is about 20 steps: the mean of 4000 has a standard error of about 5
    assert seen.sum() / 4000 == pytest.approx(1350, abs=17)
