"""Numbers, quantities and names as a reader meets them, and HTML that cannot be broken by what a configuration holds."""

from __future__ import annotations

import html
from math import floor, inf, isfinite, log10

from tme_sim.analysis.plausibility import split_quantity

NONE = "–"
_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_NAMES = {
    "interstitium": "interstitium, free",
    "bound": "bound to matrix",
    "endothelium": "in the vessel wall",
    "tumor_cells": "tumour cells",
    "t_cells": "T cells",
    "kupffer": "Kupffer cells (liver)",
    "kupffer_cells": "Kupffer cells",
    "depot": "site of injection",
    "liver_endothelium": "liver endothelium",
    "elsewhere": "elsewhere",
    "wall_bound": "on vessel walls",
    "blood_neutrophils": "neutrophils in blood",
    "blood_monocytes": "monocytes in blood",
    "spent_phagocytes": "spent phagocytes",
    "washed_out": "washed out of the tumour",
    "tumor": "tumour",
    "plasma": "blood plasma",
    "gap": "gaps",
    "phagocyte": "phagocytes",
}
_UNITS = {"um": "µm", "um^2": "µm²", "um^3": "µm³", "1/s": "per s", "1/h": "per h", "1/mm^3": "per mm³", "1/um^3": "per µm³"}
# internal unit → factor and unit that readers of the field are used to, for values from … up to …
_FIELDS_UNITS = {
    "1/s": (3600.0, "1/h", 0.0, 1e-2),
    "um/s": (1e-4, "cm/s", 0.0, 1e-2),
    "um^3": (1e-12, "mL", 1e8, inf),
    "1/um": (1e3, "mm^2/mm^3", 0.0, inf),
    "1/um^3": (1e9, "1/mm^3", 0.0, 1e-2),
    "s": (1 / 3600, "h", 3600.0, inf),
    "d": (24.0, "h", 0.0, 7.0),
}


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, *inside: object, **attributes: object) -> Html:
    """An element; what is inside and the attributes' values are escaped unless they are Html. `class_` is written class."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' for key, value in attributes.items())
    return Html(f"<{name}{given}>{join(*inside)}</{name}>")


def join(*parts: object) -> Html:
    """Parts one after the other, escaped unless they are Html; None is left out."""
    return Html("".join(part if isinstance(part, Html) else html.escape(str(part)) for part in parts if part is not None))


def name(key: str) -> str:
    """A compartment, route or population in words."""
    return _NAMES.get(key, key.replace("_", " "))


def number(value: object, digits: int = 3) -> str:
    """A number with so many significant digits: 34.8, 6,298, 2.37·10⁸; a dash for None and what is not finite."""
    if value is None or not isinstance(value, int | float) or not isfinite(value):
        return NONE
    if value == 0:
        return "0"
    exponent = floor(log10(abs(float(f"{value:.{digits - 1}e}"))))
    if -4 <= exponent < 5:
        text = f"{value:,.{max(0, digits - 1 - exponent)}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa = f"{value / 10.0**exponent:.{digits - 1}f}".rstrip("0").rstrip(".")
    power = f"10{str(exponent).translate(_RAISED)}"
    return power if mantissa == "1" else f"{mantissa}·{power}"


def quantity(text: object, digits: int = 4) -> str:
    """A quantity of a recorded configuration as a reader writes it: `8.3e-05 um/s` as 8.3·10⁻⁹ cm/s; other text as it is."""
    try:
        value, unit = split_quantity(text)
    except ValueError:
        return NONE if text is None else str(text)
    if unit in _FIELDS_UNITS and value:
        factor, better, least, most = _FIELDS_UNITS[unit]
        if least <= abs(value) < most:
            value, unit = value * factor, better
    return f"{number(value, digits)} {unit_of(unit)}".strip()


def unit_of(unit: str) -> str:
    """A unit in print: µm²/(mmHg s), per s."""
    if unit in _UNITS:
        return _UNITS[unit]
    return unit.replace("um", "µm").replace("ug", "µg").replace("^2", "²").replace("^3", "³")


def span(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{number(seconds / size)} {unit}"
    return f"{number(seconds)} s"


def nice_step(length: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that divides a length into at least four."""
    power = 10.0 ** floor(log10(length / 4))
    return max(factor for factor in (1, 2, 5) if factor * power <= length / 4) * power
