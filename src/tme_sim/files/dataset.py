"""A measured data set: the card `dataset.yaml` that says what its files hold (docs/comparing.md)."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tme_sim.state.errors import InputError

Quantity = Callable[[object, str | None, str], float]
"""Text, unit and field → the number in that unit, such as `config.units.parse_quantity`."""

Triple = tuple[float, float, float]
SPECIES = ("mouse", "rat", "human")
NULLS = {"curves": ("washout", "constant"), "image": ("mean", "nuclei")}
TIDY = ("subject", "time_h", "organ", "value", "unit", "group")
FWHM = "at least 0"


@dataclass(frozen=True, kw_only=True)
class Corrections:
    """What was done to the measured values. half_life_s: to undo decay that was not; background: to subtract, in their unit.

    notes: sentences on what was not corrected and cannot be here. flushed: blood was washed out of the tissue.
    """

    half_life_s: float | None = None
    background: float = 0.0
    flushed: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Tidy tables: time courses by organ. columns: ours → the file's (subject None: every row is an animal of its own).

    organs: the file's names → ours; unit: of all values, None where a column says it; times_h: nominal times that animals are
    grouped at, none: as measured; dose: group → (value, unit g or Bq) injected into an animal; drug: the drug is measured.
    """

    files: tuple[Path, ...]
    columns: Mapping[str, str | None]
    organs: Mapping[str, str]
    unit: str | None
    times_h: tuple[float, ...]
    dose: Mapping[str, tuple[float, str]]
    density_g_per_mL: float | None
    drug: bool
    null: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A volume of one channel. fwhm_um: its resolution; position_um: its first corner in the run's (z, y, x), None: not aligned.

    unit `a.u.`: both images are divided by their means. readout None: the carriers themselves on the lattice.
    """

    file: Path
    unit: str
    voxel_um: Triple | None
    fwhm_um: Triple
    mask: Path | None
    vessels: Path | None
    nuclei: Path | None
    regions: Path | None
    readout: str | None
    channel: str | None
    simulated_fwhm_um: Triple | None
    time_s: float | None
    position_um: Triple | None
    null: str


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A card, read: `name` is its folder's, `what` one sentence."""

    name: str
    what: str
    species: str
    licence: str
    source: str
    corrections: Corrections
    curves: Curves | None
    picture: Picture | None


class Part:
    """A mapping of a card, from which each key is asked for once; messages name the card, the part and the key."""

    def __init__(self, content: object, where: str, keys: Sequence[str], folder: Path, quantity: Quantity) -> None:
        if not isinstance(content, Mapping):
            raise InputError(where, content if isinstance(content, str | int | float) else None, f"must hold {', '.join(keys)}")
        self.content, self.where, self.folder, self.quantity = content, where, folder, quantity
        for key in content:
            if key not in keys:
                near = difflib.get_close_matches(str(key), keys, 1)
                raise InputError(
                    where, key, f"is no key of it{f', did you mean {near[0]}?' if near else ''}; {', '.join(keys)} are"
                )

    def field(self, key: str) -> str:
        """The words by which a message names a key."""
        return f"{self.where} {key}"

    def get(self, key: str) -> Any:
        """What the card says, None where it is silent."""
        return self.content.get(key)

    def text(self, key: str) -> str:
        """A text that must be there."""
        value = self.get(key)
        if not isinstance(value, str) or not value.strip():
            raise InputError(self.field(key), value, "must be there, in words")
        return value.strip()

    def choice(self, key: str, choices: Sequence[str]) -> str:
        """One of the words."""
        value = self.get(key)
        if value not in choices:
            raise InputError(self.field(key), value, f"must be one of {', '.join(choices)}")
        return str(value)

    def number(self, key: str, unit: str, allowed: Callable[[float], bool], words: str) -> float | None:
        """A quantity in `unit`, None where the card is silent."""
        value = self.get(key)
        return None if value is None else self._checked(value, unit, key, allowed, words)

    def triple(self, key: str, allowed: Callable[[float], bool], words: str) -> Triple | None:
        """A length in um, or three along (z, y, x); None where the card is silent."""
        value = self.get(key)
        if value is None:
            return None
        given = value if isinstance(value, list) else [value] * 3
        if len(given) != 3:
            raise InputError(self.field(key), value, "must be one length, or three along z, y, x")
        z, y, x = (self._checked(each, "um", key, allowed, words) for each in given)
        return z, y, x

    def _checked(self, value: object, unit: str, key: str, allowed: Callable[[float], bool], words: str) -> float:
        number = self.quantity(value, unit, self.field(key))
        if not allowed(number):
            raise InputError(self.field(key), value, f"must be {words}")
        return number

    def file(self, key: str) -> Path | None:
        """A file of the data set; None where the card is silent."""
        return None if self.get(key) is None else self.path(self.get(key), key)

    def path(self, name: object, key: str) -> Path:
        """A file that must lie in the data set's folder."""
        found = self.folder / str(name)
        if not isinstance(name, str) or not found.resolve().is_relative_to(self.folder.resolve()):
            raise InputError(self.field(key), name, "must be a file within the folder of the data set")
        if not found.exists():
            raise InputError(self.field(key), name, f"is not in {self.folder}")
        return found


def read_dataset(content: Mapping[str, Any], folder: Path, quantity: Quantity, card: str = "dataset.yaml") -> DataSet:
    """A card's content, checked: raises InputError with the first thing wrong. card: its file's name, for messages."""
    keys = ("what", "species", "licence", "source", "corrections", "curves", "image", "sources")
    whole = Part(content, card, keys, folder, quantity)
    if not (whole.get("curves") or whole.get("image")):
        raise InputError(card, None, "must describe curves, an image, or both")

    def part(name: str, *allowed: str) -> Part | None:
        return None if whole.get(name) is None else Part(whole.get(name), f"{card} {name}", allowed, folder, quantity)

    curves = part("curves", "files", "columns", "organs", "unit", "times", "dose", "density", "measures", "null_model")
    image = part("image", "file", "unit", "voxel", "fwhm", "mask", "vessels", "nuclei", "regions", *SIMULATED, "null_model")
    corrections = part("corrections", "decay", "half_life", "background", "blood")
    if corrections is None:
        raise InputError(whole.field("corrections"), None, "must say decay, background and blood")
    return DataSet(
        name=folder.resolve().name,
        what=whole.text("what"),
        species=whole.choice("species", SPECIES),
        licence=whole.text("licence"),
        source=whole.text("source"),
        corrections=_corrections(corrections),
        curves=None if curves is None else _curves(curves),
        picture=None if image is None else _picture(image),
    )


SIMULATED = ("readout", "channel", "simulated_fwhm", "time", "position")
"""Keys of an image that say what of the run it is compared with."""


def _corrections(part: Part) -> Corrections:
    decay = part.choice("decay", ("corrected", "not_corrected", "none"))
    half_life_s = part.number("half_life", "s", lambda s: s > 0, "above 0")
    if decay == "not_corrected" and half_life_s is None:
        raise InputError(part.field("half_life"), None, "must be there where decay was not corrected, to correct it here")
    background, notes = part.get("background"), []
    if isinstance(background, bool) or not (isinstance(background, int | float) or background in ("subtracted", "present")):
        raise InputError(part.field("background"), background, "must be subtracted, present, or a number to subtract")
    if background == "present":
        notes.append("The measured background was not subtracted.")
    return Corrections(
        half_life_s=half_life_s if decay == "not_corrected" else None,
        background=0.0 if isinstance(background, str) else float(background),
        flushed=part.choice("blood", ("present", "flushed")) == "flushed",
        notes=tuple(notes),
    )


def _curves(part: Part) -> Curves:
    files = part.get("files")
    if not isinstance(files, list) or not files:
        raise InputError(part.field("files"), files, "must list one or more CSV files")
    columns, organs, dose = (part.get(key) or {} for key in ("columns", "organs", "dose"))
    for key, mapping in (("columns", columns), ("organs", organs), ("dose", dose)):
        if not isinstance(mapping, Mapping):
            raise InputError(part.field(key), mapping, "must hold keys and values")
    for key, theirs in columns.items():
        if key not in TIDY or not isinstance(theirs, str | None):
            raise InputError(part.field("columns"), key, f"must be one of {', '.join(TIDY)}, and name a column or be null")
    unit, times = part.get("unit"), part.get("times") or []
    if not isinstance(times, list):
        raise InputError(part.field("times"), times, "must be a list")
    named = {name: name for name in TIDY if not (name == "group" or (name == "unit" and unit))}
    return Curves(
        files=tuple(part.path(name, "files") for name in files),
        columns=named | dict(columns),
        organs={str(key): str(value) for key, value in organs.items()},
        unit=None if unit is None else part.text("unit"),
        times_h=tuple(part.quantity(time, "h", part.field("times")) for time in times),
        dose={str(group): _dose(part, amount) for group, amount in dose.items()},
        density_g_per_mL=part.number("density", "g/mL", lambda d: d > 0, "above 0"),
        drug=part.choice("measures", ("particles", "drug")) == "drug",
        null=part.choice("null_model", NULLS["curves"]) if part.get("null_model") else "washout",
    )


def _dose(part: Part, amount: object) -> tuple[float, str]:
    """What one animal was given: a mass in g or an activity in Bq."""
    try:
        value, unit = part.quantity(amount, "g", part.field("dose")), "g"
    except InputError:
        value, unit = part.quantity(amount, "Bq", part.field("dose")), "Bq"
    if not value > 0:
        raise InputError(part.field("dose"), amount, "must be above 0: a mass or an activity")
    return value, unit


def _picture(part: Part) -> Picture:
    file, nuclei = part.file("file"), part.file("nuclei")
    fwhm_um = part.triple("fwhm", lambda um: um >= 0, FWHM)
    if file is None or fwhm_um is None:
        key = "file" if file is None else "fwhm"
        raise InputError(part.field(key), None, "must be there: the volume, and its resolution as full width at half maximum")
    null = part.choice("null_model", NULLS["image"]) if part.get("null_model") else ("nuclei" if nuclei else "mean")
    if null == "nuclei" and nuclei is None:
        raise InputError(part.field("null_model"), null, "needs the key nuclei, a volume of their stain")
    return Picture(
        file=file,
        unit=part.text("unit"),
        voxel_um=part.triple("voxel", lambda um: um > 0, "above 0"),
        fwhm_um=fwhm_um,
        mask=part.file("mask"),
        vessels=part.file("vessels"),
        nuclei=nuclei,
        regions=part.file("regions"),
        readout=None if part.get("readout") is None else part.text("readout"),
        channel=None if part.get("channel") is None else part.text("channel"),
        simulated_fwhm_um=part.triple("simulated_fwhm", lambda um: um >= 0, FWHM),
        time_s=part.number("time", "s", lambda s: s >= 0, "at least 0"),
        position_um=part.triple("position", lambda um: True, "a length"),
        null=null,
    )
