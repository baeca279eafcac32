"""What a macroscopic instrument has around the run's tumour: a body, filled with what the run says of it at that time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import pi
from typing import Literal

import numpy as np

from tme_sim.files.volumes import read_volume
from tme_sim.imaging.base import Readout, generator
from tme_sim.imaging.bodies import human_chest, label_map, mouse
from tme_sim.imaging.embed import BLOOD, CLOSURE, Embedded, embed, represented_um3, whole_tumor
from tme_sim.imaging.frame import Frame
from tme_sim.imaging.labels import Pools
from tme_sim.imaging.phantom import Phantom
from tme_sim.imaging.solids import Sampled, Solid
from tme_sim.state.errors import InputError
from tme_sim.state.parameters import given, parameter

UM3_PER_ML = 1e12
LARGEST_MOUSE_G = 100.0
"""Body mass above which the mouse's phantom is refused, and up to which the human one is."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """kind: mouse, human_chest, label_map, or none, which is refused; label_names: region → its number in the label map.

    closure: largest relative difference between the tumour's amount and its mean times the phantom's tumour.
    """

    kind: str
    density_g_per_mL: float
    label_map: str | None = None
    label_names: Mapping[str, int] = field(default_factory=dict)
    closure: float = CLOSURE

    def __post_init__(self) -> None:
        if self.kind == "none":
            told = "an instrument of millimetres sees nothing true of a bare lattice; choose mouse, human_chest or label_map"
            raise InputError("phantom", "none", told)
        if (self.kind == "label_map") != (self.label_map is not None):
            raise InputError("label_map", self.label_map, "goes with phantom=label_map, and phantom=label_map needs it")

    def body(self, frame: Frame, grid_um: float, margin_um: float, factor: int = 1) -> Phantom:
        """The body with room for the frame's tumour, on cubic voxels that divide into blocks of factor³.

        Raises InputError where the phantom is not of the run's kind of body, or the label map cannot be used.
        """
        if self.label_map is not None:
            volume = read_volume(self.label_map, field="label_map")
            names = {number: name for name, number in self.label_names.items()}
            return label_map(volume.data, volume.voxel_um, names, grid_um=grid_um, margin_um=margin_um, factor=factor)
        is_mouse = frame.body.mass_g <= LARGEST_MOUSE_G
        if is_mouse != (self.kind == "mouse"):
            fitting = "mouse" if is_mouse else "human_chest"
            raise InputError("phantom", self.kind, f"the run's body weighs {frame.body.mass_g:g} g; {fitting} fits it")
        build = mouse if is_mouse else human_chest
        return build(grid_um, self._tumor(frame), frame.body, margin_um=margin_um, factor=factor)

    def filled(self, frame: Frame, body: Phantom, held: Pools) -> Embedded:
        """Labels in the body. Blood keeps its concentration where a tumour grows, and is taken from the body's blood."""
        growth = self._growth(frame)
        amount = held.on_lattice + (growth - 1) * held.shared
        organs = held.by_organ()
        if BLOOD in organs:
            organs[BLOOD] -= growth * whole_tumor(frame.lattice, held.shared)
        return embed(
            body,
            frame.lattice,
            amount,
            np.asarray(frame.fields["inside"], np.float64),
            organs,
            generator(frame, "embed"),
            tumor_amount=whole_tumor(frame.lattice, amount),
            growth=growth,
            tolerance=self.closure,
        )

    def _growth(self, frame: Frame) -> float:
        """The tumour's volume now over that which the lattice's copies stand for."""
        represented = float(represented_um3(frame.lattice, frame.fields["inside"]).sum())
        growth = frame.tumor_mass_g / self.density_g_per_mL * UM3_PER_ML / represented
        return 1.0 if abs(growth - 1) < 1e-9 else growth

    def _tumor(self, frame: Frame) -> Solid | Sampled:
        """The lattice itself where the tumour is no larger, else a sphere."""
        lattice, growth = frame.lattice, self._growth(frame)
        if int(lattice.copies.sum()) == 1 and growth == 1:
            return Sampled((0.0, 0.0, 0.0), frame.fields["inside"], (lattice.voxel_um,) * 3)
        volume = growth * float(represented_um3(lattice, frame.fields["inside"]).sum())
        radius = (3 * volume / (4 * pi)) ** (1 / 3)
        return Solid((0.0, 0.0, 0.0), (radius,) * 3)


@dataclass(kw_only=True)
class InBody(Readout):
    """An instrument of millimetres: it sees the tumour in a body, and refuses a bare lattice."""

    phantom: Literal["mouse", "human_chest", "label_map", "none"] = parameter(
        "the body around the tumour: an analytic one, or the user's labels; none is refused"
    )
    label_map: str | None = parameter("volume of labels, such as NIfTI, for phantom=label_map", default=None)
    label_names: dict[str, int] = parameter("region → its number there; `tumor` is needed, `body` is the rest", default=dict)
    closure: float = parameter(
        "largest relative difference between the tumour's amount and its mean times the phantom's tumour",
        default=CLOSURE,
        at_least=0,
        below=1,
    )
    density_g_per_mL: float = given("tissue.density_g_per_mL")

    @property
    def surroundings(self) -> Surroundings:
        """The body around the tumour."""
        return Surroundings(
            kind=self.phantom,
            density_g_per_mL=self.density_g_per_mL,
            label_map=self.label_map,
            label_names=self.label_names,
            closure=self.closure,
        )
