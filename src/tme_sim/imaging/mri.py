"""What all MRI has in common: tissue scanned before and after the agent, the map of a rate, and the metal that it tells."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tme_sim.imaging.base import Frame, Image, Readout, generator
from tme_sim.imaging.mri_grid import Grid, grid_of
from tme_sim.imaging.mri_reading import Layers, Reading
from tme_sim.imaging.mri_signal import cropped, noisy
from tme_sim.imaging.relaxation import Metal, Pools, Water, metal_of, pools_of, shares
from tme_sim.imaging.susceptibility import susceptibility, turning
from tme_sim.numerics.blocks import block_mean
from tme_sim.state.contrast import GRAMS_PER_MOL, SYMBOLS, ContrastAgent, Relaxivity
from tme_sim.state.errors import InputError
from tme_sim.state.parameters import given, parameter

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Signal = NDArray[np.complexfloating[Any, Any]]

MOST_PARTS = 8_000_000


@dataclass(kw_only=True)
class Scanner(Readout):
    """A pulse sequence at a field. A subclass says what signal water gives, and how a reader gets its rate.

    The lattice is imaged as it is, patch by patch, in tissue like itself: voxels lie between its own and a third of its edge.
    """

    field_T: float = parameter("main field, along z", above=0, at_most=25)
    voxel_um: tuple[float, float, float] = parameter("edges of a voxel along (z, y, x)", above=0, at_most=5000)
    snr_per_mm3: float = parameter("fully relaxed signal over the noise of a voxel of 1 mm3; smaller ones have less", above=0)
    field_parts: int | None = parameter(
        "parts of a lattice voxel along each axis in which the field is worked out; null: up to 3, fewer on large lattices",
        default=None,
        at_least=1,
        at_most=5,
    )
    water: Water = parameter("the tissue's water at this field")
    agent: ContrastAgent = given("contrast_agent")

    kind: ClassVar[str]
    """The name that it is registered by."""
    rate: ClassVar[str]
    """What is mapped: R1, R2, R2star."""
    modalities: ClassVar[tuple[str, str]]
    """In BIDS' words, of all channels together, and of the weighted image."""

    @property
    @abstractmethod
    def channels(self) -> tuple[str, ...]:
        """Names of the echoes or angles that are measured."""

    @property
    @abstractmethod
    def shown(self) -> int:
        """The channel that is the weighted image."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The sequence by BIDS' keys; what differs by channel is a list."""

    @abstractmethod
    def signal(self, pools: Pools, turn: Singles, frame: Frame) -> Signal:
        """(channel, z, y, x) on the lattice of one patch, over that of water at rest; turn: see `turning`."""

    @abstractmethod
    def fitted(self, magnitude: Floats, noise: float) -> Floats:
        """(z, y, x) rate by (channel, z, y, x); NaN where there is none."""

    @abstractmethod
    def relaxivity(self, row: Relaxivity) -> float:
        """By which the reader turns a change of the rate into metal, per mM and s."""

    @property
    def refocused_s(self) -> float | None:
        """Of spin echoes, half the time between refocusing pulses."""
        return None

    def acquire(self, frame: Frame) -> list[Image]:
        grid = grid_of(frame.lattice, self.voxel_um)
        metal = metal_of(frame, self.agent)
        after, before = self._scan(frame, grid, metal, "after"), self._scan(frame, grid, metal.none(), "before")
        reading = self._read(grid, metal, after, before)
        regions, names, weights = grid.regions(frame)
        common = {"time_s": frame.time_s, "voxel_um": grid.voxel_um, "origin_um": grid.origin_um}
        marked = common | {"regions": regions, "region_names": names}
        scanner = {"MagneticFieldStrength": self.field_T, "NoiseOverFullSignal": reading.noise, "FieldParts": self._parts(frame)}
        about = self.settings() | scanner
        one = about | {key: value[self.shown] for key, value in about.items() if isinstance(value, list)}
        metal_name, (together, weighted) = reading.metal_name, self.modalities
        quantities = tuple(reading.quantities(regions, names, weights))
        return [
            _image(self.kind, f"{self.rate}map", "1/s", reading.rate, quantities=quantities, acquisition=about, **marked),
            _image(f"{self.kind}_change", f"d{self.rate}map", "1/s", reading.change, acquisition=about, **marked),
            _image(
                f"{self.kind}_{metal_name}", f"{metal_name}map", "ug/mL", reading.metal_ug_per_mL, acquisition=about, **marked
            ),
            _image(f"{self.kind}_{weighted}", weighted, "1", reading.shot, acquisition=one, **marked),
            _image(f"{self.kind}_{together}", together, "1", after, channels=self.channels, acquisition=about, **common),
        ]

    def _scan(self, frame: Frame, grid: Grid, metal: Metal, when: str) -> Layers:
        """Magnitudes (channel, z, y, x), each patch by itself: neighbours on the lattice, they are none in the tumour."""
        share, chi = shares(frame), susceptibility(frame, metal, self.agent, self.water, self.field_T)
        blurred, means = [], []
        for planes in frame.lattice.planes:
            turn = turning(chi[planes], self.field_T, self._parts(frame))
            pools = pools_of(share[:, planes], metal.part(planes), self.agent, self.water, self.field_T, self.refocused_s)
            signal = grid.imaged(self.signal(pools, turn, frame))
            blurred.append(cropped(signal, grid.factors))
            means.append(np.abs(block_mean(signal, grid.factors)))
        whole = np.concatenate(blurred, axis=-3)
        image = noisy(whole, self._noise(grid), generator(frame, self.kind, when))
        return Layers(image, np.abs(whole).astype(np.float64), np.concatenate(means, axis=-3).astype(np.float64))

    def _parts(self, frame: Frame) -> int:
        """How finely the field is worked out: its transform takes 60 bytes a part."""
        return self.field_parts or max(p for p in (1, 2, 3) if p == 1 or frame.lattice.n_voxels * p**3 <= MOST_PARTS)

    def _noise(self, grid: Grid) -> float:
        return 1 / (self.snr_per_mm3 * grid.voxel_mm3)

    def _read(self, grid: Grid, metal: Metal, after: Layers, before: Layers) -> Reading:
        kind, noise = self.agent.contrast.metal, self._noise(grid)
        rates, rates_before = (
            Layers(*(self.fitted(magnitude, level) for magnitude, level in zip(scan, (noise, 0.0, 0.0), strict=True)))
            for scan in (after, before)
        )
        per_rate = GRAMS_PER_MOL[kind] / self.relaxivity(self.agent.relaxivity(self.field_T))
        image, noise_free = ((a - b) * per_rate for a, b in zip(rates[:2], rates_before[:2], strict=True))
        held_mM = grid.sampled(metal.total_mM)
        return Reading(
            rate_name=self.rate,
            metal_name=SYMBOLS[kind],
            rate=rates,
            rate_before=rates_before,
            metal_ug_per_mL=Layers(image, noise_free, held_mM * GRAMS_PER_MOL[kind]),
            metal_mM=held_mM,
            shot=Layers(*(scan[self.shown] for scan in after)),
            shot_before=Layers(*(scan[self.shown] for scan in before)),
            noise=noise,
        )


def _image(name: str, modality: str, unit: str, of: Layers, **more: Any) -> Image:
    layers = {"truth": of.truth.astype(np.float32), "noise_free": of.noise_free.astype(np.float32)}
    return Image(name=name, data=of.image.astype(np.float32), modality=modality, unit=unit, layers=layers, **more)


@dataclass(kw_only=True)
class EchoTrain(Scanner):
    """A scanner that takes several echoes after each pulse."""

    repetition_s: float = parameter("time between pulses", above=0, at_most=60)
    echo_spacing_s: float = parameter("from one echo to the next", above=0, at_most=1)
    echoes: int = parameter("number of echoes", at_least=2, at_most=64)
    shown_echo: int = parameter("the echo shown as the weighted image, counted from 1", at_least=1, at_most=64)

    def __post_init__(self) -> None:
        if self.shown_echo > self.echoes:
            raise InputError("shown_echo", self.shown_echo, f"there are {self.echoes} echoes")
        if self.echo_s[-1] > self.repetition_s:
            raise InputError("repetition_s", f"{self.repetition_s:g} s", f"the last echo is at {self.echo_s[-1]:g} s")

    @property
    @abstractmethod
    def echo_s(self) -> Floats:
        """(echo,) times after the pulse."""

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(f"{1e3 * time_s:g} ms" for time_s in self.echo_s)

    @property
    def shown(self) -> int:
        return self.shown_echo - 1
