"""Means over blocks of voxels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def block_mean(values: NDArray[Any], factors: int | tuple[int, int, int]) -> NDArray[Any]:
    """(…, z, y, x) means over blocks of factor³ voxels, added up in double precision.

    Raises ValueError where the blocks do not divide the volume.
    """
    edges = (factors,) * 3 if isinstance(factors, int) else factors
    shape = values.shape[-3:]
    if any(n % edge for n, edge in zip(shape, edges, strict=True)):
        raise ValueError(f"a volume of {shape} voxels does not divide into blocks of {factors}")
    split = [part for n, edge in zip(shape, edges, strict=True) for part in (n // edge, edge)]
    blocks = values.reshape(*values.shape[:-3], *split)
    return np.asarray(blocks.mean(axis=(-5, -3, -1), dtype=np.result_type(values, np.float64)).astype(values.dtype))
