"""Orders of magnitude against closed forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tme_sim.analysis.plausibility import Hint, _gaps, hints, internal, split_quantity
from tme_sim.files.run_folder import RunFolder
from tme_sim.files.run_store import RunStore

PERMEABILITY, SURFACE, TUMOR_G, DOSE, HALF_LIFE_H = 1.3e-4, 9e-3, 0.2, 1e9, 12.0  # um/s, 1/um, g, -, h
GAPS = "  gaps: {kind: gaps, enabled: false, wall_length: 0.5 um}\n"
CONFIG = """
record: {level: series}
body: {plasma_volume: 1000000000000 um^3}
protocol: {duration: 2 d}
tissue:
  density: 1 g/mL
  matrix: {fibre_volume_fraction: 0.139, fibre_radius: 20 nm, hydraulic_conductivity: 4.13 um^2/mmHg/s}
nanoparticle: {hydrodynamic_diameter: 65 nm, diffusivity: 0.5 um^2/s, transcytosis_permeability: 8.4e-05 um/s}
processes:
  gaps: {kind: gaps, enabled: false, wall_length: 0.5 um}
  crossing: {kind: transcytosis, enabled: true, recycled_fraction: 0.5, active_fraction: 0.2}
"""


def row(time_s: float, compartment: str, route: str, quantity: str, value: float) -> dict[str, Any]:
    patch = "body" if compartment == "plasma" else "tumor"
    what = {"substance": "nanoparticle", "patch": patch, "compartment": compartment, "route": route, "quantity": quantity}
    return {"time_s": time_s, **what, "value": value}


@pytest.fixture(params=[CONFIG, CONFIG.replace(GAPS, "")], ids=["gaps", "no gaps"])
def found(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Hint]:
    """Hints of a run whose plasma halves every 12 h and whose wall has a known permeability and lets nothing back."""
    store = RunStore.create(tmp_path / "run")
    morphometry = {"vessel_surface_mm2_per_mm3": SURFACE * 1e3, "mean_distance_to_vessel_um": 30.0}
    info = {"format": 1, "status": "done", "dose_particles": DOSE, "tumor_mass_g": TUMOR_G, "morphometry": morphometry}
    store.write_json("run.json", info | {"patches": [{"name": "tumor", "copies": 10}]})
    store.write_text("config.yaml", request.param)
    hours = np.arange(0, 49, 4)
    plasma = DOSE * 0.5 ** (hours / HALF_LIFE_H)
    auc_s = DOSE / 1e12 * (1 - plasma[-1] / DOSE) * HALF_LIFE_H * 3600 / np.log(2)  # per um^3
    entered = PERMEABILITY * SURFACE * TUMOR_G * 1e12 * auc_s / 10
    series = [row(3600.0 * h, "plasma", "all", "amount", v) for h, v in zip(hours, plasma, strict=True)]
    series += [row(48 * 3600.0, "tissue", "gap", name, n * entered) for name, n in (("entered", 1.5), ("returned", 0.5))]
    store.write_table("series.parquet", pd.DataFrame(series))
    ledger = pd.DataFrame({"time_s": [0.0], "substance": ["nanoparticle"], "term": ["injected"], "amount": [DOSE]})
    store.write_table("ledger.parquet", ledger)
    return {hint.quantity: hint for hint in hints(RunFolder(store.folder))}


def test_a_half_life_of_12_h_gives_the_area_of_the_model_section(found: dict[str, Hint]) -> None:
    area = found["area under the plasma curve"]
    assert area.value == pytest.approx(100 * 12 / np.log(2) * (1 - 2**-4))  # 1.6e3 %ID·h/mL
    assert area.unit == "%ID·h/mL"


def test_the_permeability_that_made_the_entry_is_found_again(found: dict[str, Hint]) -> None:
    assert found["P·S/V, all routes, net"].value == pytest.approx(PERMEABILITY * SURFACE)
    in_cm = found["permeability P of the wall, all routes, net"]
    assert (in_cm.value, in_cm.unit) == (pytest.approx(PERMEABILITY * 1e-4), "cm/s")
    assert found["… of it by gap"].value == pytest.approx(PERMEABILITY * 1e-4)


def test_the_active_endothelium_turns_over_what_passes_it(found: dict[str, Hint]) -> None:
    turnover = next(hint for name, hint in found.items() if name.startswith("volume turnover"))
    assert turnover.value == pytest.approx(100 * 60 * 8.4e-5 / 0.5 / 0.2 / 0.5)


def test_spread_by_diffusion_is_that_of_the_model_section(found: dict[str, Hint]) -> None:
    assert found["spread by diffusion over the run, √(2Dt)"].value == pytest.approx(np.sqrt(2 * 0.5 * 48 * 3600))


def test_gaps_of_a_tissue_without_vessels_have_no_conductivity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "run")
    store.write_json("run.json", {"format": 1, "status": "done"})
    store.write_text("config.yaml", CONFIG.replace("{kind: gaps, enabled: false", "{kind: gaps, enabled: true"))
    for name in ("fields.zarr", "agents/gaps"):
        (store.folder / name).mkdir(parents=True)
    empty = pd.DataFrame({"open": [], "radius_um": []})
    monkeypatch.setattr(RunFolder, "agents", lambda *_: empty)
    monkeypatch.setattr(RunFolder, "fields", {"wall_surface_um2": np.zeros((4, 4, 4))})
    (hint,) = _gaps(RunFolder(store.folder))
    assert hint.value is None


def test_quantities_of_a_recorded_configuration_become_internal_ones() -> None:
    assert [internal(text) for text in ("65 nm", "0.5 h", "8.3e-05 um/s", 0.25, "1 d")] == [0.065, 1800, 8.3e-5, 0.25, 86400]
    assert split_quantity("5 mg/kg") == (5, "mg/kg")


@pytest.mark.parametrize("text", ["docetaxel", "", None, True, "nan", "a 5 um"])
def test_what_is_no_quantity_is_not_taken_for_one(text: object) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        split_quantity(text)
