"""Time courses of animals against curves with known answers."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log, sqrt

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from tme_sim.analysis.agreement import Comparison
from tme_sim.analysis.curve_comparison import area, compare_course, courses, half_life_h
from tme_sim.state.errors import InputError

Floats = NDArray[np.float64]
HOURS = np.array([1.0, 2.0, 5.0, 10.0, 20.0])
K = 0.1


def decay(hours: Floats) -> Floats:
    return 8 * np.exp(-K * hours)


def measured(curve: Callable[[Floats], Floats] = decay, animals: int = 3, **columns: object) -> pd.DataFrame:
    """Animals that are all seen at all times."""
    rows = {
        "group": "all",
        "organ": "blood",
        "unit": "%ID/mL",
        "subject": np.repeat([f"m{n}" for n in range(animals)], len(HOURS)),
        "time_h": np.tile(HOURS, animals),
        "value": np.tile(curve(HOURS), animals),
    }
    return pd.DataFrame(rows | columns)


def compared(table: pd.DataFrame, curve: Callable[[Floats], Floats] = decay, null: str = "washout") -> Comparison:
    found, notes = courses(table, {"blood": curve}, (), (0.0, 100.0), null)
    assert notes == []
    return compare_course(found[0], null)


def test_a_curve_compared_with_itself_agrees_wholly_and_washout_explains_it() -> None:
    found = compared(measured())
    assert (found.count, found.units) == (3, "animals")
    measures = found.measures
    assert measures["RMSE"].simulated == 0
    assert measures["RMSE"].null == pytest.approx(0, abs=1e-12)
    assert measures["concordance"].simulated == pytest.approx(1, rel=1e-12)
    assert measures["within twofold"].simulated == 1
    assert measures["half-life (h)"].measured == pytest.approx(log(2) / K, rel=1e-9)
    assert measures["half-life (h)"].simulated == measures["half-life (h)"].measured
    assert measures["AUC (h)"].simulated == measures["AUC (h)"].measured
    assert measures["AUC (h)"].low == pytest.approx(measures["AUC (h)"].measured, rel=1e-12)  # animals that are all alike


def test_a_factor_shows_in_area_share_and_concordance_but_not_in_half_life() -> None:
    measures = compared(measured(), lambda hours: 3 * decay(hours)).measures
    x = decay(HOURS)
    assert measures["AUC (h)"].simulated == pytest.approx(3 * (measures["AUC (h)"].measured or 0), rel=1e-12)
    assert measures["within twofold"].simulated == 0
    assert measures["half-life (h)"].simulated == pytest.approx(log(2) / K, rel=1e-9)
    expected = 6 * x.var() / (10 * x.var() + 4 * x.mean() ** 2)
    assert measures["concordance"].simulated == pytest.approx(expected, rel=1e-12)
    assert measures["RMSE"].simulated == pytest.approx(2 * sqrt(np.mean(x**2)), rel=1e-12)
    assert measures["bias"].simulated == pytest.approx(2 * x.mean(), rel=1e-12)


def test_the_animal_is_the_unit_and_not_its_samples() -> None:
    """One animal sampled at five times with error 1, four at a single time with none: the RMSE is √(1/5)."""
    many = measured(animals=1, value=decay(HOURS) + 1)
    few = measured(animals=5).groupby("subject").head(1).assign(subject=[f"single {n}" for n in range(5)]).iloc[:4]
    measures = compared(pd.concat([many, few], ignore_index=True)).measures
    assert measures["RMSE"].simulated == pytest.approx(sqrt(1 / 5), rel=1e-12)
    assert measures["bias"].simulated == pytest.approx(-1 / 5, rel=1e-12)
    sd = np.std([-1, 0, 0, 0, 0], ddof=1)
    assert measures["limits of agreement, lower"].simulated == pytest.approx(-0.2 - 1.959964 * sd, rel=1e-9)


def test_the_intervals_come_from_resampled_animals() -> None:
    """The area of n animals, each off by its own factor of spread s, has the standard error s A/√n."""
    animals, spread = 40, 0.3
    factor = 1 + np.random.default_rng(1).normal(0, spread, animals)
    found = compared(measured(animals=animals, value=np.concatenate([f * decay(HOURS) for f in factor]))).measures["AUC (h)"]
    assert found.measured is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.measured < found.high
    expected = 2 * 1.96 * factor.std() / sqrt(animals) * (area(HOURS, decay(HOURS)) or 0)
    assert found.high - found.low == pytest.approx(expected, rel=0.2)


def test_animals_are_grouped_at_the_nearest_nominal_time() -> None:
    table = measured(animals=2)
    table["time_h"] += np.where(table["subject"] == "m1", 0.2, 0.0)
    found, _ = courses(table, {"blood": decay}, tuple(HOURS), (0.0, 20.0), "constant")
    assert found[0].over_time(found[0].measured) == pytest.approx(decay(HOURS))
    assert found[0].null == pytest.approx(np.full(10, decay(HOURS).mean()))


def test_what_the_run_does_not_have_is_told() -> None:
    table = pd.concat([measured(), measured(organ="kidneys")], ignore_index=True)
    found, notes = courses(table, {"blood": decay}, (), (1.5, 10.0), "washout")
    assert sorted({*found[0].time_h}) == [2, 5, 10]
    assert notes == [
        "The run was first recorded at 1.5 h: 6 earlier values are not compared.",
        "The run ends at 10 h: 6 later values are not compared.",
        "Not in the run: kidneys.",
    ]
    with pytest.raises(InputError, match=r"has nothing that this run can be compared with\. Not in the run: kidneys"):
        courses(measured(organ="kidneys"), {"blood": decay}, (), (0.0, 100.0), "washout")


def test_a_washout_that_rises_is_the_mean_and_one_time_has_no_area() -> None:
    rising = measured(lambda hours: hours)
    found, _ = courses(rising, {"blood": decay}, (), (0.0, 100.0), "washout")
    assert found[0].null == pytest.approx(np.full(15, HOURS.mean()))
    once = compared(measured().query("time_h == 1")).measures
    assert once["AUC (h)"].measured is None
    assert once["concordance"].simulated is None
    assert once["RMSE"].simulated == 0


def test_half_lives_are_read_from_the_peak_on_and_need_three_points_and_a_fall() -> None:
    assert half_life_h(HOURS, np.array([0.1, 5.0, 5 * exp(-0.3), 5 * exp(-0.8), 5 * exp(-1.8)])) == pytest.approx(log(2) / 0.1)
    assert half_life_h(HOURS[:2], np.array([2.0, 1.0])) is None
    assert half_life_h(HOURS, np.full(5, 0.3)) is None
