"""What stands around the picture: camera, box with axes in µm, title, legend and colour bars. The right third is for words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyvista as pv

from tme_sim.views.palette import INK
from tme_sim.views.snapshot import Cut, Floats, Snapshot
from tme_sim.views.words import nice_step, number, span

Legend = list[tuple[str, str | None]]
"""Rows of words and the colour of their mark, None for a heading."""

EDGE = "#777777"
SIZE = (1600, 1200)
FONT = str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")  # VTK's own lacks ● and µ
WORDS_LEFT, BAR_WIDTH = 0.715, 0.25  # shares of the width: where the column of words begins, and a colour bar in it
FILLED = 0.54, 0.70  # share of width and height that the box may fill; the axes' labels need the rest
VIEW_ANGLE_DEG = 20.0  # narrow, so that lengths in front and behind can be compared
SHORT = 0.15  # an edge shorter than this share of the longest bears no ticks
FLAT = 0.4  # a box with one edge shorter than this share of the others is looked at face to face


def kept_box(box_um: Floats, cut: Cut | None) -> Floats:
    """(2, 3) corners of the box, of which a cut takes away the viewer's side."""
    corners = np.array([np.zeros(3), box_um])
    if cut is not None:
        corners[int(cut.viewer_side > 0), cut.axis] = cut.position_um
    return corners


def draw_box(plotter: pv.Plotter, corners_um: Floats) -> None:
    """The box's edges, and three of them as axes with ticks in µm."""
    low, high = corners_um
    edges = high - low
    box = pv.Box(tuple(np.stack([low, high])[:, ::-1].T.ravel()))
    plotter.add_mesh(box, style="wireframe", color=EDGE, line_width=1.5)
    step = nice_step(float(edges.max()))
    outwards = np.array([-0.03, -0.03, -0.03]) * edges.max()
    for axis, name in enumerate("zyx"):
        if edges[axis] < SHORT * edges.max():
            continue
        start, away = low.copy(), outwards.copy()
        away[axis] = 0
        if name == "y":
            start[2], away[2] = high[2], -away[2]
        values = np.arange(np.ceil(low[axis] / step), np.floor(high[axis] / step + 1e-9) + 1) * step
        places = np.repeat(start[None], len(values), axis=0)
        places[:, axis] = values
        ticks = np.stack([places, places + 0.5 * away], axis=1).reshape(-1, 3)
        plotter.add_mesh(pv.line_segments_from_points(ticks[:, ::-1]), color=EDGE, line_width=1.5)
        middle = (start + 4 * away)[None]
        middle[0, axis] = (low[axis] + high[axis]) / 2
        _label(plotter, places + 1.3 * away, [f"{value:g}" for value in values], 20)
        _label(plotter, middle, [f"{name} (µm)"], 22)


def look(plotter: pv.Plotter, corners_um: Floats, cut: Cut | None) -> None:
    """From high z, low y and high x, where a cut opens the box; more face to face with a cut or with a flat box.

    The box fills the left part of the picture.
    """
    corners = corners_um[:, ::-1]
    edges, towards = np.ptp(corners, axis=0), np.array([0.9, -1.6, 0.8])
    if cut is not None:
        towards[2 - cut.axis] *= 2.2
    flat = int(edges.argmin())
    if edges[flat] < FLAT * np.sort(edges)[1]:
        towards[flat] *= 3
        towards[0] *= 0.3 if flat == 2 else 1
    towards /= np.linalg.norm(towards)
    right = np.cross([0.0, 0.0, 1.0], towards)
    right /= np.linalg.norm(right)
    axes = np.array([right, np.cross(towards, right), towards])
    seen = np.array(np.meshgrid(*corners.T)).reshape(3, -1).T @ axes.T
    width, height, _ = np.ptp(seen, axis=0)
    focus = (seen.max(axis=0) + seen.min(axis=0)) / 2 @ axes
    aspect = plotter.window_size[0] / plotter.window_size[1]
    tall = max(width / aspect / FILLED[0], height / FILLED[1])
    eye = focus + towards * tall / 2 / np.tan(np.radians(VIEW_ANGLE_DEG / 2))
    plotter.camera_position = [tuple(eye), tuple(focus), (0, 0, 1)]
    plotter.camera.view_angle = VIEW_ANGLE_DEG
    plotter.camera.SetWindowCenter(0.97 - WORDS_LEFT, 0.06)
    plotter.reset_camera_clipping_range()


def title(plotter: pv.Plotter, snapshot: Snapshot) -> None:
    """What the picture shows: run, particle, tissue and time, and the size of the box."""
    config, name = snapshot.run.config, snapshot.run.info["name"]
    particle, tissue = config["nanoparticle"]["hydrodynamic_diameter"], str(config["tissue"]["kind"]).replace("_", " ")
    z, y, x = snapshot.box_um
    _write(plotter, f"{name}, {span(snapshot.time_s)}", 0.03, 0.945, 17)
    _write(plotter, f"{particle} particle, tissue {tissue}, box {x:g} × {y:g} × {z:g} µm (x, y, z)", 0.03, 0.91, 11)


def write_legend(plotter: pv.Plotter, legend: Legend) -> None:
    """One row for each, from the top of the column of words."""
    for row, (words, color) in enumerate(legend):
        height = 0.84 - 0.034 * row
        if color is not None:
            _write(plotter, "●", WORDS_LEFT, height, 13, color)
        _write(plotter, words, WORDS_LEFT + 0.022 * (color is not None), height, 10)


def bar(title: str, place: int) -> dict[str, Any]:
    """Settings of the colour bar in this place, counted from below; its words are written by `write_bars`."""
    where = {"position_x": WORDS_LEFT, "position_y": 0.09 + 0.12 * place, "width": BAR_WIDTH, "height": 0.045}
    return {"title": title, "n_labels": 0, "vertical": False, **where}


def write_bars(plotter: pv.Plotter) -> None:
    """Title above each colour bar, and the ends of its range below."""
    for place, (words, actor) in enumerate(plotter.scalar_bars.items()):
        low, high = actor.GetLookupTable().GetTableRange()
        actor.SetTitle("")
        bottom = bar(words, place)["position_y"]
        _write(plotter, words, WORDS_LEFT, bottom + 0.035, 10)
        for value, left in ((low, WORDS_LEFT), (high, WORDS_LEFT + BAR_WIDTH - 0.01 * len(number(high)))):
            _write(plotter, number(value), left, bottom - 0.018, 10)


def _label(plotter: pv.Plotter, places_um: Floats, words: list[str], size: int) -> None:
    plotter.add_point_labels(
        places_um[:, ::-1], words, font_size=size, text_color=INK, font_file=FONT, shape=None, show_points=False,
        always_visible=True, justification_horizontal="center", justification_vertical="center",
    )  # fmt: skip


def _write(plotter: pv.Plotter, words: str, left: float, low: float, size: int, color: str = INK) -> None:
    plotter.add_text(words, position=(left, low), font_size=size, viewport=True, color=color, font_file=FONT)
