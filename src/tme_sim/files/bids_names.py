"""Where an image goes in a BIDS data set (https://bids-specification.readthedocs.io, 1.10): folder, name, and what splits it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from tme_sim.files.image import Image

ANAT = {"MEGRE", "MESE", "VFA", "T1w", "T2w", "T2starw"}
MAPS = {"T1map", "R1map", "T2map", "R2map", "T2starmap", "R2starmap", "S0map", "Chimap"}
MICROSCOPY = {"BF", "FLUO", "CONF", "2PE", "SPIM"}
DATATYPES = {"PET": "pet", **dict.fromkeys(ANAT | MAPS, "anat"), **dict.fromkeys(MICROSCOPY, "micr")}
KNOWN = ("anat", "micr", "pet")
SPLIT = {"MEGRE": ("echo", "EchoTime"), "MESE": ("echo", "EchoTime"), "VFA": ("flip", "FlipAngle")}
"""Modality whose channels are files of their own → the entity that tells them apart, the key that holds their values."""
ORDER = ("sub", "ses", "sample", "acq", "rec", "echo", "flip", "desc")


@dataclass(frozen=True)
class Place:
    """datatype: the folder; suffix: the last word of the name; entities: the words before it; derived: among the derivatives."""

    datatype: str
    suffix: str
    entities: dict[str, str]
    derived: bool

    def path(self, ending: str) -> Path:
        """From the root of the raw or derived data set."""
        words = [f"{key}-{self.entities[key]}" for key in ORDER if key in self.entities]
        folder = Path(*words[:2], self.datatype)
        return folder / f"{'_'.join([*words, self.suffix])}{ending}"

    def but(self, **entities: str) -> Place:
        """The same with further entities; what has a description is derived."""
        return replace(self, entities={**self.entities, **entities}, derived=self.derived or "desc" in entities)

    def regions(self) -> Place:
        """Where the regions of the image go; BIDS keeps all segmentations of volumes among `anat`."""
        label = next(self.entities[key] for key in ("acq", "rec") if key in self.entities)
        entities = {key: self.entities[key] for key in ("sub", "ses")} | {"acq": label, "desc": self.suffix}
        return Place("anat", "dseg", entities, derived=True)


def place_of(image: Image, subject: str, label: str) -> Place:
    """Where an image of a subject goes; label: what tells it from other images of its modality and time.

    Of the modality `micr` the setting `suffix` names the microscope as BIDS does, such as CONF.
    """
    modality = image.acquisition.get("suffix", "FLUO") if image.modality == "micr" else image.modality
    datatype = DATATYPES.get(modality) or ("maps" if modality.endswith("map") else word(modality))
    entities = {"sub": subject, "ses": session(image.time_s), "rec" if datatype == "pet" else "acq": word(label)}
    if datatype == "micr":
        entities["sample"] = "tumor"
    raw = datatype in KNOWN and modality not in MAPS
    return Place(datatype, "pet" if datatype == "pet" else word(modality), entities, not raw)


def session(time_s: float) -> str:
    """A time as a label: 24h, 90min or 45s."""
    seconds = round(time_s)
    if seconds % 3600 == 0:
        return f"{seconds // 3600}h"
    return f"{seconds // 60}min" if seconds % 60 == 0 else f"{seconds}s"


def word(text: str) -> str:
    """A text as BIDS allows it in a label, letters and digits: tumor_cells as tumorCells."""
    parts = re.split(r"[^0-9a-zA-Z]+", text)
    return "".join([parts[0], *(part[:1].upper() + part[1:] for part in parts[1:])])
