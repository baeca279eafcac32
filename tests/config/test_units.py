"""Quantities at the edge: spellings, refusals, round trips, and agreement of the table of common units with pint."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tme_sim.config.units import COMMON, Dose, _registry, format_dose, format_quantity, parse_dose, parse_quantity
from tme_sim.state.errors import InputError
from tme_sim.state.parameters import UNITS


@pytest.mark.parametrize(
    "text", ["65 nm", "65nm", "0.065um", "6.5e-8 m", "0.065 µm", "0.065 μm", "6.5E-5mm", " 65  nm ", "+65 nm"]
)
def test_spellings_of_one_length_are_the_same_float(text: str) -> None:
    assert parse_quantity(text, "um", "pore_radius") == 0.065


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("24 h", "s", 86400.0),
        ("0.5 1/s", "1/s", 0.5),
        ("30 /min", "1/s", 0.5),
        ("2 s^-1", "1/s", 2.0),
        ("5 um^2/s", "um**2/s", 5.0),
        ("5 um2/s", "um**2/s", 5.0),
        ("5 um ** 2 / s", "um**2/s", 5.0),
        ("4.13e-8 cm^2/mmHg/s", "um**2/mmHg/s", 4.13),
        ("1e9 mL^-1", "1/um**3", 1e-3),
        ("9 mm^2/mm^3", "1/um", 9e-3),
        ("12 mmHg", "mmHg", 12.0),
        ("133.322387415 Pa", "mmHg", 1.0),
        ("37 degC", "degC", 37.0),
        ("37 °C", "degC", 37.0),
        ("310.15 K", "degC", 37.0),
        ("98.6 degF", "degC", 37.0),
        ("1 inch", "um", 25400.0),  # not in the table: pint knows it
        ("0.5", "", 0.5),
        ("5 %", "", 0.05),
        ("5%", None, 0.05),
        (7, None, 7.0),
        ("-3 um", "um", -3.0),
        ("0 s", "s", 0.0),
    ],
)
def test_quantities_are_converted_exactly(text: object, unit: str | None, value: float) -> None:
    assert parse_quantity(text, unit, "key") == value


@pytest.mark.parametrize(
    ("text", "unit", "message"),
    [
        (65, "um", "key 65: needs a unit: a quantity in um, such as `65 um`"),
        ("65", "um", "key 65: needs a unit: a quantity in um, such as `65 um`"),
        ("5 s", "um", "key 5 s: needs a quantity in um; s measures something else"),
        ("5 um", "um**2/s", "key 5 um: needs a quantity in um^2/s; um measures something else"),
        ("5 nmm", "um", "key 5 nmm: nmm is no unit, did you mean nm?; needs a quantity in um"),
        ("5 qqq", "um", "key 5 qqq: qqq is no unit; needs a quantity in um"),
        ("5 um", None, "key 5 um: needs a plain number; um measures something else"),
        ("nan", None, "key nan: needs a plain number"),
        (float("nan"), None, "key nan: needs a plain number"),
        (float("inf"), "um", "key inf: needs a quantity in um"),
        ("inf um", "um", "key inf um: needs a quantity in um"),
        ("5 nan", "um", "key 5 nan: nan is no unit"),
        ("1e999 um", "um", "key 1e999 um: is too large a number"),
        (True, None, "key True: needs a plain number"),
        (None, "s", "key: needs a quantity in s"),
        ("37 C", "degC", "key 37 C: needs a quantity in degC; C measures something else"),
        ("1 degC/s", "1/s", "key 1 degC/s: degC is no unit"),
        ("five um", "um", "key five um: needs a quantity in um"),
        ("5,5 um", "um", "key 5,5 um: needs a quantity in um"),
        ("__import__('os')", "um", "key __import__('os'): needs a quantity in um"),
    ],
)
def test_what_is_no_quantity_is_refused_by_name(text: object, unit: str | None, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        parse_quantity(text, unit, "key")


@pytest.mark.parametrize(
    "text", ["9**9**9", "9**9**9 um", "1 um**9**9**9", "1e999999999 um", "9" * 10**7, "1 " + "m" * 10**7, "1 m" + "*m" * 10**6]
)
def test_expressions_that_would_take_for_ever_are_refused_at_once(text: str) -> None:
    start = time.perf_counter()
    with pytest.raises(InputError) as refusal:
        parse_quantity(text, "um", "key")
    assert time.perf_counter() - start < 1
    assert len(str(refusal.value)) < 300


def test_the_table_of_common_units_agrees_with_pint() -> None:
    registry = _registry()
    for name, unit in COMMON.items():
        expected = registry.Quantity(1, "percent" if name == "%" else name).to_base_units()
        assert expected.magnitude == unit.factor, name
        assert dict(expected.dimensionality) == unit.dimensions, name


@pytest.mark.parametrize("unit", sorted(UNITS.values()))
@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_written_quantities_read_back_to_the_same_bits(unit: str, value: float) -> None:
    text = format_quantity(value, unit)
    assert text.isascii()
    assert parse_quantity(text, unit, "key") == value


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.065, "um", "65 nm"), (86400.0, "s", "1 d"), (480.0, "um", "480 um"), (5.0, "um**2/s", "5 um^2/s"), (0.05, None, "0.05")],
)
def test_quantities_are_written_in_the_unit_that_makes_them_short(value: float, unit: str | None, text: str) -> None:
    assert format_quantity(value, unit) == text


@pytest.mark.parametrize(
    ("text", "dose"),
    [
        ("1e12particles", Dose(1e12, "particles")),
        ("1e12 particles", Dose(1e12, "particles")),
        ("5mg/kg", Dose(0.005, "mass_per_kg")),
        ("5 mg / kg", Dose(0.005, "mass_per_kg")),
        ("2 mg", Dose(0.002, "mass")),
        ("5MBq", Dose(5e6, "activity")),
        ("100 µCi", Dose(3.7e6, "activity")),
    ],
)
def test_doses_state_what_they_count(text: str, dose: Dose) -> None:
    assert parse_dose(text, "protocol.dose") == dose
    assert parse_dose(format_dose(dose), "protocol.dose") == dose


@pytest.mark.parametrize("text", ["5", 5, "5 m/kg", "5 /s", "5 mg/kg/h", "-2 mg", "5 particles/kg", "5 um", "much", None, True])
def test_other_amounts_are_no_doses(text: object) -> None:
    with pytest.raises(InputError, match=r"^protocol\.dose.* (1e12particles|must not be negative)"):
        parse_dose(text, "protocol.dose")
