"""Studies: arms, replicates, verdicts; a study that is killed goes on and ends the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tme_sim.analysis.targets import Target, as_markdown, judge, read_targets, verdict
from tme_sim.cli import main
from tme_sim.state.errors import InputError, InputErrors
from tme_sim.study import make_jobs, read_study, run_study

EXPERIMENT = """
name: mini
number: continuum
lattice: {size: 120 um}
protocol: {dose: 1e12particles, duration: 1 h}
"""
STUDY = """
arms:
  small: {nanoparticle.hydrodynamic_diameter: 30 nm}
  middle: {nanoparticle.hydrodynamic_diameter: 65 nm}
  large: {nanoparticle.hydrodynamic_diameter: 100 nm}
replicates: 5
small: {replicates: 2}
"""
TARGETS = """id,quantity,role,status,low,high,unit,error_percent
A1,ratio,validation,found,1,1000,1,0
A2,middle.tumor_percent_id,consistency,derived,90,100,%ID,5
A3,large.hypoxic_fraction,context,found,0,1,1,0
A4,ratio,validation,recall,0,1,1,0
"""
ANALYSE = """
def quantities(arms):
    return {"ratio": arms["small"]["tumor_percent_id"] / arms["large"]["tumor_percent_id"], "unreached": [float("nan")]}


def null_model(quantities):
    return {"ratio": [0.5, 1.5, 0.9, 2.0]}


def figure(values, path):
    path.write_text(f"<svg>{len(values['ratio'])}</svg>")
"""


@pytest.fixture
def mini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "experiments" / "mini"
    folder.mkdir(parents=True)
    for name, text in (("experiment.yaml", EXPERIMENT), ("study.yaml", STUDY), ("targets.csv", TARGETS), ("analyse.py", ANALYSE)):
        (folder / name).write_text(text)
    (folder / "small.yaml").write_text("protocol: {duration: 1 h}\nseed: 1\n")
    return folder


def test_a_study_that_is_killed_in_the_middle_ends_with_the_same_verdict(mini: Path) -> None:
    (mini / "study.yaml").write_text(STUDY.replace("replicates: 5", "replicates: 3"))
    folder, rows = (lambda done: (done.folder, done.rows))(run_study(read_study("mini"), out=Path("whole")))
    assert [row.n for row in rows] == [3, 3, 0, 3]
    command = [sys.executable, "-m", "tme_sim.cli", "study", "mini", "--out", "killed"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list(Path("killed").glob("*/summary.json"))) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    process.wait()
    assert len(list(Path("killed").glob("*/summary.json"))) < 9
    assert main(["study", "mini", "--out", "killed", "--quiet"]) == 0
    assert json.loads(Path("killed/verdict.json").read_text()) == json.loads((folder / "verdict.json").read_text())


def test_a_verdict_says_what_was_met_missed_and_not_simulated(mini: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "mini", "variant=small", "--quiet"]) == 0
    rows = {row["id"]: row for row in json.loads(Path("studies/mini-small/verdict.json").read_text())["rows"]}
    assert rows["A1"]["met"] is True
    assert rows["A1"]["null"] == 0.5
    assert rows["A2"]["met"] is False
    assert (rows["A2"]["low"], rows["A2"]["high"]) == (90.0, 100.0)
    assert rows["A4"]["met"] is None, "what is recalled is shown and not counted"
    assert (rows["A3"]["met"], rows["A3"]["n"], rows["A3"]["simulated"]) == (None, 0, None)
    assert "**missed**" in capsys.readouterr().out
    assert Path("studies/mini-small/figure.svg").read_text() == "<svg>2</svg>"
    assert json.loads(Path("studies/mini-small/quantities.json").read_text())["unreached"] == [None]
    table = pd.read_parquet("studies/mini-small/runs.parquet")
    assert all((Path(folder) / "summary.json").exists() for folder in table["folder"])
    assert table.groupby("arm")["seed"].apply(list).tolist() == [[1, 2]] * 3


def test_a_quantity_that_nothing_gives_is_never_met() -> None:
    target = Target("X", "nothing", "validation", 0, 1, "1")
    assert judge("e", target, None).met is None
    assert judge("e", target, [float("nan")]).met is None
    assert "**not simulated**" in as_markdown([judge("e", target, None).as_dict()])


def test_a_finding_names_what_becomes_of_it_without_its_mechanism() -> None:
    target = Target("S1", "on.x", "validation", 1, 2, "", without="off.x")
    rows = verdict("e", [target], {"on.x": [1.5], "off.x": [0.1, 0.3]}, {})
    assert rows[0].met is True
    assert (rows[0].without_simulated, rows[0].without_met) == (pytest.approx(0.2), False)
    assert "0.2: missed, as it must" in as_markdown([rows[0].as_dict()])
    assert "**still met**" in as_markdown([verdict("e", [target], {"on.x": [1.5], "off.x": [1.2]}, {})[0].as_dict()])


def test_the_measurements_own_error_widens_the_band() -> None:
    target = Target("X", "q", "validation", 90, 100, "1", error_percent=5)
    assert [judge("e", target, [value]).met for value in (85, 86, 104, 106)] == [False, True, True, False]


def test_z_is_in_units_of_the_band_and_of_the_replicates_spread() -> None:
    row = judge("e", Target("X", "q", "validation", 10, 30, "1"), [22, 26, 30])
    assert row.simulated == 26
    assert row.sd == 4
    assert row.z == pytest.approx((26 - 20) / (5**2 + 4**2 / 3) ** 0.5)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("study.yaml", "arms: {}\nreplicates: 1", "arms .*must name at least one arm"),
        ("study.yaml", "arms: {a: {}}\nreplicates: 0", "replicates 0: must be a whole number"),
        ("study.yaml", "arms: {a: {}}\nreplicates: 1\nkind: cohort", "kind cohort: this version runs arms"),
        ("study.yaml", "arms: {a: {}}\nreplicate: 1", "replicate: is not a key here"),
        ("targets.csv", TARGETS.replace("validation", "proof"), "line 2 proof: role must be one of calibration"),
        ("targets.csv", TARGETS.replace(",1,1000,", ",1000,1,"), "low must not be above high"),
        ("targets.csv", "id,quantity\nA,b\n", "must have the columns id, quantity, role, status"),
        ("targets.csv", TARGETS.replace(",1,1000,", ",one,1000,"), "must be numbers"),
    ],
)
def test_a_study_written_wrongly_is_refused_with_a_line(mini: Path, file: str, text: str, message: str) -> None:
    (mini / file).write_text(text)
    with pytest.raises((InputError, InputErrors), match=message):
        read_study("mini")


def test_errors_in_arms_name_the_arm_and_nothing_is_run(mini: Path) -> None:
    (mini / "study.yaml").write_text("arms: {a: {sed: 1}, b: {lattice.size: 480}}\nreplicates: 1\n")
    with pytest.raises(InputErrors) as caught:
        make_jobs(read_study("mini"))
    assert [error.field for error in caught.value.errors] == ["arm a: sed", "arm b: lattice.size"]
    assert not Path("studies").exists()


def test_code_beside_a_study_elsewhere_is_not_run(mini: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "downloads" / "mini"
    elsewhere.parent.mkdir()
    mini.rename(elsewhere)
    with pytest.raises(InputError, match="has code beside it"):
        read_study(str(elsewhere / "study.yaml"))
    (elsewhere / "analyse.py").unlink()
    assert read_study(str(elsewhere / "study.yaml")).analyse is None


def test_targets_of_the_shipped_experiments_are_well_formed() -> None:
    root = Path(__file__).resolve().parents[1] / "experiments"
    for path in root.glob("*/targets.csv"):
        assert read_targets(path)
