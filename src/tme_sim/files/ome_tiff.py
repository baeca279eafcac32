"""Writing OME-TIFF: plain strips of float32 that every reader takes, sizes and positions in µm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import UUID

from numpy.typing import NDArray

from tme_sim.files.stored import GENERATOR, stored
from tme_sim.files.whole import whole

CLASSIC_BYTES = 2**32 - 2**25
"""Above this a TIFF needs 64-bit offsets, which fewer programs read."""


def write_ome_tiff(
    path: Path,
    data: NDArray[Any],
    voxel_um: tuple[float, float, float],
    origin_um: tuple[float, float, float] = (0.0, 0.0, 0.0),
    *,
    channels: Sequence[str] = (),
    about: Mapping[str, str] | None = None,
) -> Path:
    """Write (z, y, x), or (channel, z, y, x) with the channels' names. Reals as float32. The same bytes every time.

    voxel_um: edges along (z, y, x); origin_um: the centre of the first voxel, stored as its plane's position.
    about: what to say of the image, such as its unit, as OME's map of annotations.
    """
    import tifffile

    data = stored(data, path.name)
    name = path.name.split(".")[0]
    planes = data[..., 0, 0].size
    metadata: dict[str, Any] = {"axes": "CZYX" if channels else "ZYX", "Name": name}
    metadata |= {"Creator": GENERATOR, "UUID": str(UUID(bytes=blake2b(name.encode() + data.tobytes(), digest_size=16).digest()))}
    for axis, edge in zip("ZYX", voxel_um, strict=True):
        metadata |= {f"PhysicalSize{axis}": edge, f"PhysicalSize{axis}Unit": "µm"}
    at_z = [origin_um[0] + z * voxel_um[0] for z in range(data.shape[-3])]
    positions = {"Z": at_z * (planes // len(at_z)), "Y": [origin_um[1]] * planes, "X": [origin_um[2]] * planes}
    metadata["Plane"] = {f"Position{axis}": values for axis, values in positions.items()}
    metadata["Plane"] |= {f"Position{axis}Unit": ["µm"] * planes for axis in positions}
    if channels:
        metadata["Channel"] = {"Name": list(channels)}
    metadata["MapAnnotation"] = {"Generator": f"{GENERATOR}, synthetic", **(about or {})}
    with whole(path) as part:
        tifffile.imwrite(
            part,
            data,
            ome=True,
            bigtiff=data.nbytes > CLASSIC_BYTES,
            photometric="minisblack",
            software=GENERATOR,
            metadata=metadata,
        )
    return path
