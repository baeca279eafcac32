"""Writing NIfTI-1: x to the right, y to anterior, z to superior, in mm; what `files.volumes` reads back."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tme_sim.files.stored import GENERATOR, stored
from tme_sim.files.whole import whole

MM_PER_UM = 1e-3
SCANNER = 1
"""NIfTI's code of a space in which the scanner measures."""


def write_nifti(
    path: Path, data: NDArray[Any], voxel_um: tuple[float, float, float], origin_um: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> Path:
    """Write a volume (z, y, x), or frames (frame, z, y, x), to `.nii` or `.nii.gz`; reals as float32. The same bytes every time.

    voxel_um: edges along (z, y, x); origin_um: the centre of the first voxel, which is what NIfTI's affine maps (0, 0, 0) to.
    """
    import nibabel

    make: Any = nibabel.Nifti1Image  # much of nibabel is not typed
    image = make(stored(data, path.name).T, affine_mm(voxel_um, origin_um))
    image.set_sform(image.affine, SCANNER)
    image.set_qform(image.affine, SCANNER)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = f"{GENERATOR}, synthetic".encode()
    content: bytes = image.to_bytes()
    with whole(path) as part:
        part.write_bytes(gzip.compress(content, compresslevel=1, mtime=0) if path.suffix == ".gz" else content)
    return path


def affine_mm(voxel_um: tuple[float, float, float], origin_um: tuple[float, float, float]) -> NDArray[np.float64]:
    """(4, 4) from voxel numbers (x, y, z) to mm right, anterior, superior."""
    affine = np.eye(4)
    affine[:3, :3] = np.diag(voxel_um[::-1]) * MM_PER_UM
    affine[:3, 3] = np.array(origin_um[::-1]) * MM_PER_UM
    return affine
