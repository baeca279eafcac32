"""The report: one file that needs nothing, is sound HTML, cannot be broken by a configuration, and counts what is assumed."""

from __future__ import annotations

import base64
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from tme_sim.config.load import load, request
from tme_sim.files.literature import Published
from tme_sim.files.run_folder import RunFolder
from tme_sim.files.run_store import RunStore
from tme_sim.runner import execute
from tme_sim.state.errors import InputError
from tme_sim.views import report, story
from tme_sim.views.words import Html, number, quantity, span, tag

WORDS = ["lattice.size=120um", "protocol.duration=2h", "record.interval=1h", "number=stochastic", "protocol.dose=1e12particles"]
VOID = {"meta", "img", "wbr", "br"}


class Page(HTMLParser):
    """Collects a page's text, links and ids, and asserts that its tags close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.said: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [str(value) for key, value in attrs if key == "id"]
        self.links += [str(value) for key, value in attrs if key in ("href", "src", "xlink:href", "srcset", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "svg"} & set(self.open):
            self.said.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.said))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    loaded = load(request([*WORDS, "nanoparticle.hydrodynamic_diameter=60nm", "processes.binding.enabled=false"]))
    out = tmp_path_factory.mktemp("runs") / "full"
    return execute(loaded.config, out, sources=loaded.sources, user_set=loaded.user_set).folder


@pytest.fixture(autouse=True)
def without_graphics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "preflight", lambda: "Install the Debian package libegl1.")


def page_of(folder: Path, meanings: dict[str, str] | None = None) -> Page:
    path = report.write_report(RunFolder(folder), meanings)
    assert path == folder / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def edited(folder: Path, target: Path, change: Any) -> Path:
    """A copy of a run with another configuration, which `change` edits in place."""
    shutil.copytree(folder, target)
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    change(config)
    (target / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return target


def test_the_report_is_sound_and_needs_nothing_from_outside(full: Path) -> None:
    page = page_of(full)
    assert "script" not in page.tags
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert (full / link).is_file()
    assert page.tags.count("h1") == 1
    html = (full / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"url\((?!#)|@import", html)
    assert len(html) < 500_000


def test_the_report_says_what_was_simulated_and_what_came_out(full: Path) -> None:
    page, summary = page_of(full), RunFolder(full).summary
    assert "Where 60 nm particles loaded with docetaxel are after 2 h" in page.text
    assert "10¹² nanoparticles of 60 nm, carrying docetaxel, are injected at once into a vein" in page.text
    assert "120 × 120 × 120 µm" in page.text
    assert "Switched off: binding." in page.text
    assert f"{number(summary['tumor_percent_id_per_g'])} %ID/g" in page.text.replace("\u00a0", " ")
    assert f"tme-sim run --from {full}" in page.text
    assert "No 3D picture. Install the Debian package libegl1." in page.text
    assert "It balances exactly" in page.text
    for name in ("body", "tumor", "routes", "penetration", "cells"):
        assert (full / "figures" / f"{name}.svg").is_file()
        assert (full / "figures" / f"{name}.csv").read_text(encoding="utf-8").count("\n") > 2


def test_the_count_of_assumed_parameters_comes_first_and_is_right(full: Path) -> None:
    page = page_of(full)
    every = {p.key: p for p in story.parameters(RunFolder(full), {})}
    assert every["nanoparticle.hydrodynamic_diameter"].origin == story.BY_USER
    assert every["nanoparticle.density"].origin == "assumed"
    assert every["nanoparticle.binding.on_rate"].origin == "assumed"  # by the section's source
    assert every["nanoparticle.clearance.sinks.spleen"].origin == "assumed"  # its note says that a part is
    assert every["nanoparticle.release.tissue"].source == "row S79"
    assert every["nanoparticle.release.tissue"].origin == "literature"
    assert every["protocol.duration"].origin == story.BY_USER
    assert not every["processes.binding.interval"].used
    counted = [p for p in every.values() if p.counted and p.used]
    assert {p.key.split(".")[0] for p in counted} <= set(story.SCIENCE)
    assumed = sum(p.origin == "assumed" for p in counted)
    assert 0 < assumed < len(counted)
    first = page.text.index(f"{assumed} of {len(counted)} parameters are assumed, wholly or in part")
    assert first < page.text.index("keys begin with nanoparticle.")


def test_meanings_are_shown_where_they_are_given(full: Path) -> None:
    assert "volume cleared by one cell" not in page_of(full).text
    page = page_of(full, {"nanoparticle.uptake.NAME.clearance": "volume cleared by one cell", "body.mass": "the animal"})
    assert page.text.count("volume cleared by one cell") == len(RunFolder(full).config["nanoparticle"]["uptake"])
    assert "the animal" in page.text


def test_rows_that_the_sources_cite_are_told_with_paper_and_status(full: Path) -> None:
    row = Published("X21", "permeability of a liposome", "1.3e-8", "cm/s", "mouse mammary", "Wong 2011", "found", "default")
    report.write_report(RunFolder(full), published={"X21": row, "S01": replace(row, id="S01", source="nobody")})
    page = Page((full / "report.html").read_text(encoding="utf-8"))
    assert "mouse mammary; Wong 2011" in page.text
    assert "nobody" not in page.text


def test_nothing_in_a_configuration_becomes_html(full: Path, tmp_path: Path) -> None:
    hostile = '<script>alert(1)</script>"onload=x&amp;$title'

    def change(config: dict[str, Any]) -> None:
        config["drug"]["name"] = hostile
        config["sources"]["nanoparticle.density"] = {"note": hostile}
        config["nanoparticle"]["clearance"]["sinks"][hostile] = "1 1/s"

    page = page_of(edited(full, tmp_path / "hostile", change))
    assert "script" not in page.tags
    assert page.text.count(hostile) >= 4


def test_what_was_not_recorded_is_said(tmp_path: Path) -> None:
    for level, kept in (("series", True), ("summary", False)):
        config = load(request([*WORDS, "lattice.size=60um", f"record.level={level}"])).config
        page = page_of(execute(config, tmp_path / level).folder)
        assert f"Left out, because it was not recorded: record.level {level}: kept no fields" in page.text
        assert ("Where the particles are" in page.text) == kept
        assert ("kept no ledger" in page.text) != kept
        assert "parameters are assumed" in page.text


def test_an_interrupted_run_says_so(full: Path, tmp_path: Path) -> None:
    folder = edited(full, tmp_path / "interrupted", lambda config: None)
    (folder / "summary.json").unlink()
    store = RunStore(folder)
    store.write_json("run.json", store.read_json("run.json") | {"status": "interrupted", "at_s": 3600.0})
    page = page_of(folder)
    assert "its status is “interrupted” at 1 h" in page.text
    assert "What came out" not in page.text


def test_the_picture_is_inside_the_file(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = b"\xff\xd8\xff a picture"

    def draw(run: RunFolder, path: Path) -> None:
        path.write_bytes(drawn)

    monkeypatch.setattr(report, "preflight", lambda: None)
    monkeypatch.setattr("tme_sim.views.scene.screenshot", draw)
    data = [link for link in page_of_links(full) if link.startswith("data:image/jpeg;base64,")]
    assert base64.b64decode(data[0].split(",")[1]) == drawn

    def refuse(run: RunFolder, path: Path) -> None:
        raise InputError("layers", "vessels", "was not recorded")

    monkeypatch.setattr("tme_sim.views.scene.screenshot", refuse)
    assert "No 3D picture: layers vessels: was not recorded." in page_of(full).text


def page_of_links(folder: Path) -> list[str]:
    return page_of(folder).links


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[
            (0, "0"),
            (34.78, "34.8"),
            (6298, "6,298"),
            (2.371e8, "2.37·10⁸"),
            (1e12, "10¹²"),
            (9.9999e9, "10¹⁰"),
            (0.0196, "0.0196"),
        ],
        *[(1.2e-6, "1.2·10⁻⁶"), (-3.5, "-3.5"), (None, "–"), (float("inf"), "–"), (99999, "10⁵"), (0.99999, "1")],
    ],
)
def test_numbers_are_written_for_readers(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("65 nm", "65 nm"),
        ("8.333333333333334e-06 1/s", "0.03 per h"),
        ("8.3e-05 um/s", "8.3·10⁻⁹ cm/s"),
        ("0.0003 1/um^3", "3·10⁵ per mm³"),
        ("1000000000000 um^3", "1 mL"),
        ("0.009 1/um", "9 mm²/mm³"),
        ("6100000 1/s", "6.1·10⁶ per s"),
        ("docetaxel", "docetaxel"),
    ],
)
def test_quantities_are_written_in_the_units_of_the_field(given: str, text: str) -> None:
    assert quantity(given) == text


def test_lengths_of_time_take_the_unit_that_suits() -> None:
    assert [span(seconds) for seconds in (86400, 1800, 5)] == ["24 h", "30 min", "5 s"]


def test_elements_escape_what_is_not_html() -> None:
    assert tag("p", "a < b", Html("<b>c</b>"), class_='x"y') == '<p class="x&quot;y">a &lt; b<b>c</b></p>'
