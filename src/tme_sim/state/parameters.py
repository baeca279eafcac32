"""Declaring parameters once: name (with its unit), meaning and range, read by the configuration, the documentation and the code.

A tissue, a process or a nanoparticle is a dataclass. Its fields are written with `parameter(...)` where the user sets them
(the configuration key is the field's name without its unit suffix: `pore_radius_um` is set as `pore_radius: 250 nm`), and with
`given(path)` where the value comes from another section of the configuration. The module imports nothing heavy: validation
itself lives in `tme_sim.config`.
"""

from __future__ import annotations

from dataclasses import MISSING, field
from typing import Any

# Suffix of a field's name → unit that the value has inside, in pint's spelling. Longest suffix wins.
UNITS = {
    "um": "um",
    "um2": "um**2",
    "um3": "um**3",
    "per_um": "1/um",
    "per_um2": "1/um**2",
    "per_um3": "1/um**3",
    "per_um2_s": "1/um**2/s",
    "um_per_s": "um/s",
    "um2_per_s": "um**2/s",
    "um3_per_s": "um**3/s",
    "um2_per_mmHg_s": "um**2/mmHg/s",
    "s": "s",
    "per_s": "1/s",
    "g": "g",
    "g_per_mL": "g/mL",
    "g_per_mol": "g/mol",
    "mmHg": "mmHg",
    "mmHg_per_s": "mmHg/s",
    "um_per_mmHg_s": "um/mmHg/s",
    "per_mmHg_s": "1/mmHg/s",
    "mmHg_per_um": "mmHg/um",
    "Pa_s": "Pa*s",
    "C": "degC",
    "K": "K",
    "W_per_g": "W/g",
    "W_per_mL": "W/mL",
    "J_per_mL_K": "J/mL/K",
    "Bq": "Bq",
    "mM": "mM",
    "per_M_cm": "1/M/cm",
    "Gy": "Gy",
    "per_Gy": "1/Gy",
    "per_Gy2": "1/Gy**2",
    "keV": "keV",
    "T": "T",
    "A_per_m": "A/m",
    "per_mM_s": "1/mM/s",
    "deg": "deg",
}
_LONGEST_FIRST = sorted(UNITS, key=len, reverse=True)


def split_unit(name: str) -> tuple[str, str | None]:
    """Configuration key and internal unit of a field: `pore_radius_um` → (`pore_radius`, `um`); no suffix → (name, None)."""
    for suffix in _LONGEST_FIRST:
        if name.endswith("_" + suffix):
            return name[: -len(suffix) - 1], UNITS[suffix]
    return name, None


def parameter(
    meaning: str,
    *,
    default: Any = MISSING,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    kind_of: str | None = None,
) -> Any:
    """A dataclass field that the user sets; `meaning` is one line, the bounds are in the internal unit of the field's name.

    kind_of: the field is a section (or a dict of sections) whose `kind` chooses a registered tissue, process or readout.
    """
    bounds = {"above": above, "at_least": at_least, "at_most": at_most, "below": below}
    metadata = {"meaning": meaning, "kind_of": kind_of, **bounds}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def given(path: str, default: Any = MISSING) -> Any:
    """A dataclass field filled from another section of the configuration, e.g. `nanoparticle.hydrodynamic_diameter_um`.

    The path is written with the names used inside (unit suffix included). The key counts as read, so a user who sets it
    is not told that nothing reads it. default: what an instance made by hand may leave out.
    """
    return field(default=default, metadata={"given": path})
