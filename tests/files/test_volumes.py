from __future__ import annotations

import gzip
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from tme_sim.files.volumes import read_volume
from tme_sim.state.errors import InputError

DATA = np.random.default_rng(1).integers(0, 1000, (5, 6, 7)).astype(np.uint16)
Writer = Callable[[Path, NDArray[Any]], None]


def write_ome(path: Path, data: NDArray[Any], **metadata: object) -> None:
    micron = {f"PhysicalSize{axis}": size for axis, size in zip("ZYX", (3.0, 2.0, 1.0), strict=True)}
    tifffile.imwrite(path, data, ome=True, photometric="minisblack", metadata={"axes": "ZYX", **micron, **metadata})


def write_tiff(path: Path, data: NDArray[Any]) -> None:
    tifffile.imwrite(path, data, photometric="minisblack", metadata=None)


def write_nifti(path: Path, data: NDArray[Any]) -> None:
    """Axes x, y, z in mm, as nibabel writes them."""
    nibabel.save(nibabel.Nifti1Image(data.transpose(), np.diag([1e-3, 2e-3, 3e-3, 1.0])), path)


def write_npy(path: Path, data: NDArray[Any]) -> None:
    np.save(path, data, allow_pickle=False)


WRITERS: dict[str, Writer] = {
    "a.ome.tif": write_ome,
    "a.tiff": write_tiff,
    "a.nii": write_nifti,
    "a.nii.gz": write_nifti,
    "a.npy": write_npy,
}
SILENT = {"a.tiff", "a.npy"}  # formats that do not say their voxel size


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_volume(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name, DATA)
    volume = read_volume(tmp_path / name, voxel_um=(3.0, 2.0, 1.0) if name in SILENT else None)
    assert np.array_equal(volume.data, DATA)
    assert volume.voxel_um == pytest.approx((3.0, 2.0, 1.0), rel=1e-6)
    assert volume.source == tmp_path / name


@pytest.mark.parametrize("dtype", ["u1", ">u2", "<i4", ">f4", "f8", "?"])
def test_numbers_of_any_kind_and_byte_order_keep_their_value(dtype: str, tmp_path: Path) -> None:
    write_npy(tmp_path / "a.npy", DATA.astype(dtype))
    data = read_volume(tmp_path / "a.npy", voxel_um=1.0).data
    assert np.array_equal(data, DATA.astype(dtype))
    assert data.dtype.isnative


def test_compressed_tiff_is_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", DATA, photometric="minisblack", compression="zlib")
    assert np.array_equal(read_volume(tmp_path / "a.tif", voxel_um=1.0).data, DATA)


@pytest.mark.parametrize(("unit", "um"), [("nm", 1e-3), ("µm", 1.0), ("mm", 1e3)])
def test_units_of_ome_are_honoured(unit: str, um: float, tmp_path: Path) -> None:
    write_ome(tmp_path / "a.ome.tif", DATA, **{f"PhysicalSize{axis}Unit": unit for axis in "XYZ"})
    assert read_volume(tmp_path / "a.ome.tif").voxel_um == pytest.approx((3 * um, 2 * um, um))


@pytest.mark.parametrize(("unit", "um"), [("micron", 1.0), ("mm", 1e3), ("meter", 1e6), ("unknown", 1e3)])
def test_units_of_nifti_are_honoured(unit: str, um: float, tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(DATA.transpose(), np.diag([1.0, 2.0, 3.0, 1.0]))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").voxel_um == pytest.approx((3 * um, 2 * um, um))


def test_nifti_is_turned_until_its_axes_are_z_y_x(tmp_path: Path) -> None:
    affine = np.zeros((4, 4))
    affine[[2, 0, 1, 3], [0, 1, 2, 3]] = [3.0, -1.0, 2.0, 1.0]  # stored as (z, -x, y)
    stored = DATA.transpose(0, 2, 1)[:, ::-1]
    nibabel.save(nibabel.Nifti1Image(stored, affine), tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    assert np.array_equal(volume.data, DATA)
    assert volume.voxel_um == pytest.approx((3e3, 2e3, 1e3))


def test_scaled_nifti_gives_the_scaled_numbers(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(DATA.transpose(), np.eye(4))
    image.header.set_slope_inter(0.5, 10.0)
    image.to_filename(tmp_path / "a.nii")
    stored = bytearray((tmp_path / "a.nii").read_bytes())
    stored[112:120] = struct.pack("<2f", 0.5, 10.0)  # scl_slope, scl_inter: nibabel resets them on writing
    (tmp_path / "a.nii").write_bytes(stored)
    assert read_volume(tmp_path / "a.nii").data == pytest.approx(np.frombuffer(stored[352:], "<u2").reshape(5, 6, 7) * 0.5 + 10)


@pytest.mark.parametrize("name", ["a.npy", "a.nii"])
def test_axes_of_length_one_are_dropped(name: str, tmp_path: Path) -> None:
    more = DATA[None, None]
    WRITERS[name](tmp_path / name, more)
    assert np.array_equal(read_volume(tmp_path / name, voxel_um=(3.0, 2.0, 1.0)).data, DATA)


@pytest.mark.parametrize("name", WRITERS)
def test_a_plane_is_no_volume(name: str, tmp_path: Path) -> None:
    if name == "a.ome.tif":
        tifffile.imwrite(tmp_path / name, DATA[0], ome=True)
    elif name.startswith("a.nii"):
        nibabel.save(nibabel.Nifti1Image(DATA[0], np.eye(4)), tmp_path / name)
    else:
        WRITERS[name](tmp_path / name, DATA[0])
    with pytest.raises(InputError, match="must be a volume"):
        read_volume(tmp_path / name, voxel_um=1.0)


@pytest.mark.parametrize("axes", ["CZYX", "TZYX"])
def test_channels_and_times_are_no_volume(axes: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", DATA.reshape(1, 5, 6, 7).repeat(2, 0), ome=True, metadata={"axes": axes})
    tifffile.imwrite(tmp_path / "b.tif", DATA.reshape(5, 1, 6, 7).repeat(2, 1), imagej=True, metadata={"axes": "ZCYX"})
    write_npy(tmp_path / "a.npy", np.stack([DATA, DATA]))
    for name in ("a.ome.tif", "b.tif", "a.npy"):
        with pytest.raises(InputError, match="must"):
            read_volume(tmp_path / name, voxel_um=1.0)


@pytest.mark.parametrize("name", sorted(SILENT))
def test_a_missing_voxel_size_names_its_key(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name, DATA)
    with pytest.raises(InputError, match=r"^tissue\.voxel: must be set"):
        read_volume(tmp_path / name)


@pytest.mark.parametrize("voxel_um", [0, -1.0, np.nan, np.inf, (1, 2), (1.0, 1.0, 0.0), "wide", [[1.0]]])
def test_an_impossible_voxel_size_is_refused(voxel_um: Any, tmp_path: Path) -> None:
    write_npy(tmp_path / "a.npy", DATA)
    with pytest.raises(InputError, match=r"^tissue\.voxel"):
        read_volume(tmp_path / "a.npy", voxel_um=voxel_um)


@pytest.mark.parametrize("size", [0.0, -4.0, float("nan"), float("inf")])
def test_an_impossible_voxel_size_in_a_header_is_refused(size: float, tmp_path: Path) -> None:
    write_ome(tmp_path / "a.ome.tif", DATA, PhysicalSizeZ=size)
    with pytest.raises(InputError, match="finite voxel size above 0"):
        read_volume(tmp_path / "a.ome.tif", voxel_um=1.0)


def test_a_voxel_size_that_contradicts_the_header_is_refused_and_one_within_a_percent_yields(tmp_path: Path) -> None:
    write_ome(tmp_path / "a.ome.tif", DATA)
    with pytest.raises(InputError, match=r"3\.1 um.*header says 3 um along z"):
        read_volume(tmp_path / "a.ome.tif", voxel_um=(3.1, 2.0, 1.0))
    assert read_volume(tmp_path / "a.ome.tif", voxel_um=(3.02, 2.0, 1.0)).voxel_um == (3.0, 2.0, 1.0)


def test_an_axis_without_a_scale_takes_the_given_one(tmp_path: Path) -> None:
    write_ome(tmp_path / "a.ome.tif", DATA, PhysicalSizeZUnit="pixel")
    assert read_volume(tmp_path / "a.ome.tif", voxel_um=(5.0, 2.0, 1.0)).voxel_um == (5.0, 2.0, 1.0)
    with pytest.raises(InputError, match="along z"):
        read_volume(tmp_path / "a.ome.tif")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", WRITERS)
def test_values_that_are_not_finite_are_refused(name: str, value: float, tmp_path: Path) -> None:
    data = DATA.astype(np.float32)
    data[2, 3, 4] = value
    WRITERS[name](tmp_path / name, data)
    with pytest.raises(InputError, match="finite numbers only"):
        read_volume(tmp_path / name, voxel_um=(3.0, 2.0, 1.0))


def test_complex_numbers_and_pickles_are_refused(tmp_path: Path) -> None:
    write_npy(tmp_path / "a.npy", DATA.astype(np.complex64))
    write_nifti(tmp_path / "a.nii", DATA.astype(np.complex64))
    np.save(tmp_path / "b.npy", DATA.astype(object), allow_pickle=True)
    (tmp_path / "c.npy").write_bytes(pickle.dumps(DATA))
    for name in ("a.npy", "a.nii", "b.npy", "c.npy"):
        with pytest.raises(InputError, match="must"):
            read_volume(tmp_path / name, voxel_um=1.0)


def test_what_is_no_readable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.tif").touch()
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "a.png").touch()
    write_npy(tmp_path / "a.npy", DATA[:0])
    allowed = {
        "empty.tif": "must not be empty",
        "folder.npy": "must be an existing file",
        "missing.nii": "must be an existing file",
        "a.png": "must end in one of .tif",
        "a.npy": "at least one voxel",
        "nul\0.npy": "must be a",
    }
    for name, words in allowed.items():
        with pytest.raises(InputError, match=words) as caught:
            read_volume(tmp_path / name, voxel_um=1.0, field="tissue.tumor")
        assert str(caught.value).startswith(f"tissue.tumor {tmp_path}")


def test_headers_that_claim_more_than_the_limit_or_the_file_are_refused_unread(tmp_path: Path) -> None:
    write_npy(tmp_path / "a.npy", DATA)
    with pytest.raises(InputError, match="must not exceed"):
        read_volume(tmp_path / "a.npy", voxel_um=1.0, limit_bytes=DATA.nbytes - 1)
    header = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(header.replace(b"(5, 6, 7)", b"(500, 600, 700)"))
    with pytest.raises(InputError, match=r"(?s)must"):
        read_volume(tmp_path / "a.npy", voxel_um=1.0)
    for name in ("a.nii", "a.nii.gz"):
        write_nifti(tmp_path / "a.nii", DATA)
        stored = bytearray((tmp_path / "a.nii").read_bytes())
        claims = {(32_000, 32_000, 32_000): "must not exceed", (500, 600, 700): "must"}
        for shape, words in claims.items():
            stored[42:48] = struct.pack("<3h", *shape)
            (tmp_path / name).write_bytes(gzip.compress(stored) if name.endswith("gz") else stored)
            with pytest.raises(InputError, match=words):
                read_volume(tmp_path / name)


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_cut_short_is_refused_unless_all_its_voxels_are_there(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name, DATA)
    stored = (tmp_path / name).read_bytes()
    refused = 0
    for keep in range(1, len(stored), 13):
        (tmp_path / name).write_bytes(stored[:keep])
        try:
            assert np.array_equal(read_volume(tmp_path / name, voxel_um=(3.0, 2.0, 1.0)).data, DATA)
        except InputError:
            refused += 1
    # a TIFF may end with a description, which says nothing that the given voxel size does not
    assert refused >= (len(stored) // 13 if name in {"a.nii", "a.nii.gz", "a.npy"} else DATA.nbytes // 13)


def test_ome_that_speaks_of_other_planes_or_nests_entities_is_refused(tmp_path: Path) -> None:
    write_ome(tmp_path / "a.ome.tif", DATA)
    stored = (tmp_path / "a.ome.tif").read_bytes()
    (tmp_path / "a.ome.tif").write_bytes(stored.replace(b'SizeZ="5"', b'SizeZ="9"'))
    with pytest.raises(InputError, match="must be complete"):
        read_volume(tmp_path / "a.ome.tif")
    prolog = b'<?xml version="1.0" encoding="UTF-8"?>'
    (tmp_path / "a.ome.tif").write_bytes(stored.replace(prolog, b"<!DOCTYPE a>".ljust(len(prolog))))
    with pytest.raises(InputError, match="DOCTYPE"):
        read_volume(tmp_path / "a.ome.tif")


def test_a_ring_of_tiff_pages_ends(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", DATA.repeat(40, 0))  # longer than the 100 pages in which tifffile looks for a ring
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        first, last = tiff.pages[0].offset, tiff.pages[-1].offset
    stored = bytearray((tmp_path / "a.tif").read_bytes())
    end = last + 2 + 12 * struct.unpack_from("<H", stored, last)[0]
    assert struct.unpack_from("<I", stored, end)[0] == 0
    struct.pack_into("<I", stored, end, first)
    (tmp_path / "a.tif").write_bytes(stored)
    with pytest.raises(InputError, match="pages"):
        read_volume(tmp_path / "a.tif", voxel_um=1.0)


@pytest.mark.parametrize("name", WRITERS)
def test_damage_of_any_kind_gives_a_volume_or_an_input_error(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    path = tmp_path / name
    WRITERS[name](path, DATA.astype(np.float32))
    intact = np.frombuffer(path.read_bytes(), np.uint8)
    refused = 0
    for _ in range(150):
        damaged = intact[: rng.integers(1, intact.size + 1)].copy() if rng.random() < 0.2 else intact.copy()
        # headers are what a parser trusts: most of the flips go there
        reach = damaged.size if rng.random() < 0.3 else min(damaged.size, 400)
        damaged[rng.integers(0, reach, rng.integers(1, 6))] ^= rng.integers(1, 256, dtype=np.uint8)
        path.write_bytes(damaged.tobytes())
        try:
            volume = read_volume(path, voxel_um=(3.0, 2.0, 1.0))
        except InputError:
            refused += 1
        else:
            assert volume.data.ndim == 3
            assert np.isfinite(volume.data).all()
    assert refused > 20


def test_imagej_says_its_voxel_by_spacing_resolution_and_unit(tmp_path: Path) -> None:
    for index, (unit, um) in enumerate((("um", 1.0), ("micron", 1.0), ("mm", 1e3), ("nm", 1e-3))):
        path = tmp_path / f"{index}.tif"
        tifffile.imwrite(path, DATA, imagej=True, resolution=(1.0, 0.5), metadata={"spacing": 3.0, "unit": unit, "axes": "ZYX"})
        assert read_volume(path).voxel_um == pytest.approx((3 * um, 2 * um, um))
    tifffile.imwrite(tmp_path / "a.tif", DATA, imagej=True, metadata={"unit": "pixel", "axes": "ZYX"})
    with pytest.raises(InputError, match=r"^tissue\.voxel: must be set"):
        read_volume(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", DATA, imagej=True, resolution=(1.0, 0.5), metadata={"unit": "um", "axes": "ZYX"})
    with pytest.raises(InputError, match="along z"):
        read_volume(tmp_path / "b.tif")
    assert read_volume(tmp_path / "b.tif", voxel_um=(3.0, 2.0, 1.0)).voxel_um == pytest.approx((3.0, 2.0, 1.0))


@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_a_strip_that_grows_beyond_its_page_is_refused(tile: tuple[int, int] | None, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    noise = np.random.default_rng(3).integers(0, 256, (2, 200, 200)).astype(np.uint8)
    tifffile.imwrite(path, noise, photometric="minisblack", compression="zlib", tile=tile)
    assert np.array_equal(read_volume(path, voxel_um=1.0).data, noise)
    with tifffile.TiffFile(path) as tiff:
        start, count = tiff.pages[1].dataoffsets[0], tiff.pages[1].databytecounts[0]
    bomb = zlib.compress(bytes(160_000), 9)
    assert len(bomb) < count
    stored = bytearray(path.read_bytes())
    stored[start : start + len(bomb)] = bomb
    path.write_bytes(stored)
    with pytest.raises(InputError, match="grow beyond"):
        read_volume(path, voxel_um=1.0)


@pytest.mark.parametrize(
    ("tag", "words"), [(5, "imagecodecs"), (7, "must be stored plain or with zlib"), (34925, "must be stored")]
)
def test_other_compressions_are_refused_by_name(tag: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, DATA, photometric="minisblack", compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as tiff:
        places = [page.tags["Compression"].valueoffset for page in tiff.pages]
    stored = bytearray(path.read_bytes())
    for place in places:
        struct.pack_into("<H", stored, place, tag)
    path.write_bytes(stored)
    monkeypatch.setattr("tme_sim.files.tiff.find_spec", lambda name: None)
    with pytest.raises(InputError, match=words):
        read_volume(path, voxel_um=1.0)
