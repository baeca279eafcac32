"""The picture of a run: vessels as tubes, particles by their route of entry, cells by kind, and a slice of concentration."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pyvista as pv

from tme_sim.files.run_folder import RunFolder
from tme_sim.state.errors import InputError
from tme_sim.views import layout
from tme_sim.views.graphics import has_display, preflight
from tme_sim.views.layout import SIZE
from tme_sim.views.picture import Picture
from tme_sim.views.snapshot import Snapshot, parse_cut

LAYERS = (
    "vessels",
    "gaps",
    "particles",
    "kupffer_cells",
    "macrophages",
    "neutrophils",
    "monocytes",
    "t_cells",
    "tumor_cells",
    "slice",
)
SHOWN = ("vessels", "gaps", "particles", "kupffer_cells", "macrophages", "neutrophils", "monocytes", "t_cells")
POPULATIONS = ("gaps", "kupffer_cells", "macrophages", "neutrophils", "monocytes", "t_cells", "tumor_cells")
"""Layers that need recorded agents of that name."""


def scene(
    run: RunFolder,
    time_s: float | None = None,
    layers: Sequence[str] | None = None,
    slice_: str | None = None,
    *,
    window: bool = False,
) -> pv.Plotter:
    """A plotter with one recorded time of a run (default: the last).

    layers: names out of LAYERS; default: all but tumour cells and slice, as far as recorded. slice_: a plane of
    carrier concentration such as `z=50%` or `y=120um`; what lies in front of it is left out. window: for an interactive
    window instead of an off-screen picture. The axes of the picture are in µm.

    Raises InputError where VTK cannot draw, and for unknown layers, a plane outside the box, a time or layer not recorded.
    """
    snapshot = Snapshot(run, time_s)
    chosen = choose_layers(layers, slice_, snapshot.kinds)
    cut = parse_cut(slice_ or "z=50%", snapshot.box_um) if "slice" in chosen else None
    if problem := preflight():
        raise InputError("graphics", None, problem)
    plotter = pv.Plotter(off_screen=not window, window_size=list(SIZE))
    plotter.background_color = pv.Color("white")
    picture = Picture(snapshot, cut, plotter)
    for layer in [*chosen, "tumor"]:
        getattr(picture, layer)()
    corners = layout.kept_box(snapshot.box_um, cut)
    layout.draw_box(plotter, corners)
    layout.look(plotter, corners, cut)
    layout.write_bars(plotter)
    layout.title(plotter, snapshot)
    layout.write_legend(plotter, picture.legend)
    return plotter


def screenshot(
    run: RunFolder,
    path: str | Path,
    time_s: float | None = None,
    layers: Sequence[str] | None = None,
    slice_: str | None = None,
) -> Path:
    """Write the scene as a picture of 1600 × 1200 pixels: PNG, JPEG or TIFF by the file's ending. Returns the path."""
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".tif", ".tiff"):
        raise InputError("screenshot", path, "must end in .png, .jpg or .tif")
    plotter = scene(run, time_s, layers, slice_)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        plotter.screenshot(path, return_img=False)
    finally:
        plotter.close()
    return path


def show(
    run: RunFolder, time_s: float | None = None, layers: Sequence[str] | None = None, slice_: str | None = None
) -> object | None:
    """The scene to look at: in Jupyter inline (with trame-pyvista, to turn by mouse), else a window until it is closed.

    Raises InputError as `scene`, and where there is neither a notebook nor a display.
    """
    if in_notebook():
        backend = "trame" if find_spec("trame_pyvista") else "static"
        return scene(run, time_s, layers, slice_).show(jupyter_backend=backend, return_viewer=True)
    if problem := preflight():
        raise InputError("graphics", None, problem)
    if not has_display():  # asked after the preflight, which finds out whether a display that is named can be used
        raise InputError("view", None, "there is no display for a window here; write a picture with --screenshot F")
    return scene(run, time_s, layers, slice_, window=True).show()


def in_notebook() -> bool:
    """Whether this is a Jupyter kernel, not a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def choose_layers(layers: Sequence[str] | None, slice_: str | None, recorded: Sequence[str]) -> list[str]:
    """Layers to draw, in the order of LAYERS; without a choice, those of SHOWN that were recorded."""
    wanted = [name for name in SHOWN if name not in POPULATIONS or name in recorded] if layers is None else list(layers)
    for name in wanted:
        if name not in LAYERS:
            raise InputError("layers", name, f"must be of {', '.join(LAYERS)}")
        if name in POPULATIONS and name not in recorded:
            raise InputError("layers", name, f"was not recorded; agents of this run: {', '.join(recorded) or 'none'}")
    return [name for name in LAYERS if name in wanted or (name == "slice" and slice_ is not None)]
