"""What a BIDS sidecar says of an image: the instrument's own settings, and what BIDS asks for besides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tme_sim.files.bids_names import SPLIT, Place
from tme_sim.files.image import Image
from tme_sim.files.stored import GENERATOR

PET: dict[str, Any] = {
    "TracerName": "nanoparticle",
    "InjectedMass": "n/a",
    "InjectedMassUnits": "n/a",
    "SpecificRadioactivity": "n/a",
    "SpecificRadioactivityUnits": "n/a",
    "ModeOfAdministration": "bolus",
    "TimeZero": "00:00:00",
    "InjectionStart": 0,
    "AcquisitionMode": "static, simulated",
    "ImageDecayCorrected": True,
    "ReconMethodName": "none, simulated in image space",
    "ReconMethodParameterLabels": ["none"],
    "ReconMethodParameterUnits": ["none"],
    "ReconMethodParameterValues": [0],
    "ReconFilterType": "none",
    "ReconFilterSize": 0,
    "AttenuationCorrection": "none needed, simulated",
}
"""What holds of every simulated PET image unless its readout says otherwise; it tells the activity at the start of the scan."""

SEQUENCES = {
    **dict.fromkeys(("MEGRE", "T2starw"), "gradient echo"),
    **dict.fromkeys(("MESE", "T2w"), "spin echo"),
    **dict.fromkeys(("VFA", "T1w"), "spoiled gradient echo"),
}


def facts_of(image: Image, place: Place, about: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """The sidecar of one file; times count from the injection, in s. The readout's `acquisition` overrides all."""
    facts: dict[str, Any] = {
        "Manufacturer": "tme-sim (synthetic)",
        "ManufacturersModelName": image.name,
        "SoftwareVersions": GENERATOR,
        "Synthetic": True,
        "Units": image.unit,
        "TimeAfterStart": image.time_s,
        "Seed": about["seed"],
    }
    if place.datatype == "pet":
        facts |= PET | dict.fromkeys(("ScanStart", "ImageDecayCorrectionTime"), image.time_s)
        facts |= {"FrameTimesStart": [image.time_s]}
    elif place.datatype == "anat":
        facts |= {"NonlinearGradientCorrection": False, "MRAcquisitionType": "3D"}
        facts |= {"PulseSequenceType": SEQUENCES[image.modality]} if image.modality in SEQUENCES else {}
    elif place.datatype == "micr":
        facts |= {
            "PixelSize": list(image.voxel_um[::-1]),
            "PixelSizeUnits": "um",
            "SliceThickness": image.voxel_um[0] * shape[-3],
        }
        facts |= {"BodyPart": "TUMOR", "Channels": list(image.channels)}
    if place.derived and place.datatype != "micr":
        facts |= {"SkullStripped": False}  # BIDS asks it of every derived volume
    if image.modality in SPLIT:
        facts |= {"ChannelNames": list(image.channels)}
    return facts | dict(image.acquisition)
