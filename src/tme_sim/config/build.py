"""From a validated configuration to State(0) and its processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tme_sim.config.beginning import build_tissue, carrier_pools, empty_tissue, patch_masses_g, seed_cells, with_copies
from tme_sim.config.checks import (
    check_boundaries,
    check_kinds,
    check_memory,
    check_needs,
    check_readouts,
    check_times,
    refuse_unread,
)
from tme_sim.config.context import Context
from tme_sim.config.dosing import MASS_KEYS, MOST_COUNTED, dosing
from tme_sim.config.registry import construct, given_paths
from tme_sim.config.schema import Section
from tme_sim.config.settings import Config
from tme_sim.imaging.base import Readout
from tme_sim.numerics.random import stream_key
from tme_sim.processes.base import Process
from tme_sim.state.errors import InputError, InputErrors
from tme_sim.state.ledger import Ledger
from tme_sim.state.state import NumberMode, State
from tme_sim.tissues.base import Geometry, Tissue

STOCHASTIC_UP_TO = 100.0
"""Expected carriers per voxel up to which `number: auto` takes integers (numerics.md, methods 3)."""
LARGEST_STOCHASTIC = 1e7
"""Above this a voxel's int32 could overflow; the number type is refused."""


@dataclass(frozen=True)
class Built:
    """What a run starts from. `number_why` says how the number type was chosen; `occupancy` is carriers per voxel expected.

    dose: particles per injection; `dose_words` says how they follow from what is given.
    """

    state: State
    processes: dict[str, Process]
    readouts: dict[str, Readout]
    geometry: Geometry
    dose: float
    dose_words: str
    number_why: str
    occupancy: float
    tumor_mass_g: float


def build(config: Config, data: Path | None = None, user_set: tuple[str, ...] = ()) -> Built:
    """State(0) and the processes in their order. Raises InputError(s); `user_set` are the keys given on the command line."""
    context = Context(config, data)

    def random(purpose: str) -> np.random.Generator:
        return np.random.default_rng(stream_key(config.seed, "build", purpose))

    enabled = used(config.processes)
    errors: list[InputError] = []
    for check in (
        lambda: check_times(config),
        lambda: check_kinds(config, context, enabled),
        lambda: check_boundaries(config, enabled),
        lambda: check_readouts(config),
        lambda: context("dose.particles"),
    ):
        with collected(errors):
            check()
    late = {name for name, s in enabled.items() if "carrier_pools" in given_paths(s.cls).values()}  # these need all pools
    processes: dict[str, Process] = construct_all({name: s for name, s in enabled.items() if name not in late}, context, errors)
    readouts: dict[str, Readout] = construct_all(used(config.readouts), context, errors)
    with collected(errors):
        check_memory(config)
        tissue: Tissue = construct(config.tissue.cls, config.tissue.values, context)
        geometry = with_copies(build_tissue(tissue, config.tissue, random("tissue"), data), tissue)
    if errors:
        raise InputErrors(errors)
    tumor_mass_g = float(np.dot(geometry.lattice.copies, patch_masses_g(geometry, tissue.density_g_per_mL)))
    number: NumberMode = "continuum"
    state = empty_tissue(config, geometry, number, context)
    dose: float = context("dose.particles")
    occupancy = expected_occupancy(state, processes, dose, config)
    number, why = choose_number(config, occupancy, dose)
    state = replace(state, number=number)
    state.ledger = Ledger.empty(len(geometry.lattice.patches), state.total_dtype)
    seed_cells(state, config, geometry, context, random)

    def prepare(made: dict[str, Process]) -> dict[str, Process]:
        for name, process in made.items():
            process.prepare(state, lambda purpose, name=name: random(f"{name} {purpose}"))  # type: ignore[misc]
        return made

    prepare(processes)
    context.carrier_pools = carrier_pools(state)
    processes |= prepare(construct_all({name: s for name, s in enabled.items() if name in late}, context, errors))
    if errors:
        raise InputErrors(errors)
    processes = {name: processes[name] for name in enabled}
    check_needs(state, processes)
    if number == "continuum" and any(section.kind == "transport" for section in enabled.values()):
        context.read.add("integrator")
    if config.drug is not None:  # the summary tells the mass of drug that was released
        context.read |= {f"nanoparticle.{key}" for key in MASS_KEYS}
    refuse_unread(context, [*(f"processes.{name}" for name in enabled), *(f"readouts.{name}" for name in readouts)], user_set)
    words = dosing(config, context.read).words
    return Built(state, processes, readouts, geometry, dose, words, why, occupancy, tumor_mass_g)


def used(sections: dict[str, Section]) -> dict[str, Section]:
    """Those that are enabled."""
    return {name: section for name, section in sections.items() if section.enabled}


@contextmanager
def collected(errors: list[InputError]) -> Iterator[None]:
    """Keep the errors of one check, so that those of the next are told with them."""
    try:
        yield
    except InputErrors as several:
        errors += several.errors
    except InputError as error:
        errors.append(error)


def construct_all(sections: dict[str, Section], context: Context, errors: list[InputError]) -> dict[str, Any]:
    """Processes or readouts by name; what is wrong with any of their parameters goes to `errors`."""
    made: dict[str, Any] = {}
    for name, section in sections.items():
        for path in given_paths(section.cls).values():
            with collected(errors):
                context(path)
        with collected(errors):
            made[name] = construct(section.cls, section.values, context)
    return made


def expected_occupancy(state: State, processes: dict[str, Process], dose: float, config: Config) -> float:
    """Carriers per voxel if plasma kept its first concentration and all that entered stayed: an upper bound."""
    entry = sum(process.entry_um3_per_s(state) for process in processes.values())
    doses = dose * len(config.protocol.times_s)
    return doses / config.body.plasma_volume_um3 * entry * config.protocol.duration_s / max(1, int(state.fields["inside"].sum()))


def choose_number(config: Config, occupancy: float, dose: float) -> tuple[NumberMode, str]:
    """The carrier's number type and the reason in words."""
    if config.number == "stochastic" and occupancy > LARGEST_STOCHASTIC:
        raise InputError(
            "number",
            "stochastic",
            f"about {occupancy:.2g} particles per voxel are expected; at most {LARGEST_STOCHASTIC:.0e}, else continuum",
        )
    if config.number != "auto":
        return config.number, "as asked for"
    if dose > MOST_COUNTED:
        return "continuum", f"a dose of {dose:.2g} particles, above {MOST_COUNTED:.0e} real amounts are used"
    if occupancy <= STOCHASTIC_UP_TO:
        return (
            "stochastic",
            f"at most {occupancy:.2g} particles per voxel expected, up to {STOCHASTIC_UP_TO:g} are counted one by one",
        )
    return "continuum", f"up to {occupancy:.2g} particles per voxel expected, above {STOCHASTIC_UP_TO:g} real amounts are used"
