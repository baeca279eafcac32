"""Reading image volumes: OME-Zarr, TIFF (OME, ImageJ, plain), NIfTI, npy. Files are strangers: sizes are checked first."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.files.ome_zarr import read_ome_zarr
from tme_sim.files.tiff import read_tiff
from tme_sim.files.volume_checks import UM_PER_UNIT, Refused, Spacing, check_header, native
from tme_sim.state.errors import InputError

VOXEL_KEY = "tissue.voxel"
LIMIT_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Volume:
    """data: (z, y, x); voxel_um: edges of a voxel along z, y, x; source: the file it came from."""

    data: NDArray[Any]
    voxel_um: tuple[float, float, float]
    source: Path


def read_volume(
    path: str | Path, *, voxel_um: ArrayLike | None = None, field: str = "tissue.vessels", limit_bytes: int = LIMIT_BYTES
) -> Volume:
    """Read a volume with axes (z, y, x); a NIfTI image is turned until x, y, z point right, anterior, superior.

    Of an OME-Zarr image (a folder) the highest resolution is read. voxel_um: one edge or (z, y, x), needed where the file does
    not say (plain TIFF, npy). field: the configuration key that named the file, for messages. limit_bytes: the largest array
    to be read. Raises InputError, and nothing else, whatever the file holds.
    """
    refuse_remote(path, field)
    given = None if voxel_um is None else _given_voxel(voxel_um)
    source = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a parser thinks odd is either refused here or of no consequence
            data, spacing = _reader(source)(source, limit_bytes)
            _check_data(data)
    except Refused as refusal:
        raise InputError(field, source, str(refusal)) from None
    except Exception as error:  # the parsers raise whatever a damaged file leads them to
        raise InputError(field, source, f"must be a readable volume ({type(error).__name__}: {str(error)[:160]!r})") from error
    return Volume(data, _voxel(spacing, given, field, source), source)


def refuse_remote(path: str | Path, field: str) -> None:
    """Refuse an address, such as https://… or s3://…: nothing is fetched."""
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:/", str(path)):
        raise InputError(field, path, "must be a file or folder on this machine; download it first")


def _reader(path: Path) -> Callable[[Path, int], tuple[NDArray[Any], Spacing]]:
    name = path.name.lower()
    readers = {".tif": read_tiff, ".tiff": read_tiff, ".nii": _read_nifti, ".nii.gz": _read_nifti, ".npy": _read_npy}
    found = [reader for suffix, reader in readers.items() if name.endswith(suffix)]
    if name.endswith(".zarr"):
        if not path.is_dir():
            raise Refused("must be an existing folder")
        return read_ome_zarr
    if not found:
        raise Refused(f"must end in one of {', '.join(readers)}, .zarr")
    if not path.is_file():
        raise Refused("must be an existing file")
    if not path.stat().st_size:
        raise Refused("must not be empty")
    return found[0]


def _check_data(data: NDArray[Any]) -> None:
    if data.dtype.kind == "f" and not all(np.isfinite(plane).all() for plane in data):
        raise Refused("must hold finite numbers only, not NaN or infinity")


def _read_npy(path: Path, limit_bytes: int) -> tuple[NDArray[Any], Spacing]:
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if read_header is None:
            raise Refused("must be of npy format 1.0 or 2.0")
        shape, _, dtype = read_header(file)
        while len(shape) > 3 and shape[0] == 1:
            shape = shape[1:]
        check_header(shape, dtype, limit_bytes, path.stat().st_size - file.tell())
    data = np.load(path, allow_pickle=False)
    return native(data.reshape(shape)), (None, None, None)


def _read_nifti(path: Path, limit_bytes: int) -> tuple[NDArray[Any], Spacing]:
    import nibabel

    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # its remarks on a damaged header become our error
    loaded = nibabel.load(path)
    if not isinstance(loaded, nibabel.Nifti1Image):  # NIfTI-2 is a subclass
        raise Refused("must be a NIfTI image")
    image: Any = loaded  # much of nibabel is not typed
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    stored = None if path.name.lower().endswith(".gz") else path.stat().st_size - int(image.dataobj.offset)
    check_header(shape, image.get_data_dtype(), limit_bytes, stored)
    if (image.dataobj.slope, image.dataobj.inter) != (1, 0):
        check_header(shape, np.dtype(np.float64), limit_bytes)  # what scaling makes of it
    canonical: Any = nibabel.funcs.as_closest_canonical(image)  # type: ignore[no-untyped-call]
    unit = image.header.get_xyzt_units()[0]
    um_per_unit = 1e3 if unit == "unknown" else UM_PER_UNIT[unit]
    edges_um = np.linalg.norm(canonical.affine[:3, :3], axis=0) * um_per_unit
    data = np.asarray(canonical.dataobj).reshape(canonical.shape[:3])
    return native(data.transpose()), tuple(float(edge) for edge in edges_um[::-1])


def _given_voxel(voxel_um: ArrayLike) -> tuple[float, ...]:
    try:
        edges = np.asarray(voxel_um, dtype=np.float64)
        if edges.shape not in {(), (3,)}:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise InputError(VOXEL_KEY, voxel_um, "must be one length or three (z, y, x)") from None
    if not (np.isfinite(edges) & (edges > 0)).all():
        raise InputError(VOXEL_KEY, voxel_um, "must be finite and above 0 um")
    return tuple(float(edge) for edge in np.broadcast_to(edges, 3))


def _voxel(spacing: Spacing, given: tuple[float, ...] | None, field: str, path: Path) -> tuple[float, float, float]:
    """The file's voxel, or the given one where the file is silent; two that differ by more than 1 % are an error."""
    chosen = []
    for axis, edge, wanted in zip("zyx", spacing, given or (None, None, None), strict=True):
        if edge is not None and not (np.isfinite(edge) and edge > 0):
            raise InputError(field, path, f"must have a finite voxel size above 0, its header says {edge:g} um along {axis}")
        if edge is not None and wanted is not None and abs(edge - wanted) > 0.01 * edge:
            raise InputError(VOXEL_KEY, f"{wanted:g} um", f"must agree with {path}, whose header says {edge:g} um along {axis}")
        choice = edge if edge is not None else wanted
        if choice is None:
            raise InputError(VOXEL_KEY, None, f"must be set, {path} does not say its voxel size along {axis}")
        chosen.append(choice)
    z, y, x = chosen
    return z, y, x
