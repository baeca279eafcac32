from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tme_sim.files.run_folder import RunFolder
from tme_sim.state.errors import InputError
from tme_sim.views import graphics, layout, scene
from tme_sim.views.snapshot import Cut
from tme_sim.views.words import nice_step

Make = Callable[..., RunFolder]


@pytest.fixture
def drawing() -> None:
    """Skips where VTK cannot draw, and says what is missing."""
    if problem := graphics.preflight():
        pytest.skip(problem)


def test_layers_come_in_a_fixed_order_and_the_slice_with_its_plane() -> None:
    assert scene.choose_layers(["particles", "vessels"], "z=50%", []) == ["vessels", "particles", "slice"]


def test_layers_not_recorded_are_left_out_unless_asked_for() -> None:
    assert scene.choose_layers(None, None, ["macrophages"]) == ["vessels", "particles", "macrophages"]
    found = scene.choose_layers(None, None, ["arrested", "monocytes", "tumor_cells"])
    assert found == ["vessels", "particles", "monocytes"]
    assert scene.choose_layers(None, None, ["kupffer_cells"]) == ["vessels", "particles", "kupffer_cells"]
    with pytest.raises(InputError, match="layers gaps: was not recorded; agents of this run: macrophages"):
        scene.choose_layers(["gaps"], None, ["macrophages"])


def test_an_unknown_layer_is_refused_with_the_choices(hand_made: Make) -> None:
    with pytest.raises(InputError, match="layers vessel: must be of vessels, gaps, particles, kupffer_cells, macrophages, neu"):
        scene.scene(hand_made(), layers=["vessel"])


def test_a_picture_needs_fields_a_known_ending_and_graphics(hand_made: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"record\.level"):
        scene.scene(hand_made(fields=False))
    with pytest.raises(InputError, match=r"must end in \.png"):
        scene.screenshot(hand_made(), "picture.docx")
    monkeypatch.setattr(scene, "preflight", lambda: "no graphics")
    with pytest.raises(InputError, match="no graphics"):
        scene.scene(hand_made())


def test_without_notebook_and_display_the_way_out_is_named(hand_made: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "preflight", lambda: None)
    monkeypatch.setattr(scene, "has_display", lambda: False)
    with pytest.raises(InputError, match="--screenshot F"):
        scene.show(hand_made())


@pytest.fixture
def on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Linux machine with a display, where nobody chose a window; a choice made in the test is undone after it."""
    monkeypatch.setattr(graphics.sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv(graphics.SWITCH, "")
    monkeypatch.delenv(graphics.SWITCH)


@pytest.mark.usefixtures("on_linux")
def test_a_graphics_library_that_kills_the_process_is_survived_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphics, "PROBE", "import os; os.abort()")
    said = graphics.preflight.__wrapped__()
    assert said is not None
    assert "libegl1 and libgl1-mesa-dri (or libosmesa6)" in said
    assert graphics.SWITCH not in os.environ


@pytest.mark.usefixtures("on_linux")
def test_with_a_display_vtk_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphics, "PROBE", f"import os; print(os.environ['{graphics.SWITCH}'])")
    assert graphics.preflight.__wrapped__() is None
    assert graphics.SWITCH not in os.environ
    assert graphics.has_display()


@pytest.mark.usefixtures("on_linux")
@pytest.mark.parametrize("display", ["", ":77"])
def test_without_a_usable_display_vtk_is_told_to_draw_off_screen(monkeypatch: pytest.MonkeyPatch, display: str) -> None:
    monkeypatch.setattr(graphics, "PROBE", "print('vtkEGLRenderWindow')")
    monkeypatch.setenv("DISPLAY", display)
    assert graphics.preflight.__wrapped__() is None
    assert os.environ[graphics.SWITCH] == "vtkEGLRenderWindow"
    assert not graphics.has_display()


@pytest.mark.usefixtures("on_linux")
def test_a_choice_of_the_user_is_kept_and_named_when_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(graphics.SWITCH, "vtkOSOpenGLRenderWindow")
    monkeypatch.setattr(graphics, "PROBE", "raise SystemExit(1)")
    said = graphics.preflight.__wrapped__()
    assert said is not None
    assert "vtkOSOpenGLRenderWindow" in said


@pytest.mark.parametrize(("length", "step"), [(480, 100), (2280, 500), (80, 20), (3, 0.5), (400, 100)])
def test_axes_have_round_steps(length: float, step: float) -> None:
    assert nice_step(length) == pytest.approx(step)


def test_a_cut_takes_the_viewers_side_off_the_box() -> None:
    box = np.array([80.0, 120, 160])
    assert layout.kept_box(box, Cut(0, 30)).tolist() == [[0, 0, 0], [30, 120, 160]]
    assert layout.kept_box(box, Cut(1, 30)).tolist() == [[0, 30, 0], [80, 120, 160]]


@pytest.mark.usefixtures("drawing")
@pytest.mark.parametrize(("slice_", "graph"), [(None, True), ("z=50%", True), ("x=100%", False)])
def test_the_box_lies_whole_in_the_left_part_of_the_picture(hand_made: Make, slice_: str | None, graph: bool) -> None:
    plotter = scene.scene(hand_made(graph=graph), slice_=slice_)
    corners = np.array(np.meshgrid([0, 160], [0, 120], [0, 40 if slice_ == "z=50%" else 80])).reshape(3, -1).T
    plotter.render()
    for corner in corners:
        plotter.renderer.SetWorldPoint(*corner, 1.0)
        plotter.renderer.WorldToDisplay()
        x, y, _ = plotter.renderer.GetDisplayPoint()
        assert 0 < x / plotter.window_size[0] < layout.WORDS_LEFT
        assert 0 < y / plotter.window_size[1] < 0.9
    plotter.close()


@pytest.mark.usefixtures("drawing")
def test_a_screenshot_shows_particles_and_vessels_in_their_colours(hand_made: Make, tmp_path: Path) -> None:
    from skimage.io import imread

    run = hand_made()
    full = imread(scene.screenshot(run, tmp_path / "new" / "picture.png"))
    bare = imread(scene.screenshot(run, tmp_path / "bare.png", layers=["vessels"]))
    again = imread(scene.screenshot(run, tmp_path / "again.png"))
    assert full.shape == (1200, 1600, 3)
    np.testing.assert_array_equal(full, again)
    picture = full[:, : int(1600 * layout.WORDS_LEFT)].astype(int), bare[:, : int(1600 * layout.WORDS_LEFT)].astype(int)
    blue = [np.sum(p[..., 2] > p[..., 0] + 80) for p in picture]
    rose = [np.sum(p[..., 0] > p[..., 2] + 30) for p in picture]
    assert blue[0] > 500 > blue[1]
    assert min(rose) > 1000
