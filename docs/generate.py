"""Write the generated table of ARCHITECTURE.md: which process reads and writes which variable. Run: python docs/generate.py."""

from __future__ import annotations

from pathlib import Path

from tme_sim.config.build import build
from tme_sim.config.load import load, request
from tme_sim.state.variables import VARIABLES

ARCHITECTURE = Path(__file__).resolve().parents[1] / "ARCHITECTURE.md"
START, END = "<!-- variables -->\n", "<!-- /variables -->"


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


def updated(text: str) -> str:
    """The document with the table as it is now."""
    before, rest = text.split(START)
    return before + START + table() + END + rest.split(END, 1)[1]


if __name__ == "__main__":
    ARCHITECTURE.write_text(updated(ARCHITECTURE.read_text(encoding="utf-8")), encoding="utf-8")
