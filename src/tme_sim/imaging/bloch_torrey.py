"""Spin echoes: they undo what a still field did, so R2 needs water that walks through it (Bloch–Torrey by random walks)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tme_sim.imaging.base import Frame
from tme_sim.imaging.mri import EchoTrain, Floats, Signal, Singles
from tme_sim.imaging.mri_signal import decay_rate, recovered
from tme_sim.imaging.relaxation import Pools, magnetisation
from tme_sim.numerics.random import stream_key, uniforms
from tme_sim.numerics.spins import walk_spins
from tme_sim.state.contrast import Relaxivity
from tme_sim.state.parameters import parameter

STEPS = 5
"""Moves between refocusing and echo: integrals along the walk are right to 1 %."""


@dataclass(kw_only=True)
class SpinEcho(EchoTrain):
    """A train of spin echoes after a pulse of 90°, refocused midway between them (CPMG): R2, and the metal by its change.

    Each spin has e^(−∫R2 dt + i∫±γΔB dt) along its walk with the diffusivity of water, weighted by 1 − e^(−(TR − train) R1).
    """

    spins_per_voxel: int = parameter("walkers that start in each voxel of the lattice", at_least=1, at_most=1000)

    kind: ClassVar[str] = "mri_spin_echo"
    rate: ClassVar[str] = "R2"
    modalities: ClassVar[tuple[str, str]] = ("MESE", "T2w")

    @property
    def echo_s(self) -> Floats:
        """(echo,) times after the pulse of 90°."""
        return np.asarray(self.echo_spacing_s * np.arange(1, self.echoes + 1), np.float64)

    @property
    def refocused_s(self) -> float | None:
        return self.echo_spacing_s / 2

    def settings(self) -> dict[str, Any]:
        times = [round(float(time_s), 9) for time_s in self.echo_s]
        sequence = {"PulseSequenceType": "multi-echo spin echo", "ScanningSequence": "SE", "SequenceVariant": "NONE"}
        return sequence | {"EchoTime": times, "RepetitionTime": self.repetition_s, "FlipAngle": 90.0}

    def signal(self, pools: Pools, turn: Singles, frame: Frame) -> Signal:
        """The same walks before and after the agent, so that chance does not differ between them."""
        at_rest = magnetisation(pools, self.water, lambda rate: recovered(rate, self.repetition_s, float(self.echo_s[-1])))
        echo = walked(
            turn,
            (pools.share * pools.r2_per_s).sum(axis=0),
            spins_per_voxel=self.spins_per_voxel,
            diffusivity_per_s=self.water.diffusivity_um2_per_s / frame.lattice.voxel_um**2,
            spacing_s=self.echo_spacing_s,
            echoes=self.echoes,
            seed=frame.seed,
        )
        return np.asarray(echo * at_rest.sum(axis=0))

    def fitted(self, magnitude: Floats, noise: float) -> Floats:
        return decay_rate(magnitude, self.echo_s, noise)

    def relaxivity(self, row: Relaxivity) -> float:
        return row.r2_per_mM_s


def walked(
    turn_per_s: NDArray[Any],
    rate_per_s: NDArray[Any],
    *,
    spins_per_voxel: int,
    diffusivity_per_s: float,
    spacing_s: float,
    echoes: int,
    seed: int,
    steps: int = STEPS,
) -> Signal:
    """(echo, z, y, x) mean signal of the spins that start in each voxel, evenly by chance; see `walk_spins`.

    turn_per_s: (p z, p y, p x) at parts of the voxels of rate_per_s; diffusivity_per_s: D/h² of whole voxels.
    """
    shape, parts = rate_per_s.shape, turn_per_s.shape[0] // rate_per_s.shape[0]
    for axis in range(3):
        rate_per_s = np.repeat(rate_per_s, parts, axis)
    spin = np.arange(np.prod(shape) * spins_per_voxel)
    corner = np.stack(np.unravel_index(spin // spins_per_voxel, shape), axis=1)
    start, walk = (stream_key(seed, "readout", "spins", word) for word in ("start", "walk"))
    at = corner + np.stack([uniforms(start, spin, draw) for draw in range(3)], axis=1) - 0.5
    signal = walk_spins(
        (at + 0.5) * parts - 0.5,
        turn_per_s,
        rate_per_s,
        diffusivity_per_s=diffusivity_per_s * parts**2,
        spacing_s=spacing_s,
        echoes=echoes,
        steps=steps,
        key=walk,
    )
    return np.asarray(signal.reshape(echoes, *shape, spins_per_voxel).mean(axis=-1))
