"""`tme-sim image` and `readouts=` in a run: from the command line to the files that it leaves."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

import tme_sim
from tme_sim.cli import main

WORDS = (
    *("nanoparticle=liposome_cu64", "drug=none", "lattice.size=120um", "number=continuum", "report=false", "step=5min"),
    *("protocol.duration=40min", "protocol.dose=10MBq", "protocol.dose_of=activity", "record.interval=20min"),
    *("processes=circulation,gaps,transcytosis,transport,binding,uptake,labels", "readouts=pet_preclinical"),
    "readouts.pet_preclinical.times=20min,40min",
)
RATES = ("maturation", "degradation")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that an instrument saw at two times."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["run", *WORDS, "--out", str(folder), "--quiet"]) == 0
    return folder


def test_a_run_with_a_readout_leaves_images_numbers_and_a_page(seen: Path) -> None:
    images = seen / "images"
    scans = sorted(images.glob("bids/sub-*/ses-*/pet/*.nii.gz"))
    assert len(scans) == 2
    assert (images / "gallery.html").stat().st_size > 10_000
    table = pd.read_parquet(images / "quantification.parquet")
    assert sorted(table["time_s"].unique()) == [1200, 2400]
    read = table[(table["region"] == "tumor") & (table["time_s"] == 2400)].set_index("quantity")["value"]
    assert 0.3 < read["percent_id_per_g"] / read["percent_id_per_g_true"] < 1.2


def test_the_command_looks_again_with_other_settings_and_formats(seen: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["image", str(seen), "pet_preclinical", "readouts.pet_preclinical.scan=10min", "--time", "40min"]
    assert main([*command, "--format", "nifti,ome-tiff"]) == 0
    told = capsys.readouterr().out
    assert "suv_mean" in told
    assert "gallery.html" in told
    table = pd.read_parquet(seen / "images" / "quantification.parquet")
    assert sorted(table["time_s"].unique()) == [1200, 2400]  # what was seen before stays
    image = tme_sim.open_run(seen).image("pet_preclinical", "40 min", {"scan": "10 min"})
    stored = nibabel.load(next((seen / "images").glob("bids/sub-*/ses-*40*/pet/*.nii.gz")))
    np.testing.assert_array_equal(np.asarray(stored.dataobj)[..., 0].transpose(), image.data.astype(np.float32))


def test_what_cells_have_degraded_is_told_where_nothing_follows_labels(tmp_path: Path) -> None:
    words = [word.removesuffix(",labels") for word in WORDS if not word.startswith("readouts.")]
    fast = [f"nanoparticle.uptake.{kind}.{rate}=1/min" for kind in ("macrophages", "tumor_cells") for rate in RATES]
    fast.append("nanoparticle.uptake.macrophages.clearance=10um^3/s")
    assert main(["run", *words, *fast, "--out", str(tmp_path / "run"), "--quiet"]) == 0
    run = tme_sim.open_run(tmp_path / "run")
    lost = {q.quantity: q for q in run.image("pet_preclinical").quantities}["degraded_particles"]
    terms = run.ledger.query("substance == 'nanoparticle' and time_s == 2400").set_index("term")["amount"]
    inside = terms[["interstitium", "bound", "endothelium", "macrophages", "tumor_cells"]].sum()
    assert lost.value == pytest.approx(100 * terms["degraded"] / (inside + terms["degraded"]))
    assert 0.1 < lost.value < 100


def test_a_frame_before_the_dose_is_an_empty_image(seen: Path) -> None:
    assert tme_sim.open_run(seen).image("pet_preclinical", "0 h").layers["truth"].max() == 0


def test_all_shows_what_can_see_the_run_and_says_why_others_cannot(seen: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image", str(seen), "--all", "--time", "40min"]) == 0
    told = capsys.readouterr().out
    assert "mri_r2star: nanoparticle.contrast: MRI needs it on the card" in told
    assert "pet_clinical: " in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["pet_preclinicl"], "readouts pet_preclinicl: is not a choice of readouts; did you mean pet_preclinical"),
        (["pet_preclinical", "--time", "7h"], "time 7 h: was not recorded; recorded are 0 h, 0.333333 h, 0.666667 h"),
        (["pet_preclinical", "protocol.dose=1MBq"], "protocol.dose: is decided when the run starts"),
        (["pet_preclinical", "readouts.pet_preclinical.fwhn=2mm"], "readouts.pet_preclinical.fwhn"),
        (["pet_preclinical", "--format", "jpeg"], "--format jpeg: must be of nifti, ome-zarr, ome-tiff, dicom"),
        (["mri_t1"], "nanoparticle.contrast: MRI needs it on the card"),
        (["confocal"], "nanoparticle.label.fluorescence: is not on the card"),
    ],
)
def test_what_cannot_be_seen_is_told_in_a_line(
    seen: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert main(["image", str(seen), *words]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("tme-sim: error: ")
    assert told in errors


@pytest.mark.parametrize(
    ("formats", "told"), [("nifti,jpeg", "--format jpeg: must be of nifti"), ("nifti,dicom", "--format dicom: needs pydicom")]
)
def test_a_format_that_cannot_be_written_is_told_before_anything_is_imaged(
    seen: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], formats: str, told: str
) -> None:
    monkeypatch.setattr("tme_sim.files.dicom.find_spec", lambda _: None)
    monkeypatch.setattr("tme_sim.commands.imaging.acquire", lambda *_, **__: pytest.fail("imaged first"))
    assert main(["image", str(seen), "pet_preclinical", "--format", formats]) == 2
    assert told in capsys.readouterr().err


def test_a_setting_of_an_instrument_is_explained_without_choosing_it_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "readouts.pet_preclinical.fwhm"]) == 0
    assert capsys.readouterr().out.startswith("readouts.pet_preclinical.fwhm = 1.5 mm")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["readouts.pet_preclinical.times=30min"], "readouts.pet_preclinical.times 0.5 h: must be recorded"),
        (["protocol.times=20min"], "protocol.times 0.333333 h: must be 0 h for PET, which counts"),
        (["record.level=series"], "record.level series: must be full for pet_preclinical to see the run"),
        (["nanoparticle=micelle_65nm"], "nanoparticle.label.activity 0 Bq: must be above 0 for PET to see the label"),
    ],
)
def test_a_readout_that_could_not_see_the_run_is_told_before_it_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    without = [word for word in WORDS if word.split("=")[0] not in {word.split("=")[0] for word in words}]
    assert main(["run", *without, *words, "--out", str(tmp_path / "run")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
