"""Hands arrays to kernels in the one form they are compiled for: C order, plain, writeable type."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]


def plain(array: ArrayLike, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """An input for a kernel: C-contiguous, of type `dtype`, copied only where it must be.

    A read-only view becomes a writeable-typed one, since numba compiles a variant for each combination; the kernel only reads it.
    """
    view = np.asarray(array, dtype=dtype, order="C")
    if not view.flags.writeable:
        view = view.view()
        try:
            view.flags.writeable = True
        except ValueError:  # the memory itself is read-only
            view = view.copy()
    return view


def in_place(name: str, array: NDArray[Any], *dtypes: DTypeLike) -> NDArray[Any]:
    """The array a kernel may write to. Raises ValueError where writing would miss the caller's memory or its type."""
    allowed = [np.dtype(dtype) for dtype in dtypes]
    if not (array.flags.writeable and array.flags.c_contiguous and array.dtype in allowed):
        names = " or ".join(str(dtype) for dtype in allowed)
        raise ValueError(f"{name}: changed in place, so it must be a writeable C-contiguous array of {names}, not {array.dtype}")
    return np.asarray(array)
