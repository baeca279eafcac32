"""How a snapshot is drawn: one method per layer. What stands around the picture is in `layout`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyvista as pv
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray

from tme_sim.state.variables import ROUTES
from tme_sim.views import layout, meshes
from tme_sim.views.palette import COMPARTMENTS
from tme_sim.views.palette import ROUTES as ROUTE_COLORS
from tme_sim.views.snapshot import Cut, Floats, Snapshot
from tme_sim.views.words import name as in_words
from tme_sim.views.words import number

ROUTE_WORDS = {"injected": "by injection", "gap": "through gaps", "transcytosis": "by transcytosis", "phagocyte": "in phagocytes"}
VESSEL, GAP, SHUT, TUMOR, EMPTY = "#cf8f86", "#111111", "#f3e6c0", "#9a8f80", "#ececec"
MACROPHAGE = COMPARTMENTS["macrophages"]
CARGO_MAP = LinearSegmentedColormap.from_list("cargo", ["#e3f1ea", MACROPHAGE])
KUPFFER_MAP = LinearSegmentedColormap.from_list("taken", ["#f2f2dc", COMPARTMENTS["kupffer"]])
CONCENTRATION_MAP = "cividis"
MATTE = {"smooth_shading": True, "ambient": 0.35, "diffuse": 0.75}

PARTICLES, GAPS, CELLS, TUMOR_CELLS = 5000, 3000, 1200, 12_000  # glyphs at most; the legend says what they stand for


class Picture:
    """Puts one snapshot on a plotter; every method that bears a layer's name draws that layer."""

    def __init__(self, snapshot: Snapshot, cut: Cut | None, plotter: pv.Plotter) -> None:
        self.snapshot, self.cut, self.plotter = snapshot, cut, plotter
        self.legend: layout.Legend = []
        self.bars = 0
        self.wall = wall_of(snapshot)
        self.inside = snapshot.field("inside") if "inside" in snapshot.fields else np.ones(snapshot.voxels)
        # Grains are drawn so large that they can be seen; true particles are a hundred times smaller.
        self.grain_um = float(np.clip(0.006 * np.sort(snapshot.box_um)[1], 0.1, 0.35 * snapshot.voxel_um))

    def vessels(self) -> None:
        """Tubes, or where there is no graph, the surface of the lumen."""
        self._add(meshes.cut_off(self.wall, self.cut) if self.cut else self.wall, color=VESSEL)
        self.legend.append(("blood vessels", VESSEL))

    def gaps(self) -> None:
        """Dots on the wall, larger than gaps are; those that are shut pale."""
        (places, is_open), radius = self.snapshot.gaps(GAPS), 0.7 * self.grain_um
        places = meshes.onto(self.wall, places, 2 * self.snapshot.voxel_um)
        kept = self._kept(places, radius)
        self._add(meshes.spheres(places[kept & is_open], radius, 6), color=GAP)
        self.legend.append((self._share("gaps", int(is_open.sum()), "open gaps, enlarged"), GAP))
        if not is_open.all():
            self._add(meshes.spheres(places[kept & ~is_open], radius, 6), color=SHUT)
            self.legend.append((f"places where gaps open, shut now ({(~is_open).sum():,})", SHUT))

    def particles(self) -> None:
        """Points for the carriers outside cells, coloured by route of entry."""
        points, route, each = self.snapshot.particles(PARTICLES)
        kept = self._kept(points, self.grain_um)
        for index, name in enumerate(ROUTES):
            if (route == index).any():
                self._add(meshes.spheres(points[kept & (route == index)], self.grain_um), color=ROUTE_COLORS[name])
                self.legend.append((f"particles that came {ROUTE_WORDS[name]}", ROUTE_COLORS[name]))
        if len(points):
            self.legend.append((f"(outside cells; one dot for {number(each)})", None))

    def macrophages(self) -> None:
        """Spheres with a volume and a shade that grow with the carriers in the cell."""
        points, cargo = self.snapshot.cells("macrophages", CELLS)
        full = max(1.0, float(np.quantile(cargo, 0.99))) if len(cargo) else 1.0
        radius = 0.5 * self.snapshot.site_um * np.cbrt(np.clip(cargo / full, 0.03, 1))
        kept = self._kept(points, radius)
        balls = meshes.spheres(points[kept], radius[kept], 12, cargo=cargo[kept])
        self._add(balls, scalars="cargo", cmap=CARGO_MAP, clim=(0, full), scalar_bar_args=self._bar("particles per macrophage"))
        self.legend.append((self._share("macrophages", len(points), "macrophages"), MACROPHAGE))

    def kupffer_cells(self) -> None:
        """Spheres in sinusoids, with a shade that grows with what the cell has taken from blood."""
        points, taken = self.snapshot.kupffer_cells(CELLS)
        full, radius = max(1.0, float(np.quantile(taken, 0.99))) if len(taken) else 1.0, 0.35 * self.snapshot.site_um
        kept = self._kept(points, radius)
        bar = self._bar("particles per Kupffer cell")
        balls = meshes.spheres(points[kept], radius, 10, taken=taken[kept])
        self._add(balls, scalars="taken", cmap=KUPFFER_MAP, clim=(0, full), scalar_bar_args=bar)
        self.legend.append((self._share("kupffer_cells", len(points), "Kupffer cells"), COMPARTMENTS["kupffer"]))

    def neutrophils(self) -> None:
        """Spheres in the colour of neutrophils."""
        self._blood_cells("neutrophils")

    def monocytes(self) -> None:
        """Spheres in the colour of monocytes."""
        self._blood_cells("monocytes")

    def t_cells(self) -> None:
        """Spheres in the colour of T cells."""
        self._blood_cells("t_cells")

    def _blood_cells(self, kind: str) -> None:
        points, _ = self.snapshot.cells(kind, CELLS)
        if len(points):
            radius, color = 0.35 * self.snapshot.site_um, COMPARTMENTS[kind]
            self._add(meshes.spheres(points[self._kept(points, radius)], radius, 10), color=color)
            self.legend.append((self._share(kind, len(points), f"{in_words(kind)} in tissue"), color))

    def tumor_cells(self) -> None:
        """Faint spheres."""
        points, _ = self.snapshot.cells("tumor_cells", TUMOR_CELLS)
        radius = 0.45 * self.snapshot.site_um
        self._add(meshes.spheres(points[self._kept(points, radius)], radius, 6), color=TUMOR, opacity=0.06)
        self.legend.append((self._share("tumor_cells", len(points), "tumour cells"), TUMOR))

    def slice(self) -> None:
        """The voxels of one plane, coloured by the concentration of carriers in all compartments of the tissue but blood."""
        assert self.cut is not None
        values = np.where(self.inside > 0, self.snapshot.concentration_per_mL, np.nan)
        plane = meshes.plane(values, self.snapshot.voxel_um, self.cut)
        shown: Floats = np.asarray(plane["value"])
        within = shown[np.isfinite(shown)]
        top = max(float(np.quantile(within, 0.995)), 1.0) if len(within) else 1.0
        power = 3 * int(np.floor(np.log10(top) / 3))
        plane["value"] = shown / 10.0**power
        bar = self._bar(f"concentration, {number(10.0**power, 1) if power else 'in'} particles per mL")
        how: dict[str, Any] = {"cmap": CONCENTRATION_MAP, "clim": (0, top / 10.0**power), "scalar_bar_args": bar}
        self.plotter.add_mesh(plane, scalars="value", lighting=False, nan_color=EMPTY, **how)
        self._add(meshes.section(self.wall, self.cut), color=VESSEL, lighting=False)

    def tumor(self) -> None:
        """A faint hull around the tumour, where it does not fill the box."""
        if self.inside.min() < 1:
            hull = meshes.surface_of(self.inside, self.snapshot.voxel_um, 0.5)
            self._add(meshes.cut_off(hull, self.cut) if self.cut else hull, color=TUMOR, opacity=0.12)
            self.legend.append(("tumour", TUMOR))

    def _add(self, mesh: pv.PolyData, **how: Any) -> None:
        if mesh.n_points:
            self.plotter.add_mesh(mesh, **(MATTE | how))

    def _kept(self, points_um: Floats, radius_um: float | Floats) -> NDArray[np.bool_]:
        return np.ones(len(points_um), bool) if self.cut is None else self.cut.keeps(points_um, radius_um)

    def _share(self, kind: str, shown: int, words: str) -> str:
        total = len(self.snapshot.agents(kind))
        return f"{words} ({total:,})" if shown == total else f"{words} ({shown:,} of {total:,})"

    def _bar(self, title: str) -> dict[str, Any]:
        self.bars += 1
        return layout.bar(title, self.bars - 1)


def wall_of(snapshot: Snapshot) -> pv.PolyData:
    """The surface of the vessels."""
    segments = snapshot.run.vessels
    if segments is not None:
        return meshes.tubes(segments)
    return meshes.surface_of(snapshot.field("lumen_fraction"), snapshot.voxel_um)
