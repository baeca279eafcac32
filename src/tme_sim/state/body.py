"""The body around the tumour: pools of carriers, and the volumes and masses that turn amounts into concentrations."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass
class Body:
    """Pools by name, each (form,) in counts: `plasma`, `kupffer` and the sinks that the circulation has.

    blood_volume_um3: plasma and blood cells; None where blood is all plasma. traits: what those carriers are like, by name.
    """

    plasma_volume_um3: float
    mass_g: float
    organ_mass_g: dict[str, float] = field(default_factory=dict)
    pools: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    blood_volume_um3: float | None = None
    traits: dict[str, NDArray[np.float64]] = field(default_factory=dict)
