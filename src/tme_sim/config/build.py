"""From a validated configuration to State(0) and its processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.config.registry import construct, given_paths, is_within
from tme_sim.config.schema import Section, dump
from tme_sim.config.settings import Config
from tme_sim.config.units import format_dose, format_quantity
from tme_sim.files.tables import read_plasma_curve
from tme_sim.numerics.random import stream_key
from tme_sim.processes.base import Process
from tme_sim.simulation import ticks
from tme_sim.state.body import Body
from tme_sim.state.errors import InputError, InputErrors
from tme_sim.state.ledger import Ledger
from tme_sim.state.parameters import split_unit
from tme_sim.state.population import Population
from tme_sim.state.state import NumberMode, State, flatten
from tme_sim.state.substance import accessible_share, interstitial_diffusivity_um2_per_s, particle_mass_g
from tme_sim.state.vessels import Vessels
from tme_sim.tissues.base import Geometry, Tissue

STOCHASTIC_UP_TO = 100.0
"""Expected carriers per voxel up to which `number: auto` takes integers (numerics.md, methods 3)."""
LARGEST_STOCHASTIC = 1e7
"""Above this a voxel's int32 could overflow; the number type is refused."""
LARGEST_LUMEN = 0.95
"""A voxel that holds wall keeps some tissue beside it, so that what crosses the wall has somewhere to be."""
ALWAYS_READ = (
    *("name", "seed", "replicates", "number", "step", "variant", "report", "record", "checkpoint"),
    *("protocol.route", "protocol.dose", "protocol.times", "protocol.infusion", "protocol.duration"),
    *("cells.volume", "body.plasma_volume", "body.liver_mass", "body.spleen_mass"),
)
"""Keys that every run reads, whatever its tissue and processes."""
MASS_KEYS = ("core_diameter_um", "density_g_per_mL", "drug_fraction")
"""Of a card, what the mass of a particle and of its drug follow from."""
CLEARANCE_KEYS = {
    "compartments": ("model", "kupffer_maximum_per_s", "kupffer_half_saturation_per_um3", "sinks_per_s"),
    "biexponential": ("model", "fast_fraction", "fast_half_life_s", "slow_half_life_s"),
    "curve": ("model", "curve"),
}
"""Of a card's clearance, what each model reads."""
WHY_UNREAD = {
    "integrator": "counts move by hops, only number=continuum integrates",
    "protocol.dose_of": "a dose in particles is of particles",
    "body.mass": "only a dose per kg of body depends on it",
    "lattice.size": "the size of the box comes from the images",
    "cells.density": "with tissue.nuclei the cells follow the stain; tissue.occupied_sites says how many",
}
"""Why nothing reads a key, where that may surprise."""
PROVIDERS = {
    "body.plasma": "circulation",
    "fields.nanoparticle": "gaps or transcytosis",
    "fields.oxygen_mmHg": "oxygen",
    "fields.pH": "acidity",
    "fields.interstitial_velocity_um_per_s": "interstitial_flow",
}
"""What processes of ours make that others cannot do without."""

Random = Callable[[str], np.random.Generator]


@dataclass(frozen=True)
class Built:
    """What a run starts from. `number_why` says how the number type was chosen; `occupancy` is carriers per voxel expected."""

    state: State
    processes: dict[str, Process]
    geometry: Geometry
    dose: float
    number_why: str
    occupancy: float
    tumor_mass_g: float


class Context:
    """Looks up what `given` fields ask for, and remembers it, so that a key nobody read can be named."""

    def __init__(self, config: Config, data: Path | None) -> None:
        self.config, self.data = config, data
        self.read: set[str] = set()
        self._made: dict[str, Callable[[], Any]] = {
            "dose.particles": self._dose,
            "tissue_diffusivity": self._diffusivity,
            "clearance_curve": self._curve,
            "cell_kinds": self.cell_kinds,
            "carrier_pools": lambda: tuple(self.carrier_pools),
            "gap_length_um": self._gap_length,
        }
        self.carrier_pools: list[str] = []

    def __call__(self, path: str) -> Any:
        """The value at a path of the configuration, or of something derived from it."""
        if path in self._made:
            return self._made[path]()
        self.read |= self._keys_behind(path)
        value: Any = self.config
        for name in path.split("."):
            value = value.values[name] if isinstance(value, Section) else getattr(value, name)
        return value

    def _keys_behind(self, path: str) -> set[str]:
        """What is read with a path: itself, but of a clearance only what its model uses."""
        if path == "nanoparticle.clearance":
            return {f"{path}.{key}" for key in CLEARANCE_KEYS[self.config.nanoparticle.clearance.model]}
        return {path}

    def _dose(self) -> float:
        return dose_in_particles(self.config, self.read)

    def _diffusivity(self) -> float:
        measured = self("nanoparticle.diffusivity_um2_per_s")
        if measured is not None:
            return float(measured)
        return interstitial_diffusivity_um2_per_s(self("nanoparticle.hydrodynamic_diameter_um") / 2, self("tissue.matrix"))

    def accessible_share(self) -> float:
        """Share of the extracellular space that the particle can reach."""
        measured = self("nanoparticle.accessible_share")
        if measured is not None:
            return float(measured)
        return accessible_share(self("nanoparticle.hydrodynamic_diameter_um") / 2, self("tissue.matrix"))

    def cell_kinds(self) -> tuple[str, ...]:
        """Populations that the tissue may hold."""
        patches = self.config.tissue.values.get("patches", {}).values()
        given = [patch.macrophage_fraction for patch in patches if patch.macrophage_fraction is not None]
        fractions = given + ([self("cells.macrophage_fraction")] if len(given) < max(1, len(patches)) else [])
        present = {"macrophages": max(fractions) > 0, "tumor_cells": min(fractions) < 1}
        return tuple(kind for kind, is_present in present.items() if is_present)

    def _gap_length(self) -> float | None:
        """Length of the gaps through the wall; None without gaps."""
        sections = (s for s in self.config.processes.values() if s.enabled and s.kind == "gaps")
        return next((float(section.values["wall_length_um"]) for section in sections), None)

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


def dose_in_particles(config: Config, read: set[str]) -> float:
    """N = dose · body mass / (loading · particle mass); every dose of the protocol has this many."""
    read |= {"protocol.dose", "nanoparticle.hydrodynamic_diameter_um"}
    dose, particle = config.protocol.dose, config.nanoparticle
    if dose.basis == "particles":
        number = dose.value
    elif dose.basis == "activity":
        raise InputError(
            "protocol.dose", format_dose(dose), "this nanoparticle has no radioactive label; give particles or a mass"
        )
    else:
        read |= {"protocol.dose_of", *(["body.mass_g"] if dose.basis == "mass_per_kg" else [])}
        read |= {f"nanoparticle.{key}" for key in MASS_KEYS}
        if config.protocol.dose_of == "drug" and config.drug is None:
            raise InputError("protocol.dose_of", "drug", "this run has no drug; choose one with drug=NAME, or dose_of=particle")
        loading = 1.0 if config.protocol.dose_of == "particle" else particle.drug_fraction
        if loading == 0:
            raise InputError("protocol.dose_of", "drug", "needs nanoparticle.drug_fraction above 0; or dose_of particle")
        mass_g = (
            dose.value
            * (config.body.mass_g if dose.basis == "mass_per_kg" else 1.0)
            / (1e3 if dose.basis == "mass_per_kg" else 1.0)
        )
        number = mass_g / (loading * particle_mass_g(particle))
    if not 1 <= number <= 1e16:
        raise InputError("protocol.dose", format_dose(dose), f"is {number:.3g} particles; must be between 1 and 1e16")
    return float(round(number))


def build(config: Config, data: Path | None = None, user_set: tuple[str, ...] = ()) -> Built:
    """State(0) and the processes in their order. Raises InputError(s); `user_set` are the keys given on the command line."""
    context = Context(config, data)

    def random(purpose: str) -> np.random.Generator:
        return np.random.default_rng(stream_key(config.seed, "build", purpose))

    enabled = {name: section for name, section in config.processes.items() if section.enabled}
    errors: list[InputError] = []
    for check in (
        lambda: _check_times(config),
        lambda: _check_kinds(config, context, enabled),
        lambda: context("dose.particles"),
    ):
        with _collected(errors):
            check()
    processes = _construct_processes({name: s for name, s in enabled.items() if s.kind != "release"}, context, errors)
    with _collected(errors):
        tissue: Tissue = construct(config.tissue.cls, config.tissue.values, context)
        geometry = with_copies(_build_tissue(tissue, config.tissue, random("tissue"), data), tissue)
    if errors:
        raise InputErrors(errors)
    tumor_mass_g = float(np.dot(geometry.lattice.copies, patch_masses_g(geometry, tissue.density_g_per_mL)))
    number: NumberMode = "continuum"
    state = _tissue_state(config, geometry, number, context)
    dose: float = context("dose.particles")
    occupancy = expected_occupancy(state, processes, dose, config)
    number, why = choose_number(config, occupancy)
    state = replace(state, number=number)
    state.ledger = Ledger.empty(len(geometry.lattice.patches), state.total_dtype)
    _seed_cells(state, config, geometry, context, random)
    for name, process in processes.items():
        process.prepare(state, lambda purpose, name=name: random(f"{name} {purpose}"))  # type: ignore[misc]
    context.carrier_pools = _carrier_pools(state)  # release acts in all of them, so it comes last
    processes |= _construct_processes({name: s for name, s in enabled.items() if s.kind == "release"}, context, errors)
    processes = {name: processes[name] for name in enabled}
    _check_needs(state, processes)
    if number == "continuum" and any(section.kind == "transport" for section in enabled.values()):
        context.read.add("integrator")
    if config.drug is not None:  # the summary tells the mass of drug that was released
        context.read |= {f"nanoparticle.{key}" for key in MASS_KEYS}
    _refuse_unread(context, enabled, user_set)
    return Built(state, processes, geometry, dose, why, occupancy, tumor_mass_g)


@contextmanager
def _collected(errors: list[InputError]) -> Iterator[None]:
    """Keep the errors of one check, so that those of the next are told with them."""
    try:
        yield
    except InputErrors as several:
        errors += several.errors
    except InputError as error:
        errors.append(error)


def _construct_processes(sections: dict[str, Section], context: Context, errors: list[InputError]) -> dict[str, Process]:
    """Processes by name; what is wrong with any of their parameters goes to `errors`."""
    made: dict[str, Process] = {}
    for name, section in sections.items():
        for path in given_paths(section.cls).values():
            with _collected(errors):
                context(path)
        with _collected(errors):
            made[name] = construct(section.cls, section.values, context)
    return made


def _build_tissue(tissue: Tissue, section: Section, random: np.random.Generator, data: Path | None) -> Geometry:
    """The tissue's geometry; what its numerics refuse by their own names is told by the user's key and spelling."""
    try:
        return tissue.build(random, data)
    except InputError as error:
        names = [name for name in section.values if name == error.field or name.endswith(f"_{error.field}")]
        if "." in error.field or not names:
            raise
        key = split_unit(names[0])[0]
        raise InputError(f"tissue.{key}", dump(section)[key], error.allowed) from None


def with_copies(geometry: Geometry, tissue: Tissue) -> Geometry:
    """Give every patch as many copies as make up its share of the tumour's mass; at least one."""
    patches = []
    for patch, mass_g in zip(geometry.lattice.patches, patch_masses_g(geometry, tissue.density_g_per_mL), strict=True):
        copies = round(tissue.tumor_mass_g * patch.mass_share / mass_g)
        if copies < 1:
            least = f"must be at least {mass_g / patch.mass_share:.3g} g, which the patch {patch.name} on the lattice stands for"
            raise InputError("tissue.tumor_mass", format_quantity(tissue.tumor_mass_g, "g"), least)
        patches.append(replace(patch, copies=copies))
    return replace(geometry, lattice=replace(geometry.lattice, patches=tuple(patches)))


def patch_masses_g(geometry: Geometry, density_g_per_mL: float) -> list[float]:
    """Mass of the tumour tissue of one instance of each patch."""
    lattice = geometry.lattice
    return [float(geometry.inside[planes].sum() * lattice.voxel_um3 * 1e-12 * density_g_per_mL) for planes in lattice.planes]


def expected_occupancy(state: State, processes: dict[str, Process], dose: float, config: Config) -> float:
    """Carriers per voxel if plasma kept its first concentration and all that entered stayed: an upper bound."""
    entry = sum(process.entry_um3_per_s(state) for process in processes.values())
    doses = dose * len(config.protocol.times_s)
    return doses / config.body.plasma_volume_um3 * entry * config.protocol.duration_s / max(1, int(state.fields["inside"].sum()))


def choose_number(config: Config, occupancy: float) -> tuple[NumberMode, str]:
    """The carrier's number type and the reason in words."""
    if config.number == "stochastic" and occupancy > LARGEST_STOCHASTIC:
        raise InputError(
            "number",
            "stochastic",
            f"about {occupancy:.2g} particles per voxel are expected; at most {LARGEST_STOCHASTIC:.0e}, else continuum",
        )
    if config.number != "auto":
        return config.number, "as asked for"
    if occupancy <= STOCHASTIC_UP_TO:
        return (
            "stochastic",
            f"at most {occupancy:.2g} particles per voxel expected, up to {STOCHASTIC_UP_TO:g} are counted one by one",
        )
    return "continuum", f"up to {occupancy:.2g} particles per voxel expected, above {STOCHASTIC_UP_TO:g} real amounts are used"


def _tissue_state(config: Config, geometry: Geometry, number: NumberMode, context: Context) -> State:
    lattice = geometry.lattice
    state = State(lattice, number, _body(config), Ledger.empty(len(lattice.patches), np.float64))
    lumen = np.clip(geometry.lumen_fraction, 0, 1)
    lumen = np.where(geometry.surface_um2 > 0, np.minimum(lumen, LARGEST_LUMEN), lumen)
    state.fields |= {
        "lumen_fraction": lumen,
        "wall_surface_um2": geometry.surface_um2,
        "inside": geometry.inside.astype(np.float64),
        "cell_fraction": np.zeros(lattice.voxels),
        "accessible_fraction": (1 - lumen) * context.accessible_share(),
    }
    wall = np.where(geometry.inside, geometry.surface_um2, 0.0).ravel()
    voxel = np.flatnonzero(wall)
    state.vessels = Vessels(voxel, wall[voxel], graph=geometry.graph)
    return state


def _body(config: Config) -> Body:
    settings = config.body
    return Body(settings.plasma_volume_um3, settings.mass_g, {"liver": settings.liver_mass_g, "spleen": settings.spleen_mass_g})


def _seed_cells(state: State, config: Config, geometry: Geometry, context: Context, random: Random) -> None:
    """At most one cell per site, by the tissue outside vessels; its volume is taken from the extracellular space."""
    lattice, cells = state.lattice, config.cells
    if geometry.occupancy is None:
        context.read.add("cells.density_per_um3")
    share_of_site = cells.volume_um3 / lattice.site_um**3
    if share_of_site > 0.95:
        raise InputError(
            "lattice.site", f"{lattice.site_um:g} um", f"a cell of {cells.volume_um3:g} um^3 must fill at most 95 % of a site"
        )
    lumen = state.fields["lumen_fraction"]
    tissue = lattice.on_sites((1 - lumen) * geometry.inside)
    uniform = cells.density_per_um3 * lattice.site_um**3 * tissue
    chance = np.clip(uniform if geometry.occupancy is None else geometry.occupancy, 0, 1)
    generator = random("cells")
    site = np.flatnonzero(generator.random(lattice.n_sites) < chance.ravel()).astype(np.int64)
    fraction = (
        np.full(lattice.sites, cells.macrophage_fraction)
        if geometry.macrophage_fraction is None
        else geometry.macrophage_fraction
    )
    is_macrophage = generator.random(len(site)) < fraction.ravel()[site]
    for kind, members in (("macrophages", site[is_macrophage]), ("tumor_cells", site[~is_macrophage])):
        empty = {column: state.empty_cargo(len(members)) for column in ("cargo", "lysosome")}
        state.populations[kind] = Population({"site": members, **empty})
    occupied = np.zeros(lattice.n_sites, bool)
    occupied[site] = True
    per_voxel = np.repeat(
        np.repeat(np.repeat(occupied.reshape(lattice.sites), lattice.refinement, 0), lattice.refinement, 1), lattice.refinement, 2
    )
    state.fields["cell_fraction"] = per_voxel * share_of_site * (1 - lumen)
    extracellular = 1 - lumen - state.fields["cell_fraction"]
    state.fields["accessible_fraction"] = np.where(geometry.inside, extracellular * context.accessible_share(), 0.0)


def _carrier_pools(state: State) -> list[str]:
    fields = [f"fields.{name}" for name in ("nanoparticle", "bound") if name in state.fields]
    walls = ["vessels.endothelium"] if state.vessels and "endothelium" in state.vessels.arrays else []
    return fields + walls + [f"body.{name}" for name in state.body.pools]


def _check_times(config: Config) -> None:
    errors = []
    protocol = config.protocol
    times = {
        "protocol.duration": protocol.duration_s,
        "record.interval": config.record.interval_s,
        "protocol.infusion": protocol.infusion_s,
    }
    times |= {
        f"processes.{name}.interval": s.values["interval_s"] for name, s in config.processes.items() if s.values.get("interval_s")
    }
    times |= {f"protocol.times[{i}]": t for i, t in enumerate(protocol.times_s)}
    for field, time_s in times.items():
        try:
            if time_s:
                ticks(time_s, config.step_s, field)
        except InputError as error:
            errors.append(error)
    if not protocol.times_s or max(protocol.times_s) >= protocol.duration_s:
        times_h = ",".join(f"{time_s / 3600:g} h" for time_s in protocol.times_s)
        errors.append(InputError("protocol.times", times_h or "[]", "at least one dose, and every dose before protocol.duration"))
    if errors:
        raise InputErrors(errors)


def _check_kinds(config: Config, context: Context, enabled: dict[str, Section]) -> None:
    """Each kind once, for two would share their variables; and the card must know the cells that take it up."""
    kinds = [section.kind for section in enabled.values()]
    errors = [
        InputError(f"processes.{name}.kind", section.kind, "is there already; one process of a kind")
        for at, (name, section) in enumerate(enabled.items())
        if section.kind in kinds[:at]
    ]
    if "uptake" in kinds:
        told = "is missing; the tissue holds {} and the card must say how they take it up"
        missing = [kind for kind in context("cell_kinds") if kind not in config.nanoparticle.uptake]
        errors += [InputError(f"nanoparticle.uptake.{kind}", None, told.format(kind)) for kind in missing]
    if errors:
        raise InputErrors(errors)


def _check_needs(state: State, processes: dict[str, Process]) -> None:
    """Everything that a process reads or writes is there; else the process that makes it is not among those of the run."""
    walls = {f"vessels.{name}" for name in ("voxel", "surface_um2")}
    there = {*flatten(state), *walls, *(f"populations.{kind}" for kind in state.populations)}
    errors = []
    for name, process in processes.items():
        if missing := sorted((process.reads | process.writes) - there):
            makers = sorted({PROVIDERS[what] for what in missing if what in PROVIDERS})
            advice = f"; add {' and '.join(makers)} to the processes" if makers else ""
            allowed = f"needs {', '.join(missing)}, which nothing in this run provides{advice}"
            errors.append(InputError(f"processes.{name}", None, allowed))
    if errors:
        raise InputErrors(errors)


def _refuse_unread(context: Context, enabled: Iterable[str], user_set: tuple[str, ...]) -> None:
    """A key that the user set and nothing reads is an error: the run would not be what was asked for."""
    read = {_as_key(path) for path in context.read} | {f"processes.{name}" for name in enabled} | {"tissue", *ALWAYS_READ}
    told = "nothing reads this key in the configuration as composed; leave it out or enable what reads it"
    errors = [
        InputError(key, None, told + (f" ({WHY_UNREAD[key]})" if key in WHY_UNREAD else ""))
        for key in user_set
        if key != "drug" and not key.endswith(".enabled") and not any(is_within(key, path) for path in read)
    ]
    if errors:
        raise InputErrors(errors)


def _as_key(path: str) -> str:
    return ".".join(split_unit(part)[0] for part in path.split("."))
