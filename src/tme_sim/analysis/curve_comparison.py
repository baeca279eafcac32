"""Simulated and measured time courses by organ; the animal is the unit, and an exponential washout the null model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tme_sim.analysis.agreement import (
    RESAMPLES,
    Comparison,
    Measure,
    concordance,
    interval,
    limits_of_agreement,
    within_factor,
)
from tme_sim.state.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FEWEST_FOR_HALF_LIFE = 3
FLAT = 1e-9
"""A smaller fall of the logarithm is rounding."""
NULL_WORDS = {
    "washout": "an exponential washout fitted to these data (their mean where they do not fall)",
    "constant": "the mean of these data at all times",
}


@dataclass(frozen=True)
class Course:
    """What was measured in one organ of one group: value of each animal at each of its times, and the run's at that time.

    at: (values,) number of the nominal time; animal: (values,) number of the animal; null: (values,) of the null model.
    """

    group: str
    organ: str
    unit: str
    time_h: Floats
    measured: Floats
    simulated: Floats
    null: Floats
    at: Ints
    animal: Ints

    def over_time(self, values: Floats) -> Floats:
        """(times,) mean over the animals of each nominal time."""
        return np.asarray(np.bincount(self.at, values) / np.bincount(self.at), float)

    def over_animals(self, values: Floats) -> Floats:
        """(animals,) mean over the times of each animal."""
        return np.asarray(np.bincount(self.animal, values) / np.bincount(self.animal), float)


def courses(
    table: pd.DataFrame,
    simulated: Mapping[str, Callable[[Floats], Floats]],
    times_h: tuple[float, ...],
    span_h: tuple[float, float],
    null: str,
) -> tuple[list[Course], list[str]]:
    """Pair a table of measured values with the run's curves: (courses, sentences on what could not be compared).

    simulated: organ → values at given hours, in %ID/g, %ID/mL or, as `%ID organ`, %ID. times_h: nominal times that animals are
    grouped at, each value at the nearest; none: at the times as measured. A value is compared if its nominal time is within
    `span_h` of the run. Raises InputError where nothing can be compared.
    """
    found, unknown, notes = list[Course](), list[str](), list[str]()
    nominal = np.asarray(times_h or np.unique(table["time_h"]), float)
    nearest = np.abs(table["time_h"].to_numpy(float)[:, None] - nominal).argmin(axis=1)
    early, late = nominal[nearest] < span_h[0], nominal[nearest] > span_h[1]
    if early.any():
        notes.append(f"The run was first recorded at {span_h[0]:g} h: {int(early.sum())} earlier values are not compared.")
    if late.any():
        notes.append(f"The run ends at {span_h[1]:g} h: {int(late.sum())} later values are not compared.")
    kept = table.assign(nearest=nearest)[~(early | late)]
    for (group, organ, unit), rows in kept.groupby(["group", "organ", "unit"], sort=False):
        curve = simulated.get(str(organ) if unit != "%ID" else f"%ID {organ}")
        if curve is None:
            unknown.append(str(organ))
            continue
        time_h, measured = rows["time_h"].to_numpy(float), rows["value"].to_numpy(float)
        at, animal = (np.unique(rows[name].to_numpy(), return_inverse=True)[1] for name in ("nearest", "subject"))
        plain = Course(str(group), str(organ), str(unit), time_h, measured, curve(time_h), measured, at, animal)
        found.append(Course(**(vars(plain) | {"null": NULL_MODELS[null](plain)})))
    if unknown:
        notes.append(f"Not in the run: {', '.join(dict.fromkeys(unknown))}.")
    if not found:
        raise InputError("dataset", None, f"has nothing that this run can be compared with. {' '.join(notes)}")
    return found, notes


def compare_course(course: Course, null: str) -> Comparison:
    """AUC, half-life, RMSE, concordance, share within twofold, and limits of agreement, run and null model alike.

    AUC: trapezoids of the means at the measured times, the same for both curves. Concordance and share are over these means.
    RMSE is over animals, each the mean square of its times; differences are of animals, each the mean over its times. Intervals
    resample animals among those seen at the same times.
    """
    time_h = course.over_time(course.time_h)
    measured, run, model = (course.over_time(each) for each in (course.measured, course.simulated, course.null))
    bootstrap = _bootstrap(course)
    bias, low, high = limits_of_agreement(course.over_animals(course.simulated - course.measured))
    null_bias = limits_of_agreement(course.over_animals(course.null - course.measured))
    measures = {
        "AUC (h)": Measure(area(time_h, measured), area(time_h, run), area(time_h, model), *interval(bootstrap["area"])),
        "half-life (h)": Measure(half_life_h(time_h, measured), half_life_h(time_h, run), half_life_h(time_h, model)),
        "RMSE": Measure(None, _rmse(course, course.simulated), _rmse(course, course.null), *interval(bootstrap["rmse"])),
        "concordance": Measure(None, concordance(measured, run), concordance(measured, model)),
        "within twofold": Measure(None, within_factor(measured, run), within_factor(measured, model)),
        "bias": Measure(None, bias, null_bias[0]),
        "limits of agreement, lower": Measure(None, low, null_bias[1]),
        "limits of agreement, upper": Measure(None, high, null_bias[2]),
    }
    name = course.organ if course.group == "all" else f"{course.organ} ({course.group})"
    animals = int(course.animal.max()) + 1
    words = NULL_WORDS[null]
    return Comparison(what=name, unit=course.unit, count=animals, units="animals", null_model=words, measures=measures)


def area(time_h: Floats, value: Floats) -> float | None:
    """∫ value dt by trapezoids; None with under two times."""
    if len(time_h) < 2:
        return None
    return float(np.sum(np.diff(time_h) * (value[1:] + value[:-1]) / 2))


def half_life_h(time_h: Floats, value: Floats) -> float | None:
    """ln 2 over the slope of ln(value) by least squares from the largest value on; None with under three, or no fall."""
    after = slice(int(np.argmax(value)), None)
    time_h, value = time_h[after], value[after]
    above = value > 0
    if above.sum() < FEWEST_FOR_HALF_LIFE:
        return None
    slope = float(np.polyfit(time_h[above], np.log(value[above]), 1)[0])
    return float(np.log(2) / -slope) if -slope * np.ptp(time_h) > FLAT else None


def washout(course: Course) -> Floats:
    """(values,) A e^(−kt), k ≥ 0, by least squares of the logarithms of the means; where they do not fall, the constant."""
    time_h, measured = course.over_time(course.time_h), course.over_time(course.measured)
    above = measured > 0
    if above.sum() < 2:
        return constant(course)
    slope, start = np.polyfit(time_h[above], np.log(measured[above]), 1)
    return np.asarray(np.exp(start + slope * course.time_h), float) if slope < 0 else constant(course)


def constant(course: Course) -> Floats:
    """(values,) the mean of what was measured."""
    return np.full(len(course.measured), course.over_time(course.measured).mean())


NULL_MODELS: dict[str, Callable[[Course], Floats]] = {"washout": washout, "constant": constant}


def _rmse(course: Course, values: Floats) -> float:
    """Over animals: the root of the mean of each one's mean square."""
    return float(np.sqrt(course.over_animals((values - course.measured) ** 2).mean()))


def _bootstrap(course: Course) -> dict[str, Floats]:
    """(resamples,) measured area and the run's RMSE, with animals drawn with replacement among those seen at the same times."""
    random, animals, times = np.random.default_rng(0), int(course.animal.max()) + 1, int(course.at.max()) + 1
    if animals < 2:
        return {"area": np.empty(0), "rmse": np.empty(0)}
    seen = np.zeros((animals, times), bool)
    seen[course.animal, course.at] = True
    weight = np.zeros((RESAMPLES, animals))
    for stratum in np.unique(seen, axis=0):
        alike = np.flatnonzero((seen == stratum).all(axis=1))
        weight[:, alike] = random.multinomial(len(alike), np.full(len(alike), 1 / len(alike)), RESAMPLES)
    each, is_at = weight[:, course.animal], (course.at[:, None] == np.arange(times)).astype(float)
    mean, step = (each * course.measured) @ is_at / (each @ is_at), np.diff(course.over_time(course.time_h))
    square = course.over_animals((course.simulated - course.measured) ** 2)
    areas = ((mean[:, 1:] + mean[:, :-1]) / 2) @ step if times > 1 else np.empty(0)
    return {"area": np.asarray(areas, float), "rmse": np.asarray(np.sqrt(weight @ square / animals), float)}
