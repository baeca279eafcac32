"""What readers of volumes share: bounds that are checked before anything is read, and the words of a refusal."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

UM_PER_UNIT = {"µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "meter": 1e6}

GZIP = 31  # zlib's word for a stream with gzip's header
BOMB = "must be sound: some of its compressed data grow beyond the voxels they stand for"

Spacing = tuple[float | None, ...]  # (z, y, x) in um; None where the file does not say


class Refused(Exception):
    """What a readable volume must be; becomes an InputError that names field and file."""


def check_header(shape: tuple[int, ...], dtype: np.dtype[Any], limit_bytes: int, stored_bytes: int | None = None) -> None:
    """Refuse, before reading, what is no volume of real numbers, is too large, or (stored_bytes) is larger than its file."""
    if dtype.kind not in "buif":
        raise Refused(f"must hold integers, reals or booleans, not {dtype}")
    if len(shape) != 3:
        raise Refused(f"must be a volume with three axes (z, y, x), not of shape {shape}")
    if min(shape) < 1:
        raise Refused(f"must hold at least one voxel along each axis, not shape {shape}")
    size = dtype.itemsize
    for length in shape:
        size *= int(length)
    if size > limit_bytes:
        raise Refused(f"must not exceed {limit_bytes / 1024**3:g} GiB, its header says {size / 1024**3:.3g} GiB")
    if stored_bytes is not None and size > stored_bytes:
        raise Refused(f"must be complete: its header says {size} bytes, {stored_bytes} are there")


def check_inflation(packed: bytes, limit_bytes: int, wbits: int = zlib.MAX_WBITS) -> None:
    """Refuse deflated data that grow beyond `limit_bytes`, without keeping what they grow to; `GZIP` may follow on itself."""
    size = 0
    while packed:
        stream = zlib.decompressobj(wbits)
        while packed and not stream.eof:
            size += len(stream.decompress(packed, 1 << 20))
            packed = stream.unconsumed_tail
            if size > limit_bytes:
                raise Refused(BOMB)
        packed = stream.unused_data.lstrip(b"\0") if wbits == GZIP else b""


def native(data: NDArray[Any]) -> NDArray[Any]:
    """In this machine's byte order and in C order, the file let go."""
    return np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("="))
