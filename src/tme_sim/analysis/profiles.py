"""What a recorded run says over time, over distance from the vessels, and from cell to cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from tme_sim.files.run_folder import RunFolder
from tme_sim.numerics.distance import distance_to_cylinders, spread
from tme_sim.state.ledger import GONE

Floats = NDArray[np.float64]

UNRESOLVED_VOXELS = 3
"""A length read off a field that is shorter than this many voxels is not resolved."""
PLACES_MAX = 200_000
"""Voxels that a profile is taken over; more are sampled evenly."""
FEWEST_VOXELS = 50
"""Bins with fewer voxels are in the table, but nothing is read off them."""
GRAPH, VOXELS = "the nearest vessel wall", "the nearest voxel that holds vessel"
PARTS = ("free", "bound", "in cells")
UM3_PER_MM3 = 1e9


def carriers(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a series or ledger that count carriers, and no other substance."""
    return table[table["substance"] == "nanoparticle"]


def amounts(run: RunFolder) -> pd.DataFrame:
    """Carriers over time in the whole body: time_s, compartment, route (`all` in the body's pools), amount, percent_id.

    Lattice terms are weighted by their patch's copies, both forms are added up, `degraded` and `washed_out` are what is gone;
    percent_id is of all that the run injects. Raises InputError where the run kept no series.
    """
    series = carriers(run.series)
    gone = series["quantity"].isin(GONE)
    kept = series[(series["quantity"] == "amount") | gone].copy()
    kept.loc[gone, "compartment"] = kept.loc[gone, "quantity"]
    kept["amount"] = kept["value"] * kept["patch"].map(copies(run))
    total = kept.groupby(["time_s", "compartment", "route"], sort=False)["amount"].sum().reset_index()
    total["percent_id"] = 100 * total["amount"] / max(injected(run), 1e-300)
    return total


def net_entry(run: RunFolder) -> dict[str, float]:
    """Route → carriers that came through the wall into the whole tumour and did not go back, over the whole run."""
    series = carriers(run.series)
    last = series[(series["time_s"] == series["time_s"].max()) & series["quantity"].isin(["entered", "returned"])]
    signed = last["value"] * last["patch"].map(copies(run)) * np.where(last["quantity"] == "entered", 1, -1)
    return {str(route): float(total) for route, total in signed.groupby(last["route"], sort=False).sum().items()}


def injected(run: RunFolder) -> float:
    """Carriers injected until the last recorded time."""
    terms = carriers(run.ledger)
    return float(terms.loc[terms["term"] == "injected", "amount"].max())


def copies(run: RunFolder) -> dict[str, int]:
    """Patch → how many of it make up the tumour; the body counts once."""
    return {"body": 1} | {patch["name"]: patch["copies"] for patch in run.info["patches"]}


def carriers_per_cell(run: RunFolder) -> dict[str, Floats]:
    """Kind of cell → (cells,) carriers in each, endosomes and lysosomes together, at the last recorded time."""
    found = {}
    for folder in sorted((run.folder / "agents").glob("*")):
        agents = run.agents(folder.name)
        columns = [name for name in agents.columns if name.startswith(("cargo_", "lysosome_"))]
        if columns:
            found[folder.name] = agents[columns].sum(axis=1).to_numpy(float)
    return found


@dataclass(frozen=True)
class Profile:
    """Carrier density against the distance from the vessels, in bins one voxel wide centred on whole voxels.

    distance_um, voxels, volume_um3: (bins,) centre, number of voxels, and tissue outside the blood; carriers: part → (bins,);
    weights of patches included. `measured_to` says what the distance is taken to.
    """

    distance_um: Floats
    voxels: NDArray[np.int64]
    volume_um3: Floats
    carriers: dict[str, Floats]
    voxel_um: float
    measured_to: str

    @property
    def density_per_mm3(self) -> dict[str, Floats]:
        """Part → (bins,) carriers per tissue outside the blood; `all` is their sum."""
        every = {**self.carriers, "all": np.sum(list(self.carriers.values()), axis=0)}
        return {part: _ratio(held, self.volume_um3) * UM3_PER_MM3 for part, held in every.items()}

    @property
    def uniform_per_mm3(self) -> float:
        """The null model: the same carriers spread evenly over the tissue."""
        return float(sum(held.sum() for held in self.carriers.values()) / self.volume_um3.sum() * UM3_PER_MM3)

    @property
    def read(self) -> NDArray[np.bool_]:
        """(bins,) those that hold tissue and enough voxels."""
        return (self.voxels >= FEWEST_VOXELS) & (self.volume_um3 > 0)

    @property
    def resolved_um(self) -> float:
        """Lengths shorter than this are not resolved by the voxels."""
        return UNRESOLVED_VOXELS * self.voxel_um

    @property
    def half_distance_um(self) -> float | None:
        """Where the density of all carriers has first fallen to half of its first bin's, between bins linear; None if nowhere."""
        return half_distance(self.distance_um[self.read], self.density_per_mm3["all"][self.read])

    def table(self) -> pd.DataFrame:
        """One row per bin; the figure's data."""
        densities = {f"{part.replace(' ', '_')}_per_mm3": values for part, values in self.density_per_mm3.items()}
        columns = {"distance_um": self.distance_um, "voxels": self.voxels, "tissue_um3": self.volume_um3, **densities}
        return pd.DataFrame(columns | {"uniform_per_mm3": self.uniform_per_mm3})


@dataclass(frozen=True)
class Tissue:
    """What a profile is taken over, (z, y, x) per voxel: tumour, blood, vessels, and the patches with their copies.

    cylinders: ends (segments, 2, 3) and radii of the vessel graph, None where there is none; slabs: planes and copies.
    """

    inside: NDArray[np.bool_]
    lumen: Floats
    holds_vessel: NDArray[np.bool_]
    voxel_um: float
    slabs: list[tuple[slice, int]]
    cylinders: tuple[Floats, Floats] | None


def profile(tissue: Tissue, carriers: dict[str, Floats]) -> Profile:
    """Density against distance of (z, y, x) carriers per voxel. A patch is supplied by its own vessels only."""
    shape, voxel_um = tissue.inside.shape, tissue.voxel_um
    places = np.flatnonzero(tissue.inside.ravel())
    places = places[spread(len(places), PLACES_MAX)]
    weight, distance_um = np.zeros(shape), np.full(len(places), np.inf)
    for planes, count in tissue.slabs:
        weight[planes] = count
        own = (places >= planes.start * shape[1] * shape[2]) & (places < planes.stop * shape[1] * shape[2])
        distance_um[own] = _to_vessels(tissue, planes, places[own])
    places, distance_um = places[np.isfinite(distance_um)], distance_um[np.isfinite(distance_um)]
    bin_of = np.floor(distance_um / voxel_um + 0.5).astype(np.int64)
    bins = int(bin_of.max(initial=0)) + 1

    def total(values: Floats) -> Floats:
        return np.asarray(np.bincount(bin_of, (values * weight).ravel()[places], bins), float)

    return Profile(
        np.asarray(np.arange(bins) * voxel_um, float),
        np.bincount(bin_of, minlength=bins),
        total((1 - tissue.lumen) * voxel_um**3),
        {part: total(values) for part, values in carriers.items()},
        voxel_um,
        VOXELS if tissue.cylinders is None else GRAPH,
    )


def penetration(run: RunFolder) -> Profile:
    """The profile at the last recorded time: free and bound carriers and those in cells, without blood and vessel wall.

    The distance is from voxel centres to the cylinders of the vessel graph, or without one between voxel centres.
    Raises InputError where the run kept no fields.
    """
    fields = run.fields.isel(time=run.frame())
    inside, lumen, surface = (np.asarray(fields[name], float) for name in ("inside", "lumen_fraction", "wall_surface_um2"))
    held = {part: np.asarray(fields[name].sum(("route", "form")), float) for part, name in FIELDS if name in fields}
    held["in cells"] = _in_cells(run, inside.shape)
    cylinders, vessels = None, run.vessels
    if vessels is not None:
        ends_um = vessels[[f"{axis}{end}_um" for end in (0, 1) for axis in "zyx"]].to_numpy(float).reshape(-1, 2, 3)
        cylinders = ends_um, vessels["radius_um"].to_numpy(float)
    slabs = _slabs(run, inside.shape[0])
    holds = holds_vessel(lumen, surface)
    return profile(Tissue(inside > 0, lumen, holds, float(fields.attrs["spacing_um"]), slabs, cylinders), held)


FIELDS = (("free", "nanoparticle"), ("bound", "bound"))


def holds_vessel(lumen: Floats, surface_um2: Floats) -> NDArray[np.bool_]:
    """Voxels that count as vessel where there is no graph."""
    return np.asarray((surface_um2 > 0) | (lumen > 0.5))


def _slabs(run: RunFolder, planes: int) -> list[tuple[slice, int]]:
    """Voxel planes and copies of each patch; a run with one patch need not say where it lies."""
    sites, found = run.info["sites"][0], []
    for patch in run.info["patches"]:
        first, thick = patch.get("first_plane", 0), patch.get("planes", sites)
        found.append((slice(first * planes // sites, (first + thick) * planes // sites), int(patch["copies"])))
    return found


def _to_vessels(tissue: Tissue, planes: slice, places: NDArray[np.int64]) -> Floats:
    """(places,) distance of voxels of one patch to the vessels of that patch, infinite where it has none."""
    shape, voxel_um = tissue.inside.shape, tissue.voxel_um
    if tissue.cylinders is not None:
        ends_um, radius_um = tissue.cylinders
        plane = ends_um[:, :, 0].mean(axis=1) / voxel_um
        own = (plane >= planes.start) & (plane <= planes.stop)
        points_um = np.asarray((np.stack(np.unravel_index(places, shape), axis=1) + 0.5) * voxel_um, float)
        return distance_to_cylinders(points_um, ends_um[own], radius_um[own])
    holds = tissue.holds_vessel[planes]
    if not holds.any():
        return np.full(len(places), np.inf)
    distance_um: Floats = distance_transform_edt(~holds, sampling=voxel_um)
    return np.asarray(distance_um.ravel()[places - planes.start * shape[1] * shape[2]], float)


def _in_cells(run: RunFolder, shape: tuple[int, ...]) -> Floats:
    """(z, y, x) carriers in cells, each cell's spread over the voxels of its site."""
    sites = tuple(run.info["sites"])
    refinement = shape[0] // sites[0]
    held = np.zeros(int(np.prod(sites)))
    for kind, cargo in carriers_per_cell(run).items():
        held += np.bincount(run.agents(kind)["site"], cargo, len(held))
    per_voxel = held.reshape(sites) / refinement**3
    for axis in range(3):
        per_voxel = np.repeat(per_voxel, refinement, axis)
    return np.asarray(per_voxel, float)


def half_distance(distance_um: Floats, density: Floats) -> float | None:
    """Where a profile has first fallen to half of its first value, between bins linear; None if nowhere."""
    below = np.flatnonzero(density < density[:1] / 2)
    if len(below) == 0:
        return None
    i = int(below[0])
    step = (density[i - 1] - density[0] / 2) / (density[i - 1] - density[i])
    return float(distance_um[i - 1] + step * (distance_um[i] - distance_um[i - 1]))


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0))
