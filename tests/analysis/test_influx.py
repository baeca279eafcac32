"""The influx permeability is that of the model, route by route."""

from __future__ import annotations

from math import pi
from pathlib import Path

import pytest

from tme_sim.analysis.influx import permeabilities_um_per_s
from tme_sim.analysis.plausibility import hints
from tme_sim.cli import main
from tme_sim.config.build import build
from tme_sim.config.load import load, request
from tme_sim.files.run_folder import RunFolder


def test_a_runs_permeabilities_are_those_it_was_given(tmp_path: Path) -> None:
    """Transcytosis: the card's, to first order in the step; gaps: what is expected of a Poisson number of 1,500 of them."""
    words = ["lattice.size=120um", "protocol.duration=1h", "record.interval=10min", "number=continuum"]
    words += ["processes.gaps.area_fraction=0.02"]
    assert main(["run", *words, "report=false", "--quiet", "--out", str(tmp_path / "run")]) == 0
    run = RunFolder(tmp_path / "run")
    found = permeabilities_um_per_s(run)
    assert found["transcytosis"] == pytest.approx(3.5e-5, rel=5e-3)
    start = build(load(request(words)).config)
    assert start.state.vessels is not None
    per_wall = start.processes["gaps"].entry_um3_per_s(start.state) / start.state.vessels.surface_um2.sum()
    assert found["gap"] == pytest.approx(per_wall, rel=0.1)
    assert found["injected"] == 0
    of_gap = 1 / (1 / (4 * 4.13 * 0.25) + 8 * 0.692e-3 / 133.322 * 0.5 / (pi * 0.25**4))  # 4 K r and 8 µL/(πr⁴) in series
    leak = next(hint for hint in hints(run) if hint.quantity.startswith("hydraulic conductivity Lp"))
    assert leak.value == pytest.approx(1e-4 * 0.02 / (pi * 0.25**2) * of_gap, rel=0.1)
