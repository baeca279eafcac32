"""`tme-sim compare RUN DATASET`: a run beside measured data, as users meet it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tme_sim.analysis.organ_curves import organ_curves, span_h
from tme_sim.analysis.truth_image import truth_image
from tme_sim.api import open_run
from tme_sim.cli import main
from tme_sim.config.beginning import body_of
from tme_sim.config.instruments import frame_of
from tme_sim.config.load import reopen
from tme_sim.files.images import save_image
from tme_sim.files.run_folder import RunFolder

DATA = Path(os.environ.get("TME_SIM_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
CARD = """
what: made from the run itself
species: mouse
licence: CC0
source: a test
corrections: {decay: none, background: subtracted, blood: present}
"""
CURVES = "curves: {files: [curves.csv], measures: particles}\n"
IMAGE = "image: {file: scan.npy, unit: 1/mL, voxel: 15 um, fwhm: 0 um, position: 0 um}\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("compare") / "run"
    words = ["quick", "lattice.size=120um", "protocol.duration=3h", "record.interval=1h", "report=false", "number=continuum"]
    assert main(["run", *words, "--out", str(folder), "--quiet"]) == 0
    return RunFolder(folder)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A folder whose curves and image are a run's own, once `fill` has put them there."""
    folder = tmp_path / "mine"
    folder.mkdir()
    return folder


def missing(name: str) -> str:
    return f"{name} is not in {DATA}; TME_SIM_DATA names the folder of data sets (docs/comparing.md says where they are from)"


def compared(run: RunFolder, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["compare", str(run.folder), *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_runs_own_curves_agree_with_its_summary(run: RunFolder) -> None:
    curves = organ_curves(run, body_of(reopen(run.folder).config))
    end = np.array([3.0])
    assert span_h(run) == (1.0, 3.0)
    for organ in ("liver", "spleen", "tumor"):
        assert curves[organ](end)[0] == pytest.approx(run.summary[f"{organ}_percent_id_per_g"], rel=1e-9), organ
    assert curves["%ID plasma"](end)[0] == pytest.approx(run.summary["plasma_percent_id"], rel=1e-9)
    flushed = organ_curves(run, body_of(reopen(run.folder).config), flushed=True)["tumor"](end)[0]
    assert flushed == pytest.approx(run.summary["tumor_percent_id_per_g_without_blood"], rel=1e-9)


def test_a_run_compared_with_its_own_curves_and_image_agrees_wholly(
    run: RunFolder, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    curves = organ_curves(run, body_of(reopen(run.folder).config))
    hours = np.array([1.0, 2.0, 3.0])
    rows = [
        f"a,{h},{organ},{v},{u}"
        for organ, u in (("plasma", "%ID/mL"), ("tumor", "%ID/g"))
        for h, v in zip(hours, curves[organ](hours), strict=True)
    ]
    (dataset / "curves.csv").write_text("\n".join(["subject,time_h,organ,value,unit", *rows]), "utf-8")
    np.save(dataset / "scan.npy", truth_image(frame_of(run, reopen(run.folder).config)).data)
    (dataset / "dataset.yaml").write_text(CARD + CURVES + IMAGE, "utf-8")
    found = compared(run, capsys, str(dataset))
    by_name = {each["what"]: each["measures"] for each in found["comparisons"]}
    for organ in ("plasma", "tumor"):
        assert by_name[organ]["RMSE"]["simulated"] == pytest.approx(0, abs=1e-9)
        assert by_name[organ]["concordance"]["simulated"] == pytest.approx(1, abs=1e-9)
    assert by_name["image"]["concordance"]["simulated"] == pytest.approx(1, abs=1e-12)
    assert by_name["image"]["RMSE"]["simulated"] == pytest.approx(0, abs=1e-9 * by_name["image"]["mean"]["measured"])
    assert found["dataset"]["name"] == "mine"
    figures = run.folder / "figures"
    table = pd.read_csv(figures / "compare_mine.csv")
    assert {"what", "measure", "measured", "simulated", "null", "low", "high"} <= set(table)
    assert (figures / "compare_mine.svg").read_text("utf-8").count("<svg") == 1


def test_the_table_on_the_terminal_is_markdown_with_the_null_model_beside_the_run(
    run: RunFolder, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset / "curves.csv").write_text("subject,time_h,organ,value,unit\na,1,plasma,60,%ID/mL\na,2,plasma,40,%ID/mL\n", "utf-8")
    (dataset / "dataset.yaml").write_text(CARD + CURVES, "utf-8")
    assert main(["compare", str(run.folder), "mine", "--data", str(dataset.parent)]) == 0
    shown = capsys.readouterr().out
    assert "| measured [95 %] · run · null | plasma, %ID/mL, 1 animals |" in shown
    assert "Null model: an exponential washout" in shown
    assert "| AUC (h) | 50 " in shown


def test_wrong_data_sets_end_with_one_sentence_and_code_2(
    run: RunFolder, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told() -> str:
        capsys.readouterr()
        assert main(["compare", str(run.folder), str(dataset)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    assert "has no dataset.yaml; docs/comparing.md shows one" in told()
    (dataset / "dataset.yaml").write_text(CARD.replace("mouse", "rat") + CURVES, "utf-8")
    assert "curves files curves.csv: is not in" in told()
    (dataset / "curves.csv").write_text("subject,time_h,organ,value,unit\na,1,plasma,60,%ID/mL\n", "utf-8")
    assert "species rat: must be that of the run, whose body of 25 g is of a mouse" in told()
    (dataset / "dataset.yaml").write_text("what: [}", "utf-8")
    assert "dataset.yaml:1: is not valid YAML" in told()


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "pla_peg_biodistribution").is_dir(), reason=missing("pla_peg_biodistribution"))
def test_pla_peg_biodistribution_is_read_and_compared(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    found = compared(run, capsys, "pla_peg_biodistribution", "--data", str(DATA))
    by_name = {each["what"]: each for each in found["comparisons"]}
    assert set(by_name) == {f"{o} (T_67_{g})" for o in ("liver", "plasma", "spleen", "tumor") for g in ("low", "middle", "high")}
    assert "Not in the run: kidneys, lungs." in found["notes"]
    first = by_name["liver (T_67_low)"]
    assert (first["unit"], first["units"]) == ("%ID/g", "animals")
    table = pd.read_csv(DATA / "pla_peg_biodistribution" / "T_67.csv")
    early = table[(table["scenario"] == "T_67_low") & (table["prob.mean"] == "D_L_aver") & (table["t"] < 4)]
    assert first["count"] == len(early)


@pytest.mark.slow
def test_the_image_of_an_instrument_is_compared_with_its_own_file(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["quick", "nanoparticle=liposome_cu64", "protocol.dose=5MBq", "protocol.dose_of=activity", "lattice.size=120um"]
    words += ["protocol.duration=1h", "record.interval=1h", "report=false", "--quiet"]
    assert main(["run", *words, "--out", str(tmp_path / "run")]) == 0
    image = open_run(tmp_path / "run").image("pet_preclinical")
    save_image(dataset / "scan.nii.gz", image)
    corner = [f"{centre - edge / 2} um" for centre, edge in zip(image.origin_um, image.voxel_um, strict=True)]
    fwhm = image.acquisition["PointSpreadFWHM_mm"]
    part = {"file": "scan.nii.gz", "unit": "Bq/mL", "readout": "pet_preclinical", "fwhm": f"{fwhm} mm", "position": corner}
    (dataset / "dataset.yaml").write_text(CARD + f"image: {json.dumps(part)}\n", "utf-8")
    measures = compared(RunFolder(tmp_path / "run"), capsys, str(dataset))["comparisons"][0]["measures"]
    assert measures["RMSE"]["simulated"] < 1e-5 * measures["RMSE"]["null"]
    assert measures["concordance"]["simulated"] == pytest.approx(1, abs=1e-9)


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "lightsheet_tumor").is_dir(), reason=missing("lightsheet_tumor"))
def test_lightsheet_tumor_follows_its_nuclei_more_than_any_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["variant=small", "protocol.duration=1h", "record.interval=1h", "report=false", "--data", str(DATA), "--quiet"]
    assert main(["run", "lightsheet_tumor", *words, "--out", str(tmp_path / "run")]) == 0
    found = compared(RunFolder(tmp_path / "run"), capsys, "lightsheet_tumor", "--data", str(DATA))
    by_name = {each["what"]: each["measures"] for each in found["comparisons"]}
    assert by_name["image"]["correlation with nuclei"]["measured"] == pytest.approx(0.77, abs=0.01)
    profile = by_name["against distance to vessels"]["RMSE of the profile"]
    assert profile["null"] < 0.1 < profile["simulated"]
    assert {each["null_model"] for each in found["comparisons"]} == {"proportional to the nuclei"}
    assert len(found["profile"]) > 5
