"""Write what the code and its presets say themselves: the table of variables in ARCHITECTURE.md, docs/model.md, and the table of
instruments in docs/imaging.md. Run: python docs/generate.py.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from tme_sim.config.build import build
from tme_sim.config.load import load, request
from tme_sim.config.registry import KINDS, resolve
from tme_sim.state.variables import VARIABLES

HINDRANCE = ("interstitial_diffusivity_um2_per_s", "accessible_share", "pore_hindrance", "pore_convective_hindrance")
ARCHITECTURE = Path(__file__).resolve().parents[1] / "ARCHITECTURE.md"
MODEL = Path(__file__).with_name("model.md")
MODEL_SECTIONS: dict[str, list[str]] = {
    "1 Tissue": ["tissue:vascular_tree", "tissue:from_image", "tissue:liver", "tissue:lymph_node"],
    "1.2 Blood flow": ["process:perfusion"],
    "1.4 Interstitial pressure and flow": ["process:interstitial_flow", "tme_sim.state.outflow"],
    "1.5 Oxygen and acidity": ["process:oxygen", "process:acidity"],
    "2 Circulation": ["process:circulation", "process:lymph", "process:labels"],
    "3.1 Endothelial gaps": ["process:gaps", "process:bursts", "tme_sim.state.pores"],
    "3.2 Transcytosis": ["process:transcytosis"],
    "3.3 Phagocytes": ["process:phagocytes", "process:migration"],
    "4 Interstitial transport": [
        "process:transport",
        "process:binding",
        *(f"tme_sim.state.substance:{name}" for name in HINDRANCE),
    ],
    "5 Cells": [f"process:{name}" for name in ("uptake", "macrophages", "cell_cycle", "cell_death", "t_cells")],
    "6 Release, heat and the released drug": ["process:release", "process:heat", "process:drug"],
    "7 Effect": [f"process:{name}" for name in ("effect_drug", "effect_radiation", "effect_heat", "decays")],
    "8 Readouts": [f"readout:{name}" for name in KINDS["readout"]],
    "9 Ledger": ["tme_sim.state.ledger"],
    "11 Dose": ["tme_sim.config.dosing", "tme_sim.config.dosing:dosing"],
    "12 Orders of magnitude": ["tme_sim.analysis.plausibility"],
}
"""Section, as docstrings cite it → what tells it: a registered kind, a module, or something in a module."""
IMAGING = Path(__file__).with_name("imaging.md")
READOUTS = Path(__file__).resolve().parents[1] / "conf" / "readouts"


def table() -> str:
    """Markdown: variable, unit, written by, read by."""
    processes = build(load(request(["lattice.size=240um"])).config).processes
    names = sorted({name for process in processes.values() for name in process.reads | process.writes})
    lines = ["| variable | unit | written by | read by |", "|---|---|---|---|"]
    for name in names:
        written = ", ".join(process for process, p in processes.items() if name in p.writes)
        read = ", ".join(process for process, p in processes.items() if name in p.reads)
        lines.append(f"| `{name}` | {unit_of(name)} | {written or 'the tissue'} | {read or '–'} |")
    return "\n".join(lines) + "\n"


def unit_of(name: str) -> str:
    """Unit from the glossary; NAME there stands for any population or pool."""
    home, *rest = name.split(".")
    for key in (name, f"{home}.NAME.{rest[-1]}", f"{home}.NAME"):
        if key in VARIABLES:
            return VARIABLES[key][0]
    raise KeyError(f"{name} is not in the glossary")


def instruments() -> str:
    """Markdown: the presets of readouts, and what their first line says."""
    rows = [f"| `{path.stem}` | {_first_line(path)} |" for path in sorted(READOUTS.glob("*.yaml"))]
    return "\n".join(["| readout | what it is |", "|---|---|", *rows]) + "\n"


def _first_line(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def updated(text: str, name: str = "variables", made: Callable[[], str] = table) -> str:
    """The document with the table of that name as it is now."""
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, rest = text.split(start)
    return before + start + made() + end + rest.split(end, 1)[1]


def model() -> str:
    """docs/model.md: the equations, as the code that computes them says them."""
    lines = [
        "# What is computed",
        "",
        "Made from the source by `docs/generate.py`; `tme-sim explain KEY` tells each number and its source.",
        "",
    ]
    for section, told in MODEL_SECTIONS.items():
        lines += [f"## {section}", ""]
        for name in told:
            lines += [*_told(name), ""]
    return "\n".join(lines).rstrip() + "\n"


def _told(name: str) -> Iterator[str]:
    """Where it stands, and what its docstrings say."""
    home, _, inside = name.partition(":")
    kind = home in KINDS
    found = resolve(home, inside) if kind else getattr(importlib.import_module(home), inside) if inside else None
    module = importlib.import_module(found.__module__ if kind else home)
    path = module.__name__.replace("tme_sim.", "src/tme_sim/", 1).replace(".", "/") + ".py"
    yield f"**{inside or module.__name__.rpartition('.')[2]}** (`{path}`)"
    for doc in ([module.__doc__] if kind or not inside else []) + ([found.__doc__] if found else []):
        yield ""
        yield re.sub(r" \((model |model, )?sections? [^)]*\)", "", inspect.cleandoc(doc or ""))


if __name__ == "__main__":
    MODEL.write_text(model(), encoding="utf-8")
    ARCHITECTURE.write_text(updated(ARCHITECTURE.read_text(encoding="utf-8")), encoding="utf-8")
    IMAGING.write_text(updated(IMAGING.read_text(encoding="utf-8"), "readouts", instruments), encoding="utf-8")
