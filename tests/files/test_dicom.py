from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tme_sim.files import dicom
from tme_sim.state.errors import InputError

VOXEL_UM, ORIGIN_UM = (500.0, 400.0, 300.0), (1000.0, -2000.0, 3000.0)
FACTS = {"radionuclide": "Zr89", "half_life_s": 282240.0, "positron_fraction": 0.227, "injected_Bq": 5e6, "body_mass_g": 25.0}


SAME: dict[str, Any] = {"patient": "1a2b3c4d", "time_s": 3600.0, "duration_s": 600.0}


def activity() -> NDArray[Any]:
    """Slices of very unlike height: with noise below zero, without, empty, and one bright voxel."""
    data = np.random.default_rng(1).normal(1e5, 1e5, (5, 6, 7)).astype(np.float32)
    data[1] = abs(data[1])
    data[2] = 0
    data[3], data[3, 1, 2] = 0, 1.23e7
    data[4] *= 1e-9
    return data


def write(folder: Path, **given: Any) -> Path:
    said: dict[str, Any] = {
        "series": "pet_preclinical",
        "patient": "1a2b3c4d",
        "time_s": 86400.0,
        "duration_s": 600.0,
        "facts": FACTS,
    }
    return dicom.write_dicom_pet(folder, activity(), VOXEL_UM, ORIGIN_UM, **(said | given))


def slices(folder: Path) -> list[Any]:
    pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


def test_numbers_are_within_half_a_step_of_their_slice(tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    found = slices(write(tmp_path / "pet"))
    assert len(found) == 5
    for plane, true in zip(found, activity(), strict=True):
        slope = float(plane.RescaleSlope)
        there = plane.pixel_array[::-1, ::-1] * slope
        assert np.abs(there - true).max() <= slope * 0.5 * (1 + 1e-9)
        assert slope <= np.abs(true).max(initial=1e-9) / 32767 * (1 + 1e-9) or not true.any()
    assert [plane.PixelRepresentation for plane in found] == [1, 0, 0, 0, 1]


def test_a_marker_lies_where_it_was_in_the_patients_coordinates(tmp_path: Path) -> None:
    """PS3.3 C.7.6.2.1.1: position + column · spacing · (1, 0, 0) + row · spacing · (0, 1, 0), x to the left, y to posterior."""
    pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    plane = slices(write(tmp_path / "pet"))[3]
    row, column = np.unravel_index(np.argmax(plane.pixel_array), plane.pixel_array.shape)
    assert list(plane.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
    left_mm = plane.ImagePositionPatient[0] + column * plane.PixelSpacing[1]
    posterior_mm = plane.ImagePositionPatient[1] + row * plane.PixelSpacing[0]
    assert left_mm == pytest.approx(-(3.0 + 2 * 0.3))
    assert posterior_mm == pytest.approx(-(-2.0 + 1 * 0.4))
    assert plane.ImagePositionPatient[2] == pytest.approx(1.0 + 3 * 0.5)


def test_a_series_says_its_tracer_its_times_and_that_it_is_synthetic(tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    plane = slices(write(tmp_path / "pet"))[0]
    tracer = plane.RadiopharmaceuticalInformationSequence[0]
    assert tracer.RadionuclideCodeSequence[0].CodeMeaning == "^89^Zirconium"
    assert (tracer.RadionuclideHalfLife, tracer.RadionuclideTotalDose) == (282240, 5e6)
    assert (plane.AcquisitionDate, plane.AcquisitionTime) == ("19000102", "000000.000000")
    assert (plane.Units, plane.PatientWeight, plane.ActualFrameDuration) == ("BQML", 0.025, 600000)
    for text in (plane.PatientName, plane.Manufacturer, plane.StudyDescription, plane.SeriesDescription):
        assert "synthetic" in str(text).lower()


def test_a_viewer_computes_the_uptake_value_from_the_dose_at_the_start_of_the_scan(tmp_path: Path) -> None:
    """SUV = activity · mass / dose; with DecayCorrection START the dose decays from its injection to the acquisition (QIBA)."""
    pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    plane = slices(write(tmp_path / "pet"))[3]
    tracer = plane.RadiopharmaceuticalInformationSequence[0]
    start, injected = (
        datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        for text in (plane.AcquisitionDate + plane.AcquisitionTime, tracer.RadiopharmaceuticalStartDateTime)
    )
    assert plane.DecayCorrection == "START"
    dose_Bq = tracer.RadionuclideTotalDose * 2 ** (-(start - injected).total_seconds() / tracer.RadionuclideHalfLife)
    suv = plane.pixel_array.max() * plane.RescaleSlope * plane.PatientWeight * 1e3 / dose_Bq
    assert suv == pytest.approx(1.23e7 * 25 / (5e6 * 2 ** (-24 / 78.4)), rel=1e-4)
    assert plane.DecayFactor == pytest.approx(1 + np.log(2) * 600 / 282240 / 2, rel=1e-6)


def test_the_same_series_is_the_same_bytes_and_another_time_another_series(tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    first, again, later = (
        slices(write(tmp_path / name, time_s=time_s)) for name, time_s in (("a", 3600.0), ("b", 3600.0), ("c", 7200.0))
    )
    assert (tmp_path / "a/0001.dcm").read_bytes() == (tmp_path / "b/0001.dcm").read_bytes()
    assert first[0].SOPInstanceUID == again[0].SOPInstanceUID != later[0].SOPInstanceUID
    assert first[0].SeriesInstanceUID != later[0].SeriesInstanceUID
    assert first[0].StudyInstanceUID == later[0].StudyInstanceUID
    assert len({plane.SOPInstanceUID for plane in first}) == len(first)
    brighter = slices(dicom.write_dicom_pet(tmp_path / "d", 2 * activity(), VOXEL_UM, series="pet_preclinical", **SAME))
    assert brighter[0].SOPInstanceUID != first[0].SOPInstanceUID


@pytest.mark.parametrize("facts", [FACTS, {}, {"radionuclide": "C11"}])
def test_dciodvfy_finds_no_error(facts: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    validator = which("dciodvfy")
    if validator is None:
        pytest.skip("dciodvfy (Debian: dicom3tools) is not installed")
    for path in write(tmp_path / "pet", facts=facts).iterdir():
        run = subprocess.run([validator, str(path)], capture_output=True, text=True, check=False, timeout=60)
        assert "PETImage" in run.stderr + run.stdout
        assert "Error" not in run.stderr + run.stdout


@pytest.mark.parametrize("value", [1 / 3, 1.23456789012345e-5, 4.7e21, 65535 / 7, 5.0, 1e-300])
def test_a_number_fits_in_sixteen_characters_and_upwards_is_never_less(value: float) -> None:
    text = dicom._decimal(value, upwards=True)
    assert len(text) <= 16
    assert value <= float(text) <= value * (1 + 1e-9)
    assert dicom._decimal(0.3) == "0.3"


def test_without_pydicom_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dicom, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"install tme-sim\[dicom\]"):
        write(tmp_path / "pet")
