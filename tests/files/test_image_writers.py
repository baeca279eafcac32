from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
import zarr

from tme_sim.files.image import Image
from tme_sim.files.images import save_image
from tme_sim.files.nifti import write_nifti
from tme_sim.files.ome_tiff import write_ome_tiff
from tme_sim.files.ome_zarr_write import levels, write_ome_zarr
from tme_sim.files.volumes import read_volume
from tme_sim.state.errors import InputError

DATA = np.random.default_rng(1).normal(size=(5, 70, 7)) * 1e-30
VOXEL_UM, ORIGIN_UM = (3.0, 2.0, 0.1), (10.0, 20.0, -30.0)
WRITERS: dict[str, Callable[..., Path]] = {
    "a.nii": write_nifti,
    "a.nii.gz": write_nifti,
    "a.ome.tif": write_ome_tiff,
    "a.ome.zarr": write_ome_zarr,
}


def content(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    return {str(each.relative_to(path)): each.read_bytes() for each in files}


@pytest.mark.parametrize("name", WRITERS)
def test_numbers_and_voxels_come_back_bit_for_bit_and_the_right_way_round(name: str, tmp_path: Path) -> None:
    path = WRITERS[name](tmp_path / name, DATA, VOXEL_UM, ORIGIN_UM)
    volume = read_volume(path)
    assert volume.data.dtype == np.float32
    assert np.array_equal(volume.data, DATA.astype(np.float32))
    assert volume.voxel_um == pytest.approx(VOXEL_UM, rel=1e-6)


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_image_is_the_same_bytes_and_replaces_the_one_before(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name, DATA, VOXEL_UM, ORIGIN_UM)
    first = content(tmp_path / name)
    WRITERS[name](tmp_path / name, DATA + 1, VOXEL_UM, ORIGIN_UM)
    assert content(tmp_path / name) != first
    WRITERS[name](tmp_path / name, DATA, VOXEL_UM, ORIGIN_UM)
    assert content(tmp_path / name) == first
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("bad", [-np.inf, 1e39])
def test_what_float32_cannot_hold_is_not_written(name: str, bad: float, tmp_path: Path) -> None:
    data = DATA.copy()
    data[1, 2, 3] = bad
    with pytest.raises(ValueError, match="infinite, or too large"):
        WRITERS[name](tmp_path / name, data, VOXEL_UM)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", WRITERS)
def test_where_an_instrument_gives_no_number_there_is_0(name: str, tmp_path: Path) -> None:
    data = DATA.copy()
    data[1, 2, 3] = np.nan
    found = read_volume(WRITERS[name](tmp_path / name, data, VOXEL_UM)).data
    assert found[1, 2, 3] == 0
    assert np.array_equal(found, np.nan_to_num(data).astype(np.float32))


def test_nifti_points_right_anterior_superior_from_the_centre_of_the_first_voxel(tmp_path: Path) -> None:
    image: Any = nibabel.load(write_nifti(tmp_path / "a.nii", DATA, VOXEL_UM, ORIGIN_UM))
    expected = [[1e-4, 0, 0, -0.03], [0, 2e-3, 0, 0.02], [0, 0, 3e-3, 0.01], [0, 0, 0, 1]]
    for affine, code in (image.header.get_sform(coded=True), image.header.get_qform(coded=True)):
        assert affine == pytest.approx(np.array(expected), rel=1e-6, abs=1e-9)
        assert code == 1
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert b"synthetic" in image.header["descrip"].item()
    assert image.shape == DATA.shape[::-1]


def test_frames_and_integers_keep_their_place_in_nifti(tmp_path: Path) -> None:
    labels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image: Any = nibabel.load(write_nifti(tmp_path / "a.nii", labels, VOXEL_UM))
    assert image.get_data_dtype() == np.int16
    assert np.asarray(image.dataobj)[3, 1, 0] == labels[0, 1, 3]
    frames: Any = nibabel.load(write_nifti(tmp_path / "b.nii", labels[np.newaxis], VOXEL_UM))
    assert frames.shape == (4, 3, 2, 1)


def test_channels_of_ome_tiff_have_names_and_planes_have_places(tmp_path: Path) -> None:
    data = DATA.reshape(5, 2, 35, 7)
    path = write_ome_tiff(tmp_path / "a.ome.tif", data, VOXEL_UM, ORIGIN_UM, channels=list("abcd<"), about={"Unit": "Bq/mL"})
    with tifffile.TiffFile(path) as tiff:
        assert tiff.series[0].axes == "CZYX"
        assert not tiff.pages.first.is_tiled
        assert np.array_equal(tiff.asarray(), data.astype(np.float32))
        says = tifffile.xml2dict(tiff.ome_metadata)["OME"]
    pixels = says["Image"]["Pixels"]
    assert [channel["Name"] for channel in pixels["Channel"]] == list("abcd<")
    assert [pixels[f"PhysicalSize{axis}"] for axis in "ZYX"] == list(VOXEL_UM)
    place = pixels["Plane"][7]
    assert (place["TheC"], place["TheZ"]) == (3, 1)
    assert [place[f"Position{axis}"] for axis in "ZYX"] == [13.0, 20.0, -30.0]
    assert "synthetic" in str(says["StructuredAnnotations"])
    assert "Bq/mL" in str(says["StructuredAnnotations"])


def test_a_pyramid_keeps_the_sum_and_the_place_of_a_field() -> None:
    """Means of a ramp are the ramp at the centres of the blocks, exactly in float32 where edges are even."""
    place = np.indices((4, 256, 128), dtype=np.float32)
    ramp = place[0] + 4 * place[1] + 1024 * place[2]
    found = list(levels(ramp, labels=False))
    assert [factors for _, factors in found] == [(1, 1, 1), (1, 2, 2), (1, 4, 2)]
    for data, factors in found:
        z, y, x = (np.arange(n) * f + (f - 1) / 2 for n, f in zip(data.shape, factors, strict=True))
        assert np.array_equal(data, z[:, None, None] + 4 * y[:, None] + 1024 * x)
        assert data.sum(dtype=np.float64) * np.prod(factors) == ramp.sum(dtype=np.float64)


def test_a_pyramid_of_labels_makes_no_new_ones_and_a_last_voxel_stands_alone() -> None:
    labels = np.array([[[1, 3] * 32 + [7]]], np.int16)
    (_, one), (half, two) = levels(labels, labels=True)
    assert (one, two) == ((1, 1, 1), (1, 1, 2))
    assert half.dtype == np.int16
    assert np.array_equal(half[0, 0], [1] * 32 + [7])
    mean = list(levels(labels.astype(np.float32), labels=False))[1][0]
    assert np.array_equal(mean[0, 0], [2] * 32 + [7])


def test_ome_zarr_says_where_each_level_lies_and_what_labels_mean(tmp_path: Path) -> None:
    regions = np.ones(DATA.shape, np.int16)
    said = {"regions": regions, "region_names": {1: "tumor"}, "about": {"unit": "Bq/mL"}}
    path = write_ome_zarr(tmp_path / "a.ome.zarr", DATA[np.newaxis], VOXEL_UM, ORIGIN_UM, channels=["dye"], **said)
    root = zarr.open_group(path, mode="r")
    ome: Any = root.attrs["ome"]
    assert ome["version"] == "0.5"
    (image,) = ome["multiscales"]
    assert [axis["name"] for axis in image["axes"]] == list("czyx")
    assert [axis.get("unit") for axis in image["axes"]] == [None, *["micrometer"] * 3]
    half = image["datasets"][1]["coordinateTransformations"]
    assert half == [{"type": "scale", "scale": [1, 3, 4, 0.1]}, {"type": "translation", "translation": [0, 10, 21, -30]}]
    assert ome["omero"]["channels"][0]["label"] == "dye"
    assert root.attrs["tme_sim"]["unit"] == "Bq/mL"
    assert root["labels"].attrs["ome"] == {"version": "0.5", "labels": ["regions"]}
    label: Any = root["labels/regions"].attrs["ome"]
    assert label["image-label"]["properties"] == [{"label-value": 1, "name": "tumor"}]
    assert np.array_equal(root["labels/regions/0"][...], regions)


def test_an_image_is_saved_by_its_ending(image: Callable[..., Image], tmp_path: Path) -> None:
    one, two = image("PET"), image("CONF", channels=2)
    for name in ("a.nii", "a.nii.gz", "a.ome.tif", "a.ome.zarr"):
        assert np.array_equal(read_volume(one.save(tmp_path / name)).data, one.data.astype(np.float32))
    for name in ("c.ome.tif", "c.ome.zarr"):
        assert save_image(tmp_path / name, two).exists()
    with pytest.raises(InputError, match=r"channels dye 0, dye 1; save it as \.ome"):
        save_image(tmp_path / "c.nii", two)
    with pytest.raises(InputError, match=r"must end in \.nii"):
        save_image(tmp_path / "a.png", one)


def test_ome_types_accepts_ome_tiff(image: Callable[..., Image], tmp_path: Path) -> None:
    ome_types = pytest.importorskip("ome_types", reason="validates OME-XML; not installed")
    for number, made in enumerate((image("PET"), image("CONF", channels=3))):
        ome = ome_types.from_tiff(save_image(tmp_path / f"{number}.ome.tif", made))
        assert ome.images[0].pixels.physical_size_z == 30.0
        assert len(ome.images[0].pixels.channels) == max(1, len(made.channels))


def test_ome_zarr_models_accepts_ome_zarr(image: Callable[..., Image], tmp_path: Path) -> None:
    models = pytest.importorskip("ome_zarr_models", reason="validates OME-Zarr; not installed")
    for number, made in enumerate((image("PET"), image("CONF", channels=3))):
        found = models.open_ome_zarr(zarr.open_group(save_image(tmp_path / f"{number}.ome.zarr", made), mode="r"))
        assert found.ome_zarr_version == "0.5"
        assert found.labels.attributes.ome.labels == ["regions"]
