"""What must hold between the parts of a configuration, each told in the user's own keys."""

from __future__ import annotations

import math
from collections.abc import Iterable

import psutil

from tme_sim.config.context import Context
from tme_sim.config.registry import given_paths, is_within
from tme_sim.config.schema import Section
from tme_sim.config.settings import Config
from tme_sim.config.units import format_quantity
from tme_sim.processes.base import Process
from tme_sim.simulation import ticks
from tme_sim.state.errors import InputError, InputErrors
from tme_sim.state.parameters import split_unit
from tme_sim.state.state import State, flatten

BYTES_PER_VOXEL = 500
"""Of a run: measured were 720 with everything that is kept, of a box with one cell in a voxel."""
ALWAYS_READ = (
    *("name", "seed", "replicates", "number", "step", "variant", "report", "record", "checkpoint"),
    *("protocol.route", "protocol.dose", "protocol.times", "protocol.infusion", "protocol.duration"),
    *("cells.volume", "body.plasma_volume", "body.blood_volume", "body.liver_mass", "body.spleen_mass"),
)
"""Keys that every run reads, whatever its tissue and processes."""
WHY_UNREAD = {
    "integrator": "counts move by hops, only number=continuum integrates",
    "protocol.dose_of": "a dose in particles or Bq counts whole particles; only a mass is of something in them",
    "nanoparticle.clearance.kupffer_capacity": "only with kupffer=capacity",
    "nanoparticle.clearance.size_exponent": "without polydispersity_index all sizes are alike",
    "nanoparticle.clearance.renal_sieving": "the particle is too large for the kidney",
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
    "fields.temperature_C": "heat",
    "fields.thermal_dose_min": "heat",
    "fields.drug_in_cells_amol": "drug",
    "populations.neutrophils": "phagocytes",
    "fields.interstitial_velocity_um_per_s": "interstitial_flow",
}
"""What processes of ours make that others cannot do without."""

KNOW_PERIODIC = (
    *("circulation", "perfusion", "gaps", "bursts", "transcytosis", "transport", "binding", "uptake", "release", "labels"),
    *("interstitial_flow", "effect_drug", "effect_radiation", "effect_heat"),
)
"""Kinds that look at no voxel but their own, or across periodic faces too; the last is refused by transport itself."""


def check_times(config: Config) -> None:
    """Every interval and event is a whole multiple of the step, and every dose comes before the end."""
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
    for name, section in config.processes.items():
        interval_s = section.values.get("interval_s") if section.enabled and not errors else None
        if interval_s and abs(math.remainder(protocol.duration_s, interval_s)) > 1e-6 * config.step_s:
            whole = f"must divide protocol.duration, {protocol.duration_s:g} s, or its last step would go beyond it"
            errors.append(InputError(f"processes.{name}.interval", f"{interval_s:g} s", whole))
    ends_s = max(protocol.times_s, default=0.0) + protocol.infusion_s
    if not errors and max(protocol.times_s, default=0.0) < protocol.duration_s < ends_s:
        told = f"the infusion that begins at {max(protocol.times_s) / 3600:g} h must end within protocol.duration"
        errors.append(InputError("protocol.infusion", f"{protocol.infusion_s / 3600:g} h", told))
    if not protocol.times_s or max(protocol.times_s) >= protocol.duration_s:
        times_h = ",".join(f"{time_s / 3600:g} h" for time_s in protocol.times_s)
        errors.append(InputError("protocol.times", times_h or "[]", "at least one dose, and every dose before protocol.duration"))
    if errors:
        raise InputErrors(errors)


def check_memory(config: Config) -> None:
    """A generated box that cannot fit this machine is refused before it is grown; images bring their own size and limit."""
    if "lattice.size_um" not in given_paths(config.tissue.cls).values():
        return
    lattice, memory = config.lattice, psutil.virtual_memory().total
    needed = (lattice.size_um * lattice.refinement / lattice.site_um) ** 3 * BYTES_PER_VOXEL
    if needed > memory:
        told = (
            f"{needed / 1e9:.3g} GB of memory at least, and this machine has {memory / 1e9:.3g} GB; a smaller box or refinement"
        )
        raise InputError("lattice.size", format_quantity(lattice.size_um, "um"), f"needs {told}")


def check_kinds(config: Config, context: Context, enabled: dict[str, Section]) -> None:
    """Each kind once, for two would share their variables; and the card must know the cells that take it up."""
    kinds = [section.kind for section in enabled.values()]
    errors = [
        InputError(f"processes.{name}.kind", section.kind, "is there already; one process of a kind")
        for at, (name, section) in enumerate(enabled.items())
        if section.kind in kinds[:at]
    ]
    if (route := config.protocol.route) == "interstitial" and "lymph" not in kinds:
        errors.append(InputError("protocol.route", route, "needs lymph among the processes, or nothing leaves the site"))
    if "uptake" in kinds or "phagocytes" in kinds:
        told = "is missing; the tissue holds {} and the card must say how they take it up"
        missing = [kind for kind in context("carrying_kinds") if kind not in config.nanoparticle.uptake]
        errors += [InputError(f"nanoparticle.uptake.{kind}", None, told.format(kind)) for kind in missing]
    if errors:
        raise InputErrors(errors)


def check_boundaries(config: Config, enabled: dict[str, Section]) -> None:
    """Where the lattice is periodic, no process may take its faces for closed."""
    closed = [name for name, section in enabled.items() if section.kind not in KNOW_PERIODIC]
    if (axes := config.lattice.boundaries.periodic) and closed:
        told = f"not with {', '.join(closed)}, for which nothing passes the faces; no_flux, or processes.NAME.enabled=false"
        raise InputError(f"lattice.boundaries.{axes[0]}", "periodic", told)


def check_needs(state: State, processes: dict[str, Process]) -> None:
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


def check_readouts(config: Config) -> None:
    """An instrument sees recorded frames; a time at which it is used must be one of theirs."""
    if config.readouts and config.record.level != "full":
        raise InputError("record.level", config.record.level, f"must be full for {', '.join(config.readouts)} to see the run")
    every_s, end_s = config.record.interval_s, config.protocol.duration_s
    errors = [
        InputError(f"readouts.{name}.times", f"{time_s / 3600:g} h", _recorded(every_s, end_s))
        for name, section in config.readouts.items()
        for time_s in section.values.get("times_s") or ()
        if time_s > end_s or (time_s != end_s and not float(time_s / every_s).is_integer())
    ]
    if errors:
        raise InputErrors(errors)


def _recorded(every_s: float, end_s: float) -> str:
    """What a time may be for its frame to be there."""
    return f"must be recorded: a multiple of record.interval, {every_s / 3600:g} h, up to protocol.duration, {end_s / 3600:g} h"


def refuse_unread(context: Context, sections: Iterable[str], user_set: tuple[str, ...]) -> None:
    """A key that the user set and nothing reads is an error: the run would not be what was asked for.

    sections: processes and readouts that are used, whose own keys are read.
    """
    read = {_as_key(path) for path in context.read} | {"tissue", *sections, *ALWAYS_READ}
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
