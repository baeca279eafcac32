"""The mean of diffusion and flow: order of convergence, conservation, rest, walls."""

import numpy as np
import pytest

from tme_sim.numerics.edges import edge_rates
from tme_sim.numerics.transport import face_rates, fingerprint, leave_rate, step_continuum, substeps


def order(spacings, errors):
    return np.polyfit(np.log(spacings), np.log(errors), 1)[0]


def medium(shape, seed=0):
    """A rough random medium with a few voxels that hold nothing or let nothing through."""
    rng = np.random.default_rng(seed)
    capacity, diffusivity = rng.uniform(0.05, 0.3, shape), 10.0 ** rng.uniform(-2, 1, shape)
    capacity[rng.random(shape) < 0.05] = 0.0
    diffusivity[rng.random(shape) < 0.05] = 0.0
    return diffusivity, capacity


def test_a_gaussian_spreads_with_second_order_in_the_spacing():
    edge, start, end = 16.0, 1.0, 2.0  # variance grows by 2 D t, D = 1
    spacings, errors = [], []
    for n in (24, 36, 48):
        h = edge / n
        x = (np.arange(n) + 0.5) * h - edge / 2
        square = x[:, None, None] ** 2 + x[:, None] ** 2 + x**2
        steps = round(0.5 * (end - start) / (0.1 * h * h))
        amount = (2 * np.pi * start) ** -1.5 * np.exp(-square / (2 * start))
        step_continuum(amount, face_rates(np.ones((n, n, n)), 1.0, h), 0.5 * (end - start) / steps, steps)
        exact = (2 * np.pi * end) ** -1.5 * np.exp(-square / (2 * end))
        spacings.append(h)
        errors.append(np.abs(amount - exact).max() / exact.max())
    assert 1.8 < order(spacings, errors) < 2.2
    assert errors[-1] < 0.01


def test_second_order_holds_in_a_smooth_heterogeneous_medium():
    def solve(n):
        x = (np.arange(n) + 0.5) / n
        capacity, diffusivity = 0.2 + 0.1 * np.cos(3 * np.pi * x), 1.0 + 0.5 * np.sin(2 * np.pi * x)
        amount = (capacity * (1 + np.cos(np.pi * x))).reshape(1, 1, n)
        steps = round(0.02 * 5 * n * n)
        step_continuum(amount, face_rates(diffusivity, capacity.reshape(1, 1, n), 1 / n), 0.02 / steps, steps)
        return amount[0, 0]

    meshes, fine = (9, 27, 81), solve(405)
    errors = []
    for n in meshes:
        stride = 405 // n if 405 % n == 0 else 0
        same_points = fine[stride // 2 :: stride]
        errors.append(np.abs(solve(n) - same_points).max())
    assert 1.8 < order(1 / np.array(meshes), errors) < 2.2


def test_mass_is_conserved_to_rounding_over_a_thousand_steps():
    diffusivity, capacity = medium((20, 21, 22))
    rates = face_rates(diffusivity, capacity, 5.0, blocked_z=[7])
    amount = np.random.default_rng(1).random(capacity.shape)
    before = amount.sum()
    step_continuum(amount, rates, 0.9 / leave_rate(rates).max(), 1000)
    assert abs(amount.sum() / before - 1.0) < 1e-13
    assert amount.min() >= 0.0


def test_at_rest_the_free_concentration_is_uniform():
    capacity = np.random.default_rng(2).uniform(0.05, 0.3, (6, 5, 4))
    capacity[2, 2, 2] = 0.0
    rates = face_rates(2.0, capacity, 5.0)
    amount = np.where(capacity > 0, np.random.default_rng(3).random(capacity.shape), 0.0)
    step_continuum(amount, rates, 0.5 / leave_rate(rates).max(), 5000)
    free = amount[capacity > 0] / capacity[capacity > 0]
    assert np.allclose(free, amount.sum() / capacity.sum(), rtol=1e-9)
    assert amount[2, 2, 2] == 0.0


def test_rates_balance_in_detail_and_stop_at_walls():
    diffusivity, capacity = medium((5, 6, 7))
    rates = face_rates(diffusivity, capacity, 3.0)
    flow = rates.out() * capacity
    assert np.allclose(flow[1, :-1], flow[0, 1:], rtol=1e-14)
    assert np.allclose(flow[3, :, :-1], flow[2, :, 1:], rtol=1e-14)
    assert np.allclose(flow[5, :, :, :-1], flow[4, :, :, 1:], rtol=1e-14)
    assert not (leave_rate(rates)[(capacity == 0) | (diffusivity == 0)]).any()
    for face, edge in enumerate((np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1])):
        assert not rates.out()[face][edge].any()


def test_in_a_uniform_medium_every_rate_is_d_over_h_squared():
    rates = face_rates(3.0, np.full((3, 3, 3), 0.2), 5.0)
    assert np.allclose(rates.out()[:, 1, 1, 1], 3.0 / 25.0)


def test_nothing_passes_an_impermeable_plane():
    rates = face_rates(1.0, np.full((6, 4, 4), 0.2), 5.0, blocked_z=[2, 4])
    amount = np.zeros((6, 4, 4))
    amount[2, 1, 1] = 1.0
    step_continuum(amount, rates, 0.9 / leave_rate(rates).max(), 200)
    assert not amount[:2].any()
    assert not amount[4:].any()
    assert amount[3].sum() == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_in_one_call_are_steps_in_many(dtype):
    rates = face_rates(*medium((4, 5, 6)), 5.0).astype(dtype)
    once, many = np.ones((4, 5, 6)), np.ones((4, 5, 6))
    step_continuum(once, rates, 0.1, 3)
    for _ in range(3):
        step_continuum(many, rates, 0.1)
    assert np.array_equal(once, many)
    assert not np.array_equal(once, np.ones((4, 5, 6)))


def test_substeps_keep_the_chance_to_leave_within_bounds():
    rates = face_rates(1.0, np.full((3, 3, 3), 0.2), 1.0)  # the middle leaves at 6 per second
    assert substeps(rates, 1.0) == 7
    assert substeps(rates, 0.149) == 1
    assert substeps(rates, 1.0, leave_at_most=0.31) == 20
    assert substeps(face_rates(0.0, np.ones((2, 2, 2)), 1.0), 1.0) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, np.ones((2, 2, 2)), 1.0), "diffusivity"),
        ((1.0, np.full((2, 2, 2), np.nan), 1.0), "capacity"),
        ((1.0, np.ones((2, 2, 2)), 0.0), "spacing_um 0"),
        ((1.0, np.ones((2, 2, 2)), 1.0, [0]), "blocked_z"),
        ((1.0, np.ones((2, 2, 2)), 1.0, [2]), "blocked_z"),
    ],
)
def test_media_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        face_rates(*arguments)


def test_amounts_that_cannot_be_changed_in_place_are_refused():
    rates = face_rates(1.0, np.ones((2, 3, 4)), 1.0)
    with pytest.raises(ValueError, match="in place"):
        step_continuum(np.ones((4, 3, 2)).T, rates, 0.1)
    with pytest.raises(ValueError, match="in place"):
        step_continuum(np.ones((2, 3, 4), np.int32), rates, 0.1)
    with pytest.raises(ValueError, match="rates"):
        step_continuum(np.ones((3, 3, 4)), rates, 0.1)


def line(n, diffusivity, velocity, spacing_um=1.0):
    """Rates along x in a uniform medium of capacity 1 with the same flow everywhere."""
    flow = np.zeros((3, 1, 1, n))
    flow[2] = velocity
    return face_rates(diffusivity, np.ones((1, 1, n)), spacing_um, velocity_um_per_s=flow)


def steady(rates, edges):
    """The amounts at which nothing changes, from the fluxes themselves."""
    n = rates.per_capacity.shape[-1]
    rows = np.eye(n).reshape(n, 1, 1, n)
    inflow = np.zeros((1, 1, n))
    step_continuum(inflow, rates, 1e-3, edges=edges)
    matrix = []
    for row in rows:
        step_continuum(row, rates, 1e-3, edges=edges)
        matrix.append(row.reshape(n) - inflow.reshape(n))
    return np.linalg.solve(np.eye(n) - np.array(matrix).T, inflow.reshape(n))


def test_without_flow_the_rates_are_the_same_bits():
    diffusivity, capacity = medium((5, 6, 7))
    still = face_rates(diffusivity, capacity, 3.0, [2], np.zeros((3, 5, 6, 7)))
    resting = face_rates(diffusivity, capacity, 3.0, [2])
    assert resting.is_still
    assert np.array_equal(still.out(), resting.out())


def test_rates_with_flow_are_never_negative_and_differ_by_what_flows():
    diffusivity, capacity = medium((6, 5, 4))
    velocity = np.random.default_rng(4).normal(0, 10, (3, 6, 5, 4))
    velocity[:, ::2] *= 1e-9
    rates = face_rates(diffusivity, capacity, 3.0, [3], velocity).out()
    assert np.isfinite(rates).all()
    assert rates.min() == 0.0
    net = (rates * capacity)[1, :-1] - (rates * capacity)[0, 1:]
    passable = (capacity[:-1] > 0) & (capacity[1:] > 0)
    passable[2] = False
    assert np.allclose(net, np.where(passable, velocity[0, :-1] / 3.0, 0.0), rtol=1e-9, atol=1e-12)
    assert not rates[:, capacity == 0].any()
    for face, edge in enumerate((np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1])):
        assert not rates[face][edge].any()


def test_where_the_flow_dominates_it_is_carried_from_upstream_alone():
    rates = line(4, 1e-3, 2.0).out()
    assert np.allclose(rates[5, 0, 0, :-1], 2.0, rtol=1e-12)
    assert rates[4].max() == 0.0
    assert np.array_equal(line(4, 0.0, 2.0).out()[5, 0, 0, :-1], [2.0, 2.0, 2.0])
    back = line(4, 1e-3, -2.0).out()
    assert np.allclose(back[4, 0, 0, 1:], 2.0, rtol=1e-12)
    assert back[5].max() == 0.0


@pytest.mark.parametrize("peclet", [0.1, 1.0, 3.0, -3.0])
def test_the_steady_profile_through_a_wall_is_exact_at_any_peclet_number(peclet):
    """C(x) = (e^(Pe x) − 1)/(e^Pe − 1) between a face at 0 and one at 1, Pe that of the whole wall; four voxels are enough."""
    n, velocity = 4, peclet
    h = 1 / n
    edges = edge_rates(1.0, np.ones((1, 1, n)), h, ["closed"] * 4 + [0.0, 1.0], [(0, 0), (0, 0), (velocity, velocity)])
    x = (np.arange(n) + 0.5) * h
    found = steady(line(n, 1.0, velocity, h), edges)
    assert np.allclose(found, np.expm1(peclet * x) / np.expm1(peclet), rtol=1e-9)
    left, entered = step_continuum(found.reshape(1, 1, n), line(n, 1.0, velocity, h), 0.5 * h**2, edges=edges)
    flux = peclet / -np.expm1(peclet)  # amount per area and time along +x, of the exact profile
    out_at_0 = left - 0.5 * h**2 * float((edges.out[2][1] * found[-1])[0, 0])
    assert out_at_0 / (0.5 * h**2) * h == pytest.approx(-flux, rel=1e-9)
    assert left == pytest.approx(entered, rel=1e-9)


def carried_gaussian(n, peclet):
    """Largest error after one turn around a periodic line of length 1 at v = 1, D = 1/peclet."""
    h, diffusivity, start = 1 / n, 1 / peclet, 0.02
    rates = line(n, diffusivity, 1.0, h)
    edges = edge_rates(diffusivity, np.ones((1, 1, n)), h, ["periodic"] * 6, [(0, 0), (0, 0), (1.0, 1.0)])
    away = (np.arange(n) + 0.5) * h - 0.5 - np.arange(-5, 6)[:, None]

    def gaussian(square):
        return np.exp(-(away**2) / (2 * square)).sum(0) / np.sqrt(square)

    amount = gaussian(start).reshape(1, 1, n)
    total, steps = amount.sum(), substeps(rates, 1.0, 0.1, edges)
    step_continuum(amount, rates, 1.0 / steps, steps, edges)
    assert amount.sum() == pytest.approx(total, rel=1e-12)
    assert amount.min() >= 0.0
    exact = gaussian(start + 2 * diffusivity)
    return np.abs(amount[0, 0] - exact).max() / exact.max()


def test_a_carried_gaussian_converges_with_second_order_where_diffusion_rules_and_first_where_the_flow_does():
    """Scharfetter-Gummel adds the diffusivity D (P/2 coth(P/2) − 1), P = v h/D: v² h²/(12 D) for P ≪ 1, v h/2 for P ≫ 1."""
    for peclet, meshes, low, high in ((20.0, (24, 36, 54), 1.8, 2.2), (1e5, (256, 512, 1024), 0.8, 1.0)):
        errors = [carried_gaussian(n, peclet) for n in meshes]
        assert low < order(1 / np.array(meshes), errors) < high


def test_in_a_periodic_box_amounts_come_back_opposite_on_every_axis():
    shape = (3, 4, 5)
    edges = edge_rates(1.0, np.ones(shape), 1.0, ["periodic"] * 6)
    rates = face_rates(1.0, np.ones(shape), 1.0)
    corner, middle = np.zeros(shape), np.zeros(shape)
    corner[0, 0, 0] = middle[1, 2, 2] = 1.0
    for amount in (corner, middle):
        assert step_continuum(amount, rates, 0.1, 7, edges) == (0.0, 0.0)
    assert np.allclose(np.roll(corner, (1, 2, 2), (0, 1, 2)), middle, rtol=1e-12)


def test_what_passes_a_reservoir_is_told_and_balances():
    diffusivity, capacity = medium((6, 5, 4))
    velocity = np.random.default_rng(5).normal(0, 0.3, (3, 6, 5, 4))
    rates = face_rates(diffusivity, capacity, 2.0, velocity_um_per_s=velocity)
    through = [(v[0], v[-1]) for v in (np.moveaxis(velocity[a], a, 0) for a in range(3))]
    edges = edge_rates(diffusivity, capacity, 2.0, [0.0, 2.0, "closed", 0.5, "periodic", "periodic"], through)
    amount = capacity.copy()
    before = amount.sum()
    n = substeps(rates, 50.0, edges=edges)
    left, entered = step_continuum(amount, rates, 50.0 / n, n, edges)
    assert amount.min() >= 0.0
    assert left > 0.1
    assert entered > 0.1
    assert amount.sum() == pytest.approx(before - left + entered, rel=1e-12)


def test_a_reservoir_at_the_concentration_inside_changes_nothing():
    capacity = np.random.default_rng(6).uniform(0.1, 0.3, (3, 3, 3))
    amount = 2.0 * capacity
    edges = edge_rates(1.0, capacity, 1.0, [2.0] * 6)
    step_continuum(amount, face_rates(1.0, capacity, 1.0), 0.05, 50, edges)
    assert np.allclose(amount, 2.0 * capacity, rtol=1e-12)


@pytest.mark.parametrize("sides", [["closed"] * 5, ["open"] * 6, ["periodic", *["closed"] * 5], [-1.0] * 6, [np.nan] * 6])
def test_sides_that_make_no_sense_are_refused(sides):
    with pytest.raises(ValueError, match="sides"):
        edge_rates(1.0, np.ones((2, 2, 2)), 1.0, sides)


@pytest.mark.parametrize("velocity", [np.zeros((2, 2, 2)), np.full((3, 2, 2, 2), np.nan)])
def test_velocities_that_make_no_sense_are_refused(velocity):
    with pytest.raises(ValueError, match="velocity_um_per_s"):
        face_rates(1.0, np.ones((2, 2, 2)), 1.0, velocity_um_per_s=velocity)


def test_a_fingerprint_changes_with_any_bit_and_with_places():
    array = np.random.default_rng(7).random((3, 4, 5))
    other, swapped, zero = array.copy(), array.copy(), np.zeros((3, 4, 5))
    assert fingerprint(array) == fingerprint(other)
    other[1, 2, 3] = np.nextafter(other[1, 2, 3], 1.0)
    swapped[0, 0, 0], swapped[2, 3, 4] = array[2, 3, 4], array[0, 0, 0]
    assert len({fingerprint(each) for each in (array, other, swapped, -array, zero, -zero)}) == 6
