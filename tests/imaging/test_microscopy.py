"""Microscopes: optics and fluorophores by their closed forms, carriers placed without loss, and what a stack must tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.signal import fftconvolve

from tme_sim.imaging.anatomy import KINDS, draw
from tme_sim.imaging.box import choose_box
from tme_sim.imaging.detector import Detector, exposure_s
from tme_sim.imaging.fluorophore import glow_of_carriers, glow_of_drug
from tme_sim.imaging.frame import COMPARTMENTS, Frame
from tme_sim.imaging.microscopy import Microscopy
from tme_sim.imaging.optics import Objective, Optics, attenuation, blur, project
from tme_sim.imaging.placement import Placed, evenly, in_voxels, lend, place
from tme_sim.numerics.stamp import distance_to_capsules, draw_balls
from tme_sim.state.errors import InputError
from tme_sim.state.fluorescence import Fluorescence, PHSwitch
from tme_sim.state.label import Detachment, Label

DYE = Fluorescence(dyes=10, extinction_per_M_cm=2e5, quantum_yield=0.25, excitation_um=0.65, emission_um=0.68)
LABEL = Label(name="dye", detachment=Detachment(), fluorescence=DYE)
DETECTOR = Detector(bits=16, gain=2.0, offset=100.0, read_noise=1.0, background=2.0)


@pytest.fixture
def frame(make_frame: Callable[..., Frame]) -> Frame:
    return make_frame()


def microscope(**changes: Any) -> Microscopy:
    optics = {"optics": "confocal", "aperture": 0.5, "refractive_index": 1.33, "depth_um": 0.0, "attenuation_per_um": 0.0}
    field = {"pixel_um": 0.75, "slice_um": 3.0, "size_um": (30.0, 60.0, 60.0), "channels": ("particles",), "vessel_stain": "wall"}
    light = {
        "excitations_per_s": 1e6,
        "efficiency": 0.05,
        "exposure_s": 2e-5,
        "longest_exposure_s": 1.0,
        "stain_electrons": 200.0,
    }
    settings: dict[str, Any] = {**optics, **field, **light, "detector": DETECTOR, "label": LABEL, "diameter_um": 0.05}
    return Microscopy(**{**settings, **changes})


def half_width(profile: np.ndarray, step: float) -> float:
    """Full width at half maximum of one half of a symmetric profile, its maximum first."""
    below = int(np.argmax(profile < profile[0] / 2))
    share = (profile[below - 1] - profile[0] / 2) / (profile[below - 1] - profile[below])
    return 2 * (below - 1 + share) * step


@pytest.mark.parametrize("aperture", [0.2, 0.75, 1.1])
def test_a_wide_field_spot_is_as_wide_as_the_airy_disc_and_as_high_as_the_pupil_says(aperture: float) -> None:
    lens, wave = Objective(aperture=aperture, index=1.33), 0.52
    step = 0.1 * wave / aperture
    spot = lens.widefield(wave, np.zeros(1), 129, step)[0]
    assert half_width(spot[64, 64:], step) == pytest.approx(0.51 * wave / aperture, rel=0.03)
    heights = np.linspace(0, lens.axial_um(wave), 41)
    on_axis = lens.widefield(wave, heights, 257, step)[:, 128, 128]
    assert half_width(on_axis, heights[1]) == pytest.approx(lens.axial_um(wave), rel=0.03)


def test_the_light_of_a_point_on_a_plane_is_the_same_at_any_defocus() -> None:
    lens = Objective(aperture=0.8, index=1.33)
    planes = lens.widefield(0.52, np.linspace(-10, 10, 9), 255, 0.13)
    assert planes.sum(axis=(1, 2)) == pytest.approx(1.0, rel=1e-3)
    assert planes[0].max() < 0.02 * planes[4].max()  # and it did spread


def test_the_centre_of_a_defocused_spot_is_the_integral_over_the_pupil() -> None:
    wave, index, aperture = 0.5, 1.33, 0.7
    k = np.linspace(0, aperture / wave, 4001)
    weight = np.gradient(k**2)
    weight[[0, -1]] /= 2
    heights = np.array([0.0, 1.0, 2.5])
    phases = np.exp(2j * np.pi * heights[:, None] * np.sqrt((index / wave) ** 2 - k**2))
    exact = np.abs(phases @ weight) ** 2
    seen = Objective(aperture=aperture, index=index).widefield(wave, heights, 301, 0.15)[:, 150, 150]
    assert seen / seen[0] == pytest.approx(exact / exact[0], rel=0.01, abs=1e-3)


def test_a_confocal_spot_is_excitation_times_detection() -> None:
    lens, step = Objective(aperture=0.8, index=1.33), (0.5, 0.1, 0.1)
    small = Optics(kind="confocal", objective=lens, pinhole_airy=0.12).psf(0.49, 0.52, step, reach_um=1.0)
    z, side = np.arange(-2, 3) * 0.5, small.shape[1]
    product = lens.widefield(0.49, z, side, 0.1) * lens.widefield(0.52, z, side, 0.1)
    assert small / small.max() == pytest.approx(product / product.max(), abs=2e-3)
    wide = Optics(kind="confocal", objective=lens, pinhole_airy=12).psf(0.49, 0.52, step, reach_um=1.0)
    assert wide.max() == pytest.approx(1.0, abs=0.03)  # an open pinhole lets all through


def test_two_photons_excite_as_the_square_and_a_sheet_cuts_off_what_is_out_of_it() -> None:
    lens, step = Objective(aperture=0.8, index=1.33), (0.5, 0.2, 0.2)
    two = Optics(kind="two_photon", objective=lens).psf(0.9, 0.52, step, reach_um=1.0)
    one = lens.widefield(0.9, np.arange(-2, 3) * 0.5, two.shape[1], 0.2)
    assert two == pytest.approx((one / one.max()) ** 2)
    sheet = Optics(kind="light_sheet", objective=lens, sheet_um=4.0).psf(0.49, 0.52, step)
    assert half_width(sheet.sum(axis=(1, 2))[len(sheet) // 2 :], 0.5) == pytest.approx(4.0, rel=0.02)


def test_blurring_is_a_convolution_with_a_mirrored_border_that_loses_no_light() -> None:
    random = np.random.default_rng(0)
    light, psf = random.random((6, 20, 24)), random.random((5, 7, 9))
    exact = fftconvolve(np.pad(light, [(2, 2), (3, 3), (4, 4)], mode="symmetric"), psf, mode="valid")
    assert blur(light, psf) == pytest.approx(exact, rel=1e-5)
    assert blur(light, psf, planes=2) == pytest.approx(exact.reshape(3, 2, 20, 24).mean(axis=1), rel=1e-5)
    symmetric = sum(np.flip(psf, axes) for axes in ((), 0, 1, 2, (0, 1), (0, 2), (1, 2), (0, 1, 2)))
    assert blur(light, symmetric).sum(dtype=np.float64) == pytest.approx(light.sum() * symmetric.sum(), rel=1e-5)
    planes = [fftconvolve(np.pad(light[i], [(3, 3), (4, 4)], mode="symmetric"), psf[i], mode="valid") for i in range(5)]
    assert project(light[:5], psf) == pytest.approx(np.sum(planes, axis=0), rel=1e-5)


def test_light_is_lost_exponentially_with_depth() -> None:
    assert attenuation(np.array([0.0, 10.0, 100.0]), 0.02) == pytest.approx([1, np.exp(-0.2), np.exp(-2)])


def test_counts_have_the_mean_and_the_spread_of_photons_and_readout() -> None:
    electrons = np.full(40_000, 30.0)
    counts = DETECTOR.read(electrons, np.random.default_rng(1))
    variance = 2.0**2 * (32 + 1.0) + 1 / 12  # Poisson, readout, rounding
    assert counts.mean() == pytest.approx(DETECTOR.mean_counts(electrons)[0], abs=3 * np.sqrt(variance / electrons.size))
    assert counts.var() == pytest.approx(variance, rel=3 * np.sqrt(2.1 / electrons.size))
    assert DETECTOR.above_background(DETECTOR.mean_counts(electrons)) == pytest.approx(electrons)
    assert DETECTOR.read(np.full(9, 1e6), np.random.default_rng(1)).max() == 2**16 - 1


def test_an_operator_exposes_the_brightest_to_half_of_full_scale_but_waits_no_longer_than_that() -> None:
    assert exposure_s(np.full(100, 10.0), DETECTOR, 1e9) * 10 == pytest.approx(DETECTOR.full_scale / 2)
    assert exposure_s(np.full(100, 10.0), DETECTOR, 3.0) == 3.0
    assert exposure_s(np.zeros(100), DETECTOR, 3.0) == 3.0


def test_balls_part_at_the_plane_between_them_and_capsules_know_their_distance() -> None:
    ball, depth = draw_balls([[5.0, 5.0, 4.0], [5.0, 5.0, 8.0]], [3.0, 3.0], (100, 100, 130), (0.1, 0.1, 0.1))
    cap = np.pi * (3 - 2) ** 2 * (3 * 3 - 1) / 3
    assert np.sum(ball == 0) * 1e-3 == pytest.approx(4 / 3 * np.pi * 27 - cap, rel=0.01)
    assert np.flatnonzero(ball[50, 50] == 1).min() == 60
    assert depth[50, 50, 59] == pytest.approx(0.05, abs=1e-3)  # the plane is a surface of both
    assert depth[50, 50, 39] == pytest.approx(3 - np.sqrt(3) * 0.05, abs=1e-3)
    far = distance_to_capsules([[[5.0, 5.0, 2.0], [5.0, 5.0, 8.0]]], [1.0], (100, 100, 100), (0.1, 0.1, 0.1), 2.0)
    assert far[50, 65, 50] == pytest.approx(np.hypot(1.55, 0.05) - 1, abs=1e-5)
    assert far[0, 0, 0] == 2.0
    assert np.sum(far < 0) * 1e-3 == pytest.approx(np.pi * 6 + 4 / 3 * np.pi, rel=0.01)


def test_a_dye_at_its_quenching_concentration_gives_half_and_released_all() -> None:
    quenched = replace(DYE, quench_mM=10 / (np.pi * 0.05**3 / 6 * 6.02214076e5), dequenched_by_release=True)
    assert quenched.unquenched(10, 0.05) == pytest.approx(0.5)
    assert quenched.unquenched(1, 0.05) == pytest.approx(1 / 1.1)
    assert DYE.unquenched(1e6, 0.05) == 1.0


@pytest.mark.parametrize(("bright", "acid", "base"), [("acid", 1.0, 0.1), ("base", 0.1, 1.0)])
def test_a_switch_follows_pH_both_ways(bright: Any, acid: float, base: float) -> None:
    switch = PHSwitch(midpoint_pH=6.9, hill=20, dark_share=0.1, bright=bright)
    assert switch.share([5.0, 6.9, 8.0]) == pytest.approx([acid, 0.55, base], abs=1e-6)


def test_light_of_carriers_is_their_number_times_yield_and_form_label_and_pH_count(frame: Frame) -> None:
    box = choose_box(frame.lattice, None, (30, 60, 60), (6, 12, 12))
    anatomy = draw(frame, box, 2000.0)
    there = np.zeros(1, np.int64)
    whole, opened = (Placed("extracellular", form, there, np.full(1, 4.0)) for form in ("loaded", "released"))

    def light(placed: Placed, dye: Fluorescence, seen: Frame = frame) -> float:
        return glow_of_carriers(seen, anatomy, [placed], dye, 0.05).light.sum()

    one = 4 * 10 * 2e5 * 0.25 / 1e5
    assert light(whole, DYE) == pytest.approx(one)
    latched = replace(DYE, quench_mM=1e-9, dequenched_by_release=True)
    acid = replace(frame, fields={**frame.fields, "pH": np.full(frame.lattice.voxels, 6.0)})
    assert light(whole, latched, acid) < 1e-6  # what has not been opened stays dark in acid
    assert light(opened, latched) == pytest.approx(one)  # what has been opened shines wherever it goes
    reversible = replace(DYE, switch=PHSwitch(midpoint_pH=6.9, hill=20, bright="acid"))
    assert light(whole, reversible, acid) == pytest.approx(one)
    assert light(whole, reversible) < 1e-3
    assert light(whole, DYE, replace(frame, label_on={"tissue": 0.5})) == pytest.approx(one / 2)


def test_light_of_drug_is_its_molecules_and_rises_when_it_leaves_the_carrier(frame: Frame) -> None:
    box = choose_box(frame.lattice, None, (30, 60, 60), (6, 12, 12))
    anatomy, zero = draw(frame, box, 2000.0), np.zeros(frame.lattice.voxels)
    fields = {"drug_mM": zero + 0.1, "drug_bound_amol": zero + 2.0, "drug_in_cells_amol": zero + 3.0}
    drugged = replace(frame, fields={**frame.fields, **fields})
    dye = Fluorescence(extinction_per_M_cm=1e5, quantum_yield=1.0, excitation_um=0.4, emission_um=0.5, quench_mM=1.0)
    glow = glow_of_drug(drugged, anatomy, [], dye, None, 0.1)
    free = 0.1 * (1 - 0.3 - frame.fields["lumen_fraction"]).sum() * 15**3 + 2 * 32
    assert glow.share["extracellular"] == pytest.approx(free * 6.02214076e5, rel=1e-4)
    assert glow.share["tumor_cells"] == pytest.approx(3 * 32 * 6.02214076e5, rel=1e-4)
    held = glow_of_drug(frame, anatomy, [Placed("blood", "loaded", np.zeros(1, np.int64), np.ones(1))], dye, 0.01, 0.1)
    assert held.share["blood"] == pytest.approx(0.01 * 6.02214076e5 * dye.unquenched(0.01 * 6.02214076e5, 0.1), rel=1e-5)


@pytest.mark.parametrize("number", [20.0, 0.37, 21.7])
def test_placing_loses_no_carrier_and_puts_each_where_it_can_be(make_frame: Callable[..., Frame], number: float) -> None:
    frame = make_frame(number)
    box = choose_box(frame.lattice, None, (30, 60, 60), (12, 24, 24))
    anatomy = draw(frame, box, 2000.0)
    found: dict[str, float] = {}
    where = {"blood": anatomy.lumen, "endothelium": anatomy.endothelium, "extracellular": anatomy.outside}
    for here in place(frame, anatomy):
        found[here.compartment] = found.get(here.compartment, 0.0) + here.number.sum()
        assert (here.number >= 0).all()
        if here.compartment in where and here.number.sum() > 0:
            inside = here.number[where[here.compartment].ravel()[here.point]].sum() / here.number.sum()
            assert inside > (0.99 if here.compartment == "extracellular" else 0.85)  # a voxel may hold none of its lumen
    for name in COMPARTMENTS:
        assert found.get(name, 0.0) == pytest.approx(frame.carriers[name].sum(), rel=1e-12)
    kind = {row: KINDS[k] for row, k in enumerate(anatomy.kind)}
    for here in place(frame, anatomy):
        if here.compartment == "macrophages":
            cells = anatomy.cell.ravel()[here.point]
            own = here.number[[cell >= 0 and kind[cell] == "macrophages" for cell in cells.tolist()]].sum()
            assert own > 0.9 * here.number.sum()


def test_what_arrested_phagocytes_hold_is_at_the_wall(frame: Frame) -> None:
    voxel = int(np.ravel_multi_index((1, 1, 2), frame.lattice.voxels))
    cells = pd.DataFrame({"voxel": [voxel], "load_loaded": [100.0], "load_released": [0.0]})
    blood = np.zeros((2, *frame.lattice.voxels))
    blood[0].flat[voxel] = 100.0
    seen = replace(frame, agents={**frame.agents, "arrested": cells}, carriers={**frame.carriers, "blood": blood})
    anatomy = draw(seen, choose_box(frame.lattice, None, (30, 60, 60), (12, 24, 24)), 2000.0)
    there = [here for here in place(seen, anatomy) if here.compartment == "blood" and here.number.sum() > 0]
    assert sum(here.number.sum() for here in there) == pytest.approx(100)
    assert all((np.abs(anatomy.wall_um.ravel()[here.point]) <= 3 + 3).all() for here in there)
    spread = np.concatenate(
        [np.stack(np.unravel_index(here.point, anatomy.box.shape), 1) * anatomy.box.step_um for here in there]
    )
    assert (np.ptp(spread, axis=0) < 7).all()  # one cell


def test_who_lends_to_neighbours_keeps_the_sum_and_only_they_get_some() -> None:
    amount = np.zeros((3, 3, 5))
    amount[1, 1, 2] = 1000.5
    room = np.ones(45, np.int64)
    room[np.ravel_multi_index((1, 1, 3), amount.shape)] = 0
    lent = lend(amount, room, (1, 2))
    assert lent.sum() == pytest.approx(1000.5)
    assert lent[1, 1, 3] == lent[:, :, [0, 4]].sum() == 0
    assert lent[1, 1, 2] == pytest.approx(1000 * 8 / 60, abs=3 * np.sqrt(1000 * 8 / 60) + 1)


def test_carriers_without_a_place_of_their_own_are_anywhere_in_their_voxel(frame: Frame) -> None:
    box = choose_box(frame.lattice, None, (15, 15, 15), (5, 5, 5))
    point, number = in_voxels(box, np.full((1, 1, 1), 7.25), np.zeros(box.shape, bool), (3, 4))
    assert number.sum() == 7.25
    assert point.max() < 125


def test_cells_stay_in_their_place_and_are_about_as_large_as_told(frame: Frame) -> None:
    box = choose_box(frame.lattice, None, (30, 60, 60), (12, 24, 24))
    anatomy = draw(
        replace(frame, vessels=None, fields={**frame.fields, "lumen_fraction": np.zeros(frame.lattice.voxels)}), box, 2000.0
    )
    again = draw(replace(frame, time_s=7200.0), choose_box(frame.lattice, None, (30, 60, 60), (24, 24, 24)), 2000.0)
    assert np.array_equal(anatomy.centre_um, again.centre_um)
    assert np.sum(anatomy.cell >= 0) * np.prod(box.step_um) == pytest.approx(16 * 2000.0, rel=0.25)
    assert again.lumen.sum() * again.box.step_um[0] ** 3 == pytest.approx(np.pi * 16 * 60, rel=0.03)


def test_without_a_graph_the_lumen_is_where_its_fraction_is_high(frame: Frame) -> None:
    box = choose_box(frame.lattice, None, (30, 60, 60), (6, 12, 12))
    anatomy = draw(replace(frame, vessels=None), box, 2000.0)
    assert anatomy.lumen.mean() == pytest.approx(frame.fields["lumen_fraction"].mean(), rel=0.1)  # ties
    assert anatomy.lumen[6:].sum() > 0.9 * anatomy.lumen.sum()


@pytest.mark.parametrize("optics", ["confocal", "two_photon", "light_sheet", "widefield"])
def test_a_stack_tells_how_much_there_was_and_is_unbiased(frame: Frame, optics: Any) -> None:
    scope = microscope(optics=optics, sheet_um=4.0)
    (image,) = scope.acquire(frame)
    assert image.data.shape == (1, 10, 80, 80)
    assert image.voxel_um == (3.0, 0.75, 0.75)
    assert image.origin_um == (1.5, 0.375, 0.375)
    light = DETECTOR.above_background(image.layers["noise_free"])
    assert light.sum() == pytest.approx(image.layers["truth"].sum(dtype=np.float64) / DETECTOR.gain, rel=1e-4)
    spread = np.sqrt(np.sum(light + DETECTOR.background + DETECTOR.read_noise**2))
    assert abs(DETECTOR.above_background(image.data).sum() - light.sum()) < 4 * spread
    wave = {"two_photon": 2 * 0.65 / np.sqrt(2), "confocal": 0.65 * 0.68 / np.hypot(0.65, 0.68)}.get(optics, 0.68)
    assert image.acquisition["psf_um"][1] == pytest.approx(0.514 * wave / 0.5)
    true = [q.value for q in image.quantities if q.quantity == "particles_percent_true"]
    assert sum(true) == pytest.approx(100)
    assert np.array_equal(image.data, scope.acquire(frame)[0].data)
    assert not np.array_equal(image.data, scope.acquire(replace(frame, seed=8))[0].data)


def test_light_from_depth_is_dimmer_by_the_stated_length(frame: Frame) -> None:
    settings = {"slice_um": 15.0, "pixel_um": 3.0, "optics": "widefield"}
    clear, murky = (
        DETECTOR.above_background(
            microscope(attenuation_per_um=mu, depth_um=50.0, **settings).acquire(frame)[0].layers["noise_free"]
        )
        for mu in (0.0, 0.01)
    )
    assert murky.sum() / clear.sum() == pytest.approx(np.exp(-0.01 * 65), rel=0.02)


def test_every_channel_shows_its_own_and_regions_say_what_is_where(frame: Frame) -> None:
    names = ("particles", "vessels", "nuclei", "macrophages")
    (image,) = microscope(channels=names, slice_um=5.0).acquire(frame)
    assert image.channels == names
    assert image.regions is not None
    light = {name: image.layers["truth"][i] for i, name in enumerate(names)}
    number = {name: n for n, name in image.region_names.items()}
    assert light["vessels"][image.regions == number["vessel wall"]].mean() > 5 * light["vessels"][image.regions > 3].mean()
    macrophages = image.regions == number["macrophages"]
    assert light["macrophages"][macrophages].sum() > 0.8 * light["macrophages"].sum()
    assert light["nuclei"][image.regions <= 3].sum() < 0.1 * light["nuclei"].sum()


def test_carriers_and_drug_may_be_seen_at_once(frame: Frame) -> None:
    zero = np.zeros(frame.lattice.voxels)
    fields = {**frame.fields, "drug_mM": zero + 1e-3, "drug_bound_amol": zero, "drug_in_cells_amol": zero}
    (image,) = microscope(channels=("particles", "drug"), drug=DYE, slice_um=15.0).acquire(replace(frame, fields=fields))
    shares = {q.region: q.value for q in image.quantities if q.quantity == "drug_percent_true"}
    assert shares["outside cells"] == pytest.approx(100.0)
    assert sum(shares.values()) == pytest.approx(100.0)


def test_optics_finer_than_the_voxel_need_carriers_placed_within_it(frame: Frame) -> None:
    with pytest.raises(InputError, match=r"sub_lattice.*finer than the lattice's voxels of 15 um"):
        microscope(placement="none").acquire(frame)
    (coarse,) = microscope(placement="none", aperture=0.02, optics="widefield", pixel_um=5.0, slice_um=15.0).acquire(frame)
    assert coarse.layers["truth"].sum() > 0
    total = sum(here.number.sum() for here in evenly(frame, choose_box(frame.lattice, None, (30, 60, 60), (1, 2, 2))))
    assert total == pytest.approx(sum(amount.sum() for amount in frame.carriers.values()), rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"label": None}, "nothing of it glows"),
        ({"channels": ("drug",)}, "drug.fluorescence"),
        ({"aperture": 1.4}, "below the refractive index"),
        ({"center_um": (0.0, 0.0, 900.0)}, "within the lattice of 30, 60, 60 um"),
        ({"pixel_um": 0.021, "slice_um": 0.11}, "needs up to 1.5e\\+08"),
        ({"channels": ()}, "at least one colour"),
        ({"size_um": (1.0,)}, "three lengths"),
    ],
)
def test_what_a_microscope_cannot_do_is_told(frame: Frame, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        microscope(**changes).acquire(frame)


def test_a_picture_without_carriers_is_flagged_as_noise(make_frame: Callable[..., Frame]) -> None:
    (image,) = microscope(exposure_s=1e-9).acquire(make_frame(1e-6))
    assert {q.flag for q in image.quantities if q.quantity == "particles_mean"} == {"below noise"}
