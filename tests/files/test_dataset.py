"""Cards and tables of measured data: what is read, and what is told of files that are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tme_sim.config.load import conf_dirs, study_file
from tme_sim.config.units import parse_quantity
from tme_sim.files.dataset import DataSet, read_dataset
from tme_sim.files.dataset_table import read_curves
from tme_sim.state.errors import InputError

HEAD = "subject,time_h,organ,value,unit\n"
TABLE = HEAD + "a,1,liver,10,%ID/g\na,24,liver,5,%ID/g\nb,1,liver,12,%ID/g\nb,1,blood,30,%ID/mL\n"
CURVES = {"files": ["curves.csv"], "measures": "particles"}
CORRECTIONS = {"decay": "none", "background": "subtracted", "blood": "present"}
CARD = {
    "what": "liver and blood",
    "species": "mouse",
    "licence": "CC0",
    "source": "a test",
    "corrections": CORRECTIONS,
    "curves": CURVES,
}
IMAGE = {"file": "scan.npy", "unit": "a.u.", "fwhm": "2 mm", "voxel": ["2 mm", "1 mm", "1 mm"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "curves.csv").write_text(TABLE, "utf-8")
    np.save(tmp_path / "scan.npy", np.ones((2, 3, 4)))
    return tmp_path


def read(folder: Path, card: Mapping[str, Any] = CARD, **changed: Any) -> DataSet:
    return read_dataset({**card, **changed}, folder, parse_quantity)


def table(folder: Path, text: str = TABLE, **changed: Any) -> pd.DataFrame:
    (folder / "curves.csv").write_text(text, "utf-8")
    corrections = changed.pop("corrections", CORRECTIONS)
    dataset = read(folder, curves={**CURVES, **changed}, corrections=corrections)
    assert dataset.curves is not None
    return read_curves(dataset.curves, dataset.corrections, parse_quantity)


def test_a_tidy_table_is_read_as_it_is(folder: Path) -> None:
    found = table(folder)
    assert found["value"].tolist() == [10, 5, 12, 30]
    assert found["subject"].tolist() == ["a", "a", "b", "b"]
    assert set(found["group"]) == {"all"}


def test_a_card_says_what_is_compared(folder: Path) -> None:
    picture = read(folder, image=IMAGE | {"time": "24 h", "position": ["0 um", "1 mm", "-1 mm"]}).picture
    assert picture is not None
    assert picture.fwhm_um == (2000, 2000, 2000)
    assert picture.voxel_um == (2000, 1000, 1000)
    assert picture.position_um == (0, 1000, -1000)
    assert picture.time_s == 86400
    assert picture.null == "mean"


def test_masses_and_activities_become_percent_of_what_the_animal_was_given(folder: Path) -> None:
    """50 ug given: 2 ug/g are 4 %ID/g; at 1.05 g/mL 2.1 ug/mL are the same."""
    rows = "subject,time_h,organ,value,arm\na,1,liver,{},low\na,1,plasma,2,low\n"
    given: dict[str, Any] = {"columns": {"group": "arm"}, "dose": {"low": "50 ug"}, "density": "1.05 g/mL"}
    per_g = table(folder, rows.format(2), unit="ug/g", **given)
    per_mL = table(folder, rows.format(2.1), unit="ug/mL", **given)
    assert per_g["value"].tolist() == pytest.approx([4, 4.2], rel=1e-12)  # plasma is told by volume
    assert per_mL["value"].tolist() == pytest.approx([4, 4], rel=1e-12)
    assert per_g["unit"].tolist() == ["%ID/g", "%ID/mL"]
    active = table(folder, rows.format(1), unit="kBq/g", **given | {"dose": {"low": "2 MBq"}})
    assert active["value"].tolist() == pytest.approx([0.05, 0.105], rel=1e-12)
    assert table(folder, TABLE.replace("%ID/g", "%ID/kg"))["value"].tolist() == pytest.approx([0.01, 0.005, 0.012, 30])


def test_decay_and_background_are_corrected_where_the_card_says_that_they_were_not(folder: Path) -> None:
    corrections = {"decay": "not_corrected", "half_life": "23 h", "background": 2, "blood": "present"}
    measured = table(folder, corrections=corrections)["value"].tolist()
    assert measured == pytest.approx([8 * 2 ** (1 / 23), 3 * 2 ** (24 / 23), 10 * 2 ** (1 / 23), 28 * 2 ** (1 / 23)], rel=1e-12)


def test_without_a_subject_every_row_is_an_animal_and_names_become_ours(folder: Path) -> None:
    text = "t,what,y\n1,L,3\n1,L,4\n"
    columns = {"subject": None, "time_h": "t", "organ": "what", "value": "y"}
    found = table(folder, text, columns=columns, organs={"L": "liver"}, unit="%ID")
    assert found["organ"].tolist() == ["liver", "liver"]
    assert found["subject"].nunique() == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "time_h,organ,value,unit\n1,liver,2,%ID\n",
            "must have the columns subject, time_h, organ, value, unit; subject is missing",
        ),
        (HEAD, "curves.csv: must hold at least one row"),
        ("", "must be a CSV file with a row of column names"),
        (HEAD + "a,1,liver,1,%ID\na,1,liver,1,%ID,2,3\n", "must be a CSV file with a row of column names"),
        (HEAD + "a,1,liver,nan,%ID\n", "row 1 value nan: must be a finite number"),
        (HEAD + "a,1,liver,,%ID\n", "row 1 value nan: must be a finite number"),
        (HEAD + "a,1,liver,2,%ID\na,2,liver,many,%ID\n", "row 2 value many: must be a finite number"),
        (HEAD + "a,inf,liver,2,%ID\n", "row 1 time_h inf: must be a finite number"),
        (HEAD + "a,-1,liver,2,%ID\n", "curves.csv -1: time_h must not be negative"),
        (HEAD + "a,1,,2,%ID\n", "must have organ in every row"),
        (HEAD + "a,1,liver,2,stones\n", "unit stones of liver: must be %ID, %ID/g"),
        (HEAD + "a,1,liver,2,furlong/g\n", "unit furlong of liver: must be %ID, %ID/g"),
        (HEAD + "a,1,liver,2,%ID/s\n", "unit %ID/s of liver: must be"),
        (HEAD + "a,1,liver,2,%ID\nb,1,liver,2,%ID/g\n", "unit of liver: must be one and the same, not %ID and %ID/g"),
        (HEAD + "a,1,liver,2,%ID\na,1,liver,3,%ID\n", "subject a: has more than one value of liver at 1 h"),
        (HEAD + "a,1,liver,2,ug/g\n", "curves dose all: must be there in g"),
        (HEAD + "a,1,liver,2,%ID/mL\n", "curves density: must be there"),
    ],
)
def test_a_table_that_is_wrong_is_told_in_one_sentence(folder: Path, text: str, told: str) -> None:
    with pytest.raises(InputError) as found:
        table(folder, text)
    assert told in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"species": "martian"}, "species martian: must be one of mouse, rat, human"),
        ({"species": None}, "species: must be one of"),
        ({"speceis": "mouse"}, "dataset.yaml speceis: is no key of it, did you mean species?"),
        ({"what": 3}, "what 3: must be there, in words"),
        ({"curves": None}, "must describe curves, an image, or both"),
        ({"curves": [1]}, "dataset.yaml curves: must hold files, columns"),
        ({"corrections": None}, "corrections: must say decay, background and blood"),
        ({"corrections": CORRECTIONS | {"decay": "not_corrected"}}, "half_life: must be there where decay was not corrected"),
        ({"corrections": CORRECTIONS | {"background": "some"}}, "background some: must be subtracted, present, or a number"),
        ({"curves": CURVES | {"files": ["gone.csv"]}}, "files gone.csv: is not in"),
        ({"curves": CURVES | {"files": ["../../etc/passwd"]}}, "must be a file within the folder of the data set"),
        ({"curves": CURVES | {"files": "curves.csv"}}, "files curves.csv: must list one or more CSV files"),
        ({"curves": CURVES | {"columns": {"time": "t"}}}, "columns time: must be one of subject, time_h"),
        ({"curves": CURVES | {"columns": {"organ": ["a"]}}}, "columns organ: must be one of subject, time_h"),
        ({"curves": CURVES | {"times": "2 h"}}, "times 2 h: must be a list"),
        ({"curves": CURVES | {"dose": {"a": "-2 ug"}}}, "dose -2 ug: must be above 0"),
        ({"curves": CURVES | {"times": ["2 furlongs"]}}, "times 2 furlongs: "),
        ({"curves": CURVES | {"measures": "hope"}}, "measures hope: must be one of particles, drug"),
        ({"image": IMAGE | {"file": "gone.npy"}}, "file gone.npy: is not in"),
        ({"image": {key: IMAGE[key] for key in ("file", "unit")}}, "fwhm: must be there"),
        ({"image": IMAGE | {"fwhm": "-1 mm"}}, "fwhm -1 mm: must be at least 0"),
        ({"image": IMAGE | {"voxel": ["1 mm", "1 mm"]}}, "must be one length, or three along z, y, x"),
        ({"image": IMAGE | {"null_model": "nuclei"}}, "null_model nuclei: needs the key nuclei"),
    ],
)
def test_a_card_that_is_wrong_is_told_in_one_sentence(folder: Path, changed: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as found:
        read(folder, **changed)
    assert told in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("card", sorted((conf_dirs()[-1] / "datasets").glob("*.yaml")), ids=lambda card: card.stem)
def test_the_cards_that_ship_are_whole(card: Path, tmp_path: Path) -> None:
    content = study_file(card)
    for part in ("curves", "image"):
        for name in ("file", "mask", "vessels", "nuclei", "files"):
            for file in [(content.get(part) or {}).get(name)]:
                for each in file if isinstance(file, list) else [file] if file else []:
                    (tmp_path / each).write_text("", "utf-8")
    assert read_dataset(content, tmp_path, parse_quantity, card.name).what


def test_the_card_of_the_documentation_is_read(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "comparing.md").read_text("utf-8")
    (tmp_path / "dataset.yaml").write_text(text.split("```yaml\n")[1].split("```")[0], "utf-8")
    content = study_file(tmp_path / "dataset.yaml")
    for name in (*content["curves"]["files"], *(value for value in content["image"].values() if str(value).endswith(".gz"))):
        (tmp_path / name).write_text("", "utf-8")
    dataset = read_dataset(content, tmp_path, parse_quantity)
    assert dataset.curves is not None
    assert dataset.picture is not None
    assert dataset.curves.dose == {"all": (2.5e6, "Bq")}
    assert dataset.corrections.half_life_s == pytest.approx(78.4 * 3600)
