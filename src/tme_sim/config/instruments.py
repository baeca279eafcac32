"""From a run and its configuration to what instruments see and to the instruments themselves."""

from __future__ import annotations

from pathlib import Path

from tme_sim.config.beginning import body_of
from tme_sim.config.build import construct_all
from tme_sim.config.context import Context
from tme_sim.config.settings import Config
from tme_sim.files.run_folder import RunFolder
from tme_sim.imaging.base import Readout
from tme_sim.imaging.frame import Frame
from tme_sim.state.errors import InputError, InputErrors

GROWS = "cell_cycle"
"""The process under which a tumour gains mass."""


def frame_of(run: RunFolder, config: Config, time_s: float | None = None) -> Frame:
    """What there was at a recorded time (default: the last). Raises InputError where it was not recorded."""
    grows = any(section.enabled and section.kind == GROWS for section in config.processes.values())
    return Frame.of(run, body_of(config), time_s, config.tissue.values.get("doubling_time_s") if grows else None)


def readout_of(config: Config, name: str, data: Path | None = None) -> Readout:
    """An instrument of a configuration. Raises InputErrors with what is wrong with it, or what it needs and is not there."""
    errors = list[InputError]()
    made: dict[str, Readout] = construct_all({name: config.readouts[name]}, Context(config, data), errors)
    if errors:
        raise InputErrors(errors)
    return made[name]
