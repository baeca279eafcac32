"""Whether pictures can be drawn on this machine. VTK without any GL library kills the process, so a child process tries first."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

SWITCH = "VTK_DEFAULT_OPENGL_WINDOW"
ON_SCREEN = "vtkXOpenGLRenderWindow"
OFF_SCREEN = "vtkEGLRenderWindow"  # VTK itself passes on to OSMesa where there is no EGL
PATIENCE_S = 60

PROBE = """
import vtkmodules.vtkRenderingOpenGL2
from vtkmodules.vtkRenderingCore import vtkRenderer, vtkRenderWindow
window = vtkRenderWindow()
window.SetOffScreenRendering(True)
window.SetSize(8, 8)
window.AddRenderer(vtkRenderer())
window.Render()
print(window.GetClassName() if window.SupportsOpenGL() else "")
"""


@cache
def preflight() -> str | None:
    """None if VTK can draw here, else one sentence that says what is missing.

    Draws one empty picture in a child process and remembers the answer (1 s). On Linux without a usable display it also sets
    VTK_DEFAULT_OPENGL_WINDOW for this process, so it must come before the first plotter; a value set by the user is kept.
    """
    linux = sys.platform.startswith("linux")
    if SWITCH in os.environ:
        unusable = f"VTK cannot draw with {SWITCH}={os.environ[SWITCH]}: unset it, or install what it needs."
        return None if _drawn_with() else unusable
    if not linux:
        return None if _drawn_with() else "VTK cannot draw here: it needs a graphics driver with OpenGL 3.2 or newer."
    if has_display() and _drawn_with(ON_SCREEN) == ON_SCREEN:
        return None
    if _drawn_with(OFF_SCREEN):
        os.environ[SWITCH] = OFF_SCREEN
        return None
    return "VTK cannot draw here: install the Debian packages libegl1 and libgl1-mesa-dri (or libosmesa6)."


def has_display() -> bool:
    """Whether windows may open: always on macOS and Windows, on Linux where an X server is named and VTK not told otherwise."""
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY")) and os.environ.get(SWITCH, ON_SCREEN) == ON_SCREEN


def _drawn_with(window: str | None = None) -> str:
    """The class of VTK window that a child process drew in, after asking for one; empty if it failed or died."""
    command = [sys.executable, "-c", PROBE]
    environment = os.environ | ({SWITCH: window} if window else {})
    try:
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
