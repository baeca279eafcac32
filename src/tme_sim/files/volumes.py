"""Reading image volumes: OME-TIFF and plain TIFF, NIfTI, npy. Files are strangers: sizes are checked before anything is read."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tme_sim.state.errors import InputError

VOXEL_KEY = "tissue.voxel"
LIMIT_BYTES = 2 * 1024**3
LIMIT_PAGES = 65_536  # TIFF pages are a linked list, which a damaged file can close into a long ring
UM_PER_UNIT = {"µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "meter": 1e6}

Spacing = tuple[float | None, ...]  # (z, y, x) in um; None where the file does not say


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

    voxel_um: one edge or (z, y, x), needed where the file does not say (plain TIFF, npy). field: the configuration key that
    named the file, for messages. limit_bytes: the largest array to be read. Raises InputError, and nothing else, whatever the
    file holds.
    """
    given = None if voxel_um is None else _given_voxel(voxel_um)
    source = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a parser thinks odd is either refused here or of no consequence
            data, spacing = _reader(source)(source, limit_bytes)
            _check_data(data)
    except _Refused as refusal:
        raise InputError(field, source, str(refusal)) from None
    except Exception as error:  # the parsers raise whatever a damaged file leads them to
        raise InputError(field, source, f"must be a readable volume ({type(error).__name__}: {str(error)[:160]!r})") from error
    return Volume(data, _voxel(spacing, given, field, source), source)


class _Refused(Exception):
    """What a readable volume must be; becomes an InputError that names field and file."""


def _reader(path: Path) -> Callable[[Path, int], tuple[NDArray[Any], Spacing]]:
    name = path.name.lower()
    readers = {".tif": _read_tiff, ".tiff": _read_tiff, ".nii": _read_nifti, ".nii.gz": _read_nifti, ".npy": _read_npy}
    found = [reader for suffix, reader in readers.items() if name.endswith(suffix)]
    if not found:
        raise _Refused(f"must end in one of {', '.join(readers)}")
    if not path.is_file():
        raise _Refused("must be an existing file")
    if not path.stat().st_size:
        raise _Refused("must not be empty")
    return found[0]


def _check_header(shape: tuple[int, ...], dtype: np.dtype[Any], limit_bytes: int, stored_bytes: int | None = None) -> None:
    """Refuse, before reading, what is no volume of real numbers, is too large, or (stored_bytes) is larger than its file."""
    if dtype.kind not in "buif":
        raise _Refused(f"must hold integers, reals or booleans, not {dtype}")
    if len(shape) != 3:
        raise _Refused(f"must be a volume with three axes (z, y, x), not of shape {shape}")
    if min(shape) < 1:
        raise _Refused(f"must hold at least one voxel along each axis, not shape {shape}")
    size = dtype.itemsize
    for length in shape:
        size *= int(length)
    if size > limit_bytes:
        raise _Refused(f"must not exceed {limit_bytes / 1024**3:g} GiB, its header says {size / 1024**3:.3g} GiB")
    if stored_bytes is not None and size > stored_bytes:
        raise _Refused(f"must be complete: its header says {size} bytes, {stored_bytes} are there")


def _check_data(data: NDArray[Any]) -> None:
    if data.dtype.kind == "f" and not all(np.isfinite(plane).all() for plane in data):
        raise _Refused("must hold finite numbers only, not NaN or infinity")


def _read_npy(path: Path, limit_bytes: int) -> tuple[NDArray[Any], Spacing]:
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if read_header is None:
            raise _Refused("must be of npy format 1.0 or 2.0")
        shape, _, dtype = read_header(file)
        while len(shape) > 3 and shape[0] == 1:
            shape = shape[1:]
        _check_header(shape, dtype, limit_bytes, path.stat().st_size - file.tell())
    data = np.load(path, allow_pickle=False)
    return _native(data.reshape(shape)), (None, None, None)


def _read_nifti(path: Path, limit_bytes: int) -> tuple[NDArray[Any], Spacing]:
    import nibabel

    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # its remarks on a damaged header become our error
    loaded = nibabel.load(path)
    if not isinstance(loaded, nibabel.Nifti1Image):  # NIfTI-2 is a subclass
        raise _Refused("must be a NIfTI image")
    image: Any = loaded  # much of nibabel is not typed
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    stored = None if path.name.lower().endswith(".gz") else path.stat().st_size - int(image.dataobj.offset)
    _check_header(shape, image.get_data_dtype(), limit_bytes, stored)
    if (image.dataobj.slope, image.dataobj.inter) != (1, 0):
        _check_header(shape, np.dtype(np.float64), limit_bytes)  # what scaling makes of it
    canonical: Any = nibabel.funcs.as_closest_canonical(image)  # type: ignore[no-untyped-call]
    unit = image.header.get_xyzt_units()[0]
    um_per_unit = 1e3 if unit == "unknown" else UM_PER_UNIT[unit]
    edges_um = np.linalg.norm(canonical.affine[:3, :3], axis=0) * um_per_unit
    data = np.asarray(canonical.dataobj).reshape(canonical.shape[:3])
    return _native(data.transpose()), tuple(float(edge) for edge in edges_um[::-1])


def _read_tiff(path: Path, limit_bytes: int) -> tuple[NDArray[Any], Spacing]:
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its remarks on a damaged file become our error
    # OME-XML is read below, for tifffile would follow it into other files
    with tifffile.TiffFile(path, is_ome=False) as tiff:
        _check_pages(tiff)
        series = tiff.series[0]
        if len(tiff.series) > 1:
            raise _Refused(f"must hold one image, not {len(tiff.series)}")
        sizes = [(axis, size) for axis, size in zip(series.axes, series.shape, strict=True) if size > 1 or axis in "ZYX"]
        axes, shape = "".join(axis for axis, _ in sizes), tuple(size for _, size in sizes)
        if len(axes) != 3 or axes[1:] != "YX" or axes[0] in "CST":
            raise _Refused(f"must be a volume with axes ZYX (one channel, one time), not {axes} of shape {shape}")
        as_is = series.keyframe.compression == 1 and series.keyframe.bitspersample == 8 * series.dtype.itemsize
        _check_header(shape, series.dtype, limit_bytes, path.stat().st_size if as_is else None)
        spacing = _ome_spacing(tiff.pages.first.description, shape)
        return _native(series.asarray().reshape(shape)), spacing


def _check_pages(tiff: Any) -> None:
    """Refuse what tifffile lets pass: rings of pages, a list of pages that breaks off, pages whose pixels are not there."""
    try:
        tiff.pages[LIMIT_PAGES]
    except IndexError:
        pass
    else:
        raise _Refused(f"must hold at most {LIMIT_PAGES} pages")
    tiff.filehandle.seek(tiff.pages.next_page_offset)
    if tiff.filehandle.read(tiff.tiff.offsetsize) != bytes(tiff.tiff.offsetsize):  # the last page says there is no next
        raise _Refused("must be complete: its list of pages breaks off")
    for page in tiff.pages:
        segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        if not segments or any(not (offset and count) or offset + count > tiff.filehandle.size for offset, count in segments):
            raise _Refused("must be complete: some of its pixels are not in the file")


def _ome_spacing(description: str, shape: tuple[int, ...]) -> Spacing:
    """Voxel edges from OME-XML (its default unit is µm), after checking that it speaks of the image that was found."""
    if not description.rstrip(" \n\r\t\0").endswith("OME>"):
        return (None, None, None)
    if "<!DOCTYPE" in description or "<!ENTITY" in description:
        raise _Refused("must have OME-XML without a DOCTYPE")
    pixels = ET.fromstring(description.rstrip("\0").encode()).findall("{*}Image/{*}Pixels")
    if len(pixels) != 1:
        raise _Refused(f"must hold one image, its OME-XML says {len(pixels)}")
    says = pixels[0].attrib
    if int(says.get("SizeC", 1)) * int(says.get("SizeT", 1)) != 1:
        raise _Refused(f"must hold one channel and one time, its OME-XML says {says.get('SizeC')} and {says.get('SizeT')}")
    claimed = tuple(int(says[f"Size{axis}"]) for axis in "ZYX")
    if claimed != shape:
        raise _Refused(f"must be complete: its OME-XML says {claimed} voxels (z, y, x), {shape} are there")
    return tuple(_ome_edge_um(says, axis) for axis in "ZYX")


def _ome_edge_um(says: dict[str, str], axis: str) -> float | None:
    size, unit = says.get(f"PhysicalSize{axis}"), says.get(f"PhysicalSize{axis}Unit", "µm")
    if size is None or unit in {"pixel", "reference frame"}:  # OME's words for an image without a scale
        return None
    if unit not in UM_PER_UNIT:
        raise _Refused(f"must give PhysicalSize{axis} in nm, µm, mm, cm or m, not {unit!r}")
    return float(size) * UM_PER_UNIT[unit]


def _native(data: NDArray[Any]) -> NDArray[Any]:
    """In this machine's byte order and in C order, the file let go."""
    return np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("="))


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
