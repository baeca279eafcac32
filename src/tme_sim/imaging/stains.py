"""Channels of a micrograph: the carriers' own dye, the drug's, and stains of vessels, nuclei and macrophages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tme_sim.imaging.anatomy import ENDOTHELIUM_UM, Anatomy
from tme_sim.imaging.fluorophore import glow_of_carriers, glow_of_drug
from tme_sim.imaging.frame import Frame
from tme_sim.imaging.placement import Placed
from tme_sim.state.fluorescence import Fluorescence
from tme_sim.state.label import Label

Name = Literal["particles", "drug", "vessels", "nuclei", "macrophages"]
Light = NDArray[np.float32]

DYES = ("particles", "drug")
"""Channels whose light is physical; of a stain only where it is matters, an operator sets its brightness."""
STAINS_UM = {"nuclei": (0.358, 0.461), "vessels": (0.495, 0.519), "macrophages": (0.555, 0.572)}
"""Wavelengths of excitation and emission: DAPI, and antibodies with the dyes that are usual beside it (assumed)."""
SHELL_UM = 1.0
"""Thickness of what a membrane stain such as F4/80 marks (assumed)."""

F4_80 = ("macrophages", "monocytes")
"""Cells with the macrophage marker."""


@dataclass(frozen=True)
class Channel:
    """One colour: light at each point of the box, its wavelengths, and what of a dye's light comes from which compartment."""

    name: str
    light: Light
    excitation_um: float
    emission_um: float
    share: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Dyes:
    """What glows by itself: the label of a carrier of this diameter, and the drug, of which one carrier holds `loaded_amol`."""

    label: Label | None
    diameter_um: float
    drug: Fluorescence | None = None
    loaded_amol: float | None = None


def channel(name: str, frame: Frame, anatomy: Anatomy, placed: Sequence[Placed], dyes: Dyes, vessel_stain: str) -> Channel:
    """The channel of this name; of a dye that is on the cards."""
    if name == "particles" and dyes.label is not None and dyes.label.fluorescence is not None:
        dye = dyes.label.fluorescence
        glow = glow_of_carriers(frame, anatomy, placed, dye, dyes.diameter_um)
        return Channel(name, glow.light, dye.excitation_um, dye.emission_um, glow.share)
    if name == "drug" and dyes.drug is not None:
        glow = glow_of_drug(frame, anatomy, placed, dyes.drug, dyes.loaded_amol, dyes.diameter_um)
        return Channel(name, glow.light, dyes.drug.excitation_um, dyes.drug.emission_um, glow.share)
    return Channel(name, stain(name, anatomy, vessel_stain), *STAINS_UM[name])


def stain(name: str, anatomy: Anatomy, vessel_stain: str) -> Light:
    """(z, y, x) density of a stain, 1 where full: DNA, lumen or wall of vessels, membrane of macrophages (a fifth inside)."""
    if name == "nuclei":
        return anatomy.nucleus()
    if name == "vessels":
        wall = _layer(anatomy.wall_um - ENDOTHELIUM_UM / 2, ENDOTHELIUM_UM, anatomy)
        return anatomy.lumen.astype(np.float32) if vessel_stain == "lumen" else wall
    membrane = _layer(anatomy.depth_um - SHELL_UM / 2, SHELL_UM, anatomy)
    return (0.2 + 0.8 * membrane) * anatomy.of_kind(*F4_80)


def _layer(off_um: Light, thickness_um: float, anatomy: Anatomy) -> Light:
    """(z, y, x) 1 in the middle of a layer, a Gaussian off it, as wide as the layer or as the points are apart."""
    sd = np.float32(max(thickness_um, *anatomy.box.step_um) / 2)
    return np.asarray(np.exp(-0.5 * (off_um / sd) ** 2), np.float32)
