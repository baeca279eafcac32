"""Histology: what an operator's thresholds make of a picture, and what is reported of a section beside the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tme_sim.imaging.detector import Detector
from tme_sim.imaging.frame import Frame
from tme_sim.imaging.histology import Histology, in_tumor, shares
from tme_sim.imaging.segmentation import MACROPHAGES, OTHERS, OUTSIDE, VESSELS, segment, threshold
from tme_sim.state.errors import InputError
from tme_sim.state.fluorescence import Fluorescence
from tme_sim.state.label import Detachment, Label
from tme_sim.state.lattice import Lattice, Patch

DYE = Fluorescence(dyes=10, extinction_per_M_cm=2e5, quantum_yield=0.25, excitation_um=0.65, emission_um=0.68)
DETECTOR = Detector(bits=16, gain=2.0, offset=100.0, read_noise=1.0, background=2.0)
CHANNELS = ("particles", "vessels", "nuclei", "macrophages")


def operator(**changes: Any) -> Histology:
    lens = {
        "aperture": 0.75,
        "refractive_index": 1.0,
        "pixel_um": 0.5,
        "size_um": 60.0,
        "thickness_um": 8.0,
        "vessel_stain": "wall",
    }
    light = {
        "excitations_per_s": 1e4,
        "efficiency": 0.05,
        "exposure_s": None,
        "longest_exposure_s": 1.0,
        "stain_electrons": 3000.0,
    }
    cells = {
        "channels": CHANNELS,
        "cell_expansion_um": 3.0,
        "expansions_um": (0.0, 6.0),
        "detector": DETECTOR,
        "diameter_um": 0.05,
    }
    label = Label(name="dye", detachment=Detachment(), fluorescence=DYE)
    settings: dict[str, Any] = {**lens, **light, **cells, "label": label}
    return Histology(**{**settings, **changes})


def told(image: Any, region: str = "section") -> dict[str, float]:
    return {q.quantity: q.value for q in image.quantities if q.region == region}


def disc(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    y, x = np.ogrid[: shape[0], : shape[1]]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def test_outlines_are_filled_also_at_the_border_and_touching_nuclei_are_parted() -> None:
    shape, dark = (120, 160), 10.0
    ring = disc(shape, (60, 60), 14) & ~disc(shape, (60, 60), 11)  # 14 um across at 0.5 um
    cut = disc(shape, (60, 0), 20) & ~disc(shape, (60, 0), 17)
    nuclei = disc(shape, (30, 110), 8) | disc(shape, (30, 122), 8) | disc(shape, (90, 120), 8) | disc(shape, (100, 30), 1)
    counts = {"vessels": 500.0 * cut, "macrophages": 500.0 * ring, "nuclei": 500.0 * nuclei}
    stained = segment(counts, dark, 0.5)
    assert stained.nuclei.max() == 3  # the fourth is too small
    assert stained.macrophages[60, 60]
    assert stained.vessels[60, 3]
    assert stained.vessels.sum() == pytest.approx(disc(shape, (60, 0), 20).sum(), rel=0.1)
    regions = stained.regions(3.0)
    assert set(np.unique(regions)) == {OUTSIDE, MACROPHAGES, OTHERS, VESSELS}
    assert np.sum(regions == OTHERS) > 1.3 * np.sum(stained.regions(0.0) == OTHERS)
    assert np.sum(stained.regions(0.0) == OTHERS) == pytest.approx(nuclei.sum(), rel=0.05)


def test_a_ring_wider_than_any_vessel_encloses_tissue() -> None:
    shape = (300, 300)
    wide = disc(shape, (150, 150), 120) & ~disc(shape, (150, 150), 116)
    dark = {"macrophages": np.zeros(shape), "nuclei": np.zeros(shape)}
    assert not segment({"vessels": 500.0 * wide, **dark}, 10.0, 0.5).vessels[150, 150]


def test_darkness_is_not_thresholded_into_cells() -> None:
    noise = np.random.default_rng(0).poisson(100, (80, 80)).astype(float)
    stained = segment(dict.fromkeys(CHANNELS[1:], noise), 160.0, 0.5)
    for mask in (stained.vessels, stained.macrophages, stained.nuclei):
        assert not mask.any()
    assert threshold(np.full((4, 4), 3.0), 160.0) == 160.0


def test_shares_leave_vessels_out_and_add_up() -> None:
    regions = np.array([[OUTSIDE, MACROPHAGES], [OTHERS, VESSELS]])
    found = shares(np.array([[6.0, 3.0], [1.0, 90.0]]), regions)
    assert found == {"extracellular_percent": 60.0, "macrophages_percent": 30.0, "other_cells_percent": 10.0}
    assert np.isnan(list(shares(np.zeros((2, 2)), regions).values())).all()


def only_in(make_frame: Callable[..., Frame], compartment: str) -> Frame:
    frame = make_frame(3000.0)
    held = {kind: amount * (kind == compartment) for kind, amount in frame.held.items()}
    carriers = {name: amount * (name == compartment) for name, amount in frame.carriers.items()}
    return replace(frame, carriers=carriers, held=held)


@pytest.mark.parametrize(
    ("compartment", "quantity", "least"),
    [("macrophages", "macrophages_percent", 80.0), ("extracellular", "extracellular_percent", 45.0)],
)
def test_the_operator_finds_carriers_about_where_all_of_them_are(
    make_frame: Callable[..., Frame], compartment: str, quantity: str, least: float
) -> None:
    (image,) = operator().acquire(only_in(make_frame, compartment))
    section = told(image)
    assert section[f"{quantity}_true"] == told(image, "tumor")[f"{quantity}_true"] == pytest.approx(100.0)
    assert section[quantity] > least
    assert sum(
        section[name] for name in ("extracellular_percent", "macrophages_percent", "other_cells_percent")
    ) == pytest.approx(100)


@pytest.mark.parametrize("refinement", [1, 2])
def test_a_section_is_one_plane_with_its_settings_and_its_truth(make_frame: Callable[..., Frame], refinement: int) -> None:
    frame = make_frame(200.0 / refinement**3, Lattice((2, 4, 4), 15.0, refinement))
    (image,) = operator(pixel_um=1.0).acquire(frame)
    assert image.data.shape == (4, 1, 60, 60)
    assert image.voxel_um == (8.0, 1.0, 1.0)
    assert image.origin_um[0] == pytest.approx(15.0, abs=8.0)  # the middle, give or take half a site
    assert operator(center_um=(13.0, 30.0, 30.0), pixel_um=1.0).acquire(frame)[0].origin_um == pytest.approx(
        (13.0, 0.5, 0.5), abs=1e-9
    )
    assert image.acquisition["thickness_um"] == 8.0
    ideal, seen = image.layers["truth"][0].sum(dtype=np.float64), DETECTOR.above_background(image.layers["noise_free"][0])
    assert seen.sum() * DETECTOR.gain == pytest.approx(ideal, rel=1e-4)
    wider = told(image)
    assert (
        wider["extracellular_percent_expanded_0um"] > wider["extracellular_percent"] > wider["extracellular_percent_expanded_6um"]
    )
    assert 0.4 * wider["nuclei_true"] < wider["nuclei"] <= wider["nuclei_true"]  # some overlap, some are hardly cut
    assert np.array_equal(image.data, operator(pixel_um=1.0).acquire(frame)[0].data)


def test_true_shares_of_the_tumour_weigh_patches_by_their_copies(make_frame: Callable[..., Frame]) -> None:
    frame = make_frame(1.0)
    lattice = Lattice((2, 4, 4), 15.0, 1, (Patch("rim", 0, 1, 3), Patch("core", 1, 1, 10)))
    assert in_tumor(replace(frame, lattice=lattice))["extracellular"] == pytest.approx(16 * (3 + 10))


def test_without_carriers_the_shares_are_flagged(make_frame: Callable[..., Frame]) -> None:
    empty = only_in(make_frame, "nowhere")
    (image,) = operator(expansions_um=()).acquire(empty)
    assert {q.flag for q in image.quantities if q.quantity == "extracellular_percent"} == {"below noise"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"channels": ("particles", "nuclei")}, "without vessels, macrophages"),
        ({"label": None}, "nothing of it glows"),
        ({"placement": "none"}, "must be sub_lattice"),
    ],
)
def test_what_an_operator_cannot_read_is_told(make_frame: Callable[..., Frame], changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        operator(**changes).acquire(make_frame())
