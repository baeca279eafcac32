"""Several steps in one pass over memory: what numpy computes step by step, in the same bits for any slabs, without new memory."""

import tracemalloc

import numpy as np
import pytest

from tme_sim.numerics.hops import hop
from tme_sim.numerics.random import stream_key
from tme_sim.numerics.rkl2 import integrate
from tme_sim.numerics.sweep import CLOSED, Sink, blend, sweep
from tme_sim.numerics.transport import face_rates, leave_rate, step_continuum

SHAPE = (23, 5, 6)


def medium(flows, shape=SHAPE):
    rng = np.random.default_rng(0)
    velocity = rng.normal(0, 0.3, (3, *shape)) if flows else None
    return face_rates(rng.uniform(0.5, 2, shape), rng.uniform(0.05, 0.3, shape), 5.0, [shape[0] // 2], velocity)


def doors():
    rng = np.random.default_rng(1)
    return Sink(np.sort(rng.choice(int(np.prod(SHAPE)), 40, replace=False)), rng.random(40))


def one_step(amount, rates, dt_s, sink):
    flat = amount.reshape(-1)
    gone = flat[sink.outlets] * sink.share
    flat[sink.outlets] -= gone
    out = amount * rates.out()
    change = -out.sum(axis=0)
    for axis in range(3):
        a, b = (np.moveaxis(array, axis, 0) for array in (change, out[2 * axis]))
        a[:-1] += b[1:]
        a[1:] += np.moveaxis(out[2 * axis + 1], axis, 0)[:-1]
    amount += dt_s * change
    return gone


@pytest.mark.parametrize("flows", [False, True])
@pytest.mark.parametrize("sink", [CLOSED, doors()], ids=["closed", "open"])
def test_a_sweep_does_what_single_steps_do_in_the_same_bits_for_any_slabs(flows, sink):
    rates = medium(flows)
    dt_s, start = 0.9 / leave_rate(rates).max(), np.random.default_rng(2).random(SHAPE)
    expected, left = start.copy(), np.zeros(sink.outlets.size)
    for _ in range(13):
        left += one_step(expected, rates, dt_s, sink)
    found = []
    for slabs in (1, 2, 4, 7, 16, 23):
        amount = start.copy()
        gone = sweep(amount, *rates, dt_s, 13, sink, slabs)
        found.append(amount.tobytes() + gone.tobytes())
        np.testing.assert_allclose(amount, expected, rtol=1e-12)
        np.testing.assert_allclose(gone, left, rtol=1e-12)
    assert len(set(found)) == 1


def test_both_sides_of_a_face_tell_the_same_flux():
    for axis in range(3):
        shape = [1, 1, 1]
        shape[axis] = 2
        for draw in range(20):
            rng = np.random.default_rng(draw)
            rates = face_rates(rng.random(shape), rng.random(shape), 1.7)
            net, here = np.zeros(shape), rng.random(shape)
            blend(net, 0.0, here, 0.0, here.copy(), 0.0, rates.up, rates.per_capacity, 0.3)
            assert net.ravel()[0] == -net.ravel()[1] != 0.0


def test_rates_in_float32_keep_totals_and_rest():
    rng = np.random.default_rng(3)
    capacity = rng.uniform(0.05, 0.3, (6, 5, 4))
    rates = face_rates(rng.uniform(0.5, 2, (6, 5, 4)), capacity, 5.0, dtype=np.float32)
    assert rates.up.dtype == np.float32
    amount = rng.random((6, 5, 4))
    total, dt_s = amount.sum(), 0.9 / leave_rate(rates).max()
    step_continuum(amount, rates, dt_s, 4000)
    assert amount.sum() == pytest.approx(total, rel=1e-13)
    np.testing.assert_allclose(amount / capacity, total / capacity.sum(), rtol=1e-9)


@pytest.mark.parametrize("planes", [2, 3, 5, 32])
def test_hops_in_16_or_7_slabs_are_the_same(planes):
    rates = medium(True, (32, 5, 6))
    start = np.random.default_rng(4).poisson(5, (32, 5, 6)).astype(np.int32)
    one, other, dt_s = start.copy(), start.copy(), 0.9 / leave_rate(rates).max()
    for tick in range(20):
        hop(one, rates, dt_s, stream_key(1, tick))
        hop(other, rates, dt_s, stream_key(1, tick), slab=planes)
    assert not np.array_equal(one, start)
    assert np.array_equal(one, other)


def test_slabs_too_thin_for_their_colours_are_refused():
    with pytest.raises(ValueError, match="slab 1"):
        hop(np.ones(SHAPE, np.int32), medium(False), 0.1, (1, 2), slab=1)


@pytest.mark.parametrize("what", ["explicit", "rkl2", "hop"])
def test_steps_after_the_first_allocate_nothing_of_the_size_of_a_field(what):
    shape = (32, 32, 32)
    rates = medium(False, shape)
    amount, counts = np.random.default_rng(5).random(shape), np.full(shape, 3, np.int32)
    dt_s = 0.9 / leave_rate(rates).max()

    def act():
        if what == "explicit":
            step_continuum(amount, rates, dt_s, 11)
        elif what == "rkl2":
            integrate(amount, rates, 30 * dt_s, first_s=0.0, leave_per_s=0.9 / dt_s)
        else:
            hop(counts, rates, dt_s, (1, 2))

    act()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        act()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < amount.nbytes / 8


@pytest.mark.parametrize("integrator", ["explicit", "rkl2"])
def test_what_is_not_a_number_stays_in_the_amounts_that_had_it(integrator):
    rates = medium(False)
    dt_s = 0.9 / leave_rate(rates).max()
    for amount in (np.full(SHAPE, np.nan), np.ones(SHAPE)):
        if integrator == "explicit":
            step_continuum(amount, rates, dt_s, 9)
        else:
            integrate(amount, rates, 9 * dt_s)
    assert np.isfinite(amount).all()


@pytest.mark.slow
@pytest.mark.parametrize("number", ["real", "counts"])
def test_nothing_drifts_over_a_hundred_thousand_steps(number):
    rates = medium(True, (8, 8, 8))
    dt_s = 0.9 / leave_rate(rates).max()
    amount = np.random.default_rng(6).poisson(1000, (8, 8, 8)).astype(np.int32 if number == "counts" else np.float64)
    before = amount.sum()
    if number == "real":
        step_continuum(amount, rates, dt_s, 100_000)
        assert amount.sum() == pytest.approx(before, rel=1e-12)
    else:
        for tick in range(100_000):
            hop(amount, rates, dt_s, (7, tick))
        assert amount.sum() == before
    assert amount.min() >= 0
