"""One bright voxel, far from every centre, is at the same place in the scene and in every file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
import zarr

from tme_sim.files.dicom import write_dicom_pet
from tme_sim.files.image import Image
from tme_sim.files.images import save_image
from tme_sim.files.volumes import read_volume
from tme_sim.views.meshes import plane
from tme_sim.views.snapshot import Cut

SHAPE, MARKER, VOXEL_UM, CORNER_UM = (4, 6, 9), (3, 1, 7), 20.0, 0.0
PLACE_UM = tuple(CORNER_UM + (index + 0.5) * VOXEL_UM for index in MARKER)
"""Of the marker in the lattice's (z, y, x): its voxel's centre from the corner."""


def marked() -> Image:
    data = np.zeros(SHAPE, np.float32)
    data[MARKER] = 1.0
    return Image(
        name="marker",
        data=data,
        voxel_um=(VOXEL_UM,) * 3,
        origin_um=(CORNER_UM + VOXEL_UM / 2,) * 3,
        unit="1",
        time_s=0.0,
        modality="PET",
    )


def in_nifti(folder: Path) -> Any:
    """By the affine, which maps voxel numbers to mm right, anterior, superior."""
    image: Any = nibabel.load(save_image(folder / "a.nii.gz", marked()))
    assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
    index = np.argwhere(np.asarray(image.dataobj) == 1)[0]
    return (image.affine @ [*index, 1])[:3][::-1] * 1e3


def in_dicom(folder: Path) -> Any:
    """By position, orientation and spacing of the slice (PS3.3 C.7.6.2.1.1), from mm left, posterior, superior."""
    pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    image = marked()
    series = {"series": "a", "patient": "b", "time_s": 0.0, "duration_s": 1.0}
    for path in write_dicom_pet(folder / "a", image.data, image.voxel_um, image.origin_um, **series).iterdir():
        found = pydicom.dcmread(path)
        if found.pixel_array.any():
            row, column = np.argwhere(found.pixel_array)[0]
            rows, columns = np.array(found.ImageOrientationPatient).reshape(2, 3) * np.array(found.PixelSpacing)[::-1, None]
            left, posterior, superior = found.ImagePositionPatient + column * rows + row * columns
    return np.array([superior, -posterior, -left]) * 1e3


def in_ome_tiff(folder: Path) -> Any:
    """By the plane's position and the size of pixels."""
    path = save_image(folder / "a.ome.tif", marked())
    with tifffile.TiffFile(path) as tiff:
        z, y, x = np.argwhere(tiff.asarray() == 1)[0]
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
    found = pixels["Plane"][z]
    steps = y * pixels["PhysicalSizeY"], x * pixels["PhysicalSizeX"]
    return np.array([found["PositionZ"], found["PositionY"] + steps[0], found["PositionX"] + steps[1]])


def in_ome_zarr(folder: Path) -> Any:
    """By scale and translation of the finest level."""
    root = zarr.open_group(save_image(folder / "a.ome.zarr", marked()), mode="r")
    array: Any = root["0"]
    ome: Any = root.attrs["ome"]
    scale, shift = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    return np.argwhere(np.asarray(array[...]) == 1)[0] * scale["scale"] + shift["translation"]


def in_the_scene(folder: Path) -> Any:
    """By VTK's (x, y, z) of the cell that a plane through the marker shows."""
    cut = plane(marked().data.astype(float), VOXEL_UM, Cut(0, PLACE_UM[0]))
    return np.asarray(cut.cell_centers().points)[np.argmax(cut.cell_data["value"])][::-1]


@pytest.mark.parametrize("where", [in_the_scene, in_nifti, in_dicom, in_ome_tiff, in_ome_zarr])
def test_a_marker_is_where_it_is_on_the_lattice(where: Callable[[Path], Any], tmp_path: Path) -> None:
    assert where(tmp_path) == pytest.approx(PLACE_UM, rel=1e-6)


@pytest.mark.parametrize("name", ["a.nii", "a.ome.tif", "a.ome.zarr"])
def test_a_marker_comes_back_in_its_voxel(name: str, tmp_path: Path) -> None:
    assert np.argwhere(read_volume(save_image(tmp_path / name, marked())).data).tolist() == [list(MARKER)]
