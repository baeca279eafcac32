"""Pictures of images: the planes through what is hottest, the image above the truth, each row with its own scale of colour."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.files.bids_names import SPLIT
from tme_sim.files.image import Image
from tme_sim.views.figures import style
from tme_sim.views.palette import FAINT
from tme_sim.views.slicing import ENDS, Plane, is_body, planes
from tme_sim.views.words import nice_step, number, span, unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

ROW_IN, SLIM, WIDE = 2.8, 0.3, 2.2  # height of a panel, and how slim or wide it may be against it
TITLE_IN, HEAD_IN, BAR_IN, GAP_IN, SIDE_IN, DPI = 0.35, 0.3, 0.8, 0.15, 0.35, 120
LEAST_IN = 4.2
"""Width that a title needs."""
HEADING: Any = {"loc": "left", "size": 8.5, "color": FAINT, "pad": 4}
CHANNELS = 5
"""Channels shown at most."""
HUES = {"particles": "#ffb347", "drug": "#5ad1ff", "vessels": "#ff4f6d", "nuclei": "#5c7cff", "macrophages": "#4be08a"}
OTHER_HUE = "#ffffff"
POINTS = 0.05
"""Share of the pixels below which what is bright are points."""
TOGETHER = -1
"""In place of a channel: all of them over each other."""


@dataclass(frozen=True)
class Column:
    """One panel of each row: a plane of a volume, of one of its channels, or of all channels over each other."""

    plane: Plane
    channel: int | None
    width_in: float
    bar_in: float

    def pixels(self, data: NDArray[Any]) -> NDArray[np.float64]:
        """(up, right) values of an image's data or layer."""
        return np.asarray(self.plane.of(data if self.channel is None else data[self.channel]), np.float64)


def preview(image: Image, readout: str) -> bytes:
    """A PNG: of a volume its planes across z, y and x, of channels the plane across z of each; below it the same of the truth."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = _columns(image)
    rows = {"image": image.data} | {name: image.layers[name] for name in ("truth",) if name in image.layers}
    width = max(LEAST_IN, sum(column.width_in + column.bar_in + GAP_IN for column in columns) + SIDE_IN)
    height = TITLE_IN + (ROW_IN + HEAD_IN) * len(rows)
    with style():
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        figure.text(0.1 / width, 1 - 0.08 / height, _title(image, readout), va="top", size=11, weight="bold")
        for row, (name, data) in enumerate(rows.items(), 1):
            _draw_row(figure, image, name, data, columns, height - TITLE_IN - row * (ROW_IN + HEAD_IN) + 0.08)
        canvas = io.BytesIO()
        figure.savefig(canvas, format="png", dpi=DPI, metadata={"Software": None})
    return canvas.getvalue()


def _columns(image: Image) -> list[Column]:
    """What stands side by side; only channels and the last panel of a row have a bar of colours."""
    cuts = planes(image)[:1] if image.channels else planes(image)
    count, together = len(image.channels), image.modality in SPLIT
    shown = np.unique(np.linspace(0, count - 1, min(CHANNELS, count)).round().astype(int)).tolist() if count else [None]
    pairs = [(plane, channel) for plane in cuts for channel in shown]
    columns = []
    for place, (plane, channel) in enumerate(pairs, 1):
        up, right = plane.size_um(image.data.shape[-3:])
        bar = BAR_IN if (channel is not None and not together) or place == len(pairs) else 0.0
        columns.append(Column(plane, channel, ROW_IN * float(np.clip(right / up, SLIM, WIDE)), bar))
    return [*columns, replace(columns[0], channel=TOGETHER, bar_in=0.0)] if image.modality == "micr" and count > 1 else columns


def _draw_row(figure: Figure, image: Image, what: str, data: NDArray[Any], columns: Sequence[Column], bottom_in: float) -> None:
    """The panels of the image or of its truth from left to right."""
    width, height = figure.get_size_inches()
    own = bool(image.channels) and image.modality not in SPLIT
    common = (0.0, 1.0) if own else _range([column.pixels(data) for column in columns])
    side: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "center", "size": 9.5}
    figure.text(0.5 * SIDE_IN / width, (bottom_in + ROW_IN / 2) / height, what, **side)
    left = SIDE_IN
    for column in columns:
        axes = figure.add_axes((left / width, bottom_in / height, column.width_in / width, ROW_IN / height))
        if column.channel == TOGETHER:
            name, pixels, limits = "together", _together(image, data, column.plane), common
        else:
            name, pixels = "" if column.channel is None else image.channels[column.channel], column.pixels(data)
            limits = _range([pixels]) if own else common
        shown = _draw(axes, image, column.plane, pixels, limits, name)
        axes.set_title(f"{name}{', ' if name else ''}{column.plane.across} = {_length(column.plane.at_um)}", **HEADING)
        left += column.width_in
        if column.bar_in:
            place = (left + 0.08) / width, bottom_in / height, 0.1 / width, ROW_IN / height
            bar: Any = figure.colorbar(shown, cax=figure.add_axes(place))
            bar.outline.set_visible(False)
            bar.ax.tick_params(labelsize=7, length=2)
            bar.set_label("" if image.unit == "1" else unit_of(image.unit), size=8)
        left += column.bar_in + GAP_IN


def _draw(axes: Axes, image: Image, plane: Plane, pixels: NDArray[Any], limits: tuple[float, float], channel: str) -> AxesImage:
    """One plane with the names of its sides and a bar of round length."""
    up, right = plane.size_um(image.data.shape[-3:])
    colors, extent = _colors(image, channel, limits[0]), (0.0, right, 0.0, up)
    shown = axes.imshow(pixels, cmap=colors, vmin=limits[0], vmax=limits[1], origin="lower", extent=extent, interpolation="auto")
    axes.set_axis_off()
    _mark(axes, plane, body=is_body(image))
    _scale_bar(axes, right, up)
    return shown


def _together(image: Image, data: NDArray[Any], plane: Plane) -> NDArray[np.float64]:
    """(up, right, 3) channels over each other, each in its hue and scaled as by itself."""
    from matplotlib.colors import to_rgb

    light = np.zeros((*plane.of(data[0]).shape, 3))
    for name, volume in zip(image.channels, data, strict=True):
        pixels = plane.of(volume).astype(np.float64)
        low, high = _range([pixels])
        light += np.clip((pixels - low) / (high - low), 0, 1)[..., None] * np.array(to_rgb(HUES.get(name, OTHER_HUE)))
    return np.clip(light, 0, 1)


def _mark(axes: Axes, plane: Plane, *, body: bool) -> None:
    """The names of the sides: those of a body, or of the lattice's axes at their upper ends."""
    across, upwards = (ENDS[plane.right], ENDS[plane.up]) if body else (("", f"{plane.right}→"), ("", f"{plane.up}↑"))
    text: dict[str, Any] = {"size": 8, "color": "white", "xycoords": "axes fraction", "textcoords": "offset points"}
    text["bbox"] = {"boxstyle": "round,pad=0.15", "facecolor": "#00000066", "edgecolor": "none"}
    axes.annotate(across[0], (0, 0.5), (3, 0), ha="left", va="center", **text)
    axes.annotate(across[1], (1, 0.5), (-3, 0), ha="right", va="center", **text)
    axes.annotate(upwards[0], (0.5, 0), (0, 3), ha="center", va="bottom", **text)
    axes.annotate(upwards[1], (0.5, 1), (0, -3), ha="center", va="top", **text)


def _scale_bar(axes: Axes, right_um: float, up_um: float) -> None:
    """A white bar of a round length with its name, lower left."""
    from matplotlib.patheffects import withStroke

    length, (x, y) = nice_step(right_um), (0.05 * right_um, 0.05 * up_um)
    dark: dict[int, Any] = {width: [withStroke(linewidth=width, foreground="#000000aa")] for width in (2, 5)}
    axes.plot([x, x + length], [y, y], color="white", linewidth=2.5, solid_capstyle="butt", path_effects=dark[5])
    axes.text(x, y + 0.02 * up_um, _length(length), color="white", size=8, va="bottom", path_effects=dark[2])


def _length(um: float) -> str:
    return f"{number(um / 1e3)} mm" if abs(um) >= 1e3 else f"{number(um)} µm"


def _range(parts: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """Limits of colour: from 0, or from a background well above it, to what few pixels exceed; even about 0 for changes."""
    values = np.concatenate([part[np.isfinite(part)] for part in parts])
    if not values.size:
        return 0.0, 1.0
    low, high = (float(q) for q in np.percentile(values, (0.5, 99.8)))
    if low < -0.3 * abs(high):
        most = max(-low, high)
        return -most, most
    bright = values[values > 0]
    if 0 < bright.size < POINTS * values.size:  # a few points in the dark, which would be dimmed by the brightest
        high = float(np.median(bright))
    low = low if low > 0.2 * high else 0.0
    return low, high if high > low else low + (abs(low) or 1.0)


def _colors(image: Image, channel: str, low: float) -> Colormap:
    """Black to the dye's hue for a micrograph, and what the field is used to for the others; no number stands out."""
    import matplotlib as mpl
    from matplotlib.colors import LinearSegmentedColormap

    if low < 0:
        return mpl.colormaps["RdBu_r"].with_extremes(bad="#808080")
    if image.modality == "micr":
        hue = HUES.get(channel, OTHER_HUE)
        return LinearSegmentedColormap.from_list(channel, ["#000000", hue])
    name = "inferno" if image.modality in ("PET", "optical") else "viridis" if image.modality.endswith("map") else "gray"
    return mpl.colormaps[name].with_extremes(bad="#5a2020")


def _title(image: Image, readout: str) -> str:
    rest = image.name.removeprefix(readout).strip("_")
    what = f": {rest}" if rest and rest not in readout else ""
    kind = "" if image.modality in ("micr", rest) else f" ({image.modality})"
    return f"{readout}{what}{kind} at {span(image.time_s)}".replace("_", " ")
