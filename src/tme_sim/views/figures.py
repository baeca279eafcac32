"""The report's figures: matplotlib's object interface, text kept as text, the same bytes for the same run."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tme_sim.analysis.profiles import FEWEST_VOXELS, Floats, Profile, amounts, carriers_per_cell, penetration
from tme_sim.files.run_folder import RunFolder
from tme_sim.state.errors import InputError
from tme_sim.state.ledger import GONE
from tme_sim.state.variables import ROUTES
from tme_sim.views.palette import FAINT, GRID, INK, PAPER, color_of
from tme_sim.views.words import name, number

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

SIZE_IN = (4.7, 3.3)  # narrow, so that 9 pt are still read on a phone
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "figure.facecolor": PAPER,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "svg.hashsalt": "tme-sim",
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
    "ytick.major.width": 0.7,
}
SMALL_PERCENT = 0.1
TUMOR_ORDER = ("interstitium", "bound", "endothelium", "macrophages", "neutrophils", "monocytes", "tumor_cells")


@dataclass(frozen=True)
class Figure:
    """A drawn figure: its file name, title, what the reader should know, the SVG and the numbers in it."""

    name: str
    title: str
    caption: str
    svg: str
    table: pd.DataFrame


def figures(run: RunFolder) -> tuple[list[Figure], list[str]]:
    """All figures that the run's record allows, and a sentence for each reason why others are missing."""
    drawn, missing = [], []
    with style():
        for draw in DRAWERS:
            try:
                figure = draw(run)
            except InputError as why:
                missing.append(str(why))
                continue
            if figure is not None:
                drawn.append(figure)
    return drawn, list(dict.fromkeys(missing))


def style() -> AbstractContextManager[None]:
    """matplotlib's settings for these figures, while it lasts."""
    import matplotlib as mpl

    return mpl.rc_context(STYLE)


def body(run: RunFolder) -> Figure | None:
    """Plasma, organs and the whole tumour over time."""
    table = amounts(run)
    total = table.pivot_table("percent_id", "time_s", "compartment", "sum", sort=False)
    tumor = [column for column in total.columns if column in _in_tumor(table)]
    shown = total.drop(columns=[*tumor, "degraded"])
    shown = shown.loc[:, shown.max() >= SMALL_PERCENT]
    shown["tumor"] = total[tumor].sum(axis=1)
    shown = shown[total.sum(axis=1) > 0]
    caption = (
        "Blood plasma, organs and the tumour, in % of all that is injected; the tumour counts what it has not degraded. "
        f"What never reaches {SMALL_PERCENT:g} % is left to the table."
    )
    return _over_time("body", "In the body", caption, shown, {"tumor": INK})


def tumor(run: RunFolder) -> Figure | None:
    """The compartments of the tumour over time."""
    table = amounts(run)
    total = table.pivot_table("percent_id", "time_s", "compartment", "sum", sort=False)
    shown = total[[*_in_tumor(table), "degraded"]]
    caption = "Where the particles in the tumour are, in % of the injected dose. Blood in the tumour's vessels is not counted."
    return _over_time("tumor", "In the tumour", caption, shown)


def routes(run: RunFolder) -> Figure | None:
    """What the tumour holds, by the route of entry, over time."""
    table = amounts(run)
    held = table[table["compartment"].isin(_in_tumor(table))]
    shown = held.pivot_table("percent_id", "time_s", "route", "sum", sort=False)
    shown = shown[[route for route in ROUTES if route in shown and (shown[route] > 0).any()]]
    caption = "What the tumour holds, by the way it came in: every particle keeps its route of entry for ever."
    return _over_time("routes", "By route of entry", caption, shown) if len(shown.columns) else None


def cells(run: RunFolder) -> Figure | None:
    """How many particles single cells hold."""
    held = {kind: cargo for kind, cargo in carriers_per_cell(run).items() if len(cargo)}
    if not held:
        return None
    edges = _edges(np.concatenate(list(held.values())))
    share = {kind: 100 * np.histogram(np.minimum(cargo, edges[-1]), edges)[0] / len(cargo) for kind, cargo in held.items()}
    canvas, axes = _canvas(right=0.97)
    whole = bool(edges[0] < 0)
    for place, kind in enumerate(held):
        color = color_of(kind, place)
        axes.stairs(share[kind], edges, color=color, linewidth=1.8)
        axes.stairs(share[kind], edges, color=color, alpha=0.12, fill=True)
    for place, (kind, cargo) in enumerate(held.items()):
        text = f"{name(kind)}: mean {number(float(cargo.mean()))}, {number(100 * float((cargo == 0).mean()), 2)} % empty"
        axes.plot([0.36, 0.40], [0.95 - 0.085 * place] * 2, color=color_of(kind, place), transform=axes.transAxes, linewidth=3)
        axes.text(0.42, 0.95 - 0.085 * place, text, transform=axes.transAxes, va="center", fontsize=8.5)
    axes.set(xlabel="particles in a cell", ylabel="% of the cells of this kind", xlim=(edges[0], edges[-1]))
    axes.set_ylim(0, None)
    axes.locator_params(axis="x", nbins=6, integer=whole)
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    columns = {"from": np.ceil(edges[:-1]), "to": np.floor(edges[1:])} if whole else {"from": edges[:-1], "to": edges[1:]}
    table = pd.DataFrame(columns | {f"{kind}_percent": values for kind, values in share.items()})
    counts = ", ".join(f"{number(len(cargo))} {name(kind)}" for kind, cargo in held.items())
    last = "" if whole else " The last bin holds all above it."
    caption = f"Particles in single cells at the end, endosomes and lysosomes together; {counts}.{last}"
    return _figure("cells", "In single cells", caption, canvas, table)


def penetration_profile(run: RunFolder) -> Figure | None:
    """Carrier density against the distance from the vessels, with the null model and the number of voxels."""
    profile = penetration(run)
    if not profile.read.any() or not profile.uniform_per_mm3 > 0:
        return None
    density, power = _scaled(profile)
    canvas, axes = _canvas(right=0.82, top=0.93, bottom=0.37)
    at_um = profile.distance_um[profile.read]
    axes.axvspan(0, profile.resolved_um, color=FAINT, alpha=0.1, linewidth=0)
    axes.axhline(profile.uniform_per_mm3 / power, color=FAINT, linestyle=(0, (4, 3)), linewidth=1.2)
    colors = {"all": INK, "free": color_of("interstitium"), "bound": color_of("bound"), "in cells": color_of("macrophages")}
    ends = {}
    for part, color in colors.items():
        if part in density:
            axes.plot(at_um, density[part], color=color, marker="o", markersize=3)
            ends[part] = (at_um[-1], float(density[part][-1]), color)
    axes.set_ylim(0, 1.08 * float(np.nanmax(density["all"])))
    axes.set_xlim(0, max(at_um[-1], profile.resolved_um * 1.05))
    ends["if even"] = (float(axes.get_xlim()[1]), profile.uniform_per_mm3 / power, FAINT)
    axes.set_ylabel(f"{number(power)} particles per mm³")
    axes.tick_params(labelbottom=False)
    middle = profile.resolved_um / 2 / axes.get_xlim()[1]
    axes.text(middle, 1.02, "under 3 voxels", transform=axes.transAxes, ha="center", fontsize=8, color=FAINT)
    _label_ends(axes, ends)
    below = canvas.add_axes((0.15, 0.15, 0.67, 0.14), sharex=axes)
    below.bar(at_um, profile.voxels[profile.read], width=0.8 * profile.voxel_um, color=FAINT, alpha=0.6)
    below.set(xlabel=f"distance to {profile.measured_to} (µm)", ylabel="voxels")
    below.locator_params(axis="y", nbins=2)
    below.yaxis.set_major_formatter(lambda value, _: number(value))
    return _figure("penetration", "Distance from the vessels", _penetration_words(profile), canvas, profile.table())


DRAWERS: tuple[Callable[[RunFolder], Figure | None], ...] = (body, tumor, routes, penetration_profile, cells)


def inline(figure: Figure, swap: Mapping[str, str]) -> str:
    """The SVG for a page: no header, ids of its own, colours exchanged (lower-case `#rrggbb` → a CSS colour), the page's font."""
    svg = figure.svg[figure.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{figure.name}-', svg)
    svg = re.sub(r'href="#', f'href="#{figure.name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{figure.name}-", svg)
    svg = re.sub(r'^<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg \1 role="img" aria-labelledby="{figure.name}-title">', svg)
    svg = re.sub(r"#[0-9a-f]{6}", lambda found: swap.get(found[0], found[0]), svg)
    return svg.replace("'DejaVu Sans', 'Helvetica', 'Arial', sans-serif", "system-ui, sans-serif")


def _over_time(
    file: str, title: str, caption: str, percent: pd.DataFrame, colors: Mapping[str, str] | None = None
) -> Figure | None:
    if percent.empty or not float(percent.to_numpy().max()) > 0:
        return None
    hours = percent.index.to_numpy(float) / 3600
    canvas, axes = _canvas(right=0.69)
    ends = {}
    for place, column in enumerate(percent.columns):
        color = (colors or {}).get(column) or color_of(column, place)
        values = percent[column].to_numpy(float)
        axes.plot(hours, values, color=color, marker="o" if len(hours) < 3 else None, markersize=3)
        ends[name(str(column))] = (hours[-1], values[-1], color)
    axes.set(xlabel="time (h)", ylabel="% of the injected dose", xlim=(0, hours[-1]), ylim=(0, None))
    axes.locator_params(axis="x", nbins=6, steps=[1, 2, 3, 4, 6, 10])
    _label_ends(axes, ends)
    table = percent.rename(columns=lambda column: f"{column}_percent_id")
    table.insert(0, "time_h", hours)
    return _figure(file, title, caption, canvas, table.reset_index(drop=True))


def _label_ends(axes: Axes, ends: Mapping[str, tuple[float, float, str]]) -> None:
    """Names beside the right ends of lines, pushed apart where they would overlap, each tied to its line."""
    low, high = axes.get_ylim()
    x_low, x_high = axes.get_xlim()
    height_pt = axes.get_position().height * SIZE_IN[1] * 72
    order = sorted(ends, key=lambda label: ends[label][1])
    wanted = np.array([(ends[label][1] - low) / (high - low) for label in order])
    for label, place in zip(order, _apart(wanted, 11.5 / height_pt), strict=True):
        x, y, color = ends[label]
        start = ((x - x_low) / (x_high - x_low), (y - low) / (high - low))
        axes.plot([start[0], 1.035], [start[1], place], color=color, linewidth=0.8, transform=axes.transAxes, clip_on=False)
        axes.text(1.05, place, label, transform=axes.transAxes, va="center", fontsize=8.5)


def _apart(wanted: Floats, gap: float) -> Floats:
    """(labels,) places at least `gap` apart and not below 0, nearest in squares to the increasing ones wanted."""
    from scipy.optimize import isotonic_regression

    steps: Floats = gap * np.arange(len(wanted), dtype=float)
    increasing: Floats = isotonic_regression(wanted - steps).x
    return np.maximum(increasing, 0) + steps


def _edges(values: Floats) -> Floats:
    """Bins of single whole numbers while there are few, else forty up to the 99.9th percentile; the last one is open above."""
    most = float(values.max(initial=0))
    if most <= 40 and (values == np.round(values)).all():
        return np.asarray(np.arange(int(most) + 2) - 0.5, float)
    return np.linspace(0, float(np.quantile(values, 0.999)) or most, 41)


def _scaled(profile: Profile) -> tuple[dict[str, Floats], float]:
    """Densities of the bins that are read, in a power of ten that makes them short numbers."""
    every = {part: values[profile.read] for part, values in profile.density_per_mm3.items()}
    power = 10.0 ** np.floor(np.log10(np.nanmax(every["all"])))
    return {part: np.asarray(values / power, float) for part, values in every.items()}, float(power)


def _penetration_words(profile: Profile) -> str:
    half = profile.half_distance_um
    if half is None:
        read = "It does not fall to half of its value at the vessels within the distances seen."
    elif half < profile.resolved_um:
        read = f"It falls to half within three voxels ({profile.resolved_um:g} µm): that length is not resolved."
    else:
        read = f"It falls to half of its value at the vessels at {half:.0f} µm."
    number_of = number(int(profile.voxels.sum()))
    return (
        f"Particle density at the end against the 3D distance to {profile.measured_to}, over {number_of} voxels of "
        f"{profile.voxel_um:g} µm; blood and vessel wall are left out. {read} Dashed: the null model, the same particles spread "
        "evenly. Lengths in the grey band, under three voxels, are not resolved; bins of fewer than "
        f"{FEWEST_VOXELS} voxels are only in the table."
    )


def _in_tumor(table: pd.DataFrame) -> list[str]:
    """Compartments of the tumour that hold carriers, in order."""
    lattice = table.loc[table["route"] != "all", "compartment"].unique().tolist()
    known = [part for part in TUMOR_ORDER if part in lattice]
    return known + [part for part in lattice if part not in (*known, *GONE)]


def _canvas(right: float, top: float = 0.96, bottom: float = 0.15) -> tuple[Canvas, Axes]:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=SIZE_IN)
    FigureCanvasSVG(canvas)
    axes = canvas.add_axes((0.15, bottom, right - 0.15, top - bottom))
    axes.yaxis.set_major_formatter(lambda value, _: number(value))
    return canvas, axes


def _figure(file: str, title: str, caption: str, canvas: Canvas, table: pd.DataFrame) -> Figure:
    target = io.StringIO()
    canvas.savefig(target, format="svg", metadata={"Date": None, "Title": title})
    return Figure(file, title, caption, target.getvalue(), table)
