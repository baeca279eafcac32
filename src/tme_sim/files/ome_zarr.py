"""Reading OME-Zarr 0.4 and 0.5 images from local folders: every size and codec is checked in the metadata before zarr opens it.

https://ngff.openmicroscopy.org/0.4 and /0.5: `multiscales` names axes, levels (the first is the finest) and their scales.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.files.volume_checks import BOMB, GZIP, UM_PER_UNIT, Refused, Spacing, check_header, check_inflation, native

LIMIT_JSON_BYTES = 4 * 1024**2
LIMIT_CHUNKS = 2**18
UM_PER_AXIS_UNIT = UM_PER_UNIT | {"angstrom": 1e-4, "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4}
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZSTD_BLOCK = 128 * 1024
ABSENT = 2**64 - 1  # a shard's word for a chunk that holds the fill value only

Json = Mapping[str, Any]


def read_ome_zarr(folder: Path, limit_bytes: int) -> tuple[NDArray[Any], Spacing]:
    """The finest level as (z, y, x) and its voxel; other axes must have length 1. Chunks that are not stored hold the fill value.

    Compressed chunks must not claim more than their voxels, codecs are those of the core specification (pickles are among
    zarr's others), nothing outside the folder is read.
    """
    import zarr

    root = folder.resolve()
    image, version = _image(root)
    axes = _axes(image)
    level = _entry(image, "datasets")
    part = _inside(root, level.get("path"))
    array = _Array(part, version)
    if len(array.shape) != len(axes) or any(size != 1 for size in array.shape[:-3]):
        raise Refused(f"must be a volume with axes zyx (one channel, one time), not {''.join(axes)} of shape {array.shape}")
    check_header(array.shape[-3:], array.dtype, limit_bytes)
    array.check_chunks(limit_bytes)
    scale = np.ones(len(axes))
    for entry in (level, image):
        scale = scale * _scale(entry, len(axes))
    units = [axis.get("unit") for axis in image["axes"][-3:]]
    spacing = tuple(None if unit is None else float(size) * _um(unit) for unit, size in zip(units, scale[-3:], strict=True))
    stored = zarr.open_array(str(part), mode="r", zarr_format=version)
    return native(np.asarray(stored[...]).reshape(array.shape[-3:])), spacing


def _image(root: Path) -> tuple[Json, Any]:
    """The one image's `multiscales` entry, and the zarr format that its OME-Zarr version prescribes."""
    if (root / "zarr.json").is_file():
        says, version, expected = _json(root / "zarr.json").get("attributes", {}).get("ome", {}), 3, "0.5"
        given = says.get("version")
    else:
        says, version, expected = _json(root / ".zattrs") if (root / ".zattrs").is_file() else {}, 2, "0.4"
        given = None
    images = says.get("multiscales")
    if not isinstance(images, list) or len(images) != 1:
        raise Refused("must be the folder of one OME-Zarr image (it has `multiscales`), not of a collection, plate or bare array")
    given = given or images[0].get("version", expected)
    if given != expected:
        raise Refused(f"must be OME-Zarr 0.4 (zarr 2) or 0.5 (zarr 3), not {given} in zarr {version}")
    return images[0], version


def _axes(image: Json) -> list[str]:
    axes = [axis["name"] for axis in image["axes"]]
    if axes[-3:] != ["z", "y", "x"] or any(axis.get("type") == "space" for axis in image["axes"][:-3]):
        raise Refused(f"must be a volume with axes zyx (one channel, one time), not {''.join(map(str, axes))}")
    return axes


def _scale(entry: Json, axes: int) -> NDArray[np.float64]:
    for step in entry.get("coordinateTransformations", []):
        if step["type"] == "scale":
            return np.asarray(step["scale"], np.float64).reshape(axes)
    return np.ones(axes)


def _um(unit: str) -> float:
    if unit not in UM_PER_AXIS_UNIT:
        raise Refused(f"must give its axes in nanometer, micrometer, millimeter, centimeter or meter, not {unit!r}")
    return UM_PER_AXIS_UNIT[unit]


def _entry(image: Json, name: str) -> Json:
    entries = image.get(name)
    if not isinstance(entries, list) or not entries:
        raise Refused(f"must list its {name}")
    return entries[0]  # type: ignore[no-any-return]


def _json(path: Path) -> Json:
    if not path.is_file():
        raise Refused(f"must be complete: {path.name} is missing")
    if path.stat().st_size > LIMIT_JSON_BYTES:
        raise Refused(f"must have metadata below {LIMIT_JSON_BYTES / 1024**2:g} MiB")
    says = json.loads(path.read_text("utf-8"))
    if not isinstance(says, dict):
        raise Refused(f"must hold a JSON object in {path.name}")
    return says


def _inside(root: Path, relative: Any) -> Path:
    """A folder or file of the store; links that lead out of it are refused."""
    if not isinstance(relative, str) or not relative or "\0" in relative:
        raise Refused("must name its levels by a path")
    path = (root / relative).resolve()
    if not path.is_relative_to(root):
        raise Refused("must keep all its parts within its folder")
    return path


def _is_count(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0


class _Array:
    """What the metadata of one zarr array say: shape, dtype, chunk (what one file holds), codec of its bytes, shards' parts."""

    def __init__(self, folder: Path, version: int) -> None:
        self.folder = folder
        self.part: tuple[int, ...] = ()  # of a shard
        self.prefix: list[str] = []
        self.index_at_end, self.index_checksum = True, 0
        if version == 2:
            self._read_2(_json(folder / ".zarray"))
        else:
            self._read_3(_json(folder / "zarr.json"))
        if not all(map(_is_count, (*self.shape, *self.chunk, *self.part))) or min(self.chunk) < 1:
            raise Refused("must have whole numbers as shape and chunks")
        if self.separator not in {".", "/"}:
            raise Refused("must part the numbers of its chunks by . or /")

    def _read_2(self, says: Json) -> None:
        self.shape, self.chunk = tuple(says["shape"]), tuple(says["chunks"])
        self.dtype = np.dtype(str(says["dtype"]))
        self.codec = None if says["compressor"] is None else says["compressor"]["id"]
        if says.get("filters") or self.codec not in {None, "blosc", "zstd", "gzip", "zlib", "lz4"}:
            raise Refused(f"must be stored without filters, plain or with blosc, zstd, gzip, zlib or lz4, not {self.codec!r}")
        self.separator = says.get("dimension_separator", ".")

    def _read_3(self, says: Json) -> None:
        if says.get("node_type") != "array" or says.get("storage_transformers"):
            raise Refused("must name arrays as its levels")
        self.shape, self.dtype = tuple(says["shape"]), np.dtype(str(says["data_type"]))
        if says["chunk_grid"]["name"] != "regular":
            raise Refused("must have a regular grid of chunks")
        self.chunk = tuple(says["chunk_grid"]["configuration"]["chunk_shape"])
        keys = says["chunk_key_encoding"]
        default = keys["name"] == "default"
        self.prefix = ["c"] if default else []
        self.separator = keys.get("configuration", {}).get("separator", "/" if default else ".")
        codecs = says["codecs"]
        if codecs[0]["name"] == "sharding_indexed":
            shard = codecs[0]["configuration"]
            self.part = tuple(shard["chunk_shape"])
            self.index_at_end = shard.get("index_location", "end") == "end"
            index = [codec["name"] for codec in shard["index_codecs"]]
            if len(codecs) > 1 or index not in (["bytes"], ["bytes", "crc32c"]):
                raise Refused("must have shards with a plain index and no further codec")
            self.index_checksum = 4 * (len(index) - 1)
            codecs = shard["codecs"]
        names = [codec["name"] for codec in codecs if codec["name"] not in {"transpose", "bytes", "crc32c"}]
        if len(names) > 1 or not set(names) <= {"blosc", "zstd", "gzip"}:
            raise Refused(f"must be stored plain or with blosc, zstd or gzip, not {', '.join(map(str, names))}")
        self.codec = names[0] if names else None

    def check_chunks(self, limit_bytes: int) -> None:
        """Refuse too many or too large chunks, and stored ones that claim to hold more than their voxels."""
        if len(self.chunk) != len(self.shape) or len(self.part or self.chunk) != len(self.shape):
            raise Refused("must have chunks with the axes of the array")
        grid = [math.ceil(size / edge) for size, edge in zip(self.shape, self.chunk, strict=True)]
        parts = math.prod(chunk // edge for chunk, edge in zip(self.chunk, self.part or self.chunk, strict=True))
        if math.prod(grid) * max(parts, 1) > LIMIT_CHUNKS:
            raise Refused(f"must hold at most {LIMIT_CHUNKS} chunks")
        if math.prod(self.chunk) * self.dtype.itemsize > limit_bytes:
            raise Refused(f"must have chunks of at most {limit_bytes / 1024**3:g} GiB")
        most = math.prod(self.part or self.chunk) * self.dtype.itemsize
        for place in product(*map(range, grid)):
            path = _inside(self.folder, self.separator.join([*self.prefix, *map(str, place)]))
            if not path.exists():
                continue
            if not path.is_file():
                raise Refused("must have files as chunks")
            for start, count in self._stored(path, parts):
                _check_grown(path, start, count, self.codec, most)

    def _stored(self, path: Path, parts: int) -> Iterator[tuple[int, int]]:
        """Where in a file compressed chunks lie: (start, bytes)."""
        size = path.stat().st_size
        if not self.part:
            yield 0, size
            return
        length = 16 * parts + self.index_checksum
        if size < length:
            raise Refused("must be complete: a shard is shorter than its index")
        with path.open("rb") as file:
            file.seek(size - length if self.index_at_end else 0)
            index = np.frombuffer(file.read(16 * parts), "<u8").reshape(-1, 2)
        for start, count in index.tolist():
            if (start, count) == (ABSENT, ABSENT):
                continue
            if start + count > size:
                raise Refused("must be complete: a shard names chunks beyond its end")
            yield start, count


def _check_grown(path: Path, start: int, count: int, codec: str | None, most: int) -> None:
    """Refuse stored bytes that would unpack to more than `most`: by what they say of it, or by counting."""
    if count > most + most // 64 + 2**16:  # packing adds less
        raise Refused(BOMB)
    with path.open("rb") as file:
        file.seek(start)
        packed = file.read(count)
    if codec in {"gzip", "zlib"}:
        check_inflation(packed, most, GZIP if codec == "gzip" else zlib.MAX_WBITS)
    elif codec is not None:
        claim = (
            _zstd_bytes(packed) if codec == "zstd" else int.from_bytes(packed[4:8] if codec == "blosc" else packed[:4], "little")
        )
        if claim > most + (ZSTD_BLOCK if codec == "zstd" else 0):
            raise Refused(BOMB)


def _zstd_bytes(packed: bytes) -> int:
    """Size of a zstd frame's content, RFC 8878 section 3.1.1, or the most that its blocks can hold where it does not say."""
    if packed[:4] != ZSTD_MAGIC:
        raise Refused("must be sound: a chunk is no zstd frame")
    descriptor = packed[4]
    single = descriptor >> 5 & 1
    length = (single, 2, 4, 8)[descriptor >> 6]
    at = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3]
    if length:
        return int.from_bytes(packed[at : at + length], "little") + (256 if length == 2 else 0)
    size, last = 0, 0
    while not last and at + 3 <= len(packed):
        block = int.from_bytes(packed[at : at + 3], "little")
        last, kind, held = block & 1, block >> 1 & 3, block >> 3
        size += ZSTD_BLOCK if kind == 2 else held
        at += 3 + (1 if kind == 1 else held)
    return size
