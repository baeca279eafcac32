"""Orders of magnitude to hold a run against (model section 12): what its numbers imply, beside what is known."""

from __future__ import annotations

import re
from math import sqrt
from typing import Any, NamedTuple

import numpy as np

from tme_sim.analysis.profiles import amounts, carriers_per_cell, injected, net_entry
from tme_sim.files.run_folder import RunFolder
from tme_sim.state.pores import gap_filtration_um3_per_mmHg_s
from tme_sim.state.substance import Matrix, interstitial_diffusivity_um2_per_s

INTERNAL = {"nm": 1e-3, "mm": 1e3, "ms": 1e-3, "min": 60.0, "h": 3600.0, "d": 86400.0, "ug": 1e-6, "mg": 1e-3, "kg": 1e3}
"""Units that a recorded configuration uses for readability → factor to the internal unit; all others are internal."""

WALL_UM = 0.5
"""Thickness of the wall where a run has no gaps to tell it: their default."""


class Hint(NamedTuple):
    """One line: what it is, its value in this run (None where it was not recorded), unit, what is known, and whence."""

    quantity: str
    value: float | None
    unit: str
    known: str
    source: str


def internal(text: Any) -> float:
    """A quantity of a recorded configuration (`65 nm`) in its internal unit (0.065)."""
    number, unit = split_quantity(text)
    return number * INTERNAL.get(unit, 1.0)


def split_quantity(text: Any) -> tuple[float, str]:
    """Number and unit of a quantity of a recorded configuration; ValueError where it is none."""
    match = re.fullmatch(r"([+-]?\d+\.?\d*(?:e[+-]?\d+)?)(?: (.*))?", str(text))
    if match is None or isinstance(text, bool):
        raise ValueError(f"{text} is no quantity")
    return float(match[1]), match[2] or ""


def hints(run: RunFolder) -> list[Hint]:
    """The lines that this run's record allows."""
    return [*_dose(run), *_wall(run), *_gaps(run), *_cells(run), *_diffusion(run)]


def _dose(run: RunFolder) -> list[Hint]:
    dose = float(run.info["dose_particles"])
    return [Hint("particles per dose", dose, "", "clearance saturates near 10¹² in a mouse", "S110")]


def _wall(run: RunFolder) -> list[Hint]:
    """What crossed the wall over plasma's AUC: P·S/V = net entry/(V ∫C dt), and P by route."""
    if not _has(run, "series.parquet"):
        return []
    auc_s_per_um3 = plasma_auc_s_per_um3(run)
    surface_per_um = 1e-3 * run.info["morphometry"].get("vessel_surface_mm2_per_mm3", 0.0)
    volume_um3 = run.info["tumor_mass_g"] / internal(run.config["tissue"]["density"]) * 1e12
    if not auc_s_per_um3 > 0 or not surface_per_um > 0:
        return []
    entry_per_s = {route: net / (volume_um3 * auc_s_per_um3) for route, net in net_entry(run).items()}
    total = sum(entry_per_s.values())
    percent_h_per_mL = 100 * auc_s_per_um3 / injected(run) * 1e12 / 3600
    rows = [
        Hint(
            "area under the plasma curve",
            percent_h_per_mL,
            "%ID·h/mL",
            "1,600 over 48 h for 1 mL of plasma and a half-life of 12 h",
            "arithmetic",
        ),
        Hint("P·S/V, all routes, net", total, "per s", "3·10⁻⁶ gives 18.6 %ID/g at 48 h on that curve", "S87, arithmetic"),
        Hint("permeability P of the wall, all routes, net", total / surface_per_um * 1e-4, "cm/s", "1.3·10⁻⁸, a liposome", "X21"),
    ]
    rows += [
        Hint(f"… of it by {route}", value / surface_per_um * 1e-4, "cm/s", "", "")
        for route, value in entry_per_s.items()
        if value > 0
    ]
    return rows + _turnover(run)


def _turnover(run: RunFolder) -> list[Hint]:
    """Share of their volume that active endothelial cells take up a minute: P/((1 − recycled) active · thickness)."""
    processes = run.config["processes"]
    crossing = next((p for p in processes.values() if p["kind"] == "transcytosis" and p["enabled"]), None)
    if crossing is None:
        return []
    wall_um = next((internal(p["wall_length"]) for p in processes.values() if p["kind"] == "gaps"), WALL_UM)
    permeability = internal(run.config["nanoparticle"]["transcytosis_permeability"])
    per_s = permeability / (1 - crossing["recycled_fraction"]) / crossing["active_fraction"] / wall_um
    thickness = f"of a wall {wall_um:g} µm thick"
    known = "0.02–0.07 by fluid-phase uptake of 0.01–0.03 µm³/s in a cell of 2,500 µm³"
    return [Hint(f"volume turnover of the active endothelium, {thickness}", 6000 * per_s, "% a minute", known, "arithmetic")]


def _gaps(run: RunFolder) -> list[Hint]:
    """Lp of the gaps that were open at the end, their ΣQ over the wall's surface."""
    section = next((p for p in run.config["processes"].values() if p["kind"] == "gaps" and p["enabled"]), None)
    if section is None or not _has(run, "fields.zarr") or not _has(run, "agents/gaps"):
        return []
    agents = run.agents("gaps")
    radius_um = agents.loc[agents["open"] > 0, "radius_um"].to_numpy(float)
    conductivity = internal(run.config["tissue"]["matrix"]["hydraulic_conductivity"])
    leak = gap_filtration_um3_per_mmHg_s(radius_um, internal(section["wall_length"]), conductivity).sum()
    surface_um2 = float(run.fields["wall_surface_um2"].sum())
    known = "2.8·10⁻⁷ for the whole wall in tumours, 0.36·10⁻⁷ in normal tissue"
    value = 1e-4 * float(leak) / surface_um2 if surface_um2 > 0 else None
    return [Hint("hydraulic conductivity Lp of the open gaps", value, "cm/(mmHg s)", known, "X14")]


def _cells(run: RunFolder) -> list[Hint]:
    """Σ n·CL/φ: the rate at which cells clear the interstitium, far below saturation."""
    if not _has(run, "fields.zarr"):
        return []
    uptake = run.config["nanoparticle"]["uptake"]
    number = {kind: len(held) for kind, held in carriers_per_cell(run).items()}
    fields = run.fields.isel(time=-1)
    accessible_um3 = float(fields["accessible_fraction"].sum()) * float(fields.attrs["spacing_um"]) ** 3
    cleared = sum(n * internal(uptake[kind]["clearance"]) for kind, n in number.items() if kind in uptake)
    known = "3.5·10⁻⁶ leaves 66 % outside cells at 48 h with a plasma half-life of 12 h"
    value = cleared / accessible_um3 if accessible_um3 > 0 else None
    return [Hint("clearance of the interstitium by cells, Σ n·CL/φ", value, "per s", known, "S90, arithmetic")]


def _diffusion(run: RunFolder) -> list[Hint]:
    """How far a free particle spreads over the run, √(2 D t)."""
    particle, tissue = run.config["nanoparticle"], run.config["tissue"]
    if particle["diffusivity"] is not None:
        diffusivity = internal(particle["diffusivity"])
    else:
        m = {key: internal(value) for key, value in tissue["matrix"].items()}
        matrix = Matrix(
            fibre_volume_fraction=m["fibre_volume_fraction"],
            fibre_radius_um=m["fibre_radius"],
            hydraulic_conductivity_um2_per_mmHg_s=m["hydraulic_conductivity"],
        )
        diffusivity = interstitial_diffusivity_um2_per_s(internal(particle["hydrodynamic_diameter"]) / 2, matrix)
    duration_s = internal(run.config["protocol"]["duration"])
    distance = run.info["morphometry"].get("mean_distance_to_vessel_um")
    reach = f"{distance:.0f} µm on average to the nearest vessel here" if distance else ""
    return [
        Hint("diffusivity in the interstitium", diffusivity, "µm²/s", "0.05–1 for particles of 60–150 nm in tumours", "D05"),
        Hint("spread by diffusion over the run, √(2Dt)", sqrt(2 * diffusivity * duration_s), "µm", reach, "arithmetic"),
    ]


def plasma_auc_s_per_um3(run: RunFolder) -> float:
    """∫ C dt of carriers in plasma (s/µm³), exponential between records; a dose fills the record's interval it falls into."""
    table = amounts(run)
    plasma = table[table["compartment"] == "plasma"]
    time_s, amount = plasma["time_s"].to_numpy(float), plasma["amount"].to_numpy(float)
    after = amount[1:]
    before = np.where(amount[:-1] > 0, amount[:-1], after)
    falls = (after > 0) & (np.abs(before - after) > 1e-9 * before)
    ratio = np.divide(before, after, out=np.ones_like(after), where=falls)
    mean = np.divide(before - after, np.log(ratio), out=(before + after) / 2, where=falls)
    return float((mean * np.diff(time_s)).sum()) / internal(run.config["body"]["plasma_volume"])


def _has(run: RunFolder, name: str) -> bool:
    return (run.folder / name).exists()
