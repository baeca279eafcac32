"""How far simulated values agree with measured ones, each number with its closed form."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 500
NORMAL_95 = 1.959964
WITHIN = 2.0
"""Values within this factor of each other count as alike."""


@dataclass(frozen=True)
class Measure:
    """One number: measured, simulated and by the null model, None where there is none.

    low, high: 95 % of a bootstrap, of the measured number where there is one, else of the simulated one.
    """

    measured: float | None = None
    simulated: float | None = None
    null: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One thing compared, such as the liver of one group: its numbers by name, in their order.

    count: of `units`, the independent things measured (animals, voxels); null_model: in words.
    """

    what: str
    unit: str
    count: int
    units: str
    null_model: str
    measures: dict[str, Measure] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def concordance(measured: Floats, simulated: Floats) -> float | None:
    """Lin's concordance correlation 2 s_xy / (s_x² + s_y² + (x̄ − ȳ)²), variances over n (Lin 1989, doi:10.2307/2532051).

    None where neither varies and the means agree, or with under two values. For y = x + noise of variance σ² it is
    2 s²/(2 s² + σ²); for y = a x it is 2 a s²/(s² + a² s² + (1 − a)² x̄²); for y = x + c it is 2 s²/(2 s² + c²).
    """
    if len(measured) < 2:
        return None
    x, y = measured - measured.mean(), simulated - simulated.mean()
    scatter = np.mean(x**2) + np.mean(y**2) + (measured.mean() - simulated.mean()) ** 2
    return float(2 * np.mean(x * y) / scatter) if scatter > 0 else None


def correlation(measured: Floats, simulated: Floats) -> float | None:
    """Pearson's r; None where one does not vary."""
    x, y = measured - measured.mean(), simulated - simulated.mean()
    spread = float(np.sqrt(np.mean(x**2) * np.mean(y**2)))
    return float(np.mean(x * y)) / spread if spread > 1e-12 * float(np.abs(measured).max() * np.abs(simulated).max()) else None


def root_mean_square(difference: Floats, weight: Floats | None = None) -> float:
    """√⟨d²⟩; of noise of variance σ² it is σ, of a constant its size."""
    return float(np.sqrt(np.average(difference**2, weights=weight)))


def within_factor(measured: Floats, simulated: Floats) -> float | None:
    """Share of pairs within a factor of two, among those whose measured value is above 0; None where none is."""
    above = measured > 0
    ratio = simulated[above] / measured[above]
    return float(np.mean((ratio >= 1 / WITHIN) & (ratio <= WITHIN))) if above.any() else None


def limits_of_agreement(difference: Floats) -> tuple[float, float | None, float | None]:
    """Bland and Altman's bias d̄ and limits d̄ ± 1.96 s_d of simulated − measured; no limits with under two differences."""
    bias = float(difference.mean())
    if len(difference) < 2:
        return bias, None, None
    half = NORMAL_95 * float(difference.std(ddof=1))
    return bias, bias - half, bias + half


def wasserstein(first: Floats, second: Floats) -> float:
    """W1 between two distributions, ∫|F⁻¹ − G⁻¹|: after a shift by c it is |c|, after a scale a it is |a − 1|⟨x⟩ for x ≥ 0."""
    if len(first) == len(second):
        return float(np.mean(np.abs(np.sort(first) - np.sort(second))))
    from scipy.stats import wasserstein_distance  # slow to load

    return float(wasserstein_distance(first, second))


def interval(values: Floats) -> tuple[float | None, float | None]:
    """The middle 95 % of resampled numbers; none where they are not all finite or there are none."""
    if not len(values) or not np.isfinite(values).all():
        return None, None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
