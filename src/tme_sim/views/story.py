"""A run's configuration in words: its title, the paragraph that says what was simulated, and its parameters with their origin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tme_sim.analysis.plausibility import internal, split_quantity
from tme_sim.files.run_folder import RunFolder
from tme_sim.views.words import number, quantity, span

SCIENCE = ("nanoparticle", "drug", "protocol", "body", "tissue", "cells", "processes")
"""Sections whose numbers are parameters of the model; those of the others say how it is computed and what is kept."""
BY_USER = "set by the user"
ORIGINS = ("assumed", "literature", "stated", BY_USER, "no source")

_TISSUES = {
    "vascular_tree": "a generated vessel network",
    "from_image": "vessels read from an image",
    "liver": "sinusoids around a lesion, which is the tumour here",
    "lymph_node": "a sinus and a metastasis, told together as the tumour",
}
_PIECES = {"liver": ("liver", "lesions"), "lymph_node": ("lymph node", "a sinus and metastasis")}
"""What the box is a piece of, and what its copies make up, where that is no tumour."""
_PROCESSES = {
    "circulation": "clearance from blood by liver, spleen and other organs",
    "gaps": "entry through gaps in the vessel wall",
    "bursts": "gaps that burst open for a while",
    "transcytosis": "transport through endothelial cells (transcytosis)",
    "lymph": "lymph from a site of injection",
    "transport": "diffusion through the tissue",
    "binding": "binding to the matrix",
    "uptake": "uptake by cells",
    "release": "release of the payload",
    "perfusion": "blood flow through the vessels, some of which shut for a while",
    "drug": "the released drug in tissue, cells, blood and body",
}


@dataclass(frozen=True)
class Parameter:
    """One entry of the configuration: key, value and meaning in words, where it is from, and whether a run reads it."""

    key: str
    value: str
    meaning: str
    origin: str
    source: str
    counted: bool
    used: bool


def title(run: RunFolder) -> str:
    """What the run is about."""
    config = run.config
    loaded = f" loaded with {config['drug']['name']}" if config.get("drug") else ""
    size = quantity(config["nanoparticle"]["hydrodynamic_diameter"])
    return f"Where {size} particles{loaded} are after {span(internal(config['protocol']['duration']))}"


def paragraph(run: RunFolder) -> str:
    """The configuration in four sentences."""
    config, info = run.config, run.info
    return " ".join([_dose(config, info), _tissue(config, info), _mechanisms(config), _counting(info)])


def parameters(run: RunFolder, meanings: Mapping[str, str]) -> list[Parameter]:
    """Every entry that has a value, in the configuration's order."""
    config = {key: value for key, value in run.config.items() if key not in ("sources", "name", "variant", "report")}
    sources = run.config.get("sources") or {}
    found = []
    for key, value in leaves(config):
        if value is None or key.endswith((".kind", ".enabled")) or value in ([], {}):
            continue
        source = source_of(key, sources)
        values = value if isinstance(value, list) else [value]
        found.append(
            Parameter(
                key,
                ", ".join(quantity(v) for v in values),
                meanings.get(key) or _by_pattern(key, meanings),
                origin(source),
                source,
                key.split(".")[0] in SCIENCE and all(_is_number(v) for v in values),
                _is_used(key, config),
            )
        )
    return found


def leaves(section: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every entry that is no section."""
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{where}{key}.")
        else:
            yield f"{where}{key}", value


def source_of(key: str, sources: Mapping[str, Any]) -> str:
    """The source given for a key or for the nearest section around it, as text; empty without one."""
    parts = key.split(".")
    for end in range(len(parts), 0, -1):
        found = sources.get(".".join(parts[:end]))
        if isinstance(found, Mapping):
            row = [f"row {found['row']}"] if found.get("row") else []
            return "; ".join([*row, *(str(found[part]) for part in ("doi", "note") if found.get(part))])
        if found:
            return str(found)
    return ""


def origin(source: str) -> str:
    """One of ORIGINS. A source that says `assumed` anywhere counts as assumed, so that the count is never too low."""
    if not source:
        return "no source"
    if "assumed" in source.lower():
        return "assumed"
    if source == BY_USER:
        return BY_USER
    return "literature" if source.startswith(("row ", "10.")) else "stated"


def _dose(config: Mapping[str, Any], info: Mapping[str, Any]) -> str:
    protocol, body, particle = config["protocol"], config["body"], config["nanoparticle"]
    given = f"{number(float(info['dose_particles']))} nanoparticles"
    if "particles" not in protocol["dose"]:
        counted = "" if protocol["dose"].endswith("Bq") else f", counted as {protocol['dose_of']}"
        given += f" ({quantity(protocol['dose'])}{counted})"
    drug = f", carrying {config['drug']['name']}," if config.get("drug") else ""
    times = [span(internal(time)) for time in protocol["times"]]
    lasting = internal(protocol["infusion"])
    how = f"infused over {span(lasting)}" if lasting else "injected at once"
    way = "into a vein" if protocol["route"] == "intravenous" else f"({protocol['route']})"
    when = "" if len(times) == 1 and internal(protocol["times"][0]) == 0 else f" at {', '.join(times)}"
    return (
        f"{given} of {quantity(particle['hydrodynamic_diameter'])}{drug} are {how} {way}{when}, into a body of "
        f"{number(internal(body['mass']))} g with {number(internal(body['plasma_volume']) * 1e-12)} mL of plasma. "
        f"They are followed for {span(internal(protocol['duration']))}."
    )


def _tissue(config: Mapping[str, Any], info: Mapping[str, Any]) -> str:
    tissue, patches = config["tissue"], info["patches"]
    site_um = internal(config["lattice"]["site"])
    box = " × ".join(f"{edge * site_um:g}" for edge in reversed(info["sites"]))
    vessels = _TISSUES.get(tissue["kind"], tissue["kind"].replace("_", " "))
    of_wall = info["morphometry"].get("vessel_surface_mm2_per_mm3")
    wall = f" ({number(of_wall)} mm² of vessel wall per mm³)" if of_wall else ""
    piece, whole = _PIECES.get(tissue["kind"], ("tumour", "a tumour"))
    whole += f" of {number(info['tumor_mass_g'])} g"
    named = ", ".join(f"{number(patch['copies'])} × {patch['name']}" for patch in patches)
    stands = f"{number(patches[0]['copies'])} copies of it make up" if len(patches) == 1 else f"Its patches make up ({named})"
    return f"The tissue is a piece of {piece} of {box} µm with {vessels}{wall}. {stands} {whole}."


def _mechanisms(config: Mapping[str, Any]) -> str:
    on = [section["kind"] for section in config["processes"].values() if section.get("enabled", True)]
    words = [_PROCESSES.get(kind, kind.replace("_", " ")) for kind in on]
    missing = [key.replace("_", " ") for key, section in config["processes"].items() if not section.get("enabled", True)]
    without = f" Switched off: {', '.join(missing)}." if missing else ""
    return f"The model has {'; '.join(words)}.{without}"


def _counting(info: Mapping[str, Any]) -> str:
    if info["number"] == "stochastic":
        return f"Particles are whole numbers and every move is drawn at random ({info['number_why']})."
    return f"Particles are real amounts, the mean of many random runs ({info['number_why']})."


def _by_pattern(key: str, meanings: Mapping[str, str]) -> str:
    """The meaning of a key inside a mapping, declared with NAME: `nanoparticle.uptake.NAME.clearance`."""
    parts = key.split(".")
    patterns = (".".join([*parts[:i], "NAME", *parts[i + 1 :]]) for i in range(1, len(parts)))
    return next((meanings[pattern] for pattern in patterns if pattern in meanings), "")


def _is_number(value: Any) -> bool:
    try:
        split_quantity(value)
    except ValueError:
        return False
    return True


def _is_used(key: str, config: Mapping[str, Any]) -> bool:
    parts = key.split(".")
    return parts[0] != "processes" or bool(config["processes"][parts[1]].get("enabled", True))
