"""The part of one amount, within kernels: one body serves counts and real amounts."""

from __future__ import annotations

from typing import Any

from numba import types

from tme_sim.numerics.binomial import binomial
from tme_sim.numerics.jit import by_type


def part(amount: Any, p: Any, stream: Any) -> Any:
    """What goes of `amount` with probability p, in a kernel: Binomial(amount, p) of integers, amount·p of reals.

    p must lie in [0, 1]; a stream of its own is spent for integers.
    """
    raise TypeError("part: for compiled kernels; outside of them it is share")


def _counted(amount: Any, p: Any, stream: Any) -> Any:
    return binomial(amount, p, stream)


def _real(amount: Any, p: Any, stream: Any) -> Any:
    return amount * p


@by_type(part)
def _choose(amount: Any, p: Any, stream: Any) -> Any:
    return _counted if isinstance(amount, types.Integer) else _real
