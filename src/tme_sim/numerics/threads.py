"""How many threads the kernels run on; results never depend on it."""

from __future__ import annotations

from typing import Any

import numba

GRAIN = 65536
config: Any = numba.config
_granted = int(config.NUMBA_NUM_THREADS)


def set_threads(n: int) -> int:
    """Let kernels run on up to `n` threads and return the number granted.

    The ceiling is what numba launches with: the cores, or NUMBA_NUM_THREADS if that was set before numba was imported.
    Raises ValueError when n is below 1.
    """
    if n < 1:
        raise ValueError(f"threads {n}: needs at least 1")
    global _granted  # noqa: PLW0603 - one number per process, as numba's own
    _granted = min(n, int(config.NUMBA_NUM_THREADS))
    return _granted


def use_threads_for(work: int) -> int:
    """Called before a parallel kernel over `work` elements: a thread for every `GRAIN` of them, at least 1, at most the granted.

    A small kernel gains little from a second thread, and loses tens of milliseconds at its barrier when another process
    holds the core.
    """
    threads = max(1, min(_granted, work // GRAIN))
    numba.set_num_threads(threads)
    return threads
