"""Numbers from a state and its series: the flat summary of a run (interface.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.analysis.drug_measures import drug_measures
from tme_sim.analysis.profiles import Tissue, holds_vessel, profile
from tme_sim.state.cells import is_alive
from tme_sim.state.kupffer import KIND as KUPFFER
from tme_sim.state.ledger import GONE, lattice_amounts, whole_body
from tme_sim.state.reporter import reporter_released
from tme_sim.state.state import State
from tme_sim.state.variables import FORMS, PHAGOCYTES, ROUTES

EXTRACELLULAR = ("interstitium", "bound")
IN_PHAGOCYTES = ("macrophages", *PHAGOCYTES)
HYPOXIC_MMHG = 10.0
"""Cells with less oxygen count as hypoxic (assumed; about where nitroimidazole stains such as pimonidazole begin to bind)."""

Number = float | int | None


def summarise(
    state: State, tumor_mass_g: float, series: Sequence[Mapping[str, Any]], drug_g_per_particle: float
) -> dict[str, Number]:
    """The measures of the last state; null where no process gives them. Fractions are of all that is on the lattice.

    tumor_mass_g: at the start. Where it grows, %ID/g, SUV and what else is told per gram are of its mass now.
    """
    growth = growth_factor(state, series)
    tumor_mass_g *= growth
    amounts = {name: _whole_tumor(patches, state) for name, patches in lattice_amounts(state).items()}
    total = sum(amounts.values(), np.zeros((len(ROUTES), len(FORMS))))
    everything = float(total.sum())
    injected = float(sum(state.ledger.injected.tolist()))
    extracellular = _sum(amounts, EXTRACELLULAR)
    cells = [name for name in amounts if name in state.populations]
    intracellular = _sum(amounts, cells)
    blood = growth * blood_in_tumor(state, tumor_mass_g)
    found: dict[str, Number] = {
        "injected": injected,
        "tumor_percent_id": _percent(everything, injected),
        "tumor_percent_id_per_g": _ratio(_percent(everything + blood, injected), tumor_mass_g),
        "tumor_percent_id_per_g_without_blood": _ratio(_percent(everything, injected), tumor_mass_g),
        "tumor_suv": _ratio(_percent(everything + blood, injected), 100 * tumor_mass_g / state.body.mass_g),
        "liver_percent_id_per_g": _organ(state, injected, ("kupffer", "liver_endothelium"), "liver"),
        "spleen_percent_id_per_g": _organ(state, injected, ("spleen",), "spleen"),
        "plasma_percent_id": _percent(float(sum(state.body.pools["plasma"].tolist())), injected)
        if "plasma" in state.body.pools
        else None,
        "plasma_half_life_h": plasma_half_life_h(series),
        "extracellular_fraction": _ratio(extracellular, everything),
        "intracellular_fraction": _ratio(intracellular, everything),
        "endothelium_fraction": _ratio(_sum(amounts, ("endothelium",)), everything),
        "intracellular_fraction_in_phagocytes": _ratio(_sum(amounts, IN_PHAGOCYTES), intracellular),
        "released_fraction": _ratio(float(total[:, FORMS.index("released")].sum()), everything),
        "drug_released_in_tumor_ug": float(total[:, FORMS.index("released")].sum()) * drug_g_per_particle * 1e6,
        "hypoxic_fraction": hypoxic_fraction(state),
        "dead_fraction": dead_fraction(state),
        "penetration_half_distance_um": penetration_half_distance_um(state),
        "tumor_mass_g": tumor_mass_g,
        "tumor_percent_id_per_g_patch_sd": patch_sd(state, tumor_mass_g),
        "perfused_fraction": perfused_fraction(state),
        "blood_velocity_um_per_s": blood_velocity_um_per_s(state),
    }
    entered = _whole_tumor(state.ledger.entered, state).sum(axis=1)
    found |= route_fractions(entered, total.sum(axis=1))
    found |= phagocyte_traffic(state, tumor_mass_g, series, float(entered[ROUTES.index("phagocyte")]))
    found |= {f"reporter_released_in_{place}": amount for place, amount in reporter_released(state).items()}
    if KUPFFER in state.populations:
        taken = state.populations[KUPFFER]["taken"]
        found["kupffer_mean_load"] = _ratio(float(taken.sum()), len(taken))
        found["liver_over_tumor"] = _ratio(found["liver_percent_id_per_g"], found["tumor_percent_id_per_g"] or 0.0)
    return found | drug_measures(state, series)


def route_fractions(entered: NDArray[np.float64], held: NDArray[np.float64]) -> dict[str, Number]:
    """(routes,) each route's share of all that ever entered, and of all that is there now."""
    found: dict[str, Number] = {}
    for at, route in enumerate(ROUTES[1:], 1):
        found[f"route_fraction_{route}"] = _ratio(float(entered[at]), float(entered[1:].sum()))
        found[f"route_held_fraction_{route}"] = _ratio(float(held[at]), float(held.sum()))
    return found


def phagocyte_traffic(
    state: State, tumor_mass_g: float, series: Sequence[Mapping[str, Any]], carried: float
) -> dict[str, Number]:
    """Phagocytes that came in per gram of tumour and day, and carriers that each brought; null without the process.

    carried: carriers that came in with them. Their product is the route's influx.
    """
    entries = days = None
    if state.vessels is not None and "crossings" in state.vessels.arrays:
        crossings = state.vessels.arrays["crossings"].sum(axis=0)
        entries = float(np.sum(crossings * state.lattice.copies[state.lattice.patch_of_voxel(state.vessels.voxel)]))
        days = max((row["time_s"] for row in series), default=0.0) / 86400
    return {
        "phagocyte_entries_per_g_per_day": None if entries is None or not days else entries / tumor_mass_g / days,
        "phagocyte_mean_load": _ratio(carried, entries or 0.0),
    }


def patch_sd(state: State, tumor_mass_g: float) -> Number:
    """Spread of %ID/g (without blood) between patches, weighted by mass; null with one patch."""
    lattice = state.lattice
    if len(lattice.patches) < 2:
        return None
    held = sum(amounts.sum(axis=(1, 2)).astype(np.float64) for amounts in lattice_amounts(state).values()) * lattice.copies
    volume = np.array([(state.fields["inside"][planes] > 0).sum() for planes in lattice.planes]) * lattice.copies
    share = volume / volume.sum()
    level = 100 * held / float(sum(state.ledger.injected.tolist())) / (share * tumor_mass_g)
    return float(np.sqrt(np.sum(share * (level - np.sum(share * level)) ** 2)))


def growth_factor(state: State, series: Sequence[Mapping[str, Any]]) -> float:
    """The tumour's mass now over that at the start, 2^(t/T_d) at the last time of the series; 1 where no process lets it grow.

    The lattice and its copies stand for the tissue of the start and what it has grown into.
    """
    doubling_time_s = state.body.traits.get("doubling_time_s")
    if doubling_time_s is None:
        return 1.0
    return float(2 ** (max((row["time_s"] for row in series), default=0.0) / doubling_time_s.item()))


def hypoxic_fraction(state: State) -> Number:
    """Share of the whole tumour's live cells whose site has less than `HYPOXIC_MMHG` of oxygen; null without oxygen or cells."""
    if "oxygen_mmHg" not in state.fields:
        return None
    lattice = state.lattice
    hypoxic = (lattice.on_sites(state.fields["oxygen_mmHg"]) < HYPOXIC_MMHG).ravel()
    low = all_cells = 0.0
    for population in state.populations.values():
        if "site" in population:
            site = population["site"][is_alive(population)]
            weight = lattice.copies[lattice.patch_of_site(site)]
            low += float(np.sum(weight * hypoxic[site]))
            all_cells += float(weight.sum())
    return _ratio(low, all_cells)


def dead_fraction(state: State) -> Number:
    """Share of the whole tumour's tumour cells that are dead and not cleared yet; null where no process lets them die."""
    dead = all_cells = 0.0
    for population in state.populations.values():
        if "phase" in population:
            weight = state.lattice.copies[state.lattice.patch_of_site(population["site"])]
            dead += float(np.sum(weight * ~is_alive(population)))
            all_cells += float(weight.sum())
    return _ratio(dead, all_cells)


def perfused_fraction(state: State) -> Number:
    """Share of the whole tumour's vessel wall that moving blood passes; null where flow is not computed."""
    vessels = state.vessels
    if vessels is None or "segment_flow_um3_per_s" not in vessels.arrays:
        return None
    weight = vessels.surface_um2 * state.lattice.copies[state.lattice.patch_of_voxel(vessels.voxel)]
    return _ratio(float(np.sum(weight * vessels.arrays["perfused"].astype(np.float64))), float(weight.sum()))


def blood_velocity_um_per_s(state: State) -> Number:
    """Mean speed of blood along the length of all vessels that carry any, patches by their copies; null without flow."""
    vessels = state.vessels
    if vessels is None or vessels.graph is None or "segment_velocity_um_per_s" not in vessels.arrays:
        return None
    graph, lattice = vessels.graph, state.lattice
    speed = np.abs(vessels.arrays["segment_velocity_um_per_s"].astype(np.float64))
    plane = (graph.nodes_um[graph.segments, 0].mean(axis=1) / lattice.voxel_um).astype(np.int64)
    patch = lattice.patch_of_voxel(np.clip(plane, 0, lattice.voxels[0] - 1) * lattice.voxels[1] * lattice.voxels[2])
    weight = graph.length_um * lattice.copies[patch] * (speed > 0)
    return _ratio(float(np.sum(weight * speed)), float(weight.sum()))


def where_by_route(state: State) -> list[dict[str, Any]]:
    """The closing table: one row per compartment of the whole tumour, amounts by route and in % of the injected dose."""
    injected = float(sum(state.ledger.injected.tolist()))
    rows = []
    for name, patches in lattice_amounts(state).items():
        by_route = _whole_tumor(patches, state).sum(axis=1)
        rows.append(
            {
                "where": name,
                **dict(zip(ROUTES, by_route.tolist(), strict=True)),
                "percent_id": _percent(float(by_route.sum()), injected),
            }
        )
    held = whole_body(state)
    for name in [*state.body.pools, *(name for name in ("wall_bound", *GONE) if name in held)]:
        amount = float(held[name])
        rows.append({"where": name, **dict.fromkeys(ROUTES), "total": amount, "percent_id": _percent(amount, injected)})
    return rows


def perfused_share(state: State) -> NDArray[np.float64]:
    """(patches,) share of each patch's vessel wall that moving blood passes; 1 where there is no wall."""
    patches = len(state.lattice.patches)
    if state.vessels is None:
        return np.ones(patches)
    patch, surface = state.lattice.patch_of_voxel(state.vessels.voxel), state.vessels.surface_um2
    perfused = surface * state.vessels.arrays["perfused"].astype(np.float64)
    wall, moving = np.bincount(patch, surface, patches), np.bincount(patch, perfused, patches)
    return np.asarray(np.divide(moving, wall, out=np.ones(patches), where=wall > 0))


def blood_in_tumor(state: State, tumor_mass_g: float) -> float:
    """Carriers in the blood of the whole tumour, BV · C_b with C_b = carriers in plasma / volume of blood.

    BV is the lumen of vessels that are perfused: of each patch's the share that its perfused wall has of all its wall. Standing
    blood is taken to hold none.
    """
    if "plasma" not in state.body.pools:
        return 0.0
    planes = zip(state.lattice.planes, state.lattice.copies, strict=True)
    inside, lumen = state.fields["inside"], state.fields["lumen_fraction"]
    lumens = [float((inside[p] * lumen[p]).sum()) * int(c) for p, c in planes]
    volume = float(np.add.reduce(perfused_share(state) * lumens)) * state.lattice.voxel_um3
    blood_um3 = state.body.blood_volume_um3 or state.body.plasma_volume_um3
    return float(state.body.pools["plasma"].sum()) / blood_um3 * volume


def plasma_half_life_h(series: Iterable[Mapping[str, Any]]) -> Number:
    """ln 2 over the slope of ln(plasma) by least squares over the recorded times after the largest value; null with under 3."""
    amounts: dict[float, float] = {}
    for row in series:
        if row["compartment"] == "plasma" and row["substance"] == "nanoparticle":
            amounts[row["time_s"]] = amounts.get(row["time_s"], 0.0) + row["value"]
    time_s, value = np.array(list(amounts)), np.array(list(amounts.values()))
    if len(value) == 0:
        return None
    after = slice(int(np.argmax(value)), None)
    time_s, value = time_s[after], value[after]
    keep = value > 0
    if keep.sum() < 3:
        return None
    slope = float(np.polyfit(time_s[keep], np.log(value[keep]), 1)[0])
    return float(np.log(2) / -slope / 3600) if slope < 0 else None


def tissue_carriers(state: State) -> NDArray[np.float64]:
    """(z, y, x) carriers per voxel in interstitium, matrix and cells; a cell's cargo is spread over its site's voxels."""
    total = np.zeros(state.lattice.n_voxels)
    for name in ("nanoparticle", "bound"):
        if name in state.fields:
            total += state.fields[name].sum(axis=(0, 1)).ravel()
    footprint = state.lattice.footprint()
    for population in state.populations.values():
        if "cargo" in population:
            held = (population["cargo"] + population["lysosome"]).sum(axis=(1, 2))
            np.add.at(total, footprint[population["site"]], held[:, None] / footprint.shape[1])
    return total.reshape(state.lattice.voxels)


def penetration_half_distance_um(state: State) -> Number:
    """Distance from the vessels at which the carriers per tissue fall to half of those at the vessels; null if they do not.

    Null too where it is shorter than three voxels: such a length is not resolved. The report's profile says the same.
    """
    lumen, lattice = state.fields["lumen_fraction"], state.lattice
    graph = state.vessels.graph if state.vessels is not None else None
    cylinders = None if graph is None else (graph.nodes_um[graph.segments], graph.radius_um)
    slabs = list(zip(lattice.planes, lattice.copies.tolist(), strict=True))
    holds = holds_vessel(lumen, state.fields["wall_surface_um2"])
    tissue = Tissue(state.fields["inside"] > 0, lumen, holds, lattice.voxel_um, slabs, cylinders)
    found = profile(tissue, {"all tissue": tissue_carriers(state)})
    half = found.half_distance_um
    return half if half is not None and half >= found.resolved_um else None


def _whole_tumor(patches: NDArray[Any], state: State) -> NDArray[np.float64]:
    """(patch, route, form) per instance → (route, form) of the whole tumour."""
    return np.asarray(np.tensordot(state.lattice.copies.astype(np.float64), patches.astype(np.float64), 1))


def _organ(state: State, injected: float, pools: tuple[str, ...], organ: str) -> Number:
    held = [float(state.body.pools[name].sum()) for name in pools if name in state.body.pools]
    return _ratio(_percent(sum(held), injected), state.body.organ_mass_g[organ]) if held else None


def _sum(amounts: Mapping[str, NDArray[np.float64]], names: Iterable[str]) -> float:
    return float(sum(amounts[name].sum() for name in names if name in amounts))


def _percent(part: float, whole: float) -> Number:
    return 100 * part / whole if whole > 0 else None


def _ratio(part: Number, whole: float) -> Number:
    return part / whole if part is not None and whole > 0 else None
