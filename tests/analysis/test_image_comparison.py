"""A synthetic image against itself: as it is, blurred, noised, averaged to larger voxels, shifted; and its null models."""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tme_sim.analysis.image_comparison import compare, match
from tme_sim.analysis.image_match import to_resolution
from tme_sim.config.units import parse_quantity
from tme_sim.files.dataset import Picture, read_dataset
from tme_sim.files.image import Image
from tme_sim.files.images import save_image
from tme_sim.state.errors import InputError

SHAPE, VOXEL_UM = (24, 32, 40), 10.0
RANDOM = np.random.default_rng(5)
TRUTH = to_resolution(RANDOM.normal(10, 4, SHAPE), (VOXEL_UM,) * 3, (0.0,) * 3, (30.0,) * 3) + 1
VESSELS = np.zeros(SHAPE, np.uint8)
VESSELS[:, :, 4] = 1


def image(data: Any = TRUTH, voxel_um: float = VOXEL_UM, **given: Any) -> Image:
    settings = {"name": "carriers", "unit": "1/mL", "time_s": 3600.0, "modality": "truth", "origin_um": (voxel_um / 2,) * 3}
    return Image(data=np.asarray(data, float), voxel_um=(voxel_um,) * 3, **(settings | given))


def outcome(folder: Path, measured: Any, seen: Image, **card: Any) -> Any:
    """Comparisons by name, and the profile."""
    np.save(folder / "scan.npy", np.asarray(measured))
    for name in ("mask", "vessels", "nuclei", "regions"):
        if name in card:
            np.save(folder / f"{name}.npy", card[name])
            card[name] = f"{name}.npy"
    part = {"file": "scan.npy", "unit": "1/mL", "fwhm": "0 um", "voxel": "10 um", "position": "0 um"} | card
    corrections = part.pop("corrections", {"decay": "none", "background": "subtracted", "blood": "present"})
    content = {"what": "w", "species": "mouse", "licence": "l", "source": "s", "corrections": corrections}
    part = {key: value for key, value in part.items() if value is not None}
    dataset = read_dataset({**content, "image": part}, folder, parse_quantity)
    assert isinstance(dataset.picture, Picture)
    found, profile = compare(match(dataset.picture, dataset.corrections, seen), dataset.picture)
    return {each.what: each.measures for each in found}, profile


def test_an_image_compared_with_itself_agrees_wholly(tmp_path: Path) -> None:
    found, profile = outcome(tmp_path, TRUTH, image(), vessels=VESSELS)
    measures = found["image"]
    assert measures["concordance"].simulated == pytest.approx(1, abs=1e-12)
    assert measures["Wasserstein-1"].simulated == pytest.approx(0, abs=1e-12)
    assert measures["RMSE"].simulated == pytest.approx(0, abs=1e-12)
    assert measures["within twofold"].simulated == 1
    assert measures["concordance"].null == pytest.approx(0, abs=1e-12)
    assert measures["RMSE"].null == pytest.approx(TRUTH[VESSELS == 0].std(), rel=1e-12)
    assert found["against distance to vessels"]["RMSE of the profile"].simulated == pytest.approx(0, abs=1e-12)
    assert profile["simulated"].to_numpy() == pytest.approx(profile["measured"].to_numpy())


def test_noise_and_a_shift_give_their_closed_forms(tmp_path: Path) -> None:
    s2, sigma = TRUTH.var(), 0.7 * TRUTH.std()
    noisy = outcome(tmp_path, TRUTH + np.random.default_rng(6).normal(0, sigma, SHAPE), image())[0]["image"]
    assert noisy["concordance"].simulated == pytest.approx(2 * s2 / (2 * s2 + sigma**2), abs=4 / sqrt(TRUTH.size))
    assert noisy["RMSE"].simulated == pytest.approx(sigma, rel=4 / sqrt(2 * TRUTH.size))
    shifted = outcome(tmp_path, TRUTH + 2, image())[0]["image"]
    assert shifted["Wasserstein-1"].simulated == pytest.approx(2, rel=1e-9)
    assert shifted["bias"].simulated == pytest.approx(-2, rel=1e-9)
    assert shifted["concordance"].simulated == pytest.approx(2 * s2 / (2 * s2 + 4), rel=1e-9)


def test_a_measured_image_of_lower_resolution_is_met_by_blurring_the_simulated_one(tmp_path: Path) -> None:
    blurred = to_resolution(TRUTH, (VOXEL_UM,) * 3, (0.0,) * 3, (50.0,) * 3)
    matched = outcome(tmp_path, blurred, image(), fwhm="50 um")[0]["image"]
    assert matched["concordance"].simulated == pytest.approx(1, abs=1e-12)
    assert matched["RMSE"].simulated == pytest.approx(0, abs=1e-12)
    ignored = outcome(tmp_path, blurred, image())[0]["image"]["concordance"].simulated
    assert ignored < 0.9


def test_a_readout_that_is_blurred_already_is_blurred_by_the_difference_of_squares(tmp_path: Path) -> None:
    seen = to_resolution(TRUTH, (VOXEL_UM,) * 3, (0.0,) * 3, (30.0,) * 3)
    told = image(seen, modality="PET", acquisition={"PointSpreadFWHM_mm": 0.030})
    further = to_resolution(seen, (VOXEL_UM,) * 3, (0.0,) * 3, (40.0,) * 3)
    assert outcome(tmp_path, further, told, fwhm="50 um")[0]["image"]["RMSE"].simulated == pytest.approx(0, abs=1e-12)
    with pytest.raises(InputError, match="of 30 um along z is coarser than the measured 20 um"):
        outcome(tmp_path, further, told, fwhm="20 um")
    with pytest.raises(InputError, match="simulated_fwhm: must be there: carriers does not tell its resolution"):
        outcome(tmp_path, further, image(seen, modality="PET"), fwhm="50 um")


def test_the_width_and_height_of_a_microscopes_spot_are_its_resolution(tmp_path: Path) -> None:
    seen = image(modality="micr", acquisition={"psf_width_um": 30.0, "psf_height_um": 40.0})
    wide = to_resolution(TRUTH, (VOXEL_UM,) * 3, (40.0, 30.0, 30.0), (50.0, 50.0, 50.0))
    assert outcome(tmp_path, wide, seen, fwhm="50 um")[0]["image"]["RMSE"].simulated == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("ending", ["nii.gz", "ome.tif"])
def test_measured_volumes_of_other_formats_lie_where_they_should(tmp_path: Path, ending: str) -> None:
    """An image without symmetry, whose file says the size of its unequal voxels."""
    data = TRUTH + np.arange(SHAPE[0])[:, None, None] + 2 * np.arange(SHAPE[1])[:, None] + 4 * np.arange(SHAPE[2])
    sizes: dict[str, Any] = {"voxel_um": (30.0, 20.0, 10.0), "origin_um": (15.0, 10.0, 5.0), "unit": "1/mL", "time_s": 0}
    seen = Image(name="carriers", data=data, modality="truth", **sizes)
    save_image(tmp_path / f"scan.{ending}", seen)
    measures = outcome(tmp_path, data, seen, file=f"scan.{ending}", voxel=None)[0]["image"]
    assert measures["RMSE"].simulated == pytest.approx(0, abs=1e-4)  # float32, of the values and of the voxel's edge


@pytest.mark.parametrize("which", ["measured", "simulated"])
def test_an_image_averaged_to_larger_voxels_is_met_on_them(tmp_path: Path, which: str) -> None:
    blocks = TRUTH.reshape(12, 2, 16, 2, 20, 2).mean(axis=(1, 3, 5))
    if which == "measured":
        found = outcome(tmp_path, blocks, image(), voxel="20 um")[0]
    else:
        found = outcome(tmp_path, TRUTH, image(blocks, 20.0))[0]
    assert found["image"]["RMSE"].simulated == pytest.approx(0, abs=1e-12)
    assert found["image"]["mean"].measured == pytest.approx(TRUTH.mean(), rel=1e-12)


def test_an_image_of_part_of_the_tissue_is_met_where_it_lies(tmp_path: Path) -> None:
    part = TRUTH[4:, 3:20, 10:]
    position = ["40 um", "30 um", "100 um"]
    assert outcome(tmp_path, part, image(), position=position)[0]["image"]["RMSE"].simulated == pytest.approx(0, abs=1e-12)
    wrong = outcome(tmp_path, part, image(), position=["30 um", "30 um", "100 um"])[0]["image"]["RMSE"].simulated
    assert wrong > 0.1


def test_arbitrary_units_compare_shapes_and_other_units_must_be_the_same(tmp_path: Path) -> None:
    assert outcome(tmp_path, 7 * TRUTH, image(), unit="a.u.")[0]["image"]["RMSE"].simulated == pytest.approx(0, abs=1e-12)
    with pytest.raises(InputError, match=r"unit Bq/mL: must be that of the run's image, 1/mL, or a\.u\."):
        outcome(tmp_path, TRUTH, image(), unit="Bq/mL")


def test_the_null_model_of_nuclei_wins_where_the_signal_is_theirs(tmp_path: Path) -> None:
    nuclei = np.random.default_rng(7).random(SHAPE)
    measures = outcome(tmp_path, 3 * nuclei, image(), nuclei=nuclei, vessels=VESSELS)[0]
    assert measures["image"]["RMSE"].null == pytest.approx(0, abs=1e-12)
    assert measures["image"]["correlation with nuclei"].measured == pytest.approx(1)
    assert abs(measures["image"]["correlation with nuclei"].simulated) < 0.05


def test_a_profile_that_falls_has_the_half_distance_of_its_law(tmp_path: Path) -> None:
    """Decay length L from a plane of vessels: half at L ln 2; blocks give an interval that holds the truth."""
    far = np.abs(np.arange(SHAPE[2]) - 4) * VOXEL_UM
    falling = np.broadcast_to(np.exp(-far / 60), SHAPE) * np.random.default_rng(8).normal(1, 0.2, SHAPE)
    found, profile = outcome(tmp_path, falling, image(np.broadcast_to(np.exp(-far / 30), SHAPE)), vessels=VESSELS)
    half = found["against distance to vessels"]["half distance (um)"]
    assert half.measured == pytest.approx(10 + 60 * np.log(2), rel=0.03)  # from the first bin, a voxel off
    assert half.simulated == pytest.approx(10 + 30 * np.log(2), rel=0.03)
    assert half.null is None
    inner = profile.query("voxels >= 50")
    held = (inner["measured_low"] <= np.exp(-inner["distance_um"] / 60)) & (
        inner["measured_high"] >= np.exp(-inner["distance_um"] / 60)
    )
    assert held.mean() > 0.8


def test_distances_know_of_unequal_voxels(tmp_path: Path) -> None:
    shape = (10, 20, 20)
    vessels = np.zeros(shape, np.uint8)
    vessels[0] = 1
    data = np.broadcast_to(np.arange(10.0)[:, None, None] + 1, shape)
    seen = Image(name="i", data=data, voxel_um=(30.0, 10.0, 10.0), unit="1/mL", time_s=0, modality="truth", origin_um=(15, 5, 5))
    profile = outcome(tmp_path, data, seen, vessels=vessels, voxel=["30 um", "10 um", "10 um"])[1]
    assert profile["distance_um"].tolist() == [30.0 * n for n in range(1, 10)]
    assert profile["measured"].tolist() == [n + 1.0 for n in range(1, 10)]


def test_without_a_position_distributions_and_each_sides_own_profile_are_compared(tmp_path: Path) -> None:
    turned = np.ascontiguousarray(TRUTH[:, ::-1])
    layers = {"inside": np.ones(SHAPE, bool), "vessels": VESSELS}
    found, profile = outcome(tmp_path, turned, image(layers=layers), position=None, vessels=VESSELS)
    assert set(found["image"]) == {"mean", "Wasserstein-1"}
    assert found["image"]["Wasserstein-1"].simulated == pytest.approx(0, abs=1e-12)
    assert profile["simulated"].to_numpy() == pytest.approx(profile["measured"].to_numpy())


def test_regions_masks_background_and_decay(tmp_path: Path) -> None:
    regions, mask = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    regions[:8], regions[8:16], mask[:12] = 1, 3, 1
    corrections = {"decay": "not_corrected", "half_life": "1 h", "background": 5, "blood": "present"}
    found = outcome(tmp_path, TRUTH / 2 + 5, image(), regions=regions, mask=mask, corrections=corrections)[0]
    assert list(found) == ["image", "region 1", "region 3"]
    assert found["region 3"]["mean"].measured == pytest.approx(TRUTH[8:12].mean(), rel=1e-12)
    assert found["image"]["RMSE"].simulated == pytest.approx(0, abs=1e-12)


def test_what_cannot_be_compared_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mask: must leave some voxels"):
        outcome(tmp_path, TRUTH, image(), mask=np.zeros(SHAPE, np.uint8))
    with pytest.raises(InputError, match=r"mask\.npy: has shape \(1, 2, 3\); must be that of scan\.npy"):
        outcome(tmp_path, TRUTH, image(), mask=np.zeros((1, 2, 3), np.uint8))
    with pytest.raises(InputError, match="must have a mean above 0"):
        outcome(tmp_path, TRUTH, image(np.zeros(SHAPE)), unit="a.u.")
    two = image(np.stack([TRUTH, TRUTH]), channels=("particles", "vessels"))
    with pytest.raises(InputError, match="channel dye: must be one of the readout's: particles, vessels"):
        outcome(tmp_path, TRUTH, two, channel="dye")
    assert outcome(tmp_path, TRUTH, two, channel="particles")[0]["image"]["RMSE"].simulated == pytest.approx(0, abs=1e-12)


def test_blocks_give_wider_intervals_than_correlated_voxels_would(tmp_path: Path) -> None:
    """Noise that is one number per block of 8³ voxels: no bin's mean is better known than from all 60 blocks."""
    per_block = np.random.default_rng(9).normal(10, 1, (3, 4, 5))
    data = per_block.repeat(8, 0).repeat(8, 1).repeat(8, 2)
    vessels = np.zeros(SHAPE, np.uint8)
    vessels[0, 0, 0] = 1
    table = outcome(tmp_path, data, image(), vessels=vessels, voxel="10 um")[1]
    wide = (table["measured_high"] - table["measured_low"])[table["voxels"] > 500]
    assert float(wide.median()) > 2 * 1.96 * 1 / sqrt(60)
