"""Quantities at the edge: text such as `65 nm` becomes a float in the internal unit, and back.

A strict pattern reads `number unit` before anything else sees the text, and the unit is split into names and exponents here, so
pint, which would evaluate `9**9**9` for ever and takes `nan`, only ever looks up a single name. Common names are in a table,
because loading pint costs a third of a second. Arithmetic is exact (fractions, rounded once), so `65 nm`, `0.065 um` and
`6.5e-8 m` are the same float, and the hash of a configuration does not depend on the spelling.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from tme_sim.state.errors import InputError

if TYPE_CHECKING:
    import pint

_NUMBER = r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,3})?"
_FACTOR = r"[A-Za-z%]{1,20}\d?(?:(?:\*\*|\^)-?\d)?"
_UNIT = rf"(?:1?/)?{_FACTOR}(?:[*/. ]{_FACTOR}){{0,7}}"
_QUANTITY = re.compile(rf"({_NUMBER}) ?({_UNIT})?")
_PLAIN = "a plain number"
_LONGEST = 100  # characters of any quantity; the pattern is linear, the limit keeps messages short
_ONE_FACTOR = re.compile(r"([*/. ]?)([A-Za-z%]+)(?:\*\*|\^)?(-?\d)?")


class Unit(NamedTuple):
    """Factor to the SI base units, and the exponents of the base dimensions that are not zero."""

    factor: Fraction
    dimensions: Mapping[str, Fraction]


@dataclass(frozen=True)
class Dose:
    """An administered amount: `value` in particles, g, g per kg of body, or Bq, as `basis` says."""

    value: float
    basis: Literal["particles", "mass", "mass_per_kg", "activity"]


def _dimensions(**exponents: int) -> dict[str, Fraction]:
    return {f"[{name}]": Fraction(exponent) for name, exponent in exponents.items()}


_PREFIXES = {"": "1", "p": "1e-12", "n": "1e-9", "u": "1e-6", "m": "1e-3", "c": "1e-2", "d": "1e-1", "k": "1e3", "M": "1e6"}
_BASES = {
    "m": ("1", _dimensions(length=1)),
    "g": ("1e-3", _dimensions(mass=1)),
    "s": ("1", _dimensions(time=1)),
    "L": ("1e-3", _dimensions(length=3)),
    "mol": ("1", _dimensions(substance=1)),
    "M": ("1e3", _dimensions(substance=1, length=-3)),
    "Pa": ("1", _dimensions(mass=1, length=-1, time=-2)),
    "Bq": ("1", _dimensions(time=-1)),
    "Ci": ("3.7e10", _dimensions(time=-1)),
    "Gy": ("1", _dimensions(length=2, time=-2)),
    "eV": ("1.602176634e-19", _dimensions(mass=1, length=2, time=-2)),
    "A": ("1", _dimensions(current=1)),
    "T": ("1", _dimensions(mass=1, time=-2, current=-1)),
}
_OTHERS = {
    "%": ("1e-2", _dimensions()),
    "mmHg": ("133.322387415", _dimensions(mass=1, length=-1, time=-2)),
    **{name: ("60", _dimensions(time=1)) for name in ("min", "minute", "minutes")},
    **{name: ("3600", _dimensions(time=1)) for name in ("h", "hour", "hours")},
    **{name: ("86400", _dimensions(time=1)) for name in ("d", "day", "days")},
    **{name: ("604800", _dimensions(time=1)) for name in ("week", "weeks")},
}
COMMON = {name: Unit(Fraction(factor), dimensions) for name, (factor, dimensions) in _OTHERS.items()} | {
    prefix + name: Unit(Fraction(scale) * Fraction(factor), dimensions)
    for prefix, scale in _PREFIXES.items()
    for name, (factor, dimensions) in _BASES.items()
}
_TEMPERATURES = {  # scale → kelvin per degree, kelvin at zero
    "K": (Fraction(1), Fraction(0)),
    "degC": (Fraction(1), Fraction("273.15")),
    "degF": (Fraction(5, 9), Fraction("459.67") * Fraction(5, 9)),
}
_READABLE = {"um": ("nm", "mm"), "s": ("ms", "min", "h", "d"), "g": ("ug", "mg", "kg")}


def parse_quantity(text: object, unit: str | None, field: str) -> float:
    """The value of `text` in `unit` (pint's spelling; None or "" for a plain number, where `5 %` is 0.05).

    Raises InputError naming `field` and the unit expected: no unit, unknown unit, wrong dimension, not a finite number.
    """
    unit = unit or ""
    wanted = f"a quantity in {_ascii(unit)}" if unit else _PLAIN
    number, given = _split(text, field, wanted)
    if unit and not given:
        others = f", or in {', '.join(_READABLE[unit])}" if unit in _READABLE else ""
        raise InputError(field, text, f"needs a unit: {wanted}, such as `{text} {_ascii(unit)}`{others}")
    if unit in _TEMPERATURES and given in _TEMPERATURES:
        (scale, zero), (target, target_zero) = _TEMPERATURES[given], _TEMPERATURES[unit]
        return _finite((number * scale + zero - target_zero) / target, text, field)
    if unit == given:
        return _finite(number, text, field)
    degrees = unit in _TEMPERATURES or given in _TEMPERATURES
    source, goal = (None, None) if degrees else (_unit(name, text, field, wanted) for name in (given, unit))
    if source is None or goal is None or source.dimensions != goal.dimensions:
        raise InputError(field, text, f"needs {wanted}; {_ascii(given)} measures something else")
    return _finite(number * source.factor / goal.factor, text, field)


def parse_dose(text: object, field: str) -> Dose:
    """An administered amount: `1e12particles`, `2 mg`, `5mg/kg` (per mass of body) or `5MBq`. Raises InputError."""
    wanted = "a number of particles, a mass, a mass per kg of body, or an activity: 1e12particles, 2mg, 5mg/kg, 5MBq"
    number, given = _split(text, field, wanted)
    if number < 0:
        raise InputError(field, text, f"must not be negative; {wanted}")
    if given in ("particle", "particles"):
        return Dose(_finite(number, text, field), "particles")
    mass, per_kg, _ = given.partition("/kg")
    source = _unit(mass if given.endswith("/kg") else given, text, field, wanted)
    if source.dimensions == COMMON["g"].dimensions:
        value = _finite(number * source.factor / COMMON["g"].factor, text, field)
        return Dose(value, "mass_per_kg" if per_kg else "mass")
    if source.dimensions == COMMON["Bq"].dimensions and given.endswith(("Bq", "Ci")):
        return Dose(_finite(number * source.factor, text, field), "activity")
    raise InputError(field, text, wanted)


def format_quantity(value: float, unit: str | None) -> str:
    """ASCII text that `parse_quantity` reads back to the same float; of the readable units the one that makes it shortest."""
    unit = unit or ""
    texts = [f"{_number(value)} {_ascii(unit)}".strip()]
    for other in _READABLE.get(unit, ()) if abs(value) < 1e300 else ():
        scaled = float(f"{value * float(COMMON[unit].factor / COMMON[other].factor):.15g}")
        texts.append(f"{_number(scaled)} {other}")
    exact = [text for text in texts if parse_quantity(text, unit, "") == value]
    return min(exact, key=len)


def format_dose(dose: Dose) -> str:
    """ASCII text that `parse_dose` reads back to the same dose."""
    unit = {"particles": "particles", "mass": "g", "mass_per_kg": "g/kg", "activity": "Bq"}[dose.basis]
    return f"{_number(dose.value)} {unit}"


def _number(value: float) -> str:
    """Shortest text of a float that reads back to the same bits, without the `.0` of whole numbers."""
    return repr(float(value)).removesuffix(".0")


def _ascii(unit: str) -> str:
    return unit.replace("**", "^")


def _split(text: object, field: str, wanted: str) -> tuple[Fraction, str]:
    """Number and unit of a quantity as the user wrote it; spellings of micro and degree are brought to ASCII."""
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise InputError(field, text, f"needs {wanted}")
    plain = " ".join(str(text)[: _LONGEST + 1].replace("µ", "u").replace("μ", "u").replace("°", "deg").split())
    plain = re.sub(r" ?(\*\*|[*/^]) ?", r"\1", plain)
    match = _QUANTITY.fullmatch(plain) if len(plain) <= _LONGEST else None
    if match is None:
        shown = text if len(str(text)) <= _LONGEST else f"{str(text)[:_LONGEST]}…"
        how = "" if wanted == _PLAIN else ", written as a number and a unit"
        raise InputError(field, shown, f"needs {wanted}{how}")
    return Fraction(match[1]), (match[2] or "").strip()


def _finite(value: Fraction, text: object, field: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise InputError(field, text, "is too large a number") from None


def _unit(expression: str, text: object, field: str, wanted: str) -> Unit:
    """Product of the named units of an expression that the pattern has checked, such as `1/um**3` or `um^2/mmHg/s`."""
    factor, dimensions = Fraction(1), dict[str, Fraction]()
    rest = expression.removeprefix("1").strip()
    for operator, name, exponent in _ONE_FACTOR.findall(rest):
        named = _named(name)
        if named is None:
            near = difflib.get_close_matches(name, COMMON, 1, 0.7)
            raise InputError(field, text, f"{name} is no unit{f', did you mean {near[0]}?' if near else ''}; needs {wanted}")
        power = int(exponent or 1) * (-1 if operator == "/" else 1)
        factor *= named.factor**power
        for dimension, of_one in named.dimensions.items():
            dimensions[dimension] = dimensions.get(dimension, Fraction(0)) + of_one * power
    return Unit(factor, {name: exponent for name, exponent in dimensions.items() if exponent})


@cache
def _named(name: str) -> Unit | None:
    """One unit by name: from the table, else from pint; None if unknown or if its zero is not zero (degrees, decibels)."""
    if name in COMMON:
        return COMMON[name]
    import pint

    registry = _registry()
    try:
        zero, one = (registry.Quantity(Fraction(n), name).to_base_units() for n in (0, 1))
        if zero.magnitude != 0:
            return None
        return Unit(Fraction(str(one.magnitude)), {str(key): Fraction(str(value)) for key, value in one.dimensionality.items()})
    except (pint.PintError, ValueError, TypeError, ArithmeticError):  # undefined, logarithmic, not a number
        return None


@cache
def _registry() -> pint.UnitRegistry[Fraction]:
    """The one registry of the process, exact, loaded when a unit outside the table is met."""
    import pint

    return pint.UnitRegistry(non_int_type=Fraction, cache_folder=None)
