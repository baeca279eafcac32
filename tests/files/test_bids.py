from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import pytest
import tifffile

from tme_sim.files.bids import write_bids
from tme_sim.files.bids_names import place_of, session, word
from tme_sim.files.image import Image
from tme_sim.files.volumes import read_volume

ABOUT = {"run": "1a2b3c4d", "seed": 5, "name": "quick", "species": "mus musculus"}
SIM = Path("derivatives", "tme-sim")
Make = Callable[..., Image]


def all_of(image: Make) -> list[tuple[str, Image]]:
    """One image of every kind that has a place of its own."""
    return [
        ("pet_preclinical", image("PET")),
        ("pet_preclinical", image("PET", time_s=5400.0)),
        ("pet_clinical", image("PET")),
        ("mri_r2star", image("MEGRE", channels=2)),
        ("mri_r2star", image("R2starmap")),
        ("mri_t1", image("VFA", channels=2)),
        ("mri_t1", image("T1w")),
        ("mri_spin_echo", image("T2w")),
        ("mri_t1", image("dR1map")),
        ("lightsheet", image("micr", channels=2, acquisition={"suffix": "SPIM"})),
        *((name.lower(), image(name, channels=2)) for name in ("CONF", "2PE", "FLUO", "BF")),
        ("reflectance", image("optical", channels=2)),
        ("fmt", image("optical")),
    ]


def sidecar(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.with_name(path.name.split(".")[0] + ".json").read_text("utf-8"))
    return found


@pytest.mark.parametrize(("time_s", "label"), [(0, "0h"), (86400.0, "24h"), (5400, "90min"), (90.4, "90s")])
def test_a_session_is_a_time(time_s: float, label: str) -> None:
    assert session(time_s) == label


def test_labels_hold_letters_and_digits_only() -> None:
    assert [word(text) for text in ("pet_preclinical", "F4/80", "noise_free", "R2starmap", "dye 0_")] == [
        "petPreclinical",
        "F480",
        "noiseFree",
        "R2starmap",
        "dye0",
    ]


@pytest.mark.parametrize(
    ("modality", "expected"),
    [
        ("PET", "sub-a/ses-24h/pet/sub-a_ses-24h_rec-x_pet.nii.gz"),
        ("T1w", "sub-a/ses-24h/anat/sub-a_ses-24h_acq-x_T1w.nii.gz"),
        ("CONF", "sub-a/ses-24h/micr/sub-a_ses-24h_sample-tumor_acq-x_CONF.nii.gz"),
        ("optical", "sub-a/ses-24h/optical/sub-a_ses-24h_acq-x_optical.nii.gz"),
    ],
)
def test_a_name_has_its_words_in_the_order_of_bids(image: Make, modality: str, expected: str) -> None:
    place = place_of(image(modality), "a", "x")
    assert place.path(".nii.gz").as_posix() == expected
    assert place.derived == (modality == "optical")


def test_a_microscope_is_named_by_its_setting_and_unknown_maps_stand_together(image: Make) -> None:
    assert place_of(image("micr", acquisition={"suffix": "2PE"}), "a", "x").path("").name.endswith("_2PE")
    assert place_of(image("micr"), "a", "x").suffix == "FLUO"
    places = [place_of(image(f"{name}map"), "a", "x") for name in ("Fe", "dR2star", "R1")]
    assert [(place.datatype, place.suffix) for place in places] == [("maps", "Femap"), ("maps", "dR2starmap"), ("anat", "R1map")]
    assert all(place.derived for place in places)


def test_what_looks_measured_is_raw_and_the_truth_behind_it_derived(image: Make, tmp_path: Path) -> None:
    pet, r2star = image("PET"), image("R2starmap")
    written = [path.relative_to(tmp_path) for path in write_bids(tmp_path, [("pet", pet), ("mri", r2star)], ABOUT)]
    raw = [path for path in written if path.parts[0] != "derivatives"]
    assert [path.name for path in raw] == ["sub-1a2b3c4d_ses-24h_rec-pet_pet.nii.gz"]
    names = [path.name.removeprefix("sub-1a2b3c4d_ses-24h_").removesuffix(".nii.gz") for path in written if path not in raw]
    assert names == [
        "rec-pet_desc-truth_pet",
        "rec-pet_desc-noiseFree_pet",
        "acq-pet_desc-pet_dseg",
        "acq-mri_R2starmap",
        "acq-mri_desc-truth_R2starmap",
        "acq-mri_desc-noiseFree_R2starmap",
        "acq-mri_desc-R2starmap_dseg",
    ]
    for path, data in zip(written[:3], (pet.data, *pet.layers.values()), strict=True):
        assert np.array_equal(read_volume(tmp_path / path).data, data.astype(np.float32))
    assert pet.regions is not None
    assert np.array_equal(read_volume(tmp_path / written[3]).data, pet.regions)
    table = (tmp_path / written[3]).with_name("sub-1a2b3c4d_ses-24h_acq-pet_desc-pet_dseg.tsv")
    assert table.read_text() == "index\tname\n1\ttumor\n"


def test_each_echo_is_a_file_with_its_own_time(image: Make, tmp_path: Path) -> None:
    megre = image("MEGRE", channels=2, layers={}, regions=None)
    written = write_bids(tmp_path, [("mri", megre)], ABOUT)
    assert [sidecar(path)["EchoTime"] for path in written] == [0.002, 0.004]
    assert [path.name.split("_")[3] for path in written] == ["echo-1", "echo-2"]
    for path, data in zip(written, megre.data, strict=True):
        assert np.array_equal(read_volume(path).data, data.astype(np.float32))


def test_microscopy_is_one_file_with_its_channels_and_pixels(image: Make, tmp_path: Path) -> None:
    confocal = image("CONF", channels=2, layers={}, regions=None)
    (path,) = write_bids(tmp_path, [("confocal", confocal)], ABOUT)
    assert path.name.endswith("_sample-tumor_acq-confocal_CONF.ome.tif")
    assert np.array_equal(tifffile.imread(path), confocal.data.astype(np.float32))
    assert sidecar(path)["PixelSize"] == [10.0, 20.0, 30.0]
    assert "sample-tumor\tsub-1a2b3c4d\ttissue" in (tmp_path / "samples.tsv").read_text()


def test_channels_of_other_images_are_files_with_their_names(image: Make, tmp_path: Path) -> None:
    written = write_bids(tmp_path, [("fmt", image("optical", channels=2, regions=None))], ABOUT)
    descriptions = [path.name.split("desc-")[1].split("_")[0] for path in written]
    assert descriptions == ["dye0", "dye1", "dye0Truth", "dye1Truth", "dye0NoiseFree", "dye1NoiseFree"]
    assert (tmp_path / SIM / ".bidsignore").read_text() == "**/optical\n"


def test_nothing_passes_as_measured(image: Make, tmp_path: Path) -> None:
    written = write_bids(tmp_path, all_of(image), ABOUT)
    assert len(written) == len(set(written))
    for folder in (tmp_path, tmp_path / SIM):
        says = json.loads((folder / "dataset_description.json").read_text())
        assert says["GeneratedBy"][0]["Name"] == "tme-sim"
        assert "Nothing in this data set was measured" in (folder / "README.md").read_text()
    assert all(sidecar(path)["Synthetic"] for path in written)
    assert {sidecar(path)["Manufacturer"] for path in written if "dseg" not in path.name} == {"tme-sim (synthetic)"}


def test_what_the_instrument_says_overrides_what_is_said_of_all(image: Make, tmp_path: Path) -> None:
    pet = image("PET", layers={}, regions=None)
    says = pet.acquisition | {"ReconMethodName": "OSEM", "Odd": np.float64(2)}
    (path,) = write_bids(tmp_path, [("pet", image("PET", layers={}, regions=None, acquisition=says))], ABOUT)
    found = sidecar(path)
    assert (found["ReconMethodName"], found["Odd"], found["Units"], found["FrameTimesStart"]) == ("OSEM", 2.0, "Bq/mL", [86400.0])


def test_a_second_call_adds_to_the_first(image: Make, tmp_path: Path) -> None:
    (first,) = write_bids(tmp_path, [("pet", image("PET", layers={}, regions=None))], ABOUT)
    before = first.read_bytes()
    (second,) = write_bids(tmp_path, [("pet", image("PET", layers={}, regions=None, time_s=3600.0))], ABOUT)
    assert first.read_bytes() == before
    assert first != second
    assert not list(tmp_path.rglob("*.part"))


def test_the_bids_validator_finds_no_error(image: Make, tmp_path: Path) -> None:
    validator = which("bids-validator-deno")
    if validator is None:
        pytest.skip("bids-validator-deno is not installed")
    write_bids(tmp_path, all_of(image), ABOUT)
    for folder in (tmp_path, tmp_path / SIM):
        run = subprocess.run(
            [validator, "--format", "json", str(folder)], capture_output=True, text=True, check=False, timeout=120
        )
        issues = json.loads(run.stdout)["issues"]["issues"]
        assert [(issue["code"], issue.get("location")) for issue in issues if issue["severity"] == "error"] == []
