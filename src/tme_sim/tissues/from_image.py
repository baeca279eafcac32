"""Tissue `from_image`: the vessels, nuclei and outline of a real tumour, read from image volumes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tme_sim.files.volumes import Volume, read_volume, refuse_remote
from tme_sim.state.errors import InputError
from tme_sim.state.lattice import Lattice
from tme_sim.state.parameters import parameter
from tme_sim.state.vessels import VesselGraph
from tme_sim.tissues.base import Geometry, Tissue
from tme_sim.tissues.morphometry import morphometry
from tme_sim.tissues.rasterise import rasterise
from tme_sim.tissues.resample import fitting_shape, resample, resample_sum
from tme_sim.tissues.skeleton import clean_mask, graph_from_mask
from tme_sim.tissues.surface import surface_area

MOST_VESSEL = 0.9  # of a mask; more is an intensity image, or a mask upside down


@dataclass(kw_only=True, eq=False)
class FromImage(Tissue):
    """A vessel volume on sites, by volume-weighted resampling, and the graph of its vessels.

    The graph carries blood. Exchange goes through the surface per voxel, measured on the mask at the image's own resolution
    (`surface_area`): cylinders have less of it than the flattened, rough vessels of a tumour, and none where a blob has no
    axis. The morphometry gives both: `graph_surface_over_measured` within the tumour is how far one can stand for the other,
    `graph_volume_over_measured` the same for the lumen. Distances and S/V are those of the mask.

    A mask (0 and 1) or label volume needs no threshold: what is above 0 is vessel. An intensity image needs `threshold`, a
    number or `otsu` (Otsu 1979, doi:10.1109/TSMC.1979.4310076, over the whole volume); what is above it is vessel. Nothing is
    guessed from the values: a volume that is vessel nearly everywhere without one is refused. What does not fill whole sites
    at the far edges is left out. Nuclei give the relative density of cells, not a count.
    """

    files: ClassVar = ("vessels", "tumor", "nuclei")  # the keys that name input files

    vessels: str = parameter("volume whose voxels above the threshold are vessel")
    threshold: Any = parameter("intensity above which a voxel is vessel: a number, otsu, or null (0, for masks)", default=None)
    tumor: str | None = parameter("volume whose voxels above 0 are tumour; null: everything", default=None)
    nuclei: str | None = parameter("volume of nuclear stain; null: cells everywhere alike", default=None)
    voxel_um: float | None = parameter(
        "edge of the image's voxels, where the files do not say", default=None, above=0.01, at_most=1000
    )
    occupied_sites: float = parameter("with nuclei: mean share of the tumour's sites that hold a cell", above=0, at_most=1)

    def build(self, random: np.random.Generator, data: Path | None) -> Geometry:
        vessels = self._read("vessels", data)
        assert vessels is not None
        mask = self._vessel_mask(vessels)
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
        graph = graph_from_mask(mask, voxel_um)
        figures = self._figures(lumen, surface, graph, lattice.voxel_um, inside) | {"specks_dropped": float(clean_mask(mask)[1])}
        return Geometry(lattice, lumen, surface, inside, occupancy, figures, graph)

    def _vessel_mask(self, vessels: Volume) -> NDArray[np.bool_]:
        threshold = self._threshold(vessels)
        mask = np.asarray(vessels.data > threshold)
        share = float(mask.mean())
        if not 0 < share <= (MOST_VESSEL if self.threshold is None else 1) or mask.all():
            hint = "; an intensity image needs tissue.threshold, a number or otsu" if self.threshold is None else ""
            allowed = f"must mark some voxels as vessel and leave some; {share:.0%} of it lies above {threshold:g}{hint}"
            raise InputError("tissue.vessels", self.vessels, allowed)
        return mask

    def _threshold(self, vessels: Volume) -> float:
        if self.threshold == "otsu":
            from skimage.filters import threshold_otsu  # slow to load

            values = vessels.data.view(np.uint8) if vessels.data.dtype == np.bool_ else vessels.data
            return float(threshold_otsu(values))  # type: ignore[no-untyped-call]
        chosen = 0.0 if self.threshold is None else self.threshold
        if not isinstance(chosen, int | float) or isinstance(chosen, bool) or not np.isfinite(chosen):
            raise InputError("tissue.threshold", self.threshold, "must be a finite number, otsu or null")
        return float(chosen)

    def _figures(
        self,
        lumen: NDArray[np.float64],
        surface: NDArray[np.float64],
        graph: VesselGraph,
        voxel_um: float,
        inside: NDArray[np.bool_],
    ) -> dict[str, float]:
        """Morphometry of the mask, with the lengths of the graph and how much of wall and lumen the graph has."""
        figures = morphometry(lumen, surface, voxel_um, graph, inside) | morphometry(lumen, surface, voxel_um, inside=inside)
        of_graph = rasterise(graph, lumen.shape, voxel_um)
        for name, drawn, measured in zip(("volume", "surface"), of_graph, (lumen, surface), strict=True):
            figures[f"graph_{name}_over_measured"] = float(drawn[inside].sum() / measured[inside].sum())
        return figures

    def _read(self, name: str, data: Path | None, like: Volume | None = None) -> Volume | None:
        """One of the volumes; the others must have the vessels' shape."""
        given, field = getattr(self, name), f"tissue.{name}"
        if given is None:
            return None
        refuse_remote(given, field)
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
