"""Tissue `from_image`: the vessels, nuclei and outline of a real tumour, read from segmented volumes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tme_sim.files.volumes import Volume, read_volume
from tme_sim.state.errors import InputError
from tme_sim.state.lattice import Lattice
from tme_sim.state.parameters import parameter
from tme_sim.tissues.base import Geometry, Tissue
from tme_sim.tissues.morphometry import morphometry
from tme_sim.tissues.resample import fitting_shape, resample, resample_sum
from tme_sim.tissues.surface import surface_area


@dataclass(kw_only=True, eq=False)
class FromImage(Tissue):
    """A vessel mask on sites, by volume-weighted resampling; the wall's surface is estimated at the image's own resolution.

    What does not fill whole sites at the far edges is left out. Nuclei give the relative density of cells, not a count.
    """

    files: ClassVar = ("vessels", "tumor", "nuclei")  # the keys that name input files

    vessels: str = parameter("volume whose voxels above 0 are vessel")
    tumor: str | None = parameter("volume whose voxels above 0 are tumour; null: everything", default=None)
    nuclei: str | None = parameter("volume of nuclear stain; null: cells everywhere alike", default=None)
    voxel_um: float | None = parameter(
        "edge of the image's voxels, where the files do not say", default=None, above=0.01, at_most=1000
    )
    occupied_sites: float = parameter("with nuclei: mean share of the tumour's sites that hold a cell", above=0, at_most=1)

    def build(self, random: np.random.Generator, data: Path | None) -> Geometry:
        vessels = self._read("vessels", data)
        assert vessels is not None
        mask = vessels.data > 0
        if not mask.any() or mask.all():
            raise InputError(
                "tissue.vessels", self.vessels, f"must mark some voxels as vessel and leave some; it marks {mask.mean():.0%}"
            )
        others = {name: self._read(name, data, vessels) for name in ("tumor", "nuclei")}
        voxel_um, fine_um = vessels.voxel_um, self.site_um / self.refinement
        shape = fitting_shape(mask.shape, voxel_um, self.site_um)
        lattice = Lattice(shape, self.site_um, self.refinement)
        lumen = resample(mask, voxel_um, fine_um, lattice.voxels)
        surface = resample_sum(surface_area(mask, voxel_um), voxel_um, fine_um, lattice.voxels)
        inside = np.ones(lattice.voxels, bool)
        tumor = others["tumor"]
        if tumor is not None:
            inside = resample(tumor.data > 0, voxel_um, fine_um, lattice.voxels) >= 0.5
        if not (surface * inside).any():
            raise InputError("tissue.tumor", self.tumor, "must overlap the vessels; no vessel wall lies inside this mask")
        occupancy = self._occupancy(others["nuclei"], mask, lattice, inside)
        figures = morphometry(lumen, surface, lattice.voxel_um, inside=inside)
        return Geometry(lattice, lumen, surface, inside, occupancy, figures)

    def _read(self, name: str, data: Path | None, like: Volume | None = None) -> Volume | None:
        """One of the volumes; the others must have the vessels' shape."""
        given, field = getattr(self, name), f"tissue.{name}"
        if given is None:
            return None
        path = Path(given)
        if not path.is_absolute() and not path.exists() and data is not None:
            path = data / path
        if not path.exists():
            where = (
                "the file does not exist; paths are taken from the working directory or from --data DIR, the folder of data sets"
            )
            raise InputError(field, given, where)
        volume = read_volume(path, voxel_um=self.voxel_um, field=field)
        if like is not None and volume.data.shape != like.data.shape:
            raise InputError(field, given, f"has shape {volume.data.shape}; must be that of tissue.vessels, {like.data.shape}")
        return volume

    def _occupancy(
        self, nuclei: Volume | None, vessel: NDArray[np.bool_], lattice: Lattice, inside: NDArray[np.bool_]
    ) -> NDArray[np.float64] | None:
        """(sites) chance that a site holds a cell: min(1, k · stain outside vessels), k so that the tumour's mean is met.

        In a cleared, blurred stain single nuclei cannot be counted, so their number per volume is a parameter.
        """
        if nuclei is None:
            return None
        stain = resample(np.where(vessel, 0, nuclei.data), nuclei.voxel_um, self.site_um, lattice.sites)
        within = lattice.on_sites(inside.astype(np.float64)) >= 0.5
        if not stain[within].any():
            raise InputError("tissue.nuclei", self.nuclei, "must have signal inside the tumour; there is none")
        scale = self.occupied_sites / stain[within].mean()
        for _ in range(100):
            scale *= self.occupied_sites / np.minimum(1, scale * stain[within]).mean()
        return np.asarray(np.where(within, np.minimum(1, scale * stain), 0.0))
