"""Instruments at work: from a recorded run to images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from tme_sim.config.build import used
from tme_sim.config.instruments import frame_of, readout_of
from tme_sim.config.load import Loaded, Request, load
from tme_sim.config.settings import Config
from tme_sim.files.image import Image, Quantity
from tme_sim.files.images import write_images
from tme_sim.files.run_folder import RunFolder
from tme_sim.imaging.frame import Frame
from tme_sim.state.errors import InputError, InputErrors

LEAST_LOSS = 1e-3
"""Share of particles degraded in the tumour from which on it is told."""

Times = Sequence[float | None]
"""Recorded times; None is the last."""


def with_readouts(run: RunFolder, names: Sequence[str], settings: Sequence[str] = ()) -> Loaded:
    """A run's configuration with these instruments in place of its own; settings are `readouts.NAME.KEY=value`.

    Raises InputErrors for an unknown name or setting, and for a key that would change the run itself.
    """
    for word in settings:
        if not word.startswith("readouts."):
            raise InputError(
                word.partition("=")[0], None, "is decided when the run starts; here only readouts.NAME.KEY can be set"
            )
    return load(Request(None, (f"readouts=[{','.join(names)}]", *settings), run.folder / "config.yaml"))


def acquire(
    run: RunFolder, config: Config, times_s: Times | None = None, data: Path | None = None, *, keep_going: bool = False
) -> tuple[dict[str, list[Image]], dict[str, str]]:
    """What the configuration's instruments see of a run: (instrument → images, instrument → why it cannot see this run).

    times_s: default, each instrument's own. Raises the first reason unless `keep_going`.
    """
    frame = cache(lambda time_s: frame_of(run, config, time_s))  # instruments look at the same times
    images: dict[str, list[Image]] = {}
    refused: dict[str, str] = {}
    for name in used(config.readouts):
        try:
            readout = readout_of(config, name, data)
            frames = [frame(time_s) for time_s in times_s or readout.times_s or (None,)]
            images[name] = [image for each in frames for image in _with_losses(readout.acquire(each), each)]
        except (InputError, InputErrors) as error:
            if not keep_going:
                raise
            refused[name] = str(error)
    return images, refused


def _with_losses(images: list[Image], frame: Frame) -> list[Image]:
    """The chief image also tells how much of what the tumour took is in no image, where nothing followed labels off particles."""
    taken = frame.degraded + float(frame.tumor_carriers.sum())
    if frame.label_on or frame.degraded <= LEAST_LOSS * taken:
        return images
    told = "in no image; labels among the processes follows them"
    lost = Quantity("tumor", "degraded_particles", 100 * frame.degraded / taken, "%", told)
    return [replace(images[0], quantities=(*images[0].quantities, lost)), *images[1:]]


def store(
    run: RunFolder, images: Mapping[str, Sequence[Image]], refused: Mapping[str, str], formats: Sequence[str]
) -> list[Path]:
    """Write images and their numbers into the run's folder, and a page that shows them beside the truth."""
    from tme_sim.views.gallery import write_gallery

    files = write_images(run, images, formats)
    return [*files, write_gallery(run, images, refused)]
