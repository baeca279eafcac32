"""Diffuse light against closed forms, and the camera over a mouse: what depth, wavelength and noise do to a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import pi
from typing import Any

import numpy as np
import pytest

from tme_sim.files.image import Image
from tme_sim.imaging.detector import Detector
from tme_sim.imaging.diffuse_optics import VIEWS, Medium, View, attenuation_per_um, folded, half_space_escape
from tme_sim.imaging.frame import Frame
from tme_sim.imaging.labels import DETACHED
from tme_sim.imaging.optical_properties import SKIN, SOFT, boundary_factor, check_wavelength, water_per_um
from tme_sim.imaging.reflectance import UNSEEN, Reflectance
from tme_sim.state.errors import InputError
from tme_sim.state.fluorescence import Fluorescence
from tme_sim.state.label import Detachment, Label

DYE = Fluorescence(dyes=10, extinction_per_M_cm=2.4e5, quantum_yield=0.28, excitation_um=0.75, emission_um=0.776)
LABEL = Label(name="dye", detachment=Detachment(), fluorescence=DYE)
DETECTOR = Detector(bits=16, gain=1.0, offset=100.0, read_noise=3.0, background=5.0)
A = boundary_factor(1.4)
ABOVE = View(0, upper=True)
SCATTERING = 1e-3


def medium(absorption_per_um: float, inside: np.ndarray, voxel_um: float, scattering_per_um: float = SCATTERING) -> Medium:
    """The same tissue wherever there is any."""
    absorption, scattering = np.full(inside.shape, absorption_per_um), np.full(inside.shape, scattering_per_um)
    return Medium(absorption, scattering, inside, voxel_um, A)


def half_space(layers: int, width: int) -> np.ndarray:
    inside = np.ones((layers + 1, width, width), bool)
    inside[-1] = False
    return inside


def camera(**changes: Any) -> Reflectance:
    settings: dict[str, Any] = {
        "phantom": "mouse",
        "grid_um": 1000.0,
        "view": "right",
        "depth_um": 0.0,
        "saturation": 0.7,
        "refractive_index": 1.4,
        "band_um": (0.65, 0.95),
        "irradiance_per_um2_s": 2e8,
        "autofluorescence_per_um": 0.0,
        "efficiency": 1e-3,
        "exposure_s": None,
        "longest_exposure_s": 10.0,
        "detector": DETECTOR,
        "label": LABEL,
        "diameter_um": 0.065,
        "density_g_per_mL": 1.05,
    }
    return Reflectance(**(settings | changes))


def value(image: Image, quantity: str, region: str = "tumor") -> float:
    (found,) = (q.value for q in image.quantities if (q.region, q.quantity) == (region, quantity))
    return found


@pytest.mark.parametrize("absorption", [2e-5, 1e-5])
def test_light_of_a_point_falls_off_as_in_an_infinite_medium(absorption: float) -> None:
    step = 500.0
    tissue = medium(absorption, np.ones((48, 48, 48), bool), step)  # an eighth: the others are its mirror images
    source = np.zeros(tissue.inside.shape)
    source[0, 0, 0] = 1 / 8 / step**3
    at = (np.arange(48) + 0.5) * step
    distance = np.sqrt(at[:, None, None] ** 2 + at[:, None] ** 2 + at**2)
    decay, diffusion = attenuation_per_um(absorption, SCATTERING), 1 / (3 * (absorption + SCATTERING))
    expected = np.exp(-decay * distance) / (4 * pi * diffusion * distance)
    there = (distance > 3 / SCATTERING) & (distance < 12e3)
    np.testing.assert_allclose(tissue.fluence(source)[there], expected[there], rtol=0.03)


@pytest.mark.parametrize(("absorption", "step", "layers"), [(1e-6, 100.0, 1500), (2e-5, 100.0, 400)])
@pytest.mark.parametrize("depth", [10, 30])
def test_half_space_lets_out_what_the_closed_form_says(absorption: float, step: float, layers: int, depth: int) -> None:
    tissue = medium(absorption, half_space(layers, 2), step)
    source = np.zeros(tissue.inside.shape)
    source[layers - 1 - depth] = 1.0
    fluence = tissue.fluence(source)
    below = (depth + 0.5) * step
    share = float((tissue.escape_per_um * fluence).sum() / source.sum())
    assert share == pytest.approx(half_space_escape(absorption, SCATTERING, below, A), rel=1e-3)
    decay, beyond = attenuation_per_um(absorption, SCATTERING), 2 * A / (3 * (absorption + SCATTERING))
    extrapolated = (np.exp(-decay * below) + np.exp(-decay * (below + 2 * beyond))) / 2
    assert share == pytest.approx(extrapolated, rel=1e-3 + (decay * beyond) ** 3 / 3)  # 1e-3 where both boundaries are one
    assert tissue.exitance(fluence, ABOVE).sum() * step**2 == pytest.approx(share * source.sum() * step**3, rel=1e-9)


def ball(radius: float, cells: int) -> np.ndarray:
    at = np.arange(cells) - (cells - 1) / 2
    return np.asarray(at[:, None, None] ** 2 + at[:, None] ** 2 + at**2 <= radius**2)


def test_all_light_is_absorbed_or_leaves() -> None:
    inside = ball(9.3, 22)
    random = np.random.default_rng(3)
    tissue = Medium(random.uniform(1e-6, 1e-4, inside.shape), random.uniform(5e-4, 2e-3, inside.shape), inside, 700.0, A)
    source = random.uniform(0, 1, inside.shape) * inside
    fluence = tissue.fluence(source)
    lost = ((tissue.absorption_per_um + tissue.escape_per_um) * fluence)[inside].sum()
    assert lost == pytest.approx(source.sum(), rel=1e-5)
    assert not fluence[~inside].any()


def test_a_round_body_lets_out_what_its_true_surface_would() -> None:
    radius, step, absorption = 10.0, 500.0, 1e-5
    inside = ball(radius, 25)
    tissue = medium(absorption, inside, step)
    source = np.zeros(inside.shape)
    source[12, 12, 12] = 1 / step**3
    share = float((tissue.escape_per_um * tissue.fluence(source)).sum() * step**3)
    edge = (inside.sum() * 3 / (4 * pi)) ** (1 / 3) * step
    decay, diffusion = attenuation_per_um(absorption, SCATTERING), 1 / (3 * (absorption + SCATTERING))
    beyond, ratio = 2 * A * diffusion, 1 - 2 * A * diffusion / edge
    wave = np.exp(-decay * edge)
    part = -wave * (ratio - beyond * decay) / (ratio * np.sinh(decay * edge) + beyond * decay * np.cosh(decay * edge))
    fluence = (wave + part * np.sinh(decay * edge)) / (4 * pi * diffusion * edge)
    assert share == pytest.approx(4 * pi * edge**2 * fluence / (2 * A), rel=0.02)


def test_a_beam_is_scattered_once_by_the_albedo_of_what_it_meets() -> None:
    tissue = medium(5e-5, half_space(300, 2), 100.0)
    source = tissue.first_scattering(3.0, ABOVE)
    assert source.sum() * 100.0 / 4 == pytest.approx(3.0 * SCATTERING / (SCATTERING + 5e-5), rel=1e-9)
    assert source[299, 0, 0] / source[298, 0, 0] == pytest.approx(np.exp((SCATTERING + 5e-5) * 100.0), rel=1e-9)


def test_amounts_at_the_edge_move_into_tissue_and_none_is_lost() -> None:
    inside = ball(3.0, 9)
    amounts = np.random.default_rng(1).uniform(0, 1, inside.shape)
    moved = folded(amounts, inside)
    assert moved.sum() == pytest.approx(amounts.sum(), rel=1e-12)
    assert not moved[~inside].any()
    np.testing.assert_array_equal(folded(amounts * inside, inside), amounts * inside)


def test_tissue_is_as_deep_for_light_as_is_told() -> None:
    deep = {
        wave: 1e-3 / attenuation_per_um(SOFT.absorption_per_um(wave, 0.04, 0.7), SOFT.scattering_per_um(wave))
        for wave in (0.8, 1.064, 1.3, 1.45, 1.55)
    }
    for wave, told_mm in {0.8: 4.0, 1.3: 2.0, 1.55: 0.5}.items():  # I40
        assert deep[wave] == pytest.approx(told_mm, rel=0.25)
    assert deep[1.064] > deep[0.8] > deep[1.3] > deep[1.55] > deep[1.45]
    assert water_per_um(1.3) * 1e4 == pytest.approx(1.35, rel=0.01)
    assert SKIN.scattering_per_um(0.5) * 1e4 == pytest.approx(46.0)
    assert boundary_factor(1.0) == pytest.approx(1.0, abs=0.03)
    assert boundary_factor(1.4) == pytest.approx(2.955, abs=0.01)


def test_beyond_1000_nm_less_light_comes_out_of_a_sharper_spot() -> None:
    """Of a point 4 mm deep water takes light and sharpens the rest; at 1064 nm there is little of it, and no sharper spot."""
    step, seen = 500.0, {}
    for wave in (0.8, 1.064, 1.3, 1.55):
        tissue = medium(SOFT.absorption_per_um(wave, 0.04, 0.7), half_space(30, 30), step, SOFT.scattering_per_um(wave))
        source = np.zeros(tissue.inside.shape)
        source[30 - 1 - 8, 0, 0] = 1 / step**3
        spot = tissue.exitance(tissue.fluence(source), ABOVE)
        below = int(np.argmax(spot[0] < spot[0, 0] / 2))
        share = (spot[0, below - 1] - spot[0, 0] / 2) / (spot[0, below - 1] - spot[0, below])
        seen[wave] = spot.sum(), (below - 1 + share) * step
    bright, wide = ({wave: pair[i] for wave, pair in seen.items()} for i in range(2))
    assert bright[1.064] > bright[0.8] > 2 * bright[1.3] > 100 * bright[1.55]
    assert wide[1.55] < 0.6 * wide[0.8]
    assert wide[1.3] < wide[0.8] < wide[1.064]


@pytest.fixture(scope="module", name="pictures")
def _pictures(make_mouse_frame: Callable[..., Frame]) -> dict[float, Image]:
    frame = make_mouse_frame()
    return {depth: camera(depth_um=1e3 * depth).acquire(frame)[0] for depth in (0.0, 1.0, 2.0)}


def test_contrast_sinks_with_the_depth_under_the_skin(pictures: dict[float, Image]) -> None:
    contrast = {depth: value(image, "tumor_to_background") for depth, image in pictures.items()}
    assert 2 < contrast[2.0] < 0.95 * contrast[0.0] < value(pictures[0.0], "tumor_to_background_true")
    assert contrast[2.0] < contrast[1.0] < contrast[0.0]
    radiance = {depth: value(image, "radiance") for depth, image in pictures.items()}
    assert radiance[0.0] > 1.3 * radiance[1.0] > 2 * radiance[2.0]
    assert value(pictures[2.0], "contrast_to_noise") < value(pictures[0.0], "contrast_to_noise")


def test_a_picture_is_one_plane_that_touches_the_body(pictures: dict[float, Image]) -> None:
    image = pictures[0.0]
    assert image.data.shape[2] == 1
    assert image.modality == "optical"
    assert image.region_names[int(image.regions.max())] == "body"  # type: ignore[union-attr]
    bright = image.layers["noise_free"] * (image.regions == 1)
    where = np.unravel_index(int(np.argmax(bright)), bright.shape)
    outline = np.argwhere(image.regions == 1).mean(axis=0)
    assert np.abs(np.array(where) - outline).max() < 4
    noise = image.data - image.layers["noise_free"]
    assert abs(float(noise.mean())) < 0.01 * float(image.data.mean())
    assert 0 < float(noise.std()) < 0.05 * float(image.data.max())


def test_light_is_of_the_seed_and_in_proportion_to_the_dye(
    pictures: dict[float, Image], make_mouse_frame: Callable[..., Frame]
) -> None:
    (again,) = camera().acquire(make_mouse_frame())
    assert np.array_equal(again.data, pictures[0.0].data)
    twice = Label(name="dye", detachment=Detachment(), fluorescence=replace(DYE, dyes=20))
    (more,) = camera(label=twice).acquire(make_mouse_frame(seed=5))
    (less,) = camera(autofluorescence_per_um=0.0).acquire(make_mouse_frame())
    np.testing.assert_allclose(more.layers["noise_free"], 2 * less.layers["noise_free"], rtol=1e-5)
    np.testing.assert_allclose(more.layers["truth"], 2 * less.layers["truth"], rtol=1e-5)
    assert not np.array_equal(more.data, less.data)


def test_tissues_own_light_hides_the_dyes(pictures: dict[float, Image], make_mouse_frame: Callable[..., Frame]) -> None:
    (hidden,) = camera(autofluorescence_per_um=1e-8).acquire(make_mouse_frame())
    assert 1 < value(hidden, "tumor_to_background") < 0.8 * value(pictures[0.0], "tumor_to_background")
    assert value(hidden, "radiance", "body") > 3 * value(pictures[0.0], "radiance", "body")


def test_a_tumor_without_dye_is_below_noise(make_mouse_frame: Callable[..., Frame]) -> None:
    (dark,) = camera(depth_um=2e3, irradiance_per_um2_s=1.0).acquire(make_mouse_frame())
    assert {q.flag for q in dark.quantities if q.quantity == "contrast_to_noise"} == {UNSEEN}


def test_a_carrier_shines_as_quenching_and_ph_leave_it() -> None:
    crowded = replace(DYE, quench_mM=0.1, dequenched_by_release=True)
    instrument = camera(label=Label(name="dye", detachment=Detachment(), fluorescence=crowded))
    left = crowded.unquenched(10, 0.065)
    assert 0 < left < 1
    assert instrument.brightness("extracellular", "loaded", 1.0) == pytest.approx(10 * left)
    assert instrument.brightness("liver", "released", 1.0) == pytest.approx(10)
    assert instrument.brightness("bladder", DETACHED, 1.0) == pytest.approx(10)
    assert instrument.molecules("liver", "loaded", 0.5) == pytest.approx(5)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"label": None}, "label.fluorescence: is not on the card, nothing of it glows"),
        ({"phantom": "none"}, "phantom none: an instrument of millimetres"),
        ({"depth_um": 500.0}, "depth 0.5 mm: must be a multiple of the grid's 1 mm"),
        ({"depth_um": 2000.0, "grid_um": 2000.0}, "grid 2 mm: must be at most 3 transport mean free paths, 1.2 mm"),
        ({"band_um": (0.95, 1.7)}, "band 950-1700 nm: must hold the dye's emission, 776 nm"),
        ({"emission_um": 1.9, "band_um": (0.5, 2.0)}, "emission 1900 nm: must be within 600-1700 nm"),
        ({"excitation_um": 0.48}, "excitation 480 nm: must be within 600-1700 nm"),
    ],
)
def test_what_a_camera_cannot_see_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        camera(**changes)


def test_views_have_the_body_between_them() -> None:
    inside = ball(3.0, 9)
    upper, lower = VIEWS["right"].surface(inside)[0][4, 4], VIEWS["left"].surface(inside)[0][4, 4]
    assert (lower, upper) == (1, 7)
    with pytest.raises(InputError, match="600-1700"):
        check_wavelength("emission", 0.55)
