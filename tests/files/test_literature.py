"""The table of published numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tme_sim.files.literature import published
from tme_sim.state.errors import InputError

HEAD = "# words\nid,quantity,value,unit,context,source,status,use\n"


def test_an_earlier_folder_replaces_rows_of_a_later_one(tmp_path: Path) -> None:
    for name, value in (("mine", "2"), ("shipped", "1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "literature.csv").write_text(f"{HEAD}X01,share,{value},%,mice,somebody 2020,found,default\n", "utf-8")
    assert published([tmp_path / "mine", tmp_path / "shipped"])["X01"].value == "2"


@pytest.mark.parametrize("text", ["id,quantity\nX01,share\n", f"{HEAD}X01,share,2\n"])
def test_a_row_without_all_columns_is_refused_with_its_file_and_id(tmp_path: Path, text: str) -> None:
    (tmp_path / "literature.csv").write_text(text, "utf-8")
    with pytest.raises(InputError, match=r"literature\.csv X01: every row must have the columns id, quantity"):
        published([tmp_path])
