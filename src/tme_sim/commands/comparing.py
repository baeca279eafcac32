"""`tme-sim compare RUN DATASET`: a run beside measured data (docs/comparing.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from tme_sim.acquiring import acquire, with_readouts
from tme_sim.analysis import image_comparison
from tme_sim.analysis.agreement import Comparison
from tme_sim.analysis.curve_comparison import Course, compare_course, courses
from tme_sim.analysis.image_comparison import Pair
from tme_sim.analysis.organ_curves import Curve, organ_curves, span_h
from tme_sim.analysis.truth_image import truth_image
from tme_sim.config.beginning import body_of
from tme_sim.config.instruments import frame_of
from tme_sim.config.load import conf_dirs, reopen, study_file
from tme_sim.config.units import parse_quantity
from tme_sim.files.dataset import DataSet, Picture, read_dataset
from tme_sim.files.dataset_table import read_curves
from tme_sim.files.image import Image
from tme_sim.files.run_folder import RunFolder
from tme_sim.files.whole import plain, write_text
from tme_sim.state.errors import InputError
from tme_sim.views.comparison import draw
from tme_sim.views.words import number

CARD = "dataset.yaml"
RODENT_G = {"mouse": 100.0, "rat": 2000.0}
"""Bodies below are of that species; above 20 kg they are human."""
HUMAN_G = 2e4


@dataclass
class Outcome:
    """All that one comparison gives; courses and pair are what the figure shows."""

    dataset: DataSet
    notes: list[str]
    comparisons: list[Comparison] = field(default_factory=list)
    courses: list[Course] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    pair: Pair | None = None
    profile: pd.DataFrame | None = None


def find_card(name: str, data: Path | None) -> tuple[Path, Path] | None:
    """(folder of a data set, its card): a folder by path, or by name under `data`; the card is in it, or ships by its name.

    None where the name is of no such folder. A single word is a folder here only if that has a card: it may name an experiment.
    Raises InputError for a folder without a card.
    """
    for folder in (Path(name), *([data / name] if data else [])):
        bare = folder == Path(folder.name) and not (folder / CARD).is_file()
        if bare or not folder.is_dir() or (folder / "run.json").exists():
            continue
        places = [folder, *(parent / "datasets" for parent in conf_dirs())]
        names = [CARD, *[f"{folder.resolve().name}.yaml"] * (len(places) - 1)]
        for place, card in zip(places, names, strict=True):
            if (place / card).is_file():
                return folder, place / card
        raise InputError("dataset", folder, f"has no {CARD}; docs/comparing.md shows one")
    return None


def compare_dataset(run: RunFolder, folder: Path, card: Path, as_json: bool) -> int:
    """Print the comparison, and store its figure and numbers in the run's `figures`."""
    dataset = read_dataset(study_file(card), folder, parse_quantity, card.name)
    outcome = compare(run, dataset)
    stem = run.folder / "figures" / f"compare_{dataset.name}"
    files = [
        write_text(
            stem.with_suffix(".svg"), draw(dataset, outcome.courses, outcome.curves, span_h(run), outcome.pair, outcome.profile)
        )
    ]
    files.append(write_text(stem.with_suffix(".csv"), _long(outcome.comparisons).to_csv(index=False)))
    if outcome.profile is not None:
        files.append(write_text(stem.with_name(f"{stem.name}_profile.csv"), outcome.profile.to_csv(index=False)))
    if as_json:
        print(json.dumps(plain(as_dict(outcome, run)), indent=1, ensure_ascii=False))
        return 0
    print(as_markdown(outcome))
    print("\n".join(str(file) for file in files))
    return 0


def compare(run: RunFolder, dataset: DataSet) -> Outcome:
    """Compare what the card describes: curves, an image, or both."""
    config = reopen(run.folder).config
    body = body_of(config)
    _check_species(dataset, body.mass_g)
    outcome = Outcome(dataset, list(dataset.corrections.notes))
    flushed = dataset.corrections.flushed
    if dataset.curves is not None:
        drug = dataset.curves.drug
        if drug:
            outcome.notes.append("All drug was measured; of the run only carriers that still hold theirs are counted.")
        outcome.curves = organ_curves(run, body, loaded_only=drug, flushed=flushed)
        table = read_curves(dataset.curves, dataset.corrections, parse_quantity)
        null = dataset.curves.null
        outcome.courses, notes = courses(table, outcome.curves, dataset.curves.times_h, span_h(run), null)
        outcome.notes += notes
        outcome.comparisons += [compare_course(course, null) for course in outcome.courses]
    if dataset.picture is not None:
        picture = dataset.picture
        if picture.position_um is None:
            outcome.notes.append(
                "The image has no position in the run's tissue: distributions and profiles are compared, no voxels."
            )
        outcome.pair = image_comparison.match(picture, dataset.corrections, _image(run, picture, flushed))
        found, outcome.profile = image_comparison.compare(outcome.pair, picture)
        outcome.comparisons += found
    return outcome


def _image(run: RunFolder, picture: Picture, flushed: bool) -> Image:
    """What the card asks for of the run: an instrument's chief image, or the carriers themselves."""
    if picture.readout is None:
        return truth_image(frame_of(run, reopen(run.folder).config, picture.time_s), flushed=flushed)
    config = with_readouts(run, [picture.readout]).config
    return acquire(run, config, [picture.time_s])[0][picture.readout][0]


def _check_species(dataset: DataSet, mass_g: float) -> None:
    rodent = next((name for name, below_g in RODENT_G.items() if mass_g < below_g), None)
    species = rodent or ("human" if mass_g > HUMAN_G else None)
    if species is not None and species != dataset.species:
        raise InputError("species", dataset.species, f"must be that of the run, whose body of {mass_g:g} g is of a {species}")


def as_dict(outcome: Outcome, run: RunFolder) -> dict[str, Any]:
    """The comparison as data: the card's words, notes, comparisons, the profile's rows."""
    told = {key: getattr(outcome.dataset, key) for key in ("name", "what", "species", "licence", "source")}
    rows = None if outcome.profile is None else outcome.profile.to_dict("records")
    compared = [each.as_dict() for each in outcome.comparisons]
    return {"dataset": told, "run": run.info["hash"], "notes": outcome.notes, "comparisons": compared, "profile": rows}


def as_markdown(outcome: Outcome) -> str:
    """A heading, the notes, and a table of each kind of comparison."""
    kinds: dict[tuple[str, ...], list[Comparison]] = {}
    for each in outcome.comparisons:
        kinds.setdefault(tuple(each.measures), []).append(each)
    lines = [f"**{outcome.dataset.name}**: {outcome.dataset.what}", "", *outcome.notes, ""]
    for measures, alike in kinds.items():
        head = [f"{each.what}, {each.unit}, {each.count} {each.units}" for each in alike]
        grid = [["measured [95 %] · run · null", *head]]
        grid += [[name, *(_cell(each, name) for each in alike)] for name in measures]
        lines += [f"Null model: {alike[0].null_model}.", "", *_table(grid if len(alike) < len(measures) else _turned(grid)), ""]
    return "\n".join(lines)


def _table(grid: list[list[str]]) -> list[str]:
    rows = [f"| {' | '.join(row)} |" for row in grid]
    return [rows[0], f"|{' --- |' * len(grid[0])}", *rows[1:]]


def _turned(grid: list[list[str]]) -> list[list[str]]:
    return [list(column) for column in zip(*grid, strict=True)]


def _cell(comparison: Comparison, name: str) -> str:
    each = comparison.measures[name]
    spread = "" if each.low is None else f" [{number(each.low)}, {number(each.high)}]"
    if each.measured is None:
        return f"{number(each.simulated)}{spread} · {number(each.null)}"
    return f"{number(each.measured)}{spread} · {number(each.simulated)} · {number(each.null)}"


def _long(comparisons: list[Comparison]) -> pd.DataFrame:
    """A row per number."""
    rows = [
        {"what": each.what, "measure": name, "unit": each.unit, "count": each.count, "units": each.units, **vars(measure)}
        for each in comparisons
        for name, measure in each.measures.items()
    ]
    return pd.DataFrame(rows)
