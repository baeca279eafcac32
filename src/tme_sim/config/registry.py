"""Kinds by name → the classes that implement them, and how their `given` fields are filled."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

KINDS: dict[str, dict[str, str]] = {
    "tissue": {
        "vascular_tree": "tme_sim.tissues.vascular_tree:VascularTree",
        "from_image": "tme_sim.tissues.from_image:FromImage",
        "liver": "tme_sim.tissues.liver:Liver",
        "lymph_node": "tme_sim.tissues.lymph_node:LymphNode",
    },
    "process": {
        "circulation": "tme_sim.processes.circulation:Circulation",
        "perfusion": "tme_sim.processes.perfusion:Perfusion",
        "interstitial_flow": "tme_sim.processes.interstitial_flow:InterstitialFlow",
        "oxygen": "tme_sim.processes.oxygen:Oxygen",
        "acidity": "tme_sim.processes.acidity:Acidity",
        "heat": "tme_sim.processes.heat:Heat",
        "cell_cycle": "tme_sim.processes.cell_cycle:CellCycle",
        "cell_death": "tme_sim.processes.cell_death:CellDeath",
        "gaps": "tme_sim.processes.gaps:Gaps",
        "bursts": "tme_sim.processes.bursts:Bursts",
        "transcytosis": "tme_sim.processes.transcytosis:Transcytosis",
        "phagocytes": "tme_sim.processes.phagocytes:Phagocytes",
        "migration": "tme_sim.processes.migration:Migration",
        "macrophages": "tme_sim.processes.macrophages:Macrophages",
        "t_cells": "tme_sim.processes.t_cells:TCells",
        "lymph": "tme_sim.processes.lymph:Lymph",
        "transport": "tme_sim.processes.transport:Transport",
        "binding": "tme_sim.processes.binding:Binding",
        "uptake": "tme_sim.processes.uptake:Uptake",
        "release": "tme_sim.processes.release:Release",
        "drug": "tme_sim.processes.drug:Drug",
        "labels": "tme_sim.processes.labels:Labels",
        "decays": "tme_sim.processes.decays:Decays",
        "effect_drug": "tme_sim.processes.effect_drug:EffectDrug",
        "effect_radiation": "tme_sim.processes.effect_radiation:EffectRadiation",
        "effect_heat": "tme_sim.processes.effect_heat:EffectHeat",
    },
    "readout": {
        "mri_r2star": "tme_sim.imaging.gradient_echo:MultiEcho",
        "mri_t1": "tme_sim.imaging.gradient_echo:FlipAngles",
        "mri_spin_echo": "tme_sim.imaging.bloch_torrey:SpinEcho",
        "microscopy": "tme_sim.imaging.microscopy:Microscopy",
        "histology": "tme_sim.imaging.histology:Histology",
        "pet": "tme_sim.imaging.pet:Pet",
        "reflectance": "tme_sim.imaging.reflectance:Reflectance",
        "fmt": "tme_sim.imaging.tomography:Tomography",
    },
}
"""An extension module adds its own entries (`--extension`)."""

T = TypeVar("T")


def known(kind_of: str) -> list[str]:
    """Names of the registered kinds."""
    return list(KINDS[kind_of])


def resolve(kind_of: str, kind: str) -> type:
    """The class behind a registered kind."""
    module, name = KINDS[kind_of][kind].split(":")
    found: type = getattr(importlib.import_module(module), name)
    return found


def given_paths(cls: type) -> dict[str, str]:
    """Field → path in the configuration, for the fields that are filled from elsewhere."""
    return {f.name: f.metadata["given"] for f in fields(cls) if "given" in f.metadata}


def construct(cls: type[T], values: Mapping[str, Any], look_up: Any) -> T:
    """An instance of a tissue or process: its own parameters, and its given fields through `look_up(path)`."""
    return cls(**values, **{name: look_up(path) for name, path in given_paths(cls).items()})


def is_within(path: str, read: str) -> bool:
    """Whether reading `read` reads `path`: the same key, or one of its parents or children."""
    return path == read or path.startswith(read + ".") or read.startswith(path + ".")
