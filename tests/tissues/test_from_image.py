from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tme_sim.state.errors import InputError
from tme_sim.state.substance import Matrix
from tme_sim.tissues.base import Geometry
from tme_sim.tissues.from_image import FromImage

EDGE_UM = 3.0
SHAPE = (30, 40, 50)


def tubes() -> NDArray[np.bool_]:
    """Two straight vessels along x, of radius 9 and 6 um."""
    z, y = np.ogrid[: SHAPE[0], : SHAPE[1]]
    section = ((z - 9.7) ** 2 + (y - 11.2) ** 2 <= 3**2) | ((z - 19.9) ** 2 + (y - 28.3) ** 2 <= 2**2)
    return np.broadcast_to(section[..., None], SHAPE).copy()


def build(folder: Path, vessels: NDArray[Any], **choices: Any) -> Geometry:
    np.save(folder / "vessels.npy", vessels)
    given: dict[str, Any] = {
        "tumor_mass_g": 0.2,
        "density_g_per_mL": 1.0,
        "matrix": Matrix(fibre_volume_fraction=0.139, fibre_radius_um=0.02, hydraulic_conductivity_um2_per_mmHg_s=413.0),
        "site_um": 15.0,
        "refinement": 1,
        "vessels": "vessels.npy",
        "voxel_um": EDGE_UM,
        "occupied_sites": 0.5,
    }
    return FromImage(**(given | choices)).build(np.random.default_rng(0), folder)


def test_a_mask_becomes_sites_and_a_graph_with_openings_at_the_faces(tmp_path: Path) -> None:
    geometry = build(tmp_path, tubes())
    assert geometry.lattice.sites == (6, 8, 10)
    assert geometry.lumen_fraction.mean() == pytest.approx(tubes().mean(), rel=1e-9)
    graph = geometry.graph
    assert graph is not None
    assert graph.length_um.sum() == pytest.approx(2 * SHAPE[2] * EDGE_UM, rel=0.02)
    assert len(graph.inlets) == len(graph.outlets) == 2
    assert set(graph.nodes_um[graph.inlets, 2]) == {0.0}
    figures = geometry.morphometry
    wall = 2 * np.pi * (9 + 6) / (30 * 40 * EDGE_UM**2)
    assert figures["vessel_surface_mm2_per_mm3"] == pytest.approx(1e3 * wall, rel=0.06)
    assert figures["graph_surface_over_measured"] == pytest.approx(1, abs=0.08)
    assert figures["graph_volume_over_measured"] == pytest.approx(1, abs=0.12)
    assert figures["specks_dropped"] == 0
    assert figures["length_density_per_mm2"] == pytest.approx(1e6 * 2 / (30 * 40 * EDGE_UM**2), rel=0.02)


def test_distances_and_exchange_are_those_of_the_mask(tmp_path: Path) -> None:
    """A ball has wall and lumen, and no axis."""
    mask = tubes()
    alone = build(tmp_path, mask)
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    mask |= np.linalg.norm(index - np.array([20, 12, 25]), axis=-1) < 4
    mask[28, 5, 5:8] = True
    with_ball = build(tmp_path, mask)
    assert alone.graph is not None
    assert with_ball.graph is not None
    assert with_ball.graph.length_um.sum() == pytest.approx(alone.graph.length_um.sum(), rel=1e-6)
    assert with_ball.surface_um2.sum() > alone.surface_um2.sum() + 4 * np.pi * (3 * EDGE_UM) ** 2
    ratio = "graph_surface_over_measured"
    assert with_ball.morphometry[ratio] < alone.morphometry[ratio] - 0.03
    assert with_ball.morphometry["specks_dropped"] == 1
    assert with_ball.morphometry["mean_distance_to_vessel_um"] < alone.morphometry["mean_distance_to_vessel_um"]


@pytest.mark.parametrize("threshold", [550, 550.5, "otsu"])
def test_an_intensity_image_with_a_threshold_gives_what_its_mask_gives(threshold: Any, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 30, SHAPE)
    image = (np.where(tubes(), 1000, 100) + noise).astype(np.float32)
    of_image, of_mask = build(tmp_path, image, threshold=threshold), build(tmp_path, tubes())
    assert np.array_equal(of_image.lumen_fraction, of_mask.lumen_fraction)
    assert of_image.morphometry == of_mask.morphometry


@pytest.mark.parametrize("threshold", [None, "otsu"])
def test_labels_and_masks_need_no_threshold_and_bear_one(threshold: Any, tmp_path: Path) -> None:
    expected = build(tmp_path, tubes()).surface_um2
    for volume in (tubes(), tubes().astype(np.uint16) * 7):
        assert np.array_equal(build(tmp_path, volume, threshold=threshold).surface_um2, expected)


@pytest.mark.parametrize(
    ("vessels", "choices", "words"),
    [
        (np.zeros(SHAPE, bool), {}, r"^tissue\.vessels.*0% of it lies above 0"),
        (np.ones(SHAPE, bool), {}, r"^tissue\.vessels.*100%"),
        (tubes() * 900 + 100, {}, r"needs tissue\.threshold, a number or otsu"),
        (np.full(SHAPE, 100), {"threshold": "otsu"}, r"^tissue\.vessels.*0% of it lies above 100$"),
        (tubes(), {"threshold": 2}, r"^tissue\.vessels.*0% of it lies above 2$"),
        (tubes(), {"threshold": "triangle"}, r"^tissue\.threshold triangle: must be"),
        (tubes(), {"threshold": float("nan")}, r"^tissue\.threshold"),
        (tubes(), {"threshold": True}, r"^tissue\.threshold"),
        (tubes(), {"voxel_um": None}, r"^tissue\.voxel"),
        (tubes(), {"tumor": "missing.npy"}, r"^tissue\.tumor.*does not exist"),
        (tubes()[8:12], {}, r"^lattice\.site"),
    ],
)
def test_what_is_no_vessel_volume_is_refused(vessels: NDArray[Any], choices: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        build(tmp_path, vessels, **choices)


def test_nuclei_and_outline_give_the_cells_their_places(tmp_path: Path) -> None:
    outline = np.zeros(SHAPE, np.uint8)
    outline[:, :, :30] = 1
    nuclei = np.random.default_rng(2).integers(50, 200, SHAPE).astype(np.uint16)
    np.save(tmp_path / "outline.npy", outline)
    np.save(tmp_path / "nuclei.npy", nuclei)
    geometry = build(tmp_path, tubes(), tumor="outline.npy", nuclei="nuclei.npy")
    assert geometry.inside[:, :, :6].all()
    assert not geometry.inside[:, :, 6:].any()
    assert geometry.occupancy is not None
    assert geometry.occupancy[geometry.inside].mean() == pytest.approx(0.5, rel=1e-3)
    assert not geometry.occupancy[~geometry.inside].any()
    np.save(tmp_path / "outline.npy", outline[1:])
    with pytest.raises(InputError, match="has shape"):
        build(tmp_path, tubes(), tumor="outline.npy")
