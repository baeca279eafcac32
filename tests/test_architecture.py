"""Imports point down only, and each third-party library has one home (ARCHITECTURE.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tme_sim

PACKAGE = Path(tme_sim.__file__).parent
MODULES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}

# Layer → what it may import of ours besides itself; a layer not named here belongs to the top and may import everything.
MAY_IMPORT = {
    "numerics": [],
    "state": ["numerics"],
    "files": ["state"],
    "tissues": ["state", "numerics", "files"],
    "processes": ["state", "numerics"],
    "imaging": ["state", "numerics", "files"],
    "simulation": ["recording", "state", "processes.base", "imaging.base", "files"],
    "recording": ["simulation", "state", "processes.base", "imaging.base", "files"],
    "analysis": ["state", "numerics", "imaging", "files"],
    "views": ["state", "imaging", "analysis", "files"],
}
TOP = {
    "__init__",
    "acquiring",
    "api",
    "cli",
    "config",
    "commands",
    "mesa_model",
    "planning",
    "provenance",
    "runner",
    "study",
    "sweeping",
}

HOMES = {
    "numerics": ["numba"],
    "files": ["zarr", "nibabel", "tifffile", "pyarrow", "ome_zarr", "pydicom"],
    "analysis": ["SALib", "optuna", "pyabc", "SimpleITK"],
    "views": ["pyvista", "vtk", "vtkmodules", "trame", "trame_vtk", "trame_vuetify"],
    "config": ["hydra", "omegaconf", "pydantic", "pint"],
    "mesa_model": ["mesa"],
}
HOME_OF = {library: home for home, libraries in HOMES.items() for library in libraries}


def imported(module: str, source: str) -> Iterator[str]:
    """Dotted names that the source imports, wherever in the file; `from a import b` gives `a.b`, relative ones are resolved."""
    package = ["tme_sim", *module.split(".")[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = package[: len(package) - node.level + 1] if node.level else []
            origin = [*origin, node.module] if node.module else origin
            yield from (".".join([*origin, alias.name]) for alias in node.names)


def within(name: str, allowed: list[str]) -> bool:
    return any(name == other or name.startswith(other + ".") for other in allowed)


def violations(module: str, source: str) -> list[str]:
    """The imports of a module (`state.lattice`) that its layer forbids."""
    layer = module.split(".")[0]
    own = "processes.base" if layer == "processes" else layer  # mechanisms meet in the state, never in each other
    allowed = [own, *MAY_IMPORT.get(layer, [])]

    def allows(name: str) -> bool:
        root, _, ours = name.partition(".")
        if root == "tme_sim":
            return layer in TOP or within(ours, allowed)
        return HOME_OF.get(root, layer) == layer

    return [f"{module} imports {name}" for name in imported(module, source) if not allows(name)]


def test_imports_point_down_and_each_library_stays_in_its_home() -> None:
    assert [bad for module, path in MODULES.items() for bad in violations(module, path.read_text("utf-8"))] == []


def test_every_module_belongs_to_a_layer() -> None:
    assert {module.split(".")[0] for module in MODULES} <= MAY_IMPORT.keys() | TOP


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("state.lattice", "from tme_sim.processes.base import Process"),
        ("state.lattice", "from tme_sim import processes"),
        ("state.lattice", "from ..processes.base import Process"),
        ("state.lattice", "from .. import cli"),
        ("state.lattice", "import tme_sim"),
        ("state.lattice", "def late():\n    import numba.core"),
        ("processes.gaps", "from tme_sim.processes.oxygen import Oxygen"),
        ("processes.gaps", "from . import oxygen"),
        ("imaging.pet", "import tme_sim.processes"),
        ("simulation", "from tme_sim.processes.gaps import Gaps"),
        ("cli", "import hydra"),
        ("views.scene", "from mesa import Model"),
    ],
)
def test_the_check_sees_an_import_that_points_up_or_leaves_home(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("state.lattice", "import numpy\nfrom tme_sim.numerics.share import share\nfrom .errors import InputError"),
        ("processes.gaps", "from .base import Process\nfrom tme_sim.processes import base\nfrom tme_sim.state import vessels"),
        ("simulation", "from tme_sim.processes.base import Process"),
        ("config.compose", "import hydra\nfrom tme_sim.processes.gaps import Gaps"),
    ],
)
def test_the_check_lets_an_import_that_points_down_pass(module: str, source: str) -> None:
    assert violations(module, source) == []


def loaded_by(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter after the code."""
    command = [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return {name.split(".")[0] for name in run.stdout.split()}


@pytest.mark.parametrize("entrance", [name for name in ("__init__", "cli") if name in MODULES])
def test_an_entrance_loads_nothing_heavy(entrance: str) -> None:
    loaded = loaded_by("import tme_sim" if entrance == "__init__" else f"import tme_sim.{entrance}")
    assert loaded & {*HOME_OF, "scipy", "pandas", "xarray", "skimage"} == set()


def test_a_worker_loads_no_graphics() -> None:
    workers = [module for module in MODULES if module.split(".")[0] not in {"views", "__init__"}]
    names = sorted("tme_sim." + module.removesuffix(".__init__") for module in workers)
    assert loaded_by(f"import importlib\nfor name in {names}: importlib.import_module(name)") & set(HOMES["views"]) == set()
