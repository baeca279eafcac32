"""Work arrays that solvers of one shape use in turn, so that three fields on a large lattice do not need three sets."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any, TypeVar, cast
from weakref import WeakValueDictionary

Shape = tuple[int, int, int]
Lent = TypeVar("Lent")

_LENT: WeakValueDictionary[tuple[Any, ...], Any] = WeakValueDictionary()


def lent(kind: Callable[[Shape], Lent], shape: Shape) -> Lent:
    """Work arrays of a kind and shape, the same for all of a thread's solvers that are there: they work one after another."""
    key = kind, shape, get_ident()
    found = _LENT.get(key)
    if found is None:
        found = _LENT[key] = kind(shape)
    return cast("Lent", found)
