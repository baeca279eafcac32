"""tme-sim: an agent-based in silico tumour microenvironment for cancer nanomedicine.

    state/       what exists          plain arrays: lattice fields, populations, vessels, body, ledger
    processes/   what happens         one mechanism per file; reads and writes only what it declares
    imaging/     what is seen         (to come)
    analysis/    what is concluded    numbers from states and runs, compared with published ones
    views/       what is shown        the PyVista scene, the report

`tissues/` builds where it happens, `numerics/` is plain mathematics, `files/` reads and writes, `config/` composes and
validates, `simulation.py` is the loop, `runner.py` one run from configuration to folder, `sweeping.py` and `study.py` many.

    import tme_sim
    run = tme_sim.run("quick", {"nanoparticle.hydrodynamic_diameter": "30 nm"}, seed=3)
    run.fields, run.series, run.agents("macrophages", time="24 h"), run.summary
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tme_sim.api import Run, open_run, plan, run, sweep
    from tme_sim.api import names as list
    from tme_sim.mesa_model import TumorModel
    from tme_sim.state.errors import InputError, InputErrors, ModelError

__version__ = "0.1.0"

_HOMES = {
    **{name: f"tme_sim.api:{name}" for name in ("Run", "open_run", "plan", "run", "sweep")},
    **{name: f"tme_sim.state.errors:{name}" for name in ("InputError", "InputErrors", "ModelError")},
    "list": "tme_sim.api:names",
    "TumorModel": "tme_sim.mesa_model:TumorModel",
}

__all__ = [
    "InputError",
    "InputErrors",
    "ModelError",
    "Run",
    "TumorModel",
    "__version__",
    "list",
    "open_run",
    "plan",
    "run",
    "sweep",
]


def __getattr__(name: str) -> Any:
    """Public names are loaded when they are asked for, so that `import tme_sim` is quick and a worker never loads Mesa or VTK."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tme_sim' has no attribute {name!r}")
    module, _, inside = _HOMES[name].partition(":")
    return getattr(import_module(module), inside)
