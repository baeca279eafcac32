"""How kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.extending import overload

Function = TypeVar("Function", bound=Callable[..., Any])
prange = numba.prange


def kernel(function: Function) -> Function:
    """Compile a module-level function for one thread; numba finds only those again in its cache.

    The cache of a caller does not notice a change in another file: after editing a kernel that others call, remove `__pycache__`.
    """
    return cast(Function, numba.njit(cache=True, error_model="numpy")(function))


def parallel_kernel(function: Function) -> Function:
    """Compile a module-level function whose `prange` loops run on the threads of `set_threads`."""
    return cast(Function, numba.njit(cache=True, error_model="numpy", parallel=True)(function))


def by_type(function: Callable[..., Any]) -> Callable[[Function], Function]:
    """Give `function` a compiled body that depends on its arguments' types: what is decorated takes these and returns it."""
    return cast("Callable[[Function], Function]", overload(function, jit_options={"error_model": "numpy"}))
