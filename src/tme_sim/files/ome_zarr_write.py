"""Writing OME-Zarr 0.5: an image with its pyramid, and its regions as labels.

https://ngff.openmicroscopy.org/0.5. A level halves the one below it: means of blocks for fields, the nearest voxel for labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from tme_sim.files.stored import GENERATOR, stored
from tme_sim.files.whole import plain, whole

VERSION = "0.5"
SMALL = 64
"""A level whose edges are no longer than this is the last."""
CHUNK = 128

Triple = tuple[float, float, float]


def write_ome_zarr(
    path: Path,
    data: NDArray[Any],
    voxel_um: Triple,
    origin_um: Triple = (0.0, 0.0, 0.0),
    *,
    channels: Sequence[str] = (),
    regions: NDArray[Any] | None = None,
    region_names: Mapping[int, str] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Write (z, y, x), or (channel, z, y, x) with the channels' names, to a folder `NAME.ome.zarr`. Reals as float32.

    voxel_um: edges along (z, y, x); origin_um: the centre of the first voxel. regions: (z, y, x) numbers, shown as labels.
    about: what to say of the image, such as its unit, kept as the attribute `tme_sim`.
    """
    data = stored(data, path.name)
    name = path.name.split(".")[0]
    with whole(path) as part:
        root = zarr.create_group(part, zarr_format=3)
        ome = _write_pyramid(root, name, data, voxel_um, origin_um, labels=False)
        if channels:
            ome["omero"] = {"channels": [_channel(label, each) for label, each in zip(channels, data, strict=True)]}
        root.attrs.update({"ome": ome, "tme_sim": {"generator": f"{GENERATOR}, synthetic", **plain(about or {})}})
        if regions is not None:
            labels = root.create_group("labels")
            labels.attrs["ome"] = {"version": VERSION, "labels": ["regions"]}
            group = labels.create_group("regions")
            ome = _write_pyramid(group, "regions", stored(regions, path.name), voxel_um, origin_um, labels=True)
            properties = [{"label-value": int(label), "name": text} for label, text in sorted((region_names or {}).items())]
            ome["image-label"] = {"properties": properties, "source": {"image": "../../"}} if properties else {}
            group.attrs["ome"] = ome
    return path


def _write_pyramid(
    group: zarr.Group, name: str, data: NDArray[Any], voxel_um: Triple, origin_um: Triple, *, labels: bool
) -> dict[str, Any]:
    """Write the levels of an image; returns what OME-Zarr wants to be said of it."""
    others = data.ndim - 3
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}] * others
    axes += [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"]
    names, datasets = [axis["name"] for axis in axes], []
    for number, (level, factors) in enumerate(levels(data, labels=labels)):
        chunks = (1,) * others + tuple(min(CHUNK, size) for size in level.shape[others:])
        array = group.create_array(str(number), shape=level.shape, chunks=chunks, dtype=level.dtype, dimension_names=names)
        array[...] = level
        scale = [factor * edge for factor, edge in zip(factors, voxel_um, strict=True)]
        shift = [at + (factor - 1) / 2 * edge for at, factor, edge in zip(origin_um, factors, voxel_um, strict=True)]
        steps = [
            {"type": "scale", "scale": [1.0] * others + scale},
            {"type": "translation", "translation": [0.0] * others + shift},
        ]
        datasets.append({"path": str(number), "coordinateTransformations": steps})
    image = {"name": name, "axes": axes, "datasets": datasets, "type": "nearest" if labels else "mean"}
    return {"version": VERSION, "multiscales": [image]}


def levels(data: NDArray[Any], *, labels: bool) -> Iterator[tuple[NDArray[Any], tuple[int, int, int]]]:
    """The levels of (…, z, y, x) from the finest on, each with the voxels that it takes together along z, y, x."""
    factors = [1, 1, 1]
    while True:
        yield data, (factors[0], factors[1], factors[2])
        axes = [axis for axis in (-3, -2, -1) if data.shape[axis] > SMALL]
        if not axes:
            return
        for axis in axes:
            data = _halved(data, axis, labels=labels)
            factors[axis] *= 2


def _halved(data: NDArray[Any], axis: int, *, labels: bool) -> NDArray[Any]:
    """Two voxels to one along an axis, a last one without a partner kept: their mean, or of labels the first."""
    axis += data.ndim
    pairs = np.arange(0, data.shape[axis], 2)
    if labels:
        return np.take(data, pairs, axis)
    count = np.minimum(data.shape[axis] - pairs, 2).reshape([-1 if i == axis else 1 for i in range(data.ndim)])
    sums = np.add.reduceat(data, pairs, axis, dtype=np.float64)
    return np.asarray(sums / count, data.dtype)


def _channel(label: str, data: NDArray[Any]) -> dict[str, Any]:
    """How a viewer shows a channel at first."""
    low, high = float(data.min()), float(data.max())
    return {
        "label": label,
        "color": "FFFFFF",
        "active": True,
        "window": {"min": low, "max": high, "start": low, "end": high},
    }
