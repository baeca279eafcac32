"""Make this experiment's input from the public repository's demo study.

    git clone https://github.com/Merck/3D_Tumor_Lightsheet_Analysis_Pipeline
    python prepare.py 3D_Tumor_Lightsheet_Analysis_Pipeline DIR

writes `DIR/lightsheet_tumor/*.ome.tif` for `tme-sim run lightsheet_tumor --data DIR`. Nothing is fetched; a clone or an unpacked
download of the repository will do (15 planes, z0701 to z0715, of each channel, one npy file a plane under `data/demo_study`).

What is known: the planes' names, the channels (Ch1 virus, Ch2 nuclei, Ch3 CD31), 4 um per pixel, and that the masks are
CD31 >= 779 and nuclei >= 26. The source takes its thresholds over whole planes and these are not those of the field used here,
so that field is taken to be cut out of larger planes. What is not known: where. The place is searched for, as the window with
the right number of vessel pixels in all 15 planes, and accepted if the SHA-256 of every channel's voxels is right too.

This was tested on planes made up around the field, not on the repository's own files. Where they are stored otherwise than
assumed it ends with one sentence and writes nothing.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

SHAPE = (15, 440, 573)
VOXEL_UM = 4.0
PLANES = range(701, 716)
SOURCE = "source/transformed/np_and_resized"
SEGMENTED = "results/segmentation"
# name: folder below data/demo_study, channel, dtype, SHA-256 of the voxels (little-endian, C order)
CHANNELS = {
    "vessel_mask": (
        f"{SEGMENTED}/vessel/segment___thresholding___method-th_otsu",
        3,
        "<u1",
        "d336a1932a42855bf4a9a35ba05ef7a178cc46e566e4e3e9cdf0fff4ed744da4",
    ),
    "tumor_mask": (
        f"{SEGMENTED}/tumor/segment___thresholding___method-th_triangle",
        2,
        "<u1",
        "886b0adacd4413d8c6f45627db5cd2aa07e777ed137c310ba851154f230cdfe9",
    ),
    "nuclei": (f"{SOURCE}/tumor", 2, "<u2", "776f0fc1709cc5b6b6cbc205c0b03d4e3104f4562561a5979f472e2dcb0df229"),
    "vessels_cd31": (f"{SOURCE}/vessel", 3, "<u2", "a53fe1f3a4d6a69ac8734dfa6abb0b766e4e34704207b2209f92d1684b21c941"),
    "biologic": (f"{SOURCE}/virus", 1, "<u2", "f5891b6552ba81e4a61d5ef0a27c503aa5a12ff4dd826fac6c42be1b5ad73c55"),
}
VESSEL_PIXELS = [7706, 7780, 7847, 7899, 7962, 7993, 8019, 8079, 8099, 8090, 8109, 8054, 8014, 8094, 8174]


def main(repository: Path, data: Path) -> None:
    """Read, find, check, and only then write."""
    volumes = {
        name: _stack(repository / "data" / "demo_study" / folder, channel) for name, (folder, channel, *_) in CHANNELS.items()
    }
    if len({volume.shape for volume in volumes.values()}) > 1:
        raise SystemExit(f"the channels differ in shape: { {name: volume.shape for name, volume in volumes.items()} }")
    window = find(volumes["vessel_mask"])
    cut = {name: volumes[name][window].astype(dtype) for name, (_, _, dtype, _) in CHANNELS.items()}
    for name, (_, _, _, expected) in CHANNELS.items():
        if digest(cut[name]) != expected:
            raise SystemExit(
                f"{name}: the voxels found are not those this experiment was made with (SHA-256 {digest(cut[name])})"
            )
    folder = data / "lightsheet_tumor"
    folder.mkdir(parents=True, exist_ok=True)
    size = {f"PhysicalSize{axis}": VOXEL_UM for axis in "XYZ"}
    for name, volume in cut.items():
        path = folder / f"{name}.ome.tif"
        tifffile.imwrite(path, volume, ome=True, photometric="minisblack", compression="zlib", metadata={"axes": "ZYX", **size})
        print(f"wrote {path}")


def find(vessels: NDArray[np.generic]) -> tuple[slice, slice, slice]:
    """The window of `SHAPE` that has `VESSEL_PIXELS` in its planes and the vessel mask's checksum."""
    rows, columns = SHAPE[1:]
    if vessels.shape[1] < rows or vessels.shape[2] < columns:
        raise SystemExit(f"the planes have {vessels.shape[1:]} pixels (y, x); at least {SHAPE[1:]} were expected")
    right = np.ones((vessels.shape[1] - rows + 1, vessels.shape[2] - columns + 1), bool)
    for plane, wanted in zip(vessels, VESSEL_PIXELS, strict=True):
        total = np.pad((plane > 0).astype(np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
        count = total[rows:, columns:] - total[:-rows, columns:] - total[rows:, :-columns] + total[:-rows, :-columns]
        right &= count == wanted
    for y, x in np.argwhere(right):
        window = slice(None), slice(y, y + rows), slice(x, x + columns)
        if digest(vessels[window].astype("<u1")) == CHANNELS["vessel_mask"][-1]:
            return window
    raise SystemExit("no window of the planes holds the vessels this experiment was made with")


def digest(volume: NDArray[np.generic]) -> str:
    """SHA-256 of the voxels in C order."""
    return hashlib.sha256(np.ascontiguousarray(volume).tobytes()).hexdigest()


def _stack(folder: Path, channel: int) -> NDArray[np.generic]:
    paths = [folder / f"7IV-4X_Ch{channel}_z{plane:04d}.npy" for plane in PLANES]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise SystemExit(f"missing: {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else ""))
    planes = [np.load(path, allow_pickle=False) for path in paths]
    if any(plane.ndim != 2 or plane.shape != planes[0].shape for plane in planes):
        raise SystemExit(f"{folder}: every file must hold one plane, all of one shape")
    return np.stack(planes)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: python prepare.py REPOSITORY DIR")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
