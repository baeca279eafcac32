"""The figure of a comparison with measured data: curves by organ, profile, distribution; the null model beside each."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tme_sim.analysis.curve_comparison import Course
from tme_sim.analysis.image_comparison import Pair
from tme_sim.analysis.profiles import FEWEST_VOXELS
from tme_sim.files.dataset import DataSet
from tme_sim.views.figures import style
from tme_sim.views.palette import FAINT, INK, OTHERS
from tme_sim.views.words import name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
COLUMNS = 4
PANEL_IN = (2.7, 2.3)
MEASURED, RUN = INK, OTHERS[1]
DASHED = (0, (4, 3))


def draw(
    dataset: DataSet,
    courses: list[Course],
    curves: Mapping[str, Callable[[Floats], Floats]],
    span_h: tuple[float, float],
    pair: Pair | None,
    profile: pd.DataFrame | None,
) -> str:
    """SVG with a panel for each course, the profile and the distribution; span_h: hours between which the run has curves."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    panels: list[Callable[[Axes], None]] = [_course(course, curves, span_h) for course in courses]
    if pair is not None and dataset.picture is not None:
        unit = "of the mean" if dataset.picture.unit == "a.u." else dataset.picture.unit
        panels += [*([] if profile is None else [_profile(profile, unit)]), _distribution(pair, unit)]
    across = min(COLUMNS, len(panels))
    down = -(-len(panels) // across)
    with style():
        canvas = Canvas(figsize=(PANEL_IN[0] * max(across, 2), PANEL_IN[1] * down + 0.7), layout="constrained")
        FigureCanvasSVG(canvas)
        for place, panel in enumerate(panels):
            panel(canvas.add_subplot(down, across, place + 1))
        handles, labels = canvas.axes[0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
        target = io.StringIO()
        canvas.savefig(target, format="svg", metadata={"Date": None, "Title": dataset.what})
    return target.getvalue()


def _course(
    course: Course, curves: Mapping[str, Callable[[Floats], Floats]], span_h: tuple[float, float]
) -> Callable[[Axes], None]:
    curve = curves[course.organ if course.unit != "%ID" else f"%ID {course.organ}"]

    def panel(axes: Axes) -> None:
        most = 1.05 * float(course.time_h.max())
        hours = np.linspace(span_h[0], min(span_h[1], most), 200)
        order = np.argsort(course.time_h)
        axes.plot(course.time_h, course.measured, "o", color=MEASURED, markersize=3, label="each animal")
        axes.plot(course.over_time(course.time_h), course.over_time(course.measured), color=MEASURED, label="their mean")
        axes.plot(hours, curve(hours), color=RUN, label="run")
        axes.plot(course.time_h[order], course.null[order], color=FAINT, linestyle=DASHED, label="null model")
        axes.set_title(name(course.organ) + ("" if course.group == "all" else f", {course.group}"), fontsize=9)
        axes.set(xlabel="time (h)", ylabel=course.unit, xlim=(0, most))
        axes.set_ylim(0, None)

    return panel


def _profile(table: pd.DataFrame, unit: str) -> Callable[[Axes], None]:
    shown = table[table["voxels"] >= FEWEST_VOXELS]

    def panel(axes: Axes) -> None:
        for column, label, color in _lines(shown):
            dashed = DASHED if column == "null" else "-"
            axes.plot(shown["distance_um"], shown[column], color=color, linestyle=dashed, label=label)
            if column != "null":
                axes.fill_between(
                    shown["distance_um"], shown[f"{column}_low"], shown[f"{column}_high"], color=color, alpha=0.15, lw=0
                )
        axes.set_title("distance to the nearest vessel", fontsize=9)
        axes.set(xlabel="distance (µm)", ylabel=unit)
        axes.set_ylim(0, None)

    return panel


def _lines(table: pd.DataFrame) -> Iterable[tuple[str, str, str]]:
    known = (("measured", "measured", MEASURED), ("simulated", "run", RUN), ("null", "null model", FAINT))
    return [line for line in known if line[0] in table]


def _distribution(pair: Pair, unit: str) -> Callable[[Axes], None]:
    """Share of voxels below a value; the area between two lines is Wasserstein-1."""
    counts = pair.measured.counts
    sides = (
        (pair.measured.values[counts], "measured", MEASURED, "-"),
        (pair.simulated.values[pair.simulated.counts], "run", RUN, "-"),
        (pair.null[counts], "null model", FAINT, DASHED),
    )

    def panel(axes: Axes) -> None:
        share = np.linspace(0, 1, 201)
        for values, label, color, line in sides:
            axes.plot(np.quantile(values, share), 100 * share, color=color, linestyle=line, label=label)
        most = max(float(np.quantile(values, 0.995)) for values, *_ in sides)
        least = min(float(np.quantile(values, 0.005)) for values, *_ in sides)
        axes.set_title("distribution", fontsize=9)
        axes.set(xlabel=unit, ylabel="% of voxels below", xlim=(min(0.0, least), most), ylim=(0, 100))

    return panel
