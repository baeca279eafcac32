"""Pieces of a page: tables that scroll, cells with numbers, notes, and colours that a dark screen can change."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from pathlib import Path
from string import Template

from tme_sim.views.palette import FAINT, GRID, INK, ON_DARK, PAPER, all_colors
from tme_sim.views.words import Html, join, tag

TEMPLATE = Path(__file__).with_name("report_template.html")


def page(title: str, body: Html) -> str:
    """A whole page in the house's style, in one file that needs nothing from outside."""
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(title=join(title), colors=_colors(), body=body)


def picture(data: bytes, kind: str, text: str, width: int, height: int) -> Html:
    """A picture within the page; kind: png or jpeg; text: what it shows, for those who cannot see it."""
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return Html(tag("img", src=source, alt=text, width=width, height=height).removesuffix("</img>"))


def table(
    heads: list[str],
    *groups: list[Html],
    caption: str = "",
    numbers: bool | Collection[str] = False,
    classes: str = "",
    headless: bool = False,
) -> Html:
    """A table that scrolls on its own where the page is too narrow; `numbers`: heads to the right, True for all but the first."""
    right = (heads[1:] if numbers else []) if isinstance(numbers, bool) else numbers
    aligned = [tag("th", head, scope="col", class_="n" if head in right else "t") for head in heads]
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


def _colors() -> str:
    """The palette as CSS variables, and what changes on a dark screen; paper stays light."""

    def block(colors: Mapping[str, str], extra: str) -> str:
        return "".join(f"{variable(key)[4:-1]}:{value};" for key, value in colors.items()) + extra

    light = block({color: color for color in all_colors()}, "--card:#f4f6f8;--link:#0b5c9e;--warn:#e0a100;--on-warn:#1d2731")
    dark = block(ON_DARK, "--card:#1f262e;--link:#7cc0f5;--warn:#d9a520;--on-warn:#171c22")
    return (
        f":root{{color-scheme:light;{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{color-scheme:dark;{dark}}}}}"
    )
