"""The sections of a configuration that are not a tissue's, a process's or a nanoparticle's own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tme_sim.config.schema import Section
from tme_sim.config.units import Dose
from tme_sim.state.boundaries import Boundaries
from tme_sim.state.damage import DrugEffect
from tme_sim.state.errors import InputError
from tme_sim.state.fluorescence import Fluorescence
from tme_sim.state.parameters import parameter
from tme_sim.state.substance import Nanoparticle, SmallMolecule


@dataclass(frozen=True, kw_only=True)
class LatticeSettings:
    """The box and its mesh."""

    size_um: float = parameter("edge of the box", above=0, at_most=20000)
    site_um: float = parameter("edge of a site, which holds one cell", at_least=5, at_most=50)
    refinement: int = parameter("voxels per site edge", at_least=1, at_most=3)
    boundaries: Boundaries = parameter("what carriers find behind the box's faces")


@dataclass(frozen=True, kw_only=True)
class Cells:
    """How many cells of which kind the tissue holds."""

    density_per_um3: float = parameter("cells per tumour volume outside vessels", above=0, at_most=0.01)
    volume_um3: float = parameter("volume of one cell", above=50, at_most=20000)
    macrophage_fraction: float = parameter("share of the cells that are tumour-associated macrophages", at_least=0, at_most=1)


@dataclass(frozen=True, kw_only=True)
class BodySettings:
    """The animal or patient."""

    mass_g: float = parameter("body mass", above=1, at_most=3e5)
    plasma_volume_um3: float = parameter("plasma volume", above=1e9, at_most=1e17)
    blood_volume_um3: float = parameter("volume of plasma and blood cells", above=1e9, at_most=1e17)
    liver_mass_g: float = parameter("liver mass", above=0)
    spleen_mass_g: float = parameter("spleen mass", above=0)
    kupffer_cells: float = parameter("number of Kupffer cells", above=0, at_most=1e13)
    neutrophils_per_um3: float = parameter("neutrophils per volume of blood", above=0, at_most=1)
    monocytes_per_um3: float = parameter("monocytes per volume of blood", above=0, at_most=1)
    glomerular_filtration_um3_per_s: float = parameter("plasma volume that the kidneys filter per time", at_least=0)


@dataclass(frozen=True, kw_only=True)
class Drug:
    """The payload: what is released is counted, and moves by itself where the process `drug` is in the run."""

    name: str = parameter("name of the drug")
    molar_mass_g_per_mol: float = parameter("molar mass", above=10)
    transport: SmallMolecule | None = parameter("how it moves once released; null: not known", default=None)
    effect: DrugEffect | None = parameter("how it kills cells; null: not known", default=None)
    fluorescence: Fluorescence | None = parameter("its own fluorescence; null: none", default=None)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How the dose is given and how long the run lasts."""

    route: Literal["intravenous", "interstitial"] = parameter(
        "route of administration; interstitial: into tissue, from where `lymph` drains it"
    )
    dose: Dose = parameter("amount with its unit: particles, mass, mass per body mass, or activity")
    dose_of: Literal["particle", "drug", "iron", "gadolinium", "polymer", "activity"] = parameter(
        "what a mass dose is the mass of; activity where the dose is one"
    )
    times_s: tuple[float, ...] = parameter("times at which doses are given", at_least=0)
    infusion_s: float = parameter("duration of each infusion; 0: bolus", at_least=0)
    duration_s: float = parameter("time that the run covers", above=0)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is taken down, and how often. Not part of the configuration's hash."""

    interval_s: float = parameter("time between two records", above=0)
    level: Literal["summary", "series", "full"] = parameter(
        "summary only, with time series, or with frames of all fields and agents"
    )


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """How often the whole state is saved. Not part of the configuration's hash."""

    wall_interval_s: float = parameter("wall time between two checkpoints", at_least=1)


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole configuration: one tissue, one nanoparticle, a body, a protocol and the processes in their order."""

    name: str = parameter("name of the run; the folder under runs/")
    seed: int = parameter("seed of every random draw", at_least=0, below=2**63)
    replicates: int = parameter("runs that differ in their seed only (sweeps)", at_least=1, at_most=100_000)
    number: Literal["auto", "stochastic", "continuum"] = parameter("integer counts, real amounts, or by expected occupancy")
    integrator: Literal["auto", "explicit", "rkl2"] = parameter(
        "time integrator of continuum transport: explicit steps, super-time-stepping, or whichever takes fewer evaluations"
    )
    step_s: float = parameter("time step; every interval is a multiple of it", above=0, at_most=3600)
    variant: Literal["small", "full"] = parameter("the small variant of an experiment, or the full one")
    report: bool = parameter("whether a report is written")
    lattice: LatticeSettings = parameter("box and mesh")
    tissue: Section = parameter("tissue", kind_of="tissue")
    cells: Cells = parameter("cells")
    nanoparticle: Nanoparticle = parameter("the nanoparticle's card")
    drug: Drug | None = parameter("payload; null: none")
    body: BodySettings = parameter("body")
    protocol: Protocol = parameter("protocol")
    processes: dict[str, Section] = parameter("mechanisms, in the order of splitting", kind_of="process")
    readouts: dict[str, Section] = parameter("instruments", kind_of="readout")
    record: Record = parameter("recording")
    checkpoint: Checkpoint = parameter("checkpoints")

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][\w-]{0,63}", self.name, re.ASCII):  # it becomes a folder, on any system
            raise InputError("name", self.name, "up to 64 letters, digits, _ and -, the first a letter or digit")


NOT_HASHED = ("record", "checkpoint", "report", "name", "variant", "replicates")
"""Keys that change what is kept, not what happens."""
