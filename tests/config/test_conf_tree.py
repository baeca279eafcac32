"""The configuration that ships: every number has its source, every choice works, no card was fitted to what should test it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tme_sim.config.build import build
from tme_sim.config.compose import available, experiments
from tme_sim.config.load import conf_dirs, experiment_dirs, load, request
from tme_sim.config.registry import KINDS
from tme_sim.files.literature import published

CONF, EXPERIMENTS = conf_dirs()[-1], experiment_dirs()[-1]
FILES = sorted(CONF.rglob("*.yaml")) + sorted(
    file for part in ("experiment", "small") for file in EXPERIMENTS.glob(f"*/{part}.yaml")
)
ROWS = published([CONF])
GROUPS = sorted(folder.name for folder in CONF.iterdir() if folder.is_dir())
TESTED_ELSEWHERE = ("nanoparticle", "datasets")  # test_cards.py; files/test_dataset.py, for cards of measured data are no choices
CHOICES = [(group, name) for group in GROUPS if group not in TESTED_ELSEWHERE for name in available([CONF], group)]


def ranges(text: str) -> set[str]:
    """`S1-3,9` is S1, S2, S3, S9."""
    letter, found = text[0], set()
    for part in text[1:].split(","):
        first, _, last = part.partition("-")
        found |= {f"{letter}{n:02d}" for n in range(int(first), int(last or first) + 1)}
    return found


VALIDATION = (  # targets that a model is tested against, and so is never fitted to
    "S4,9,12,13,22-24,26-28,37,38,40,46,47,49,50,55,57-59,64-66,69,71,72,77,82,83,85,87-89,92,97,98,100,109,111,112,116,118,119 "
    "X11,12,20,22,23 D15,23,24 C10,13 P7,8,10,19 R3,7,13 I12,19"
)
CONSISTENCY = "S20,35,56,75,78,86,102,104,114 X1,4 D2-4,19,25,26 C17,18 P12,16,17 I23,29,35,40"  # arithmetic on other rows
UNUSABLE = "S80 C11 D8,9"


def rows_of(text: str) -> set[str]:
    return set().union(*map(ranges, text.split()))


def numbers(data: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of everything that is a number or a quantity; `sources` are not."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            if key not in ("sources", "defaults"):
                yield from numbers(value, (*path, str(key)))
    elif isinstance(data, list):
        for value in data:
            yield from numbers(value, path)
    elif (isinstance(data, int | float) and not isinstance(data, bool)) or (
        isinstance(data, str) and re.match(r"[-+]?\.?\d", data)
    ):
        yield path


def sources(data: Any, path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Dotted key → its source, from every `sources` of a file."""
    if not isinstance(data, Mapping):
        return {}
    found = {".".join((*path, key)): source for key, source in (data.get("sources") or {}).items()}
    for key, value in data.items():
        if key != "sources":
            found |= sources(value, (*path, str(key)))
    return found


def content_of(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    return content


def inherited(file: Path) -> dict[str, Any]:
    """The sources of a file and of those that it builds on, in its own group."""
    found: dict[str, Any] = {}
    for item in content_of(file).get("defaults", []):
        if isinstance(item, str) and item != "_self_":
            found |= inherited(file.with_name(f"{item}.yaml"))
    return found | sources(content_of(file))


def label(file: Path) -> str:
    return "/".join(file.parts[-3:])


@pytest.mark.parametrize("file", FILES, ids=label)
def test_every_number_has_its_source(file: Path) -> None:
    told = inherited(file)
    unsourced = [
        ".".join(path)
        for path in numbers(content_of(file))
        if not any(".".join(path[:end]) in told for end in range(1, len(path) + 1))
    ]
    assert unsourced == []


@pytest.mark.parametrize("file", FILES, ids=label)
def test_every_source_is_a_row_that_exists_a_doi_a_note_or_the_word_assumed(file: Path) -> None:
    for key, source in sources(content_of(file)).items():
        assert source == "assumed" or (source and set(source) <= {"row", "doi", "note"}), key
        if source == "assumed":
            continue
        assert source.get("row") is None or source["row"] in set(ROWS) - rows_of(UNUSABLE), key
        assert re.fullmatch(r"10\.\d{4,9}/\S+", source.get("doi", "10.1000/x")), key
        assert len(source.get("note", "a note")) > 3, key


@pytest.mark.parametrize("file", FILES, ids=label)
def test_nothing_was_fitted_to_what_should_test_it(file: Path) -> None:
    cited = {source["row"] for source in sources(content_of(file)).values() if isinstance(source, Mapping) and "row" in source}
    assert cited & (rows_of(VALIDATION) | rows_of(CONSISTENCY) | rows_of(UNUSABLE)) == set()


def test_the_rows_are_sorted_as_they_should_be() -> None:
    assert len(ROWS) == 267
    kinds = [rows_of(text) for text in (VALIDATION, CONSISTENCY, UNUSABLE)]
    assert sum(map(len, kinds)) == len(set().union(*kinds))
    assert all(kind <= set(ROWS) for kind in kinds)


NEEDS = {"effect_drug": ["drug"], "effect_heat": ["heat"]}
SEEN_BY = {"mri": "ferumoxytol", "fmt": "ccpm_cy7", "reflectance_nir1": "ccpm_cy7", "reflectance_nir2": "erbium_nir2b"}


@pytest.mark.parametrize(("group", "name"), CHOICES, ids=str)
def test_every_choice_composes_validates_and_builds(
    group: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [f"{group}={name}"]
    if group == "readouts":
        words += [f"nanoparticle={card}" for instrument, card in SEEN_BY.items() if name.startswith(instrument)]
    if group == "processes":
        default = list(load(request([])).config.processes)
        words = [f"processes={','.join([*default, *NEEDS.get(name, []), *([] if name in default else [name])])}"]
    if name == "decays" or name.startswith("pet_"):
        words.append("nanoparticle.label.activity=1e-6 Bq")
    if name == "interstitial_bolus":
        words.append(f"processes={','.join([*load(request([])).config.processes, 'lymph'])}")
    if name == "from_image":
        vessels = np.zeros((8, 8, 8), np.uint8)
        vessels[:, 3:5, 3:5] = 1
        np.save("vessels.npy", vessels)
        words += ["tissue.vessels=vessels.npy", "tissue.voxel=15um"]
    else:
        words.append("lattice.size=120um")
    loaded = load(request(words))
    start = build(loaded.config, user_set=loaded.user_set)
    assert start.processes
    assert start.state.lattice.n_voxels in (8**3, 2 * 8**3, 3 * 8**3)  # patches, one beside the other


@pytest.mark.parametrize("name", experiments([EXPERIMENTS]))
@pytest.mark.parametrize("variant", ["full", "small"])
def test_every_experiment_composes_and_validates(name: str, variant: str) -> None:
    loaded = load(request([name, f"variant={variant}"]))
    assert loaded.config.name == name
    assert loaded.config.variant == variant


@pytest.mark.parametrize("kind", KINDS["process"])
def test_every_process_can_be_chosen_by_its_name(kind: str) -> None:
    assert content_of(CONF / "processes" / f"{kind}.yaml")[kind].get("kind", kind) == kind


@pytest.mark.parametrize("kind", KINDS["tissue"])
def test_every_tissue_can_be_chosen(kind: str) -> None:
    assert kind in {content_of(file).get("kind") for file in (CONF / "tissue").glob("*.yaml")}


def test_every_readout_can_be_chosen() -> None:
    files = [content_of(file) for file in (CONF / "readouts").glob("*.yaml")]
    assert set(KINDS["readout"]) <= {section.get("kind", name) for content in files for name, section in content.items()}


@pytest.mark.parametrize("file", sorted(CONF.glob("*/*.yaml")), ids=label)
def test_every_choice_says_in_a_line_what_it_is(file: Path) -> None:
    if file.parent.name in ("processes", "readouts"):  # their classes say it
        return
    comments = [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("#") and "@package" not in line]
    assert comments
