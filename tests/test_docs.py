from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from tme_sim.cli import main

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:^    .*\n?)+", README, re.MULTILINE)
COMMANDS = re.findall(r"^    (tme-sim [^#\n]+)", README, re.MULTILINE)
SHORT = ["lattice.size=120um", "protocol.duration=1h"]
SHORTER = {
    'tme_sim.run("quick", {': 'tme_sim.run("quick", {"lattice.size": "120 um", "protocol.duration": "1 h", ',
    'tme_sim.sweep("quick", {': 'tme_sim.sweep("quick", {"lattice.size": ["120 um"], "protocol.duration": ["1 h"], ',
    '"protocol.duration": "4 h"': '"protocol.duration": "1 h"',
    'time="24 h"': 'time="1 h"',
}


def test_the_tables_of_variables_and_instruments_and_the_page_of_the_model_are_as_generated() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert module.updated(text) == text, "run: python docs/generate.py"
    text = module.IMAGING.read_text(encoding="utf-8")
    assert module.updated(text, "readouts", module.instruments) == text, "run: python docs/generate.py"
    assert module.model() == module.MODEL.read_text(encoding="utf-8"), "run: python docs/generate.py"


def test_every_command_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each on a small lattice and for an hour, in the order of the page; RUN is the last run."""
    monkeypatch.chdir(tmp_path)
    assert main(["run", "quick", *SHORT, "--quiet"]) == 0
    assert len(COMMANDS) > 8
    for command in COMMANDS:
        words = [word.replace("last", "last") for word in shlex.split(command)[1:]]
        if "--resume" in words or "--screenshot" in words or "DIR" in words or "study" in words:
            continue  # these have their own tests: nothing is interrupted here, and pictures need a graphics library
        if words[0] in ("run", "plan"):
            words = [word for word in words if not word.startswith(("lattice.size", "protocol.duration"))] + SHORT
        assert main(words) == 0, command


def test_every_python_block_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "quick", *SHORT, "--quiet"]) == 0
    blocks = [block for block in BLOCKS if re.search(r"^    (import|from) ", block, re.MULTILINE)]
    assert blocks
    for block in blocks:
        code = re.sub(r"^    ", "", block, flags=re.MULTILINE)
        for call, shorter in SHORTER.items():
            assert call in README, call
            code = code.replace(call, shorter)
        exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
