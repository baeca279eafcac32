"""Spoiled gradient echoes, sin α (1 − E1)/(1 − E1 cos α) Σ p e^(−TE R2*) ⟨e^(iγΔB TE)⟩ over pools of water that stands still."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, radians, sin
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tme_sim.imaging.base import Frame
from tme_sim.imaging.mri import EchoTrain, Floats, Scanner, Signal, Singles
from tme_sim.imaging.mri_signal import decay_rate, rate_from_flips, spoiled
from tme_sim.imaging.relaxation import Pools, Water, magnetisation, transverse
from tme_sim.numerics.dephasing import dephase
from tme_sim.state.contrast import Relaxivity
from tme_sim.state.errors import InputError
from tme_sim.state.parameters import parameter

SEQUENCE = {"PulseSequenceType": "spoiled gradient echo", "ScanningSequence": "GR", "SequenceVariant": "SP"}


@dataclass(kw_only=True)
class MultiEcho(EchoTrain):
    """Several echoes after each pulse: R2*, its change by the agent, and the metal that it tells.

    R2* of a pool is its own + r2* c, and in cells what vesicles do (`relaxation`). ΔB is the dipole field of all that is magnetic
    on the lattice (`susceptibility`); signals are added up before the magnitude is taken, so the R2* of clusters emerges.
    """

    flip_angle_deg: float = parameter("flip angle", above=0, at_most=90)
    first_echo_s: float = parameter("from the pulse to the first echo", above=0, at_most=1)

    kind: ClassVar[str] = "mri_r2star"
    rate: ClassVar[str] = "R2star"
    modalities: ClassVar[tuple[str, str]] = ("MEGRE", "T2starw")

    @property
    def echo_s(self) -> Floats:
        """(echo,) times after the pulse."""
        return np.asarray(self.first_echo_s + self.echo_spacing_s * np.arange(self.echoes), np.float64)

    def settings(self) -> dict[str, Any]:
        times = [round(float(time_s), 9) for time_s in self.echo_s]
        return SEQUENCE | {"EchoTime": times, "RepetitionTime": self.repetition_s, "FlipAngle": self.flip_angle_deg}

    def signal(self, pools: Pools, turn: Singles, frame: Frame) -> Signal:
        size = _excited(pools, self.water, self.repetition_s, radians(self.flip_angle_deg))
        return dephase(size, transverse(pools, self.water), turn, self.echo_s)

    def fitted(self, magnitude: Floats, noise: float) -> Floats:
        return decay_rate(magnitude, self.echo_s, noise)

    def relaxivity(self, row: Relaxivity) -> float:
        return row.r2_star


@dataclass(kw_only=True)
class FlipAngles(Scanner):
    """The same echo at several flip angles: R1 by the line S/sin α = E1 S/tan α + M0 (1 − E1), and the metal by its change.

    R1 of a pool is its own + r1 c, with the share of r1 that cells leave; water is exchanged between pools fast, slowly
    or at a rate (Bloch–McConnell). The widest angle is the T1-weighted image.
    """

    repetition_s: float = parameter("time between pulses", above=0, at_most=60)
    echo_s: float = parameter("from the pulse to the echo", above=0, at_most=1)
    flip_angles_deg: tuple[float, ...] = parameter("flip angles, two or more", above=0, at_most=90)

    kind: ClassVar[str] = "mri_t1"
    rate: ClassVar[str] = "R1"
    modalities: ClassVar[tuple[str, str]] = ("VFA", "T1w")

    def __post_init__(self) -> None:
        if len(set(self.flip_angles_deg)) < 2:
            raise InputError("flip_angles_deg", str(list(self.flip_angles_deg)), "needs two angles or more that differ")
        if self.echo_s > self.repetition_s:
            raise InputError("echo_s", f"{self.echo_s:g} s", f"must come before the next pulse at {self.repetition_s:g} s")

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(f"{angle:g} deg" for angle in self.flip_angles_deg)

    @property
    def shown(self) -> int:
        return int(np.argmax(self.flip_angles_deg))

    def settings(self) -> dict[str, Any]:
        angles = [float(angle) for angle in self.flip_angles_deg]
        return SEQUENCE | {"FlipAngle": angles, "EchoTime": self.echo_s, "RepetitionTimeExcitation": self.repetition_s}

    def signal(self, pools: Pools, turn: Singles, frame: Frame) -> Signal:
        rate = transverse(pools, self.water)
        sizes = (_excited(pools, self.water, self.repetition_s, radians(angle)) for angle in self.flip_angles_deg)
        return np.concatenate([dephase(size, rate, turn, [self.echo_s]) for size in sizes])

    def fitted(self, magnitude: Floats, noise: float) -> Floats:
        return rate_from_flips(magnitude, np.array(self.flip_angles_deg) * pi / 180, self.repetition_s)

    def relaxivity(self, row: Relaxivity) -> float:
        return row.r1_per_mM_s


def _excited(pools: Pools, water: Water, repetition_s: float, flip_rad: float) -> NDArray[np.float64]:
    """(pool, z, y, x) transverse signal just after the pulse."""
    return magnetisation(pools, water, lambda rate: spoiled(rate, repetition_s, flip_rad)) * sin(flip_rad)
