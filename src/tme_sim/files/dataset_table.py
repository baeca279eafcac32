"""Measured time courses: tidy CSV files (`subject,time_h,organ,value,unit`) in % of the injected dose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tme_sim.files.dataset import Corrections, Curves, Quantity
from tme_sim.state.errors import InputError

LIMIT_BYTES = 64 * 1024**2
FLUIDS = ("blood", "plasma")
"""Organs whose content is told per volume; that of all others is told per mass."""
PERCENT = "%ID"
KNOWN = "%ID, %ID/g, %ID/kg, %ID/mL, or (with a dose) a mass or activity per g or mL such as ug/g, kBq/mL"
ALONE = "all"
"""The group of a table without groups."""


def read_curves(curves: Curves, corrections: Corrections, quantity: Quantity) -> pd.DataFrame:
    """One row per animal, organ and time: group, subject, time_h, organ, value, unit, in a data set's files.

    Values are of the whole organ (%ID) or, as the organ is, %ID/g or %ID/mL; decay is corrected where the card says that it was
    not. Raises InputError for anything else than finite numbers, times from 0, and one unit for an organ.
    """
    table = pd.concat([_read(path, curves) for path in curves.files], ignore_index=True)
    table["organ"] = table["organ"].map(lambda organ: curves.organs.get(organ, organ))
    for organ, units in table.groupby("organ")["unit"].unique().items():
        if len(units) > 1:
            raise InputError("unit", f"of {organ}", f"must be one and the same, not {' and '.join(sorted(units))}")
    twice = table.duplicated(["group", "subject", "time_h", "organ"])
    if twice.any():
        first = table[twice].iloc[0]
        raise InputError("subject", first["subject"], f"has more than one value of {first['organ']} at {first['time_h']:g} h")
    table["value"] -= corrections.background
    if corrections.half_life_s is not None:
        table["value"] *= 2 ** (table["time_h"] * 3600 / corrections.half_life_s)
    parts = [_in_percent(part, curves, quantity) for _, part in table.groupby(["group", "organ"], sort=False)]
    return pd.concat(parts, ignore_index=True)


def _read(path: Path, curves: Curves) -> pd.DataFrame:
    """The columns of one file by our names, checked row by row."""
    if path.stat().st_size > LIMIT_BYTES:
        raise InputError(path.name, None, f"must not exceed {LIMIT_BYTES // 1024**2} MiB")
    try:
        raw = pd.read_csv(path, dtype=str, comment="#", skipinitialspace=True, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(
            path.name, None, f"must be a CSV file with a row of column names ({' '.join(str(error).split())[:100]})"
        ) from None
    wanted = {ours: theirs for ours, theirs in curves.columns.items() if theirs is not None}
    if missing := [theirs for theirs in wanted.values() if theirs not in raw.columns]:
        raise InputError(path.name, None, f"must have the columns {', '.join(wanted.values())}; {missing[0]} is missing")
    if not len(raw):
        raise InputError(path.name, None, "must hold at least one row below the names of the columns")
    table = pd.DataFrame({ours: raw[theirs].str.strip() for ours, theirs in wanted.items()})
    for name in ("organ", "subject", "group", "unit"):
        if name in table and (table[name].isna() | (table[name] == "")).any():
            raise InputError(path.name, None, f"must have {wanted[name]} in every row")
    for name in ("time_h", "value"):
        table[name] = _numbers(table[name], path, wanted[name])
    if (table["time_h"] < 0).any():
        raise InputError(path.name, f"{table['time_h'].min():g}", f"{wanted['time_h']} must not be negative: 0 is the injection")
    each_row = [f"{path.stem} row {row}" for row in range(len(table))]
    rest = {"subject": each_row, "group": ALONE, "unit": curves.unit}
    return table.assign(**{name: value for name, value in rest.items() if name not in table})


def _numbers(texts: pd.Series[str], path: Path, name: str) -> pd.Series[float]:
    numbers = pd.to_numeric(texts, errors="coerce").astype(float)
    wrong = ~np.isfinite(numbers.to_numpy())
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(path.name, f"row {row + 1} {name} {texts.iloc[row]}", "must be a finite number")
    return numbers


def _in_percent(part: pd.DataFrame, curves: Curves, quantity: Quantity) -> pd.DataFrame:
    """Rows of one group and organ in %ID, %ID/g or %ID/mL."""
    organ, unit, group = (str(part[name].iloc[0]) for name in ("organ", "unit", "group"))
    if unit == PERCENT:
        return part
    amount, slash, per = unit.partition("/")
    factor, basis = 0.0, ""
    for denominator in ("g", "mL") if slash else ():
        try:
            factor, basis = 1 / quantity(f"1 {per}", denominator, "unit"), denominator
        except InputError:
            continue
    if not basis:
        raise InputError("unit", f"{unit} of {organ}", f"must be {KNOWN}")
    factor *= 1.0 if amount == PERCENT else 100 * _share_of_dose(amount, organ, group, curves, quantity)
    wanted = "mL" if organ in FLUIDS else "g"
    if basis != wanted:
        if curves.density_g_per_mL is None:
            raise InputError("curves density", None, f"must be there: {organ} is given per {basis} and compared per {wanted}")
        factor *= curves.density_g_per_mL if wanted == "mL" else 1 / curves.density_g_per_mL
    return part.assign(value=part["value"] * factor, unit=f"{PERCENT}/{wanted}")


def _share_of_dose(amount: str, organ: str, group: str, curves: Curves, quantity: Quantity) -> float:
    """One `amount`, such as ug or kBq, over what an animal of the group was given."""
    for base in ("g", "Bq"):
        try:
            one = quantity(f"1 {amount}", base, "unit")
        except InputError:
            continue
        dose, unit = curves.dose.get(group, (0.0, base))
        if not dose or unit != base:
            raise InputError("curves dose", group, f"must be there in {base}, what an animal was given; {organ} is in {amount}")
        return one / dose
    raise InputError("unit", f"{amount} of {organ}", f"must be {KNOWN}")
