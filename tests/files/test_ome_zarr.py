from __future__ import annotations

import gzip
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs  # type: ignore[import-untyped]
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec

from tme_sim.files.volumes import read_volume
from tme_sim.state.errors import InputError

DATA = np.random.default_rng(1).integers(0, 1000, (5, 6, 7)).astype(np.uint16)
CHUNK = (2, 3, 4)


def write(
    folder: Path,
    data: NDArray[Any] = DATA,
    *,
    version: int = 3,
    axes: str = "zyx",
    unit: str | None = "micrometer",
    **options: Any,
) -> Path:
    """An image of two levels, the finest with voxels of 3, 2 and 1 units."""
    group = zarr.open_group(folder, mode="w", zarr_format=version)  # type: ignore[arg-type]
    chunks = (1,) * (data.ndim - 3) + options.pop("chunks", CHUNK)
    group.create_array("fine", shape=data.shape, chunks=chunks, dtype=data.dtype, **options)[...] = data
    group.create_array("coarse", shape=data[..., ::2].shape, dtype=data.dtype)[...] = data[..., ::2]
    kinds = {"t": "time", "c": "channel"}
    named: list[dict[str, Any]] = [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes]
    for axis in named[-3:] if unit else []:
        axis["unit"] = unit
    scale = [*(1.0 for _ in axes[:-3]), 1.5, 1.0, 0.5]
    levels = [
        {"path": name, "coordinateTransformations": [{"type": "scale", "scale": [*scale[:-1], along_x]}, {"type": "translation"}]}
        for name, along_x in (("fine", 0.5), ("coarse", 1.0))
    ]
    both = [{"type": "scale", "scale": [2.0] * len(axes)}]
    image = {"axes": named, "datasets": levels, "coordinateTransformations": both}
    if version == 3:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    else:
        group.attrs["multiscales"] = [image | {"version": "0.4"}]
    return folder


def edit(path: Path, change: Callable[[Any], None]) -> None:
    says = json.loads(path.read_text())
    change(says)
    path.write_text(json.dumps(says))


def refused(folder: Path, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_volume(folder, voxel_um=(3.0, 2.0, 1.0))
    assert str(caught.value).startswith("tissue.")


STORES: dict[str, dict[str, Any]] = {
    "0.4": {"version": 2},
    "0.4 gzip": {"version": 2, "compressors": numcodecs.GZip()},
    "0.4 zstd": {"version": 2, "compressors": numcodecs.Zstd()},
    "0.4 zlib": {"version": 2, "compressors": numcodecs.Zlib()},
    "0.4 lz4": {"version": 2, "compressors": numcodecs.LZ4()},
    "0.4 plain": {"version": 2, "compressors": None, "order": "F", "chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "0.5": {},
    "0.5 plain": {"compressors": None},
    "0.5 gzip": {"compressors": GzipCodec()},
    "0.5 blosc": {"compressors": BloscCodec()},
    "0.5 checked": {"compressors": [ZstdCodec(), Crc32cCodec()]},
    "0.5 v2 keys": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
    "0.5 shards": {"shards": (4, 6, 8)},
    "0.5 shards plain": {"shards": (4, 6, 8), "compressors": None},
}


@pytest.mark.parametrize("name", STORES)
def test_the_finest_level_is_read_with_its_scale(name: str, tmp_path: Path) -> None:
    volume = read_volume(write(tmp_path / "a.ome.zarr", **STORES[name]))
    assert np.array_equal(volume.data, DATA)
    assert volume.voxel_um == pytest.approx((3.0, 2.0, 1.0))


@pytest.mark.parametrize(("unit", "um"), [("nanometer", 1e-3), ("millimeter", 1e3), ("angstrom", 1e-4)])
def test_units_of_the_axes_are_honoured(unit: str, um: float, tmp_path: Path) -> None:
    assert read_volume(write(tmp_path / "a.zarr", unit=unit)).voxel_um == pytest.approx((3 * um, 2 * um, um))


def test_axes_without_a_unit_need_the_voxel_key_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "a.zarr", unit=None)
    with pytest.raises(InputError, match=r"^tissue\.voxel: must be set"):
        read_volume(folder)
    assert read_volume(folder, voxel_um=4.0).voxel_um == (4.0, 4.0, 4.0)
    refused(write(tmp_path / "b.zarr", unit="parsec"), "must give its axes in")


@pytest.mark.parametrize("version", [2, 3])
def test_one_channel_and_one_time_are_dropped_and_more_are_refused(version: int, tmp_path: Path) -> None:
    one = write(tmp_path / "a.zarr", DATA[None, None], version=version, axes="tczyx")
    assert np.array_equal(read_volume(one).data, DATA)
    refused(write(tmp_path / "b.zarr", np.stack([DATA, DATA]), version=version, axes="czyx"), "one channel, one time")
    refused(write(tmp_path / "c.zarr", DATA, version=version, axes="xyz"), "one channel, one time")


def test_chunks_that_are_not_stored_hold_the_fill_value(tmp_path: Path) -> None:
    data = DATA.copy()
    data[:2] = 0
    folder = write(tmp_path / "a.zarr", data, version=2)
    assert not (folder / "fine/0.0.0").exists()
    assert np.array_equal(read_volume(folder).data, data)


@pytest.mark.parametrize("address", ["https://host.org/a.zarr", "s3://bucket/a.zarr", "https://host.org/a.tif"])
def test_addresses_are_refused(address: str) -> None:
    with pytest.raises(InputError, match="on this machine"):
        read_volume(address)


def test_collections_bare_arrays_and_other_versions_are_refused(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "bare.zarr", shape=(4, 4, 4), dtype="u1")
    zarr.open_group(tmp_path / "group.zarr", mode="w", zarr_format=2).create_group("0")
    for name in ("bare.zarr", "group.zarr"):
        refused(tmp_path / name, "folder of one OME-Zarr image")
    refused(tmp_path / "missing.zarr", "existing folder")
    (tmp_path / "file.zarr").touch()
    refused(tmp_path / "file.zarr", "existing folder")
    folder = write(tmp_path / "new.zarr")
    edit(folder / "zarr.json", lambda says: says["attributes"]["ome"].update(version="0.9"))
    refused(folder, r"must be OME-Zarr 0\.4")


def test_headers_beyond_the_limits_are_refused_unread(tmp_path: Path) -> None:
    folder = write(tmp_path / "a.zarr")
    with pytest.raises(InputError, match="must not exceed"):
        read_volume(folder, limit_bytes=DATA.nbytes - 1)
    claims: list[tuple[Callable[[Any], None], str]] = [
        (lambda says: says.update(shape=[50_000, 50_000, 50_000]), "must not exceed"),
        (lambda says: says.update(shape=[1000, 1000, 1000]), "chunks"),
        (lambda says: says["chunk_grid"]["configuration"].update(chunk_shape=[5000, 5000, 5000]), "chunks of at most"),
        (lambda says: says["chunk_grid"]["configuration"].update(chunk_shape=[0, 3, 4]), "whole numbers"),
        (lambda says: says["chunk_grid"]["configuration"].update(chunk_shape=[2, 3]), "axes of the array"),
        (lambda says: says.update(shape=[5, 6, 7.5]), "whole numbers"),
        (lambda says: says.update(shape=[5, 0, 7]), "at least one voxel"),
        (lambda says: says.update(data_type="complex64"), "must hold integers"),
        (lambda says: says["codecs"].append({"name": "numcodecs.bz2", "configuration": {}}), "must be stored"),
    ]
    for index, (change, words) in enumerate(claims):
        folder = write(tmp_path / f"{index}.zarr")
        edit(folder / "fine/zarr.json", change)
        refused(folder, words)
    (tmp_path / "a.zarr/zarr.json").write_text(" " * 2**23)
    refused(tmp_path / "a.zarr", "metadata below")


def test_a_pickle_among_the_codecs_is_refused_unread(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    for place in ("compressor", "filters"):
        folder = write(tmp_path / f"{place}.zarr", version=2)
        for chunk in (folder / "fine").glob("[0-9]*"):
            chunk.write_bytes(pickle.dumps(Trap()))
        codec = {"id": "pickle", "protocol": 5}
        edit(folder / "fine/.zarray", lambda says: says.update({place: codec if place == "compressor" else [codec]}))  # noqa: B023
        refused(folder, "must be stored without filters")
    assert not (tmp_path / "sprung").exists()


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    write(tmp_path / "other.zarr")
    for index, path in enumerate(("../other.zarr/fine", str(tmp_path / "other.zarr/fine"), 5, "")):
        folder = write(tmp_path / f"{index}.zarr")
        edit(folder / "zarr.json", lambda says: says["attributes"]["ome"]["multiscales"][0]["datasets"][0].update(path=path))  # noqa: B023
        refused(folder, "must (keep all its parts|name its levels)")
    folder = write(tmp_path / "link.zarr")
    (folder / "fine/c/0/0/0").unlink()
    (folder / "fine/c/0/0/0").symlink_to(tmp_path / "other.zarr/fine/c/0/0/0")
    refused(folder, "must keep all its parts")


def frame_without_size(blocks: int) -> bytes:
    """A zstd frame of `blocks` runs of 128 KiB zeros each, which says no size."""
    block = (2**17 << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    last = (2**17 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd" + b"\x00" + b"\x58" + block * (blocks - 1) + last


BOMBS: dict[str, tuple[dict[str, Any], bytes]] = {
    "0.4 gzip": ({"compressors": numcodecs.GZip()}, gzip.compress(bytes(10**7))),
    "0.4 zlib": ({"compressors": numcodecs.Zlib()}, numcodecs.Zlib().encode(bytes(10**7))),
    "0.4 gzip twice": ({"compressors": numcodecs.GZip()}, gzip.compress(b"") + gzip.compress(bytes(10**7))),
    "0.4 blosc": ({}, numcodecs.Blosc().encode(np.zeros(10**7, "u1"))),
    "0.4 lz4": ({"compressors": numcodecs.LZ4()}, struct.pack("<I", 2**31 - 1) + bytes(20)),
    "0.4 zstd": ({"compressors": numcodecs.Zstd()}, numcodecs.Zstd().encode(bytes(10**7))),
    "0.4 zstd, silent": ({"compressors": numcodecs.Zstd()}, frame_without_size(100)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_chunks_that_grow_beyond_their_voxels_are_refused(name: str, tmp_path: Path) -> None:
    options, bomb = BOMBS[name]
    folder = write(tmp_path / "a.zarr", version=2, **options)
    assert np.array_equal(read_volume(folder).data, DATA)
    (folder / "fine/0.0.0").write_bytes(bomb)
    refused(folder, "grow beyond")


def test_a_bomb_in_a_shard_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "a.zarr", shards=(4, 6, 8), compressors=GzipCodec())
    shard = folder / "fine/c/0/0/0"
    stored = shard.read_bytes()
    bomb = gzip.compress(bytes(10**7))
    index = np.frombuffer(stored[-(8 * 16 + 4) : -4], "<u8").reshape(-1, 2).copy()
    index[0] = 0, len(bomb)
    index[1:, 0] += len(bomb)
    shard.write_bytes(bomb + stored[: -(8 * 16 + 4)] + index.tobytes() + stored[-4:])
    refused(folder, "grow beyond")
    index[0] = 0, 10**12
    shard.write_bytes(bomb + stored[: -(8 * 16 + 4)] + index.tobytes() + stored[-4:])
    refused(folder, "beyond its end")


@pytest.mark.parametrize("name", ["0.4", "0.4 zlib", "0.5", "0.5 shards"])
def test_damage_of_any_kind_gives_a_volume_or_an_input_error(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    folder = write(tmp_path / "a.zarr", DATA.astype(np.float32), **STORES[name])
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "coarse" not in path.parts)
    refusals = 0
    for _ in range(120):
        path = files[rng.integers(len(files))]
        intact = path.read_bytes()
        damaged = np.frombuffer(intact, np.uint8).copy()
        damaged[rng.integers(0, damaged.size, rng.integers(1, 6))] ^= rng.integers(1, 256, dtype=np.uint8)
        path.write_bytes(damaged.tobytes() if rng.random() < 0.8 else intact[: rng.integers(len(intact))])
        try:
            volume = read_volume(folder, voxel_um=(3.0, 2.0, 1.0))
        except InputError:
            refusals += 1
        else:
            assert volume.data.ndim == 3
            assert np.isfinite(volume.data).all()
        path.write_bytes(intact)
    assert refusals > 20
    assert np.array_equal(read_volume(folder).data, DATA)
