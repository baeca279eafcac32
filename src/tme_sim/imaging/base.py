"""What an instrument is: it turns a frame of a run into images, and its noise has one source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from tme_sim.files.image import Image, Quantity
from tme_sim.imaging.frame import Frame
from tme_sim.numerics.random import stream_key
from tme_sim.state.parameters import parameter

__all__ = ["Frame", "Image", "Quantity", "Readout", "generator"]


@dataclass(kw_only=True)
class Readout(ABC):
    """An instrument with its settings: fields written with `parameter(...)` and `given(...)`, as those of a process.

    A readout reads a frame and changes nothing.
    """

    times_s: tuple[float, ...] = parameter("recorded times at which it is used in a run; none: at the end", default=())

    @abstractmethod
    def acquire(self, frame: Frame) -> list[Image]:
        """The images that the instrument gives of this frame, the chief one first. Raises InputError where it cannot see it."""


def generator(frame: Frame, *purpose: str) -> np.random.Generator:
    """A source of noise: by the run's seed, the instrument's kind and the purpose in words, and the time alone."""
    return np.random.default_rng(stream_key(frame.seed, "readout", *purpose, round(frame.time_s)))
