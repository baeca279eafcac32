"""A stained section, and the fractions that its operator would report beside the true ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tme_sim.imaging.anatomy import NUCLEUS, Anatomy, draw
from tme_sim.imaging.base import Frame, Image, Quantity, generator
from tme_sim.imaging.box import Box, Mesh, Triple, choose_box, mesh, middle_um
from tme_sim.imaging.micrograph import Floats, Microscope, See, origin_um, to_pixels
from tme_sim.imaging.optics import Optics, project
from tme_sim.imaging.placement import Placed
from tme_sim.imaging.segmentation import MACROPHAGES, OTHERS, OUTSIDE, VESSELS, Stained, segment, threshold
from tme_sim.imaging.stains import Channel
from tme_sim.state.errors import InputError
from tme_sim.state.parameters import parameter

STAINED = ("particles", "vessels", "nuclei", "macrophages")
REGIONS = {OUTSIDE: "outside cells", MACROPHAGES: "F4/80 positive", OTHERS: "other cells", VESSELS: "CD31 positive"}
SHARES = {OUTSIDE: "extracellular_percent", MACROPHAGES: "macrophages_percent", OTHERS: "other_cells_percent"}
"""Region → its share of the particles outside CD31."""
TRUE_SHARES = {
    "extracellular_percent": ("extracellular",),
    "macrophages_percent": ("macrophages", "phagocytes"),
    "other_cells_percent": ("tumor_cells",),
}
"""The same by compartment; blood and endothelium, which are CD31's, are left out."""
ABOVE_DARK = 5.0
"""Thresholds are at least this many standard deviations of darkness above it."""
STEP_UM = 1.0
"""Planes that a section is divided into are no farther apart."""


@dataclass(kw_only=True)
class Histology(Microscope):
    """CD31, F4/80, DAPI and the particles' dye on a section, by wide-field microscope; thresholds and cells as by its operator.

    Signal of the particles is counted above a slide without them. A cell is its nucleus and what lies up to `cell_expansion`
    around it; the share outside cells is told for the other `expansions` too, for that choice is the operator's.
    """

    thickness_um: float = parameter("thickness of the section", at_least=1, at_most=15)
    size_um: float = parameter("edge of the picture, rounded up to whole sites", above=0, at_most=5000)
    cell_expansion_um: float = parameter("how far a cell reaches beyond its nucleus", at_least=0, at_most=20)
    expansions_um: tuple[float, ...] = parameter("other choices of that, each with its result", at_least=0, at_most=20)

    def __post_init__(self) -> None:
        super().__post_init__()
        if missing := [name for name in STAINED if name not in self.channels]:
            raise InputError("channels", f"without {', '.join(missing)}", f"a section is read by all of {', '.join(STAINED)}")

    def acquire(self, frame: Frame) -> list[Image]:
        optics = Optics(kind="widefield", objective=self.objective)
        width = self.narrowest_um({name: optics.lateral_um(*pair) for name, pair in self.wavelengths_um().items()})
        self.refuse_unplaced(frame.lattice, width)
        grid = mesh(frame.lattice, (STEP_UM, self.pixel_um, self.pixel_um), (np.inf, width, width))
        centre_um = self.center_um or _somewhere(frame)
        box = choose_box(frame.lattice, centre_um, (self.thickness_um, self.size_um, self.size_um), grid.parts)
        cut = _planes(box, centre_um[0], self.thickness_um)
        anatomy = draw(frame, box, self.cell_um3)
        placed = self.placed(frame, anatomy)
        pictures = self.take(frame, self.colours(frame, anatomy, placed), _see(optics, box, grid, cut), "histology")
        pixel_um = grid.pixel_um(frame.lattice.site_um)
        stained = self.read_section(dict(zip(self.channels, pictures.counts[:, 0], strict=True)), pixel_um[1])
        thickness_um = (cut.stop - cut.start) * box.step_um[0]
        z, y, x = origin_um(box, (thickness_um, *pixel_um[1:]))
        return [
            Image(
                name="histology",
                data=pictures.counts,
                voxel_um=(thickness_um, *pixel_um[1:]),
                origin_um=(z + cut.start * box.step_um[0], y, x),
                unit="counts",
                time_s=frame.time_s,
                modality="micr",
                channels=self.channels,
                layers={"noise_free": pictures.noise_free, "truth": pictures.truth},
                regions=stained.regions(self.cell_expansion_um)[None],
                region_names=REGIONS,
                quantities=(
                    *self.reported(pictures.counts[self.channels.index("particles"), 0], stained),
                    *true_shares("section", within(placed, anatomy, cut)),
                    *true_shares("tumor", in_tumor(frame)),
                    Quantity("section", "nuclei_true", float(nuclei_in(anatomy, cut)), "1"),
                ),
                acquisition={**self.settings(pictures), **self._more_settings(thickness_um)},
            )
        ]

    def _more_settings(self, thickness_um: float) -> dict[str, Any]:
        return {
            "suffix": "FLUO",
            "thickness_um": thickness_um,
            "cell_expansion_um": self.cell_expansion_um,
            "truth": "light of each pixel's own column, unblurred, as counts above the background",
        }

    def read_section(self, counts: Mapping[str, Floats], pixel_um: float) -> Stained:
        """Masks by the stains alone."""
        return segment(counts, self._darkest, pixel_um)

    @property
    def _darkest(self) -> float:
        d = self.detector
        return float(d.mean_counts(np.zeros(())) + ABOVE_DARK * d.gain * np.sqrt(d.background + d.read_noise**2))

    def reported(self, particles: Floats, stained: Stained) -> list[Quantity]:
        """What the operator reports: shares of the particles' signal, of the area that it covers, and by other choices."""
        light = self.detector.above_background(particles)
        noise = float(np.sqrt(light.size * (self.detector.background + self.detector.read_noise**2) + max(light.sum(), 0)))
        flag = "below noise" if light.sum() < 3 * noise else ""
        regions = stained.regions(self.cell_expansion_um)
        rows = [Quantity("section", name, share, "%", flag) for name, share in shares(light, regions).items()]
        covered = (particles > threshold(particles, self._darkest)).astype(np.float64)
        by_area = shares(covered, regions)["extracellular_percent"]
        rows.append(Quantity("section", "extracellular_percent_by_area", by_area, "%", flag))
        for expansion in self.expansions_um:
            share = shares(light, stained.regions(expansion))["extracellular_percent"]
            rows.append(Quantity("section", f"extracellular_percent_expanded_{expansion:g}um", share, "%", flag))
        rows.append(Quantity("section", "nuclei", float(stained.nuclei.max()), "1"))
        return rows


def _somewhere(frame: Frame) -> Triple:
    """The middle of the thickest patch, or up to half a site above or below: cells are cut at any height, as a blade does."""
    z, y, x = middle_um(frame.lattice)
    off = generator(frame, "histology", "height").uniform(-0.5, 0.5)
    return z + off * frame.lattice.site_um, y, x


def _planes(box: Box, z_um: float, thickness_um: float) -> slice:
    """The planes of a section around this height, at least one."""
    step = box.step_um[0]
    first = round((z_um - thickness_um / 2 - box.corner_um[0]) / step)
    last = first + max(1, round(thickness_um / step))
    return slice(max(first, 0), min(last, box.shape[0]))


def _see(optics: Optics, box: Box, grid: Mesh, cut: slice) -> See:
    def see(colour: Channel) -> tuple[Floats, Floats]:
        light = colour.light[cut]
        psf = optics.section(colour.excitation_um, colour.emission_um, len(light), box.step_um)
        planes = project(light, psf), light.sum(axis=0)
        seen, ideal = (to_pixels(plane[None], (1, *grid.points[1:]), camera=True) for plane in planes)
        return seen, ideal

    return see


def shares(light: Floats, regions: Floats) -> dict[str, float]:
    """Share of the light outside CD31 that lies in each region, %; NaN where there is none."""
    amount = {name: float(light[regions == number].sum()) for number, name in SHARES.items()}
    return _percent(amount)


def within(placed: Sequence[Placed], anatomy: Anatomy, cut: slice) -> dict[str, float]:
    """Compartment → carriers in the planes of the section."""
    found: dict[str, float] = {}
    plane = anatomy.box.shape[1] * anatomy.box.shape[2]
    for here in placed:
        inside = (here.point >= cut.start * plane) & (here.point < cut.stop * plane)
        found[here.compartment] = found.get(here.compartment, 0.0) + float(here.number[inside].sum())
    return found


def in_tumor(frame: Frame) -> dict[str, float]:
    """Compartment → carriers in the whole tumour, each patch by its copies."""
    return {
        name: sum(
            copies * float(amount[:, planes].sum())
            for planes, copies in zip(frame.lattice.planes, frame.lattice.copies.tolist(), strict=True)
        )
        for name, amount in frame.carriers.items()
    }


def true_shares(region: str, carriers: Mapping[str, float]) -> list[Quantity]:
    """What the operator's shares should be, by where the carriers are."""
    amount = {name: sum(carriers.get(part, 0.0) for part in parts) for name, parts in TRUE_SHARES.items()}
    return [Quantity(region, f"{name}_true", share, "%") for name, share in _percent(amount).items()]


def nuclei_in(anatomy: Anatomy, cut: slice) -> int:
    """Nuclei that the section holds some of."""
    z, *across = (anatomy.centre_um - anatomy.box.corner_um).T
    low, high = (at * anatomy.box.step_um[0] for at in (cut.start, cut.stop))
    reach = NUCLEUS * anatomy.radius_um
    inside = [
        (at > 0) & (at < n * step) for at, n, step in zip(across, anatomy.box.shape[1:], anatomy.box.step_um[1:], strict=True)
    ]
    return int(np.sum((z + reach > low) & (z - reach < high) & inside[0] & inside[1]))


def _percent(amount: Mapping[str, float]) -> dict[str, float]:
    total = sum(amount.values())
    return {name: 100 * value / total if total > 0 else float("nan") for name, value in amount.items()}
