"""Figures: the same bytes for the same run, text as text, labels apart, and no more than was recorded."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tme_sim.analysis.profiles import amounts
from tme_sim.config.load import load, request
from tme_sim.files.run_folder import RunFolder
from tme_sim.runner import execute
from tme_sim.views import figures
from tme_sim.views.palette import ON_DARK, ROUTES, all_colors, color_of

WORDS = ["lattice.size=120um", "protocol.duration=2h", "record.interval=1h", "number=stochastic", "protocol.dose=1e12particles"]
WORDS += [f"nanoparticle.uptake.{kind}.clearance=1e-4um^3/s" for kind in ("neutrophils", "monocytes")]  # none holds above 40


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return RunFolder(execute(load(request(WORDS)).config, tmp_path_factory.mktemp("runs") / "run").folder)


@pytest.fixture(scope="module")
def drawn(run: RunFolder) -> dict[str, figures.Figure]:
    found, missing = figures.figures(run)
    assert missing == []
    return {figure.name: figure for figure in found}


def test_a_full_run_has_all_figures_and_the_same_bytes_again(run: RunFolder, drawn: dict[str, figures.Figure]) -> None:
    assert list(drawn) == ["body", "tumor", "routes", "penetration", "cells"]
    again, _ = figures.figures(run)
    assert {figure.name: figure.svg for figure in again} == {name: figure.svg for name, figure in drawn.items()}


@pytest.mark.parametrize("name", ["body", "tumor", "routes", "penetration", "cells"])
def test_a_figure_is_small_well_formed_and_keeps_its_text(drawn: dict[str, figures.Figure], name: str) -> None:
    svg = drawn[name].svg
    root = ElementTree.fromstring(svg)
    texts = ["".join(text.itertext()).strip() for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any(re.search(r"\(h\)|\(µm\)|particles", text) for text in texts)  # an axis with its unit
    assert "<image" not in svg
    assert "dc:date" not in svg
    assert len(svg) < 60_000


def test_curves_are_percent_of_the_dose(run: RunFolder, drawn: dict[str, figures.Figure]) -> None:
    end = drawn["body"].table.iloc[-1]
    table = amounts(run)
    degraded = table[(table["time_s"] == 7200) & (table["compartment"] == "degraded")]["percent_id"].sum()
    assert end["time_h"] == 2
    left_out = 100 - end.drop("time_h").sum() - degraded
    assert -1e-9 <= left_out < figures.SMALL_PERCENT * 10  # what is too little for a curve
    parts = drawn["tumor"].table.iloc[-1].drop(["time_h", "degraded_percent_id"])
    assert parts.sum() == pytest.approx(end["tumor_percent_id"])
    assert drawn["routes"].table.iloc[-1].drop("time_h").sum() == pytest.approx(end["tumor_percent_id"])


def test_the_bins_of_cells_are_whole_numbers_and_hold_all_cells(drawn: dict[str, figures.Figure]) -> None:
    table = drawn["cells"].table
    assert (table["from"] == table["to"]).all()
    np.testing.assert_allclose(table[["macrophages_percent", "tumor_cells_percent"]].sum(), 100)


def test_many_particles_per_cell_are_binned_with_the_last_bin_open() -> None:
    values = np.random.default_rng(2).exponential(1e5, 10_000)
    edges = figures._edges(values)
    assert len(edges) == 41
    assert edges[-1] == pytest.approx(np.quantile(values, 0.999))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_labels_keep_their_order_and_distance(wanted: list[float]) -> None:
    placed = figures._apart(np.sort(wanted), 0.08)
    assert (np.diff(placed) >= 0.08 - 1e-9).all()
    assert placed[0] >= 0


def test_labels_that_are_apart_stay_where_they_are() -> None:
    np.testing.assert_allclose(figures._apart(np.array([0.1, 0.5, 0.9]), 0.08), [0.1, 0.5, 0.9])


def test_figures_on_one_page_share_no_id_and_follow_its_colors(drawn: dict[str, figures.Figure]) -> None:
    pieces = [figures.inline(figure, {color: f"var(--{color[1:]})" for color in ROUTES.values()}) for figure in drawn.values()]
    ids = [found for piece in pieces for found in re.findall(r'\bid="([^"]+)"', piece)]
    assert len(ids) == len(set(ids))
    used = {found for piece in pieces for found in re.findall(r'(?:href="#|url\(#)([^")]+)', piece)}
    assert used <= set(ids)
    routes = pieces[list(drawn).index("routes")]
    assert "var(--0072b2)" in routes
    assert "#0072b2" not in routes


def test_dark_replacements_are_of_colors_in_use() -> None:
    assert set(ON_DARK) <= set(all_colors())
    assert color_of("gap") == ROUTES["gap"]
    assert color_of("of a user", 0) != color_of("of a user", 1)


@pytest.mark.parametrize(("level", "kept"), [("series", ["body", "tumor", "routes"]), ("summary", [])])
def test_what_was_not_recorded_is_left_out_and_named(tmp_path: Path, level: str, kept: list[str]) -> None:
    config = load(request([*WORDS, f"record.level={level}", "lattice.size=60um"])).config
    found, missing = figures.figures(RunFolder(execute(config, tmp_path / "run").folder))
    assert [figure.name for figure in found] == kept
    assert any("kept no fields" in why for why in missing)


def test_a_name_with_mathematics_is_drawn_as_it_is() -> None:
    percent = pd.DataFrame({"a$b_{c}$<i>": [0.0, 1.0]}, index=pd.Index([0.0, 3600.0], name="time_s"))
    with figures.style():
        figure = figures._over_time("odd", "Odd", "", percent)
    assert figure is not None
    texts = ["".join(text.itertext()) for text in ElementTree.fromstring(figure.svg).iter("{http://www.w3.org/2000/svg}text")]
    assert "a$b {c}$<i>" in texts
