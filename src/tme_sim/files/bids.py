"""Writing images as a BIDS data set: measured-looking ones as raw data, maps and what no scanner shows as derivatives.

`images/bids/` is valid by the BIDS validator; `derivatives/tme-sim/` holds `desc-truth` and `desc-noiseFree` layers, parameter
maps, regions, and modalities that BIDS does not know (listed in its .bidsignore).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.files.bids_facts import facts_of
from tme_sim.files.bids_names import KNOWN, SPLIT, Place, place_of, word
from tme_sim.files.image import Image
from tme_sim.files.nifti import write_nifti
from tme_sim.files.ome_tiff import write_ome_tiff
from tme_sim.files.stored import VERSION
from tme_sim.files.whole import write_json, write_text

BIDS_VERSION = "1.10.0"
DERIVED = Path("derivatives", "tme-sim")
README = """# Synthetic images by tme-sim {version}

Nothing in this data set was measured. Every image was computed from a simulated tumour by a model of an instrument; no animal
or patient was involved. Run {run}, seed {seed}. `derivatives/tme-sim` holds the truth behind each image (desc-truth), the image
without noise (desc-noiseFree), parameter maps and regions.
"""


def write_bids(root: Path, images: Iterable[tuple[str, Image]], about: Mapping[str, Any]) -> list[Path]:
    """Write images, each with the label that tells it from others of its modality and time; returns the images' paths.

    about: `run` (its hash), `seed`, `name`, `species` and `body_mass_g` as far as known. What is there of other images stays.
    """
    written = [path for label, image in images for path in _write_image(root, image, label, about)]
    _describe(root, about)
    return written


def _write_image(root: Path, image: Image, label: str, about: Mapping[str, Any]) -> Iterator[Path]:
    home = place_of(image, word(str(about["run"])), label)
    for layer, data in {"": image.data, **image.layers}.items():
        place = home.but(desc=word(layer)) if layer else home
        for each, part, values in _parts(image, place, data):
            yield _write_part(
                root / (DERIVED if each.derived else ""), image, each, part, facts_of(image, each, about, part.shape) | values
            )
    if image.regions is not None:
        yield _write_regions(root / DERIVED, image, home.regions())


def _parts(image: Image, place: Place, data: NDArray[Any]) -> Iterator[tuple[Place, NDArray[Any], dict[str, Any]]]:
    """Files that a layer makes: where, what, and what is true of it alone."""
    if not image.channels or place.datatype == "micr":
        yield place, data, {}
    elif image.modality in SPLIT:
        entity, key = SPLIT[image.modality]
        for number, (part, value) in enumerate(zip(data, image.acquisition[key], strict=True), 1):
            yield place.but(**{entity: str(number)}), part, {key: value}
    else:
        for channel, part in zip(image.channels, data, strict=True):
            layer = place.entities.get("desc", "")
            yield place.but(desc=word(f"{channel}_{layer}")), part, {"Channel": channel}


def _write_part(root: Path, image: Image, place: Place, data: NDArray[Any], facts: Mapping[str, Any]) -> Path:
    if place.datatype == "micr":
        path = root / place.path(".ome.tif")
        write_ome_tiff(path, data, image.voxel_um, image.origin_um, channels=image.channels, about={"Unit": image.unit})
    else:
        path = root / place.path(".nii.gz")
        frames = data[np.newaxis] if place.datatype == "pet" else data  # BIDS counts a PET image's frames, be it one
        write_nifti(path, frames, image.voxel_um, image.origin_um)
    write_json(root / place.path(".json"), facts)  # last: a sidecar without its image would be an error
    return path


def _write_regions(root: Path, image: Image, place: Place) -> Path:
    assert image.regions is not None
    rows = [f"{number}\t{name}" for number, name in sorted(image.region_names.items())]
    write_text(root / place.path(".tsv"), "\n".join(["index\tname", *rows]) + "\n")
    write_json(root / place.path(".json"), {"Manual": False, "Readout": image.name, "Synthetic": True})
    return write_nifti(root / place.path(".nii.gz"), image.regions, image.voxel_um, image.origin_um)


def _describe(root: Path, about: Mapping[str, Any]) -> None:
    """What a data set says of itself, so that it never passes as measured."""
    maker = {"Name": "tme-sim", "Version": VERSION, "Description": "Simulated, not measured"}
    subject, derived = f"sub-{word(str(about['run']))}", root / DERIVED
    for folder, kind in ((root, "raw"), (derived, "derivative")):
        content: dict[str, Any] = {"Name": f"{about['name']}, synthetic", "BIDSVersion": BIDS_VERSION, "DatasetType": kind}
        content |= {"License": "PDDL", "Authors": ["tme-sim"], "GeneratedBy": [maker]}
        if folder == root or folder.exists():
            write_json(folder / "dataset_description.json", content)
            write_text(folder / "README.md", README.format(version=VERSION, **about))
    if derived.exists():
        unknown = sorted({place.name for place in derived.glob("sub-*/ses-*/*")} - set(KNOWN))
        write_text(derived / ".bidsignore", "".join(f"**/{name}\n" for name in unknown))
    write_text(root / "participants.tsv", f"participant_id\tspecies\tsynthetic\n{subject}\t{about['species']}\tyes\n")
    columns = {"species": "of the simulated body", "synthetic": "yes: simulated, no animal or patient"}
    write_json(root / "participants.json", {key: {"Description": text} for key, text in columns.items()})
    if any(root.glob("sub-*/ses-*/micr")):
        write_text(root / "samples.tsv", f"sample_id\tparticipant_id\tsample_type\nsample-tumor\t{subject}\ttissue\n")
