from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tme_sim.files.image import Image, Quantity
from tme_sim.files.images import labels, write_images, write_quantities
from tme_sim.files.run_folder import RunFolder
from tme_sim.files.run_store import RunStore
from tme_sim.files.volumes import read_volume
from tme_sim.state.errors import InputError

Make = Callable[..., Image]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    store = RunStore.create(tmp_path / "run")
    store.write_json("run.json", {"format": 1, "status": "done", "name": "quick", "seed": 5, "hash": "1a2b3c4d5e6f7a8b"})
    store.write_text("config.yaml", "body: {mass: 25 g}\nnanoparticle: {label: {half_life: 78.4 h}}\n")
    return RunFolder(store.folder)


def test_every_format_holds_the_same_numbers(run: RunFolder, image: Make) -> None:
    pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    pet = image("PET", layers={}, regions=None)
    written = write_images(run, {"pet_preclinical": [pet]}, ["nifti", "ome-zarr", "ome-tiff", "dicom"])
    assert [path.relative_to(run.folder / "images").as_posix() for path in written] == [
        "bids/sub-1a2b3c4d/ses-24h/pet/sub-1a2b3c4d_ses-24h_rec-petPreclinical_pet.nii.gz",
        "ome-zarr/petPreclinical_24h_PET.ome.zarr",
        "ome-tiff/petPreclinical_24h_PET.ome.tif",
        "dicom/petPreclinical_24h_PET",
        "quantification.parquet",
    ]
    for path in written[:3]:
        volume = read_volume(path)
        assert np.array_equal(volume.data, pet.data.astype(np.float32))
        assert volume.voxel_um == pytest.approx(pet.voxel_um, rel=1e-6)
    pydicom = pytest.importorskip("pydicom")
    slices = [pydicom.dcmread(path) for path in sorted(written[3].iterdir())]
    assert len(slices) == len(pet.data)
    tracer = slices[0].RadiopharmaceuticalInformationSequence[0]
    assert (tracer.RadionuclideHalfLife, tracer.RadionuclideTotalDose) == (282240, 5e6)
    assert slices[0].PatientWeight == 0.025


def test_a_person_is_told_from_a_mouse(run: RunFolder, image: Make) -> None:
    write_images(run, {"pet": [image("PET")]})
    assert "mus musculus" in (run.folder / "images/bids/participants.tsv").read_text()
    run.config["body"]["mass"] = "70 kg"
    write_images(run, {"pet": [image("PET")]})
    assert "homo sapiens" in (run.folder / "images/bids/participants.tsv").read_text()


@pytest.mark.parametrize(
    ("modality", "formats", "message"),
    [
        ("PET", ["png"], "--format png: must be of nifti, ome-zarr, ome-tiff, dicom"),
        ("T1w", ["nifti", "dicom"], "--format dicom: is for PET, and none of a gave a PET image"),
    ],
)
def test_a_format_that_cannot_be_is_refused_before_anything_is_written(
    run: RunFolder, image: Make, modality: str, formats: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_images(run, {"a": [image(modality)]}, formats)
    assert not (run.folder / "images").exists()


def test_images_that_are_alike_are_told_apart_by_their_names(image: Make) -> None:
    images = {"mri": [image("T1w", "mri"), image("T1w", "before"), image("T1map", "t1")], "pet": [image("PET", "any")]}
    assert [label for label, _ in labels(images)] == ["mri", "mri_before", "mri", "pet"]


def test_numbers_of_other_readouts_and_times_stay_in_the_table(image: Make, tmp_path: Path) -> None:
    def read_off(value: float, time_s: float) -> Image:
        return image("PET", time_s=time_s, quantities=(Quantity("tumor", "mean", value, "Bq/mL", "partial volume"),))

    write_quantities(tmp_path, {"a": [read_off(1.0, 60.0), read_off(2.0, 120.0)], "b": [read_off(3.0, 60.0)]})
    write_quantities(tmp_path, {"a": [read_off(4.0, 60.0)]})
    table = pd.read_parquet(tmp_path / "quantification.parquet")
    assert list(table.columns) == ["readout", "image", "time_s", "region", "quantity", "value", "unit", "flag"]
    assert sorted(zip(table["readout"], table["time_s"], table["value"], strict=True)) == [
        ("a", 60, 4),
        ("a", 120, 2),
        ("b", 60, 3),
    ]
    assert set(table["flag"]) == {"partial volume"}


def test_an_image_without_numbers_leaves_an_empty_table(image: Make, tmp_path: Path) -> None:
    for _ in range(2):
        write_quantities(tmp_path, {"a": [image("PET", quantities=())]})
    assert pd.read_parquet(tmp_path / "quantification.parquet").dtypes["value"].kind == "f"
