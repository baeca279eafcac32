"""Writing a PET series as DICOM (extra `dicom`): axial slices, x to the patient's right, one rescale slope a slice.

DICOM PS3.3, PET Image IOD (A.21). Patient, equipment, study and comments say that it is synthetic (the attribute Synthetic Data
is younger than the validator at hand). All times count from the injection, at 00:00 of 1 January 1900; the same series has the
same UIDs every time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from importlib.util import find_spec
from math import expm1, log
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.files.stored import GENERATOR, VERSION, stored
from tme_sim.files.whole import whole
from tme_sim.state.errors import InputError

PET_STORAGE = "1.2.840.10008.5.1.4.1.1.128"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
INJECTED_AT = datetime(1900, 1, 1, tzinfo=UTC)
MM_PER_UM = 1e-3
RADIONUCLIDES = {
    "F18": ("77004003", "^18^Fluorine"),
    "Cu64": ("3932008", "^64^Copper"),
    "Ga68": ("35337001", "^68^Gallium"),
    "Zr89": ("63360001", "^89^Zirconium"),
    "I124": ("40937006", "^124^Iodine"),
}
"""Isotope, as BIDS writes it → its SNOMED CT code and meaning, PS3.16 context group 4020."""


def write_dicom_pet(
    folder: Path,
    data: NDArray[Any],
    voxel_um: tuple[float, float, float],
    origin_um: tuple[float, float, float] = (0.0, 0.0, 0.0),
    *,
    series: str,
    patient: str,
    time_s: float,
    duration_s: float,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Write a volume (z, y, x) in Bq/mL as a folder of slices `0001.dcm` …; numbers within half a step of their slice's slope.

    voxel_um, origin_um: as in `write_nifti`. series: its name; patient: who it is of, such as a run's hash. time_s: start of the
    frame after the injection, which the activity is that of. facts: `radionuclide`, `half_life_s`, `positron_fraction`,
    `injected_Bq`, `body_mass_g`, as far as they are known. Raises InputError where pydicom is not installed.
    """
    check_installed()
    data = stored(data, series)
    content = blake2b(data.tobytes(), digest_size=16).hexdigest()
    uids = {"study": _uid(patient, "study"), "frame": _uid(patient, "frame")}
    uids |= {"series": _uid(patient, series, str(time_s), content)}
    common = _facts(series, patient, time_s, duration_s, dict(facts or {})) | _places(uids, data.shape, voxel_um)
    with whole(folder) as part:
        part.mkdir()
        for z, plane in enumerate(data):
            here = [-(origin_um[2] + (data.shape[2] - 1) * voxel_um[2]), -(origin_um[1] + (data.shape[1] - 1) * voxel_um[1])]
            position = [*here, origin_um[0] + z * voxel_um[0]]
            instance = _uid(uids["series"], str(z))
            of_slice = common | _pixels(plane[::-1, ::-1])
            of_slice |= {"SOPInstanceUID": instance, "InstanceNumber": z + 1, "ImageIndex": z + 1}
            of_slice |= {"ImagePositionPatient": [_decimal(each * MM_PER_UM) for each in position]}
            of_slice |= {"SliceLocation": _decimal(position[2] * MM_PER_UM)}
            _save(part / f"{z + 1:04d}.dcm", of_slice)
    return folder


def check_installed() -> None:
    """Raise InputError where pydicom is not installed."""
    if find_spec("pydicom") is None:
        raise InputError("--format", "dicom", "needs pydicom; install tme-sim[dicom]")


def _save(path: Path, elements: Mapping[str, Any]) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset

    dataset: Any = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = EXPLICIT_LITTLE_ENDIAN
    dataset.update(_dataset(elements))
    dataset.save_as(path, enforce_file_format=True)


def _dataset(elements: Mapping[str, Any]) -> Any:
    """Elements by keyword, a list of mappings being a sequence."""
    from pydicom.dataset import Dataset

    made = Dataset()
    for keyword, value in elements.items():
        is_sequence = isinstance(value, list) and (not value or isinstance(value[0], Mapping))
        setattr(made, keyword, [_dataset(item) for item in value] if is_sequence else value)
    return made


def _facts(series: str, patient: str, time_s: float, duration_s: float, facts: dict[str, Any]) -> dict[str, Any]:
    """What the series says of patient, study, equipment, tracer and time."""
    start = INJECTED_AT + timedelta(seconds=time_s)
    day, hour = start.strftime("%Y%m%d"), start.strftime("%H%M%S.%f")
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "SOPClassUID": PET_STORAGE,
        "StudyDate": INJECTED_AT.strftime("%Y%m%d"),
        "SeriesDate": day,
        "AcquisitionDate": day,
        "ContentDate": day,
        "StudyTime": "000000",
        "SeriesTime": hour,
        "AcquisitionTime": hour,
        "ContentTime": hour,
        "AccessionNumber": "",
        "Modality": "PT",
        "Manufacturer": "tme-sim (synthetic)",
        "ManufacturerModelName": series,
        "ReferringPhysicianName": "",
        "StudyDescription": "synthetic",
        "SeriesDescription": f"{series}, synthetic",
        "SoftwareVersions": VERSION,
        "PatientName": "SYNTHETIC^TME-SIM",
        "PatientID": patient,
        "PatientBirthDate": "",
        "PatientSex": "",
        "QualityControlSubject": "YES",
        "PatientWeight": _decimal(facts["body_mass_g"] * 1e-3) if facts.get("body_mass_g") else None,
        "StudyID": "1",
        "SeriesNumber": 1,
        "BodyPartExamined": "WHOLEBODY",
        "SeriesType": ["STATIC", "IMAGE"],
        "Units": "BQML",
        "CountsSource": "EMISSION",
        **_decay(duration_s, facts.get("half_life_s")),
        "CollimatorType": "NONE",
        "ImageComments": f"Simulated by {GENERATOR}; not measured",
        "PatientOrientationCodeSequence": [],
        "PatientGantryRelationshipCodeSequence": [],
        "AcquisitionContextSequence": [],
        "FrameReferenceTime": 0,
        "ActualFrameDuration": round(duration_s * 1e3),
        "RadiopharmaceuticalInformationSequence": [_tracer(facts)],
    }


def _decay(duration_s: float, half_life_s: float | None) -> dict[str, Any]:
    """The image tells the activity at the start of the frame: decay within it is corrected."""
    if half_life_s is None:
        return {"DecayCorrection": "NONE", "CorrectedImage": []}
    decayed = log(2) * duration_s / half_life_s
    return {"DecayCorrection": "START", "DecayFactor": _decimal(decayed / -expm1(-decayed)), "CorrectedImage": ["DECY"]}


def _tracer(facts: Mapping[str, Any]) -> dict[str, Any]:
    code = RADIONUCLIDES.get(str(facts.get("radionuclide")))
    named = {"CodeValue": code[0], "CodingSchemeDesignator": "SCT", "CodeMeaning": code[1]} if code else None
    known = {"RadionuclideHalfLife": "half_life_s", "RadionuclidePositronFraction": "positron_fraction"}
    known |= {"RadionuclideTotalDose": "injected_Bq"}
    said = {keyword: _decimal(facts[key]) for keyword, key in known.items() if facts.get(key) is not None}
    return said | {
        "Radiopharmaceutical": str(facts.get("tracer", "")),
        "RadiopharmaceuticalStartTime": "000000",
        "RadiopharmaceuticalStartDateTime": INJECTED_AT.strftime("%Y%m%d%H%M%S"),
        "RadionuclideCodeSequence": [named] if named else [],
    }


def _places(uids: Mapping[str, str], shape: tuple[int, ...], voxel_um: tuple[float, float, float]) -> dict[str, Any]:
    """UIDs, and where rows and columns go: columns to the patient's left, rows to posterior, slices to superior."""
    edges = [_decimal(edge * MM_PER_UM) for edge in voxel_um]
    return {
        "StudyInstanceUID": uids["study"],
        "SeriesInstanceUID": uids["series"],
        "FrameOfReferenceUID": uids["frame"],
        "PositionReferenceIndicator": "",
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": edges[1:],
        "SliceThickness": edges[0],
        "SpacingBetweenSlices": edges[0],
        "NumberOfSlices": shape[0],
        "Rows": shape[1],
        "Columns": shape[2],
    }


def _pixels(plane: NDArray[Any]) -> dict[str, Any]:
    """16 bits a pixel and the slope that turns them to numbers; signed only where noise goes below zero."""
    signed = bool((plane < 0).any())
    most = 32767 if signed else 65535
    peak = float(np.abs(plane).max())
    slope = _decimal(peak / most if peak else 1.0, upwards=True)
    counts = np.rint(plane.astype(np.float64) / float(slope)).astype("<i2" if signed else "<u2")
    return {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": int(signed),
        "RescaleIntercept": 0,
        "RescaleSlope": slope,
        "PixelData": counts.tobytes(),
    }


def _decimal(value: float, *, upwards: bool = False) -> str:
    """A number in the 16 characters that DICOM allows, rounded away from zero if asked."""
    for digits in range(15, 0, -1):
        text = f"{value * (1 + 10.0 ** (1 - digits) if upwards else 1):.{digits}g}"
        if len(text) <= 16:
            return text
    raise ValueError(f"{value} does not fit in DICOM")


def _uid(*words: str) -> str:
    """A UID that is a function of the words, as PS3.5 B.2 makes them from 128 bits."""
    digest = blake2b("\0".join(words).encode(), digest_size=16).digest()
    return f"2.25.{int.from_bytes(digest, 'big')}"
