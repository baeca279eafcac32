"""One colour per route, compartment and organ, the same in every figure, scene and report.

Within a figure the colours stay apart for colour-blind readers (after Okabe and Ito, and Tol), and lines are labelled besides.
"""

from __future__ import annotations

INK, FAINT, GRID, PAPER = "#1d2731", "#66717d", "#d9dfe5", "#ffffff"

ROUTES = {"injected": "#cc79a7", "gap": "#0072b2", "transcytosis": "#e69f00", "phagocyte": "#009e73"}

COMPARTMENTS = {
    "interstitium": "#56b4e9",
    "bound": "#332288",
    "endothelium": "#aa4499",
    "macrophages": "#1b7f5c",
    "neutrophils": "#dd4b9b",
    "monocytes": "#6a51a3",
    "t_cells": "#7b4a12",
    "tumor_cells": "#d55e00",
    "degraded": "#8a8f98",
    "plasma": "#b2182b",
    "kupffer": "#999933",
    "liver_endothelium": "#2a9d8f",
    "spleen": "#882255",
    "elsewhere": "#7f7f7f",
    "washed_out": "#b8860b",
    "urine": "#c9a227",
    "wall_bound": "#8c564b",
    "blood_neutrophils": "#e07bb0",
    "blood_monocytes": "#8f7fc0",
    "spent_phagocytes": "#a9a9a9",
}

OTHERS = ("#4477aa", "#ee6677", "#228833", "#aa3377", "#66ccee")
"""For compartments that have no colour of their own, in their order."""

ON_DARK = {
    INK: "#e6ebf0",
    FAINT: "#9aa7b4",
    GRID: "#333d47",
    PAPER: "#171c22",
    "#0072b2": "#4aa8e0",
    "#332288": "#9a90ea",
    "#aa4499": "#d584c7",
    "#6a51a3": "#a394de",
    "#1b7f5c": "#3dbb8c",
    "#b2182b": "#f26d75",
    "#882255": "#d878a6",
    "#4477aa": "#7fb0e0",
    "#228833": "#5abf6b",
    "#aa3377": "#d977ad",
}
"""What replaces a colour on a dark page, where it would be too faint."""


def color_of(name: str, place: int = 0) -> str:
    """The colour of a route or compartment; `place` tells those apart that have none of their own."""
    return ROUTES.get(name) or COMPARTMENTS.get(name) or OTHERS[place % len(OTHERS)]


def all_colors() -> list[str]:
    """Every colour that a figure may use on a light page."""
    return list(dict.fromkeys([INK, FAINT, GRID, PAPER, *ROUTES.values(), *COMPARTMENTS.values(), *OTHERS]))
