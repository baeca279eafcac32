"""What all writers of images share: the numbers as they are stored."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = version("tme-sim")
GENERATOR = f"tme-sim {VERSION}"


def stored(data: NDArray[Any], name: str) -> NDArray[Any]:
    """Reals as float32, integers and labels as they are; 0 for NaN, where an instrument gives no number, as in scanners' maps.

    Raises ValueError for what is infinite or would be.
    """
    if data.dtype.kind != "f":
        return np.ascontiguousarray(data)
    with np.errstate(over="ignore"):
        small = np.ascontiguousarray(data, dtype=np.float32)
    if np.isinf(small).any():
        raise ValueError(f"image {name}: holds numbers that are infinite, or too large for float32")
    return np.nan_to_num(small) if np.isnan(small).any() else small
