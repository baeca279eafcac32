from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
PROMISED = {
    "explicit_over_triad_128",
    "threads_2_over_1_64",
    "over_pypde_variable",
    "over_numpy",
    "over_scipy_csr",
    "rhs_evaluations_over_euler",
    "pcg_iterations",
    "pcg_over_scipy_cg",
    "agents_over_mesa",
    "uptake_1e6_ms",
    *(f"cells_{name}_1e6_ms" for name in ("cell_cycle", "cell_death", "macrophages", "effect_drug", "effect_heat")),
    "pet_mouse_frame_s",
    "mri_multi_echo_128_s",
    "gallery_s",
    "reference_continuum_r1_s",
    "reference_continuum_r2_s",
    "reference_stochastic_r1_s",
    "reference_stochastic_r2_s",
    "reference_peak_memory_mb",
    "hop_occupancy_1_ms",
    "hop_occupancy_10_ms",
    "hop_occupancy_100_ms",
    "exponent_voxels",
    "exponent_agents",
    "exponent_particles",
    "startup_warm_s",
    "startup_first_s",
}
LEFT_OUT = ("pet_", "mri_", "gallery", "over_pypde", "over_fipy", "pcg_over_pyamg", "startup", "reference")
"""Rows that a tiny run leaves empty, with the reason: they take long, or a package of the group `bench`."""


def output(script: str, *arguments: str) -> dict[str, Any]:
    words = [sys.executable, str(BENCHMARKS / script), *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import page

    return page


def test_one_run_measures_every_promised_row_and_tells_its_error(page: ModuleType) -> None:
    found = output("run.py", "--tiny", "--json")
    rows = {row["name"]: row for row in found["rows"]}
    assert len(rows) == len(found["rows"])
    assert PROMISED | {"triad_1_GB_per_s"} <= set(rows)
    assert set(page.GOALS) == PROMISED
    for name, row in rows.items():
        assert {"name", "value", "unit", "error"} <= set(row), name
        if name.startswith(LEFT_OUT) and row["value"] is None:
            assert isinstance(row["error"], str), name
            continue
        assert row["value"] is not None, row
        assert name.startswith(("triad", "exponent")) or row["value"] > 0, row
        assert name.startswith("triad") or 0 <= row["error"] < 4, row  # relative, or in standard deviations
        if name.startswith(("explicit", "threads", "over", "rhs", "pcg")):
            assert row["error"] < 4e-3, row  # of the spacing: π²h²/12 on 16 voxels, and less for the others
    assert set(found["points"]) == {"voxels", "agents", "particles", "threads"}
    assert found["machine"]["size"] == "tiny"


@pytest.mark.parametrize("number", ["continuum", pytest.param("stochastic", marks=pytest.mark.slow)])
def test_the_reference_run_keeps_its_carriers_and_tells_where_the_time_goes(number: str) -> None:
    found = output("reference.py", number, "1", "6", "0", "1")
    assert found["extrapolated"]
    assert found["error"] <= (0 if number == "stochastic" else 1e-12)
    assert {"gaps", "transcytosis", "transport", "uptake", "oxygen", "interstitial_flow"} <= set(found["per_process_s"])
    assert 0 < found["simulated_h"] < 0.5
    assert sum(found["per_process_s"].values()) <= found["wall_s"]


def test_a_part_that_fails_leaves_rows_that_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import rows
    import run

    def broken(sizes: rows.Sizes) -> rows.Rows:
        yield rows.Row("first", 1.0, "s", 0.0)
        raise ArithmeticError("no balance")

    monkeypatch.setattr(run, "sections", lambda points: [(("first", "second"), broken), (("third",), broken)])
    found = {row["name"]: row for row in run.measured(rows.TINY)["rows"]}
    assert found["first"]["value"] == 1.0
    for name in ("second", "third"):
        assert (found[name]["value"], found[name]["error"]) == (None, "ArithmeticError: no balance")


def test_the_exponent_of_a_power_law_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    from scaling import exponent

    slope, off = exponent([(n, 3e-6 * n**1.5) for n in (1, 10, 50, 1000)])
    assert slope == pytest.approx(1.5)
    assert off == pytest.approx(0, abs=1e-9)


def test_the_page_is_as_generated_from_the_results(page: ModuleType) -> None:
    found = json.loads((BENCHMARKS / "results.json").read_text(encoding="utf-8"))
    written = (BENCHMARKS.parent / "docs" / "performance.md").read_text(encoding="utf-8")
    assert page.page(found) == written, "run: python benchmarks/page.py"


def test_a_goal_is_met_from_its_own_side_on(page: ModuleType) -> None:
    assert page.verdict("over_numpy", 15.0) == page.verdict("pcg_iterations", 10.0) == "met"
    assert page.verdict("over_numpy", 14.9) == page.verdict("pcg_iterations", 11.0) == "**missed**"
    assert page.verdict("over_numpy", None) == "not measured"
    assert page.verdict("triad_1_GB_per_s", 1.0) == ""
