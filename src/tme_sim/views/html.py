"""Pieces of a page: tables that scroll, cells with numbers, notes, and colours that a dark screen can change."""

from __future__ import annotations

from tme_sim.views.palette import FAINT, GRID, INK, PAPER
from tme_sim.views.words import Html, tag


def table(
    heads: list[str], *groups: list[Html], caption: str = "", numbers: bool = False, classes: str = "", headless: bool = False
) -> Html:
    """A table that scrolls on its own where the page is too narrow; with `numbers` all columns but the first are to the right."""
    aligned = [tag("th", head, scope="col", class_="n" if numbers and i else "t") for i, head in enumerate(heads)]
    parts = [tag("caption", caption) if caption else None, None if headless else tag("thead", tag("tr", *aligned))]
    table = tag("table", *parts, *(tag("tbody", *rows) for rows in groups), **({"class_": classes} if classes else {}))
    return tag("div", table, class_="scroll")


def cell(text: str) -> Html:
    """A cell with a number, to the right."""
    return tag("td", text, class_="n")


def note(text: str) -> Html:
    """A paragraph that stands out."""
    return tag("div", tag("p", text), class_="note", role="note")


def variable(color: str) -> str:
    """The CSS variable of a colour of the palette."""
    names = {INK: "ink", FAINT: "faint", GRID: "grid", PAPER: "page"}
    return f"var(--{names.get(color) or 'c-' + color[1:]})"
