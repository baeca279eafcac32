"""What `given` fields ask for: values of other sections, and those that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.config.dosing import MASS_KEYS, dosing
from tme_sim.config.load import conf_dirs
from tme_sim.config.safety import read_checked
from tme_sim.config.schema import Section
from tme_sim.config.settings import Config
from tme_sim.files.tables import read_plasma_curve
from tme_sim.state.cells import Space
from tme_sim.state.clearance import renal_passage, size_classes_um
from tme_sim.state.contrast import ContrastAgent
from tme_sim.state.damage import DrugEffect
from tme_sim.state.errors import InputError
from tme_sim.state.fluorescence import Fluorescence
from tme_sim.state.label import Label
from tme_sim.state.pores import Filtration, driving_pressure_mmHg, sphere_radius_um
from tme_sim.state.substance import (
    Nanoparticle,
    SmallMolecule,
    accessible_share,
    contrast_agent,
    diameter_in_blood_um,
    drug_per_particle_amol,
    interstitial_diffusivity_um2_per_s,
    particle_mass_g,
)
from tme_sim.state.variables import PHAGOCYTES

CLEARANCE_KEYS = {
    "compartments": (
        *("model", "kupffer", "kupffer_maximum_per_s", "kupffer_half_saturation_per_um3", "sinks_per_s"),
        *("opsonised_affinity", "opsonisation_time_s", "repeat_acceleration", "repeat_delay_s"),
    ),
    "biexponential": ("model", "fast_fraction", "fast_half_life_s", "slow_half_life_s"),
    "curve": ("model", "curve"),
}
"""Of a card's clearance, what each model reads; `clearance_keys` adds what its other choices do."""


PHASED = ("cell_cycle", "cell_death", "effect_drug", "effect_radiation", "effect_heat")
"""Processes that give tumour cells phases."""
MOVING_CELLS = ("cell_cycle", "cell_death", "macrophages")
"""Processes that change which sites cells fill."""


class Context:
    """Looks up what `given` fields ask for, and remembers it, so that a key nobody read can be named."""

    def __init__(self, config: Config, data: Path | None) -> None:
        self.config, self.data = config, data
        self.read: set[str] = set()
        self._made: dict[str, Callable[[], Any]] = {
            "dose.particles": self._dose,
            "diameter_in_blood_um": self.diameter_in_blood_um,
            "size_classes_um": self._size_classes,
            "tissue_diffusivity": self._diffusivity,
            "clearance_curve": self._curve,
            "cell_kinds": self.cell_kinds,
            "carrying_kinds": self.carrying_kinds,
            "accessible_share": self.accessible_share,
            "cell_space": self.cell_space,
            "phased_kinds": lambda: ("tumor_cells",) if self._any_enabled(PHASED) else (),
            "cells_change_space": lambda: self._any_enabled(MOVING_CELLS),
            "m2_uptake": self._m2_uptake,
            "carrier_pools": lambda: tuple(self.carrier_pools),
            "gap_length_um": self._gap_length,
            "carrier_integrator": lambda: self.config.integrator,
            "has_interstitial_flow": lambda: self._enabled("interstitial_flow") is not None or self._flows_as_lymph(),
            "heat_pulse_times_s": self._pulse_times,
            "iron_per_particle_g": self._iron_per_particle,
            "particle_mass_g": self._particle_mass,
            "label": self._label,
            "drug_effect": self._drug_effect,
            "filtration": self._filtration,
            "small_molecule": self._small_molecule,
            "drug_name": self._drug_name,
            "drug_fluorescence": self._drug_fluorescence,
            "contrast_agent": self._contrast_agent,
            "drug_per_particle_amol": self._drug_per_particle,
        }
        self.carrier_pools: list[str] = []

    def __call__(self, path: str) -> Any:
        """The value at a path of the configuration, of something derived from it, or of has_KIND: is there such a process."""
        if path in self._made:
            return self._made[path]()
        if path.startswith("has_"):
            return self._enabled(path.removeprefix("has_")) is not None
        self.read |= self._keys_behind(path)
        value: Any = self.config
        for name in path.split("."):
            value = value.values[name] if isinstance(value, Section) else getattr(value, name)
        return value

    def _keys_behind(self, path: str) -> set[str]:
        """What is read with a path: itself, but of a clearance only what its model uses."""
        if path == "nanoparticle.clearance":
            return {f"{path}.{key}" for key in clearance_keys(self.config.nanoparticle)}
        return {path}

    def _dose(self) -> float:
        return dosing(self.config, self.read).particles

    def diameter_in_blood_um(self) -> float:
        """Hydrodynamic diameter with its corona."""
        self.read |= {"nanoparticle.hydrodynamic_diameter_um", "nanoparticle.corona_shift_um"}
        return diameter_in_blood_um(self.config.nanoparticle)

    def _size_classes(self) -> tuple[float, ...]:
        """Mean diameter of each class of size."""
        self.read.add("nanoparticle.polydispersity_index")
        return size_classes_um(self.diameter_in_blood_um(), self.config.nanoparticle.polydispersity_index)

    def _diffusivity(self) -> float:
        measured = self("nanoparticle.diffusivity_um2_per_s")
        if measured is not None:
            return float(measured)
        return interstitial_diffusivity_um2_per_s(self.diameter_in_blood_um() / 2, self("tissue.matrix"))

    def accessible_share(self) -> float:
        """Share of the extracellular space that the particle can reach."""
        measured = self("nanoparticle.accessible_share")
        if measured is not None:
            return float(measured)
        return accessible_share(self.diameter_in_blood_um() / 2, self("tissue.matrix"))

    def cell_space(self) -> Space:
        """What a site loses to its cell."""
        self.read.add("cells.volume_um3")
        return Space(self.config.cells.volume_um3, self.accessible_share())

    def cell_kinds(self) -> tuple[str, ...]:
        """Populations that the tissue may hold."""
        patches = self.config.tissue.values.get("patches", {}).values()
        given = [patch.macrophage_fraction for patch in patches if patch.macrophage_fraction is not None]
        fractions = given + ([self("cells.macrophage_fraction")] if len(given) < max(1, len(patches)) else [])
        present = {"macrophages": max(fractions) > 0 or self.has_phagocytes, "tumor_cells": min(fractions) < 1}
        return tuple(kind for kind, is_present in present.items() if is_present)

    def carrying_kinds(self) -> tuple[str, ...]:
        """Populations of cells that may hold carriers: those that live in the tissue, and phagocytes from blood."""
        return self.cell_kinds() + (PHAGOCYTES if self.has_phagocytes else ())

    @property
    def has_phagocytes(self) -> bool:
        """Whether phagocytes may come out of the blood."""
        return self._any_enabled(("phagocytes", "migration"))

    def _any_enabled(self, kinds: tuple[str, ...]) -> bool:
        return any(self._enabled(kind) is not None for kind in kinds)

    def _m2_uptake(self) -> float | None:
        """What polarisation makes of a macrophage's clearance; None where nothing polarises it."""
        section = self._enabled("macrophages")
        return None if section is None else float(section.values["m2_uptake"])

    def _flows_as_lymph(self) -> bool:
        """Whether lymph carries particles through a node."""
        with_lymph = self._enabled("lymph") is not None and self.config.protocol.route == "interstitial"
        return with_lymph and self.config.tissue.kind == "lymph_node"

    def _gap_length(self) -> float | None:
        """Length of the gaps through the wall; None without gaps."""
        section = self._enabled("gaps")
        return None if section is None else float(section.values["wall_length_um"])

    def _filtration(self) -> Filtration | None:
        """What drives fluid through a gap, the same for what it carries as for the flow; None without interstitial_flow."""
        section = self._enabled("interstitial_flow")
        if section is None:
            return None
        names = ("vessel_pressure_mmHg", "vessel_oncotic_pressure_mmHg", "tissue_oncotic_pressure_mmHg", "oncotic_reflection")
        driving = driving_pressure_mmHg(*(float(section.values[name]) for name in names))
        return Filtration(
            driving,
            float(self("tissue.matrix").hydraulic_conductivity_um2_per_mmHg_s),
            float(section.values["wall_conductivity_um_per_mmHg_s"]),
            float(section.values["edge_pressure_mmHg"]),
            sphere_radius_um(self("tissue.tumor_mass_g"), self("tissue.density_g_per_mL")),
        )

    def _pulse_times(self) -> tuple[float, ...]:
        """Start and duration of every pulse of heat."""
        section = self._enabled("heat")
        return () if section is None else tuple(time for p in section.values["pulses"] for time in (p.start_s, p.duration_s))

    def _iron_per_particle(self) -> float:
        """Mass of iron in a particle where it is heated by it; else 0."""
        section = self._enabled("heat")
        if section is None or section.values["magnetic"] is None:
            return 0.0
        self.read |= {f"nanoparticle.{key}" for key in (*MASS_KEYS, "iron_fraction")}
        return particle_mass_g(self.config.nanoparticle) * self.config.nanoparticle.iron_fraction

    def _particle_mass(self) -> float:
        """Mass of a particle where a beam's effect depends on it; else 0."""
        section = self._enabled("effect_radiation")
        if section is None or (section.values["enhancer"] is None and section.values["sensitiser"] is None):
            return 0.0
        self.read |= {f"nanoparticle.{key}" for key in MASS_KEYS}
        return particle_mass_g(self.config.nanoparticle)

    def _label(self) -> Label:
        self.read.add("nanoparticle.label")
        if self.config.nanoparticle.label is None:
            told = "must be on this nanoparticle's card; labels and decays need it"
            raise InputError("nanoparticle.label", None, told)
        return self.config.nanoparticle.label

    def _contrast_agent(self) -> ContrastAgent:
        contrast = self.config.nanoparticle.contrast
        if contrast is None:
            told = f"MRI needs it on the card; nanoparticle=NAME with one of {_with('nanoparticle', 'contrast')}"
            raise InputError("nanoparticle.contrast", None, told)
        mass = () if contrast.atoms else (*MASS_KEYS, f"{contrast.metal}_fraction")
        self.read |= {f"nanoparticle.{key}" for key in ("contrast", "core_diameter_um", *mass)}
        return contrast_agent(self.config.nanoparticle, contrast)

    def _drug_effect(self) -> DrugEffect:
        self.read.add("drug.effect")
        if self.config.drug is None or self.config.drug.effect is None:
            told = f"needs a drug whose card says how it kills cells; drug=NAME with one of {_with('drug', 'effect')}"
            raise InputError("drug.effect", None, told)
        return self.config.drug.effect

    def _small_molecule(self) -> SmallMolecule:
        self.read.add("drug.transport")
        if self.config.drug is None or self.config.drug.transport is None:
            told = f"needs a drug whose card says how it moves; drug=NAME with one of {_with('drug', 'transport')}"
            raise InputError("drug.transport", None, told)
        return self.config.drug.transport

    def _drug_name(self) -> str:
        self.read.add("drug.name")
        return "drug" if self.config.drug is None else self.config.drug.name

    def _drug_fluorescence(self) -> Fluorescence | None:
        """What makes the drug glow; None without a drug or where its card does not say."""
        if self.config.drug is None:
            return None
        self.read.add("drug.fluorescence")
        return self.config.drug.fluorescence

    def _drug_per_particle(self) -> float | None:
        """What a particle releases, where the process `drug` takes it; else None."""
        if self._enabled("drug") is None or self.config.drug is None:
            return None
        self.read |= {f"nanoparticle.{key}" for key in MASS_KEYS} | {"drug.molar_mass_g_per_mol"}
        return drug_per_particle_amol(self.config.nanoparticle, self.config.drug.molar_mass_g_per_mol)

    def _enabled(self, kind: str) -> Section | None:
        """The section of the process of this kind, if the run has one."""
        return next((s for s in self.config.processes.values() if s.enabled and s.kind == kind), None)

    def _curve(self) -> NDArray[np.float64] | None:
        clearance = self.config.nanoparticle.clearance
        self.read |= self._keys_behind("nanoparticle.clearance")
        if clearance.model != "curve":
            return None
        if clearance.curve is None:
            raise InputError("nanoparticle.clearance.curve", None, "must name a CSV file with columns time_h and percent_id")
        curve = read_plasma_curve(Path(clearance.curve), self.data)
        if curve[0, -1] < self.config.protocol.duration_s:
            raise InputError(
                "nanoparticle.clearance.curve", clearance.curve, f"ends at {curve[0, -1] / 3600:g} h, before protocol.duration"
            )
        return curve


def _with(group: str, section: str) -> str:
    """Names of a group's cards that have a section of their own."""
    cards = {path.stem: path for folder in reversed(conf_dirs()) for path in (folder / group).glob("*.yaml")}
    return ", ".join(sorted(name for name, path in cards.items() if section in read_checked(path).content))


def clearance_keys(particle: Nanoparticle) -> tuple[str, ...]:
    """What the circulation reads of this card's clearance."""
    c, spread = particle.clearance, particle.polydispersity_index
    if c.model != "compartments":
        return CLEARANCE_KEYS[c.model]
    smallest_um = size_classes_um(diameter_in_blood_um(particle), spread)[0]
    more = {
        "kupffer_capacity": c.kupffer == "capacity",
        "size_exponent": spread > 0,
        "renal_sieving": renal_passage(smallest_um) > 0,
    }
    return (*CLEARANCE_KEYS[c.model], *(key for key, is_read in more.items() if is_read))
