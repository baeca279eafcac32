from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from tme_sim.files.image import Image, Quantity
from tme_sim.files.run_folder import RunFolder
from tme_sim.files.run_store import RunStore
from tme_sim.views import gallery
from tme_sim.views.gallery import write_gallery
from tme_sim.views.preview import DPI, _range, _title, preview
from tme_sim.views.slicing import ENDS, focus, planes

SHAPE = (3, 4, 5)


def picture_of(modality: str = "PET", channels: tuple[str, ...] = (), **given: Any) -> Image:
    """A bright voxel at (2, 1, 3) in the dark, brighter noise elsewhere in the image itself."""
    shape = (len(channels), *SHAPE) if channels else SHAPE
    truth = np.zeros(shape)
    truth[..., 2, 1, 3] = 5.0
    data = truth.copy()
    data[..., 0, 0, 0] = 9.0
    settings: dict[str, Any] = {"voxel_um": (300.0, 200.0, 100.0), "unit": "Bq/mL", "time_s": 3600.0, "layers": {"truth": truth}}
    settings |= {"origin_um": (1000.0, 0.0, -500.0), "acquisition": {"Phantom": "mouse", "Odd": {"a": (1, 2.5)}}}
    return Image(name="pet", data=data, modality=modality, channels=channels, **(settings | given))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    store = RunStore.create(tmp_path / "run")
    versions = {"tme_sim": "0.0"}
    store.write_json(
        "run.json", {"format": 1, "status": "done", "name": "<quick>", "seed": 5, "hash": "1a", "versions": versions}
    )
    return RunFolder(store.folder)


def test_planes_pass_through_the_hottest_voxel_of_the_truth() -> None:
    image = picture_of()
    assert focus(image) == (2, 1, 3)
    assert [(plane.across, plane.up, plane.right) for plane in planes(image)] == [
        ("z", "y", "x"),
        ("y", "z", "x"),
        ("x", "z", "y"),
    ]
    assert [plane.at_um for plane in planes(image)] == [1600.0, 200.0, -200.0]
    assert [plane.size_um(SHAPE) for plane in planes(image)] == [(800, 500), (900, 500), (900, 800)]
    for plane in planes(image):
        assert plane.of(image.layers["truth"]).max() == 5.0
    across_z = planes(image)[0].of(image.layers["truth"])
    assert across_z[1, 3] == 5.0  # row y goes up, column x to the right


def test_the_tumour_is_looked_at_where_it_is_known() -> None:
    regions = np.zeros(SHAPE, np.int16)
    regions[0, 2:, :] = 2
    truth = picture_of().layers["truth"].copy()
    truth[0, 3, 4] = 1.0
    image = picture_of(regions=regions, region_names={1: "liver", 2: "tumor"}, layers={"truth": truth})
    assert focus(image) == (0, 3, 4)


def test_a_section_has_one_plane_and_voxels_without_a_number_are_passed_over() -> None:
    data = np.array([[[np.nan, 1.0], [3.0, 2.0]]])
    image = (
        picture_of(data=data, layers={})
        if False
        else Image(name="a", data=data, voxel_um=(5.0, 1.0, 1.0), unit="1", time_s=0.0, modality="R2starmap")
    )
    assert focus(image) == (0, 1, 0)
    assert [plane.across for plane in planes(image)] == ["z"]


def test_ends_of_a_body_are_those_of_nifti() -> None:
    """x to the right, y to anterior, z to superior, from low to high."""
    assert ENDS == {"x": ("L", "R"), "y": ("P", "A"), "z": ("I", "S")}


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (np.zeros(10), 0.0, 1.0),
        (np.full(10, np.nan), 0.0, 1.0),
        (np.linspace(-1, 100, 1001), 0.0, 99.8),
        (np.linspace(50, 100, 1001), 50.25, 99.9),
        (np.linspace(-100, 50, 1001), -99.25, 99.25),
        (np.eye(1, 1000)[0] * 7, 0.0, 7.0),
    ],
)
def test_colours_span_what_is_there(values: Any, low: float, high: float) -> None:
    """From 0 or a background above it; even about 0 for changes; few bright points count."""
    assert _range([values]) == pytest.approx((low, high), abs=0.1)


@pytest.mark.parametrize(
    ("name", "modality", "title"),
    [
        ("pet", "PET", "pet preclinical (PET) at 1 h"),
        ("pet_preclinical", "micr", "pet preclinical at 1 h"),
        ("pet_preclinical_change", "dR1map", "pet preclinical: change (dR1map) at 1 h"),
    ],
)
def test_a_title_says_the_instrument_once(name: str, modality: str, title: str) -> None:
    assert _title(replace(picture_of(modality), name=name), "pet_preclinical") == title


def test_a_preview_shows_image_and_truth_with_sides_scale_and_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words drawn, and the bright voxel in the upper right of the plane across z, where x and y are high."""
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    words: list[str] = []
    drawn: list[Any] = []
    annotate, savefig = Axes.annotate, Figure.savefig

    def listen(self: Axes, text: str, *args: Any, **kwargs: Any) -> Any:
        words.append(text)
        return annotate(self, text, *args, **kwargs)

    def keep(self: Figure, *args: Any, **kwargs: Any) -> None:
        drawn.append(self)
        savefig(self, *args, **kwargs)

    monkeypatch.setattr(Axes, "annotate", listen)
    monkeypatch.setattr(Figure, "savefig", keep)
    pixels = imread(io.BytesIO(preview(picture_of(), "pet")))
    (figure,) = drawn
    assert words[:12] == ["L", "R", "P", "A", "L", "R", "I", "S", "P", "A", "I", "S"]
    assert len(figure.axes) == 2 * (3 + 1)
    bars = [axes for axes in figure.axes if axes.get_ylabel()]
    assert [axes.get_ylabel() for axes in bars] == ["Bq/mL"] * 2
    assert {text.get_text() for axes in figure.axes for text in axes.texts} >= {"100 µm", "200 µm"}
    assert {text.get_text() for text in figure.texts} == {"pet (PET) at 1 h", "image", "truth"}
    place, (height, width) = figure.axes[4].get_position(), pixels.shape[:2]

    def seen(y: int, x: int) -> Any:
        """Red, green and blue in the middle of a voxel of the truth on the plane across z."""
        up, right = place.y0 + (y + 0.5) / 4 * place.height, place.x0 + (x + 0.5) / 5 * place.width
        return pixels[int((1 - up) * height), int(right * width), :3].sum()

    assert seen(1, 3) > 1.5 > 0.2 > max(seen(1, 1), seen(2, 3), seen(3, 1))
    assert pixels.shape[1] == pytest.approx(figure.get_size_inches()[0] * DPI, abs=1)


def test_channels_stand_side_by_side_and_a_micrographs_over_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    drawn: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **kwargs: drawn.append(self))
    preview(picture_of("micr", ("nuclei", "particles"), acquisition={}, layers={}), "confocal")
    preview(picture_of("MEGRE", tuple("abcdefgh"), acquisition={}, layers={}), "mri")
    titles = [[axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")] for figure in drawn]
    assert [title.split(",")[0] for title in titles[0]] == ["nuclei", "particles", "together"]
    assert [title[0] for title in titles[1]] == ["a", "c", "e", "f", "h"]
    assert [len(figure.axes) for figure in drawn] == [3 + 2, 5 + 1]  # a scale for each dye, one for all echoes


@pytest.fixture
def page(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> str:
    blank = preview(picture_of(), "pet")
    monkeypatch.setattr(gallery, "preview", lambda image, readout: blank)
    numbers = [Quantity("tumor", "mean", 3.0, "Bq/mL", "partial volume"), Quantity("tumor", "mean_true", 4.5, "Bq/mL")]
    numbers += [Quantity("liver", f"q{number}", 1.0, "1") for number in range(20)]
    images = {"pet_preclinical": [picture_of(quantities=tuple(numbers))], "mri": [picture_of("T1w")]}
    path = write_gallery(run, images, {"fmt": "has <no> dye", "mri": "x", "confocal": "has <no> dye"})
    assert path == run.folder / "images" / "gallery.html"
    names = sorted(path.name for path in (run.folder / "images/previews").iterdir())
    assert names == ["mri_1h_T1w.png", "petPreclinical_1h_PET.png"]
    return path.read_text("utf-8")


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    assert page.count("data:image/png;base64,") == 2
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert "<script" not in page
    links = set(re.findall(r'href="([^"#]+)"', page))
    assert links == {"previews/petPreclinical_1h_PET.png", "previews/mri_1h_T1w.png"}


def test_the_page_shows_truth_beside_what_was_read_off_and_how_it_was_taken(page: str) -> None:
    rows = [re.sub(r"<[^>]+>", "|", row) for row in re.findall(r"<tr>.*?</tr>", page)]
    mean = next(row for row in rows if "|mean|" in row)
    assert re.sub(r"\|+", "|", mean) == "|tumour|mean|3|4.5|Bq/mL|partial volume|"
    assert "mean true" not in page
    assert "1 more regions" in page
    assert re.sub(r"\|+", "|", next(row for row in rows if "Odd" in row)) == "|Odd|a 1, 2.5|"
    assert "fmt, confocal: has &lt;no&gt; dye." in page
    assert "Nothing here was measured" in page
    assert "<quick>" not in page
