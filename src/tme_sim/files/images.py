"""Images of a run on disk: the BIDS data set, further formats beside it, and the table of what was read off them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tme_sim.files.bids import write_bids
from tme_sim.files.bids_names import session, word
from tme_sim.files.dicom import check_installed, write_dicom_pet
from tme_sim.files.image import Image
from tme_sim.files.nifti import write_nifti
from tme_sim.files.ome_tiff import write_ome_tiff
from tme_sim.files.ome_zarr_write import write_ome_zarr
from tme_sim.files.run_folder import RunFolder
from tme_sim.files.run_store import RunStore
from tme_sim.state.errors import InputError

FORMATS = ("nifti", "ome-zarr", "ome-tiff", "dicom")
COLUMNS = ("readout", "image", "time_s", "region", "quantity", "value", "unit", "flag")
PER_UNIT = {"Bq": 1.0, "kBq": 1e3, "MBq": 1e6, "GBq": 1e9, "mg": 1e-3, "g": 1.0, "kg": 1e3}
PER_UNIT |= {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
"""In Bq, g and s: the units of what a recorded configuration and PET's sidecars say."""
PERSON_G = 2e4
"""A body above this mass is a person's."""

Images = Mapping[str, Sequence[Image]]
"""Instrument → what it gave."""


def write_images(run: RunFolder, images: Images, formats: Sequence[str] = ("nifti",)) -> list[Path]:
    """Write images to `images/` of the run's folder, and their numbers to `images/quantification.parquet`; returns the paths.

    `nifti` is the BIDS data set `images/bids/` (microscopy in it is OME-TIFF, as BIDS wants it); `ome-zarr`, `ome-tiff` and
    `dicom` (PET only) go to folders of that name. Each file is written whole or not at all, and replaces the one before it.
    Raises InputError for an unknown format, and for DICOM where pydicom or a PET image is missing.
    """
    check_formats(formats, images)
    folder, labelled = run.folder / "images", list(labels(images))
    written: list[Path] = []
    if "nifti" in formats:
        written += write_bids(folder / "bids", labelled, about(run))
    for label, image in labelled:
        for name in formats:
            stem = folder / name / f"{word(label)}_{session(image.time_s)}_{word(image.modality)}"
            if name == "ome-tiff":
                written.append(save_image(stem.with_suffix(".ome.tif"), image))
            elif name == "ome-zarr":
                written.append(save_image(stem.with_suffix(".ome.zarr"), image))
            elif name == "dicom" and image.modality == "PET":
                written.append(_write_dicom(stem, image, about(run)))
    return [*written, write_quantities(folder, images)]


def check_formats(formats: Sequence[str], images: Images | None = None) -> None:
    """Raise InputError for a format that is unknown, lacks its package, or that none of the images, where known, can have."""
    for name in formats:
        if name not in FORMATS:
            raise InputError("--format", name, f"must be of {', '.join(FORMATS)}")
    if "dicom" not in formats:
        return
    check_installed()
    if images is not None and not any(image.modality == "PET" for made in images.values() for image in made):
        raise InputError("--format", "dicom", f"is for PET, and none of {', '.join(images)} gave a PET image")


def save_image(path: str | Path, image: Image) -> Path:
    """Write one image by the name's ending: `.nii`, `.nii.gz`, `.ome.tif`, `.ome.zarr`. Several channels need an OME format."""
    path = Path(path)
    about = {"Unit": image.unit, "Readout": image.name, "TimeAfterStart_s": f"{image.time_s:g}", "Modality": image.modality}
    if path.name.endswith((".ome.tif", ".ome.tiff")):
        return write_ome_tiff(path, image.data, image.voxel_um, image.origin_um, channels=image.channels, about=about)
    if path.name.endswith(".ome.zarr"):
        shown: dict[str, Any] = {"regions": image.regions, "region_names": image.region_names, "channels": image.channels}
        settings = {**about, "Acquisition": image.acquisition}
        return write_ome_zarr(path, image.data, image.voxel_um, image.origin_um, about=settings, **shown)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError("image", path, "must end in .nii, .nii.gz, .ome.tif or .ome.zarr")
    if image.channels:
        raise InputError("image", path, f"has the channels {', '.join(image.channels)}; save it as .ome.tif or .ome.zarr")
    return write_nifti(path, image.data, image.voxel_um, image.origin_um)


def write_quantities(folder: Path, images: Images) -> Path:
    """Write what was read off the images to `quantification.parquet`; rows of other readouts and times stay."""
    rows = [
        (readout, image.name, image.time_s, q.region, q.quantity, float(q.value), q.unit, q.flag)
        for readout, made in images.items()
        for image in made
        for q in image.quantities
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"time_s": float, "value": float})
    store, path = RunStore(folder), folder / "quantification.parquet"
    if path.exists():
        before = store.read_table(path.name)
        seen = {(readout, image.time_s) for readout, made in images.items() for image in made}
        keep = [key not in seen for key in zip(before["readout"], before["time_s"], strict=True)]
        table = pd.concat([each for each in (before[keep], table) if len(each)] or [table], ignore_index=True)
    store.write_table(path.name, table)
    return path


def labels(images: Images) -> Iterator[tuple[str, Image]]:
    """Each image with what tells it from others of its modality and time: its readout, with its name where they are several."""
    for readout, made in images.items():
        for image in made:
            alike = [other for other in made if (other.modality, other.time_s) == (image.modality, image.time_s)]
            yield (readout if len(alike) == 1 or image.name == readout else f"{readout}_{image.name}"), image


def about(run: RunFolder) -> dict[str, Any]:
    """What files say of the run."""
    mass_g, label = _amount(run.config["body"]["mass"]), run.config["nanoparticle"].get("label") or {}
    known = {"run": str(run.info["hash"])[:8], "seed": run.info["seed"], "name": run.info["name"]}
    known |= {"species": "homo sapiens" if mass_g > PERSON_G else "mus musculus", "body_mass_g": mass_g}
    return known | ({"half_life_s": _amount(label["half_life"])} if label.get("half_life") else {})


def _amount(quantity: str) -> float:
    """A quantity of a recorded configuration, such as `25 g`, in g or s."""
    value, unit = quantity.split()
    return float(value) * PER_UNIT[unit]


def _write_dicom(folder: Path, image: Image, about: Mapping[str, Any]) -> Path:
    said = image.acquisition
    facts = {"radionuclide": said.get("TracerRadionuclide"), "tracer": said.get("TracerName", "nanoparticle")}
    facts |= {key: about.get(key) for key in ("half_life_s", "body_mass_g")}
    facts |= {"positron_fraction": said.get("PositronFraction")}
    facts |= {"injected_Bq": said["InjectedRadioactivity"] * PER_UNIT[said["InjectedRadioactivityUnits"]]}
    return write_dicom_pet(
        folder,
        image.data,
        image.voxel_um,
        image.origin_um,
        series=folder.name,
        patient=about["run"],
        time_s=image.time_s,
        duration_s=float(said["FrameDuration"][0]),
        facts=facts,
    )
