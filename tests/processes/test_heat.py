"""Pennes' balance against closed forms, a focus that holds its target, heated iron, and thermal dose."""

from __future__ import annotations

import numpy as np
import pytest

from tme_sim.processes.base import StateView, Streams
from tme_sim.processes.heat import Focus, Heat, Magnetic, Pulse, equivalent_minutes
from tme_sim.state.errors import InputError
from tme_sim.state.lattice import Patch
from tme_sim.state.state import flatten, restore

CARD = {
    "diffusivity_um2_per_s": 1.4e5,
    "capacity_J_per_mL_K": 3.7,
    "blood_capacity_J_per_mL_K": 3.8,
    "perfusion_per_s": 0.01,
    "blood_C": 37.0,
    "edge": "closed",
    "pulses": (Pulse(start_s=0.0, duration_s=1e12),),
    "focus": None,
    "magnetic": None,
}
LOSS = 0.01 * 3.8 / 3.7
EVERYWHERE = (1e9, 1e9, 1e9)
LONG = 1e9
"""Of a step so long that it is the steady balance: 1/dt is 1e-7 of the loss."""


def heat(state, **more):
    process = Heat(**CARD | more)
    process.prepare(state, None)
    return process


def step(process, state, dt_s=LONG, steps=1):
    for _ in range(steps):
        view = StateView(state, process.reads, process.writes, state.tick * dt_s)
        process.step(view, dt_s, Streams(1, "heat", state.tick))
        state.tick += 1
    return state.fields["temperature_C"]


def power(per_mL, width_um=EVERYWHERE, **more):
    return Focus(width_um=width_um, target_C=None, power_W_per_mL=per_mL, **more)


def test_an_even_source_warms_to_its_power_over_the_bloods_cooling(make_state):
    state = make_state((3, 3, 3))
    np.testing.assert_allclose(step(heat(state, focus=power(0.1)), state) - 37, 0.1 / 3.8 / 0.01, rtol=1e-6)


@pytest.mark.parametrize("h_over_length", [1 / 4, 1 / 8])
def test_a_point_source_falls_as_the_screened_potential(make_state, h_over_length):
    """Pennes in steady state: T − T_b = P/(4π k r) exp(−r/L), L² = k/(w ρ_b c_b), at r = L in second order of the mesh."""
    n = round(8 / h_over_length) + 1
    size = h_over_length * np.sqrt(1.4e5 / LOSS)
    state = make_state((n, n, n), site_um=size)
    rise = step(heat(state, focus=power(1.0, (1.0, 1.0, 1.0))), state) - 37
    watts, conductivity = 1.0 * size**3 * 1e-12, 1.4e5 * 3.7e-12  # W, and W/(µm K)
    r = round(1 / h_over_length)
    expected = watts / (4 * np.pi * conductivity * r * size) * np.exp(-1)
    assert rise[n // 2, n // 2, n // 2 + r] == pytest.approx(expected, rel=0.9 * h_over_length**2 + 1e-3)


def test_between_faces_as_cool_as_blood_it_is_warm_as_the_series_says(make_state):
    """Σ 64/π³ q/(lmn (w + α π² (l² + m² + n²)/a²)) sin sin sin over odd l, m, n at the centre of a cube; h² error."""
    n, size = 21, 300.0
    state = make_state((n, n, n), site_um=size)
    rise = step(heat(state, focus=power(1.0), edge="blood"), state) - 37
    odd = np.arange(1, 60, 2)
    a, b, c = np.meshgrid(odd, odd, odd, indexing="ij")
    sign = (-1.0) ** ((a + b + c - 3) / 2)
    rate = LOSS + 1.4e5 * np.pi**2 * (a**2 + b**2 + c**2) / (n * size) ** 2
    expected = (64 / np.pi**3 * sign / (a * b * c) / rate).sum() / 3.7
    assert rise[n // 2, n // 2, n // 2] == pytest.approx(expected, rel=3e-3)


def test_a_pulse_warms_and_cools_exponentially_to_first_order_of_the_step(make_state):
    errors = []
    for dt_s in (10.0, 5.0):
        state = make_state((2, 2, 2))
        process = heat(state, focus=power(0.1), pulses=(Pulse(start_s=0.0, duration_s=100.0),), step_s=dt_s)
        warm = step(process, state, dt_s, round(100 / dt_s)).copy() - 37
        cool = step(process, state, dt_s, round(100 / dt_s)) - 37
        np.testing.assert_allclose(cool, warm * (1 + LOSS * dt_s) ** (-100 / dt_s), rtol=1e-6)
        errors.append(warm[0, 0, 0] / (0.1 / 3.8 / 0.01 * -np.expm1(-LOSS * 100)) - 1)
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)
    assert abs(errors[1]) < 0.02


def test_a_focus_with_a_target_holds_it_in_every_patch_while_the_pulse_lasts(make_state):
    state = make_state((12, 5, 5), patches=(Patch("rim", 0, 5, 1), Patch("core", 5, 7, 3)))
    focus = Focus(width_um=(60.0, 30.0, 30.0), centre_um=(0.0, 15.0, 0.0), target_C=42.0, power_W_per_mL=None)
    process = heat(state, focus=focus, pulses=(Pulse(start_s=120.0, duration_s=180.0),))
    assert (step(process, state, 60.0, 2) == 37).all()
    for _ in range(3):
        now = step(process, state, 60.0)
        assert now[2, 3, 2] == pytest.approx(42, abs=1e-5)
        assert now[8, 3, 2] == pytest.approx(42, abs=1e-5)
        assert now.max() < 42.0001
    assert 37 < step(process, state, 60.0).max() < 42
    for _ in range(40):
        step(process, state, 60.0)
    assert state.fields["temperature_C"].max() == pytest.approx(37, abs=1e-6)


def test_iron_warms_where_it_is_bound_free_or_in_cells(make_state, add_cells):
    """SAR times its mass, in W; conduction is switched off, so that each voxel keeps its own."""
    state = make_state((1, 1, 3), refinement=2)
    voxel_mL = 7.5**3 * 1e-12
    state.fields["nanoparticle"][1, 0, 0, 0, 0] = 10.0
    state.fields["bound"] = state.empty_field()
    state.fields["bound"][1, 1, 0, 0, 0] = 6.0
    add_cells(state, "macrophages", [2])["lysosome"][0, 1, 1] = 80.0
    more = {"pools": ("body.plasma", "fields.nanoparticle", "fields.bound"), "kinds": ("macrophages",)}
    process = heat(state, magnetic=Magnetic(absorption_W_per_g=200.0), iron_g=1e-15, diffusivity_um2_per_s=1e-9, **more)
    rise = step(process, state) - 37
    expected = np.zeros((2, 2, 6))
    expected[0, 0, 0], expected[:, :, 4:] = 16.0, 10.0
    np.testing.assert_allclose(rise, expected * 1e-15 * 200 / voxel_mL / 3.8 / 0.01, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("celsius", "minutes"), [(43, 1), (44, 2), (45, 4), (42, 1 / 4), (41, 1 / 16), (37, 1 / 4096)])
def test_a_minute_counts_by_the_published_factors(celsius, minutes):
    """R = 1/2 for each degree above 43 and 1/4 below."""
    assert equivalent_minutes(float(celsius), 60.0) == pytest.approx(minutes, rel=1e-12)


def test_the_thermal_dose_of_a_pulse_is_the_sum_over_its_steps(make_state):
    """CEM43 = Σ R^(43 − T) dt with T on its way to the steady state by (1 + w dt)^(−n)."""
    state = make_state()
    process, dt_s = heat(state, focus=power(0.4)), 20.0
    step(process, state, dt_s, 60)
    at = 37 + 0.4 / 3.8 / 0.01 * (1 - (1 + LOSS * dt_s) ** -np.arange(1.0, 61.0))
    expected = sum((0.5 if t > 43 else 0.25) ** (43 - t) * dt_s / 60 for t in at)
    assert state.fields["thermal_dose_min"].item() == pytest.approx(expected, rel=1e-5)


def test_it_goes_on_after_a_restart_to_the_last_bit(make_state):
    make = lambda: make_state((4, 4, 4))  # noqa: E731
    focus = Focus(width_um=(30.0, 30.0, 30.0), target_C=42.0, power_W_per_mL=None)
    whole, first, second = make(), make(), make()
    step(heat(whole, focus=focus), whole, 60.0, 6)
    step(heat(first, focus=focus), first, 60.0, 3)
    fresh = heat(second, focus=focus)
    restore(second, {name: data.copy() for name, data in flatten(first).items()}, first.tick)
    step(fresh, second, 60.0, 3)
    for name, data in flatten(whole).items():
        np.testing.assert_array_equal(data, flatten(second)[name], err_msg=name)


def test_what_cannot_be_heated_is_told(make_state):
    with pytest.raises(InputError, match="iron_fraction is 0"):
        Heat(**CARD | {"magnetic": Magnetic(absorption_W_per_g=100.0)})
    with pytest.raises(InputError, match=r"pulses\[0\].duration 90 s: must be a whole multiple"):
        Heat(**CARD | {"pulses": (Pulse(start_s=0.0, duration_s=90.0),), "step_s": 60.0})
    with pytest.raises(InputError, match="either target or power"):
        Focus(width_um=EVERYWHERE, target_C=42.0, power_W_per_mL=1.0)
