"""Reading TIFF volumes: OME-TIFF, ImageJ's and plain ones. Only tifffile is trusted with pixels, and only after checks."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from tme_sim.files.volume_checks import UM_PER_UNIT, Refused, Spacing, check_header, check_inflation, native

LIMIT_PAGES = 65_536  # TIFF pages are a linked list, which a damaged file can close into a long ring
PLAIN, LZW, PACKBITS, DEFLATE = 1, 5, 32773, {8, 32946}  # values of the tag Compression
UM_PER_IMAGEJ_UNIT = UM_PER_UNIT | {"microns": 1.0, "inch": 25_400.0, r"\u00B5m": 1.0}


def read_tiff(path: Path, limit_bytes: int) -> tuple[NDArray[Any], Spacing]:
    """The one image of a file as (z, y, x), and its voxel's edges as far as OME-XML or ImageJ say them."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its remarks on a damaged file become our error
    # OME-XML is read below, for tifffile would follow it into other files
    with tifffile.TiffFile(path, is_ome=False) as tiff:
        _check_pages(tiff)
        series = tiff.series[0]
        if len(tiff.series) > 1:
            raise Refused(f"must hold one image, not {len(tiff.series)}")
        sizes = [(axis, size) for axis, size in zip(series.axes, series.shape, strict=True) if size > 1 or axis in "ZYX"]
        axes, shape = "".join(axis for axis, _ in sizes), tuple(size for _, size in sizes)
        if len(axes) != 3 or axes[1:] != "YX" or axes[0] in "CST":
            raise Refused(f"must be a volume with axes ZYX (one channel, one time), not {axes} of shape {shape}")
        as_is = series.keyframe.compression == PLAIN and series.keyframe.bitspersample == 8 * series.dtype.itemsize
        check_header(shape, series.dtype, limit_bytes, path.stat().st_size if as_is else None)
        _check_compression(tiff, series.keyframe)
        spacing = _imagej_spacing(tiff) if tiff.is_imagej else _ome_spacing(tiff.pages.first.description, shape)
        return native(series.asarray().reshape(shape)), spacing


def _check_pages(tiff: Any) -> None:
    """Refuse what tifffile lets pass: rings of pages, a list of pages that breaks off, pages whose pixels are not there."""
    try:
        tiff.pages[LIMIT_PAGES]
    except IndexError:
        pass
    else:
        raise Refused(f"must hold at most {LIMIT_PAGES} pages")
    tiff.filehandle.seek(tiff.pages.next_page_offset)
    if tiff.filehandle.read(tiff.tiff.offsetsize) != bytes(tiff.tiff.offsetsize):  # the last page says there is no next
        raise Refused("must be complete: its list of pages breaks off")
    for page in tiff.pages:
        segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        if not segments or any(not (offset and count) or offset + count > tiff.filehandle.size for offset, count in segments):
            raise Refused("must be complete: some of its pixels are not in the file")


def _check_compression(tiff: Any, keyframe: Any) -> None:
    """Refuse what cannot be unpacked here, and deflated strips or tiles that grow beyond their part of the page."""
    compression = int(keyframe.compression)
    if compression in {LZW, PACKBITS} and find_spec("imagecodecs") is None:
        name = "LZW" if compression == LZW else "PackBits"
        raise Refused(f"must be stored plain or with zlib; for {name} install the package imagecodecs")
    if compression not in {PLAIN, LZW, PACKBITS, *DEFLATE}:
        raise Refused(f"must be stored plain or with zlib, LZW or PackBits, not {keyframe.compression!r}")
    if compression in DEFLATE:
        most = int(np.prod(keyframe.chunks)) * keyframe.dtype.itemsize
        for page in tiff.pages:
            for start, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                tiff.filehandle.seek(start)
                check_inflation(tiff.filehandle.read(count), most)


def _imagej_spacing(tiff: Any) -> Spacing:
    """Voxel edges from ImageJ's `spacing` and `unit` and from pixels per unit; silent where the unit is no length."""
    says, tags = tiff.imagej_metadata or {}, tiff.pages.first.tags
    um = UM_PER_IMAGEJ_UNIT.get(str(says.get("unit")))
    if um is None:
        return (None, None, None)
    spacing = says.get("spacing")
    along_z = abs(float(spacing)) * um if isinstance(spacing, int | float) else None
    pixels = [tags[name].value if name in tags else (0, 1) for name in ("YResolution", "XResolution")]
    return along_z, *(um * per / count if count else None for count, per in pixels)


def _ome_spacing(description: str, shape: tuple[int, ...]) -> Spacing:
    """Voxel edges from OME-XML (its default unit is µm), after checking that it speaks of the image that was found."""
    if not description.rstrip(" \n\r\t\0").endswith("OME>"):
        return (None, None, None)
    if "<!DOCTYPE" in description or "<!ENTITY" in description:
        raise Refused("must have OME-XML without a DOCTYPE")
    pixels = ET.fromstring(description.rstrip("\0").encode()).findall("{*}Image/{*}Pixels")
    if len(pixels) != 1:
        raise Refused(f"must hold one image, its OME-XML says {len(pixels)}")
    says = pixels[0].attrib
    if int(says.get("SizeC", 1)) * int(says.get("SizeT", 1)) != 1:
        raise Refused(f"must hold one channel and one time, its OME-XML says {says.get('SizeC')} and {says.get('SizeT')}")
    claimed = tuple(int(says[f"Size{axis}"]) for axis in "ZYX")
    if claimed != shape:
        raise Refused(f"must be complete: its OME-XML says {claimed} voxels (z, y, x), {shape} are there")
    return tuple(_ome_edge_um(says, axis) for axis in "ZYX")


def _ome_edge_um(says: dict[str, str], axis: str) -> float | None:
    size, unit = says.get(f"PhysicalSize{axis}"), says.get(f"PhysicalSize{axis}Unit", "µm")
    if size is None or unit in {"pixel", "reference frame"}:  # OME's words for an image without a scale
        return None
    if unit not in UM_PER_UNIT:
        raise Refused(f"must give PhysicalSize{axis} in nm, µm, mm, cm or m, not {unit!r}")
    return float(size) * UM_PER_UNIT[unit]
