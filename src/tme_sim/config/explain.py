"""`tme-sim explain KEY`: everything known about one key."""

from __future__ import annotations

import difflib
from typing import Any

from tme_sim.config.dosing import MASS_KEYS, dosing
from tme_sim.config.load import Loaded, conf_dirs
from tme_sim.config.registry import KINDS, resolve
from tme_sim.config.schema import Row, describe, dump
from tme_sim.files.literature import cited, published
from tme_sim.state.errors import InputError
from tme_sim.state.parameters import split_unit


def explain(key: str, loaded: Loaded) -> str:
    """Lines on one key, or the keys below a section. Raises InputError with the nearest spelling."""
    rows = {row.key: row for row in all_rows(loaded)}
    values = _flatten(dump(loaded.config))
    if key in rows or key in values:
        return _one(key, rows.get(key) or _pattern_row(key, rows), values.get(key), loaded)
    below = sorted(name for name in {*rows, *values} if name.startswith(key + "."))
    if below:
        return "\n".join([f"{key} holds:", *[f"  {name} = {values.get(name, '')}" for name in below]])
    near = difflib.get_close_matches(key, dict.fromkeys([*rows, *values]), 3, 0.5)
    raise InputError("key", key, f"no such key{'; did you mean ' + ', '.join(near) + '?' if near else ''}")


def all_rows(loaded: Loaded) -> list[Row]:
    """Every key of the configuration as composed, those of its tissue, processes and readouts included."""
    config = loaded.config
    rows = describe(type(config)) + describe(config.tissue.cls, "tissue")
    for group, sections in (("processes", config.processes), ("readouts", config.readouts)):
        for name, section in sections.items():
            rows += describe(section.cls, f"{group}.{name}")
    return rows


def _one(key: str, row: Row | None, value: Any, loaded: Loaded) -> str:
    source = _source(key, loaded.sources)
    lines = [f"{key} = {value}"]
    if row:
        lines += [
            f"  meaning  {row.meaning}",
            f"  unit     {row.unit or 'none'}",
            f"  range    {row.range or 'any'}",
            f"  default  {row.default or 'none'}",
        ]
    if key == "protocol.dose":
        lines.append(f"  means    {dosing(loaded.config, set()).words}")
    lines.append(f"  source   {source}")
    lines += [f"  {row.id:<7}  {row}" for row in cited([source], published(conf_dirs()))]
    lines.append(f"  read by  {', '.join(_readers(key, loaded)) or 'the run itself'}")
    return "\n".join(lines)


def _source(key: str, sources: dict[str, Any]) -> str:
    """The source given for the key, or for the nearest section around it."""
    parts = key.split(".")
    for end in range(len(parts), 0, -1):
        found = sources.get(".".join(parts[:end]))
        if isinstance(found, str):
            return found
        if found:
            return ", ".join(f"{name} {text}" for name, text in found.items())
    return "none given"


def _readers(key: str, loaded: Loaded) -> list[str]:
    own = key.split(".")
    if own[0] in ("processes", "readouts") and len(own) > 1:
        return [own[1]]
    classes = [(kind, resolve(group, kind)) for group in ("process", "readout") for kind in KINDS[group]]
    classes.append((f"tissue {loaded.config.tissue.kind}", loaded.config.tissue.cls))
    with_units = [(name, _plain_paths(cls)) for name, cls in classes]
    return [
        name for name, paths in with_units if any(key == p or key.startswith(p + ".") or p.startswith(key + ".") for p in paths)
    ]


def _plain_paths(cls: type) -> list[str]:
    from tme_sim.config.registry import given_paths

    derived = {
        "dose.particles": ["protocol.dose", "protocol.dose_of", *(f"nanoparticle.{split_unit(key)[0]}" for key in MASS_KEYS)],
        "diameter_in_blood_um": ["nanoparticle.hydrodynamic_diameter", "nanoparticle.corona_shift"],
        "size_classes_um": [
            "nanoparticle.hydrodynamic_diameter",
            "nanoparticle.corona_shift",
            "nanoparticle.polydispersity_index",
        ],
        "tissue_diffusivity": [
            *("nanoparticle.diffusivity", "nanoparticle.hydrodynamic_diameter", "nanoparticle.corona_shift"),
            "tissue.matrix",
        ],
        "clearance_curve": ["nanoparticle.clearance.curve"],
        "carrier_integrator": ["integrator"],
        "cell_kinds": ["cells.macrophage_fraction"],
        "carrying_kinds": ["cells.macrophage_fraction"],
    }
    paths: list[str] = []
    for path in given_paths(cls).values():
        paths += derived.get(path, [".".join(split_unit(part)[0] for part in path.split("."))])
    return paths


def _pattern_row(key: str, rows: dict[str, Row]) -> Row | None:
    """The row of a key inside a mapping, written with NAME: `nanoparticle.uptake.NAME.clearance`."""
    parts = key.split(".")
    for i in range(1, len(parts)):
        found = rows.get(".".join([*parts[:i], "NAME", *parts[i + 1 :]]))
        if found:
            return found
    return None


def _flatten(data: dict[str, Any], where: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in data.items():
        flat |= _flatten(value, f"{where}{name}.") if isinstance(value, dict) else {f"{where}{name}": value}
    return flat
