"""Quantities that follow from themselves: x = g(x), where g is nearly linear and draws in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REMEMBERED = 10
ROUGH = 1e-2


def settle(follows: Callable[[Floats, float], Floats], x: Floats, tolerance: float, at_most: int) -> tuple[Floats, int]:
    """The last x (n,) ≥ 0 that `follows` was called with, and how often, where |follows(x) − x| ≤ tolerance · max(x).

    `follows` also learns by what share the x before still changed, 1 at first: it need not be much more exact than that, and
    what it finds is the last only from changes of `ROUGH` on.

    Picard's iteration, sped up by Anderson's mixing (1965, doi:10.1145/321296.321305): of a linear map it takes the
    combination of the last eleven results that leaves the smallest difference. Sums are numpy's own, so that
    the bits depend on no library's threads.
    Raises ArithmeticError if `at_most` rounds do not do.
    """
    results: list[Floats] = []
    left: list[Floats] = []
    change = 1.0
    for rounds in range(1, at_most + 1):
        found = follows(x, change)
        difference = found - x
        most, scale = float(np.abs(difference).max(initial=0.0)), float(x.max(initial=0.0))
        if most <= tolerance * scale and (change <= ROUGH or scale == 0):
            return x, rounds
        change = most / scale if scale > 0 else most
        results, left = [*results[-REMEMBERED:], found], [*left[-REMEMBERED:], difference]
        x = np.maximum(_mixed(results, left), 0.0)
    raise ArithmeticError(f"no balance after {at_most} rounds: {most:.2g} of {scale:.2g} still changes")


def _mixed(results: list[Floats], left: list[Floats]) -> Floats:
    """The last result less what makes the differences that are left smallest in the mean square."""
    if len(results) == 1:
        return results[0]
    steps = np.array([left[-1] - before for before in left[:-1]])
    gram = np.einsum("in,jn->ij", steps, steps)
    gram[np.diag_indices_from(gram)] *= 1 + 1e-12  # steps that are alike leave it singular
    weight = np.linalg.lstsq(gram, np.einsum("in,n->i", steps, left[-1]), rcond=None)[0]
    return results[-1] - sum((w * (results[-1] - before) for w, before in zip(weight, results[:-1], strict=True)), np.float64(0))
