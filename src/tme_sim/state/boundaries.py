"""What carriers find behind the faces of the lattice."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Literal

from tme_sim.state.parameters import parameter

Boundary = Literal["no_flux", "periodic"]


@dataclass(frozen=True, kw_only=True)
class Boundaries:
    """Per axis, for its lower and its upper face. The tissue itself does not wrap: vessels and distances to them end there."""

    z: Boundary = parameter("faces across z: no_flux, or periodic: what leaves one enters opposite; vessels do not wrap")
    y: Boundary = parameter("faces across y: no_flux, or periodic: what leaves one enters opposite; vessels do not wrap")
    x: Boundary = parameter("faces across x: no_flux, or periodic: what leaves one enters opposite; vessels do not wrap")

    @property
    def periodic(self) -> str:
        """The axes that are periodic, such as "yx"; empty where nothing passes any face."""
        return "".join(axis for axis, side in zip("zyx", astuple(self), strict=True) if side == "periodic")


NO_FLUX = Boundaries(z="no_flux", y="no_flux", x="no_flux")
