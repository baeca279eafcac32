"""`images/gallery.html`: what each instrument shows of a run beside the truth, in one file that needs nothing from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

from tme_sim.files.bids_names import session, word
from tme_sim.files.image import Image, Quantity
from tme_sim.files.images import Images, labels
from tme_sim.files.run_folder import RunFolder
from tme_sim.files.run_store import RunStore
from tme_sim.files.whole import whole
from tme_sim.views import html
from tme_sim.views.preview import DPI, preview
from tme_sim.views.words import Html, join, name, number, span, tag, unit_of

TRUE = "_true"
"""Ending of a quantity that says what truly was there."""
WIDE_PX = 1200
"""A picture above this width is not put beside another one."""
OPEN_ROWS = 16
"""Numbers that a table shows before the regions that come after are folded away."""

FOLDERS = ("bids", "ome-zarr", "ome-tiff", "dicom")
"""Where formats are kept."""


def write_gallery(run: RunFolder, images: Images, refused: Mapping[str, str] | None = None) -> Path:
    """Write `images/gallery.html`, and each picture as `images/previews/NAME.png`; returns the page's path.

    refused: instrument → why it cannot see this run, which the page tells.
    """
    folder = run.folder / "images"
    label_of = {id(image): label for label, image in labels(images)}
    sections = []
    for readout, made in images.items():
        figures = []
        for image in made:
            picture = preview(image, readout)
            path = folder / "previews" / f"{word(label_of[id(image)])}_{session(image.time_s)}_{word(image.modality)}.png"
            with whole(path) as part:
                part.write_bytes(picture)
            figures.append(_figure(image, picture, f"previews/{path.name}"))
        pictures = tag("div", *figures, **({"class_": "figures"} if len(figures) > 1 else {}))
        sections.append(tag("section", tag("h2", _words(readout), id=readout), pictures, *_tables(made), _acquisition(made)))
    footer = tag("footer", "Written by tme-sim ", run.info["versions"]["tme_sim"], ".")
    body = join(_header(run, list(images)), tag("main", *sections, _refusals(refused or {})), footer)
    RunStore(folder).write_text("gallery.html", html.page(f"{run.info['name']}: images", body))
    return folder / "gallery.html"


def _header(run: RunFolder, readouts: Sequence[str]) -> Html:
    info = run.info
    facts = f"Run {info['name']} · seed {info['seed']} · tme-sim {info['versions']['tme_sim']}"
    honest = (
        "Nothing here was measured: each image was computed from this run by a model of the instrument, and stands above the "
        "truth that it was made from, in the same voxels without blur and noise. Each of the two has its own scale of colour."
    )
    links = [tag("li", tag("a", _words(readout), href=f"#{readout}")) for readout in readouts]
    there = [name for name in (*FOLDERS, "quantification.parquet") if (run.folder / "images" / name).exists()]
    files = join("The files:", *(join(" ", tag("a", name, href=name)) for name in there))
    parts = [tag("h1", "What instruments show of this run"), tag("p", facts, class_="faint"), tag("p", honest), tag("p", files)]
    return tag("header", *parts, tag("nav", tag("ul", *links), aria_label="Instruments"))


def _refusals(refused: Mapping[str, str]) -> Html | None:
    """Instruments that cannot see this run, those with one reason together."""
    readouts: dict[str, list[str]] = {}
    for readout, why in refused.items():
        readouts.setdefault(why, []).append(_words(readout))
    notes = [html.note(f"{', '.join(names)}: {why}.") for why, names in readouts.items()]
    return tag("section", tag("h2", "What cannot see this run"), *notes) if notes else None


def _figure(image: Image, picture: bytes, link: str) -> Html:
    width, height = (int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))  # of PNG's first chunk
    text = f"{_words(image.name)} ({image.modality}) at {span(image.time_s)}, above the truth"
    shape = " × ".join(str(n) for n in image.data.shape[-3:])
    edges = " × ".join(number(edge) for edge in image.voxel_um)
    caption = f"{text}. {shape} voxels (z, y, x) of {edges} µm. "
    shown = html.picture(picture, "png", text, width, height)
    style = f"max-width:{round(width * 96 / DPI)}px" + (";grid-column:1/-1" if width > WIDE_PX else "")
    return tag("figure", shown, tag("figcaption", caption, tag("a", "PNG", href=link)), style=style)


def _tables(images: Sequence[Image]) -> list[Html]:
    """The numbers of each image; of many regions those that come first, the others folded away."""
    parts: list[Html] = []
    for image in images:
        groups = [(region, list(rows)) for region, rows in groupby(image.quantities, lambda q: q.region)]
        if not groups:
            continue
        heading = f"Read off {_words(image.name)} at {span(image.time_s)}"
        counts = accumulate(len(rows) for _, rows in groups)
        first = max(1, sum(count <= OPEN_ROWS for count in counts))
        parts.append(_table(groups[:first], f"{heading}."))
        if groups[first:]:
            more = f"{heading}: {len(groups) - first} more regions"
            parts.append(tag("details", tag("summary", more), _table(groups[first:], "")))
    return parts


def _table(groups: Sequence[tuple[str, Sequence[Quantity]]], caption: str) -> Html:
    heads = ["region", "quantity", "read off", "truth", "unit", "note"]
    bodies = [[_row(region, q, rows) for q in rows if not _is_truth(q, rows)] for region, rows in groups]
    return html.table(heads, *bodies, caption=caption, numbers={"read off", "truth"})


def _is_truth(quantity: Quantity, rows: Sequence[Quantity]) -> bool:
    """Whether it is the truth of another one, and stands in that one's row."""
    return quantity.quantity.endswith(TRUE) and any(q.quantity + TRUE == quantity.quantity for q in rows)


def _row(region: str, quantity: Quantity, rows: Sequence[Quantity]) -> Html:
    truth = next((q.value for q in rows if q.quantity == quantity.quantity + TRUE), None)
    cells = [html.cell(number(quantity.value)), html.cell("" if truth is None else number(truth))]
    unit = "" if quantity.unit == "1" else unit_of(quantity.unit)
    flag = tag("span", quantity.flag, class_="mark") if quantity.flag else ""
    return tag(
        "tr", tag("th", name(region), scope="row"), tag("td", _words(quantity.quantity)), *cells, tag("td", unit), tag("td", flag)
    )


def _acquisition(images: Sequence[Image]) -> Html:
    """How the images were taken: what all have in common once, folded away."""
    rows = dict.fromkeys((key, _plain(value)) for image in images for key, value in image.acquisition.items())
    body = [tag("tr", tag("th", tag("code", key), scope="row"), tag("td", value)) for key, value in rows]
    return tag("details", tag("summary", "How it was taken"), html.table(["setting", "value"], body))


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(each) for each in value)
    return number(value, 5) if isinstance(value, float) else str(value)


def _words(key: str) -> str:
    return key.replace("_", " ")
